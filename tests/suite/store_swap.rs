//! A local output folder that is swapped for a link in the middle of a run.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::project::{NOW, Project, daily_files, outcome};
use crate::s3_server::S3Server;

#[test]
fn an_output_folder_that_is_swapped_for_a_link_is_not_written_through() {
    let server = S3Server::start();
    let project = Project::new();
    for (name, text) in daily_files(3, 20) {
        server.put(&format!("lake/{name}"), text.as_bytes());
    }
    project.write(
        "spec.yaml",
        "version: 1\nname: test\ntype: events\nsource: {uri: 's3://bucket/lake/data/'}\n\
         window: {date_from: 2026-03-01, date_to: 2026-03-03}\noutput: {uri: package}\n",
    );
    let (package, moved, elsewhere) = (project.path("package"), project.path("moved"), project.path("elsewhere"));
    std::fs::create_dir(&elsewhere).unwrap();
    let done = AtomicBool::new(false);
    let (from, to, link) = (package.clone(), moved.clone(), elsewhere.clone());
    server.on_request(move |request| {
        // When the run reads its rows, its folder is there.
        let is_read = request.method == "GET" && request.key.ends_with("2026-03-02.ndjson");
        if is_read && from.join("_state").exists() && !done.swap(true, Ordering::SeqCst) {
            std::fs::rename(&from, &to).unwrap();
            symlink(&link, &from).unwrap();
        }
        None
    });
    let run = || {
        let mut command = project.command(&["run", "spec.yaml", "--progress", "never", "--threads", "1", "--now", NOW]);
        outcome(command.envs(server.environment()))
    };
    run().exits(4).says(&["package was replaced by a symbolic link while it was in use", "put the folder back"]);
    assert!(std::fs::read_dir(&elsewhere).unwrap().next().is_none());
    std::fs::remove_file(&package).unwrap();
    std::fs::rename(&moved, &package).unwrap();
    run().exits(0);
    project.call(&["verify", "--rows", "package"]).exits(0);
}
