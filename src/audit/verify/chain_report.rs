//! The result of checking a chain, as JSON or text.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::report::{Printable, verdict, write_findings};
use super::{Check, Finding, NotChecked, REPORT_VERSION};
use crate::chain::{Link, Linked};
use crate::error::Exit;
use crate::package::manifest::JobStatus;
use crate::store::Location;

/// The result of checking one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChainReport {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// The chain's folder as the user named it.
    pub chain: String,
    /// Nothing was found.
    pub intact: bool,
    /// The last link, to be recorded elsewhere; null if there is none.
    pub head: Option<Head>,
    /// The links that can be read, in order.
    pub links: Vec<VerifiedLink>,
    /// What is wrong; paths are those of links in the chain's folder, or of manifests with their package.
    pub findings: Vec<Finding>,
    /// What was not checked, and why.
    pub not_checked: Vec<NotChecked>,
}

/// A recorded link; removing any link up to it is detected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Lower-case hex SHA-256 of its bytes.
    pub sha256: String,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifiedLink {
    /// Its number.
    pub number: u64,
    /// Lower-case hex SHA-256 of its bytes.
    pub sha256: String,
    /// The job.
    pub id: String,
    /// The spec's name.
    pub name: String,
    /// First instant inside the package's window.
    #[schemars(with = "String")]
    pub window_start: Timestamp,
    /// First instant after it.
    #[schemars(with = "String")]
    pub window_end: Timestamp,
    /// How the job ended.
    pub status: JobStatus,
    /// Location of its package; null if not found.
    pub package: Option<String>,
    /// A later link of the same job, whose package is the one that counts.
    pub replaced_by: Option<u64>,
    /// When the package's shards were deleted, where the link says that; its manifest is that of an earlier link.
    #[schemars(with = "Option<String>")]
    pub pruned_at: Option<Timestamp>,
}

/// A text that is not the head of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write the number and the SHA-256 of a link, as `verify --chain` prints its head: 12:9f86d0…")]
pub struct NotAHead;

impl std::str::FromStr for Head {
    type Err = NotAHead;

    /// `12:` and 64 hex digits, as reports show it.
    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let head = text.split_once(':').and_then(|(number, sha256)| {
            let is_digest = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
            let number = number.parse().ok().filter(|number| *number > 0)?;
            is_digest.then(|| Self { number, sha256: sha256.to_ascii_lowercase() })
        });
        head.ok_or(NotAHead)
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, self.sha256)
    }
}

impl Head {
    pub(super) fn of(linked: &Linked) -> Self {
        Self { number: linked.link.number, sha256: linked.sha256.clone() }
    }
}

impl VerifiedLink {
    pub(super) fn of(linked: &Linked) -> Self {
        let Link { number, id, name, window_start, window_end, status, .. } = linked.link.clone();
        let sha256 = linked.sha256.clone();
        let pruned_at = linked.link.tombstone_sha256.as_ref().map(|_| linked.link.created_at);
        let (package, replaced_by) = (None, None);
        Self { number, sha256, id, name, window_start, window_end, status, package, replaced_by, pruned_at }
    }
}

impl ChainReport {
    pub(super) fn new(chain: &Location) -> Self {
        Self {
            version: REPORT_VERSION,
            chain: chain.to_string(),
            intact: true,
            head: None,
            links: Vec::new(),
            findings: Vec::new(),
            not_checked: Vec::new(),
        }
    }

    pub(super) fn unreadable(mut self, why: String) -> Self {
        self.findings.push(Finding { check: Check::Chain, path: None, message: why });
        self.intact = false;
        self
    }

    pub(super) fn find(&mut self, path: &str, message: impl Into<String>) {
        let finding = Finding { check: Check::Chain, path: Some(path.to_owned()), message: message.into() };
        self.findings.push(finding);
        self.intact = false;
    }

    pub(super) fn leave_out(&mut self, why: impl Into<String>) {
        self.not_checked.push(NotChecked { check: Check::Chain, why: why.into() });
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        if self.intact { Exit::Complete } else { Exit::VerifyFailed }
    }
}

/// Text for people, safe on a terminal.
impl std::fmt::Display for ChainReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "chain {}: {}", Printable(&self.chain), verdict(&self.findings))?;
        for link in &self.links {
            let place = match (&link.package, link.replaced_by) {
                (_, Some(later)) => format!("replaced by link {later}"),
                (Some(at), None) => at.clone(),
                (None, None) => "not looked at".to_owned(),
            };
            let VerifiedLink { number, name, window_start, window_end, status, .. } = link;
            let name = Printable(name);
            let what = link.pruned_at.map_or_else(|| status.to_string(), |at| format!("shards deleted at {at}"));
            writeln!(f, "  {number:>6} {name} {window_start} to {window_end}, {what}: {}", Printable(&place))?;
        }
        if let Some(head) = &self.head {
            writeln!(f, "  head {head}")?;
        }
        write_findings(f, &self.findings)?;
        if !self.not_checked.is_empty() {
            writeln!(f, "\nnot checked:")?;
        }
        for left_out in &self.not_checked {
            writeln!(f, "  {}", Printable(&left_out.why))?;
        }
        Ok(())
    }
}
