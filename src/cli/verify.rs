//! `verify`: checks packages and says what it could not check.

use super::Talk;
use super::args::VerifyArgs;
use crate::error::Exit;
use crate::verify::{self, VerifyOptions};

/// Verifies every package; one bad one makes the exit code.
pub fn verify(args: &VerifyArgs, talk: &Talk) -> Exit {
    let options = VerifyOptions { rows: args.rows };
    let reports: Vec<_> = args.packages.iter().map(|root| verify::verify(root, &options)).collect();
    let verified = reports.iter().all(|r| r.intact);
    if talk.json {
        talk.print_json(&serde_json::json!({"version": 1, "verified": verified, "packages": reports}));
    }
    for report in &reports {
        if report.intact {
            talk.say(&report.to_string());
        } else {
            talk.complain(&report.to_string());
        }
    }
    if verified { Exit::Complete } else { Exit::VerifyFailed }
}
