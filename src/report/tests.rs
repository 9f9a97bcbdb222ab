//! The report as its readers meet it: whole, inert, the same every time, and clear about what is missing.

use serde_json::{Value as Json, json};

use super::*;
use crate::error::ErrorCode;
use crate::package::manifest::tests::{entry, manifest};
use crate::package::manifest::{
    Accounting, Column, ColumnRedaction, EncryptionRecord, Expectation, FileStatus, FilterCount, HeldValues,
    InputError, InputRecord, JobStatus, LinkRecord, NoRows, NoRowsReason, PackageRef, RejectsEntry, RestatedPartition,
    Restatement, RunOutcome, SignerRecord, SkipCode,
};

const DIGEST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn both(manifest: &Manifest) -> [String; 2] {
    [html(manifest, DIGEST).unwrap(), markdown(manifest, DIGEST).unwrap()]
}

/// A manifest in which everything is set that can be.
fn full() -> Manifest {
    let mut full = manifest();
    full.spec.resolved = json!({
        "version": 1, "partition": {"by": "day", "max_rows": 1000}, "order": "time", "time": {"column": "occurred_at"},
        "format": {"csv": {"delimiter": ";", "bom": true, "header": false, "escape_formulas": true, "null_text": "NULL"}},
        "compression": {"zstd": 3}, "on_bad_rows": "reject", "on_null_time": "fail",
        "columns": [{"event": "event_id"}], "redact": {"message": "drop"},
    }).into();
    full.timezone = "Europe/Berlin".into();
    full.where_sql = Some("cost > 0.5".into());
    full.filter_counts = vec![FilterCount { filter: "statuses in".into(), rows: 1_234 }];
    full.rows_digest = Some("d".repeat(64));
    full.encryption = Some(EncryptionRecord::Age {
        recipients: vec!["age1one".into(), "age1two".into()],
        digests: Some(crate::job::Digests::Clear),
    });
    for file in &mut full.files {
        file.path.push_str(".age");
        file.plain_sha256 = Some("e".repeat(64));
        file.rows = 5;
        (file.min_time, file.max_time) = (Some(file.partition.start), Some(file.partition.start));
    }
    full.total_rows = 10;
    full.columns[0].redaction = vec![ColumnRedaction {
        path: "event".into(),
        method: "hmac_sha256".into(),
        key_id: Some("0123456789abcdef".into()),
        values: 10,
    }];
    full.expectations =
        Some(vec![Expectation { name: "min_rows".into(), expected: json!(1), actual: json!(10), holds: true }]);
    full.previous = Some(PackageRef { id: "job_previous".into(), sha256: "1".repeat(64) });
    full.supersedes = Some(PackageRef { id: "job_superseded".into(), sha256: "2".repeat(64) });
    full.restatement = Some(Restatement {
        revision: 2,
        partitions: vec![RestatedPartition { label: "2026-03-01".into(), rows_before: 4, rows_after: 5 }],
    });
    full.link = Some(LinkRecord { number: 7, previous_sha256: Some("3".repeat(64)) });
    full.signer =
        Some(SignerRecord { identity: "o'brien@example.com".into(), public_key: "ssh-ed25519 AAAAC3Nz".into() });
    full.spec.git_commit = Some("abc123".into());
    full.spec.git_dirty = Some(true);
    full.source.files = vec![
        InputRecord {
            path: "a.csv".into(),
            bytes: Some(1),
            mtime: None,
            etag: Some("\"v1\"".into()),
            snapshot: None,
            rows: Some(15),
            skipped: None,
            skip_code: None,
            error: None,
        },
        InputRecord {
            path: "b.csv".into(),
            bytes: Some(2048),
            mtime: Some("2026-03-01T00:00:00Z".parse().unwrap()),
            etag: None,
            snapshot: None,
            rows: None,
            skipped: Some("outside the window".into()),
            skip_code: Some(SkipCode::PathTime),
            error: None,
        },
    ];
    full.source.drift = vec!["latency_ms: int64 and text: text".into()];
    full.accounting.source_rows = 15;
    full.accounting.written = 10;
    full.accounting.rejected = 5;
    full.accounting.ambiguous_time = 2;
    full.rejects = vec![RejectsEntry {
        path: "rejects/t.ndjson".into(),
        rows: 5,
        bytes: 50,
        sha256: "3".repeat(64),
        plain_bytes: None,
        plain_sha256: None,
        sealed: None,
    }];
    full.expires_at = Some("2027-01-01T00:00:00Z".parse().unwrap());
    full
}

