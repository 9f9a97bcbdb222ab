//! Damaged containers. What whole ones hold is compared with another writer in `tests/shapes`.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::error::ErrorCode;
use crate::job::{OnBad, SourceCompression, SourceFormat};
use crate::source::TimeRange;
use crate::time::TimeFormat;

/// Four rows, each in a block of its own, in a compression.
fn sample(codec: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/shapes/avro-codecs/in/{codec}.avro"));
    std::fs::read(path).expect("readable")
}

fn file(folder: &tempfile::TempDir, bytes: &[u8]) -> SourceFile {
    let path = folder.path().join("a.avro");
    std::fs::write(&path, bytes).expect("written");
    let metadata = std::fs::metadata(&path).expect("metadata");
    SourceFile {
        at: path.into(),
        name: "a.avro".to_owned(),
        bytes: metadata.len(),
        modified: Timestamp::try_from(metadata.modified().expect("mtime")).expect("timestamp"),
        etag: None,
        format: SourceFormat::Avro,
        compression: SourceCompression::None,
        compression_is_declared: false,
        constants: Vec::new(),
    }
}

fn times() -> TimeParser {
    TimeParser::new(TimeFormat::Auto, TimeZone::UTC)
}

/// The ids of all rows.
fn read(file: &SourceFile) -> Result<Vec<i64>, SourceError> {
    let found = inspect(file, "ts", &times())?;
    if let Some(problem) = found.facts.problem {
        return Err(problem);
    }
    let request = FileRequest {
        file: file.clone(),
        schema: Arc::new(found.schema),
        units: vec![0],
        on_bad_rows: OnBad::Fail,
        text: Arc::default(),
        within: None,
    };
    let mut reader = open(request)?;
    let mut ids = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        let Some(column) = batch.rows.column_by_name("id") else { continue };
        ids.extend(column.as_primitive::<Int64Type>().values());
    }
    assert_eq!(found.facts.units[0].rows, Some(ids.len() as u64));
    Ok(ids)
}

fn message(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("temp dir");
    let error = read(&file(&folder, bytes)).expect_err("damaged");
    assert_eq!(error.code, ErrorCode::SourceUnreadable);
    error.message
}

#[test]
fn all_rows_and_their_times_are_found() {
    let folder = tempfile::tempdir().expect("temp dir");
    let file = file(&folder, &sample("null"));
    assert_eq!(read(&file), Ok(vec![0, 1, 2, 9]));
    let unit = inspect(&file, "ts", &times()).expect("facts").facts.units.remove(0);
    let TimeRange::Within { min, max } = unit.times else { panic!("{:?}", unit.times) };
    assert_eq!(min, "2026-03-05T10:00:00Z".parse().expect("an instant"));
    assert_eq!(max, "2026-03-06T00:00:00.000000999Z".parse().expect("an instant"));
    let unit = inspect(&file, "other", &times()).expect("facts").facts.units.remove(0);
    assert_eq!((unit.rows, unit.times, unit.unplaced_rows), (Some(4), TimeRange::Empty, Some(4)));
}

#[test]
fn a_cut_is_an_error_unless_it_is_between_two_blocks() {
    let folder = tempfile::tempdir().expect("temp dir");
    let bytes = sample("null");
    let sync = &bytes[bytes.len() - 16..];
    let ends: Vec<usize> = (16..=bytes.len()).filter(|end| bytes[..*end].ends_with(sync)).collect();
    assert_eq!(ends.len(), 5);
    for end in 0..bytes.len() {
        let found = read(&file(&folder, &bytes[..end]));
        match ends.iter().position(|known| *known == end) {
            Some(blocks) => assert_eq!(found.expect("whole").len(), blocks),
            None => assert_eq!(found.expect_err("cut").code, ErrorCode::SourceUnreadable, "{end}"),
        }
    }
    assert_eq!(message(&bytes[..bytes.len() - 1]), "it ends inside a block: it is truncated; fetch it again");
    assert_eq!(
        message(&bytes[..30]),
        "is not readable as Avro: its header is cut short: the file is truncated; fetch it again"
    );
    assert_eq!(message(b"PAR1"), "is not readable as Avro: it does not begin as Avro container files do");
}

#[test]
fn a_flip_never_takes_rows_away() {
    let folder = tempfile::tempdir().expect("temp dir");
    for codec in ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"] {
        let bytes = sample(codec);
        assert_eq!(read(&file(&folder, &bytes)), Ok(vec![0, 1, 2, 9]), "{codec}");
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            let damaged = file(&folder, &damaged);
            if let Ok(found) = inspect(&damaged, "ts", &times())
                && found.facts.problem.is_none()
            {
                assert_eq!(found.facts.units[0].rows, Some(4), "{codec}, byte {place}");
            }
        }
    }
}

#[test]
fn wrong_numbers_of_records_and_unknown_compressions_are_told() {
    let bytes = sample("null");
    let sync = bytes[bytes.len() - 16..].to_vec();
    let first = (16..).find(|end| bytes[..*end].ends_with(&sync)).expect("a header");
    let with_count = |count: u8| {
        let mut damaged = bytes.clone();
        damaged[first] = count;
        message(&damaged)
    };
    // Zigzag: twice the number.
    assert_eq!(with_count(0), "a block claims 0 records in 12 bytes, which it cannot hold");
    assert!(with_count(4).starts_with("its records cannot be decoded: "), "{}", with_count(4));
    assert_eq!(with_count(126), "a block claims 63 records in 12 bytes, which it cannot hold");
    let text = b"deflate";
    let mut other = sample("deflate");
    let place = other.windows(text.len()).position(|window| window == text).expect("a codec");
    other[place..place + text.len()].copy_from_slice(b"inflate");
    assert_eq!(
        message(&other),
        "is not readable as Avro: it is compressed with inflate, which is not read; write it with null, deflate, snappy, \
         zstandard, bzip2 or xz"
    );
    let mut damaged = bytes.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    assert_eq!(message(&damaged), "a block does not end with the marker of the file");
    let mut damaged = sample("snappy");
    let at = damaged.len() - 17;
    damaged[at] ^= 1;
    assert_eq!(message(&damaged), "a block has another checksum than it says");
}
