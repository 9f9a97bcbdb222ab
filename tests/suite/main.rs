//! The one integration-test binary: polars links once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod chain;
mod commands;
mod damage;
mod determinism;
mod doctor;
mod drift;
mod gcs_server;
mod jobs;
mod project;
mod resume;
mod run;
mod s3_server;
mod samples;
mod signatures;
mod specs;
mod store_contract;
mod store_faults;
mod stores;
mod verify;
