//! Running again: harmless after success, complete after a mended failure, golden after any interruption.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::project::{NOW, Outcome, Package, Project, daily_files, files_below, gzip, outcome, parquet_of};

const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-05}";

fn project_of(days: u32, per_day: u32) -> Project {
    let project = Project::with_spec(SPEC);
    for (name, text) in daily_files(days, per_day) {
        project.write(&name, text);
    }
    project
}

fn labels_with(package: &Package, status: &str) -> Vec<String> {
    package.statuses().into_iter().filter(|(_, s, _)| s == status).map(|(label, ..)| label).collect()
}

/// What an undisturbed run of the same spec and source gives.
fn golden(project: &Project) -> std::collections::BTreeMap<String, Vec<u8>> {
    project.run(&["--output", "golden"]).exits(0);
    project.package_in("golden/package").shards()
}

/// Asserts that a finished package is what an undisturbed run gives, in every promise.
#[track_caller]
fn is_golden(package: &Package, golden: &std::collections::BTreeMap<String, Vec<u8>>, project: &Project) {
    let shards = package.undisturbed_shards();
    assert_eq!(shards.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
    assert!(shards == *golden, "the bytes are others");
    assert_eq!(package.manifest()["status"], "complete");
    package.balances();
    let leftovers: Vec<_> =
        package.snapshot().into_keys().filter(|n| n.contains("tmp") || n.contains(".part")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    project.call(&["verify", "--rows", "package"]).exits(0);
}

#[test]
fn a_second_run_changes_no_byte() {
    for format in ["csv", "parquet"] {
        let project = project_of(5, 50);
        project.spec(&format!("{SPEC}\nformat: {format}"));
        let package = project.complete();
        let before = package.snapshot();
        for args in [&[][..], &["--repair"], &["--threads", "1"]] {
            project.run(args).exits(0).says(&["complete already"]);
            assert!(package.snapshot() == before, "{args:?}");
        }
        // Not even what the source is now counts: the package is final.
        project.write("data/2026-03-02.ndjson", "{\"event_id\": 1}\n");
        project.run(&[]).exits(0);
        assert!(package.snapshot() == before);
    }
}

#[test]
fn a_crash_after_the_manifest_is_completed_by_the_next_run() {
    let project = project_of(5, 20);
    let package = project.complete();
    let sums = std::fs::read(package.root.join("SHA256SUMS")).unwrap();
    std::fs::remove_file(package.root.join("SHA256SUMS")).unwrap();
    project.write("package/_state/tmp/1-dead-1", "a file that never got its name");
    project.run(&[]).exits(0);
    assert!(!package.root.join("_state/tmp").exists());
    assert_eq!(std::fs::read(package.root.join("SHA256SUMS")).unwrap(), sums);
}

/// One daily file is broken; its day fails with a code, the others are complete. Mended, the job becomes complete.
fn a_broken_file_fails_its_day(broken: (&str, Vec<u8>), whole: &[u8], code: &str) {
    let project = Project::with_spec(SPEC);
    let (name, bytes) = broken;
    let extension = name.split_once(".").unwrap().1;
    for (day, text) in daily_files(5, 60) {
        let other = match extension {
            "parquet" => parquet_of(&text),
            "ndjson.gz" => gzip(text.as_bytes()),
            _ => text.into_bytes(),
        };
        project.write(&day.replace("ndjson", extension), other);
    }
    project.write(name, bytes);
    let outcome = project.run(&["--json"]).exits(3).says(&["partial", "2026-03-03", code]);
    assert_eq!(outcome.json()["specs"][0]["status"], "partial");
    let package = project.package();
    assert_eq!(labels_with(&package, "failed"), ["2026-03-03"], "{:?}", package.statuses());
    assert_eq!(labels_with(&package, "complete").len(), 4);
    let failed = package.file("2026-03-03");
    assert_eq!((&failed["error_code"], &failed["sha256"], &failed["rows"]), (&json!(code), &Value::Null, &json!(0)));
    let file = name.strip_prefix("data/").unwrap();
    assert!(failed["error"].as_str().unwrap().starts_with(&format!("{file}:")), "{failed}");
    let manifest = package.manifest();
    assert_eq!((&manifest["failed_count"], &manifest["total_rows"]), (&json!(1), &json!(240)));
    assert!(!package.root.join("data/2026-03-03").exists(), "nothing half-written is left");
    project.call(&["verify", "--rows", "package"]).exits(0);
    let first = package.snapshot();

    // Still broken: the same outcome, and what is complete stays.
    project.run(&[]).exits(3);
    let shards = package.shards();

    project.write(name, whole);
    project.run(&[]).exits(0);
    assert_eq!(package.manifest()["status"], "complete");
    package.balances();
    project.call(&["verify", "--rows", "package"]).exits(0);
    for (path, bytes) in shards {
        assert!(package.shards().get(&path) == Some(&bytes), "{path} was complete and has changed");
    }
    let kept = files_below(&package.root.join("_state/manifests"));
    assert!(kept.values().any(|path| std::fs::read(path).unwrap() == first["manifest.json"].0), "{:?}", kept.keys());
    let outcomes: Vec<_> =
        package.manifest()["runs"].as_array().unwrap().iter().map(|r| r["outcome"].clone()).collect();
    assert_eq!((outcomes.first(), outcomes.last()), (Some(&json!("partial")), Some(&json!("complete"))));
    assert!(package.file("2026-03-03")["attempts"].as_u64().unwrap() >= 2);
    is_golden(&package, &golden(&project), &project);
}

fn third_day() -> String {
    daily_files(5, 60).remove(2).1
}

#[test]
fn a_parquet_file_cut_short_fails_its_day() {
    let whole = parquet_of(&third_day());
    for cut in [0, 3, whole.len() / 2, whole.len() - 1] {
        a_broken_file_fails_its_day(("data/2026-03-03.parquet", whole[..cut].to_vec()), &whole, "source_unreadable");
    }
}

#[test]
fn garbage_instead_of_gzip_fails_its_day() {
    let whole = gzip(third_day().as_bytes());
    let garbage = b"\x1f\x8b\x08garbage that no decoder takes for anything".to_vec();
    a_broken_file_fails_its_day(("data/2026-03-03.ndjson.gz", garbage), &whole, "source_unreadable");
    a_broken_file_fails_its_day(
        ("data/2026-03-03.ndjson.gz", whole[..whole.len() - 9].to_vec()),
        &whole,
        "source_unreadable",
    );
}

#[test]
fn a_broken_line_of_ndjson_fails_its_day() {
    let whole = third_day();
    let broken = whole.replacen("{\"event_id\":\"e3-30\"", "{\"event_id\":e3-30", 1).into_bytes();
    a_broken_file_fails_its_day(("data/2026-03-03.ndjson", broken), whole.as_bytes(), "bad_rows");
    let cut = &whole.as_bytes()[..whole.len() - 10];
    a_broken_file_fails_its_day(("data/2026-03-03.ndjson", cut.to_vec()), whole.as_bytes(), "bad_rows");
}

#[test]
fn a_file_of_nothing_but_garbage_fails_the_day_of_its_name() {
    let whole = third_day();
    a_broken_file_fails_its_day(("data/2026-03-03.ndjson", b"broken\n".to_vec()), whole.as_bytes(), "bad_rows");
}

#[test]
fn a_pinned_plan_that_was_edited_is_refused_and_nothing_is_changed() {
    let project = project_of(5, 1000);
    let mut child = start(&project);
    wait_for_files(&project, &mut child, "_state/partitions", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let package = project.package();
    if package.root.join("manifest.json").exists() {
        // On a machine so fast that the job ended, no plan is followed any more.
        return;
    }
    let before = package.snapshot();
    for (from, to) in [("\"state_version\": ", "\"state_version\": 9"), ("\"inputs\": [", "\"inputs\": [\"x\", ")] {
        let plan = std::fs::read_to_string(package.root.join("_state/plan.json")).unwrap();
        std::fs::write(package.root.join("_state/plan.json"), plan.replace(from, to)).unwrap();
        let stderr = project.run(&[]).exits(4).stderr;
        assert!(stderr.contains("_state/plan.json cannot be read"), "{stderr}");
        assert!(stderr.contains("it was changed after it was pinned"), "{stderr}");
        std::fs::write(package.root.join("_state/plan.json"), plan).unwrap();
    }
    assert_eq!(package.snapshot().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    project.run(&[]).exits(0);
    is_golden(&package, &golden(&project), &project);
}

#[test]
fn a_job_without_any_usable_partition_fails_and_resumes() {
    let project = Project::with_spec(SPEC);
    project.write("data/x.parquet", "PAR1 and nothing else");
    let failed = project.run(&["--json"]).exits(4);
    assert_eq!(failed.json()["specs"][0]["status"], "failed");
    assert_eq!(labels_with(&project.package(), "failed").len(), 5);
    let text: String = daily_files(5, 60).into_iter().map(|(_, text)| text).collect();
    project.write("data/x.parquet", parquet_of(&text));
    project.run(&[]).exits(0);
    is_golden(&project.package(), &golden(&project), &project);
}

#[test]
fn on_partition_error_stop_leaves_the_rest_pending() {
    let project = project_of(5, 60);
    project.spec(&format!("{SPEC}\non_partition_error: stop"));
    let whole = std::fs::read_to_string(project.path("data/2026-03-03.ndjson")).unwrap();
    project.write("data/2026-03-03.ndjson", whole.replacen("{", "", 1));
    project.run(&["--threads", "1"]).exits(4);
    let package = project.package();
    assert_eq!(package.manifest()["status"], "failed");
    assert_eq!(labels_with(&package, "failed"), ["2026-03-03"]);
    project.write("data/2026-03-03.ndjson", whole);
    project.run(&[]).exits(0);
    is_golden(&package, &golden(&project), &project);
}

fn start(project: &Project) -> Child {
    let args = ["run", "spec.yaml", "--now", NOW, "--progress", "never", "--threads", "2"];
    project.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts")
}

/// Waits until so many files are below a folder of the package, or the child has ended.
fn wait_for_files(project: &Project, child: &mut Child, below: &str, count: usize) {
    let there = || files_below(&project.path("package").join(below)).len();
    while there() < count && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn a_killed_run_is_resumed_to_the_same_bytes() {
    let project = project_of(5, 300);
    let golden = golden(&project);
    let package = project.package();
    let runs = |kill: &dyn Fn(&mut Child)| {
        // Killed three times in a row, then let go.
        for _ in 0..3 {
            let mut child = start(&project);
            kill(&mut child);
            child.kill().expect("killed");
            child.wait().expect("ended");
            for (name, bytes) in package.shards() {
                if golden.contains_key(&name) {
                    assert!(golden[&name] == bytes, "{name} is not whole under its own name");
                }
            }
        }
        project.run(&[]).exits(0);
        is_golden(&package, &golden, &project);
        std::fs::remove_dir_all(&package.root).expect("removed");
    };
    for milliseconds in [5, 15, 30, 50, 80, 120] {
        runs(&|_| std::thread::sleep(Duration::from_millis(milliseconds)));
    }
    for files in 1..=5 {
        runs(&|child| wait_for_files(&project, child, "data", files));
        runs(&|child| wait_for_files(&project, child, "_state/partitions", files));
    }
    runs(&|child| wait_for_files(&project, child, "_state", 1));
}

/// Sends a signal once the first partitions are there, and says how the run ended.
fn interrupted(project: &Project, signal: &str) -> Outcome {
    let mut child = start(project);
    wait_for_files(project, &mut child, "_state/partitions", 2);
    let id = child.id();
    outcome(std::process::Command::new("sh").args(["-c", &format!("kill -{signal} {id}")])).exits(0);
    let ended = child.wait_with_output().expect("ended");
    Outcome {
        code: ended.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

#[test]
fn a_run_that_a_signal_stops_says_so_and_can_be_resumed() {
    let project =
        Project::with_spec("type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-31}");
    for (name, text) in daily_files(31, 200) {
        project.write(&name, text);
    }
    let golden = golden(&project);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        interrupted(&project, signal).exits(code).says(&["run again to resume"]);
        let package = project.package();
        assert!(!package.root.join("manifest.json").exists(), "the run did not end");
        let committed = files_below(&package.root.join("_state/partitions")).len();
        assert!((2..31).contains(&committed), "{committed}");
        assert!(package.shards().iter().all(|(name, bytes)| golden.get(name) == Some(bytes)), "only whole shards");
        project.run(&[]).exits(0);
        is_golden(&package, &golden, &project);
        std::fs::remove_dir_all(&package.root).unwrap();
    }
}

#[test]
fn a_place_that_another_job_has_is_refused_until_it_is_to_be_replaced() {
    let project = project_of(5, 20);
    let whole = std::fs::read_to_string(project.path("data/2026-03-03.ndjson")).unwrap();
    project.write("data/2026-03-03.ndjson", whole.replacen('{', "", 1));
    project.run(&[]).exits(3);
    let package = project.package();
    let theirs = package.manifest()["id"].as_str().unwrap().to_owned();
    let before = package.snapshot();

    project.write("data/2026-03-03.ndjson", whole);
    project.spec(&format!("{SPEC}\nformat: ndjson"));
    let refused = project.run(&["--json"]).exits(4).says(&[&theirs, "--replace"]);
    assert_eq!(refused.json()["specs"][0]["error_code"], "package_occupied");
    project.run(&["--replace", "job_aaaaaaaaaaaaaaaaaaaaaaaaaa"]).exits(4).says(&[&theirs]);
    assert!(package.snapshot() == before, "a refusal changes nothing");

    project.run(&["--replace", &theirs]).exits(0);
    is_golden(&package, &golden(&project), &project);
    assert_ne!(package.manifest()["id"], theirs);
    assert!(package.snapshot().keys().all(|name| !name.ends_with(".csv.zst")), "nothing of the other job is left");
}

#[test]
fn a_complete_package_is_never_replaced() {
    let project = project_of(5, 20);
    let package = project.complete();
    let theirs = package.manifest()["id"].as_str().unwrap().to_owned();
    let before = package.snapshot();
    project.spec(&format!("{SPEC}\nformat: ndjson"));
    project.run(&["--replace", &theirs]).exits(4).says(&["a complete package is final"]);
    assert!(package.snapshot() == before);
}

#[test]
fn a_folder_with_files_of_somebody_else_is_refused() {
    let project = project_of(5, 20);
    project.write("package/data/mine.txt", "precious");
    project.run(&[]).exits(4);
    assert_eq!(std::fs::read_to_string(project.path("package/data/mine.txt")).unwrap(), "precious");
    assert_eq!(project.package().snapshot().len(), 1);
}

#[test]
fn a_file_where_the_package_should_be_is_refused_before_anything_is_read() {
    let project = project_of(5, 20);
    project.write("package", "a file");
    project.run(&[]).exits(4).says(&["package"]);
    assert_eq!(std::fs::read_to_string(project.path("package")).unwrap(), "a file");
}

#[test]
fn a_damaged_shard_is_told_and_repaired_to_the_same_bytes() {
    for after_a_partial_run in [false, true] {
        let project = project_of(5, 40);
        let golden = golden(&project);
        let package = project.package();
        let broken = project.path("data/2026-03-05.ndjson");
        let whole = std::fs::read(&broken).unwrap();
        if after_a_partial_run {
            std::fs::write(&broken, &whole[1..]).unwrap();
            project.run(&[]).exits(3);
            std::fs::write(&broken, &whole).unwrap();
        } else {
            project.run(&[]).exits(0);
        }
        let path = |label: &str| package.root.join(package.file(label)["path"].as_str().unwrap());
        let manifest = std::fs::read(package.root.join("manifest.json")).unwrap();
        std::fs::remove_file(path("2026-03-02")).unwrap();
        let cut = std::fs::read(path("2026-03-04")).unwrap();
        std::fs::write(path("2026-03-04"), &cut[..cut.len() - 1]).unwrap();
        let refused = project.run(&["--json"]).exits(4).says(&["2026-03-02", "is missing", "2026-03-04", "--repair"]);
        assert_eq!(refused.json()["specs"][0]["error_code"], "package_damaged");
        assert_eq!(std::fs::read(package.root.join("manifest.json")).unwrap(), manifest);
        project.run(&["--repair"]).exits(0);
        is_golden(&package, &golden, &project);
        if !after_a_partial_run {
            assert_eq!(std::fs::read(package.root.join("manifest.json")).unwrap(), manifest, "the manifest was right");
        }
    }
}

/// Rewrites a file with other text of the same length, and keeps its time, so that it looks as it did.
#[track_caller]
fn replace_unseen(project: &Project, name: &str, from: &str, to: &str) {
    let path = project.path(name);
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from) && from.len() == to.len());
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn a_shard_that_cannot_be_exported_again_as_it_was_says_so_and_is_not_replaced() {
    let repaired = |rest: &str, per_day: u32, from: &str, to: &str| {
        let project = Project::with_spec(&format!("{SPEC}\n{rest}"));
        for (name, text) in daily_files(5, per_day) {
            project.write(&name, text);
        }
        project.run(&[]).exits(0);
        let package = project.package();
        replace_unseen(&project, "data/2026-03-02.ndjson", from, to);
        let lost = package.files_of("2026-03-02")[0]["path"].as_str().unwrap().to_owned();
        std::fs::remove_file(package.root.join(&lost)).unwrap();
        let before = package.snapshot();
        let refused = project.run(&["--repair", "--json"]).exits(4);
        assert_eq!(refused.json()["specs"][0]["error_code"], "package_damaged");
        assert_eq!(package.evidence().get(&lost), None);
        assert!(before.iter().all(|(name, file)| package.snapshot().get(name) == Some(file)), "{refused:?}");
        (refused, lost)
    };
    let (refused, lost) = repaired("", 40, "row 1 of", "ROW 1 of");
    refused.says(&[
        &format!("{lost}: the new export has the SHA-256 "),
        ", but the manifest lists ",
        ". Either the source changed without changing its sizes and times, or the export is not reproducible; restore the \
         file from a copy",
    ]);
    // A row that has moved to the next day leaves one part less.
    let (refused, _) = repaired("partition: {max_rows: 20}", 21, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
    refused.says(&[
        "partition 2026-03-02: the new export has 1 files, but the manifest lists 2. The export is not reproducible; \
                    restore the files from a copy",
    ]);
}

#[test]
fn a_source_that_changes_after_the_plan_fails_its_partitions() {
    let project = project_of(5, 1000);
    let mut child = start(&project);
    wait_for_files(&project, &mut child, "_state/partitions", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let package = project.package();
    assert!(package.root.join("_state/plan.json").exists());
    let committed = files_below(&package.root.join("_state/partitions"));
    let day = (1..=5).map(|d| format!("2026-03-{d:02}")).find(|d| !committed.contains_key(&format!("{d}.json")));
    // On a machine so fast that all was committed, there is nothing to test.
    let Some(day) = day else { return };
    let name = format!("data/{day}.ndjson");
    let whole = std::fs::read_to_string(project.path(&name)).unwrap();
    let stamp = std::fs::metadata(project.path(&name)).unwrap().modified().unwrap();
    project.write(&name, format!("{whole}{}", whole.lines().next().unwrap()));
    project.run(&[]).exits(3).says(&["source_changed"]);
    assert_eq!(labels_with(&package, "failed"), std::slice::from_ref(&day));
    let failed = package.file(&day);
    assert_eq!(failed["error_code"], "source_changed");
    assert!(failed["error"].as_str().unwrap().contains(&format!("{day}.ndjson")), "{failed}");

    // The file as it was, time included.
    project.write(&name, whole);
    let file = std::fs::File::options().write(true).open(project.path(&name)).unwrap();
    file.set_modified(stamp).unwrap();
    project.run(&[]).exits(0);
    is_golden(&package, &golden(&project), &project);
}
