//! `report.html` and `report`: the page that a run leaves in a package, made again from its manifest.

use std::fs;

use serde_json::json;

use crate::project::{Package, Project, daily_files};
use crate::s3_server::S3Server;
use crate::stores;

const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-03}";

fn project() -> Project {
    let project = Project::with_spec(SPEC);
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    project
}

fn page(package: &Package) -> String {
    fs::read_to_string(package.root.join("report.html")).unwrap()
}

#[test]
fn a_run_leaves_a_page_that_is_made_again_byte_for_byte() {
    let project = project();
    let package = project.complete();
    let page = page(&package);
    assert!(page.contains("All 3 partitions of the window: 60 rows in 3 files."));
    assert!(project.call(&["report", "package"]).exits(0).stdout == page);
    assert!(project.call(&["report", "package", "--output", "-"]).exits(0).stdout == page);
    project.call(&["report", "package", "--output", "mine.html"]).exits(0).says(&["mine.html: test, complete"]);
    assert!(fs::read_to_string(project.path("mine.html")).unwrap() == page);
    let markdown = project.call(&["report", "package/", "--format", "markdown"]).exits(0).stdout;
    assert!(markdown.starts_with("# test 2026-03-01\\_2026-03-03\n"), "{markdown}");
    project.call(&["verify", "package"]).exits(0).says(&["ok  report.html matches the manifest"]);
    let object = project.call(&["report", "package", "--json"]).exits(0).json();
    assert_eq!(object["report"], json!(page));
    assert_eq!(
        (&object["version"], &object["status"], &object["format"]),
        (&json!(1), &json!("complete"), &json!("html"))
    );
    let object = project.call(&["report", "package", "--json", "-o", "x.md", "--format", "markdown"]).exits(0).json();
    assert_eq!((&object["output"], object.get("report")), (&json!("x.md"), None));
    assert_eq!(fs::read_to_string(project.path("x.md")).unwrap(), markdown);
}

#[test]
fn a_rerun_completes_a_missing_page_and_touches_nothing_else() {
    let project = project();
    let package = project.complete();
    let before = package.snapshot();
    fs::remove_file(package.root.join("report.html")).unwrap();
    project.call(&["verify", "package"]).exits(0);
    project.run(&[]).exits(0);
    let mut after = package.snapshot();
    assert!(after.remove("report.html").map(|f| f.0) == before.get("report.html").map(|f| f.0.clone()));
    assert!(after.iter().all(|(name, file)| before.get(name) == Some(file)));
    let whole = package.snapshot();
    project.run(&[]).exits(0);
    assert!(package.snapshot() == whole, "nothing is written twice");
}

#[test]
fn a_page_of_another_release_stays_and_is_not_checked() {
    let project = project();
    let package = project.complete();
    let other = page(&package).replacen("content=\"kt-export ", "content=\"kt-export 99.", 1);
    project.write("package/report.html", &other);
    project.run(&[]).exits(0);
    assert!(page(&package) == other, "a complete package does not change");
    let told = project.call(&["verify", "package"]).exits(0);
    told.says(&[
        "report: report.html was not made by kt-export ",
        "render it again from the manifest with `kt-export \
        report`",
    ]);
}

#[test]
fn a_page_that_says_something_else_is_found() {
    let project = project();
    let package = project.complete();
    let good = page(&package);
    project.write("package/report.html", good.replacen("60 rows", "61 rows", 1));
    project
        .call(&["verify", "package"])
        .exits(5)
        .says(&["report.html: differs from what the manifest gives: remove it and run the job again to rewrite it"]);
    fs::remove_file(package.root.join("report.html")).unwrap();
    project.run(&[]).exits(0);
    assert!(page(&package) == good);

    let digest = good.split("name=\"manifest-sha256\" content=\"").nth(1).unwrap();
    project.write("package/report.html", good.replacen(&digest[..64], &"0".repeat(64), 1));
    let words = "report.html: is about another manifest: run the job again to rewrite it";
    project.call(&["verify", "package"]).exits(5).says(&[words]);
    project.run(&[]).exits(0);
    assert!(page(&package) == good);
}

