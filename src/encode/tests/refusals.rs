//! Types and settings that a format does not support are refused before the first row, with advice.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, UnionFields, UnionMode};
use arrow::record_batch::RecordBatch;

use super::{batches, formats};
use crate::encode::{EncodeError, Encoded, Encoder, ParquetKeys, part_step_rows};
use crate::job::{Compression, CsvFormat, Format};

fn refusal(format: &Format, compression: Compression, data_type: DataType) -> Option<String> {
    let schema = Arc::new(Schema::new(vec![Field::new("c", data_type, true)]));
    Encoder::new(format, compression, schema).err().map(|error| error.to_string())
}

#[test]
fn unions_and_run_ends_are_refused_also_inside_others() {
    let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
    let run_ends = DataType::RunEndEncoded(
        Arc::new(Field::new("run_ends", DataType::Int32, false)),
        Arc::new(Field::new("values", DataType::Utf8, true)),
    );
    for format in formats() {
        for data_type in [union.clone(), run_ends.clone()] {
            for data_type in [
                DataType::List(Arc::new(Field::new_list_field(data_type.clone(), true))),
                DataType::Struct(Fields::from(vec![Field::new("f", data_type.clone(), true)])),
                data_type,
            ] {
                let text = refusal(&format, Compression::None, data_type.clone()).unwrap();
                assert_eq!(
                    text,
                    format!(
                        "column `c` of type {data_type} cannot be written as {}; leave it out with `columns`, or export as \
                         another format",
                        format.name()
                    )
                );
            }
        }
    }
}

#[test]
fn what_only_parquet_lacks_is_refused_by_parquet_only() {
    for data_type in
        [DataType::Interval(IntervalUnit::MonthDayNano), DataType::Decimal128(5, -2), DataType::Struct(Fields::empty())]
    {
        for format in formats() {
            let refused = refusal(&format, Compression::None, data_type.clone());
            assert_eq!(refused.is_some(), format == Format::Parquet, "{data_type} as {}", format.name());
        }
    }
}

#[test]
fn compressions_of_other_formats_are_refused() {
    let refused = |format, compression| refusal(&format, compression, DataType::Int64);
    assert_eq!(
        refused(Format::Parquet, Compression::Gzip(6)).unwrap(),
        "parquet cannot be compressed with gzip; parquet has zstd, snappy, lz4 and none"
    );
    assert_eq!(
        refused(Format::NDJSON, Compression::Snappy).unwrap(),
        "ndjson cannot be compressed with snappy; ndjson has zstd, gzip and none"
    );
    assert_eq!(
        refused(Format::Csv(CsvFormat::default()), Compression::Lz4).unwrap(),
        "csv cannot be compressed with lz4; csv has zstd, gzip and none"
    );
    assert_eq!(refused(Format::Json, Compression::Gzip(6)), None);
}

#[test]
fn dialects_that_could_not_be_read_back_are_refused() {
    let refused = |change: fn(&mut CsvFormat)| {
        let mut format = CsvFormat::default();
        change(&mut format);
        refusal(&Format::Csv(format), Compression::None, DataType::Int64).unwrap()
    };
    assert_eq!(
        refused(|f| f.delimiter = b'\n'),
        "csv option `delimiter` cannot be `\\n`: cells could not be told apart; write one ASCII sign such as \",\", \
         \";\", \"|\" or \"\\t\""
    );
    for delimiter in [b'"', b'\r', 0, b'0', 0xe9] {
        let format = Format::Csv(CsvFormat { delimiter, ..CsvFormat::default() });
        assert!(refusal(&format, Compression::None, DataType::Int64).is_some());
    }
    assert_eq!(
        refused(|f| f.null_text = "a,b".to_owned()),
        "csv option `null_text` cannot be `a,b`: a null is told from text by standing without quotes; leave out \
         the delimiter, quotes and line ends"
    );
}

#[test]
fn other_schemas_and_rows_that_are_not_there_are_errors() {
    for format in formats() {
        let batch = RecordBatch::try_from_iter([("c", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        let encoder = Encoder::new(&format, Compression::None, batch.schema()).unwrap();
        let mut into = Encoded::default();
        let text = |error: EncodeError| format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert_eq!(
            text(encoder.encode(&batch, &[0, 1], &mut into).unwrap_err()),
            "cannot select rows: Invalid argument error: row 1 was asked for of a batch of 1 rows"
        );
        let other = batches::flat(1, 1, batches::Range::Common);
        assert_eq!(
            text(encoder.encode(&other, &[0], &mut into).unwrap_err()),
            "cannot select rows: Schema error: the batch does not have the schema of the shard"
        );
    }
}

#[test]
fn rows_without_columns_are_not_lost_in_silence() {
    let schema = Arc::new(Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let batch = RecordBatch::try_new_with_options(schema.clone(), vec![], &options).unwrap();
    for format in formats() {
        let encoder = Encoder::new(&format, Compression::None, schema.clone()).unwrap();
        let mut into = Encoded::default();
        let error = encoder.encode(&batch, &[0, 1], &mut into).unwrap_err();
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "Invalid argument error: a shard without columns cannot hold rows; select at least one column"
        );
    }
}

#[test]
fn a_full_disk_is_a_full_disk_in_every_format() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for format in formats() {
        let batch = batches::parquet_storable(50, 1);
        let rows: Vec<u32> = (0..50).collect();
        let encoder = Arc::new(Encoder::new(&format, Compression::None, batch.schema()).unwrap());
        let mut encoded = Encoded::default();
        encoder.encode(&batch, &rows, &mut encoded).unwrap();
        let mut shard = encoder.start(Full);
        let error = shard.append(&encoded, 0..50).and_then(|()| shard.finish()).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "cannot write");
        match error {
            EncodeError::Write(io) => assert_eq!(io.kind(), io::ErrorKind::StorageFull, "{}", format.name()),
            other => panic!("{}: {other:?}", format.name()),
        }
    }
}

#[test]
fn errors_of_the_parquet_writer_keep_their_cause() {
    let error = EncodeError::from(::parquet::errors::ParquetError::General("why".to_owned()));
    assert_eq!(error.to_string(), "cannot encode as Parquet");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("why"));
}

#[test]
fn keys_are_refused_where_they_would_leave_rows_in_clear() {
    let schema = batches::parquet_storable(1, 1).schema();
    let mut keys = ParquetKeys::default();
    keys.set_footer(b"MDEyMzQ1Njc4OWFiY2RlZg==").unwrap();
    for format in formats() {
        let encrypted = Encoder::new(&format, Compression::None, schema.clone()).unwrap().encrypted(&keys);
        assert_eq!(encrypted.is_ok(), format.kind().facts().has_modular_encryption, "{}", format.name());
    }
}

#[test]
fn parts_are_cut_where_sizes_are_known() {
    assert_eq!(part_step_rows(&Format::Parquet), 122_880);
    assert!(part_step_rows(&Format::NDJSON) > 0);
}
