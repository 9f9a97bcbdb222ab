//! Checks report.html against the manifest.
//!
//! The page has no digest, because another release may lay it out differently and packages must stay valid. It is
//! rendered again and compared; a page made by another release is not checked.

use super::{Check, VerifyReport};
use crate::failure;
use crate::package::layout::REPORT;
use crate::package::manifest::Manifest;
use crate::report;
use crate::store::Folder;

/// `manifest` is `None` if unreadable. The page is optional.
pub(super) fn check(folder: &Folder, manifest: Option<(&Manifest, &str)>, found: &mut VerifyReport) {
    let page = match folder.read(REPORT) {
        Ok(Some(page)) => page,
        Ok(None) => return,
        Err(error) => return found.find(Check::Report, Some(REPORT), failure::chain(&error)),
    };
    let Some((manifest, sha256)) = manifest else {
        return found.leave_out(Check::Report, "cannot be checked without a manifest");
    };
    if !report::is_ours(&page) {
        let why = format!(
            "report.html was not made by {}: render it again from the manifest with `kt-export report`",
            report::maker()
        );
        return found.leave_out(Check::Report, why);
    }
    match report::html(manifest, sha256) {
        Ok(expected) if expected.as_bytes() == page => {}
        Ok(_) if !report::describes(&page, sha256) => {
            let message = "is about another manifest: run the job again to rewrite it";
            found.find(Check::Report, Some(REPORT), message);
        }
        Ok(_) => {
            let message = "differs from what the manifest gives: remove it and run the job again to rewrite it";
            found.find(Check::Report, Some(REPORT), message);
        }
        Err(error) => return found.leave_out(Check::Report, failure::chain(&error)),
    }
    found.done(Check::Report, "report.html matches the manifest");
}
