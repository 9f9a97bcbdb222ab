//! Chooses the encodings of the columns of a Parquet shard, based on its first rows.
//!
//! | column | encoding |
//! |---|---|
//! | values mostly repeat | dictionary |
//! | other integers, times, decimals of up to 18 digits | `DELTA_BINARY_PACKED` |
//! | other text and binary | `DELTA_LENGTH_BYTE_ARRAY`: lengths are stored apart from the bytes, which then compress better |
//! | others | plain |
//!
//! A dictionary of values that rarely repeat is the most expensive encoding: all values are hashed, and then stored in
//! addition to their indexes. Encodings: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use std::collections::HashSet;
use std::hash::Hash;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use arrow::record_batch::RecordBatch;
use parquet::basic::Encoding;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// Sampled values per column.
const SAMPLE: usize = 1024;

/// Percentage of repeated values in the sample from which a dictionary pays off. Two percent of 1,024 mean about 25,000
/// different values, each five times per row group.
const REPEATED: usize = 2;

/// The same for integers. Packed deltas are nearly as small, so a dictionary must be small to win.
const REPEATED_INTEGERS: usize = 80;

/// Decimals of at most this many digits are integers in Parquet.
const MAX_INTEGER_DIGITS: u8 = 18;

/// Bytes of the largest dictionary of a column chunk. Later values are encoded without it. Small enough for the cache.
const DICTIONARY_BYTES: usize = 512 * 1024;

/// Chooses encodings based on the first rows of a shard.
pub(super) fn choose(mut properties: WriterPropertiesBuilder, first: Option<&RecordBatch>) -> WriterProperties {
    properties = properties.set_dictionary_page_size_limit(DICTIONARY_BYTES);
    for (field, column) in first.iter().flat_map(|rows| rows.schema_ref().fields().iter().zip(rows.columns())) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        let choice = choice(column);
        if let Some(encoding) = choice.encoding {
            properties = properties.set_column_encoding(path.clone(), encoding);
        }
        properties = properties.set_column_dictionary_enabled(path, choice.dictionary);
    }
    properties.build()
}

struct Choice {
    dictionary: bool,
    /// The encoding without a dictionary, or once it is full.
    encoding: Option<Encoding>,
}

fn choice(column: &ArrayRef) -> Choice {
    match column.data_type() {
        DataType::Utf8View => text(column.as_string_view().iter().flatten()),
        DataType::Utf8 => text(column.as_string::<i32>().iter().flatten()),
        DataType::LargeUtf8 => text(column.as_string::<i64>().iter().flatten()),
        DataType::BinaryView => text(column.as_binary_view().iter().flatten()),
        DataType::Binary => text(column.as_binary::<i32>().iter().flatten()),
        DataType::LargeBinary => text(column.as_binary::<i64>().iter().flatten()),
        DataType::Float32 => floats(column.as_primitive::<Float32Type>().iter().flatten().map(f32::to_bits)),
        DataType::Float64 => floats(column.as_primitive::<Float64Type>().iter().flatten().map(f64::to_bits)),
        DataType::FixedSizeBinary(_) => {
            let repeated = repeated_percent(column.as_fixed_size_binary().iter().flatten());
            Choice { dictionary: repeated >= REPEATED, encoding: None }
        }
        DataType::Boolean => Choice { dictionary: false, encoding: None },
        _ => match integers(column) {
            Some(choice) => choice,
            None => Choice { dictionary: true, encoding: None },
        },
    }
}

fn text<T: Eq + Hash>(values: impl Iterator<Item = T>) -> Choice {
    let encoding = Some(Encoding::DELTA_LENGTH_BYTE_ARRAY);
    Choice { dictionary: repeated_percent(values) >= REPEATED, encoding }
}

fn floats<T: Eq + Hash>(values: impl Iterator<Item = T>) -> Choice {
    Choice { dictionary: repeated_percent(values) >= REPEATED, encoding: None }
}

/// The choice for columns that Parquet stores as 32-bit or 64-bit integers; `None` for other types.
fn integers(column: &ArrayRef) -> Option<Choice> {
    let data_type = column.data_type();
    let repeated = match data_type {
        DataType::Decimal128(precision, _) if *precision <= MAX_INTEGER_DIGITS => {
            repeated_percent(column.as_primitive::<Decimal128Type>().iter().flatten())
        }
        DataType::Interval(_) => return None,
        _ if data_type.is_integer() || data_type.is_temporal() => {
            let width = data_type.primitive_width()?;
            let data = column.to_data();
            let bytes = data.buffers().first()?.as_slice().get(data.offset() * width..)?;
            // Values under nulls are arbitrary and depend on how rows are split into batches, so they are skipped.
            let values = bytes.chunks_exact(width).take(column.len()).enumerate();
            repeated_percent(values.filter(|(row, _)| column.is_valid(*row)).map(|(_, value)| value))
        }
        _ => return None,
    };
    Some(Choice { dictionary: repeated >= REPEATED_INTEGERS, encoding: Some(Encoding::DELTA_BINARY_PACKED) })
}

/// Percentage of values that occurred before.
fn repeated_percent<T: Eq + Hash>(values: impl Iterator<Item = T>) -> usize {
    let mut known = HashSet::with_capacity(SAMPLE);
    let (mut count, mut repeated) = (0, 0);
    for value in values.take(SAMPLE) {
        count += 1;
        repeated += usize::from(!known.insert(value));
    }
    100 * repeated / count.max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int64Array, StringViewArray, TimestampMicrosecondArray};

    use super::*;

    fn shown(column: impl Array + 'static) -> (bool, Option<Encoding>) {
        let Choice { dictionary, encoding } = choice(&(Arc::new(column) as ArrayRef));
        (dictionary, encoding)
    }

    #[test]
    fn what_repeats_gets_a_dictionary_and_what_does_not_is_packed() {
        let text = |different: u64| {
            shown(StringViewArray::from_iter_values((0..1024u64).map(|i| format!("value {}", i % different))))
        };
        let bytes = Some(Encoding::DELTA_LENGTH_BYTE_ARRAY);
        assert_eq!(text(1_024), (false, bytes));
        assert_eq!(text(900), (true, bytes));
        let packed = Some(Encoding::DELTA_BINARY_PACKED);
        assert_eq!(shown(Int64Array::from_iter((0..4096).map(|i| (i % 7 > 0).then_some(i)))), (false, packed));
        assert_eq!(shown(Int64Array::from_iter_values((0..1024).map(|i| i % 100))), (true, packed));
        assert_eq!(shown(TimestampMicrosecondArray::from_iter_values(0..4096)), (false, packed));
        let decimals =
            |precision| Decimal128Array::from_iter_values(0..4096).with_precision_and_scale(precision, 2).unwrap();
        assert_eq!(shown(decimals(18)), (false, packed));
        assert_eq!(shown(decimals(19)), (true, None));
    }

    #[test]
    fn a_sample_without_values_gets_a_dictionary_only_where_it_is_cheap() {
        assert!(!shown(StringViewArray::new_null(10)).0);
        assert!(shown(StringViewArray::from_iter_values(["", "", ""])).0);
    }
}