/// A partial package: one partition failed, one lost rows, one was not tried.
fn partial() -> Manifest {
    let mut partial = manifest();
    partial.status = JobStatus::Partial;
    partial.files.push(entry("data/c/part-0000.csv.zst", "2026-03-03", "2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z"));
    let codes = [
        (FileStatus::Failed, Some(ErrorCode::SourceChanged), Some("a.csv: it has a different size")),
        (FileStatus::Partial, Some(ErrorCode::RowsRejected), Some("a.csv:7: no time")),
        (FileStatus::Pending, None, None),
    ];
    for (file, (status, code, error)) in partial.files.iter_mut().zip(codes) {
        (file.status, file.error_code, file.error) = (status, code, error.map(str::to_owned));
        file.sha256 = file.sha256.take().filter(|_| status.has_file());
    }
    partial.accounting.source_rows = 9;
    partial
}

#[test]
fn a_complete_package_is_called_complete_and_every_question_is_answered() {
    for page in both(&full()) {
        for text in [
            "Complete",
            "All 2 partitions of the window: 10 rows in 2 files",
            "Where does the information come from?",
            "What was requested?",
            "Is everything there?",
            "How do we know that it is accurate?",
            "cut in the zone Europe/Berlin",
            "from 2026-03-01 01:00:00 +01:00 (included)",
            "to 2026-03-03T00:00:00Z (not included)",
            "one partition a day, cut in Europe/Berlin",
            "a new file after 1,000 rows",
            "latency\u{5f}ms is at least 500",
            "status is “blocked”",
            "by time, then by id, in each partition",
            "cells end with “;”",
            "zstd, level 3",
            "age1one",
            "age1two",
            "0123456789abcdef",
            "replaced by a pseudonym (HMAC-SHA-256)",
            "left out",
            "15 rows in the source = 10 written + 0 filtered out + 0 outside the window + 0 without a time + 5 unreadable",
            "The two sides are equal",
            "1,234",
            "rejects/t.ndjson",
            "job_previous",
            "job_superseded",
            "abc123",
            "the spec had uncommitted changes",
            "sha256sum -c SHA256SUMS",
            "ssh-keygen -Y verify",
            "link 7",
            "2026-03-01: 4 rows before, 5 now",
            "age -d -i KEY_FILE -o part-0000.csv.zst data/2026-03-01/part-0000.csv.zst.age",
            DIGEST,
            "What this report does not prove",
            "2 rows with a local time",
            "1 file of the source was not read.",
        ] {
            let found = page.replace("\\_", "_");
            assert!(found.contains(text), "{text} in\n{page}");
        }
    }
}

#[test]
fn what_is_missing_stands_at_the_top_with_what_to_do() {
    for page in both(&partial()) {
        let page = page.replace("\\_", "_");
        let top = &page[..page.find("Where does the information come from?").unwrap()];
        for text in [
            "Partial: something is missing or not as expected",
            "0 of 3 partitions are complete",
            "1 partition without a file: 2026-03-01",
            "source_changed: a.csv: it has a different size",
            "1 partition with rejected rows: 2026-03-02",
            "1 partition not tried: 2026-03-03",
            "9 rows of the source missing from the files",
        ] {
            assert!(top.contains(text), "{text} in\n{top}");
        }
        assert_eq!(top.matches("rows_rejected").count(), 2, "once as the cause, once with what to do");
    }
    let page = html(&partial(), DIGEST).unwrap();
    let advice = page.split("<h3>What to do</h3>").nth(1).unwrap();
    assert!(advice.contains("Rows could not be parsed or have no time, and were written to rejects/"), "{advice}");
    assert!(page.contains("9 rows of the source are missing from the files because partitions are missing"));
}

