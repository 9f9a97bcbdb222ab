//! report.html against the manifest that it is made from.
//!
//! It has no digest: another release may lay it out otherwise, and a package has to stay valid. So it is made again, and is
//! the same or not; a page by another release is left to the eyes of people.

use super::{Check, VerifyReport, in_one_line};
use crate::package::manifest::Manifest;
use crate::report::{self, REPORT};
use crate::store::Folder;

/// `manifest` is `None` where it cannot be read. A package without a page lacks nothing.
pub(super) fn check(folder: &Folder, manifest: Option<(&Manifest, &str)>, found: &mut VerifyReport) {
    let page = match folder.read(REPORT) {
        Ok(Some(page)) => page,
        Ok(None) => return,
        Err(error) => return found.find(Check::Report, Some(REPORT), in_one_line(&error)),
    };
    let Some((manifest, sha256)) = manifest else {
        return found.leave_out(Check::Report, "without a manifest nothing says what report.html should be");
    };
    if !report::is_ours(&page) {
        let why =
            format!("report.html was not made by {}: `kt-export report` makes it from the manifest", report::maker());
        return found.leave_out(Check::Report, why);
    }
    match report::html(manifest, sha256) {
        Ok(expected) if expected.as_bytes() == page => {}
        Ok(_) if !report::describes(&page, sha256) => {
            let message = "is about another manifest: running the job again writes the one of this";
            found.find(Check::Report, Some(REPORT), message);
        }
        Ok(_) => {
            let message = "is not what the manifest gives: remove it, and running the job again writes it";
            found.find(Check::Report, Some(REPORT), message);
        }
        Err(error) => return found.leave_out(Check::Report, in_one_line(&error)),
    }
    found.done(Check::Report, "report.html is what the manifest gives");
}
