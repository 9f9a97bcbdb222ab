//! The spec as a person wrote it: text to [`Spec`], every mistake located.

/// As written.
pub struct Spec;
