//! Builds the columns of a batch, value by value, in the planned types.
//!
//! After a row that fails halfway, the builders are padded with nulls to equal lengths, and the row is filtered out when
//! the batch is finished. Good rows pay nothing for this.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, ListArray, NullArray, NullBufferBuilder, PrimitiveBuilder, StringViewBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use crate::logical::path::is_pruned;
use crate::logical::{is_json, is_number};
use crate::number::NumberText;
use crate::source::formats::rows::infer::UNWRAP_JSON;
use crate::source::formats::rows::json_text::is_plain;
use crate::source::formats::rows::scalar;

/// A struct column under construction.
pub(super) struct StructColumn {
    fields: Fields,
    /// Whether other fields are an error: they were not there when the file was inspected.
    pub(super) is_whole: bool,
    /// For each field, whether its name needs no escapes in JSON.
    plain: Vec<bool>,
    pub(super) columns: Vec<Column>,
    valid: NullBufferBuilder,
    /// Structs begun so far, and per field the number of the last struct that had it. Detects a duplicate key in one object.
    pub(super) begun: u64,
    pub(super) given: Vec<u64>,
}

/// A list column under construction.
pub(super) struct ListColumn {
    item: Arc<Field>,
    pub(super) items: Box<Column>,
    ends: Vec<i32>,
    valid: NullBufferBuilder,
}

/// A column under construction.
pub(super) enum Column {
    Null(usize),
    Bool(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Decimal {
        builder: PrimitiveBuilder<Decimal128Type>,
        precision: u8,
        scale: i8,
    },
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Text(StringViewBuilder),
    /// The digits of numbers.
    Number(StringViewBuilder),
    /// Text that holds JSON. `unwrap`: a string that holds an object or array is stored as that object or array.
    Json {
        builder: StringViewBuilder,
        unwrap: bool,
    },
    Struct(StructColumn),
    List(ListColumn),
}

/// Evaluates one expression over the builder of any flat column.
macro_rules! with_builder {
    ($column:expr, $builder:ident => $flat:expr, $null:pat => $for_null:expr, $struct:pat => $for_struct:expr, $list:pat => $for_list:expr) => {
        match $column {
            Column::Bool($builder) => $flat,
            Column::Int8($builder) => $flat,
            Column::Int16($builder) => $flat,
            Column::Int32($builder) => $flat,
            Column::Int64($builder) => $flat,
            Column::UInt8($builder) => $flat,
            Column::UInt16($builder) => $flat,
            Column::UInt32($builder) => $flat,
            Column::UInt64($builder) => $flat,
            Column::Float32($builder) => $flat,
            Column::Float64($builder) => $flat,
            Column::Decimal { builder: $builder, .. } => $flat,
            Column::Date($builder) => $flat,
            Column::Timestamp($builder) => $flat,
            Column::Text($builder) | Column::Number($builder) | Column::Json { builder: $builder, .. } => $flat,
            $null => $for_null,
            $struct => $for_struct,
            $list => $for_list,
        }
    };
}

impl Column {
    /// A builder for a field. `Err` holds a type that no row format can supply.
    pub(super) fn new(field: &Field) -> Result<Self, DataType> {
        Ok(match field.data_type() {
            DataType::Null => Self::Null(0),
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int8 => Self::Int8(PrimitiveBuilder::new()),
            DataType::Int16 => Self::Int16(PrimitiveBuilder::new()),
            DataType::Int32 => Self::Int32(PrimitiveBuilder::new()),
            DataType::Int64 => Self::Int64(PrimitiveBuilder::new()),
            DataType::UInt8 => Self::UInt8(PrimitiveBuilder::new()),
            DataType::UInt16 => Self::UInt16(PrimitiveBuilder::new()),
            DataType::UInt32 => Self::UInt32(PrimitiveBuilder::new()),
            DataType::UInt64 => Self::UInt64(PrimitiveBuilder::new()),
            DataType::Float32 => Self::Float32(PrimitiveBuilder::new()),
            DataType::Float64 => Self::Float64(PrimitiveBuilder::new()),
            t @ DataType::Decimal128(precision, scale) => Self::Decimal {
                builder: PrimitiveBuilder::new().with_data_type(t.clone()),
                precision: *precision,
                scale: *scale,
            },
            DataType::Date32 => Self::Date(PrimitiveBuilder::new()),
            t @ DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                Self::Timestamp(PrimitiveBuilder::new().with_data_type(t.clone()))
            }
            DataType::Utf8View if is_json(field) => {
                Self::Json { builder: StringViewBuilder::new(), unwrap: field.metadata().contains_key(UNWRAP_JSON) }
            }
            DataType::Utf8View if is_number(field) => Self::Number(StringViewBuilder::new()),
            DataType::Utf8View => Self::Text(StringViewBuilder::new()),
            DataType::Struct(fields) if !fields.is_empty() => Self::Struct(StructColumn {
                fields: fields.clone(),
                is_whole: !is_pruned(field),
                plain: fields.iter().map(|f| is_plain(f.name())).collect(),
                columns: fields.iter().map(|f| Self::new(f)).collect::<Result<_, _>>()?,
                valid: NullBufferBuilder::new(0),
                begun: 0,
                given: vec![0; fields.len()],
            }),
            DataType::List(item) => Self::List(ListColumn {
                item: item.clone(),
                items: Box::new(Self::new(item)?),
                ends: Vec::new(),
                valid: NullBufferBuilder::new(0),
            }),
            other => return Err(other.clone()),
        })
    }

