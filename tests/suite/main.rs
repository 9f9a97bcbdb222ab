//! The one integration-test binary: polars links once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::let_underscore_must_use,
    clippy::too_many_lines,
    reason = "tests choose their numbers, and a failed expectation fails the test"
)]

mod age_vectors;
mod api_keys;
mod bad_input;
mod chain;
mod commands;
mod conservation;
mod coverage;
mod csv_dialects;
mod damage;
mod determinism;
mod doctor;
mod drift;
mod encryption;
mod envelopes;
mod gcs_server;
mod golden;
mod inspect;
mod jobs;
mod jobs_passed_over;
mod keys;
mod layers;
mod limits;
mod numbers;
mod pack;
mod parquet_sources;
mod paths;
mod project;
mod redaction;
mod report;
mod restate;
mod resume;
mod run;
mod s3_server;
mod sample;
mod samples;
mod sealed_digests;
mod secret_uris;
mod service;
mod shapes;
mod signatures;
mod source_content;
mod source_times;
mod source_uris;
mod sources;
mod specs;
mod store_contract;
mod store_faults;
mod store_keys;
mod store_links;
mod store_single_faults;
mod store_swap;
mod stores;
mod tombstones;
mod verify;
