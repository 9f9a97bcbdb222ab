//! Codecs, encodings and encryption are either read or refused based on the footer.

use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataWriter};
use parquet::schema::types::ColumnPath;

use super::*;

/// Two columns in two row groups.
fn two_columns() -> RecordBatch {
    RecordBatch::try_from_iter(vec![
        ("t", Arc::new(Int64Array::from_iter_values(0..6)) as ArrayRef),
        ("text", Arc::new(StringArray::from_iter_values((0..6).map(|i| format!("row {}", i % 2)))) as ArrayRef),
    ])
    .expect("batch")
}

/// A file whose footer says another thing of column `text` than its writer did.
pub(super) fn with_footer(change: impl Fn(ColumnChunkMetaData) -> ColumnChunkMetaData) -> Vec<u8> {
    let bytes = written(&two_columns(), groups_of(3).set_compression(Compression::UNCOMPRESSED));
    let sample = Sample::of(&bytes);
    let metadata = load(&sample.file).expect("footer").metadata().as_ref().clone();
    let groups = metadata.row_groups().iter().map(|group| {
        let columns = group.columns().iter().cloned().enumerate();
        let columns = columns.map(|(leaf, column)| if leaf == 1 { change(column) } else { column });
        group.clone().into_builder().set_column_metadata(columns.collect()).build().expect("row group")
    });
    let groups = groups.collect();
    let metadata = metadata.into_builder().set_row_groups(groups).build();
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().expect("length"));
    let mut out = bytes[..bytes.len() - 8 - footer as usize].to_vec();
    ParquetMetaDataWriter::new(&mut out, &metadata).finish().expect("footer");
    out
}

#[test]
fn every_codec_that_others_write_is_read() {
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let batch = two_columns();
        let sample = Sample::of(&written(&batch, groups_of(3).set_compression(codec)));
        let found = inspect(&sample.file, "t", &auto()).expect("inspected");
        assert_eq!(found.undecodable, [], "{codec}");
        let read = sample.read(found.schema, vec![0, 1]).expect("read");
        let text: Vec<_> = read.iter().flat_map(|batch| batch.rows.column(1).as_string_view().iter()).collect();
        assert_eq!(text, batch.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), "{codec}");
    }
}

#[test]
fn every_encoding_that_the_crate_writes_is_held_for_readable() {
    for (column, encoding) in [
        ("t", Encoding::DELTA_BINARY_PACKED),
        ("t", Encoding::BYTE_STREAM_SPLIT),
        ("text", Encoding::DELTA_LENGTH_BYTE_ARRAY),
        ("text", Encoding::DELTA_BYTE_ARRAY),
        ("text", Encoding::PLAIN),
    ] {
        let properties =
            groups_of(3).set_dictionary_enabled(false).set_column_encoding(ColumnPath::from(column), encoding);
        let sample = Sample::of(&written(&two_columns(), properties));
        let found = inspect(&sample.file, "t", &auto()).expect("inspected");
        assert_eq!(found.undecodable, [], "{encoding}");
        assert_eq!(sample.read(found.schema, vec![0, 1]).expect("read").len(), 2, "{encoding}");
    }
}

#[test]
fn a_codec_or_encoding_without_a_decoder_is_reported_by_the_footer() {
    let found = |change: fn(ColumnChunkMetaData) -> ColumnChunkMetaData| {
        let sample = Sample::of(&with_footer(change));
        inspect(&sample.file, "t", &auto()).expect("inspected").undecodable
    };
    let lzo = found(|column| column.into_builder().set_compression(Compression::LZO).build().expect("column"));
    let way_out = "rewrite the file with ZSTD or SNAPPY pages, or leave the column out with `columns`";
    let why = format!("column text is compressed with LZO, which is not supported; {way_out}");
    assert_eq!(lzo, [Undecodable { column: "text".to_owned(), units: vec![0, 1], why }]);
    let packed = found(|column| {
        let stats = parquet::file::metadata::PageEncodingStats {
            page_type: parquet::basic::PageType::DATA_PAGE,
            encoding: Encoding::ALP,
            count: 1,
        };
        column.into_builder().set_page_encoding_stats(vec![stats]).build().expect("column")
    });
    let why = format!("column text has BYTE_ARRAY pages encoded as ALP, which is not supported; {way_out}");
    assert_eq!(packed, [Undecodable { column: "text".to_owned(), units: vec![0, 1], why }]);
}

#[test]
fn an_encrypted_column_under_a_plain_footer_is_reported_and_others_are_read() {
    let encryption = FileEncryptionProperties::builder(b"0123456789012345".to_vec())
        .with_plaintext_footer(true)
        .with_column_key("text", b"1234567890123450".to_vec())
        .build()
        .expect("keys");
    let sample = Sample::of(&written(&two_columns(), groups_of(9).with_file_encryption_properties(encryption)));
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    let why = "column text is encrypted and keys for sources are not supported; decrypt the file first, or leave the \
               column out with `columns`";
    assert_eq!(found.undecodable, [Undecodable { column: "text".to_owned(), units: vec![0], why: why.to_owned() }]);
    let other = Schema::new(vec![Field::new("t", DataType::Int64, true)]);
    assert_eq!(sample.read(other, vec![0]).expect("read")[0].rows.num_rows(), 6);
}
