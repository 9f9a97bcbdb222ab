//! Failures of partitions, tasks and runs, as recorded in the package's state and shown to users.
//!
//! A failure keeps the input, the partition and the causes as values, so that no other module has to find them in the
//! text. Manifests and terminals get the text, which [`Failure`]'s `Display` renders.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::json::JsonError;

/// Why a partition is not complete, or a run failed.
///
/// Displayed as `input:position: message: cause: cause…`. The partition is not displayed, because a manifest lists
/// failures by partition; a message names the partition where readers could not know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    code: ErrorCode,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<InputPlace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

/// The input that a failure is about, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputPlace {
    /// Name of the input, as the plan and the manifest list it.
    pub name: String,
    /// 1-based line or row; `None` if the failure is about the whole input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

impl Failure {
    /// A failure with a message that says what happened and what to do, without the place.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), input: None, partition: None, causes: Vec::new() }
    }

    /// The failure for an error: its text is the message, its sources are the causes.
    pub fn of(code: ErrorCode, error: &dyn Error) -> Self {
        Self { causes: sources(error).collect(), ..Self::new(code, error.to_string()) }
    }

    /// The failure for an error that only a bug can cause.
    pub fn internal(error: &dyn Error) -> Self {
        Self::of(ErrorCode::Internal, error)
    }

    /// Blames an input: a manifest lists the failure as the error of that input. A failure that an input merely was part
    /// of, such as a failed query, names it in its message only.
    pub fn at_input(self, name: impl Into<String>, position: impl Into<Option<u64>>) -> Self {
        Self { input: Some(InputPlace { name: name.into(), position: position.into() }), ..self }
    }

    /// Says which partition the failure is about, by its label.
    pub fn in_partition(self, label: impl Into<String>) -> Self {
        Self { partition: Some(label.into()), ..self }
    }

    /// Adds an error and its sources to the causes.
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        self.causes.push(error.to_string());
        self.causes.extend(sources(error));
        self
    }

    /// Appends text to the message.
    pub fn with_suffix(mut self, text: &str) -> Self {
        self.message.push_str(text);
        self
    }

    /// Machine-readable code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The input to blame, if there is one.
    pub fn input(&self) -> Option<&InputPlace> {
        self.input.as_ref()
    }

    /// Label of the partition that the failure is about, if it is about a single one.
    pub fn partition(&self) -> Option<&str> {
        self.partition.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(input) = &self.input {
            write!(f, "{input}: ")?;
        }
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl fmt::Display for InputPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.position.map_or(Ok(()), |position| write!(f, ":{position}"))
    }
}

impl From<JsonError> for Failure {
    fn from(error: JsonError) -> Self {
        Self::internal(&error)
    }
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in sources(error) {
        text.push_str(": ");
        text.push_str(&cause);
    }
    text
}

/// The texts of an error's sources, outermost first.
fn sources(error: &dyn Error) -> impl Iterator<Item = String> {
    std::iter::successors(error.source(), |cause| (*cause).source()).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open x")]
    struct Outer(#[source] io::Error);

    fn outer() -> Outer {
        Outer(io::Error::other("disk on fire"))
    }

    #[test]
    fn a_failure_reads_as_place_message_and_causes() {
        let plain = || Failure::new(ErrorCode::BadRows, "expected 2 cells");
        for (failure, text) in [
            (plain(), "expected 2 cells"),
            (plain().at_input("a.csv", None), "a.csv: expected 2 cells"),
            (plain().at_input("a.csv", 7), "a.csv:7: expected 2 cells"),
            (plain().in_partition("2026-03-01"), "expected 2 cells"),
            (plain().caused_by(&outer()), "expected 2 cells: cannot open x: disk on fire"),
            (
                plain().caused_by(&outer()).at_input("a.csv", 7).in_partition("2026-03-01"),
                "a.csv:7: expected 2 cells: cannot open x: disk on fire",
            ),
            (plain().with_suffix(", and 2 more").at_input("a.csv", 7), "a.csv:7: expected 2 cells, and 2 more"),
            (Failure::of(ErrorCode::WriteFailed, &outer()), "cannot open x: disk on fire"),
            (Failure::internal(&outer()).at_input("a.csv", None), "a.csv: cannot open x: disk on fire"),
        ] {
            assert_eq!(failure.to_string(), text);
        }
        assert_eq!(chain(&outer()), "cannot open x: disk on fire");
        assert_eq!(Failure::internal(&outer()).code(), ErrorCode::Internal);
    }

    #[test]
    fn values_are_kept_apart_from_the_text() {
        let failure = Failure::new(ErrorCode::QueryFailed, "a.csv: the cast fails");
        assert_eq!((failure.input(), failure.partition()), (None, None));
        let failure = failure.at_input("b.csv", 3).in_partition("2026-03-01");
        let place = InputPlace { name: "b.csv".to_owned(), position: Some(3) };
        assert_eq!((failure.input(), failure.partition()), (Some(&place), Some("2026-03-01")));
    }

    #[test]
    fn empty_values_are_not_stored() {
        let json = |failure: &Failure| serde_json::to_string(failure).unwrap();
        let plain = Failure::new(ErrorCode::BadRows, "why");
        assert_eq!(json(&plain), r#"{"code":"bad_rows","message":"why"}"#);
        assert_eq!(
            json(&plain.clone().at_input("a.csv", None)),
            r#"{"code":"bad_rows","message":"why","input":{"name":"a.csv"}}"#
        );
        let full = plain.at_input("a.csv", 7).in_partition("p").caused_by(&outer());
        assert_eq!(
            json(&full),
            r#"{"code":"bad_rows","message":"why","input":{"name":"a.csv","position":7},"partition":"p","#.to_owned()
                + r#""causes":["cannot open x","disk on fire"]}"#
        );
        assert_eq!(serde_json::from_str::<Failure>(&json(&full)).unwrap(), full);
    }
}
