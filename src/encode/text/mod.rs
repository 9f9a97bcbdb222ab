//! How a value looks as text, for CSV and the JSON formats alike.
//!
//! Per batch, each column is downcast once into a [`Column`]; a row is then one `match` a cell over slices, into one
//! `Vec<u8>`. No cell allocates and no formatter trait is in the way.
//!
//! | value | text | in JSON |
//! |---|---|---|
//! | null | see [`text_shard`](super::text_shard) | `null` |
//! | boolean | `true`, `false` | as is |
//! | integer, decimal | exact digits, a decimal with all digits of its scale | number |
//! | float | the shortest text that reads back as the same value; `NaN`, `inf`, `-inf` | number; for those three `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | text | itself | string |
//! | text holding JSON | itself | the value, if it is one; else string |
//! | binary | lower-case hex | string |
//! | timestamp | RFC 3339, as many digits as the unit has; `Z` where the column has a zone, then always UTC | string |
//! | date, time of day | RFC 3339 | string |
//! | duration, interval | ISO 8601 | string |
//! | list, struct, map | JSON text | array, object, object |
//! | dictionary | its value | its value |
//!
//! JSON has no number for NaN and the infinities; their names are those of the JSON mapping of Protocol Buffers
//! (ProtoJSON), so that no value becomes a null.

mod bare;
mod cell;
mod civil;
mod column;
mod decimal;
mod embed;
mod escape;
mod object;
mod rows;
mod span;
mod stamp;

pub(super) use column::unsupported;
pub(super) use rows::TextRows;
