//! YAML text to a tree of nodes that know their place, and from there to typed values.
//!
//! The tokens are `saphyr-parser`'s. The tree is ours because three things must hold at once that no
//! deserialiser offers together: every value keeps its bytes in the text, all mistakes are collected instead of
//! the first, and expansion of aliases is bounded while it happens. Scalars follow the YAML 1.2 core schema:
//! `no`, `off` and `1:30` are text.
//!
//! Invariant: a [`Node`] that [`parse()`] gives is at most [`crate::limits::DEPTH`] deep, so recursion over it
//! is safe.

mod core_schema;
pub mod decode;
mod node;
mod parse;

pub use core_schema::{CoreValue, integer_value, resolve_plain};
pub use node::{Entry, Kind, Node, Text};
pub use parse::parse;
