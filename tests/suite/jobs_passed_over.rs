//! One job that cannot be used stops nobody from using the others, and no old wish stops a new run.

use serde_json::{Value, json};

use crate::project::{Outcome, Project, daily_files};

const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-02}";

/// A package that is noted in the store `index`, and the job's id.
fn noted() -> (Project, String) {
    let project = Project::with_spec(SPEC);
    for (name, text) in daily_files(2, 10) {
        project.write(&name, text);
    }
    project.run(&["--store", "index"]).exits(0);
    let id = project.package().manifest()["id"].as_str().unwrap().to_owned();
    (project, id)
}

fn jobs(project: &Project, args: &[&str]) -> Outcome {
    project.call(&[&["jobs"], args, &["--store", "index"]].concat())
}

/// Every command names the bad job in a warning and in its JSON object, and does what it is for.
#[track_caller]
fn is_passed_over(project: &Project, bad: &str, why: &str, good: Option<&str>) {
    let warning = format!("warning: {bad} is skipped: ");
    let listed = jobs(project, &["list", "--json"]).exits(0).says(&[&warning, why]).json();
    let ids: Vec<&str> = listed["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, Vec::from_iter(good));
    assert_eq!(listed["passed_over"][0]["id"], json!(bad));
    assert!(listed["passed_over"][0]["why"].as_str().unwrap().contains(why), "{listed}");
    jobs(project, &["list"]).exits(0).says(&[&warning]);
    let pruned = jobs(project, &["prune", "--yes", "--json"]).exits(0).says(&[&warning, "nothing to prune"]).json();
    assert_eq!(pruned["passed_over"], listed["passed_over"]);
    let worked = jobs(project, &["work", "--json"]).exits(0).says(&[&warning, "no jobs left"]).json();
    assert_eq!(worked["passed_over"], listed["passed_over"]);
}

#[test]
fn a_record_that_is_another_jobs_is_passed_over_and_named() {
    let (project, id) = noted();
    let record = std::fs::read(project.path(&format!("index/jobs/{id}/job.json"))).unwrap();
    let mut record: Value = serde_json::from_slice(&record).unwrap();
    record["id"] = json!("job_x/../..");
    project.write("index/jobs/job_x/job.json", record.to_string());
    is_passed_over(
        &project,
        "job_x",
        "jobs/job_x/job.json is the record of another job, job_x/../..; remove the folder, or restore the record",
        Some(&id),
    );
    jobs(&project, &["get", "--id", "job_x"]).exits(2).says(&["no job `job_x`"]);
    project.write("index/jobs/job_x/job.json", "{");
    is_passed_over(&project, "job_x", "jobs/job_x/job.json cannot be read: ", Some(&id));
}

#[cfg(unix)]
#[test]
fn a_job_whose_package_or_record_is_a_link_is_passed_over_and_named() {
    use std::os::unix::fs::symlink;
    let (project, id) = noted();
    std::fs::rename(project.path("package"), project.path("elsewhere")).unwrap();
    symlink(project.path("elsewhere"), project.path("package")).unwrap();
    is_passed_over(&project, &id, "is a symbolic link, but a folder is needed there", None);
    std::fs::remove_file(project.path("package")).unwrap();
    std::fs::rename(project.path("elsewhere"), project.path("package")).unwrap();
    project.write("index/jobs/job_y/other.json", "{}");
    symlink("other.json", project.path("index/jobs/job_y/job.json")).unwrap();
    is_passed_over(&project, "job_y", "is a symbolic link", Some(&id));
    // The record of a run only informs.
    std::fs::remove_dir_all(project.path("index/jobs/job_y")).unwrap();
    std::fs::remove_file(project.path("package/SHA256SUMS")).unwrap();
    symlink("../job.json", project.path(&format!("index/jobs/{id}/runs/x.json"))).unwrap();
    let listed = jobs(&project, &["list", "--json"]).exits(0).json();
    assert_eq!((&listed["jobs"][0]["id"], &listed["passed_over"]), (&json!(id), &json!([])));
}

#[test]
fn a_run_takes_back_the_wish_that_nobody_work_on_its_job() {
    let (project, id) = noted();
    std::fs::remove_dir_all(project.path("package")).unwrap();
    jobs(&project, &["cancel", "--id", &id]).exits(0);
    let wish = project.path(&format!("index/jobs/{id}/cancel.json"));
    assert!(wish.exists());
    project.run(&["--store", "index"]).exits(0);
    assert!(!wish.exists());
    let job = jobs(&project, &["get", "--id", &id, "--json"]).exits(0).json();
    assert_eq!(job["status"], json!("complete"));
}

#[cfg(unix)]
#[test]
fn one_folder_that_cannot_be_looked_into_hides_no_package() {
    use std::os::unix::fs::symlink;
    let (project, _) = noted();
    std::fs::create_dir_all(project.path("evidence/bad")).unwrap();
    std::fs::rename(project.path("package"), project.path("evidence/good")).unwrap();
    symlink("../good/manifest.json", project.path("evidence/bad/manifest.json")).unwrap();
    project.call(&["coverage", "evidence"]).exits(5).says(&["evidence/bad", "test (events)"]);
    let checked = project.call(&["verify", "evidence", "--chain", "chain"]).exits(5);
    checked.says(&["evidence/bad: NOT INTACT", "evidence/good: intact"]);
}

#[cfg(unix)]
#[test]
fn one_link_that_is_no_file_is_a_finding_among_the_others() {
    use std::os::unix::fs::symlink;
    let project = Project::with_spec(&format!("{SPEC}\nchain: {{uri: chain/}}"));
    for (name, text) in daily_files(2, 10) {
        project.write(&name, text);
    }
    project.complete();
    symlink("000001.json", project.path("chain/000002.json")).unwrap();
    project.call(&["verify", "package", "--chain", "chain"]).exits(5).says(&[
        "000002.json: cannot be read: ",
        "1 test 2026-03-01T00:00:00Z to 2026-03-03T00:00:00Z, complete: package",
    ]);
}
