//! Chooses which files of a source are inspected, and how much of each.
//!
//! Parquet files have their schema in the footer, so all are inspected. Other formats have it in their rows: of those,
//! a few of the newest files are inspected, because the next run reads similar ones.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::job::{Job, SourceFormat};
use crate::source::Input;
use crate::source::files::named_days;

/// Files of rows in a sample at most: enough to meet a few days, or a few writers.
const FILES: usize = 8;

/// Bytes of their files after which no other one is added. Arrow files are looked at whole.
const BYTES: u64 = 256 << 20;

/// InspectionSteps of each file of rows, about a MiB each, and one for what is before the rows.
pub(super) const STEPS: u64 = 9;

/// A part of a listing.
pub(super) struct Sample {
    /// What is looked at, in order of their names.
    pub inputs: Vec<Input>,
    /// What is not.
    pub others: Vec<Input>,
}

impl Sample {
    /// Everything.
    pub(super) fn whole(inputs: Vec<Input>) -> Self {
        Self { inputs, others: Vec::new() }
    }

    /// All Parquet files, and the newest others; those first whose names do not say that they lie outside the window.
    pub(super) fn of(job: &Job, inputs: Vec<Input>) -> Self {
        let mut order: Vec<usize> = (0..inputs.len()).filter(|i| !is_inspected_by_footer(&inputs[*i])).collect();
        order.sort_by_key(|i| {
            let input = &inputs[*i];
            let modified = input.file().map(|file| file.modified);
            (is_outside(job, input.name()), Reverse(modified), Reverse(input.name().to_owned()))
        });
        let mut bytes = 0u64;
        let mut chosen: Vec<bool> = inputs.iter().map(is_inspected_by_footer).collect();
        for (n, i) in order.into_iter().take(FILES).enumerate() {
            bytes = bytes.saturating_add(inputs[i].bytes().unwrap_or(0));
            if n > 0 && bytes > BYTES {
                break;
            }
            chosen[i] = true;
        }
        let (mut inspected, mut others) = (Vec::new(), Vec::new());
        for (input, chosen) in inputs.into_iter().zip(chosen) {
            if chosen { inspected.push(input) } else { others.push(input) }
        }
        Self { inputs: inspected, others }
    }
}

/// Whether inspecting an input takes a footer, however many rows it has.
pub(super) fn is_inspected_by_footer(input: &Input) -> bool {
    input.file().is_some_and(|file| file.format == SourceFormat::Parquet)
}

/// Whether the days in a file's name are outside the window, as its zone and UTC have them.
pub(super) fn is_outside(job: &Job, name: &str) -> bool {
    let Some((first, last)) = named_days(name) else { return false };
    let start = |date: jiff::civil::Date| -> Option<Timestamp> {
        Some(date.to_zoned(job.window.timezone.clone()).ok()?.timestamp())
    };
    let day = jiff::SignedDuration::from_hours(24);
    let (Some(start), Some(end)) = (start(first), last.tomorrow().ok().and_then(start)) else { return false };
    let widened = (start.checked_sub(day), end.checked_add(day));
    matches!(widened, (Ok(start), Ok(end)) if end <= job.window.start || start >= job.window.end)
}
