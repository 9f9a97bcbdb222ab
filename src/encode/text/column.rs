//! A column of one batch, downcast once, and its cells as JSON or CSV.

use arrow::array::{Array, AsArray, LargeStringArray, StringArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowDictionaryKeyType, DataType, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, SchemaRef, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;

use super::bare::Bare;
use super::cell::Dialect;
use super::embed::{canonical_json, compact, json_value};
use super::escape::json_string;
use super::memo::Memo;
use super::object::{Keys, write_object};
use super::stamp::Stamp;
use crate::encode::EncodeError;
use crate::job::Absent;
use crate::logical::{is_json, is_number};

/// Cells of one column.
pub(super) struct Column<'a> {
    pub(super) nulls: Option<&'a NullBuffer>,
    pub(super) cells: Cells<'a>,
    /// For text with a fast path.
    pub(super) memo: Memo,
}

/// Cells by their form in JSON and CSV.
pub(super) enum Cells<'a> {
    Null,
    /// Bare in JSON.
    Bare(Bare<'a>),
    /// Bare in JSON if finite, else a string.
    Float(Float<'a>),
    /// A string in JSON that never needs escapes.
    Stamp(Stamp<'a>),
    /// A string in JSON.
    Text(Text<'a>),
    /// A value in JSON.
    Embedded(Text<'a>),
    /// The digits of a number, bare in JSON and CSV.
    Number(Text<'a>),
    Dictionary(DictionaryKeys<'a>, Box<Column<'a>>),
    List(Ranges<'a>, Box<Column<'a>>),
    Map(&'a [i32], Box<[Column<'a>; 2]>),
    Struct(Keys, Vec<Column<'a>>),
}

/// Binary floating point. A binary16 is written via binary32, which holds it exactly.
pub(super) enum Float<'a> {
    Half(&'a [<Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native]),
    Single(&'a [f32]),
    Double(&'a [f64]),
}

pub(super) enum Text<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Text<'a> {
    fn new(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Small(array.as_string_opt()?),
            DataType::LargeUtf8 => Self::Large(array.as_string_opt()?),
            DataType::Utf8View => Self::View(array.as_string_view_opt()?),
            _ => return None,
        })
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> &'a str {
        match self {
            Self::Small(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
        }
    }
}

/// Keys into the values of a dictionary.
pub(super) enum DictionaryKeys<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
}

impl DictionaryKeys<'_> {
    /// Arrow guarantees that the key of a row that is not null is an index of the values.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "an index into memory fits")]
    pub(super) fn get(&self, row: usize) -> usize {
        match self {
            Self::I8(keys) => keys[row] as usize,
            Self::I16(keys) => keys[row] as usize,
            Self::I32(keys) => keys[row] as usize,
            Self::I64(keys) => keys[row] as usize,
            Self::U8(keys) => keys[row] as usize,
            Self::U16(keys) => keys[row] as usize,
            Self::U32(keys) => keys[row] as usize,
            Self::U64(keys) => keys[row] as usize,
        }
    }
}

/// The range of a list's elements among the elements of all lists.
pub(super) enum Ranges<'a> {
    Offsets(&'a [i32]),
    LargeOffsets(&'a [i64]),
    Fixed(usize),
    View(&'a [i32], &'a [i32]),
    LargeView(&'a [i64], &'a [i64]),
}

impl Ranges<'_> {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "an index into memory fits")]
    fn get(&self, row: usize) -> std::ops::Range<usize> {
        match self {
            Self::Offsets(o) => o[row] as usize..o[row + 1] as usize,
            Self::LargeOffsets(o) => o[row] as usize..o[row + 1] as usize,
            Self::Fixed(length) => row * length..(row + 1) * length,
            Self::View(o, sizes) => o[row] as usize..(o[row] + sizes[row]) as usize,
            Self::LargeView(o, sizes) => o[row] as usize..(o[row] + sizes[row]) as usize,
        }
    }
}

impl<'a> Column<'a> {
    /// `None` for a type without a text form. `absent` is for objects inside.
    pub(super) fn new(field: &Field, array: &'a dyn Array, absent: Absent) -> Option<Self> {
        let cells = match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Float16 => Cells::Float(Float::Half(array.as_primitive_opt::<Float16Type>()?.values())),
            DataType::Float32 => Cells::Float(Float::Single(array.as_primitive_opt::<Float32Type>()?.values())),
            DataType::Float64 => Cells::Float(Float::Double(array.as_primitive_opt::<Float64Type>()?.values())),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let text = Text::new(array)?;
                if is_json(field) {
                    Cells::Embedded(text)
                } else if is_number(field) {
                    Cells::Number(text)
                } else {
                    Cells::Text(text)
                }
            }
            DataType::Dictionary(key, _) => return Self::dictionary(field, key, array, absent),
            DataType::List(element) => {
                let list = array.as_list_opt::<i32>()?;
                Cells::List(Ranges::Offsets(list.offsets()), Self::child(element, list.values(), absent)?)
            }
            DataType::LargeList(element) => {
                let list = array.as_list_opt::<i64>()?;
                Cells::List(Ranges::LargeOffsets(list.offsets()), Self::child(element, list.values(), absent)?)
            }
            DataType::FixedSizeList(element, length) => {
                let list = array.as_fixed_size_list_opt()?;
                Cells::List(Ranges::Fixed(usize::try_from(*length).ok()?), Self::child(element, list.values(), absent)?)
            }
            DataType::ListView(element) => {
                let list = array.as_list_view_opt::<i32>()?;
                Cells::List(Ranges::View(list.offsets(), list.sizes()), Self::child(element, list.values(), absent)?)
            }
            DataType::LargeListView(element) => {
                let list = array.as_list_view_opt::<i64>()?;
                Cells::List(
                    Ranges::LargeView(list.offsets(), list.sizes()),
                    Self::child(element, list.values(), absent)?,
                )
            }
            DataType::Map(entries, _) => {
                let map = array.as_map_opt()?;
                let DataType::Struct(fields) = entries.data_type() else { return None };
                let [key, value] = fields.as_ref() else { return None };
                Cells::Map(
                    map.offsets(),
                    Box::new([Self::new(key, map.keys(), absent)?, Self::new(value, map.values(), absent)?]),
                )
            }
            DataType::Struct(fields) => {
                let children = array.as_struct_opt()?.columns();
                let columns =
                    fields.iter().zip(children).map(|(f, a)| Self::new(f, a, absent)).collect::<Option<_>>()?;
                Cells::Struct(Keys::new(fields, absent), columns)
            }
            _ => match Bare::new(array) {
                Some(bare) => Cells::Bare(bare),
                None => Cells::Stamp(Stamp::new(array)?),
            },
        };
        Some(Self { nulls: array.nulls(), cells, memo: Memo::default() })
    }

    fn child(field: &Field, array: &'a dyn Array, absent: Absent) -> Option<Box<Self>> {
        Self::new(field, array, absent).map(Box::new)
    }

    fn dictionary(field: &Field, key: &DataType, array: &'a dyn Array, absent: Absent) -> Option<Self> {
        fn parts<K: ArrowDictionaryKeyType>(array: &dyn Array) -> Option<(&[K::Native], &dyn Array)> {
            let dictionary = array.as_dictionary_opt::<K>()?;
            Some((dictionary.keys().values(), dictionary.values()))
        }
        macro_rules! keys {
            ($($data_type:ident $arrow:ident $variant:ident),*) => {
                match key {
                    $(DataType::$data_type => {
                        let (keys, values) = parts::<$arrow>(array)?;
                        (DictionaryKeys::$variant(keys), values)
                    })*
                    _ => return None,
                }
            };
        }
        let (keys, values) = keys!(
            Int8 Int8Type I8, Int16 Int16Type I16, Int32 Int32Type I32, Int64 Int64Type I64,
            UInt8 UInt8Type U8, UInt16 UInt16Type U16, UInt32 UInt32Type U32, UInt64 UInt64Type U64
        );
        // These are the nulls of the keys; the values have their own.
        let cells = Cells::Dictionary(keys, Self::child(field, values, absent)?);
        Some(Self { nulls: array.nulls(), cells, memo: Memo::default() })
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Whether the cell is null, or a key of a dictionary to a null.
    pub(super) fn is_absent(&self, row: usize) -> bool {
        self.is_null(row)
            || match &self.cells {
                Cells::Null => true,
                Cells::Dictionary(keys, values) => values.is_absent(keys.get(row)),
                _ => false,
            }
    }

    /// Appends the cell as a JSON value on one line.
    pub(super) fn json(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &mut self.cells {
            Cells::Null => out.extend_from_slice(b"null"),
            Cells::Bare(bare) => bare.write(row, out),
            Cells::Float(float) => float.write_json(row, out),
            Cells::Stamp(stamp) => {
                out.push(b'"');
                stamp.write(row, out);
                out.push(b'"');
            }
            Cells::Text(text) => json_string(text.get(row), out),
            Cells::Embedded(text) | Cells::Number(text) => json_value(text.get(row), out),
            Cells::Dictionary(keys, values) => values.json(keys.get(row), out),
            Cells::List(ranges, elements) => {
                let range = ranges.get(row);
                out.push(b'[');
                for i in range.clone() {
                    if i > range.start {
                        out.push(b',');
                    }
                    elements.json(i, out);
                }
                out.push(b']');
            }
            Cells::Map(offsets, entries) => {
                let [keys, values] = &mut **entries;
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                out.push(b'{');
                for i in range.clone() {
                    if i > range.start {
                        out.push(b',');
                    }
                    keys.json_key(i, out);
                    out.push(b':');
                    values.json(i, out);
                }
                out.push(b'}');
            }
            Cells::Struct(keys, columns) => write_object(keys, columns, row, out),
        }
    }

    /// Appends the cell as the key of an object. A value that is not a JSON string becomes a string of its JSON text.
    fn json_key(&mut self, row: usize, out: &mut Vec<u8>) {
        if let Cells::Text(text) | Cells::Embedded(text) | Cells::Number(text) = &self.cells {
            json_string(text.get(row), out);
            return;
        }
        let start = out.len();
        self.json(row, out);
        if out.get(start) != Some(&b'"') {
            let value = out.split_off(start);
            json_string(&String::from_utf8_lossy(&value), out);
        }
    }

    /// Appends the cell as a CSV cell. `scratch` is for values that must be quoted as a whole.
    pub(super) fn csv(&mut self, row: usize, dialect: &Dialect, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        if self.is_null(row) {
            dialect.null(out);
            return;
        }
        match &mut self.cells {
            Cells::Null => dialect.null(out),
            Cells::Bare(bare) => {
                let start = out.len();
                bare.write(row, out);
                dialect.bare_written(start, out);
            }
            Cells::Float(float) => {
                let start = out.len();
                float.write(row, out);
                dialect.bare_written(start, out);
            }
            Cells::Number(text) => {
                let start = out.len();
                out.extend_from_slice(text.get(row).as_bytes());
                dialect.bare_written(start, out);
            }
            Cells::Stamp(stamp) => {
                let start = out.len();
                stamp.write(row, out);
                if out.len() == start {
                    dialect.empty(out);
                } else {
                    dialect.bare_written(start, out);
                }
            }
            Cells::Embedded(text) if dialect.is_canonical() => {
                scratch.clear();
                canonical_json(dialect.unescaped(text.get(row)), scratch);
                if scratch == b"null" {
                    dialect.null(out);
                } else {
                    dialect.cell(scratch, out);
                }
            }
            Cells::Text(text) | Cells::Embedded(text) => {
                dialect.cell(dialect.unescaped(text.get(row)).as_bytes(), out);
            }
            Cells::Dictionary(keys, values) => values.csv(keys.get(row), dialect, scratch, out),
            Cells::List(..) | Cells::Map(..) | Cells::Struct(..) => {
                scratch.clear();
                self.json(row, scratch);
                if dialect.is_canonical() && memchr::memchr2(b' ', b'\t', scratch).is_some() {
                    let json = std::mem::take(scratch);
                    compact(&json, scratch);
                }
                dialect.cell(scratch, out);
            }
        }
    }
}

impl Float<'_> {
    /// `NaN`, `inf` and `-inf` included.
    #[inline]
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        let mut buffer = zmij::Buffer::new();
        let text = match self {
            Self::Half(values) => buffer.format(values[row].to_f32()),
            Self::Single(values) => buffer.format(values[row]),
            Self::Double(values) => buffer.format(values[row]),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// JSON has no numbers for NaN and infinities (RFC 8259, section 6). Their names as strings lose nothing and match the
    /// JSON mapping of Protocol Buffers.
    #[inline]
    pub(super) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        let value = match self {
            Self::Half(values) => values[row].to_f64(),
            Self::Single(values) => values[row].into(),
            Self::Double(values) => values[row],
        };
        if value.is_finite() {
            self.write(row, out);
        } else if value.is_nan() {
            out.extend_from_slice(b"\"NaN\"");
        } else if value > 0.0 {
            out.extend_from_slice(b"\"Infinity\"");
        } else {
            out.extend_from_slice(b"\"-Infinity\"");
        }
    }
}

/// The columns of a batch, with the fields of the encoder's schema. [`check_rows`](crate::encode::check_rows) must have
/// accepted the batch.
pub(super) fn columns<'a>(
    schema: &SchemaRef,
    batch: &'a RecordBatch,
    format: &'static str,
    absent: Absent,
) -> Result<Vec<Column<'a>>, EncodeError> {
    schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| Column::new(field, array, absent).ok_or_else(|| unsupported(field, format)))
        .collect()
}

/// Checks that every column has a text form.
pub(super) fn supported(schema: &SchemaRef, format: &'static str) -> Result<(), EncodeError> {
    columns(schema, &RecordBatch::new_empty(schema.clone()), format, Absent::Fill).map(drop)
}

/// The error of a column whose type the format does not support.
pub(in crate::encode) fn unsupported(field: &Field, format: &'static str) -> EncodeError {
    EncodeError::UnsupportedType { column: field.name().clone(), data_type: field.data_type().to_string(), format }
}
