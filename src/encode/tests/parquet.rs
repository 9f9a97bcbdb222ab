//! Parquet shards, read with the `parquet` crate.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, TimestampSecondArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression as PageCompression;
use parquet::data_type::AsBytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use proptest::prelude::*;

use super::batches::{self, Random};
use super::{compressed, shard, whole};
use crate::encode::{EncodeError, Encoded, Encoder, ROW_GROUP_ROWS};
use crate::job::{Compression, Format};

/// All rows of a shard.
pub(super) fn read(bytes: Vec<u8>) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(arrow_bytes(bytes)).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().collect::<Result<_, _>>().unwrap();
    concat_batches(&schema, &batches).unwrap()
}

fn arrow_bytes(bytes: Vec<u8>) -> impl parquet::file::reader::ChunkReader + 'static {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes.as_bytes()).unwrap();
    file
}

fn metadata(bytes: Vec<u8>) -> ParquetMetaData {
    let options =
        ReadOptionsBuilder::new().with_page_index().with_reader_properties(ReaderProperties::builder().build());
    SerializedFileReader::new_with_options(arrow_bytes(bytes), options.build()).unwrap().metadata().clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn rows_read_back(rows in 0usize..40, seed in any::<u64>()) {
        let batch = batches::parquet_storable(rows, seed);
        let read = read(whole(&Format::Parquet, &batch));
        prop_assert_eq!(read.num_rows(), rows);
        for (ours, theirs) in batch.columns().iter().zip(read.columns()) {
            prop_assert_eq!(&cast(ours, theirs.data_type()).unwrap(), theirs, "{}", ours.data_type());
        }
    }
}

#[test]
fn readers_see_plain_types() {
    use DataType::*;
    let batch = batches::parquet_storable(3, 1);
    let read = read(whole(&Format::Parquet, &batch));
    for (ours, theirs) in batch.schema().fields().iter().zip(read.schema().fields()) {
        let expected = match ours.data_type() {
            Utf8View => Utf8,
            BinaryView => Binary,
            Timestamp(unit, zone) => {
                let unit = if *unit == TimeUnit::Second { TimeUnit::Millisecond } else { *unit };
                let zone = zone.as_ref().map(|zone| if zone.starts_with('+') { "UTC".into() } else { zone.clone() });
                Timestamp(unit, zone)
            }
            Time32(_) => Time32(TimeUnit::Millisecond),
            Date64 => Timestamp(TimeUnit::Millisecond, None),
            Decimal32(p, s) | Decimal64(p, s) => Decimal128(*p, *s),
            Dictionary(_, value) => value.as_ref().clone(),
            other if other.is_nested() => continue,
            other => other.clone(),
        };
        assert_eq!(theirs.data_type(), &expected, "{}", ours.data_type());
    }
}

#[test]
fn text_and_times_have_their_logical_types_without_the_arrow_schema() {
    let batch = batches::parquet_storable(3, 1);
    let metadata = metadata(whole(&Format::Parquet, &batch));
    let root = metadata.file_metadata().schema_descr().root_schema();
    for (field, stored) in batch.schema().fields().iter().zip(root.get_fields()) {
        let logical = stored.get_basic_info().logical_type_ref();
        match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                assert_eq!(logical, Some(&parquet::basic::LogicalType::String));
            }
            DataType::Timestamp(_, zone) => match logical {
                Some(parquet::basic::LogicalType::Timestamp(timestamp)) => {
                    assert_eq!(timestamp.is_adjusted_to_u_t_c, zone.is_some());
                }
                other => panic!("{other:?}"),
            },
            DataType::Date32 | DataType::Time32(_) | DataType::Time64(_) => assert!(logical.is_some()),
            _ => {}
        }
    }
}

