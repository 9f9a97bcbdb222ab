//! How much a spec or catalog may ask for.
//!
//! Specs come from pull requests, so reading one must be safe before any review: every size that its text controls has
//! a bound here, checked before the memory or time is spent.
//!
//! | limit | value | guards against |
//! |---|---|---|
//! | [`TEXT_BYTES`] | 1 MiB | a file that is not a spec at all |
//! | [`DEPTH`] | 64 | recursion |
//! | [`NODES`] | 100,000 | alias bombs, by count |
//! | [`EXPANDED_BYTES`] | 4 MiB | alias bombs, by size |
//! | [`TEMPLATE_BYTES`] | 4 KiB | templates that are programs |
//! | [`TEMPLATE_FUEL`] | 50,000 | templates that do not end |
//! | [`RENDERED_BYTES`] | 64 KiB | templates with huge output |
//! | [`REGEX_BYTES`] | 1 MiB | `(a{1000}){1000}` |
//! | [`FILTER_VALUES`] | 10,000 | lists that belong in a table |
//! | [`PATH_SEGMENT_BYTES`] | 255 | names that no file system takes |
//! | [`MISTAKES`] | 100 | a file of nothing but mistakes |
//! | [`crate::diagnostic::SHOWN_CHARS`] | 80 | messages longer than the mistake |

/// Size of a spec or catalog. The largest real ones are some tens of kilobytes.
pub(crate) const TEXT_BYTES: usize = 1 << 20;

/// How deep lists and mappings may nest. The format itself needs 6.
pub(crate) const DEPTH: usize = 64;

/// Nodes of a document after aliases are expanded.
pub(crate) const NODES: usize = 100_000;

/// Bytes of text of a document after aliases are expanded.
pub(crate) const EXPANDED_BYTES: usize = 4 << 20;

/// Size of a text value that holds a template.
pub(crate) const TEMPLATE_BYTES: usize = 4 << 10;

/// Instructions that one template may run.
pub(crate) const TEMPLATE_FUEL: u64 = 50_000;

/// Size of what one template gives.
pub(crate) const RENDERED_BYTES: usize = 64 << 10;

/// Size of a compiled regular expression.
pub(crate) const REGEX_BYTES: usize = 1 << 20;

/// Values of one `in` or `not_in` list.
pub(crate) const FILTER_VALUES: usize = 10_000;

/// Length of one segment of the output path, and so of a spec's name. What ext4, XFS, APFS and NTFS agree on.
pub(crate) const PATH_SEGMENT_BYTES: usize = 255;

pub(crate) use crate::diagnostic::MISTAKES;
