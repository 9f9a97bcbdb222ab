//! Failures of partitions, tasks and runs, as recorded in manifests and shown to users.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::json::JsonError;

/// Why a partition is not complete, or a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Machine-readable code.
    pub code: ErrorCode,
    /// What happened, where, and what to do.
    pub message: String,
}

impl Failure {
    /// The failure for an error that only a bug can cause.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self { code: ErrorCode::Internal, message: chain(error) }
    }
}

impl From<JsonError> for Failure {
    fn from(error: JsonError) -> Self {
        Self::internal(&error)
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