#[test]
fn the_page_follows_the_package_from_partial_to_complete() {
    let project = project();
    let day = "data/2026-03-02.ndjson";
    let good = fs::read(project.path(day)).unwrap();
    project.write(day, [good.as_slice(), b"nonsense\n"].concat());
    project.run(&[]).exits(3);
    let package = project.package();
    for text in ["Partial: something is missing", "bad_rows", "1 failed, 0 not tried"] {
        assert!(page(&package).contains(text), "{text}");
    }
    project.call(&["verify", "package"]).exits(0).says(&["report.html matches the manifest"]);
    project.write(day, good);
    project.run(&[]).exits(0);
    assert!(page(&package).contains("<h2 id=\"verdict\">Complete</h2>"));
    assert!(page(&package).contains("3 complete, of which 0 empty; 0 partial, 0 failed, 0 not tried. 60 rows in all."));
}

#[test]
fn a_page_that_cannot_be_written_does_not_fail_the_run() {
    let project = project();
    fs::create_dir_all(project.path("package/report.html/occupied")).unwrap();
    project.run(&[]).exits(0).says(&["report.html cannot be written; run `kt-export report` later: "]);
    assert_eq!(project.package().manifest()["status"], "complete");
    assert!(project.path("package/SHA256SUMS").is_file());
}

#[test]
fn what_is_no_package_is_refused_in_the_words_of_verify() {
    let project = project();
    let package = project.complete();
    let whole = fs::read(package.root.join("manifest.json")).unwrap();
    fs::create_dir(project.path("empty")).unwrap();
    let alike = |uri: &str, words: &[&str]| {
        project.call(&["verify", uri]).exits(5).says(words);
        project.call(&["report", uri]).exits(5).says(words);
        let object = project.call(&["report", uri, "--json"]).exits(5).json();
        assert!(words.iter().all(|word| object["error"].as_str().unwrap().contains(word)), "{object}");
    };
    alike("nowhere", &["the folder does not exist"]);
    alike("empty", &["manifest.json: is missing: either no run has finished here, or the file was deleted"]);
    for (bytes, words) in [
        (&b"{"[..], "manifest.json: cannot be read: it is not JSON"),
        (b"{\"manifest_version\": 2}", "manifest.json: cannot be read: it has `manifest_version: 2`"),
        (&whole[..whole.len() / 2], "manifest.json: cannot be read: it is not JSON"),
    ] {
        fs::write(package.root.join("manifest.json"), bytes).unwrap();
        alike("package", &[words]);
    }
    fs::write(package.root.join("manifest.json"), whole).unwrap();
    project.call(&["report", "ftp://x/y"]).exits(2).says(&["error: "]);
    let refused = project.call(&["report", "package", "--output", "no/such/folder/x.html"]).exits(4);
    refused.says(&["error: cannot write no/such/folder/x.html: ", "; give another file with `--output`"]);
}

#[test]
fn a_package_in_a_store_has_its_page_too() {
    let server = S3Server::start();
    let project = stores::project_on(&server, "format: csv");
    let run = ["run", "spec.yaml", "--progress", "never", "--now", crate::project::NOW];
    stores::call(&project, &server, &run).exits(0);
    let page = String::from_utf8(server.get("evidence/package/report.html").unwrap()).unwrap();
    let made = stores::call(&project, &server, &["report", "s3://bucket/evidence/package"]).exits(0).stdout;
    assert!(made == page && page.contains("300 rows in 5 files"));
    server.remove("evidence/package/report.html");
    stores::call(&project, &server, &run).exits(0);
    assert!(server.get("evidence/package/report.html").is_some_and(|again| again == page.as_bytes()));
}
