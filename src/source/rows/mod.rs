//! CSV, NDJSON and JSON: read twice, once for the schema of all rows and once, directed by it, for the rows.
//!
//! Bytes are decompressed ([`decode`]) and cut into blocks of whole rows by one thread; any thread cuts a block into rows
//! (one module a format) and parses them straight into Arrow builders. Memory is bounded by the blocks and batches that
//! threads work on and the longest row.

pub mod csv;
pub mod decode;
pub mod infer;
pub mod json;
pub mod ndjson;

pub mod inspect;

mod blocks;
mod column;
mod json_text;
mod reader;
mod scalar;
mod tally;
mod window;

pub(in crate::source) use blocks::BLOCK_BYTES;
