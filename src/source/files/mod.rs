//! Which files a source names, and what their names and folders say of their rows.

pub mod hive;
pub mod list;

mod objects;
mod path_time;
mod skip;
