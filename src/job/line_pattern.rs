//! What the lines of text files look like.

mod backtrack;
mod class;
mod program;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use regex::{CaptureLocations, Regex};

use backtrack::{Backtracker, Outcome, UNSET};
use program::Program;

/// A regular expression whose named groups are columns.
#[derive(Debug, Clone)]
pub struct LinePattern {
    regex: Arc<Regex>,
    /// `None` if it does not express what the regular expression has.
    program: Option<Arc<Program>>,
    columns: Arc<[String]>,
    /// The numbers of the groups that are columns.
    groups: Arc<[usize]>,
}

/// Why a regular expression is no pattern of lines.
#[derive(Debug, thiserror::Error)]
pub enum LinePatternError {
    /// It is not a regular expression.
    #[error(transparent)]
    Syntax(#[from] regex::Error),
    /// Nothing would be exported.
    #[error("it has no named group: write `(?<name>…)` around what is to be a column")]
    NoColumns,
}

impl PartialEq for LinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl LinePattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// [`LinePatternError`].
    pub fn new(pattern: &str) -> Result<Self, LinePatternError> {
        let regex = Regex::new(pattern)?;
        let named = || regex.capture_names().enumerate().filter_map(|(group, name)| Some((group, name?)));
        let columns: Arc<[String]> = named().map(|(_, name)| name.to_owned()).collect();
        if columns.is_empty() {
            return Err(LinePatternError::NoColumns);
        }
        let groups = named().map(|(group, _)| group).collect();
        let program = regex_syntax::parse(pattern).ok().and_then(|expression| Program::new(&expression)).map(Arc::new);
        Ok(Self { regex: Arc::new(regex), program, columns, groups })
    }

    /// The regular expression as it was written.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// The names of the groups, in the order in which they open.
    pub fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// What matches lines one after the other.
    pub fn matcher(&self) -> LineMatcher {
        LineMatcher {
            locations: self.regex.capture_locations(),
            backtracker: Backtracker::new(2 * self.regex.captures_len()),
            pattern: self.clone(),
        }
    }
}

/// Matches lines, and keeps the memory that it needs from one to the next.
#[derive(Debug)]
pub struct LineMatcher {
    pattern: LinePattern,
    locations: CaptureLocations,
    backtracker: Backtracker,
}

impl LineMatcher {
    /// For each column of the first match in `line`, the range of its bytes, or `None` if its group took no part. `None` if
    /// the line does not match. `line` has no line feed.
    #[inline]
    pub fn columns(&mut self, line: &str) -> Option<impl ExactSizeIterator<Item = Option<Range<usize>>> + '_> {
        let outcome = self.pattern.program.as_ref().map(|program| (self.backtracker.run(program, line), program));
        match outcome {
            Some((Outcome::Matched, _)) => {}
            Some((Outcome::Unmatched, program)) if program.is_anchored => return None,
            _ => self.search(line)?,
        }
        let slots = &self.backtracker.slots;
        let bound = |slot: usize| slots.get(slot).copied().filter(|at| *at != UNSET);
        Some(self.pattern.groups.iter().map(move |group| Some(bound(2 * group)?..bound(2 * group + 1)?)))
    }

    /// Leaves the line to `regex`.
    fn search(&mut self, line: &str) -> Option<()> {
        self.pattern.regex.captures_read(&mut self.locations, line)?;
        for (group, slots) in self.backtracker.slots.chunks_exact_mut(2).enumerate() {
            let bounds = self.locations.get(group).map_or([UNSET; 2], |(start, end)| [start, end]);
            slots.copy_from_slice(&bounds);
        }
        Some(())
    }
}
