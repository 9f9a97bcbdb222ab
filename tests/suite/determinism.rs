//! The same source gives the same bytes: for any number of threads, anywhere, by any number of processes at once.

use std::process::Stdio;

use crate::project::{NOW, Project, daily_files, parquet_of};

const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-06}\n\
    partition: {max_rows: 700}\nfilters: {n: {gte: 100}}";

/// Daily files and one that holds rows of all days.
fn project(format: &str) -> Project {
    let project = Project::with_spec(&format!("{SPEC}\nformat: {format}"));
    let mut all = String::new();
    for (name, text) in daily_files(6, 1000) {
        all.push_str(&text);
        project.write(&name.replace(".ndjson", ".parquet"), parquet_of(&text));
    }
    project.write("data/all.parquet", parquet_of(&all));
    project
}

#[test]
fn shards_are_the_same_bytes_for_any_number_of_threads_in_any_folder() {
    for format in ["csv", "ndjson", "json", "parquet"] {
        let project = project(format);
        project.run(&["--threads", "1", "--output", "one"]).exits(0);
        let expected = project.package_in("one/package").shards();
        assert!(expected.len() >= 12, "{format}: {:?}", expected.keys());
        for threads in ["2", "8"] {
            project.run(&["--threads", threads, "--output", threads]).exits(0);
            let package = project.package_in(&format!("{threads}/package"));
            package.balances();
            assert!(package.shards() == expected, "{format} with {threads} threads");
        }
    }
}

#[test]
fn shards_written_by_4_threads_are_repaired_to_the_same_bytes_by_any_number() {
    for format in ["csv", "parquet"] {
        let project = project(format);
        project.run(&["--threads", "4"]).exits(0);
        let package = project.package();
        let expected = package.shards();
        // One of many row groups of two files, and one part of several.
        let names: Vec<_> = expected.keys().step_by(3).collect();
        assert!(names.len() >= 4, "{format}: {:?}", expected.keys());
        for threads in ["1", "2", "8"] {
            for name in &names {
                std::fs::remove_file(package.root.join("data").join(name)).unwrap();
            }
            project.run(&["--threads", threads]).exits(4).says(&["--repair"]);
            project.run(&["--repair", "--threads", threads]).exits(0);
            assert!(package.shards() == expected, "{format} with {threads} threads");
            project.call(&["verify", "--rows", "package"]).exits(0);
        }
    }
}

#[test]
fn rows_are_the_same_whatever_was_rejected_between_them_in_what_order() {
    let spec = format!("{SPEC}\non_bad_rows: reject\norder: time");
    let project = Project::with_spec(&spec);
    for (name, text) in daily_files(6, 400) {
        project.write(&name, text.replacen("\n", "\nnot a row\n", 3));
    }
    let mut trees = Vec::new();
    for threads in ["1", "8"] {
        project.run(&["--threads", threads, "--output", threads]).exits(3);
        let package = project.package_in(&format!("{threads}/package"));
        package.balances();
        let rejects: Vec<_> = package
            .snapshot()
            .into_iter()
            .filter(|(n, _)| n.starts_with("rejects/"))
            .map(|(n, (b, _))| (n, b))
            .collect();
        assert!(!rejects.is_empty());
        trees.push((package.shards(), rejects));
    }
    assert!(trees[0] == trees[1]);
}

#[test]
fn any_number_of_processes_may_run_one_job_at_once() {
    let project = project("ndjson");
    project.run(&["--output", "alone"]).exits(0);
    let expected = project.package_in("alone/package").shards();
    for round in 0..3 {
        let output = format!("together-{round}");
        let args = ["run", "spec.yaml", "--now", NOW, "--progress", "never", "--threads", "2", "--output", &output];
        let start = || {
            let mut command = project.command(&args);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
        };
        let children: Vec<_> = (0..5).map(|_| start()).collect();
        for child in children {
            let ended = child.wait_with_output().expect("ends");
            assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        let package = project.package_in(&format!("{output}/package"));
        package.balances();
        assert!(package.shards() == expected);
        assert_eq!(package.manifest()["status"], "complete");
        let manifests = package.snapshot().into_keys().filter(|n| n.contains("manifest")).count();
        assert_eq!(manifests, 2, "a complete manifest is written once, and kept once");
        project.call(&["verify", "--rows", &format!("{output}/package")]).exits(0);
        let before = package.snapshot();
        project.run(&["--output", &output]).exits(0);
        assert!(package.snapshot() == before);
    }
}

#[test]
fn shards_are_the_same_bytes_in_any_memory_also_where_it_takes_several_passes() {
    let mut text = String::new();
    for (_, day) in daily_files(6, 400) {
        text.push_str(&day);
    }
    for (format, memory) in
        [("csv", "96MiB"), ("{csv: {delimiter: ';'}}\ncompression: {zstd: 19}", "200MiB"), ("parquet", "96MiB")]
    {
        let spec = format!(
            "type: events\nsource: {{uri: data/}}\nwindow: {{date_from: 2026-03-01, date_to: 2026-03-06}}\n\
            partition: {{by: hour}}\nformat: {format}"
        );
        let project = Project::with_spec(&spec);
        project.write("data/all.ndjson", &text);
        let plan = |memory: &str| {
            let plan = project.call(&["plan", "spec.yaml", "--json", "--memory", memory]).exits(0);
            plan.json()["totals"]["passes"].as_f64().unwrap()
        };
        assert_eq!(plan("64GiB"), 1.0, "{format}");
        if format.contains("zstd") {
            assert!(plan(memory) > 1.0, "{format}: {}", plan(memory));
        }
        project.run(&["--output", "all"]).exits(0);
        let expected = project.package_in("all/package").shards();
        project.run(&["--memory", memory, "--threads", "3", "--output", "some"]).exits(0);
        let package = project.package_in("some/package");
        package.balances();
        assert!(package.shards() == expected, "{format}");
    }
}

#[test]
fn rows_to_be_sorted_that_do_not_fit_fail_their_partition_and_say_the_way_out() {
    let project = Project::with_spec(
        "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-01}\n\
         partition: {by: day}\norder: time\nformat: ndjson",
    );
    let long = "x".repeat(20_000);
    let rows = |n: u32| -> String {
        (0..n)
            .map(|i| format!("{{\"occurred_at\":\"2026-03-01T00:00:{:02}Z\",\"text\":\"{long}\"}}\n", i % 60))
            .collect()
    };
    project.write("data/a.ndjson", rows(1_000));
    project.run(&["--memory", "96MiB", "--output", "a"]).exits(4).says(&[
        "memory_exceeded",
        "`order: time` sorts partitions in memory, and the open partitions exceed the 24 MiB that `--memory` leaves",
        "use `order: source`",
    ]);
    project.run(&["--memory", "256MiB", "--output", "a"]).exits(0);
    project.package_in("a/package").balances();
}
