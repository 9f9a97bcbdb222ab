//! `jobs`: asked for now, done by another process, looked at by a third.

use std::time::Duration;

use serde_json::{Value, json};

use crate::project::{Outcome, Project, daily_files, outcome};
use crate::s3_server::{Fault, S3Server};
use crate::tombstones::wait_until_expired;

const MARCH: [&str; 6] = ["--type", "events", "--date-from", "2026-03-01", "--date-to", "2026-03-05"];

/// A project with a catalog, where jobs find their events.
fn project() -> Project {
    let project = Project::new();
    for (name, text) in daily_files(5, 40) {
        project.write(&name, text);
    }
    project.write("catalog.yaml", "version: 1\ntypes:\n  events: {source: {uri: data/}}\n");
    project
}

fn jobs(project: &Project, args: &[&str]) -> Outcome {
    project.call(&[&["jobs"], args].concat())
}

/// Asks for a job, and gives its id, which is all that stdout has.
#[track_caller]
fn create(project: &Project, args: &[&str]) -> String {
    let outcome = jobs(project, &[&["create"], &MARCH[..], args].concat()).exits(0);
    let id = outcome.stdout.trim_end().to_owned();
    assert!(id.starts_with("job_") && id.len() == 30 && outcome.stdout == format!("{id}\n"), "{outcome:?}");
    id
}

#[track_caller]
fn get(project: &Project, id: &str) -> Value {
    jobs(project, &["get", "--id", id, "--json"]).exits(0).json()
}

#[test]
fn a_month_is_created_got_and_listed() {
    let project = project();
    let id = create(&project, &["--statuses", "blocked,escalated", "--filter", "n=900", "--filter", "n=901"]);
    jobs(&project, &["get", "--id", &id, "--watch"]).exits(0).says(&["is complete: "]);
    let job = get(&project, &id);
    for key in [
        "id",
        "type",
        "name",
        "status",
        "export_format",
        "created_at",
        "window_start",
        "window_end",
        "started_at",
        "finalized_at",
        "expires_at",
        "total_rows",
        "partial_count",
        "failed_count",
        "error_code",
        "filters",
        "files",
    ] {
        assert!(job.get(key).is_some(), "{key} in {job}");
    }
    assert_eq!(job["filters"], json!({"n": {"in": [900, 901]}, "statuses": {"in": ["blocked", "escalated"]}}));
    assert_eq!((&job["status"], &job["name"], &job["type"]), (&json!("complete"), &json!("events"), &json!("events")));
    assert_eq!(job["files"].as_array().unwrap().len(), 5);
    let package = format!(".kt-export/jobs/{id}/package");
    project.call(&["verify", "--rows", &package]).exits(0);
    assert_eq!(project.package_in(&package).manifest()["id"], json!(id));
    let listed = jobs(&project, &["list", "--json"]).exits(0).json();
    assert_eq!(listed["jobs"][0]["id"], json!(id));
    assert!(listed["jobs"][0].get("files").is_none());
    let table = jobs(&project, &["list"]).exits(0).stdout;
    assert!(table.contains(&id) && table.contains("complete") && table.contains("2026-03-01_2026-03-05"), "{table}");
    assert_eq!(jobs(&project, &["list", "--status", "failed", "--json"]).exits(0).json()["jobs"], json!([]));
}

