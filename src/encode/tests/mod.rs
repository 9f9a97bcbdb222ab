//! The guarantees of all formats, checked with independent readers.

pub(crate) mod batches;
mod blocks;
mod csv;
mod cuts;
mod json;
mod parquet;
mod refusals;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::{Encoded, Encoder};
use crate::job::{Compression, CsvFormat, Format};

/// All formats, CSV in its default dialect.
fn formats() -> [Format; 4] {
    [Format::Csv(CsvFormat::default()), Format::NDJSON, Format::Json, Format::Parquet]
}

/// The shard of these rows of these batches.
fn shard<'a>(
    format: &Format,
    schema: &SchemaRef,
    appends: impl IntoIterator<Item = (&'a RecordBatch, Vec<u32>)>,
) -> Vec<u8> {
    compressed(format, Compression::None, schema, appends)
}

/// The same, its pages compressed.
fn compressed<'a>(
    format: &Format,
    compression: Compression,
    schema: &SchemaRef,
    appends: impl IntoIterator<Item = (&'a RecordBatch, Vec<u32>)>,
) -> Vec<u8> {
    let encoder = Arc::new(Encoder::new(format, compression, schema.clone()).unwrap());
    let mut shard = encoder.start(Vec::new());
    let mut encoded = Encoded::default();
    for (batch, rows) in appends {
        encoder.encode(batch, &rows, &mut encoded).unwrap();
        // In two pieces, as where a part is full.
        let middle = encoded.rows() / 3;
        shard.append(&encoded, 0..middle).unwrap();
        shard.append(&encoded, middle..encoded.rows()).unwrap();
    }
    let counted = shard.encoded_bytes();
    let bytes = shard.finish().unwrap();
    assert!(counted <= bytes.len() as u64);
    bytes
}

/// The shard of one whole batch.
fn whole(format: &Format, batch: &RecordBatch) -> Vec<u8> {
    shard(format, &batch.schema(), [(batch, (0..batch.num_rows() as u32).collect())])
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_empty_shard_is_a_real_file() {
    let schema = batches::every_type(0, 0, batches::Range::Common).schema();
    let empty = |format: Format| shard(&format, &schema, []);
    let header = text(empty(Format::Csv(CsvFormat::default())));
    assert_eq!(header.split(',').count(), schema.fields().len());
    assert!(header.ends_with('\n') && header.lines().count() == 1);
    assert_eq!(empty(Format::NDJSON), b"");
    assert_eq!(empty(Format::Json), b"[]\n");
    let parquet = batches::parquet_storable(0, 0);
    assert_eq!(parquet::read(shard(&Format::Parquet, &parquet.schema(), [])).num_rows(), 0);
}

#[test]
fn a_shard_without_columns_is_written_by_the_text_formats() {
    let schema: SchemaRef = arrow::datatypes::Schema::empty().into();
    assert_eq!(shard(&Format::Csv(CsvFormat::default()), &schema, []), b"");
    assert_eq!(shard(&Format::NDJSON, &schema, []), b"");
    assert_eq!(shard(&Format::Json, &schema, []), b"[]\n");
    assert!(!shard(&Format::Parquet, &schema, []).is_empty());
}
