//! `coverage`: which times a set of packages covers.

use std::collections::HashSet;

use jiff::Timestamp;

use super::Console;
use super::args::CoverageArgs;
use super::environment::terminal_columns;
use super::pack::refuse;
use crate::audit::coverage::{self, Bound, CoverageError, CoverageOptions, CoverageReport};
use crate::error::Exit;
use crate::failure::chain;
use crate::package::real;
use crate::store::{Location, StoreOptions};
use crate::time::zone;

/// Width of the output when stderr is not a terminal.
const COLUMNS: usize = 80;

/// Finds packages and reports what they cover.
pub(super) fn coverage(args: &CoverageArgs, console: &Console) -> Exit {
    let zone = match zone::find(&args.timezone) {
        Ok(zone) => zone,
        Err(error) => return refuse(console, Exit::Usage, &format!("--timezone: {error}; {}", error.help())),
    };
    let bound =
        |text: &Option<String>, end| text.as_ref().map(|text| coverage::parse_bound(text, end, &zone)).transpose();
    let answered = || -> Result<CoverageReport, CoverageError> {
        let options = CoverageOptions {
            now: args.now.unwrap_or_else(Timestamp::now),
            from: bound(&args.from, Bound::Start)?,
            to: bound(&args.to, Bound::End)?,
            name: args.name.clone(),
            type_name: args.type_name.clone(),
            verify: args.verify,
        };
        coverage::coverage(&packages(args)?, &options)
    };
    let report = match answered() {
        Ok(report) => report,
        Err(error) => return refuse(console, error.exit(), &chain(&error)),
    };
    let text = coverage::text(&report, &zone, terminal_columns().unwrap_or(COLUMNS));
    if report.covered {
        console.show_info(&text);
    } else {
        console.show(&text);
    }
    if console.json {
        console.print_json(&report);
    }
    report.exit()
}

/// Every package once, even if it was given several times.
fn packages(args: &CoverageArgs) -> Result<Vec<Location>, CoverageError> {
    let mut seen = HashSet::new();
    let mut packages = Vec::new();
    for text in &args.packages {
        let at = Location::parse(text, &StoreOptions::default())?;
        packages.extend(coverage::packages(&at)?.into_iter().filter(|package| seen.insert(real(package))));
    }
    Ok(packages)
}
