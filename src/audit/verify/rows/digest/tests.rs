//! What the writers digest is what is read back, from the shards of every format.

use std::io::{Seek, Write};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date64Array, Float64Array, ListArray, RecordBatch, StringArray, TimestampSecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{ContentFormat, count};
use super::*;
use crate::encode::tests::batches::{self, Range};
use crate::encode::{EncodeError, Encoded, Encoder};
use crate::job::{Compression, CsvFormat, Format};
use crate::logical::json_field;
use crate::package::manifest::ResolvedSpec;
use crate::package::manifest::tests::manifest as template;
use crate::store::Stored;

fn csv(change: impl FnOnce(&mut CsvFormat)) -> Format {
    let mut dialect = CsvFormat::default();
    change(&mut dialect);
    Format::Csv(dialect)
}

/// The formats of text, CSV in many dialects.
fn texts() -> Vec<Format> {
    vec![
        csv(|_| {}),
        csv(|f| (f.bom, f.header) = (true, false)),
        csv(|f| (f.delimiter, f.bom) = (b';', true)),
        csv(|f| (f.delimiter, f.null_text) = (b'\t', "NULL".to_owned())),
        csv(|f| f.null_text = "0".to_owned()),
        Format::NDJSON,
        Format::Json,
    ]
}

fn manifest(format: &Format, schema: &Schema) -> Manifest {
    let mut manifest = template();
    manifest.columns = schema.fields().iter().map(|field| crate::run::column(field)).collect();
    manifest.spec.resolved = ResolvedSpec::from(match format {
        Format::Csv(csv) => json!({"format": {"csv": {
            "delimiter": (csv.delimiter as char).to_string(), "header": csv.header, "null_text": csv.null_text,
            "escape_formulas": csv.escape_formulas, "bom": csv.bom,
        }}}),
        _ => Value::Null,
    });
    manifest
}

/// Writes the rows and reads them back; the digests of both must be the same.
#[track_caller]
fn digest(format: &Format, batch: &RecordBatch) -> RowsDigest {
    let encoder = Encoder::new(format, Compression::None, batch.schema()).and_then(|e| e.with_digests(format));
    let encoder = Arc::new(encoder.unwrap());
    let (mut encoded, rows) = (Encoded::default(), batch.num_rows());
    encoder.encode(batch, &(0..rows as u32).collect::<Vec<_>>(), &mut encoded).unwrap();
    let written = encoded.digest(0..rows).unwrap();
    let mut pieces = encoded.digest(0..rows / 3).unwrap();
    pieces.combine(&encoded.digest(rows / 3..rows).unwrap());
    assert_eq!(pieces, written, "{format:?}");
    let mut shard = encoder.start(Vec::new());
    shard.append(&encoded, 0..rows).unwrap();
    let bytes = shard.finish().unwrap();

    let contents = match format {
        Format::Csv(_) => ContentFormat::Csv,
        Format::Ndjson(_) => ContentFormat::Ndjson,
        Format::Json => ContentFormat::Json,
        Format::Parquet => ContentFormat::Parquet,
    };
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    let manifest = manifest(format, &batch.schema());
    let mut digester = Digester::new(&manifest);
    let read = count(
        "x",
        Stored::file(file, bytes.len() as u64),
        contents,
        &manifest,
        &crate::audit::verify::VerifyOptions::default(),
        Some(&mut digester),
    );
    assert_eq!(read.unwrap_or_else(|e| panic!("{format:?}: {e}")), rows as u64, "{format:?}");
    assert!(digester.finish() == written, "{format:?}: {}", String::from_utf8_lossy(&bytes));
    written
}

fn one_column(field: Field, values: ArrayRef) -> RecordBatch {
    let id: ArrayRef = Arc::new(StringArray::from_iter_values((0..values.len()).map(|i| i.to_string())));
    let schema = Schema::new(vec![Field::new("id", DataType::Utf8, false), field]);
    RecordBatch::try_new(Arc::new(schema), vec![id, values]).unwrap()
}

