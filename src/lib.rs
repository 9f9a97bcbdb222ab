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
//! | 13 | `cli` |
//! | 12 | `service` |
//! | 11 | [`doctor`], [`jobs`], [`proposal`] |
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

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::let_underscore_must_use,
        clippy::too_many_lines,
        reason = "tests choose their numbers, and a failed expectation fails the test"
    )
)]

// Unit tests that share a file with the integration tests use the crate under its external name.
#[cfg(test)]
extern crate self as kt_export;

pub mod audit;
pub mod catalog;
pub mod chain;
pub mod cli;
pub mod diagnostic;
pub mod digest;
mod doctor;
mod download;
pub mod encode;
mod error;
mod export_format;
mod failure;
pub mod job;
mod jobs;
mod json;
mod limits;
mod logical;
pub mod package;
mod plan;
mod progress;
mod proposal;
mod query;
mod redact;
mod report;
pub mod resolve;
mod rows_digest;
mod run;
pub mod seal;
pub mod secret;
mod service;
pub mod signature;
mod small_file;
mod source;
pub mod spec;
mod stop;
pub mod store;
mod time;
mod units;
pub mod yaml;

mod number;
mod panics;
mod swar;
