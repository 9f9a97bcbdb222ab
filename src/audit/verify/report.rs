//! The result of a verification, as one versioned JSON object or as text.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::VerifiedSignature;
use crate::error::Exit;
use crate::package::manifest::{JobStatus, Manifest};
use crate::store::Location;
use crate::units::counted;

/// Version of the JSON object.
pub const REPORT_VERSION: u32 = 1;

/// The result of checking one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifyReport {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// The package as the user named it.
    pub package: String,
    /// Nothing was found.
    pub intact: bool,
    /// What the manifest says of the job; null where it cannot be read.
    pub job: Option<VerifiedJob>,
    /// What is wrong, in order of the checks and within one in order of the manifest.
    pub findings: Vec<Finding>,
    /// What was checked.
    pub checked: Vec<Checked>,
    /// What was not checked, and why.
    pub not_checked: Vec<NotChecked>,
    /// Who signed the manifest; null if unsigned or if the signature is invalid.
    pub signature: Option<VerifiedSignature>,
}

/// The job that the package claims to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifiedJob {
    /// Its id.
    pub id: String,
    /// The spec's name.
    pub name: String,
    /// The export type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// How it ended. An intact package can well be partial or failed.
    pub status: JobStatus,
    /// The window's calendar name.
    pub window_label: String,
    /// Rows in shards.
    pub total_rows: u64,
    /// Bytes of shards.
    pub total_bytes: u64,
    /// Shards.
    pub files: u64,
}

impl VerifiedJob {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id.clone(),
            name: manifest.name.clone(),
            type_name: manifest.type_name.clone(),
            status: manifest.status,
            window_label: manifest.window_label.clone(),
            total_rows: manifest.total_rows,
            total_bytes: manifest.total_bytes,
            files: manifest.files.len() as u64,
        }
    }
}

/// A kind of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The manifest can be read and its id, names and digests are well-formed.
    Manifest,
    /// The manifest says of the job what `spec.resolved` implies.
    Spec,
    /// The manifest's sums are those of its files.
    Totals,
    /// Every row of the source is accounted for.
    Conservation,
    /// The partitions tile the window.
    Window,
    /// Job and file statuses agree.
    Statuses,
    /// No time is in the future, and none contradicts another.
    Times,
    /// SHA256SUMS is what the manifest gives.
    Sums,
    /// Every file has the size and digest that the manifest gives.
    Files,
    /// Every file has the rows that the manifest gives.
    Rows,
    /// What is said of deleted shards can be believed.
    Tombstone,
    /// There is nothing else below data/ and rejects/.
    Unlisted,
    /// report.html matches the manifest.
    Report,
    /// Who wrote the manifest.
    Signature,
    /// The package's place in its spec's chain.
    Chain,
    /// The source.
    Source,
}

impl Check {
    /// The name in the JSON object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Spec => "spec",
            Self::Totals => "totals",
            Self::Conservation => "conservation",
            Self::Window => "window",
            Self::Statuses => "statuses",
            Self::Times => "times",
            Self::Sums => "sums",
            Self::Files => "files",
            Self::Rows => "rows",
            Self::Tombstone => "tombstone",
            Self::Unlisted => "unlisted",
            Self::Report => "report",
            Self::Signature => "signature",
            Self::Chain => "chain",
            Self::Source => "source",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// The file in the package; null where the package as a whole is meant.
    pub path: Option<String>,
    /// What differs from what.
    pub message: String,
}

/// Something that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checked {
    /// Which check.
    pub check: Check,
    /// What it was applied to.
    pub what: String,
    /// Whether it found nothing.
    pub passed: bool,
}

/// Something that was not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotChecked {
    /// Which check.
    pub check: Check,
    /// Why not.
    pub why: String,
}

impl VerifyReport {
    pub(super) fn new(package: &Location) -> Self {
        Self {
            version: REPORT_VERSION,
            package: package.to_string(),
            intact: true,
            job: None,
            findings: Vec::new(),
            checked: Vec::new(),
            not_checked: Vec::new(),
            signature: None,
        }
    }

    /// The report on something that is not a package.
    pub(super) fn unreadable(mut self, why: impl Into<String>) -> Self {
        self.find(Check::Manifest, None, why);
        self
    }

    pub(super) fn find(&mut self, check: Check, path: Option<&str>, message: impl Into<String>) {
        self.extend([Finding { check, path: path.map(str::to_owned), message: message.into() }]);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
        self.intact = self.findings.is_empty();
    }

    /// Notes that `check` is done; its findings are in already.
    pub(super) fn done(&mut self, check: Check, what: impl Into<String>) {
        let passed = !self.findings.iter().any(|finding| finding.check == check);
        self.checked.push(Checked { check, what: what.into(), passed });
    }

    pub(super) fn leave_out(&mut self, check: Check, why: impl Into<String>) {
        self.not_checked.push(NotChecked { check, why: why.into() });
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        if self.intact { Exit::Complete } else { Exit::VerifyFailed }
    }
}

/// Text for people. Control characters of the package's own texts are escaped, so that it is safe on a terminal.
impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", Printable(&self.package), verdict(&self.findings))?;
        if let Some(job) = &self.job {
            writeln!(f, "  {} {} ({})", Printable(&job.name), Printable(&job.window_label), Printable(&job.type_name))?;
            writeln!(f, "  {}", Printable(&job.id))?;
            writeln!(f, "  {}: {} rows in {} files, {} bytes", job.status, job.total_rows, job.files, job.total_bytes)?;
        }
        write_findings(f, &self.findings)?;
        if !self.checked.is_empty() {
            writeln!(f, "\nchecked:")?;
        }
        for checked in &self.checked {
            let verdict = if checked.passed { "ok " } else { "BAD" };
            writeln!(f, "  {verdict} {}", Printable(&checked.what))?;
        }
        if !self.not_checked.is_empty() {
            writeln!(f, "\nnot checked:")?;
        }
        for left_out in &self.not_checked {
            writeln!(f, "  {}: {}", left_out.check.as_str(), Printable(&left_out.why))?;
        }
        Ok(())
    }
}

/// `intact`, or how much is wrong.
pub(super) fn verdict(findings: &[Finding]) -> String {
    match findings.len() {
        0 => "intact".to_owned(),
        n => format!("NOT INTACT, {}", counted(n, "finding")),
    }
}

/// What is wrong, a line each; nothing where nothing is.
pub(super) fn write_findings(f: &mut fmt::Formatter<'_>, findings: &[Finding]) -> fmt::Result {
    if !findings.is_empty() {
        writeln!(f, "\nwrong:")?;
    }
    for finding in findings {
        match &finding.path {
            Some(path) => writeln!(f, "  {}: {}", Printable(path), Printable(&finding.message))?,
            None => writeln!(f, "  {}", Printable(&finding.message))?,
        }
    }
    Ok(())
}

/// Text that cannot move a terminal's cursor or turn its direction.
pub(super) struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for c in self.0.chars() {
            let turns =
                matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || turns {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}
