//! Infers the schema of a source from all rows of all its files.
//!
//! The evidence of all files ([`TableEvidence`]) is merged in the order of file names. Each column becomes the narrowest
//! Arrow type that holds every value exactly, or text if there is none. Values of kinds that no type holds together become
//! text that holds JSON, as the raw bytes of the source. [`SourceSchema::drift`] describes the differences.

mod evidence;
mod exact;
mod finish;
mod join;
mod typed;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) use evidence::Node;
pub(crate) use finish::{SchemaError, declared_field};
pub(crate) use typed::typed;

use crate::job::{DeclaredType, SchemaDrift};
use crate::source::SourceSchema;

/// Metadata key of a field that is declared as JSON, beside [`crate::logical::json_field`]. In such a field, a JSON string
/// that holds an object or array is read as that object or array. In a field that is JSON because kinds of values differ,
/// strings stay strings.
pub(crate) const UNWRAP_JSON: &str = "kt-export:unwrap-json";

/// The kinds and types of values seen in the columns of some files.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableEvidence {
    /// The table as an object whose fields are the columns.
    root: Node,
    /// Keys of the objects around the rows, which are not exported.
    pub(super) unexported_keys: BTreeSet<String>,
}

impl TableEvidence {
    /// The evidence of one file.
    pub(super) fn of_file(mut root: Node, file: &str) -> Self {
        let file: Arc<str> = file.into();
        finish::record_types(&mut root, &file);
        Self { root, unexported_keys: BTreeSet::new() }
    }

    /// Adds the evidence of the files that come next in the order of names. Associative.
    pub(crate) fn merge(&mut self, other: TableEvidence) {
        self.root.merge(other.root, 0);
        self.unexported_keys.extend(other.unexported_keys);
    }

    /// If the column names look like data (each row has few of very many different keys), how many there are.
    pub(crate) fn columns_are_data(&self) -> Option<String> {
        self.root.columns_are_data()
    }

    /// The schema of all files. Every field is nullable.
    ///
    /// A declared type replaces the inferred one. A declared column that no file has comes last and is null.
    ///
    /// # Errors
    /// [`SchemaError`]. With [`SchemaDrift::Fail`], a column whose type differs between files or that a file lacks. With
    /// any setting, nested columns of columnar files that no type holds together, and nested objects whose keys look like
    /// data and that are not declared.
    pub(crate) fn finish(
        self,
        declared: &[(String, DeclaredType)],
        drift: SchemaDrift,
    ) -> Result<SourceSchema, SchemaError> {
        let schema = finish::finish(self.root, declared, drift)?;
        Ok(SourceSchema { unexported_keys: self.unexported_keys.into_iter().collect(), ..schema })
    }
}

#[cfg(test)]
mod tests;
