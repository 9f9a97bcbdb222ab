//! How a value looks as text, for CSV and the JSON formats alike.
//!
//! Per batch, each column is downcast once into a [`Column`](column::Column). Its cells are then written for a few rows
//! at a time, a [`Block`](block::Block), by a loop that knows the type: text, numbers and timestamps by
//! [`fill`], which writes into memory that is there already; all else is rendered cell by cell first, by one `match` a
//! cell. Both give the same bytes, and the tests hold the one against the other.
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
mod block;
mod canonical;
mod cell;
mod civil;
mod column;
mod decimal;
mod digits;
mod embed;
mod escape;
mod fill;
mod memo;
mod object;
mod plain;
mod rows;
mod slab;
mod span;
mod stamp;
mod style;

pub use canonical::CellTexts;
pub use cell::unescaped_formula;
pub(super) use column::unsupported;
pub use embed::{canonical_json, compact as compact_json};
pub(super) use rows::TextRows;
