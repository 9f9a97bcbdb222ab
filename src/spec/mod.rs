//! The spec as a person wrote it: text to [`Spec`], every mistake located.

pub mod window;

pub use window::{WindowForm, WindowSpec};

/// As written.
pub struct Spec;
