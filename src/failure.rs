//! Why partitions are not complete, as manifests and people are told.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;

/// Why partitions are not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, where, and the way out.
    pub message: String,
}

impl Failure {
    /// A failure that only a bug can cause.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self { code: ErrorCode::Internal, message: chain(error) }
    }
}

/// An error and its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
