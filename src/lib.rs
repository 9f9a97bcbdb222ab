//! kt-export: a declarative batch exporter for compliance evidence.
//!
//! The path of the data names the modules:
//!
//! spec text → [`spec::Spec`] → [`job::Job`] + [`source::InputFacts`] → [`plan::Plan`] → source bytes → Arrow
//! `RecordBatch` → polars query (which rows) → rows routed to partitions → redacted → encoded bytes → compressed →
//! encrypted → hashed → store → [`package::manifest::Manifest`].
//!
//! | layer | modules |
//! |---|---|
//! | 12 | `cli` |
//! | 11 | [`doctor`], [`jobs`] |
//! | 10 | [`audit`], [`download`], [`run`] |
//! | 9 | [`chain`], [`package`], [`package::state`], [`report`] |
//! | 8 | [`package::link`], [`redact`], [`resolve`], [`signature`] |
//! | 7 | [`package::manifest`], [`plan`], [`query`] |
//! | 6 | [`source`] |
//! | 5 | [`catalog`], [`encode`] |
//! | 4 | [`seal`], [`spec`] |
//! | 3 | [`job`], [`yaml`] |
//! | 2 | [`limits`], [`logical`], [`secret`], [`store`], [`time`] |
//! | 1 | [`diagnostic`], [`failure`], [`small_file`], [`stop`] |
//! | 0 | [`digest`], [`error`], [`export_format`], [`json`], `number`, [`package::layout`], `panics`, [`progress`], [`rows_digest`], `swar`, [`units`] |
//!
//! A module imports from lower layers only; `tests/suite/layers.rs` compares this table with the code. [`run`] makes
//! packages and [`audit`] checks them, and neither needs the other. [`report`] needs the manifest alone, so that [`run`] can
//! leave one in the package and [`audit`] can render it again.

// Unit tests that share a file with the integration tests use the crate under its external name.
#[cfg(test)]
extern crate self as kt_export;

pub mod audit;
pub mod catalog;
pub mod chain;
pub mod cli;
pub mod diagnostic;
pub mod digest;
pub mod doctor;
pub mod download;
pub mod encode;
pub mod error;
pub mod export_format;
pub mod failure;
pub mod job;
pub mod jobs;
pub mod json;
pub mod limits;
pub mod logical;
pub mod package;
pub mod plan;
pub mod progress;
pub mod query;
pub mod redact;
pub mod report;
pub mod resolve;
pub mod rows_digest;
pub mod run;
pub mod seal;
pub mod secret;
pub mod signature;
pub mod small_file;
pub mod source;
pub mod spec;
pub mod stop;
pub mod store;
pub mod time;
pub mod units;
pub mod yaml;

mod number;
mod panics;
mod swar;
