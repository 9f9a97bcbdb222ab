//! Reads files from the crate's own writers, intact and with every byte damaged in turn.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, NullArray, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::error::ErrorCode;
use crate::job::SourceCompression;
use crate::job::{OnBad, SourceFormat};
use crate::source::TimeRange;
use crate::time::TimeFormat;

fn auto() -> TimeParser {
    TimeParser::new(TimeFormat::Auto, TimeZone::UTC)
}

fn sample(bytes: &[u8]) -> (tempfile::TempDir, SourceFile) {
    let folder = tempfile::tempdir().expect("temp dir");
    let file = sample_in(&folder, bytes);
    (folder, file)
}

fn sample_in(folder: &tempfile::TempDir, bytes: &[u8]) -> SourceFile {
    let path = folder.path().join("a.arrow");
    std::fs::write(&path, bytes).expect("written");
    let metadata = std::fs::metadata(&path).expect("metadata");
    SourceFile {
        at: path.into(),
        name: "a.arrow".to_owned(),
        bytes: metadata.len(),
        modified: Timestamp::try_from(metadata.modified().expect("mtime")).expect("timestamp"),
        etag: None,
        format: SourceFormat::Arrow,
        compression: SourceCompression::None,
        compression_is_declared: false,
        constants: Vec::new(),
    }
}

fn read(file: &SourceFile, schema: Schema) -> Result<Vec<RecordBatch>, SourceError> {
    let request = FileRequest {
        file: file.clone(),
        schema: Arc::new(schema),
        units: vec![0],
        on_bad_rows: OnBad::Fail,
        text: Arc::default(),
        within: None,
    };
    let mut reader = open(request)?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        assert!(batch.rejected.is_empty());
        batches.push(batch.rows);
    }
    Ok(batches)
}

fn file_bytes(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new(&mut bytes, &batches[0].schema()).expect("writer");
    batches.iter().for_each(|b| writer.write(b).expect("written"));
    writer.finish().expect("finished");
    drop(writer);
    bytes
}

fn stream_bytes(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).expect("writer");
    batches.iter().for_each(|b| writer.write(b).expect("written"));
    writer.finish().expect("finished");
    drop(writer);
    bytes
}

