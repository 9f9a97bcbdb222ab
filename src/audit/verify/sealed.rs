//! Checks sealed facts: that they are sealed if the manifest says so and, with the keys, that they agree with the rest
//! of the manifest.

use jiff::SignedDuration;

use super::{Check, VerifyReport};
use crate::job::Digests;
use crate::package::Revealed;
use crate::package::layout::MANIFEST;
use crate::package::manifest::{self, FileEntry, Manifest, SealedFacts};
use crate::units::counted;

/// Checks the manifest as it is stored.
pub(super) fn check(manifest: &Manifest, report: &mut VerifyReport) {
    let is_sealed = manifest.encryption.as_ref().is_some_and(|e| e.digests() == Digests::Sealed);
    let shards = manifest.files.iter().map(|f| (&f.path, f.status.has_file(), f.tells_facts(), &f.sealed));
    let rejects = manifest.rejects.iter().map(|f| (&f.path, true, f.tells_facts(), &f.sealed));
    for (path, has_file, tells_facts, sealed) in shards.chain(rejects) {
        let message = match (is_sealed, sealed) {
            (true, None) if has_file => "has no `sealed`, but `encryption` says that its digests are sealed",
            (true, _) if tells_facts => "has in clear what `encryption` says is sealed",
            (false, Some(_)) => "has a `sealed`, but `encryption` does not say that digests are sealed",
            _ => continue,
        };
        report.find(Check::Manifest, Some(path), message);
    }
    if is_sealed && manifest.rows_digest.is_some() {
        let message = "`rows_digest` stands in clear, but `encryption` says that digests are sealed";
        report.find(Check::Manifest, Some(MANIFEST), message);
    }
}

/// Reports which sealed facts the keys revealed, and checks them. `manifest` is the one with the revealed facts filled in.
pub(super) fn check_revealed(manifest: &Manifest, revealed: Revealed, report: &mut VerifyReport) {
    if let Some(missing) = revealed.missing {
        let files = counted(revealed.sealed, "encrypted file");
        let what = "sizes and digests before encryption, first and last times, digests of rows";
        report.leave_out(Check::Files, format!("what is sealed of {files} was not opened because {missing}: {what}"));
        return;
    }
    for (path, why) in revealed.faults {
        report.find(Check::Files, Some(&path), format!("its sealed digests cannot be opened: {why}"));
    }
    if revealed.opened == 0 {
        return;
    }
    for file in &manifest.files {
        within_max_lag(manifest, file, report);
    }
    report.done(Check::Files, format!("what is sealed of {}", counted(revealed.opened, "encrypted file")));
    // A run cannot compute this, because it cannot open what an earlier run sealed.
    if manifest.files.iter().any(|file| file.rows_digest.is_some())
        && let Some(digest) = manifest::rows_digest(&manifest.columns, &manifest.files)
    {
        report.done(Check::Totals, format!("the sealed digests of the files' rows give that of all rows, {digest}"));
    }
}

/// Checks `within_max_lag`, on which the expectation `max_lag` is based, against the sealed time.
fn within_max_lag(manifest: &Manifest, file: &FileEntry, report: &mut VerifyReport) {
    let expected = manifest.expectations.iter().flatten().find(|expectation| expectation.name == "max_lag");
    let most: Option<SignedDuration> = expected.and_then(|e| e.expected.as_str()?.parse().ok());
    let stated = file.sealed.as_ref().map(|SealedFacts { within_max_lag, .. }| *within_max_lag);
    let (Some(most), Some(stated)) = (most, stated) else { return };
    let is_within = file.max_time.is_some_and(|last| manifest.window_end.duration_since(last) <= most);
    if stated != Some(is_within) {
        let message = "`within_max_lag` does not match its sealed last time";
        report.find(Check::Statuses, Some(&file.path), message);
    }
}
