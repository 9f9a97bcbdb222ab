//! Checks the times in a manifest: none is in the future, and those recorded twice are equal.
//!
//! `min_time`, `max_time`, the window and the modification times of source files are not checked here.

use jiff::Timestamp;

use super::{Check, VerifyReport};
use crate::package::layout::MANIFEST;
use crate::package::manifest::{Manifest, is_in_future};

pub(super) fn check(manifest: &Manifest, now: Timestamp, report: &mut VerifyReport) {
    let of_manifest = [
        ("created_at", Some(manifest.created_at)),
        ("started_at", Some(manifest.started_at)),
        ("finalized_at", Some(manifest.finalized_at)),
    ];
    in_future(of_manifest, MANIFEST, "", now, report);
    for run in &manifest.runs {
        let times = [("started_at", Some(run.started_at)), ("finished_at", run.finished_at)];
        in_future(times, MANIFEST, &format!(" of the run {}", run.run_id.escape_debug()), now, report);
    }
    for file in &manifest.files {
        let times = [("started_at", file.started_at), ("finalized_at", file.finalized_at)];
        in_future(times, &file.path, "", now, report);
    }
    last_run(manifest, report);
    report.done(Check::Times, "no time is in the future, and the manifest's times are those of its last run");
}

fn in_future<const N: usize>(
    times: [(&str, Option<Timestamp>); N],
    path: &str,
    of: &str,
    now: Timestamp,
    report: &mut VerifyReport,
) {
    for (field, time) in times {
        if let Some(time) = time.filter(|time| is_in_future(*time, now)) {
            report.find(Check::Times, Some(path), format!("`{field}`{of} is {time}, in the future: it is {now}"));
        }
    }
}

/// The last run in a manifest wrote it, and has the same times.
fn last_run(manifest: &Manifest, report: &mut VerifyReport) {
    let Some(run) = manifest.runs.last() else {
        return report.find(Check::Times, Some(MANIFEST), "`runs` is empty, but a run must have written it");
    };
    let pairs = [
        ("started_at", Some(manifest.started_at), Some(run.started_at)),
        ("finalized_at", Some(manifest.finalized_at), run.finished_at),
    ];
    for (field, stated, of_run) in pairs {
        if stated != of_run {
            let [stated, of_run] =
                [stated, of_run].map(|time| time.map_or_else(|| "none".to_owned(), |at| at.to_string()));
            let message = format!("`{field}` is {stated}, but the run that wrote it has {of_run}");
            report.find(Check::Times, Some(MANIFEST), message);
        }
    }
}
