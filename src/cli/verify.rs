//! `verify`: checks packages and says what it could not check.

use std::sync::Arc;

use super::Talk;
use super::args::VerifyArgs;
use super::environment::variables;
use crate::encode::ParquetKeys;
use crate::error::Exit;
use crate::run::chain;
use crate::seal::Identities;
use crate::store::{Location, StoreOptions};
use crate::verify::{self, VerifyOptions};

/// Verifies every package; one bad one makes the exit code.
pub fn verify(args: &VerifyArgs, talk: &Talk) -> Exit {
    let options = match options(args) {
        Ok(options) => options,
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

/// How much is checked, with the keys that the command line names.
fn options(args: &VerifyArgs) -> Result<VerifyOptions, String> {
    let identities = Identities::of_files(&args.identities.identity).map_err(|error| chain(&error))?;
    let env = variables();
    let mut keys = ParquetKeys::default();
    for (name, place) in &args.parquet_keys {
        let text = place.read(&env).map_err(|error| chain(&error))?;
        let set = match name.strip_prefix("column.") {
            Some(column) => keys.set_column(column, &text),
            None => keys.set_footer(&text),
        };
        set.map_err(|error| format!("the key in {place} {error}"))?;
    }
    let parquet_keys = (!args.parquet_keys.is_empty()).then(|| Arc::new(keys));
    Ok(VerifyOptions { rows: args.rows, identities, parquet_keys })
}
