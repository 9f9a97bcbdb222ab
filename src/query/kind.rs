//! Properties of a column for conditions: the kind of its values, their storage in polars, and the type's name in messages.
//!
//! Arrow has many representations of the same value; conditions use few. Instants, days, times of day and decimals are
//! integer counts of a unit, so they become integers, and constants are converted to that unit. Invariant: a [`Storage`]
//! holds every value of the columns that it is chosen for.

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::logical::{is_number, uuid};

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// The type of an operand's values in the polars frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Storage {
    /// Bits.
    Bool,
    /// Also `Int8`, `Int16`, `UInt8`, `UInt16`, days, 32-bit times.
    Int32,
    /// Unsigned 32-bit integers.
    UInt32,
    /// Also instants and 64-bit times.
    Int64,
    /// Unsigned 64-bit integers.
    UInt64,
    /// Unscaled decimals, multiplied by `10^power` so that exact numbers of different scales can be compared.
    Wide {
        /// Digits appended.
        power: u32,
    },
    /// Floats, and exact numbers compared with floats.
    Float,
    /// UTF-8 views.
    Text,
    /// True or null: whether a nested or binary column has a value.
    Validity,
}

impl Storage {
    /// Least and greatest value of integer storages.
    pub(super) fn range(self) -> (i128, i128) {
        match self {
            Self::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Self::UInt32 => (0, u32::MAX.into()),
            Self::Int64 => (i64::MIN.into(), i64::MAX.into()),
            Self::UInt64 => (0, u64::MAX.into()),
            _ => (1 - 10i128.pow(38), 10i128.pow(38) - 1),
        }
    }
}

/// The kind of an operand's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// true or false.
    Bool,
    /// Whole multiples of `10^-scale`.
    Exact {
        /// Digits after the point.
        scale: i32,
        /// Their type in polars.
        storage: Storage,
    },
    /// Binary floats.
    Float {
        /// Whether the values are shown as binary32. Also true of binary16.
        single: bool,
    },
    /// Numbers of any precision, stored as text.
    Number,
    /// UTF-8.
    Text,
    /// Dashed UUIDs in lower case, whose order as text is that of their bytes.
    Uuid,
    /// Instants or clock times in multiples of `unit` nanoseconds.
    Instant {
        /// Nanoseconds.
        unit: i128,
        /// Whether they are instants.
        zoned: bool,
    },
    /// Calendar days.
    Date,
    /// Times of day in multiples of `unit` nanoseconds.
    Time {
        /// Nanoseconds.
        unit: i128,
        /// Their type in polars.
        storage: Storage,
    },
    /// A column without any value.
    Empty,
    /// Lists, structs, maps, bytes and other types that can only be tested for null.
    Opaque,
}

impl Kind {
    /// The kind of a source column.
    pub(super) fn of_field(field: &Field) -> Self {
        if is_number(field) {
            Self::Number
        } else if uuid::is_uuid(field) {
            Self::Uuid
        } else {
            Self::of(field.data_type())
        }
    }

    /// The kind of an Arrow type. A dictionary has the kind of its values.
    pub(super) fn of(data_type: &DataType) -> Self {
        let exact = |storage| Self::Exact { scale: 0, storage };
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                exact(Storage::Int32)
            }
            DataType::UInt32 => exact(Storage::UInt32),
            DataType::Int64 => exact(Storage::Int64),
            DataType::UInt64 => exact(Storage::UInt64),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
                Self::Exact { scale: i32::from(*scale), storage: Storage::Wide { power: 0 } }
            }
            DataType::Float16 | DataType::Float32 => Self::Float { single: true },
            DataType::Float64 => Self::Float { single: false },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Timestamp(unit, zone) => Self::Instant { unit: nanoseconds(*unit), zoned: zone.is_some() },
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(unit) => Self::Time { unit: nanoseconds(*unit), storage: Storage::Int32 },
            DataType::Time64(unit) => Self::Time { unit: nanoseconds(*unit), storage: Storage::Int64 },
            DataType::Null => Self::Empty,
            DataType::Dictionary(_, values) => Self::of(values),
            _ => Self::Opaque,
        }
    }

    /// The default storage.
    pub(super) fn storage(self) -> Storage {
        match self {
            Self::Bool => Storage::Bool,
            Self::Exact { storage, .. } | Self::Time { storage, .. } => storage,
            Self::Float { .. } => Storage::Float,
            Self::Text | Self::Uuid => Storage::Text,
            Self::Instant { .. } => Storage::Int64,
            Self::Date => Storage::Int32,
            Self::Number | Self::Empty | Self::Opaque => Storage::Validity,
        }
    }

    /// Nanoseconds in one step of a time.
    pub(super) fn unit(self) -> Option<i128> {
        match self {
            Self::Instant { unit, .. } | Self::Time { unit, .. } => Some(unit),
            Self::Date => Some(DAY),
            _ => None,
        }
    }

    /// Advice on the constants that can be compared with this kind.
    pub(super) fn expects(self) -> &'static str {
        match self {
            Self::Bool => "compare it with true or false, without quotes",
            Self::Exact { .. } | Self::Float { .. } | Self::Number => "compare it with a number, without quotes",
            Self::Text => "compare it with text: put the value in quotes",
            Self::Uuid => "compare it with a UUID in quotes, such as '3c90c3cc-0d44-4b50-8888-8dd25736052a'",
            Self::Instant { zoned: true, .. } => "compare it with a time in quotes, such as '2026-03-01T00:00:00Z'",
            Self::Instant { zoned: false, .. } => {
                "compare it with a time without offset, in quotes, such as '2026-03-01T00:00:00'"
            }
            Self::Date => "compare it with a date in quotes, such as '2026-03-01'",
            Self::Time { .. } => "compare it with a time of day in quotes, such as '13:30:00'",
            Self::Empty | Self::Opaque => "only `is_null` (in `where`: IS NULL, IS NOT NULL) can test it",
        }
    }
}

fn nanoseconds(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// The type of a source column, named as in the catalog's `schema:` if possible.
pub(super) fn field_type_name(field: &Field) -> String {
    if is_number(field) {
        "number".to_owned()
    } else if uuid::is_uuid(field) {
        "uuid".to_owned()
    } else {
        type_name(field.data_type())
    }
}

/// An Arrow type, named as in the catalog's `schema:` if possible.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            format!("decimal({p},{s})")
        }
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "timestamp without zone".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time of day".to_owned(),
        DataType::Null => "null in every row".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(..)
        | DataType::Struct(_)
        | DataType::Map(..)
        | DataType::Union(..) => nested_name(data_type).to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        other => other.to_string().to_lowercase(),
    }
}

fn nested_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Struct(_) => "a struct",
        DataType::Map(..) => "a map",
        DataType::Union(..) => "a union",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "binary",
        _ => "a list",
    }
}
