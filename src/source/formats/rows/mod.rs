//! CSV, lines, NDJSON and JSON. Each file is read twice: once to infer the schema from all rows, once to read the rows with it.
//!
//! One thread decompresses the bytes ([`decode`]) and cuts them into blocks of whole rows. Any thread can split a block
//! into rows (one module per format) and parse them into Arrow builders. Memory is bounded by the blocks and batches in
//! progress and by the longest row.

pub(crate) mod csv;
pub(crate) mod decode;
pub(crate) mod infer;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod ndjson;

pub(crate) mod inspect;

mod blocks;
mod cells;
mod column;
mod envelope;
mod find;
pub(in crate::source) mod json_text;
mod reader;
mod scalar;
mod tally;
mod transcode;
mod window;

pub(in crate::source) use blocks::BLOCK_BYTES;