fn json_texts(values: &[Option<&str>]) -> RecordBatch {
    one_column(json_field(Field::new("j", DataType::Utf8, true)), Arc::new(StringArray::from(values.to_vec())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn rows_of_every_type_have_one_digest_in_all_formats_of_text(rows in 0usize..9, seed in any::<u64>()) {
        let batch = batches::every_type(rows, seed, Range::All);
        let expected = digest(&csv(|_| {}), &batch);
        for format in texts() {
            prop_assert!(digest(&format, &batch) == expected, "{:?}", format);
        }
        digest(&csv(|f| f.escape_formulas = true), &batch);
    }

    #[test]
    fn rows_that_parquet_can_hold_have_it_there_too(rows in 0usize..9, seed in any::<u64>()) {
        let batch = batches::parquet_storable(rows, seed);
        let told_by_words = |field: &Field| {
            let schema = Arc::new(Schema::new(vec![field.clone()]));
            let encoder = Encoder::new(&Format::Parquet, Compression::None, schema).unwrap();
            encoder.with_digests(&Format::Parquet).is_ok()
        };
        let schema = batch.schema();
        let columns: Vec<usize> = (0..batch.num_columns()).filter(|i| told_by_words(schema.field(*i))).collect();
        prop_assert_eq!(columns.len(), batch.num_columns());
        prop_assert!(digest(&Format::Parquet, &batch) == digest(&Format::NDJSON, &batch));
        let default = csv(|_| {});
        prop_assert!(digest(&Format::Parquet, &batch) == digest(&default, &batch));
    }
}

#[test]
fn json_in_a_cell_is_the_same_value_in_every_layout() {
    let pretty = [Some("{\n  \"a b\": [1,\t2.50, \" x \"]\n}"), Some("null"), Some(" 7 "), Some("oops"), None];
    let plain = [Some("{\"a b\":[1,2.50,\" x \"]}"), None, Some("7"), Some("\"oops\""), Some("null")];
    let expected = digest(&Format::NDJSON, &json_texts(&plain));
    for format in [&texts()[..], &[Format::Parquet]].concat() {
        assert!(digest(&format, &json_texts(&pretty)) == expected, "{format:?}");
    }
    for other in ["{\"a b\":[1,2.5,\" x \"]}", "{\"a b\":[1,2.50,\"x\"]}"] {
        let mut changed = plain;
        changed[0] = Some(other);
        assert!(digest(&Format::NDJSON, &json_texts(&changed)) != expected, "{other}");
    }
    let inner = json_field(Field::new_list_field(DataType::Utf8, true));
    let nested = |texts: &[Option<&str>]| {
        let values: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let list = ListArray::new(Arc::new(inner.clone()), OffsetBuffer::from_lengths([3, 2]), values, None);
        one_column(Field::new("l", list.data_type().clone(), true), Arc::new(list))
    };
    let expected = digest(&Format::NDJSON, &nested(&plain));
    for format in [&texts()[..], &[Format::Parquet]].concat() {
        let pretty = nested(&[pretty[0], None, pretty[2], pretty[3], pretty[1]]);
        assert!(digest(&format, &pretty) == expected, "{format:?}");
    }
}

#[test]
fn null_and_empty_text_differ_where_a_line_can_tell_them() {
    let texts_of = |values: Vec<Option<&str>>| {
        one_column(Field::new("t", DataType::Utf8, true), Arc::new(StringArray::from(values)))
    };
    for format in [&texts()[..], &[Format::Parquet]].concat() {
        let of = |value| digest(&format, &texts_of(vec![value]));
        assert!(of(None) != of(Some("")) && of(None) != of(Some("NULL")) && of(None) != of(Some("0")), "{format:?}");
        let single = |value| {
            let texts: ArrayRef = Arc::new(StringArray::from(vec![value]));
            digest(&format, &RecordBatch::try_from_iter_with_nullable([("t", texts, true)]).unwrap())
        };
        assert!(single(None) == single(Some("")) && single(None) != single(Some("x")), "{format:?}");
    }
}

#[test]
fn floats_that_are_no_numbers_and_negative_zero_keep_their_digest() {
    let floats = |values: &[f64]| {
        one_column(Field::new("f", DataType::Float64, true), Arc::new(Float64Array::from(values.to_vec())))
    };
    let batch = floats(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, f64::MIN_POSITIVE]);
    let expected = digest(&Format::Parquet, &batch);
    assert!(texts().iter().all(|format| digest(format, &batch) == expected));
    assert!(digest(&Format::NDJSON, &floats(&[0.0])) != digest(&Format::NDJSON, &floats(&[-0.0])));
}

#[test]
fn escaped_formulas_are_digested_as_what_they_were() {
    let values = ["=1", "-5", "@x", "\tx", "a", "", "'", "''=1", "it's"];
    let texts = |values: &[&str]| {
        one_column(Field::new("t", DataType::Utf8, true), Arc::new(StringArray::from(values.to_vec())))
    };
    let escaping = csv(|f| f.escape_formulas = true);
    assert!(digest(&escaping, &texts(&values)) == digest(&Format::NDJSON, &texts(&values)));
    // Text that looks escaped is what cannot be told from it; it reads back all the same.
    assert!(digest(&escaping, &texts(&["'=1"])) == digest(&escaping, &texts(&["=1"])));
    for values in [["-5", "'-5", "[1, 2]"], ["=", "'=", "'"]] {
        digest(&escaping, &json_texts(&values.map(Some)));
    }
}

#[test]
fn seconds_that_parquet_stores_as_milliseconds_stay_seconds() {
    let at: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(1_772_323_200), None]).with_timezone("+05:30"));
    let day: ArrayRef = Arc::new(Date64Array::from(vec![Some(1_772_323_200_000), None]));
    let list = |values: &ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1, 1]), values.clone(), None))
    };
    let columns =
        [("at", at.clone(), true), ("day", day.clone(), true), ("ats", list(&at), true), ("days", list(&day), true)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    assert!(digest(&Format::Parquet, &batch) == digest(&Format::NDJSON, &batch));
}

