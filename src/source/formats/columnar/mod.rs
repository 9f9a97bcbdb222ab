//! Parquet, Arrow and Avro files, read by the crates of the Arrow project and adapted to the planned schema.
//!
//! A corrupt file can make those crates panic. No such panic leaves this module.

pub(crate) mod adapt;
pub(crate) mod arrow;
pub(crate) mod avro;
pub(crate) mod parquet;

mod blocks;
mod foreign;
mod layout;
mod whole;
