//! Each field that `spec.resolved` implies, edited alone and with everything else kept in step.

use serde_json::json;

use super::*;
use crate::audit::verify::VerifyReport;
use crate::export_format::{ExportCompression, ExportFormat};
use crate::package::manifest::tests::manifest as template;
use crate::package::manifest::{
    FilterCount, HeldValues, InputRecord, LinkRecord, NoRows, NoRowsReason, PackageRef, RestatedPartition, Restatement,
    SkipCode, SourceRecord,
};

/// A manifest and the job that it is of.
fn manifest() -> Manifest {
    let mut manifest = template();
    manifest.expires_at = Some("2026-04-02T00:00:02.5Z".parse().unwrap());
    manifest.where_sql = Some("latency_ms > 5".to_owned());
    manifest.spec.resolved = json!({
        "revision": 0,
        "name": "events",
        "type": "events",
        "source": {"uri": "./data/"},
        "window": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z", "timezone": "UTC"},
        "partition": {"by": "day", "max_rows": 10},
        "filters": {"status": {"in": ["blocked"]}, "latency_ms": {"gte": 500}},
        "where": "latency_ms > 5",
        "columns": [{"event_id": "event_id"}, {"note": "text"}],
        "redact": {"note": "drop"},
        "format": {"csv": {}},
        "compression": {"zstd": 3},
        "output": {"uri": "package/", "retention": "86400s"},
    })
    .into();
    manifest.dropped = vec!["note".to_owned()];
    let count = |filter: &str| FilterCount { filter: filter.to_owned(), rows: 0 };
    manifest.filter_counts = vec![count("status in"), count("latency_ms gte"), count("where")];
    manifest.no_rows = Some(NoRows { reason: NoRowsReason::NothingToRead, held: Vec::new() });
    manifest
}

fn found(change: impl FnOnce(&mut Manifest)) -> Vec<String> {
    let mut manifest = manifest();
    change(&mut manifest);
    let mut report = VerifyReport::new(&crate::store::Location::Local("package".into()));
    check(&manifest, &mut report);
    report.findings.iter().map(|finding| finding.message.clone()).collect()
}

#[track_caller]
fn finds(expected: &str, change: impl FnOnce(&mut Manifest)) {
    assert_eq!(found(change), [expected]);
}

#[test]
fn a_manifest_that_says_what_its_job_implies_is_sound() {
    assert_eq!(found(|_| {}), Vec::<String>::new());
    assert_eq!(found(|m| m.source.uri = "/lake/data/".into()), Vec::<String>::new());
    assert_eq!(found(|m| m.filter_counts.clear()), Vec::<String>::new());
}

