//! Parquet and Arrow files: the crates of the Arrow project read them, and what they give is adapted to the planned schema.
//!
//! A broken file can make those crates panic; nothing of that leaves this folder.

pub mod adapt;
pub mod arrow;
pub mod parquet;

mod blocks;
mod foreign;
mod layout;
