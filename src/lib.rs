//! kt-export: a declarative batch exporter for compliance evidence.
//!
//! The path of the data names the modules:
//!
//! spec text → [`spec::Spec`] → [`job::Job`] + [`source::FileFacts`] → [`plan::Plan`] → source bytes → Arrow
//! `RecordBatch` → polars query (which rows) → rows routed to partitions → redacted → encoded bytes → compressed →
//! encrypted → hashed → store → [`manifest::Manifest`].
//!
//! | layer | modules |
//! |---|---|
//! | 5 | `cli` |
//! | 4 | [`run`], [`jobs`], [`download`], [`verify`], [`doctor`], [`package`], [`coverage`], [`sample`], [`pack`] |
//! | 3 | [`source`], [`query`], [`redact`], [`encode`] |
//! | 2 | [`plan`], [`job`], [`resolve`], [`report`] |
//! | 1 | [`spec`], [`catalog`], [`yaml`], [`seal`], [`store`], [`manifest`], [`signature`], [`chain`] |
//! | 0 | [`error`], [`diagnostic`], [`secret`], [`small_file`], [`time`], [`units`] |
//!
//! A module imports from lower layers, and sideways only where the path above says so. [`report`] needs the manifest
//! alone, so that [`run`] can leave one in the package and [`verify`] can make it again.

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
pub mod failure;
pub mod job;
pub mod jobs;
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
mod word;
