//! Reports the times that packages cover, with gaps and overlaps.
//!
//! Packages of one spec name and export type form a group. A package covers the time of each partition whose files are all
//! complete. A package whose manifest cannot be trusted covers nothing. A complete revision supersedes the package that it
//! names. Time covered by two current packages is an overlap: a consumer would count its rows twice.
//!
//! All arithmetic uses instants. Dates are converted when parsed, so days of 23 or 25 hours have their real length.

mod discover;
mod examine;
mod group;
mod interval;
mod timeline;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::Exit;
use crate::store::{Location, LocationError, StoreError};
use crate::time::{Calendar, Unit};

pub use discover::packages;
pub use examine::{ExaminedPackage, ManifestClaim, PackageState, UncoveredInterval};
pub use group::{Gap, Group, Overlap};
pub use interval::Interval;
pub use timeline::text;

/// Version of [`CoverageReport`] as JSON; changes with every incompatible change.
pub const COVERAGE_VERSION: u32 = 1;

/// Which packages to evaluate, and for which interval.
#[derive(Debug, Clone)]
pub struct CoverageOptions {
    /// Current time. A manifest time after it is a fault.
    pub now: Timestamp,
    /// Start of the required interval, inclusive; default: the earliest start of a window.
    pub from: Option<Timestamp>,
    /// End of the required interval, exclusive; default: the latest end of a window.
    pub to: Option<Timestamp>,
    /// Only packages of this spec.
    pub name: Option<String>,
    /// Only packages of this export type.
    pub type_name: Option<String>,
    /// Verify each package as `kt-export verify` does, without rows; a package with findings covers nothing.
    pub verify: bool,
}

/// For tests: no time is in the future.
#[cfg(test)]
impl Default for CoverageOptions {
    fn default() -> Self {
        Self { now: Timestamp::MAX, from: None, to: None, name: None, type_name: None, verify: false }
    }
}

/// The coverage of all groups.
#[derive(Debug, Clone, Serialize)]
pub struct CoverageReport {
    /// [`COVERAGE_VERSION`].
    pub version: u32,
    /// Whether there is at least one group, and no gap, overlap, unreadable manifest or package in state `unverified`.
    pub covered: bool,
    /// One for each spec name and export type.
    pub groups: Vec<Group>,
    /// Packages whose manifests cannot be read, so that their group is unknown.
    pub unreadable: Vec<ExaminedPackage>,
    /// Groups, as `name (type)`, that the filters or the interval exclude.
    pub left_out: Vec<String>,
}

impl CoverageReport {
    /// [`Exit::Complete`] if covered, else [`Exit::VerifyFailed`].
    pub fn exit(&self) -> Exit {
        if self.covered { Exit::Complete } else { Exit::VerifyFailed }
    }
}

/// Why coverage cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// An argument is not a valid location.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A folder or prefix does not exist.
    #[error("{at} does not exist: give a package, or a folder or prefix that contains packages")]
    Nowhere {
        /// The location, as the user wrote it.
        at: String,
    },
    /// The search visits more folders than the limit.
    #[error("{at} has more than {limit} folders: name folders nearer to the packages")]
    TooMany {
        /// The location, as the user wrote it.
        at: String,
        /// The limit.
        limit: usize,
    },
    /// A bound is neither a date nor an instant.
    #[error(
        "`{}` is neither a date such as 2026-03-01 nor an instant such as 2026-03-01T00:00:00Z",
        crate::diagnostic::shown(text)
    )]
    Bound {
        /// The bound, as the user wrote it.
        text: String,
    },
    /// The interval is empty or reversed.
    #[error(
        "the interval is empty: it ends at {to}, but starts at {from}; `--to` includes a date and excludes an instant"
    )]
    Empty {
        /// Its start.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// A folder or prefix cannot be listed.
    #[error("cannot look for packages in {at}")]
    Store {
        /// The location, as the user wrote it.
        at: String,
        /// The underlying error.
        source: StoreError,
    },
}

impl CoverageError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            // Arguments are wrong.
            Self::Location(_)
            | Self::Nowhere { .. }
            | Self::TooMany { .. }
            | Self::Bound { .. }
            | Self::Empty { .. } => Exit::Usage,
            Self::Store { source, .. } if source.code().is_retryable() => Exit::TryLater,
            Self::Store { .. } => Exit::Failed,
        }
    }
}

/// A bound of the required interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Inclusive start. A date stands for its first instant.
    Start,
    /// Exclusive end. A date is included in full, like `date_to` in a spec.
    End,
}

/// Parses a date in `zone`, or an instant with an offset, as a bound of the interval.
///
/// # Errors
/// [`CoverageError::Bound`] if it is neither.
pub fn parse_bound(text: &str, bound: Bound, zone: &TimeZone) -> Result<Timestamp, CoverageError> {
    // No instant is this short.
    const DATE_LEN: usize = "2026-03-01".len();
    let wrong = || CoverageError::Bound { text: text.to_owned() };
    if text.len() != DATE_LEN {
        return text.parse().map_err(|_| wrong());
    }
    let date: Date = text.parse().map_err(|_| wrong())?;
    let calendar = Calendar::new(zone.clone());
    // The day at whose start the bound lies.
    let boundary_day = match bound {
        Bound::Start => Some(date),
        Bound::End => Unit::Day.step(date, 1),
    };
    boundary_day.and_then(|day| calendar.day_start(day)).ok_or_else(wrong)
}

/// Examines packages in parallel and reports the coverage of each group.
///
/// # Errors
/// [`CoverageError::Empty`] if the interval is empty. Faults in packages are reported, not returned as errors.
pub fn coverage(packages: &[Location], options: &CoverageOptions) -> Result<CoverageReport, CoverageError> {
    if let (Some(from), Some(to)) = (options.from, options.to)
        && to <= from
    {
        return Err(CoverageError::Empty { from, to });
    }
    let examined: Vec<ExaminedPackage> =
        packages.par_iter().map(|at| examine::examine(at, options.verify, options.now)).collect();
    Ok(group::report(examined, options))
}

#[cfg(test)]
mod tests;