#[test]
fn every_field_that_the_job_implies_is_compared() {
    finds("`name` is \"other\", but `spec.resolved` gives \"events\"", |m| m.name = "other".into());
    finds("`type` is \"other\", but `spec.resolved` gives \"events\"", |m| m.type_name = "other".into());
    finds("`timezone` is \"Asia/Tokyo\", but `spec.resolved` gives \"UTC\"", |m| m.timezone = "Asia/Tokyo".into());
    finds("`window_label` is \"2027\", but `spec.resolved` gives \"2026-03-01_2026-03-02\"", |m| {
        m.window_label = "2027".into();
    });
    finds("`window_start` is \"2025-03-01T00:00:00Z\", but `spec.resolved` gives \"2026-03-01T00:00:00Z\"", |m| {
        m.window_start = "2025-03-01T00:00:00Z".parse().unwrap();
    });
    finds("`window_end` is \"2027-03-01T00:00:00Z\", but `spec.resolved` gives \"2026-03-03T00:00:00Z\"", |m| {
        m.window_end = "2027-03-01T00:00:00Z".parse().unwrap();
    });
    finds("`expires_at` is \"2099-01-01T00:00:00Z\", but `spec.resolved` gives \"2026-04-02T00:00:02.5Z\"", |m| {
        m.expires_at = Some("2099-01-01T00:00:00Z".parse().unwrap());
    });
    finds("`expires_at` is null, but `spec.resolved` gives \"2026-04-02T00:00:02.5Z\"", |m| m.expires_at = None);
    finds("`where` is null, but `spec.resolved` gives \"latency_ms > 5\"", |m| m.where_sql = None);
    let filters = found(|m| m.filters = json!({}));
    assert_eq!(filters.len(), 1);
    assert!(filters[0].starts_with("`filters` is {}, but `spec.resolved` gives {\""), "{filters:?}");
    finds("`compression` is \"none\", but `spec.resolved` gives \"zstd\"", |m| {
        m.compression = ExportCompression::None;
        m.files.iter_mut().for_each(|file| file.path = file.path.replace(".zst", ""));
    });
    finds("`export_format` is \"json\", but `spec.resolved` gives \"csv\"", |m| {
        m.export_format = ExportFormat::Json;
        m.files.iter_mut().for_each(|file| file.path = file.path.replace(".csv", ".json"));
    });
    finds("`source.uri` is s3://prod/, but `spec.resolved` gives ./data/", |m| m.source.uri = "s3://prod/".into());
    let lists = |stated: [&str; 2], written: [&str; 2]| {
        found(|m| {
            m.source.uri = stated.map(str::to_owned).into_iter().collect();
            m.spec.resolved.value_mut()["source"]["uri"] = json!(written);
        })
    };
    assert_eq!(lists(["/lake/a/", "s3://b/"], ["./a/", "s3://b/"]), Vec::<String>::new());
    let message = "`source.uri` is /lake/a/, s3://b/, but `spec.resolved` gives s3://b/, ./a/";
    assert_eq!(lists(["/lake/a/", "s3://b/"], ["s3://b/", "./a/"]), [message]);
    finds("`source.uri` is ./data/, s3://b/, but `spec.resolved` gives ./data/", |m| {
        m.source.uri = ["./data/", "s3://b/"].map(str::to_owned).into_iter().collect();
    });
    finds("`columns` are text, but `spec.resolved` selects event_id", |m| m.columns[0].name = "text".into());
    finds("`filter_counts` are of where, but `spec.resolved` filters by latency_ms gte, status in, where", |m| {
        drop(m.filter_counts.drain(..2));
    });
    finds("`encryption` differs from `spec.resolved`", |m| {
        m.encryption = Some(EncryptionRecord::Parquet {
            algorithm: "AES_GCM_V1".into(),
            footer_key: "env:KEY".into(),
            columns: std::collections::BTreeMap::new(),
            digests: Some(Digests::Clear),
        });
    });
    let found = found(|m| m.spec.resolved.set("window", json!({})));
    assert_eq!(found[0], "`spec.resolved` has no `window` of two instants and a zone");
    assert_eq!(found[1], "`spec.resolved` does not determine `window_start`");
}

#[test]
fn partitions_parts_and_rows_are_those_of_the_job() {
    finds(
        "the partition 2026-03-02 is 2026-03-02T00:00:00Z to 2026-03-02T12:00:00Z, but `spec.resolved` gives 2026-03-02, \
         2026-03-02T00:00:00Z to 2026-03-03T00:00:00Z",
        |m| m.files[1].partition.end = "2026-03-02T12:00:00Z".parse().unwrap(),
    );
    finds("the files are of 1 partitions, but `spec.resolved` gives 2", |m| drop(m.files.pop()));
    finds("is not named part-0000.csv.zst, as part 0 of its partition must be", |m| {
        m.files[1].path = "data/2026-03-02/part-0001.csv.zst".into();
    });
    finds("is not named part-0000.csv.zst, as part 0 of its partition must be", |m| m.files[1].path += ".age");
    assert!(found(|m| m.files[1].path = "data/2026-03-02/part-0000.run-1.csv.zst".into()).is_empty());
    finds("has 11 rows, but `spec.resolved` allows 10 per part", |m| m.files[1].rows = 11);
    finds("there are digests of rows, but `spec.resolved` does not request them", |m| {
        m.rows_digest = Some("rows-v1:".into());
    });
    finds("`spec.resolved` requests `rows_digest`, but there is none", |m| {
        m.spec.resolved.set("rows_digest", json!(true));
    });
    finds("there are files of rejected rows, but `spec.resolved` rejects none", |m| {
        m.rejects = vec![crate::package::manifest::RejectsEntry {
            path: "rejects/0.ndjson".into(),
            rows: 1,
            bytes: 1,
            sha256: "0".repeat(64),
            plain_bytes: None,
            plain_sha256: None,
            sealed: None,
        }];
    });
}

fn file(path: &str) -> InputRecord {
    InputRecord {
        path: path.into(),
        bytes: Some(9),
        mtime: None,
        etag: None,
        snapshot: None,
        rows: Some(1),
        skipped: None,
        skip_code: None,
        error: None,
    }
}

