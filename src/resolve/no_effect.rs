//! Settings without effect. Each is an error, because its author expects an effect.
//!
//! Only spec and catalog are checked here. What depends on the files (`records` over files that are neither JSON nor NDJSON,
//! `hive_partitioning` without such folders) is reported when they are listed.

use crate::diagnostic::{Diagnostic, Located};
use crate::job::DeclaredType;
use crate::spec::{SourceSpec, Spec, TimeSpec, TypeEntry, time_format_text};
use crate::time::TimeFormat;
use crate::time::parse::{ReadByZone, read_by_zone};

/// Adds a mistake for each setting that has no effect.
pub(super) fn check(
    spec: &Spec,
    entry: &TypeEntry,
    source: &SourceSpec,
    time: &TimeSpec,
    errors: &mut Vec<Diagnostic>,
) {
    let declared = entry.schema.iter().flatten().find(|(name, _)| name.value == time.column.value);
    if let Some((_, declared @ (DeclaredType::Timestamp | DeclaredType::Date))) = declared
        && let Some(format) = &time.format
        && *format != TimeFormat::Auto
    {
        let format = time_format_text(format);
        let column = &time.column;
        let message = format!("`format: {format}` has no effect: `schema` declares `{}` as {declared}", column.value);
        errors.push(column.mistake(message).help("remove `format`, or declare the column as text or number"));
    }
    if let Some(timezone) = &time.timezone
        && source.path_time.is_none()
        && let Some(why) = without_zone(time, declared.map(|(_, declared)| *declared))
    {
        errors.push(timezone.mistake(format!("`timezone` has no effect: {why}")).help("remove it"));
    }
    if spec.window.allow_open && spec.window.settle.span.is_some() && !spec.window.settle.value.is_zero() {
        let settle: &Located<_> = &spec.window.settle;
        let message = "`settle` has no effect beside `allow_open: true`, which exports a window at any time";
        errors.push(settle.mistake(message).help("remove one of them"));
    }
}

/// Why no time of the column is read in the source's zone.
fn without_zone(time: &TimeSpec, declared: Option<DeclaredType>) -> Option<String> {
    let format = time.format.clone().unwrap_or_default();
    match declared {
        Some(DeclaredType::Timestamp) => return Some("a column declared as timestamp holds instants".to_owned()),
        Some(DeclaredType::Date) => {
            return Some("a date without a time of day is a day of the window's `timezone`".to_owned());
        }
        _ => {}
    }
    match (&format, read_by_zone(&format)) {
        (_, ReadByZone::Times) => None,
        (TimeFormat::Pattern(pattern), ReadByZone::Nothing) => {
            Some(format!("a time in the pattern `{pattern}` says its own offset"))
        }
        (_, ReadByZone::Nothing) => Some(format!("a number in `{}` is an instant", time_format_text(&format))),
        (_, ReadByZone::Dates) => {
            let pattern = time_format_text(&format);
            Some(format!(
                "a date in the pattern `{pattern}` has no time of day and is a day of the window's `timezone`"
            ))
        }
    }
}
