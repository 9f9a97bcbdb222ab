//! `verify`: checks packages and says what it could not check.

use super::Talk;
use super::args::VerifyArgs;
use super::keys::read_keys;
use crate::error::Exit;
use crate::store::{Location, StoreOptions};
use crate::verify::{self, VerifyOptions};

/// Verifies every package; one bad one makes the exit code.
pub fn verify(args: &VerifyArgs, talk: &Talk) -> Exit {
    let options = match read_keys(&args.keys) {
        Ok(keys) => VerifyOptions { rows: args.rows, keys },
        Err(why) => {
            talk.complain(&format!("error: {why}"));
            return Exit::Usage;
        }
    };
    let mut packages = Vec::with_capacity(args.packages.len());
    for package in &args.packages {
        match Location::parse(package, &StoreOptions::default()) {
            Ok(at) => packages.push(at),
            Err(error) => {
                talk.complain(&format!("error: {error}"));
                return Exit::Usage;
            }
        }
    }
    let reports: Vec<_> = packages.iter().map(|at| verify::verify(at, &options)).collect();
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
