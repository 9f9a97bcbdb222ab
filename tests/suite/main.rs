//! The one integration-test binary: polars links once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod project;
mod run;
mod samples;
mod specs;