    /// Number of values so far.
    #[inline]
    pub(super) fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        with_builder!(self, b => b.len(), Self::Null(n) => *n, Self::Struct(s) => s.valid.len(), Self::List(l) => l.ends.len())
    }

    /// Appends a null.
    #[inline]
    pub(super) fn null(&mut self) {
        with_builder!(self, b => b.append_null(), Self::Null(n) => *n += 1, Self::Struct(s) => {
            for column in &mut s.columns {
                column.null();
            }
            s.valid.append_null();
        }, Self::List(l) => l.end(false));
    }

    /// Pads the parts of a half-appended value, so that all have the same length.
    fn complete_partial(&mut self) {
        match self {
            Self::Struct(s) => {
                for column in &mut s.columns {
                    column.complete_partial();
                }
                let longest = s.columns.iter().map(Self::len).max().unwrap_or(0).max(s.valid.len());
                for column in &mut s.columns {
                    column.pad(longest);
                }
                s.valid.append_n_nulls(longest - s.valid.len());
            }
            Self::List(l) => {
                l.items.complete_partial();
                if l.items.len() > l.last_end() {
                    l.end(true);
                }
            }
            _ => {}
        }
    }

    /// Appends nulls up to a length.
    #[inline]
    pub(super) fn pad(&mut self, len: usize) {
        while self.len() < len {
            self.null();
        }
    }

    /// Appends a value parsed from text that is not null: a CSV cell, or a JSON string for a declared number or time.
    /// Returns `false` if the text is not a value of the type.
    #[inline]
    pub(super) fn text(&mut self, text: &str) -> bool {
        match self {
            Self::Text(b) => {
                b.append_value(text);
                true
            }
            Self::Json { builder, .. } => {
                let valid = crate::source::formats::rows::json_text::is_json_text(text);
                if valid {
                    builder.append_value(text);
                }
                valid
            }
            Self::Bool(b) => match text {
                "true" => {
                    b.append_value(true);
                    true
                }
                "false" => {
                    b.append_value(false);
                    true
                }
                _ => false,
            },
            Self::Date(b) => put(b, scalar::date(text)),
            Self::Timestamp(b) => put(b, scalar::timestamp_us(text)),
            _ => self.number(text),
        }
    }

    /// Whether [`Column::text`] would accept a text.
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Json { .. } => crate::source::formats::rows::json_text::is_json_text(text),
            Self::Bool(_) => matches!(text, "true" | "false"),
            Self::Date(_) => scalar::date(text).is_some(),
            Self::Timestamp(_) => scalar::timestamp_us(text).is_some(),
            Self::Int8(_) => scalar::integer::<i8>(text).is_some(),
            Self::Int16(_) => scalar::integer::<i16>(text).is_some(),
            Self::Int32(_) => scalar::integer::<i32>(text).is_some(),
            Self::Int64(_) => scalar::integer::<i64>(text).is_some(),
            Self::UInt8(_) => scalar::integer::<u8>(text).is_some(),
            Self::UInt16(_) => scalar::integer::<u16>(text).is_some(),
            Self::UInt32(_) => scalar::integer::<u32>(text).is_some(),
            Self::UInt64(_) => scalar::integer::<u64>(text).is_some(),
            Self::Float32(_) => scalar::float32(text).is_some(),
            Self::Float64(_) => scalar::float64(text).is_some(),
            Self::Decimal { precision, scale, .. } => scalar::decimal(text, *precision, *scale).is_some(),
            Self::Number(_) => NumberText::parse(text).is_some(),
            Self::Null(_) | Self::Struct(_) | Self::List(_) => false,
        }
    }

    /// Appends a value parsed from the digits of a number. Returns `false` if it does not fit the type.
    #[inline]
    pub(super) fn number(&mut self, digits: &str) -> bool {
        match self {
            Self::Int8(b) => put(b, scalar::integer(digits)),
            Self::Int16(b) => put(b, scalar::integer(digits)),
            Self::Int32(b) => put(b, scalar::integer(digits)),
            Self::Int64(b) => put(b, scalar::integer(digits)),
            Self::UInt8(b) => put(b, scalar::integer(digits)),
            Self::UInt16(b) => put(b, scalar::integer(digits)),
            Self::UInt32(b) => put(b, scalar::integer(digits)),
            Self::UInt64(b) => put(b, scalar::integer(digits)),
            Self::Float32(b) => put(b, scalar::float32(digits)),
            Self::Float64(b) => put(b, scalar::float64(digits)),
            Self::Decimal { builder, precision, scale } => put(builder, scalar::decimal(digits, *precision, *scale)),
            Self::Number(b) => {
                let is_number = NumberText::parse(digits).is_some();
                if is_number {
                    b.append_value(digits);
                }
                is_number
            }
            _ => false,
        }
    }

    /// The name of the type in messages.
    pub(super) fn type_name(&self) -> String {
        match self {
            Self::Null(_) => "null".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int8(_) => "int8".to_owned(),
            Self::Int16(_) => "int16".to_owned(),
            Self::Int32(_) => "int32".to_owned(),
            Self::Int64(_) => "int64".to_owned(),
            Self::UInt8(_) => "uint8".to_owned(),
            Self::UInt16(_) => "uint16".to_owned(),
            Self::UInt32(_) => "uint32".to_owned(),
            Self::UInt64(_) => "uint64".to_owned(),
            Self::Float32(_) => "float32".to_owned(),
            Self::Float64(_) => "float64".to_owned(),
            Self::Decimal { precision, scale, .. } => format!("decimal({precision},{scale})"),
            Self::Date(_) => "date".to_owned(),
            Self::Timestamp(_) => "timestamp".to_owned(),
            Self::Number(_) => "a number".to_owned(),
            Self::Text(_) => "text".to_owned(),
            Self::Json { .. } => "json".to_owned(),
            Self::Struct(_) => "struct".to_owned(),
            Self::List(_) => "list".to_owned(),
        }
    }

    /// Returns the column and empties the builder.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(with_builder!(self, b => Arc::new(b.finish()), Self::Null(n) => Arc::new(NullArray::new(std::mem::take(n))),
        Self::Struct(s) => {
            let len = s.valid.len();
            let columns = s.columns.iter_mut().map(Self::finish).collect::<Result<_, _>>()?;
            Arc::new(StructArray::try_new_with_length(s.fields.clone(), columns, s.valid.finish(), len)?)
        }, Self::List(l) => {
            let ends = std::mem::take(&mut l.ends);
            let offsets: Vec<i32> = std::iter::once(0).chain(ends).collect();
            let items = l.items.finish()?;
            Arc::new(ListArray::try_new(l.item.clone(), OffsetBuffer::new(offsets.into()), items, l.valid.finish())?)
        }))
    }
}

