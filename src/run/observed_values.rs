//! Samples the values of filtered columns when the filters dropped every row: a filter for `blokced` then shows that the
//! column has `allowed` and `blocked`.
//!
//! This is a hint, not evidence: it is bounded, and omits inputs that cannot be read again. Values are not shown if the
//! package hides them.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::Array;
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::open_package::OpenPackage;
use super::prepare::Prepared;
use crate::job::{Condition, Filter, Job, OnBad};
use crate::logical::path;
use crate::package::manifest::{FilterCount, HeldValues};
use crate::source::instants::{bound, instants};
use crate::source::{Batch, ReadRequest, Source};
use crate::stop::Stop;

/// Maximum number of filters.
const FILTERS: usize = 4;

/// Maximum number of values per filter.
const VALUES: usize = 12;

/// Maximum number of characters per value.
const CHARACTERS: usize = 60;

/// Maximum number of rows read. The values of a status or team column appear in far fewer.
const ROWS: u64 = 2_000_000;

/// The values of the columns whose filters dropped rows.
pub(super) fn observed_values(
    source: &dyn Source,
    job: &Job,
    package: &OpenPackage,
    prepared: &Prepared,
    counts: &[FilterCount],
    stop: &Stop,
) -> Vec<HeldValues> {
    if job.withholds_values() {
        return Vec::new();
    }
    let left_out = |filter: &&Filter| counts.iter().any(|count| count.filter == filter.name() && count.rows > 0);
    let compares = |filter: &&Filter| matches!(filter.condition.value, Condition::Eq(_) | Condition::In(_));
    let filters: Vec<&Filter> = job.filters.iter().filter(compares).filter(left_out).take(FILTERS).collect();
    let columns: BTreeSet<&str> = filters.iter().map(|filter| filter.column.value.as_str()).collect();
    if columns.is_empty() {
        return Vec::new();
    }
    let mut seen: BTreeMap<&str, Seen> = columns.into_iter().map(|column| (column, Seen::default())).collect();
    let whole = sample(source, job, package, prepared, stop, &mut seen);
    let held = |filter: &Filter| {
        let column = filter.column.value.as_str();
        let seen = seen.get(column)?;
        let values = seen.values.iter().map(|value| cut(value)).collect();
        let is_all = whole && !seen.has_others;
        Some(HeldValues { filter: filter.name(), column: column.to_owned(), values, is_all })
    };
    filters.into_iter().filter_map(held).collect()
}

/// Values of one column.
#[derive(Default)]
struct Seen {
    values: BTreeSet<String>,
    has_others: bool,
}

/// Reads the window's units until no more values can be shown. Returns whether all rows were read.
fn sample(
    source: &dyn Source,
    job: &Job,
    package: &OpenPackage,
    prepared: &Prepared,
    stop: &Stop,
    seen: &mut BTreeMap<&str, Seen>,
) -> bool {
    let pinned = &package.pinned;
    let time = job.time.column.value.as_str();
    let parts = job.time.parts.iter().map(|part| part.value.as_str());
    let wanted: BTreeSet<&str> = seen.keys().copied().chain([time]).chain(parts).collect();
    let holders = prepared.read_schema.fields().iter().filter(|field| wanted.contains(field.name().as_str()));
    let holders: BTreeSet<String> = holders.filter_map(|field| path::holder(field)).collect();
    let is_read = |name: &String| wanted.contains(name.as_str()) || holders.contains(name);
    let fields = prepared.read_schema.fields().iter().filter(|field| is_read(field.name()));
    let schema = std::sync::Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
    let mut units: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for read in pinned.plan.tasks.iter().flat_map(|task| &task.reads).filter(|read| read.owner) {
        units.entry(read.input).or_default().push(read.unit);
    }
    let mut left = ROWS;
    for (input, mut units) in units {
        units.sort_unstable();
        let Some(planned) = pinned.plan.inputs.get(input as usize) else { return false };
        let request = ReadRequest {
            input: &planned.input,
            constants: &pinned.constants,
            schema: schema.clone(),
            units,
            on_bad_rows: OnBad::Reject,
            within: None,
        };
        let Ok(mut reader) = source.open(request) else { return false };
        loop {
            let mut chunk = match reader.next_chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(_) => return false,
            };
            loop {
                let batch = match chunk.batches.next_batch() {
                    Ok(Some(batch)) => batch,
                    Ok(None) => break,
                    Err(_) => return false,
                };
                left = left.saturating_sub(batch.rows.num_rows() as u64);
                if add(job, prepared, &batch, seen).is_none() || left == 0 || stop.is_set() {
                    return false;
                }
                if seen.values().all(|seen| seen.has_others) {
                    return true;
                }
            }
        }
    }
    true
}

/// Adds the values of rows inside the window.
fn add(job: &Job, prepared: &Prepared, batch: &Batch, seen: &mut BTreeMap<&str, Seen>) -> Option<()> {
    let rows = &batch.rows;
    let (index, field) = rows.schema_ref().column_with_name(&job.time.column.value)?;
    let times = instants(field, rows.column(index), &prepared.times, prepared.unit).ok()?.values;
    let window = bound(job.window.start, prepared.unit)..bound(job.window.end, prepared.unit);
    for (column, seen) in seen {
        let values = rows.column_by_name(column)?;
        let options = FormatOptions::default();
        let text = ArrayFormatter::try_new(values.as_ref(), &options).ok()?;
        for (row, at) in times.iter().enumerate() {
            if !at.is_some_and(|at| window.contains(&at)) || values.is_null(row) {
                continue;
            }
            let value = text.value(row).try_to_string().ok()?;
            if seen.values.contains(&value) {
                continue;
            }
            if seen.values.len() < VALUES {
                seen.values.insert(value);
            } else {
                seen.has_others = true;
            }
        }
    }
    Some(())
}

/// Truncates a long value.
fn cut(value: &str) -> String {
    match value.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}
