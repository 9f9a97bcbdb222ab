//! The built-in export types, usable without a catalog entry beyond `source`.
//!
//! The names are those that the export API has always filtered by; a record's other columns need no entry, since a
//! filter may name a source column itself.

use crate::diagnostic::Located;
use crate::job::Combination;
use crate::spec::{TimeSpec, TypeEntry};

/// One built-in type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltInType {
    /// Its name.
    pub name: &'static str,
    /// Time column.
    pub time: &'static str,
    /// Column that names a row.
    pub id: &'static str,
    /// Filter name to source column.
    pub fields: &'static [(&'static str, &'static str)],
}

/// All of them.
pub const BUILT_IN_TYPES: [BuiltInType; 5] = [
    BuiltInType {
        name: "events",
        time: "occurred_at",
        id: "event_id",
        fields: &[
            ("statuses", "status"),
            ("kb_ids", "kb_id"),
            ("actor_user_id", "actor_user_id"),
            ("session_id", "session_id"),
            ("team", "team"),
            ("policy", "policy"),
            ("provider", "provider"),
            ("model", "model"),
        ],
    },
    BuiltInType {
        name: "traces",
        time: "started_at",
        id: "span_id",
        fields: &[
            ("statuses", "status"),
            ("trace_id", "trace_id"),
            ("service", "service"),
            ("session_id", "session_id"),
        ],
    },
    BuiltInType {
        name: "escalations",
        time: "opened_at",
        id: "escalation_id",
        fields: &[
            ("statuses", "status"),
            ("actor_user_id", "actor_user_id"),
            ("assignee_user_id", "assignee_user_id"),
            ("severity", "severity"),
            ("session_id", "session_id"),
        ],
    },
    BuiltInType {
        name: "audit-log",
        time: "occurred_at",
        id: "entry_id",
        fields: &[
            ("statuses", "status"),
            ("actor_user_id", "actor_user_id"),
            ("action", "action"),
            ("resource_type", "resource_type"),
            ("resource_id", "resource_id"),
            ("session_id", "session_id"),
        ],
    },
    BuiltInType {
        name: "kb-audit",
        time: "occurred_at",
        id: "entry_id",
        fields: &[
            ("kb_ids", "kb_id"),
            ("statuses", "status"),
            ("actor_user_id", "actor_user_id"),
            ("session_id", "session_id"),
            ("action", "action"),
        ],
    },
];

/// The entry of a built-in type: everything but its source.
pub fn built_in(name: &str) -> Option<TypeEntry> {
    let built_in = BUILT_IN_TYPES.iter().find(|t| t.name == name)?;
    let text = |value: &str| Located::default_value(value.to_owned());
    Some(TypeEntry {
        time: Some(TimeSpec {
            column: text(built_in.time),
            columns: Vec::new(),
            combination: Combination::default(),
            format: None,
            timezone: None,
            zones: None,
        }),
        id: Some(text(built_in.id)),
        fields: Some(built_in.fields.iter().map(|(name, column)| ((*name).to_owned(), text(column))).collect()),
        ..TypeEntry::default()
    })
}