#[inline]
fn put<T: arrow::datatypes::ArrowPrimitiveType>(builder: &mut PrimitiveBuilder<T>, value: Option<T::Native>) -> bool {
    if let Some(v) = value {
        builder.append_value(v);
    }
    value.is_some()
}

impl StructColumn {
    /// The index of a field. `hint` is its index in the previous object.
    #[inline]
    pub(super) fn place(&self, name: &str, hint: usize) -> Option<usize> {
        if self.fields.get(hint).is_some_and(|f| f.name() == name) {
            return Some(hint);
        }
        // Objects that lack fields usually have the others in order.
        let after = self.fields.iter().skip(hint).position(|f| f.name() == name).map(|i| hint + i);
        after.or_else(|| self.fields.iter().take(hint).position(|f| f.name() == name))
    }

    /// A builder for the columns of a batch. `Err` names a column and a type that no row format can supply.
    pub(super) fn of_table(fields: &Fields) -> Result<Self, (String, DataType)> {
        let columns: Result<_, _> = fields.iter().map(|f| Column::new(f).map_err(|t| (f.name().clone(), t))).collect();
        Ok(Self {
            fields: fields.clone(),
            is_whole: false,
            plain: fields.iter().map(|f| is_plain(f.name())).collect(),
            columns: columns?,
            valid: NullBufferBuilder::new(0),
            begun: 0,
            given: vec![0; fields.len()],
        })
    }

    /// The name of a field, if it needs no escapes in JSON.
    #[inline]
    pub(super) fn plain_name(&self, place: usize) -> Option<&str> {
        self.plain.get(place)?.then(|| self.name(place))
    }

    pub(super) fn name(&self, place: usize) -> &str {
        self.fields.get(place).map_or("", |f| f.name())
    }

    /// Number of structs so far.
    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Ends a struct that failed halfway, padding its parts.
    pub(super) fn end_partial(&mut self) {
        for column in &mut self.columns {
            column.complete_partial();
        }
        self.end();
    }

    /// Returns the columns and empties the builders.
    pub(super) fn finish_columns(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.valid.finish();
        self.columns.iter_mut().map(Column::finish).collect()
    }

    /// Ends a struct that is not null. Missing fields become null.
    pub(super) fn end(&mut self) {
        self.valid.append_non_null();
        let len = self.valid.len();
        for column in &mut self.columns {
            column.pad(len);
        }
    }
}

impl ListColumn {
    fn last_end(&self) -> usize {
        self.ends.last().and_then(|e| usize::try_from(*e).ok()).unwrap_or(0)
    }

    /// Ends a list. Offsets cannot overflow, because a batch is full long before.
    pub(super) fn end(&mut self, valid: bool) {
        self.ends.push(i32::try_from(self.items.len()).unwrap_or(i32::MAX));
        self.valid.append(valid);
    }
}
