//! A small package, damaged in every way that an auditor should hear of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::*;
use crate::error::{ErrorCode, Exit};
use crate::package::layout::{MANIFEST, SHA256SUMS};
use crate::package::manifest::tests::{entry, manifest as template};
use crate::package::manifest::{
    Accounting, Column, FileStatus, InputRecord, JobStatus, RejectsEntry, SourceRecord, Totals,
};

struct Package {
    _folder: tempfile::TempDir,
    root: PathBuf,
    manifest: Manifest,
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn resolved() -> serde_json::Value {
    json!({
        "version": 1,
        "revision": 0,
        "name": "events",
        "type": "events",
        "source": {"uri": "data/"},
        "window": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z", "timezone": "UTC"},
        "partition": {"by": "day"},
        "filters": {"status": {"in": ["blocked"]}, "latency_ms": {"gte": 500}},
        "format": {"csv": {"header": true}},
        "compression": {"zstd": 3},
        "output": {"uri": "package/"},
        "on_bad_rows": "reject",
    })
}

/// What `job_id` of two days of events is, computed with other tools, with the keys of [`resolved`] sorted and no spaces:
/// `printf '{"compression":{"zstd":3},…}' | sha256sum | xxd -r -p | base32 | tr A-Z a-z | head -c 26`
const JOB_ID: &str = "job_w5fyikggyjiqtmoeibg5flgfu4";

impl Package {
    /// Two days, one shard each, three rows of five written.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("package");
        let mut manifest = template();
        let column =
            |name: &str| Column { name: name.into(), type_name: "text".into(), nullable: true, redaction: Vec::new() };
        manifest.id = JOB_ID.into();
        manifest.columns = vec![column("id"), column("text")];
        manifest.spec.resolved = resolved().into();
        manifest.runs[0].finished_at = Some(manifest.finalized_at);
        manifest.accounting =
            Accounting { source_rows: 5, outside_window: 1, filtered_out: 1, written: 3, ..Accounting::default() };
        manifest.source.files = vec![InputRecord {
            path: "events.csv".into(),
            bytes: Some(60),
            mtime: None,
            etag: None,
            snapshot: None,
            rows: Some(5),
            skipped: None,
            skip_code: None,
            error: None,
        }];
        manifest.source.files_sha256 = SourceRecord::digest_of_files(&manifest.source.files).unwrap();
        let mut package = Self { _folder: folder, root, manifest };
        package.shard(0, b"id,text\n1,\"a\nb\"\n2,c\n", 2);
        package.shard(1, b"id,text\n3,d\n", 1);
        package.finish();
        package
    }

    fn shard(&mut self, index: usize, text: &[u8], rows: u64) {
        let bytes = zstd::encode_all(text, 3).unwrap();
        let file = &mut self.manifest.files[index];
        (file.rows, file.bytes, file.sha256) = (rows, bytes.len() as u64, Some(sha256(&bytes)));
        let path = file.path.clone();
        self.write(&path, &bytes);
    }

    /// Totals, manifest and SHA256SUMS, as a run writes them.
    fn finish(&mut self) {
        let totals = Totals::of(&self.manifest.files);
        (self.manifest.total_rows, self.manifest.total_bytes) = (totals.rows, totals.bytes);
        (self.manifest.partial_count, self.manifest.failed_count) = (totals.partial, totals.failed);
        self.write_manifest();
    }

    fn write_manifest(&self) {
        let bytes = self.manifest.to_json_bytes().unwrap();
        self.write(MANIFEST, &bytes);
        self.write(SHA256SUMS, self.manifest.sha256sums(&sha256(&bytes)).as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.root.join(name)).unwrap()
    }

    fn verify(&self) -> VerifyReport {
        verify(self.root.clone(), &VerifyOptions { rows: true, ..VerifyOptions::default() })
    }

    /// The findings as `path: message`, with their check.
    fn findings(&self) -> Vec<(Check, String)> {
        let line = |f: Finding| (f.check, format!("{}: {}", f.path.unwrap_or_default(), f.message));
        self.verify().findings.into_iter().map(line).collect()
    }

    /// Changes the manifest as somebody would who keeps SHA256SUMS in step.
    fn edited(edit: impl FnOnce(&mut Manifest)) -> Vec<(Check, String)> {
        let mut package = Self::new();
        edit(&mut package.manifest);
        package.write_manifest();
        package.findings()
    }
}

fn assert_found(findings: &[(Check, String)], check: Check, words: &str) {
    assert!(findings.iter().any(|(c, text)| *c == check && text.contains(words)), "{words}: {findings:#?}");
}