#[test]
fn metadata_of_the_source_and_marks_are_left_out() {
    let batch = batches::parquet_storable(1, 1);
    let mut fields: Vec<_> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[0] = fields[0].clone().with_metadata([("PARQUET:field_id", "7")]);
    let schema = Arc::new(Schema::new(fields).with_metadata([("pandas", "{}")]));
    let batch = RecordBatch::try_new(schema, batch.columns().to_vec()).unwrap();
    let read = read(whole(&Format::Parquet, &batch)).schema();
    assert!(read.metadata().is_empty());
    assert!(read.field(0).metadata().is_empty());
    assert!(read.field_with_name("json").unwrap().metadata().is_empty());
}

#[test]
fn pages_are_compressed_as_asked_and_have_statistics_and_indexes() {
    let batch = batches::parquet_storable(50, 3);
    for (compression, expected) in [
        (Compression::None, PageCompression::UNCOMPRESSED),
        (Compression::Snappy, PageCompression::SNAPPY),
        (Compression::Lz4, PageCompression::LZ4_RAW),
        (Compression::Zstd(3), PageCompression::ZSTD(Default::default())),
    ] {
        let rows = (0..50).collect();
        let bytes = compressed(&Format::Parquet, compression, &batch.schema(), [(&batch, rows)]);
        let metadata = metadata(bytes.clone());
        let id = metadata.row_group(0).columns().iter().position(|c| c.column_path().string() == "c5").unwrap();
        let chunk = metadata.row_group(0).column(id);
        assert_eq!(std::mem::discriminant(&chunk.compression()), std::mem::discriminant(&expected));
        assert!(chunk.statistics().is_some_and(|s| s.min_bytes_opt().is_some() && s.null_count_opt().is_some()));
        assert!(chunk.column_index_offset().is_some() && chunk.offset_index_offset().is_some());
        assert_eq!(read(bytes).num_rows(), 50);
    }
}

/// Two columns and more rows than a row group has.
fn long_batch() -> RecordBatch {
    let mut random = Random(1);
    let rows = ROW_GROUP_ROWS + 5_000;
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let text = batches::column(&DataType::Utf8View, rows, &mut random, batches::Range::Common);
    RecordBatch::try_from_iter_with_nullable([("id", id, true), ("text", text, true)]).unwrap()
}

#[test]
fn row_groups_end_after_a_fixed_number_of_rows_and_only_they_count_as_encoded() {
    let batch = long_batch();
    let encoder = Arc::new(Encoder::new(&Format::Parquet, Compression::None, batch.schema()).unwrap());
    let mut part = encoder.start(Vec::new());
    let mut append = |rows: &[u32]| {
        let mut encoded = Encoded::default();
        encoder.encode(&batch, rows, &mut encoded).unwrap();
        part.append(&encoded, 0..rows.len()).unwrap();
        part.encoded_bytes()
    };
    let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
    let (first, rest) = rows.split_at(ROW_GROUP_ROWS - 1);
    assert!(append(first) <= 4);
    let one_group = append(&rest[..1]);
    assert!(one_group > 500_000);
    assert_eq!(append(&rest[1..]), one_group);
    let bytes = part.finish().unwrap();
    let metadata = metadata(bytes.clone());
    assert_eq!(metadata.num_row_groups(), 2);
    assert_eq!(metadata.row_group(0).num_rows(), ROW_GROUP_ROWS as i64);

    // The same rows in other batches, as they come from a source.
    let pieces: Vec<RecordBatch> =
        (0..batch.num_rows()).step_by(8192).map(|at| batch.slice(at, 8192.min(batch.num_rows() - at))).collect();
    let again = shard(
        &Format::Parquet,
        &batch.schema(),
        pieces.iter().map(|piece| (piece, (0..piece.num_rows() as u32).collect())),
    );
    assert!(bytes == again);
}

#[test]
fn a_time_that_milliseconds_cannot_hold_is_an_error_and_not_another_time() {
    let array: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    let batch = RecordBatch::try_from_iter([("t", array)]).unwrap();
    let encoder = Encoder::new(&Format::Parquet, Compression::None, batch.schema()).unwrap();
    assert!(matches!(encoder.encode(&batch, &[0], &mut Encoded::default()), Err(EncodeError::Arrow(_))));
}
