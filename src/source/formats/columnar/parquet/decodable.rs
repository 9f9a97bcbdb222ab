//! Finds column chunks that cannot be decoded, from the footer alone.
//!
//! An unsupported codec or encoding would otherwise fail only when the first page is read, in the middle of a run. The
//! footer names both, so a plan over such a file is refused instead.

use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::basic::{Compression, ConvertedType, Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use crate::source::Undecodable;

/// The advice to the user.
const ADVICE: &str = "rewrite the file with ZSTD or SNAPPY pages, or leave the column out with `columns`";

/// The column chunks that cannot be decoded, by column and reason.
pub(super) fn undecodable(metadata: &ParquetMetaData) -> Vec<Undecodable> {
    let mut found: Vec<Undecodable> = Vec::new();
    let notes = metadata.file_metadata().key_value_metadata();
    let is_of_arrow = notes.is_some_and(|notes| notes.iter().any(|note| note.key == ARROW_SCHEMA_META_KEY));
    for (unit, group) in (0..).zip(metadata.row_groups()) {
        for chunk in group.columns() {
            let Some(why) = reason(chunk, is_of_arrow) else { continue };
            match found.iter_mut().find(|one| one.why == why) {
                Some(one) => one.units.push(unit),
                None => {
                    let root = chunk.column_path().parts().first().cloned().unwrap_or_default();
                    found.push(Undecodable { column: root, units: vec![unit], why });
                }
            }
        }
    }
    found
}

/// Why a column chunk cannot be decoded; `None` if it can.
fn reason(chunk: &ColumnChunkMetaData, is_of_arrow: bool) -> Option<String> {
    let path = chunk.column_path().string();
    if chunk.crypto_metadata().is_some() {
        return Some(format!(
            "column {path} is encrypted and keys for sources are not supported; decrypt the file first, or leave the \
             column out with `columns`"
        ));
    }
    if chunk.compression() == Compression::LZO {
        return Some(format!("column {path} is compressed with LZO, which is not supported; {ADVICE}"));
    }
    // Parquet's intervals have months, days and milliseconds. The crate reads them as Arrow types that hold only some of
    // these. Only the writer's own Arrow schema says which were used.
    if chunk.column_descr().converted_type() == ConvertedType::INTERVAL && !is_of_arrow {
        return Some(format!(
            "column {path} is an INTERVAL, of which months would be lost; rewrite it as text or numbers, or leave the column \
             out with `columns`"
        ));
    }
    let encodings = chunk.page_encoding_stats_mask()?.encodings();
    let unknown = encodings.into_iter().find(|encoding| !is_decoded(chunk.column_type(), *encoding))?;
    let physical = chunk.column_type();
    Some(format!("column {path} has {physical} pages encoded as {unknown}, which is not supported; {ADVICE}"))
}

/// Whether the crate decodes data pages in this encoding. Only levels may be `BIT_PACKED`, not values.
fn is_decoded(physical: Type, encoding: Encoding) -> bool {
    match encoding {
        Encoding::PLAIN | Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => true,
        Encoding::RLE => physical == Type::BOOLEAN,
        Encoding::DELTA_BINARY_PACKED => matches!(physical, Type::INT32 | Type::INT64),
        Encoding::DELTA_LENGTH_BYTE_ARRAY => physical == Type::BYTE_ARRAY,
        Encoding::DELTA_BYTE_ARRAY => matches!(physical, Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY),
        Encoding::BYTE_STREAM_SPLIT => {
            matches!(physical, Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE | Type::FIXED_LEN_BYTE_ARRAY)
        }
        Encoding::ALP => matches!(physical, Type::FLOAT | Type::DOUBLE),
        _ => false,
    }
}
