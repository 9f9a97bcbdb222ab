//! Which times packages cover: gaps and overlaps.
//!
//! Packages of one spec name and export type belong together. A package covers those of its partitions whose files are
//! all complete, and nothing where its own record cannot be trusted. A complete revision takes the place of the package
//! that it supersedes. What is covered by two packages that both count is an overlap: rows would be counted twice.
//!
//! All of it is done with instants; dates become instants where they are read, so that a day of 23 or 25 hours is as long
//! as it was.

mod draw;
mod find;
mod group;
mod interval;
mod look;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::Exit;
use crate::store::{Location, LocationError, StoreError};
use crate::time::{Calendar, Unit};

pub use draw::text;
pub use find::packages;
pub use group::{Gap, Group, Overlap};
pub use interval::Interval;
pub use look::{Claim, Looked, Missing, State};

/// Version of the JSON object.
pub const COVERAGE_VERSION: u32 = 1;

/// What is asked.
#[derive(Debug, Clone)]
pub struct CoverageOptions {
    /// The clock: later times are in the future.
    pub now: Timestamp,
    /// Must be covered from here; default: from where the first window starts.
    pub from: Option<Timestamp>,
    /// Must be covered up to here; default: to where the last window ends.
    pub to: Option<Timestamp>,
    /// Only packages of this spec.
    pub name: Option<String>,
    /// Only packages of this export type.
    pub type_name: Option<String>,
    /// Whether every byte of every package is checked.
    pub verify: bool,
}

/// In tests no time is in the future.
#[cfg(test)]
impl Default for CoverageOptions {
    fn default() -> Self {
        Self { now: Timestamp::MAX, from: None, to: None, name: None, type_name: None, verify: false }
    }
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct CoverageReport {
    /// [`COVERAGE_VERSION`].
    pub version: u32,
    /// There is at least one package, no gap, no overlap, and nothing unverified.
    pub covered: bool,
    /// One for each spec name and export type.
    pub groups: Vec<Group>,
    /// Packages with unknown names, because their manifests cannot be read.
    pub unreadable: Vec<Looked>,
    /// Names and types of packages that were left out, because others were asked for.
    pub left_out: Vec<String>,
}

impl CoverageReport {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        if self.covered { Exit::Complete } else { Exit::VerifyFailed }
    }
}

/// A question that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// Text that names no place.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// There is nothing to look at.
    #[error("there is no folder {at}: give packages, or folders or prefixes that contain packages")]
    Nowhere {
        /// As named.
        at: String,
    },
    /// Too much to look at.
    #[error("{at} has more than {limit} folders: name folders nearer to the packages")]
    TooMany {
        /// As named.
        at: String,
        /// The limit.
        limit: usize,
    },
    /// Not a valid bound.
    #[error(
        "`{}` is neither a date such as 2026-03-01 nor an instant such as 2026-03-01T00:00:00Z",
        crate::diagnostic::shown(text)
    )]
    Bound {
        /// As written.
        text: String,
    },
    /// Nothing is asked for.
    #[error(
        "the interval ends at {to}, not after it starts at {from}: a date after --to counts whole, an instant not at all"
    )]
    Empty {
        /// Its start.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// The disk or the store.
    #[error("cannot look for packages in {at}")]
    Store {
        /// As named.
        at: String,
        /// Its reason.
        source: StoreError,
    },
}

impl CoverageError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
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

/// An end of the interval that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The first instant inside; of a date, where it begins.
    From,
    /// The first instant after; of a date, where it ends, as in a spec's `date_to`.
    To,
}

/// Reads a date of a zone, or an instant.
///
/// # Errors
/// [`CoverageError::Bound`].
pub fn bound(text: &str, end: End, zone: &TimeZone) -> Result<Timestamp, CoverageError> {
    const DATE: usize = "2026-03-01".len();
    let wrong = || CoverageError::Bound { text: text.to_owned() };
    if text.len() != DATE {
        return text.parse().map_err(|_| wrong());
    }
    let date: Date = text.parse().map_err(|_| wrong())?;
    let calendar = Calendar::new(zone.clone());
    let first = match end {
        End::From => Some(date),
        End::To => Unit::Day.step(date, 1),
    };
    first.and_then(|first| calendar.day_start(first)).ok_or_else(wrong)
}

/// Looks at packages, side by side, and adds up what they cover.
///
/// # Errors
/// [`CoverageError::Empty`]. What is wrong with a package is part of the answer.
pub fn coverage(packages: &[Location], options: &CoverageOptions) -> Result<CoverageReport, CoverageError> {
    if let (Some(from), Some(to)) = (options.from, options.to)
        && to <= from
    {
        return Err(CoverageError::Empty { from, to });
    }
    let looked: Vec<Looked> = packages.par_iter().map(|at| look::look(at, options.verify, options.now)).collect();
    Ok(group::report(looked, options))
}

#[cfg(test)]
mod tests;
