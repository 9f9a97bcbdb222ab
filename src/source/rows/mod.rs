//! CSV, NDJSON and JSON: read twice, once for the schema of all rows and once, directed by it, for the rows.
//!
//! Bytes are decompressed ([`decode`]), cut into rows (one module a format), and parsed straight into Arrow builders. Memory
//! is bounded by a batch and the longest row.

pub mod csv;
pub mod decode;
pub mod infer;
pub mod json;
pub mod ndjson;

mod column;
mod json_text;
mod reader;
mod scalar;
mod tally;