#[test]
fn every_status_has_its_verdict() {
    for (status, words) in [
        (JobStatus::Complete, "<h2 id=\"verdict\">Complete, but there was nothing to read</h2>"),
        (JobStatus::Partial, "<h2 id=\"verdict\">Partial: something is missing or not as expected</h2>"),
        (JobStatus::Failed, "<h2 id=\"verdict\">Failed: do not use as evidence</h2>"),
        (JobStatus::Cancelled, "<h2 id=\"verdict\">Cancelled before it was complete</h2>"),
    ] {
        let mut manifest = manifest();
        manifest.status = status;
        let page = html(&manifest, DIGEST).unwrap();
        assert!(page.contains(words) && page.contains(&format!("class=\"verdict v-{status}\"")), "{status}");
    }
    let mut refuted = manifest();
    refuted.accounting.source_rows = 1;
    let page = html(&refuted, DIGEST).unwrap();
    assert!(
        page.contains("v-failed")
            && page.contains("<h2 id=\"verdict\">Marked complete, but its own numbers contradict that</h2>")
    );
    let mut nothing = manifest();
    (nothing.status, nothing.error_code) = (JobStatus::Failed, Some(ErrorCode::StoreDenied));
    nothing.files.clear();
    for page in both(&nothing) {
        let page = page.replace("\\_", "_");
        assert!(page.contains("The job ended before it had partitions. There are no rows."));
        assert!(page.contains("store_denied") && page.contains("The job as a whole"));
    }
    let mut unmet = manifest();
    unmet.status = JobStatus::Partial;
    unmet.error_code = Some(ErrorCode::ExpectationFailed);
    unmet.expectations =
        Some(vec![Expectation { name: "min_rows".into(), expected: json!(1), actual: json!(0), holds: false }]);
    let page = html(&unmet, DIGEST).unwrap();
    assert!(page.contains("The expectation min_rows does not hold</strong><br>expected at least 1 row, and found 0"));
    assert!(page.contains("s-does-not-hold") && page.contains("<code>expectation_failed</code>"));
}

#[test]
fn what_the_manifest_does_not_say_is_said_to_be_so() {
    for page in both(&manifest()) {
        for text in [
            "Nothing was redacted",
            "The spec has no expectations",
            "not requested by the spec",
            "none: the spec has no chain",
            "no limit is set",
            "None: every row was parsed and has a time",
            "the spec was not in a repository",
            "Only a signature proves",
        ] {
            assert!(page.contains(text), "{text} in\n{page}");
        }
        assert!(!page.contains("age -d"));
    }
    let mut odd = manifest();
    odd.spec.resolved = Json::Null.into();
    odd.filters = json!("odd");
    odd.timezone = "Nowhere/Atall".into();
    for page in both(&odd) {
        assert!(page.contains("from 2026-03-01 00:00:00 UTC (included)"));
    }
}

/// Every free text replaced, by way of JSON, so that no field can be forgotten.
fn hostile(value: &Json, text: &str) -> Json {
    // What has a form is not free.
    const FORMED: [&str; 11] = [
        "kind",
        "id",
        "status",
        "export_format",
        "compression",
        "error_code",
        "code",
        "outcome",
        "manifest_version",
        "digests",
        "skip_code",
    ];
    match value {
        Json::Object(fields) => Json::Object(
            fields
                .iter()
                .map(|(key, value)| {
                    let is_time = value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok());
                    let kept = is_time || FORMED.contains(&key.as_str());
                    (key.clone(), if kept { value.clone() } else { hostile(value, text) })
                })
                .collect(),
        ),
        Json::Array(items) => items.iter().map(|item| hostile(item, text)).collect(),
        Json::String(_) => text.into(),
        other => other.clone(),
    }
}

