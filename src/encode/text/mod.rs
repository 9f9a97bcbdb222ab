//! The text form of values, for CSV and the JSON formats.
//!
//! Each column of a batch is downcast once into a [`Column`](column::Column). Its cells are written for a few rows at a time
//! (a [`Block`](block::Block)). Text, numbers and timestamps have a fast path, [`fill`], with one loop per type that writes
//! into preallocated memory. Other types are rendered cell by cell, with one `match` per cell. Both paths give the same
//! bytes; tests compare them.
//!
//! | value | text | in JSON |
//! |---|---|---|
//! | null | see [`text_shard`](super::text_shard) | `null` |
//! | boolean | `true`, `false` | the same |
//! | integer, decimal | exact digits, a decimal with all digits of its scale | number |
//! | float | the shortest text that reads back as the same value; `NaN`, `inf`, `-inf` | number; for those three `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | text | itself | string |
//! | text that holds JSON | itself | the value if valid, else string |
//! | binary | lower-case hex | string |
//! | timestamp | RFC 3339, with all digits of the unit; if the column has a zone, in UTC with `Z` | string |
//! | date, time of day | RFC 3339 | string |
//! | duration, interval | ISO 8601 | string |
//! | list, struct, map | JSON text | array, object, object |
//! | dictionary | its value | its value |
//!
//! JSON has no numbers for NaN and infinities. Their names follow the JSON mapping of Protocol Buffers (ProtoJSON), so that no
//! value becomes null.

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