fn skipped_by_path_time(path: &str) -> InputRecord {
    InputRecord { rows: None, skipped: Some("why".into()), skip_code: Some(SkipCode::PathTime), ..file(path) }
}

/// A manifest of a release that wrote neither `source.kind` nor `no_rows`.
fn as_earlier(manifest: &mut Manifest) {
    manifest.source.kind = None;
    manifest.source.skipped_by_path_time = None;
    manifest.no_rows = None;
}

#[test]
fn the_reason_for_no_rows_is_that_of_the_row_counts_and_the_source_files() {
    finds("`no_rows` is missing, but the files have no rows; the reason is nothing_to_read", |m| m.no_rows = None);
    assert!(found(as_earlier).is_empty());
    finds("there is `no_rows`, but there are rows, or partitions without a shard", |m| m.total_rows = 1);
    let reason = |m: &mut Manifest, reason| m.no_rows = Some(NoRows { reason, held: Vec::new() });
    finds("`no_rows.reason` is all_filtered_out, but `accounting` and `source.files` give nothing_to_read", |m| {
        reason(m, NoRowsReason::AllFilteredOut);
    });
    let filtered_out = |m: &mut Manifest, filter: &str, column: &str| {
        m.source.files = vec![file("a.csv")];
        (m.accounting.source_rows, m.accounting.filtered_out) = (1, 1);
        m.filter_counts[0].rows = 1;
        m.spec.resolved.value_mut()["fields"] = json!({"status": "state"});
        m.spec.resolved.value_mut().as_object_mut().unwrap().remove("redact");
        let (filter, column) = (filter.to_owned(), column.to_owned());
        let held = vec![HeldValues { filter, column, values: vec!["allowed".into()], is_all: true }];
        m.no_rows = Some(NoRows { reason: NoRowsReason::AllFilteredOut, held });
    };
    // `note` is dropped by `redact`, without which it is a column.
    let columns = |m: &mut Manifest| {
        m.spec.resolved.value_mut()["columns"] = json!([{"event_id": "event_id"}]);
        m.dropped.clear();
    };
    assert!(found(|m| (filtered_out(m, "status in", "state"), columns(m)).1).is_empty());
    for (filter, column) in [("status in", "status"), ("latency_ms gte", "latency_ms"), ("other in", "other")] {
        finds(&format!("`no_rows.held` has values of {column} for {filter}, but no filter on it dropped rows"), |m| {
            filtered_out(m, filter, column);
            columns(m);
        });
    }
    finds("`no_rows.held` has values, but `spec.resolved` encrypts or redacts", |m| {
        filtered_out(m, "status in", "state");
        m.spec.resolved.value_mut()["redact"] = json!({"note": "drop"});
    });
    finds("`no_rows.held` has values, but the filters dropped no rows", |m| {
        filtered_out(m, "status in", "state");
        columns(m);
        m.accounting = Default::default();
        m.accounting.source_rows = 1;
        m.accounting.outside_window = 1;
        m.no_rows.as_mut().unwrap().reason = NoRowsReason::NoneInWindow;
    });
}

