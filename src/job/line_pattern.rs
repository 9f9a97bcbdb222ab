//! What the lines of text files look like.

use std::sync::Arc;

use regex::Regex;

/// A regular expression whose named groups are columns.
#[derive(Debug, Clone)]
pub struct LinePattern {
    regex: Arc<Regex>,
    columns: Arc<[String]>,
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
        let columns: Arc<[String]> = regex.capture_names().flatten().map(str::to_owned).collect();
        if columns.is_empty() {
            return Err(LinePatternError::NoColumns);
        }
        Ok(Self { regex: Arc::new(regex), columns })
    }

    /// The regular expression.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// The names of the groups, in the order in which they open.
    pub fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }
}
