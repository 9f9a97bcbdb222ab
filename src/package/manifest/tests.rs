//! The manifest as its readers meet it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use super::*;

pub(crate) fn entry(path: &str, label: &str, start: &str, end: &str) -> FileEntry {
    FileEntry {
        path: path.into(),
        status: FileStatus::Complete,
        partition: ManifestPartition { label: label.into(), start: start.parse().unwrap(), end: end.parse().unwrap() },
        rows: 0,
        bytes: 0,
        sha256: Some("0".repeat(64)),
        plain_bytes: None,
        plain_sha256: None,
        rows_digest: None,
        sealed: None,
        min_time: None,
        max_time: None,
        attempts: 1,
        started_at: Some("2026-04-01T00:00:00Z".parse().unwrap()),
        finalized_at: Some("2026-04-01T00:00:01Z".parse().unwrap()),
        error_code: None,
        error: None,
    }
}

/// A complete package of the first two days of March, as CSV with zstd.
pub(crate) fn manifest() -> Manifest {
    Manifest {
        manifest_version: 1,
        id: "job_abcdefghijklmnopqrstuvwxyz".into(),
        name: "events".into(),
        type_name: "events".into(),
        status: JobStatus::Complete,
        export_format: ExportFormat::Csv,
        compression: ExportCompression::Zstd,
        created_at: "2026-04-01T00:00:00Z".parse().unwrap(),
        window_start: "2026-03-01T00:00:00Z".parse().unwrap(),
        window_end: "2026-03-03T00:00:00Z".parse().unwrap(),
        window_label: "2026-03-01_2026-03-02".into(),
        timezone: "UTC".into(),
        started_at: "2026-04-01T00:00:00Z".parse().unwrap(),
        finalized_at: "2026-04-01T00:00:02.5Z".parse().unwrap(),
        expires_at: None,
        total_rows: 0,
        total_bytes: 0,
        partial_count: 0,
        failed_count: 0,
        error_code: None,
        filters: json!({"status": {"in": ["blocked"]}, "latency_ms": {"gte": 500}}),
        where_sql: None,
        columns: vec![Column {
            name: "event_id".into(),
            type_name: "text".into(),
            nullable: false,
            redaction: Vec::new(),
        }],
        dropped: Vec::new(),
        spec: SpecRecord {
            path: "specs/events.yaml".into(),
            sha256: "1".repeat(64),
            git_commit: None,
            git_dirty: None,
            resolved: json!({"format": "csv"}).into(),
        },
        source: SourceRecord {
            snapshot: None,
            kind: Some(SourceKind::Files),
            uri: "data/".into(),
            files: Vec::new(),
            files_sha256: None,
            skipped_by_path_time: None,
            drift: Vec::new(),
            unexported_keys: Vec::new(),
        },
        accounting: Accounting::default(),
        filter_counts: Vec::new(),
        rows_digest: None,
        no_rows: None,
        files: vec![
            entry("data/2026-03-01/part-0000.csv.zst", "2026-03-01", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            entry("data/2026-03-02/part-0000.csv.zst", "2026-03-02", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"),
        ],
        rejects: Vec::new(),
        encryption: None,
        expectations: None,
        previous: None,
        link: None,
        signer: None,
        supersedes: None,
        restatement: None,
        runs: vec![RunRecord {
            run_id: "r1".into(),
            started_at: "2026-04-01T00:00:00Z".parse().unwrap(),
            finished_at: None,
            outcome: RunOutcome::Complete,
        }],
        tool: ToolRecord { name: "kt-export".into(), version: "0.1.0".into(), commit: None },
    }
}

/// Names and order of the keys are the contract.
const KEYS: &str = "manifest_version, id, name, type, status, export_format, compression, created_at, window_start, \
    window_end, window_label, timezone, started_at, finalized_at, expires_at, total_rows, total_bytes, partial_count, \
    failed_count, error_code, filters, where, columns, spec, source, accounting, files, runs, tool";

const FILE_KEYS: &str = "path, status, partition, rows, bytes, sha256, min_time, max_time, attempts, started_at, \
    finalized_at, error_code, error";

fn keys_of(text: &str, indent: &str) -> String {
    let keys = text.lines().filter_map(|line| line.strip_prefix(indent)?.strip_prefix('"')?.split_once('"'));
    keys.map(|(key, _)| key).collect::<Vec<_>>().join(", ")
}

#[test]
fn keys_stand_in_the_documented_order() {
    let text = String::from_utf8(manifest().to_json_bytes().unwrap()).unwrap();
    assert!(text.ends_with("}\n"));
    assert_eq!(keys_of(&text, "  "), KEYS);
    let file = serde_json::to_string_pretty(&manifest().files[0]).unwrap();
    assert_eq!(keys_of(&file, "  "), FILE_KEYS);
    assert!(text.find("latency_ms").unwrap() < text.find("blocked").unwrap());
    assert!(text.contains(r#""finalized_at": "2026-04-01T00:00:02.5Z""#));
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let mut written = manifest();
    written.previous = Some(PackageRef { id: "job_x".into(), sha256: "2".repeat(64) });
    written.rejects = vec![RejectsEntry {
        path: "rejects/0.ndjson".into(),
        rows: 1,
        bytes: 2,
        sha256: "3".repeat(64),
        plain_bytes: None,
        plain_sha256: None,
        sealed: None,
    }];
    written.source.files = vec![InputRecord {
        path: "a.csv".into(),
        bytes: Some(1),
        mtime: Some("2026-03-01T00:00:00.123456789Z".parse().unwrap()),
        etag: None,
        snapshot: None,
        rows: None,
        skipped: Some("outside the window by `path_time`".to_owned()),
        skip_code: Some(SkipCode::PathTime),
        error: Some(InputError { code: ErrorCode::SourceUnreadable, message: "gone".into() }),
    }];
    assert_eq!(Manifest::from_json(&written.to_json_bytes().unwrap()).unwrap(), written);
}

#[test]
fn a_value_that_a_message_repeats_is_escaped_and_cut() {
    let text = String::from_utf8(manifest().to_json_bytes().unwrap()).unwrap();
    let said = |status: &str| {
        let bytes = text.replacen(r#""status": "complete""#, &format!(r#""status": "{status}""#), 1);
        crate::failure::chain(&Manifest::from_json(bytes.as_bytes()).unwrap_err())
    };
    let short = said(r"\u001b[31m\u202e");
    assert!(
        short.starts_with(r"its fields are not those of version 1: unknown variant `\u{1b}[31m\u{202e}`, expected"),
        "{short}"
    );
    let long = said(&"x".repeat(5_000));
    assert!(long.len() < 400 && long.contains("xxx… at line 6 column "), "{long}");
}

#[test]
fn unknown_missing_and_repeated_fields_are_refused() {
    let text = String::from_utf8(manifest().to_json_bytes().unwrap()).unwrap();
    for (from, to) in [
        (r#""name": "events","#, r#""name": "events", "surprise": 1,"#),
        (r#""name": "events","#, r#""name": "events", "name": "events","#),
        (r#""expires_at": null,"#, ""),
        (r#""total_rows": 0,"#, r#""total_rows": -1,"#),
        (r#""status": "complete","#, r#""status": "queued","#),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Manifest::from_json(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(matches!(error, ManifestError::Malformed { .. }), "{to}: {error}");
    }
}

#[test]
fn another_version_is_called_another_version() {
    let text = String::from_utf8(manifest().to_json_bytes().unwrap()).unwrap();
    let later = text.replacen(r#""manifest_version": 1"#, r#""new_field": {}, "manifest_version": 2"#, 1);
    let error = Manifest::from_json(later.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("`manifest_version: 2`, and this release reads 1 only"), "{error}");
    assert!(matches!(Manifest::from_json(b"{}").unwrap_err(), ManifestError::NoVersion { .. }));
    assert!(matches!(Manifest::from_json(b"[1]").unwrap_err(), ManifestError::NoVersion { .. }));
    assert!(matches!(Manifest::from_json(b"{").unwrap_err(), ManifestError::NotJson(_)));
    assert!(matches!(Manifest::from_json(b"\xff").unwrap_err(), ManifestError::NotJson(_)));
}

#[test]
fn the_schema_requires_what_is_always_written_and_allows_nothing_else() {
    let schema = json_schema();
    let required: Vec<_> = schema["required"].as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect();
    assert_eq!(required.join(", "), KEYS);
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["manifest_version"]["const"], json!(1));
    let file = &schema["$defs"]["FileEntry"];
    assert_eq!(file["additionalProperties"], json!(false));
    let required: Vec<_> = file["required"].as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect();
    assert_eq!(required.join(", "), FILE_KEYS);
}

#[test]
fn sha256sum_itself_accepts_the_list() {
    let root = tempfile::tempdir().unwrap();
    let names = ["plain", " two  spaces ", "ä", "back\\slash", "new\nline", "both\\n\n", "*star", "\\first"];
    let digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    for name in names {
        std::fs::write(root.path().join(name), "foo").unwrap();
    }
    let mut check = match Command::new("sha256sum")
        .args(["-c", "--strict", "--quiet"])
        .current_dir(root.path())
        .stdin(Stdio::piped())
        .spawn()
    {
        Ok(check) => check,
        // Not a system with coreutils.
        Err(_) => return,
    };
    check.stdin.take().unwrap().write_all(sha256sums(names.map(|n| (n, digest))).as_bytes()).unwrap();
    assert!(check.wait().unwrap().success());
}

#[test]
fn a_failed_partition_is_not_in_the_sums_and_the_manifest_is_last() {
    let mut manifest = manifest();
    manifest.files[0].status = FileStatus::Failed;
    manifest.files[0].sha256 = None;
    let sums = manifest.sha256sums(&"f".repeat(64));
    let names: Vec<_> = sums.lines().filter_map(|l| l.split_once("  ")).map(|(_, name)| name).collect();
    assert_eq!(names, ["data/2026-03-02/part-0000.csv.zst", "manifest.json"]);
}