/// Two batches with times, text and a dictionary.
fn batches() -> Vec<RecordBatch> {
    let batch = |times: Vec<Option<i64>>, texts: Vec<Option<&str>>| {
        let dictionary: DictionaryArray<Int32Type> = texts.iter().map(|t| t.map(|_| "same")).collect();
        RecordBatch::try_from_iter_with_nullable(vec![
            ("t", Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC")) as ArrayRef, true),
            ("s", Arc::new(StringArray::from(texts)) as ArrayRef, true),
            ("d", Arc::new(dictionary) as ArrayRef, true),
        ])
        .expect("batch")
    };
    vec![
        batch(vec![Some(1_001), None], vec![Some("a"), None]),
        batch(vec![Some(-1)], vec![Some("a text longer than twelve bytes")]),
    ]
}

#[test]
fn both_formats_tell_their_facts_and_give_their_rows() {
    for bytes in [file_bytes(&batches()), stream_bytes(&batches())] {
        let (_folder, file) = sample(&bytes);
        let found = inspect(&file, "t", &auto()).expect("inspected");
        assert_eq!(found.facts.problem, None);
        let unit = &found.facts.units[0];
        assert_eq!((unit.rows, unit.encoded_bytes, unit.unplaced_rows), (Some(3), file.bytes, Some(1)));
        let TimeRange::Within { min, max } = unit.times else { panic!("{:?}", unit.times) };
        assert!(min.as_nanosecond() <= -1 && max.as_nanosecond() >= 1_001 && max.as_nanosecond() < 2_000);
        assert_eq!(found.schema.field(1).data_type(), &DataType::Utf8View);
        assert_eq!(found.schema.field(2).data_type(), &DataType::Utf8View);
        let rows = read(&file, found.schema).expect("read");
        assert_eq!(rows.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(rows[0].column(2).as_string_view().iter().collect::<Vec<_>>(), [Some("same"), None]);
        assert_eq!(rows[1].column(1).as_string_view().value(0), "a text longer than twelve bytes");
    }
}

#[test]
fn large_batches_are_given_in_slices() {
    let numbers =
        RecordBatch::try_from_iter(vec![("n", Arc::new(Int32Array::from_iter_values(0..20_000)) as ArrayRef)]);
    let (_folder, file) = sample(&stream_bytes(&[numbers.expect("batch")]));
    let schema = Schema::new(vec![Field::new("new", DataType::Int64, true), Field::new("n", DataType::Int32, true)]);
    let rows = read(&file, schema).expect("read");
    assert_eq!(rows.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8192, 8192, 3616]);
    assert_eq!(rows[2].column(1).as_primitive::<Int32Type>().value(0), 16_384);
    assert_eq!(rows[0].column(0).null_count(), 8192);
    assert_eq!(read(&file, Schema::empty()).expect("read").iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
}

#[test]
fn a_file_without_the_time_column_has_no_times() {
    let (_folder, file) = sample(&file_bytes(&batches()));
    let unit = inspect(&file, "elsewhere", &auto()).expect("inspected").facts.units.remove(0);
    assert_eq!((unit.rows, unit.times, unit.unplaced_rows), (Some(3), TimeRange::Empty, Some(3)));
}

#[test]
fn a_stream_without_its_end_or_with_more_behind_it_is_unreadable() {
    let whole = stream_bytes(&batches());
    let cut = &whole[..whole.len() - 8];
    let (_folder, file) = sample(cut);
    let found = inspect(&file, "t", &auto()).expect("its schema is whole");
    assert_eq!(found.facts.units[0].rows, Some(3));
    assert!(found.facts.problem.expect("told").message.contains("without an end-of-stream marker"));
    let error = read(&file, found.schema.clone()).expect_err("cut");
    assert_eq!(error.code, ErrorCode::SourceUnreadable);
    let (_folder, twice) = sample(&[whole.clone(), whole].concat());
    assert!(read(&twice, found.schema).expect_err("more").message.contains("follow its end-of-stream marker"));
}

#[test]
fn what_is_no_arrow_file_is_refused() {
    for bytes in [b"".as_slice(), b"ARROW1", b"{\"a\": 1}\n{\"a\": 2}\n", b"PAR1 and so on PAR1"] {
        let (_folder, file) = sample(bytes);
        let error = inspect(&file, "t", &auto()).expect_err("refused");
        assert_eq!(error.code, ErrorCode::SourceUnreadable);
        assert!(error.message.contains("not readable as Arrow IPC"), "{error}");
    }
}

#[test]
fn a_batch_of_nulls_cannot_claim_rows_without_end() {
    let nulls = RecordBatch::try_from_iter_with_nullable(vec![("n", Arc::new(NullArray::new(3)) as ArrayRef, true)]);
    let (_folder, file) = sample(&file_bytes(&[nulls.expect("batch")]));
    let schema = Schema::new(vec![Field::new("n", DataType::Utf8View, true)]);
    assert_eq!(read(&file, schema).expect("read")[0].column(0).null_count(), 3);
}

/// Reads all rows; the number of rows and what inspection counted.
fn read_all(file: &SourceFile) -> Result<(u64, u64), SourceError> {
    let found = inspect(file, "t", &auto())?;
    if let Some(problem) = found.facts.problem {
        return Err(problem);
    }
    let rows: usize = read(file, found.schema)?.iter().map(RecordBatch::num_rows).sum();
    Ok((rows as u64, found.facts.units[0].rows.unwrap()))
}

#[test]
fn a_file_or_stream_cut_at_any_length_is_unreadable() {
    for bytes in [file_bytes(&batches()), stream_bytes(&batches())] {
        let (_folder, whole) = sample(&bytes);
        assert_eq!(read_all(&whole), Ok((3, 3)));
        for length in 0..bytes.len() {
            let (_folder, file) = sample(&bytes[..length]);
            let error = read_all(&file).expect_err("cut");
            assert_eq!(error.code, ErrorCode::SourceUnreadable, "{length}: {error}");
        }
    }
}

#[test]
fn any_byte_may_be_flipped_without_a_panic_and_both_passes_agree() {
    let folder = tempfile::tempdir().expect("temp dir");
    for bytes in [file_bytes(&batches()), stream_bytes(&batches())] {
        for place in 0..bytes.len() {
            for bits in [0xff, 1 << (place % 8)] {
                let mut damaged = bytes.clone();
                damaged[place] ^= bits;
                let file = sample_in(&folder, &damaged);
                match read_all(&file) {
                    Ok((read, inspected)) => assert_eq!(read, inspected, "byte {place}"),
                    Err(error) => assert!(error.name == "a.arrow" && !error.message.is_empty()),
                }
            }
        }
    }
}

/// Where the footer of a file begins.
fn footer_start(bytes: &[u8]) -> usize {
    let length = i32::from_le_bytes(bytes[bytes.len() - 10..bytes.len() - 6].try_into().expect("length"));
    bytes.len() - 10 - length as usize
}

#[test]
fn a_footer_flipped_at_any_byte_gives_the_same_rows_or_an_error() {
    let folder = tempfile::tempdir().expect("temp dir");
    let bytes = file_bytes(&batches());
    let whole = sample_in(&folder, &bytes);
    let schema = inspect(&whole, "t", &auto()).expect("inspected").schema;
    let rows = read(&whole, schema.clone()).expect("read");
    for place in footer_start(&bytes)..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            let file = sample_in(&folder, &damaged);
            match inspect(&file, "t", &auto()) {
                Ok(found) if found.facts.problem.is_none() => assert_eq!(found.schema, schema, "byte {place}"),
                _ => continue,
            }
            if let Ok(read) = read(&file, schema.clone()) {
                assert_eq!(read, rows, "byte {place}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_flip_before_the_footer_never_takes_rows_away() {
    let folder = tempfile::tempdir().expect("temp dir");
    for bytes in [file_bytes(&batches()), stream_bytes(&batches())] {
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            if let Ok((rows, _)) = read_all(&sample_in(&folder, &damaged)) {
                assert_eq!(rows, 3, "byte {place}");
            }
        }
    }
}

#[test]
fn a_footer_that_lists_fewer_batches_than_there_are_is_reported() {
    let bytes = file_bytes(&batches());
    let handle = |bytes: &[u8]| {
        let (_folder, file) = sample(bytes);
        file.open().expect("opened")
    };
    let footer = footer_start(&bytes) as u64;
    let tail = root_as_footer(&bytes[footer as usize..bytes.len() - 10]).expect("footer");
    let listed = extents(tail.recordBatches().expect("batches")).expect("extents");
    let dictionaries = extents(tail.dictionaries().expect("dictionaries")).expect("extents");
    let all: Vec<Extent> = dictionaries.iter().chain(&listed).copied().collect();
    let schema_end = all.iter().map(|extent| extent.start).min().expect("some");
    extent::check_tiling(&handle(&bytes), schema_end, all.clone(), footer).expect("no gap");
    let fewer = all[..all.len() - 1].to_vec();
    let (start, end) = (listed[1].start, footer);
    let gap = extent::check_tiling(&handle(&bytes), schema_end, fewer, footer).expect_err("gap");
    assert_eq!(
        gap.to_string(),
        format!("its footer lists nothing from byte {start} to byte {end}, so rows may be missing; copy it again")
    );
    let twice = [all.as_slice(), &all[..1]].concat();
    let overlap = extent::check_tiling(&handle(&bytes), schema_end, twice, footer).expect_err("overlap");
    assert!(matches!(overlap, IpcError::Overlap { .. }), "{overlap}");
}