#[test]
fn a_whole_package_is_intact_and_the_report_says_what_was_not_checked() {
    let package = Package::new();
    let report = package.verify();
    assert_eq!(report.findings, []);
    assert!(report.intact);
    assert_eq!(report.exit(), Exit::Complete);
    assert!(report.checked.iter().all(|checked| checked.passed));
    let done: Vec<_> = report.checked.iter().map(|checked| checked.check).collect();
    let all = [
        Check::Manifest,
        Check::Spec,
        Check::Totals,
        Check::Conservation,
        Check::Window,
        Check::Times,
        Check::Statuses,
        Check::Sums,
        Check::Files,
        Check::Rows,
        Check::Unlisted,
    ];
    assert_eq!(done, all);
    let left_out: Vec<_> = report.not_checked.iter().map(|n| n.check).collect();
    assert_eq!(left_out, [Check::Signature, Check::Source]);
    let quick = verify(package.root.clone(), &VerifyOptions::default());
    assert!(quick.intact);
    assert!(quick.not_checked.iter().any(|n| n.check == Check::Rows && n.why.contains("--rows")));
    assert!(quick.checked.iter().all(|c| c.check != Check::Rows));
}

#[test]
fn stock_sha256sum_agrees() {
    let package = Package::new();
    let check = || {
        std::process::Command::new("sha256sum").args(["-c", "--quiet", SHA256SUMS]).current_dir(&package.root).output()
    };
    let Ok(output) = check() else { return };
    assert!(output.status.success());
    package.write("data/2026-03-01/part-0000.csv.zst", b"x");
    assert!(!check().unwrap().status.success());
}

#[test]
fn every_flipped_byte_and_every_cut_is_found_and_named() {
    let package = Package::new();
    for name in
        ["manifest.json", "SHA256SUMS", "data/2026-03-01/part-0000.csv.zst", "data/2026-03-02/part-0000.csv.zst"]
    {
        let whole = package.read(name);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            for damaged in [flipped.as_slice(), &whole[..at]] {
                package.write(name, damaged);
                let findings = verify(package.root.clone(), &VerifyOptions::default()).findings;
                let named = |f: &Finding| f.path.as_deref() == Some(name) || f.message.contains(name);
                assert!(findings.iter().any(named), "{name} at {at}: {findings:#?}");
            }
        }
        package.write(name, &whole);
    }
    assert!(package.verify().intact);
}

#[test]
fn a_damaged_manifest_with_fitting_sums_never_panics() {
    let package = Package::new();
    let whole = package.read(MANIFEST);
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 7);
        package.write(MANIFEST, &flipped);
        let sums = match Manifest::from_json(&flipped) {
            Ok(manifest) => manifest.sha256sums(&sha256(&flipped)),
            Err(_) => package.manifest.sha256sums(&sha256(&flipped)),
        };
        package.write(SHA256SUMS, sums.as_bytes());
        let _ = package.verify().to_string();
    }
}

#[test]
fn a_missing_swapped_or_added_file_is_named() {
    let (first, second) = ("data/2026-03-01/part-0000.csv.zst", "data/2026-03-02/part-0000.csv.zst");
    let package = Package::new();
    fs::remove_file(package.root.join(second)).unwrap();
    package.write("data/2026-03-01/part-0001.csv.zst", b"");
    package.write("rejects/x", b"");
    fs::create_dir(package.root.join("data/2026-03-03")).unwrap();
    let findings = package.findings();
    assert_found(&findings, Check::Files, "data/2026-03-02/part-0000.csv.zst: is missing");
    assert_found(&findings, Check::Unlisted, "data/2026-03-01/part-0001.csv.zst: is not in the manifest");
    assert_found(&findings, Check::Unlisted, "rejects/x: is not in the manifest");
    assert_found(&findings, Check::Unlisted, "data/2026-03-03: is a folder without any file");
    assert_eq!(package.verify().exit(), Exit::VerifyFailed);

    let package = Package::new();
    let (a, b) = (package.read(first), package.read(second));
    package.write(first, &b);
    package.write(second, &a);
    let paths: Vec<_> = package.verify().findings.into_iter().filter_map(|f| f.path).collect();
    assert_eq!(paths, [first, second]);
}

#[test]
#[cfg(unix)]
fn links_are_found_and_not_followed() {
    use std::os::unix::fs::symlink;
    let first = "data/2026-03-01/part-0000.csv.zst";
    let package = Package::new();
    let elsewhere = package.root.parent().unwrap().join("elsewhere");
    fs::rename(package.root.join(first), &elsewhere).unwrap();
    symlink(&elsewhere, package.root.join(first)).unwrap();
    symlink(&package.root, package.root.join("data/loop")).unwrap();
    let findings = package.findings();
    assert_found(&findings, Check::Files, "part-0000.csv.zst: is not a regular file");
    assert_found(&findings, Check::Unlisted, "data/loop: is neither a file nor a folder");

    let package = Package::new();
    let elsewhere = package.root.parent().unwrap().join("elsewhere");
    fs::rename(package.root.join("data"), &elsewhere).unwrap();
    symlink(&elsewhere, package.root.join("data")).unwrap();
    assert_found(&package.findings(), Check::Files, "is a symbolic link, but a folder is needed");

    // A link to a package is the auditor's own.
    let package = Package::new();
    let link = package.root.parent().unwrap().join("link");
    symlink(&package.root, &link).unwrap();
    assert!(verify(link.clone(), &VerifyOptions { rows: true, ..VerifyOptions::default() }).intact);
}

