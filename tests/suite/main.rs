//! The one integration-test binary: polars links once.

mod samples;
