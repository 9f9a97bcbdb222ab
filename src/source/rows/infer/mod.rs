//! The schema of a source from all rows of all its files.
//!
//! Each file's evidence ([`TableEvidence`]) is merged in the order of file names and then settled into Arrow fields:
//! the narrowest type that holds every value exactly, else text; values of kinds that no type holds together become
//! text holding JSON, as the raw bytes of the source. What differed is told in [`SourceSchema::drift`].

mod evidence;
mod exact;
mod finish;
mod join;
mod typed;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) use evidence::Node;
pub use typed::typed;

use crate::job::{DeclaredType, SchemaDrift};
use crate::source::SourceSchema;
use crate::time::TimeParser;

/// Marks a field that is declared as JSON, beside [`crate::logical::json_field`]: there, a JSON string that holds an object or
/// array stands for it. Where the text is JSON because kinds of values differ, strings stay strings.
pub const UNWRAP_JSON: &str = "kt-export:unwrap-json";

/// What to look for in a file.
#[derive(Debug, Clone, Copy)]
pub struct InspectRequest<'a> {
    /// The time column.
    pub time_column: &'a str,
    /// How it is written.
    pub times: &'a TimeParser,
    /// JSON: dotted path of the array inside each document.
    pub records: Option<&'a str>,
}

/// What was seen of the columns of some files.
#[derive(Debug, Clone, Default)]
pub struct TableEvidence {
    /// The table as an object whose fields are the columns.
    root: Node,
    /// Keys of the objects around the rows, which are not exported.
    pub(super) unexported_keys: BTreeSet<String>,
}

impl TableEvidence {
    /// The evidence of one file.
    pub(super) fn of_file(mut root: Node, file: &str) -> Self {
        let file: Arc<str> = file.into();
        finish::settle_file(&mut root, &file);
        Self { root, unexported_keys: BTreeSet::new() }
    }

    /// Adds the evidence of the files that come next in the order of names. Associative.
    pub fn merge(&mut self, other: TableEvidence) {
        self.root.merge(other.root, 0);
        self.unexported_keys.extend(other.unexported_keys);
    }

    /// Why the table's columns look like data, where they do: rows that have few of very many different keys.
    pub fn columns_are_data(&self) -> Option<String> {
        self.root.columns_are_data()
    }

    /// The schema of all files. Every field is nullable.
    ///
    /// A declared type stands for what was seen; a declared column that no file has comes last and is null.
    ///
    /// # Errors
    /// With [`SchemaDrift::Fail`], a column whose type differs between files or that a file lacks: the message names
    /// the column, both types and both files. Always, nested columns of columnar files that no type joins, and nested
    /// objects whose keys look like data and that are not declared.
    pub fn finish(self, declared: &[(String, DeclaredType)], drift: SchemaDrift) -> Result<SourceSchema, String> {
        let schema = finish::finish(self.root, declared, drift)?;
        Ok(SourceSchema { unexported_keys: self.unexported_keys.into_iter().collect(), ..schema })
    }
}

#[cfg(test)]
mod tests;
