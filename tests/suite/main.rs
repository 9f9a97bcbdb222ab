//! Integration tests, in one binary, because each binary would link all of polars.

mod specs;
