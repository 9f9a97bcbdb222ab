//! Lists the files of a source, and derives columns and time ranges from their names and folders.

pub mod hive;
pub mod list;

mod lakehouse;
mod objects;
pub mod overlap;
mod packages;
mod path_time;
mod same_file;