#[test]
fn an_entry_that_cannot_be_listed_is_a_finding() {
    let entries = [Ok(OsString::from("data")), Err(io::Error::other("the disk is gone"))];
    let names = names_of(entries.into_iter()).map_err(ListingError::from);
    let mut report = VerifyReport::new(&Location::Local("package".into()));
    report_uncovered_entries(names, &mut report);
    assert!(!report.intact);
    assert_eq!(report.findings[0].message, "the folder cannot be listed: the disk is gone");
    assert_eq!(names_of([Ok(OsString::from("data"))].into_iter()).unwrap(), ["data"]);
}

#[test]
fn what_is_no_package_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let options = VerifyOptions::default();
    for root in [folder.path().join("none"), folder.path().to_owned()] {
        let report = verify(root.clone(), &options);
        assert!(!report.intact);
        assert_eq!(report.findings[0].check, Check::Manifest);
    }
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(verify(folder.path().join("file"), &options).to_string().contains("is a file, but a folder is needed"));
}

#[test]
fn sums_that_are_missing_or_say_more_or_less_are_found() {
    let package = Package::new();
    let sums = String::from_utf8(package.read(SHA256SUMS)).unwrap();
    let lines: Vec<_> = sums.lines().collect();
    let cases = [
        (lines[1..].join("\n") + "\n", "has no line for `data/2026-03-01/part-0000.csv.zst`"),
        (
            format!("{sums}{}  report.html\n", "0".repeat(64)),
            "line 4 names `report.html`, which manifest.json does not list",
        ),
        (format!("{sums}nonsense\n"), "line 4 is not a digest"),
        (format!("{sums}{}\n", lines[0]), "line 4 names `data/2026-03-01/part-0000.csv.zst` a second time"),
        (sums.replace('\n', "\r\n"), "its order of lines or line ends differ"),
        (format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]), "its order of lines or line ends differ"),
        (sums.replacen(&lines[0][..64], &"0".repeat(64), 1), "line 1 says 0000"),
        (format!("{}\n{}\n", lines[0], lines[1]), "has no line for `manifest.json`"),
    ];
    for (text, words) in cases {
        package.write(SHA256SUMS, text.as_bytes());
        let findings = package.findings();
        assert_found(&findings, Check::Sums, words);
        assert_eq!(findings.len(), 1, "{findings:#?}");
    }
    fs::remove_file(package.root.join(SHA256SUMS)).unwrap();
    assert_found(&package.findings(), Check::Sums, "SHA256SUMS: is missing");
}

