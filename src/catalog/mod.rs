//! The catalog: where each export type's data is and how its columns are called.

mod built_in;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use schemars::JsonSchema;

use crate::diagnostic::{Diagnostic, Located};
use crate::spec::{TypeEntry, document_place, version, without_nulls, zone};
use crate::yaml::Node;
use crate::yaml::decode::{Fields, Keys, any_text, mapping};

pub use built_in::{BUILT_IN_TYPES, built_in};

/// Where each export type's data is and how its columns are called.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(title = "kt-export catalog", deny_unknown_fields)]
pub struct Catalog {
    /// Version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub version: u64,
    /// What holds for all types that do not say otherwise.
    pub defaults: Option<Defaults>,
    /// The types by name. `events`, `traces`, `escalations`, `audit-log` and `kb-audit` have built-in `time`, `id` and
    /// `fields`, so they need only `source`.
    pub types: BTreeMap<String, CatalogType>,
}

/// What holds for all types that do not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Defaults {
    /// IANA zone of times that are written without one; default UTC.
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Located<TimeZone>>,
}

/// One type.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CatalogType {
    /// For people.
    pub description: Option<Located<String>>,
    /// The data.
    #[schemars(flatten)]
    pub entry: TypeEntry,
}

/// Keys of a catalog.
pub const CATALOG_KEYS: Keys = Keys { known: &["version", "defaults", "types"] };

/// Keys of `defaults`.
pub const DEFAULTS_KEYS: Keys = Keys { known: &["timezone"] };

/// Keys of a type.
pub const CATALOG_TYPE_KEYS: Keys =
    Keys { known: &["description", "source", "time", "id", "fields", "schema", "on_schema_drift"] };

impl Catalog {
    /// Reads a catalog from its document. The catalog is sound only if no mistake was added.
    pub fn decode(root: &Node, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let fields = Fields::open(root, &document_place(root), "", CATALOG_KEYS, errors)?;
        let version = fields.required("version", "1", errors, version);
        let defaults = fields.get("defaults").and_then(|entry| {
            let span = entry.key.span.as_ref()?;
            let fields = Fields::open(&entry.value, span, "defaults", DEFAULTS_KEYS, errors)?;
            Some(Defaults { timezone: fields.optional("timezone", errors, zone) })
        });
        let types = fields.required("types", "{events: {source: {uri: data/events/}}}", errors, decode_types);
        Some(Self { version: version.unwrap_or(1), defaults, types: types.unwrap_or_default() })
    }
}

fn decode_types(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<BTreeMap<String, CatalogType>> {
    let mut types = BTreeMap::new();
    for entry in mapping(node, what, errors)? {
        let name = &entry.key.value;
        let Some(span) = entry.key.span.as_ref() else { continue };
        if let Some(fields) = Fields::open(&entry.value, span, name, CATALOG_TYPE_KEYS, errors) {
            let description = fields.optional("description", errors, any_text);
            types.insert(name.clone(), CatalogType { description, entry: TypeEntry::decode(&fields, errors) });
        }
    }
    Some(types)
}

/// The JSON Schema of a catalog (draft 2020-12), for editors.
pub fn json_schema() -> serde_json::Value {
    without_nulls(schemars::schema_for!(Catalog))
}
