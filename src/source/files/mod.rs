//! Which files a source names, and what their names and folders say of their rows.

pub mod hive;
pub mod list;

mod lakehouse;
mod objects;
pub mod overlap;
mod packages;
mod path_time;
mod same_file;