/// Markdown without code: a run of backticks begins it, and the next run of the same length ends it (CommonMark 0.31,
/// 6.1).
fn without_code(markdown: &str) -> String {
    let mut out = String::new();
    let mut rest = markdown;
    while let Some(at) = rest.find('`') {
        let (before, ticks) = rest.split_at(at);
        out.push_str(before);
        let (run, after) = ticks.split_at(ticks.find(|c| c != '`').unwrap_or(ticks.len()));
        let is_escaped = before.ends_with('\\');
        let ends = |(at, _): &(usize, &str)| {
            let rest = &after[*at + run.len()..];
            !after[..*at].ends_with('`') && !rest.starts_with('`')
        };
        rest = match after.match_indices(run).find(ends) {
            Some((end, _)) if !is_escaped => &after[end + run.len()..],
            _ => after,
        };
    }
    out + rest
}

#[test]
fn no_text_of_a_manifest_can_act_or_hide() {
    let text =
        "<script>alert(1)</script>\"'`|&*_[x](y) \u{1b}[31m\u{202e}\u{2066}\u{200b}\u{0}\n# x {{ 1 }} {% x %} </style>";
    for manifest in [full(), partial()] {
        let json = hostile(&serde_json::from_slice(&manifest.to_json_bytes().unwrap()).unwrap(), text);
        let manifest = Manifest::from_json(json.to_string().as_bytes()).unwrap();
        let [page, markdown] = both(&manifest);
        for found in [&page, &markdown] {
            let odd: Vec<char> = found.chars().filter(|c| c.is_control() && *c != '\n').collect();
            assert!(odd.is_empty(), "{odd:?}");
            assert!(!found.contains(['\u{202e}', '\u{2066}', '\u{200b}']));
            assert!(found.contains("\\u{202e}") && found.contains("{{ 1 }} {% x %}"));
        }
        assert!(!page.contains("<script") && !page.contains("alert(1)</"));
        assert_eq!(page.matches("</style>").count(), 1);
        let body = page.split("</style>").nth(1).unwrap();
        assert_eq!(body.matches('<').count(), body.matches('>').count(), "every bracket is the template's");
        // In code nothing acts; outside of it Markdown's own marks are escaped.
        let outside = without_code(&markdown);
        assert!(!outside.contains("<script") && !outside.contains("[x](y)"), "{outside}");
        let mut cells = None;
        for line in markdown.lines().map(|line| line.replace("\\|", "")) {
            let here = line.starts_with('|').then(|| line.matches('|').count());
            assert_eq!(cells.and(here).unwrap_or_default(), here.and(cells).unwrap_or_default(), "{line}");
            cells = here;
        }
    }
}

#[test]
fn a_page_is_the_same_every_time_and_names_its_manifest() {
    let page = html(&full(), DIGEST).unwrap();
    assert_eq!(page, html(&full(), DIGEST).unwrap());
    assert!(describes(page.as_bytes(), DIGEST) && is_ours(page.as_bytes()));
    assert!(!describes(page.as_bytes(), &"0".repeat(64)));
    let other = page.replace("content=\"kt-export ", "content=\"other ");
    assert!(!is_ours(other.as_bytes()) && describes(other.as_bytes(), DIGEST));
    for bytes in [&b""[..], b"<title>", b"\xff\xff", page.as_bytes().get(..300).unwrap()] {
        assert!(!describes(bytes, DIGEST));
    }
    let head = page.find("<title>").unwrap();
    assert!(head < HEAD_BYTES, "{head}");
}

#[test]
fn a_text_of_the_manifest_cannot_pass_for_what_a_page_says_of_itself() {
    let mut manifest = manifest();
    manifest.name = format!("<meta name=\"manifest-sha256\" content=\"{}\">", "0".repeat(64));
    assert!(!describes(html(&manifest, DIGEST).unwrap().as_bytes(), &"0".repeat(64)));
}