#[test]
fn what_the_words_for_types_do_not_tell_is_refused_in_parquet() {
    let item = json_field(Field::new_list_field(DataType::Utf8, true));
    let list = Field::new("tags", DataType::FixedSizeList(Arc::new(item), 2), true);
    let schema = Arc::new(Schema::new(vec![list]));
    let digests = |format: Format| {
        Encoder::new(&format, Compression::None, schema.clone()).and_then(|encoder| encoder.with_digests(&format)).err()
    };
    assert!(digests(Format::NDJSON).is_none());
    let error = digests(Format::Parquet).unwrap();
    assert!(matches!(error, EncodeError::Undigestible { .. }));
    let (start, end) = (
        "column `tags` of type ",
        " cannot be part of `rows_digest`, because Parquet stores it as another \
        type; leave it out with `columns`, export as another format, or do without `rows_digest`",
    );
    let text = error.to_string();
    assert!(text.starts_with(start) && text.ends_with(end), "{text}");
}

#[test]
fn a_row_without_the_keys_of_the_columns_is_refused() {
    let manifest = manifest(&Format::NDJSON, &json_texts(&[]).schema());
    let refused = |row: &str| Digester::new(&manifest).json_row(row).unwrap_err().to_string();
    let keys = "does not have the keys that the manifest lists as columns, in their order";
    for row in [r#"{"id":"1"}"#, r#"{"j":1,"id":"1"}"#, r#"{"id":"1","j":1,"k":2}"#] {
        assert_eq!(refused(row), keys);
    }
    assert!(refused("[1]").starts_with("is not a JSON object: "));
}