#[test]
fn a_manifest_that_contradicts_itself_is_found() {
    type Edit = Box<dyn FnOnce(&mut Manifest)>;
    let cases: Vec<(Check, &str, Edit)> = vec![
        (Check::Manifest, "`id` is", Box::new(|m| m.spec.resolved.set("name", json!("other")))),
        (Check::Manifest, "not a name inside a package", Box::new(|m| m.files[0].path = "data/../../x".into())),
        (Check::Manifest, "is not below data/", Box::new(|m| m.files[0].path = "_state/plan.json".into())),
        (Check::Manifest, "listed more than once", Box::new(|m| m.files[1].path = m.files[0].path.clone())),
        (Check::Manifest, "64 lower-case", Box::new(|m| m.files[1].sha256 = Some("A".repeat(64)))),
        (Check::Totals, "`total_rows` is 4, but its files give 3", Box::new(|m| m.total_rows += 1)),
        (Check::Totals, "`total_bytes`", Box::new(|m| m.total_bytes -= 1)),
        (Check::Totals, "`partial_count`", Box::new(|m| m.partial_count = 1)),
        (Check::Totals, "`failed_count`", Box::new(|m| m.failed_count = 1)),
        (Check::Conservation, "6 source rows", Box::new(|m| m.accounting.source_rows = 6)),
        (Check::Conservation, "5 source rows", Box::new(|m| m.accounting.outside_window = u64::MAX)),
        (Check::Conservation, "`accounting.written` is 4", Box::new(|m| m.accounting.written = 4)),
        (Check::Conservation, "source files have 6 rows", Box::new(|m| m.source.files[0].rows = Some(6))),
        (Check::Conservation, "1 rows are rejected", Box::new(|m| m.accounting.rejected = 1)),
        (
            Check::Window,
            "the one before ends at",
            Box::new(|m| m.window_start = "2026-02-28T00:00:00Z".parse().unwrap()),
        ),
        (Check::Window, "but the window at", Box::new(|m| m.window_end = "2026-03-04T00:00:00Z".parse().unwrap())),
        (Check::Window, "is outside its partition", Box::new(|m| m.files[0].max_time = Some(m.window_end))),
        (Check::Window, "not after it starts", Box::new(|m| m.files[1].partition.end = m.window_start)),
        (Check::Window, "folder of its partition", Box::new(|m| m.files[1].partition.label = "2026-03-0".into())),
        (Check::Window, "occurs twice", Box::new(|m| m.files[1].partition.label = "2026-03-01".into())),
        (Check::Window, "the partitions end at", Box::new(|m| m.files.clear())),
        (Check::Statuses, "not every file is", Box::new(|m| m.files[0].status = FileStatus::Partial)),
        (Check::Statuses, "the job is marked partial", Box::new(|m| m.status = JobStatus::Partial)),
        (Check::Statuses, "the job is marked failed", Box::new(|m| m.status = JobStatus::Failed)),
        (Check::Statuses, "has an `error_code`", Box::new(|m| m.error_code = Some(ErrorCode::DiskFull))),
        (Check::Statuses, "has no `sha256`", Box::new(|m| m.files[0].sha256 = None)),
        (Check::Statuses, "failed, but has no `error_code`", Box::new(|m| m.files[0].status = FileStatus::Failed)),
        (Check::Statuses, "is `running`", Box::new(|m| m.files[0].status = FileStatus::Running)),
        (Check::Files, "bytes, but the manifest says 1", Box::new(|m| m.files[0].bytes = 1)),
        (Check::Rows, "has 2 rows, but the manifest says 1", Box::new(|m| m.files[0].rows = 1)),
        (Check::Rows, "has a header that differs from the columns", Box::new(|m| m.columns.swap(0, 1))),
        (Check::Unlisted, "is not in the manifest", Box::new(|m| drop(m.files.pop()))),
    ];
    for (check, words, edit) in cases {
        assert_found(&Package::edited(edit), check, words);
    }
}

#[test]
fn a_partial_package_with_rejects_and_a_failed_partition_is_intact() {
    let mut package = Package::new();
    let failed = package.manifest.files[1].path.clone();
    fs::remove_dir_all(package.root.join("data/2026-03-02")).unwrap();
    let file = &mut package.manifest.files[1];
    *file = crate::package::manifest::FileEntry {
        status: FileStatus::Failed,
        sha256: None,
        error_code: Some(ErrorCode::SourceChanged),
        error: Some("the source changed".into()),
        ..entry(&failed, "2026-03-02", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")
    };
    package.manifest.files[0].status = FileStatus::Partial;
    package.manifest.files[0].error_code = Some(ErrorCode::RowsRejected);
    package.manifest.status = JobStatus::Partial;
    package.manifest.accounting.written = 2;
    package.manifest.accounting.rejected = 1;
    package.manifest.accounting.source_rows = 7;
    package.manifest.runs[0].outcome = crate::package::manifest::RunOutcome::Partial;
    let rejected = b"{\"file\":\"a.csv\",\"row\":4,\"error\":\"no\"}\n";
    package.manifest.rejects = vec![RejectsEntry {
        path: "rejects/task-0.ndjson".into(),
        rows: 1,
        bytes: rejected.len() as u64,
        sha256: sha256(rejected),
        plain_bytes: None,
        plain_sha256: None,
        sealed: None,
    }];
    package.write("rejects/task-0.ndjson", rejected);
    package.finish();
    let report = package.verify();
    assert_eq!(report.findings, []);
    assert!(report.not_checked.iter().any(|n| n.check == Check::Conservation && n.why.contains("2 source rows")));

    package.write(&failed, b"a leftover");
    assert_found(&package.findings(), Check::Unlisted, "a partition that has no file according to the manifest");
}

#[test]
fn hostile_text_is_escaped_for_people_and_whole_for_programs() {
    let mut package = Package::new();
    package.manifest.name = "\u{1b}[2J\u{202e}evil".into();
    package.finish();
    package.write("data/\u{1b}[31mred", b"");
    let report = package.verify();
    let text = report.to_string();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    assert!(text.contains("\\u{1b}[2J\\u{202e}evil"), "{text}");
    let object: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(object["version"], 1);
    let findings = object["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["path"] == "data/\u{1b}[31mred"), "{findings:?}");
}
