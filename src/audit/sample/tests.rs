//! Rows are found where the drawing says, whatever lies around them.

use super::read::{json, ndjson};
use super::*;
use crate::digest::sha256;
use crate::package::layout::{MANIFEST, SHA256SUMS, TOMBSTONE};
use crate::package::manifest::Manifest;
use crate::package::manifest::tests::manifest;
use crate::store::Location;

/// A folder with a manifest and its SHA256SUMS, and no shards.
fn without_shards(manifest: &Manifest) -> (tempfile::TempDir, Package) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = manifest.to_json_bytes().unwrap();
    std::fs::write(folder.path().join(SHA256SUMS), manifest.sha256sums(&sha256(&bytes))).unwrap();
    std::fs::write(folder.path().join(MANIFEST), bytes).unwrap();
    let package = Package::open(&Location::Local(folder.path().to_owned()), jiff::Timestamp::MAX).unwrap();
    (folder, package)
}

/// Ten rows in the first of two shards.
fn ten_rows() -> Manifest {
    let mut manifest = Manifest { total_rows: 10, ..manifest() };
    manifest.files[0].rows = 10;
    manifest
}

fn refusal(package: &Package) -> SampleError {
    sample(package, 3, 7, &ReadKeys::default(), |_| panic!("a row was given")).unwrap_err()
}

#[test]
fn a_sample_above_the_maximum_is_refused() {
    let (_folder, package) = without_shards(&ten_rows());
    let error = sample(&package, 100_001, 7, &ReadKeys::default(), |_| panic!("a row was emitted")).unwrap_err();
    assert_eq!(error.to_string(), "a sample has at most 100000 rows, not 100001: draw fewer rows");
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn encrypted_shards_are_refused_without_a_key() {
    let mut manifest = ten_rows();
    manifest.files[0].path += ".age";
    let (_folder, package) = without_shards(&manifest);
    let error = refusal(&package);
    assert_eq!(
        error.to_string(),
        "`data/2026-03-01/part-0000.csv.zst.age` is encrypted: give the key with `--identity FILE`, or with \
         `--parquet-key` for Parquet encryption"
    );
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn a_manifest_whose_rows_do_not_add_up_and_a_shard_that_is_gone_fail_the_check() {
    let (folder, package) = without_shards(&ten_rows());
    let error = refusal(&package);
    assert_eq!(
        error.to_string(),
        format!(
            "`data/2026-03-01/part-0000.csv.zst` is not in {}, though the manifest lists it: restore it from a copy, \
             or export it again",
            folder.path().canonicalize().unwrap().display()
        )
    );
    assert_eq!(error.exit(), Exit::VerifyFailed);
    let (_folder, package) = without_shards(&Manifest { total_rows: 11, ..ten_rows() });
    let error = refusal(&package);
    assert_eq!(
        error.to_string(),
        "`manifest.json` states 11 rows in total, but its shards have 10: check the package with `kt-export verify --rows`"
    );
    assert_eq!(error.exit(), Exit::VerifyFailed);
}

#[test]
fn shards_whose_retention_is_over_have_no_rows() {
    let expires_at = Some("2026-05-01T00:00:00Z".parse().unwrap());
    let (folder, package) = without_shards(&Manifest { expires_at, ..ten_rows() });
    let tombstone = format!(
        r#"{{"tombstone_version":1,"id":"{}","manifest_sha256":"{}","expires_at":"2026-05-01T00:00:00Z","pruned_at":"2026-06-01T00:00:00Z","files":2,"bytes":0}}"#,
        package.manifest.id, package.manifest_sha256
    );
    std::fs::write(folder.path().join(TOMBSTONE), tombstone).unwrap();
    let error = refusal(&package);
    assert!(error.to_string().contains("were deleted at 2026-06-01T00:00:00Z after their retention period"), "{error}");
}

fn texts(found: Result<Vec<Box<RawValue>>, RowError>) -> Vec<String> {
    found.unwrap().iter().map(|row| row.get().to_owned()).collect()
}

#[test]
fn lines_and_elements_are_given_as_they_stand() {
    let lines = "{\"a\":1}\n{\"a\": 2.50}\n{\"a\":3}\n";
    assert_eq!(texts(ndjson(lines.as_bytes(), &[1, 2])), ["{\"a\": 2.50}", "{\"a\":3}"]);
    let array = "[{\"a\":1},\n{\"a\":\r\n 2.50},{\"a\":3}]";
    assert_eq!(texts(json(array.as_bytes(), &[0, 1])), ["{\"a\":1}", "{\"a\":   2.50}"]);
}

#[test]
fn rows_that_are_not_there_are_missing_and_do_not_panic() {
    assert_eq!(texts(ndjson(&b"{}\n"[..], &[0, 7])), ["{}"]);
    assert_eq!(texts(json(&b"[{}]"[..], &[0, 7])), ["{}"]);
    assert_eq!(texts(json(&b"[]"[..], &[0])), Vec::<String>::new());
    for text in [&b"{"[..], b"[{}", b"\xff\n"] {
        assert!(json(text, &[0]).is_err());
    }
    assert_eq!(
        ndjson(&b"{\n"[..], &[0]).unwrap_err().to_string(),
        "has no JSON in row 1: EOF while parsing an object at line 2 column 0"
    );
}

#[test]
fn a_row_that_is_too_long_is_named_and_not_held() {
    let long = "x".repeat(crate::audit::verify::MAX_RECORD_BYTES);
    let why = "has a row 2 that is longer than 512 MiB, the maximum for one row";
    for row in [0, 1, 2] {
        let found = json(format!("[{{}},{{\"id\":\"{long}\"}},{{}}]").as_bytes(), &[row]).unwrap_err();
        assert_eq!(found.to_string(), why);
    }
    assert_eq!(ndjson(format!("{{}}\n{{\"id\":\"{long}\"}}\n").as_bytes(), &[1]).unwrap_err().to_string(), why);
}