#[test]
fn what_a_manifest_says_of_its_source_follows_from_the_job_and_the_files() {
    let claimed = |m: &mut Manifest, stated| {
        m.spec.resolved.value_mut()["source"]["path_time"] = json!({"pattern": "%Y", "covers": "day"});
        m.source.files = vec![skipped_by_path_time("a.csv"), skipped_by_path_time("b.csv")];
        m.source.skipped_by_path_time = stated;
    };
    assert!(found(|m| claimed(m, Some(2))).is_empty());
    finds("`source.skipped_by_path_time` is 0, but 2 of `source.files` have the `skip_code` path_time", |m| {
        claimed(m, Some(0));
    });
    finds("`source.skipped_by_path_time` is missing, but `spec.resolved` has `path_time`", |m| claimed(m, None));
    let unclaimed = |m: &mut Manifest| m.spec.resolved.value_mut()["source"] = json!({"uri": "./data/"});
    finds("there is `source.skipped_by_path_time`, but `spec.resolved` has no `path_time`", |m| {
        claimed(m, Some(2));
        unclaimed(m);
    });
    finds("`source.files` have the `skip_code` path_time, but `spec.resolved` has no `path_time`", |m| {
        claimed(m, None);
        unclaimed(m);
    });
    let earlier = |m: &mut Manifest| {
        claimed(m, None);
        as_earlier(m);
        m.source.files.iter_mut().for_each(|file| file.skip_code = None);
    };
    assert!(found(earlier).is_empty());
    finds("`skipped` and `skip_code` must occur together, but b.csv has only one of them", |m| {
        claimed(m, Some(1));
        m.source.files[1].skip_code = None;
    });
    finds("`source.kind` is missing, but the manifest has fields that only releases with it write", |m| {
        m.source.kind = None;
    });
    let keys = |m: &mut Manifest| m.source.unexported_keys = vec!["owner".into()];
    finds("`source.unexported_keys` lists keys around the rows, but `spec.resolved` has no `records`", keys);
    assert!(found(|m| (keys(m), m.spec.resolved.value_mut()["source"]["records"] = json!("Records")).1).is_empty());
    let read = |m: &mut Manifest, of_file: Option<&str>| {
        m.source.snapshot = Some("7".into());
        m.source.files = vec![InputRecord { snapshot: of_file.map(str::to_owned), ..file("a") }];
        m.no_rows.as_mut().unwrap().reason = NoRowsReason::FilesWithoutRows;
    };
    assert!(found(|m| read(m, Some("7"))).is_empty());
    for (of_file, said) in [(None, "missing"), (Some("8"), "8")] {
        finds(&format!("`source.snapshot` is 7, but that of an input in `source.files` is {said}"), |m| {
            read(m, of_file);
        });
    }
}

#[test]
fn a_list_of_source_files_that_was_cut_has_another_digest() {
    let files = vec![file("a.csv"), file("b.csv")];
    // printf '[{"bytes":9,"path":"a.csv","rows":1},{"bytes":9,"path":"b.csv","rows":1}]' | sha256sum
    let digest = SourceRecord::digest_of_files(&files).unwrap();
    assert_eq!(digest.as_deref(), Some("2ce54c1eab53e43c1d00491475f2404a18bbf563007dcc736e26e738b076942f"));
    finds("`source.files_sha256` is not the digest of `source.files`: the list was changed", |m| {
        m.source.files = files[..1].to_vec();
        m.source.files_sha256 = digest;
        m.no_rows.as_mut().unwrap().reason = NoRowsReason::FilesWithoutRows;
    });
}

#[test]
fn expectations_revisions_and_links_are_those_of_the_job() {
    let expect = |m: &mut Manifest| m.spec.resolved.set("expect", json!({"min_rows": 5}));
    finds("`spec.resolved` has expectations, but `expectations` is missing", expect);
    finds("`expectations` are of {\"min_rows\":1}, but `spec.resolved` expects {\"min_rows\":5}", |m| {
        expect(m);
        m.expectations = Some(vec![crate::package::manifest::Expectation {
            name: "min_rows".into(),
            expected: json!(1),
            actual: json!(1),
            holds: true,
        }]);
    });
    let of = || PackageRef { id: "job_x".into(), sha256: "0".repeat(64) };
    finds("`supersedes` and `restatement` must occur together", |m| m.supersedes = Some(of()));
    let partition = |label: &str, rows_after| RestatedPartition { label: label.into(), rows_before: 1, rows_after };
    let restated = |m: &mut Manifest, revision, partitions| {
        m.supersedes = Some(of());
        m.restatement = Some(Restatement { revision, partitions });
        m.spec.resolved.set("revision", json!(2));
    };
    let both = || vec![partition("2026-03-01", 0), partition("2026-03-02", 0)];
    assert!(found(|m| restated(m, 2, both())).is_empty());
    finds("`restatement.revision` is 3, but `spec.resolved` gives 2", |m| restated(m, 3, both()));
    finds("`restatement` has 4 rows of 2026-03-02, but its files have 0", |m| {
        restated(m, 2, vec![partition("2026-03-01", 0), partition("2026-03-02", 4)]);
    });
    finds("`restatement` does not have the partition 2026-03-02", |m| restated(m, 2, vec![partition("2026-03-01", 0)]));
    let contradiction = "`previous` and `link` contradict each other: only a first link has no previous one";
    finds(contradiction, |m| m.previous = Some(of()));
    finds(contradiction, |m| m.link = Some(LinkRecord { number: 2, previous_sha256: Some("0".repeat(64)) }));
    finds("the job is complete, but the run that wrote the manifest ended differently", |m| {
        m.runs[0].outcome = crate::package::manifest::RunOutcome::Failed;
    });
}
