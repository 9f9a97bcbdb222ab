//! `schema`: JSON Schemas for editors and CI.

use super::Console;
use super::args::{SchemaArgs, SchemaOf};
use crate::error::Exit;
use crate::package::manifest;
use crate::{catalog, spec};

/// Prints one schema.
pub(super) fn schema(args: &SchemaArgs, console: &Console) -> Exit {
    console.print_json(&match args.of {
        SchemaOf::Spec => spec::json_schema(),
        SchemaOf::Catalog => catalog::json_schema(),
        SchemaOf::Manifest => manifest::json_schema(),
    })
}