#[test]
fn the_same_request_is_the_same_job_and_new_makes_another() {
    let project = project();
    let first = create(&project, &["--wait"]);
    let again = jobs(&project, &[&["create"], &MARCH[..], &["--format", "csv"]].concat()).exits(0);
    assert_eq!(again.stdout.trim_end(), first);
    again.says(&["already exists (complete); use `--new` to create another"]);
    let second = create(&project, &["--new", "--wait"]);
    let third = create(&project, &["--new", "--queue-only"]);
    assert!(first != second && second != third);
    let other = create(&project, &["--format", "ndjson", "--queue-only"]);
    let listed = jobs(&project, &["list", "--json"]).exits(0).json();
    let ids: Vec<_> = listed["jobs"].as_array().unwrap().iter().map(|j| j["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [other, third, second, first], "newest first");
}

#[test]
fn a_queue_is_drained_by_workers() {
    let project = project();
    let ids: Vec<_> = ["csv", "ndjson", "json", "parquet"]
        .map(|format| create(&project, &["--queue-only", "--format", format]))
        .to_vec();
    assert!(ids.iter().all(|id| get(&project, id)["status"] == "queued"));
    let mut workers: Vec<_> = (0..2).map(|_| project.command(&["jobs", "work", "-q"]).spawn().unwrap()).collect();
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    for id in &ids {
        assert_eq!(get(&project, id)["status"], "complete");
        project.call(&["verify", "--rows", &format!(".kt-export/jobs/{id}/package")]).exits(0);
    }
    jobs(&project, &["work"]).exits(0).says(&["no jobs left; 0 done"]);
}

#[test]
fn a_spec_and_its_catalog_are_kept_as_they_were() {
    let project = project();
    project.write(
        "spec.yaml",
        "version: 1\nname: '{{ vars.region }}-events'\ntype: events\nwindow: {previous: month}\n\
         vars: {region: {env: KT_REGION}}\noutput: {uri: elsewhere/, retention: 400d}\n",
    );
    let now = "2026-04-02T00:00:00Z";
    let mut command = project.command(&["jobs", "create", "--spec", "spec.yaml", "--queue-only", "--now", now]);
    let id = outcome(command.env("KT_REGION", "eu")).exits(0).stdout.trim_end().to_owned();
    // The worker has another clock, another environment and other files.
    project.write("catalog.yaml", "version: 1\ntypes: {}\n");
    std::fs::remove_file(project.path("spec.yaml")).unwrap();
    jobs(&project, &["work"]).exits(0);
    let job = get(&project, &id);
    assert_eq!((&job["name"], &job["window_label"]), (&json!("eu-events"), &json!("2026-03")));
    assert_eq!(job["total_rows"], 200);
    assert!(job["expires_at"].is_string() && !project.path("elsewhere").exists());
    jobs(&project, &["create", "--spec", "none.yaml"]).exits(2).says(&["cannot read none.yaml"]);
    jobs(&project, &["create", "--spec", "spec.yaml", "--format", "csv"]).exits(2).says(&["cannot be used with"]);
}

/// Makes all signs of life of a job older than they are.
fn age(project: &Project, id: &str, by: jiff::SignedDuration) {
    let runs = project.path(&format!(".kt-export/jobs/{id}/runs"));
    for entry in std::fs::read_dir(runs).unwrap() {
        let path = entry.unwrap().path();
        let mut run: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let beat: jiff::Timestamp = run["beat_at"].as_str().unwrap().parse().unwrap();
        run["beat_at"] = json!(beat.checked_sub(by).unwrap().to_string());
        run.as_object_mut().unwrap().remove("end");
        std::fs::write(&path, run.to_string()).unwrap();
    }
}

#[test]
fn a_job_whose_worker_died_is_abandoned_and_taken_up_again() {
    let project = project();
    let golden = create(&project, &["--wait"]);
    let id = create(&project, &["--new", "--wait"]);
    // As a worker leaves it that was killed before the manifest.
    let package = project.package_in(&format!(".kt-export/jobs/{id}/package"));
    for name in ["manifest.json", "SHA256SUMS", "_state/partitions/2026-03-04.json"] {
        std::fs::remove_file(package.root.join(name)).unwrap();
    }
    age(&project, &id, jiff::SignedDuration::from_secs(10));
    assert_eq!(get(&project, &id)["status"], "running");
    age(&project, &id, jiff::SignedDuration::from_secs(60));
    assert_eq!(get(&project, &id)["status"], "abandoned");
    jobs(&project, &["list", "--status", "abandoned"]).exits(0);
    jobs(&project, &["work"]).exits(0);
    assert_eq!(get(&project, &id)["status"], "complete");
    assert!(package.shards() == project.package_in(&format!(".kt-export/jobs/{golden}/package")).shards());
    // Killed right after the manifest: what derives from it is still missing.
    std::fs::remove_file(package.root.join("SHA256SUMS")).unwrap();
    age(&project, &id, jiff::SignedDuration::from_secs(120));
    assert_eq!(get(&project, &id)["status"], "abandoned");
    jobs(&project, &["work"]).exits(0).says(&["1 done"]);
    assert_eq!(get(&project, &id)["status"], "complete");
    project.call(&["verify", &format!(".kt-export/jobs/{id}/package")]).exits(0);
}

#[test]
fn what_cannot_be_done_says_why() {
    let project = project();
    let id = create(&project, &["--where", "nothing > 5", "--queue-only"]);
    jobs(&project, &["work"]).exits(2);
    let job = get(&project, &id);
    assert_eq!(job["status"], "failed");
    assert!(job["error"].as_str().unwrap().contains("`nothing`"), "{job}");
    // Too early is no failure: the job waits.
    let args = ["create", "--type", "events", "--date-from", "2100-01-01", "--date-to", "2100-01-02", "--wait"];
    let outcome = jobs(&project, &args).exits(6).says(&["is queued again: the window ends at 2100-01-03"]);
    assert_eq!(get(&project, outcome.stdout.trim_end())["status"], "queued");
    jobs(&project, &["create", "--type", "events"]).exits(2).says(&["the export has no window", "`--date-from`"]);
    jobs(&project, &["create", "--type", "evnts", "--date-from", "2026-03-01", "--date-to", "2026-03-02"])
        .exits(2)
        .says(&["unknown type `evnts`", "did you mean `events`?"]);
    jobs(&project, &["get", "--id", "job_none"]).exits(2).says(&["no job `job_none` in "]);
    jobs(&project, &["get", "--id", "../../etc"]).exits(2).says(&["no job `"]);
    jobs(&project, &["list", "--store", "none"]).exits(0).says(&["no jobs in "]);
    jobs(&project, &["get", "--id", "job_x", "--store", "none"]).exits(2).says(&["is not a job store"]);
    jobs(&project, &["list", "--store", "ftp://x"]).exits(2).says(&["--store: `ftp://` is not supported"]);
    jobs(&project, &["list", "--status", "done"]).exits(2).says(&["one of queued, running, complete"]);
    let queued = create(&project, &["--name", "other", "--queue-only"]);
    jobs(&project, &["download", "--id", &queued, "--output", "x.csv"])
        .exits(6)
        .says(&["is queued and has no package yet"]);
}

#[test]
fn a_cancelled_job_ends_and_can_be_asked_for_again() {
    let project = project();
    let id = create(&project, &["--queue-only"]);
    jobs(&project, &["cancel", "--id", &id]).exits(0).says(&["is cancelled"]);
    assert_eq!(get(&project, &id)["status"], "cancelled");
    jobs(&project, &["work"]).exits(0).says(&["0 done"]);
    assert_eq!(create(&project, &["--wait"]), id);
    jobs(&project, &["cancel", "--id", &id]).exits(0).says(&["is already complete"]);
    assert_eq!(get(&project, &id)["status"], "complete");
}

#[test]
fn a_running_job_is_cancelled_with_what_it_has() {
    let server = S3Server::start();
    let project = project();
    let call = |args: &[&str]| {
        let store = ["jobs", args[0], "--store", "s3://bucket/jobs-store"];
        outcome(project.command(&[&store, &args[1..]].concat()).envs(server.environment()))
    };
    // The last day never gets through before the wish is heard.
    server.on_request(|request| {
        let is_last = request.method == "PUT" && request.key.contains("data/2026-03-05/");
        is_last.then_some(Fault::Stall(Duration::from_secs(6)))
    });
    let id = call(&[&["create"], &MARCH[..]].concat()).exits(0).stdout.trim_end().to_owned();
    let has_shards = || server.keys("jobs-store/jobs/").iter().any(|key| key.contains("/data/"));
    for _ in 0..600 {
        if has_shards() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    call(&["cancel", "--id", &id]).exits(0);
    let ended = call(&["get", "--id", &id, "--watch", "--json"]);
    let job = ended.json();
    // The wish may come after the last partition was begun; then the job is complete.
    assert!(job["status"] == "cancelled" || job["status"] == "complete", "{job}");
    server.clear_faults();
    assert_eq!(call(&[&["create"], &MARCH[..], &["--wait"]].concat()).exits(0).stdout.trim_end(), id);
    let job = call(&["get", "--id", &id, "--json"]).exits(0).json();
    assert_eq!((&job["status"], &job["total_rows"]), (&json!("complete"), &json!(200)));
    let package = format!("s3://bucket/jobs-store/jobs/{id}/package");
    outcome(project.command(&["verify", &package]).envs(server.environment())).exits(0);
    let links = call(&["download", "--id", &id, "--url", "--expires", "10m", "--json"]).exits(0).json();
    let link = links["links"][0]["url"].as_str().unwrap();
    assert!(link.contains("X-Amz-Expires=600") && link.contains("X-Amz-Signature="), "{link}");
    let long = call(&["download", "--id", &id, "--url", "--expires", "30d"]).exits(0);
    long.says(&["the links expire sooner than requested: the service signs for 7 days at most"]);
}

#[test]
fn what_has_expired_is_pruned_and_says_so() {
    let project = project();
    let id = create(&project, &["--retention", "5s", "--wait"]);
    let package = project.package_in(&format!(".kt-export/jobs/{id}/package"));
    let before = package.snapshot();
    let earlier = ["prune", "--yes", "--now", "2026-01-01T00:00:00Z"];
    jobs(&project, &earlier).exits(0).says(&["nothing to prune"]);
    let later = ["prune", "--now", "2127-01-01T00:00:00Z"];
    jobs(&project, &later).exits(0).says(&["would delete 5 shards", "nothing was deleted; use `--yes` to delete"]);
    assert!(package.snapshot() == before);
    wait_until_expired(&package.manifest());
    jobs(&project, &["prune", "--yes"]).exits(0).says(&["deleted 5 shards"]);
    assert!(package.shards().is_empty());
    let after = package.snapshot();
    for name in ["manifest.json", "SHA256SUMS"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    let tombstone: Value = serde_json::from_slice(&after["tombstone.json"].0).unwrap();
    assert_eq!((&tombstone["id"], &tombstone["files"]), (&json!(id), &json!(5)));
    jobs(&project, &["prune", "--yes"]).exits(0).says(&["nothing to prune"]);
    let path = format!(".kt-export/jobs/{id}/package");
    project.call(&["verify", &path]).exits(0).says(&["5 of 5 files were deleted at "]);
    // A tombstone that does not fit the manifest excuses nothing.
    let mut other = tombstone;
    other["id"] = json!("job_other");
    std::fs::write(package.root.join("tombstone.json"), other.to_string()).unwrap();
    project.call(&["verify", &path]).exits(5).says(&["is about another package: job_other", "is missing"]);
}

#[test]
fn a_locked_shard_is_kept_and_told() {
    let server = S3Server::start();
    let project = project();
    let call = |args: &[&str]| {
        let store = ["jobs", args[0], "--store", "s3://bucket/store"];
        outcome(project.command(&[&store, &args[1..]].concat()).envs(server.environment()))
    };
    let args = [&["create"], &MARCH[..], &["--retention", "1s", "--wait"]].concat();
    let id = call(&args).exits(0).stdout.trim_end().to_owned();
    // The manifest is there before the worker has tidied up.
    let runs = format!("store/jobs/{id}/runs/");
    while !server
        .keys(&runs)
        .iter()
        .any(|key| server.get(key).is_some_and(|run| run.windows(5).any(|w| w == b"\"end\"")))
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    let locked = server.keys(&format!("store/jobs/{id}/package/data/2026-03-02/")).remove(0);
    server.lock(&locked);
    server.begin_upload(&format!("store/jobs/{id}/package/data/2026-03-01/part-0000.dead.csv.zst"));
    let later = ["prune", "--now", "2127-01-01T00:00:00Z"];
    call(&later).exits(0).says(&["would delete 5 shards", "would abort the unfinished upload of data/2026-03-01/"]);
    let manifest = server.get(&format!("store/jobs/{id}/package/manifest.json")).unwrap();
    wait_until_expired(&serde_json::from_slice(&manifest).unwrap());
    let pruned = call(&["prune", "--yes"]).exits(0);
    pruned.says(&["deleted 5 shards", "kept data/2026-03-02/part-0000", "access denied", "aborted the unfinished"]);
    assert_eq!(server.keys(&format!("store/jobs/{id}/package/data/")), [locked]);
    assert!(server.uploads().is_empty());
    let tombstone = server.get(&format!("store/jobs/{id}/package/tombstone.json")).unwrap();
    let tombstone: Value = serde_json::from_slice(&tombstone).unwrap();
    assert_eq!(tombstone["files"], json!(5));
    // What the store let go later is asked for again, under the same tombstone.
    call(&["prune", "--yes"]).exits(0).says(&["deleted 1 shards", "kept data/2026-03-02/part-0000"]);
    let again = server.get(&format!("store/jobs/{id}/package/tombstone.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), tombstone);
}

#[test]
fn a_run_is_noted_in_the_store_that_it_names() {
    let project = project();
    project.spec("type: events\nwindow: {date_from: 2026-03-01, date_to: 2026-03-05}");
    project.run(&["--store", "index"]).exits(0);
    let listed = jobs(&project, &["list", "--store", "index", "--json"]).exits(0).json();
    let job = &listed["jobs"][0];
    assert_eq!((&job["status"], &job["name"]), (&json!("complete"), &json!("test")));
    assert_eq!(job["id"], project.package().manifest()["id"]);
    assert_eq!(job["package"].as_str().unwrap().trim_end_matches('/'), project.path("package").to_str().unwrap());
    // A store that fails only warns.
    project.write("file", "");
    std::fs::remove_dir_all(project.path("package")).unwrap();
    project.run(&["--store", "file"]).exits(0).says(&["warning: ", "could not be registered in the job store"]);
    // Without a package the index alone is left, and a worker makes it again.
    std::fs::remove_dir_all(project.path("package")).unwrap();
    let id = job["id"].as_str().unwrap();
    jobs(&project, &["work", "--store", "index", "--id", id]).exits(0);
    project.call(&["verify", "--rows", "package"]).exits(0);
}

#[test]
fn rows_are_brought_here_as_one_file_or_as_a_package() {
    let project = project();
    for (format, name) in
        [("csv", "march.csv"), ("ndjson", "march.ndjson.zst"), ("json", "march.json"), ("parquet", "march.parquet")]
    {
        let id = create(&project, &["--format", format, "--wait"]);
        let download = |args: &[&str]| jobs(&project, &[&["download", "--id", &id], args].concat());
        download(&["--output", name]).exits(0).says(&["200 rows of 5 shards", "all digests match the manifest"]);
        // Read as one shard: the rows of all of them, in order.
        let package = project.package_in(&format!(".kt-export/jobs/{id}/package"));
        let joined = crate::project::Package::rows_of_file(&project.path(name));
        assert_eq!(joined, package.rows(), "{format}");
        download(&["--output", name]).exits(2).says(&["already exists: remove it or choose another name"]);
        let folder = format!("copy-{format}");
        download(&["--shards", "--output", &folder]).exits(0);
        project.call(&["verify", "--rows", &folder]).exits(0);
        assert!(project.package_in(&folder).shards() == package.shards());
    }
    let id = create(&project, &["--wait"]);
    let shard = project.path(&format!(".kt-export/jobs/{id}/package/data/2026-03-03/part-0000.csv.zst"));
    let mut bytes = std::fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    jobs(&project, &["download", "--id", &id, "--output", "damaged.csv"])
        .exits(5)
        .says(&["data/2026-03-03/part-0000.csv.zst", "but the manifest says"]);
    assert!(!project.path("damaged.csv").exists());
}

#[test]
fn rows_are_not_downloaded_to_where_the_source_of_their_job_would_read_them() {
    let project = project();
    let id = create(&project, &["--wait"]);
    let download = |args: &[&str]| jobs(&project, &[&["download", "--id", &id], args].concat());
    let why = format!(
        "lies inside the source {} of this job, so the next export would contain its rows twice: choose a place outside",
        project.path("data/").display()
    );
    for args in [
        &["--output", "data/"][..],
        &["--output", "data/march.csv.zst"],
        &["--output", "data/new/../march.csv"],
        &["--shards", "--output", "data/copy"],
    ] {
        let refused = download(args).exits(2).says(&[&why]);
        assert!(refused.stdout.is_empty());
        download(&[args, &["--json"]].concat()).exits(2);
    }
    assert_eq!(crate::project::files_below(&project.path("data")).len(), 5, "nothing was written");
    // What the source does not read may lie there.
    download(&["--output", "data/march.txt"]).exits(0);
    download(&["--output", "march.csv"]).exits(0);

    project.write("catalog.yaml", "version: 1\ntypes:\n  events: {source: {uri: 'data/*.ndjson'}}\n");
    let id = create(&project, &["--new", "--wait", "--format", "ndjson"]);
    let download = |args: &[&str]| jobs(&project, &[&["download", "--id", &id], args].concat());
    download(&["--output", "data/march.ndjson"]).exits(2).says(&["march.ndjson lies inside the source "]);
    download(&["--output", "data/sub/"]).exits(0);

    let record = project.path(&format!(".kt-export/jobs/{id}/job.json"));
    let mut job: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    job["spec"]["text"] = json!("version: 2\n");
    std::fs::write(&record, job.to_string()).unwrap();
    download(&["--output", "again.ndjson"]).exits(0).says(&[
        "warning: cannot check that again.ndjson is outside the source of job_",
        "because its spec cannot be read: ",
    ]);
}