#[test]
fn the_policy_names_the_style_that_is_in_the_page_and_nothing_else() {
    let page = html(&full(), DIGEST).unwrap();
    let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap();
    let digest = data_encoding::BASE64.encode(&Sha256::digest(style));
    let policy = format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'");
    assert!(page.contains(&policy.replace('\'', "&#39;")) || page.contains(&policy), "{policy}");
    for word in ["style=\"", "<script", "<link", "<img", "http://", "https://", "url(http", "@import", "onload"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn ten_thousand_files_are_all_there_in_groups() {
    let mut many = manifest();
    let file = many.files[0].clone();
    many.files = (0..10_000)
        .map(|n| {
            let mut file = file.clone();
            file.path = format!("data/2026-03-01/part-{n:05}.csv.zst");
            file
        })
        .collect();
    many.files[7].status = FileStatus::Partial;
    let page = html(&many, DIGEST).unwrap();
    assert_eq!(page.matches("<td class=\"c-digest\">").count(), 10_000);
    assert_eq!(page.matches("<details class=\"group\" open>").count(), 1);
    assert!(page.contains("1 partition · 10,000 files · 0 rows"));
    assert!(page.contains("Only the summaries are printed"));
}

#[test]
fn unreadable_source_files_and_runs_without_an_end_are_told() {
    let mut manifest = full();
    manifest.source.files[0].error =
        Some(InputError { code: ErrorCode::SourceUnreadable, message: "cut short".into() });
    manifest.runs[0].outcome = RunOutcome::Abandoned;
    manifest.columns.push(Column {
        name: "n".into(),
        type_name: "int64".into(),
        nullable: true,
        redaction: Vec::new(),
    });
    for page in both(&manifest) {
        let page = page.replace("\\_", "_");
        for text in
            ["source_unreadable: cut short", "not recorded", "abandoned", "2 columns", "skipped: outside the window"]
        {
            assert!(page.contains(text), "{text}");
        }
    }
}

/// `SNAPSHOTS=overwrite cargo test` writes it anew; read the difference before committing it.
#[test]
fn markdown_looks_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/tests/full.md");
    let page = markdown(&full(), DIGEST).unwrap().replace(&maker(), "kt-export VERSION");
    if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(page, std::fs::read_to_string(path).unwrap());
}

#[test]
fn a_page_without_rows_says_whether_anything_was_read() {
    let file = |skip_code: Option<SkipCode>| InputRecord {
        path: "a.csv".into(),
        bytes: Some(1),
        mtime: None,
        etag: None,
        snapshot: None,
        rows: skip_code.is_none().then_some(7),
        skipped: skip_code.map(|code| code.in_words().to_owned()),
        skip_code,
        error: None,
    };
    let with = |files: Vec<InputRecord>, books: Accounting| {
        let mut manifest = manifest();
        (manifest.source.files, manifest.accounting) = (files, books);
        manifest
    };
    let books = |source_rows, outside_window, filtered_out| Accounting {
        source_rows,
        outside_window,
        filtered_out,
        ..Accounting::default()
    };
    let claimed = || vec![file(Some(SkipCode::PathTime)), file(Some(SkipCode::PathTime))];
    for (manifest, texts) in [
        (
            with(Vec::new(), books(0, 0, 0)),
            ["Complete, but there was nothing to read", "the source has no file", "it shows that no file was read"],
        ),
        (
            with(claimed(), books(0, 0, 0)),
            [
                "Complete, but there was nothing to read",
                "has 2 files, and none was read",
                "2 files were not read, because",
            ],
        ),
        (
            with(vec![file(None)], books(0, 0, 0)),
            ["Complete, without a row", "1 file was read and had no rows", "All 2 partitions of the window"],
        ),
        (
            with(vec![file(None), file(Some(SkipCode::PathTime))], books(7, 7, 0)),
            [
                "1 file with 7 rows was read, and every row lies outside",
                "1 file was not read, because",
                "Skipped by name",
            ],
        ),
        (
            with(vec![file(None)], books(7, 5, 2)),
            ["Complete, without a row", "the filters left out all 2 rows of the window", "No row is in the files"],
        ),
    ] {
        for page in both(&manifest) {
            for text in texts {
                let page = page.replace('\\', "");
                assert!(page.contains(text), "{text}: {page}");
            }
        }
    }
    let mut held = with(vec![file(None)], books(7, 5, 2));
    let values = vec!["allowed".to_owned(), "blocked".to_owned()];
    let status = HeldValues { filter: "status eq".into(), column: "status".into(), values, is_all: true };
    held.no_rows = Some(NoRows { reason: NoRowsReason::AllFilteredOut, held: vec![status] });
    assert!(both(&held).iter().all(|page| page.contains("holds “allowed”, “blocked”.")));
}
