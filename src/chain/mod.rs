//! A chain: the packages of a spec in the order in which they were finished, as numbered links in a separate folder.
//!
//! Each link has the digest of its manifest and the digest of the previous link, so removing, changing or moving a link
//! breaks all later ones. The folder alone cannot show that its *last* links were removed; to detect that, the head
//! ([`Chain::head`]) must be recorded elsewhere.
//!
//! A link is created exclusively and never replaced. It is binding: any run that finds a link whose manifest is not yet
//! published publishes that manifest.

use std::collections::BTreeMap;
use std::thread;

pub use crate::package::link::{LINK_VERSION, Link, LinkRef};

use crate::digest::sha256;
use crate::failure::chain;
use crate::json::JsonError;
use crate::package::layout::{self, STATE};
use crate::package::manifest::ManifestError;
use crate::store::{Folder, ListedFile, StoreError};

/// Maximum size of a link in bytes; more than any link needs.
const LARGEST_BYTES: u64 = 64 << 10;

/// Number of concurrent requests to an object store.
const READERS: usize = 16;

/// The links of a folder.
#[derive(Debug, Default)]
pub struct Chain {
    found: BTreeMap<u64, Result<Linked, BadLink>>,
    /// Files whose names resemble those of links.
    misnamed: Vec<String>,
    /// Other files.
    strangers: Vec<String>,
}

/// A number, and the link that was read under it, or why it is invalid.
type Numbered = (u64, Result<Linked, BadLink>);

/// A link and the digest of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The link.
    pub link: Link,
    /// Lower-case hex SHA-256.
    pub sha256: String,
}

/// Why a file is not a valid link.
#[derive(Debug, thiserror::Error)]
enum BadLink {
    #[error("cannot be read: {0}")]
    Unread(StoreError),
    #[error("is larger than any link")]
    TooLarge,
    #[error("cannot be read: {}", chain(.0))]
    Malformed(ManifestError),
    #[error("is not in the form in which links are written: it was changed")]
    Changed,
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// A defect of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// File in the chain's folder.
    pub name: String,
    /// What is wrong.
    pub message: String,
}

impl Chain {
    /// Reads all links.
    ///
    /// # Errors
    /// The store's.
    pub fn read(folder: &Folder) -> Result<Self, StoreError> {
        let mut chain = Self::default();
        chain.refresh(folder)?;
        Ok(chain)
    }

    /// Reads the links that were added since the last read.
    ///
    /// # Errors
    /// The store's.
    pub fn refresh(&mut self, folder: &Folder) -> Result<(), StoreError> {
        (self.misnamed, self.strangers) = (Vec::new(), Vec::new());
        let mut new = Vec::new();
        for listed in folder.list("")? {
            match number_of(&listed.name) {
                Some(number) if number > 0 && listed.name == layout::link(number) => {
                    if !self.found.contains_key(&number) {
                        new.push((number, listed));
                    }
                }
                Some(_) => self.misnamed.push(listed.name),
                None if listed.name.starts_with(STATE) => {}
                None => self.strangers.push(listed.name),
            }
        }
        let readers = if folder.location().local().is_some() { 1 } else { READERS };
        let portion = new.len().div_ceil(readers).max(1);
        let read = thread::scope(|scope| {
            let read_one = |(number, listed): &(u64, ListedFile)| -> Result<Option<Numbered>, StoreError> {
                let link = match listed.bytes {
                    0..=LARGEST_BYTES => match folder.read(&listed.name) {
                        // Still report on the other links; but a store that does not answer may answer later.
                        Err(error) if !error.code().is_retryable() => Some(Err(BadLink::Unread(error))),
                        bytes => bytes?.as_deref().map(parse),
                    },
                    _ => Some(Err(BadLink::TooLarge)),
                };
                Ok(link.map(|link| (*number, link)))
            };
            let threads: Vec<_> = new
                .chunks(portion)
                .map(|portion| scope.spawn(move || portion.iter().map(read_one).collect::<Result<Vec<_>, _>>()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let read: Vec<Vec<Option<Numbered>>> = Result::from_iter::<Vec<_>>(read)?;
        self.found.extend(read.into_iter().flatten().flatten());
        Ok(())
    }

    /// The valid links, in order.
    pub fn links(&self) -> impl DoubleEndedIterator<Item = &Linked> {
        self.found.values().filter_map(|found| found.as_ref().ok())
    }

    /// A link by its number.
    pub fn link(&self, number: u64) -> Option<&Linked> {
        self.found.get(&number)?.as_ref().ok()
    }

    /// The last link.
    pub fn head(&self) -> Option<&Linked> {
        self.found.last_key_value()?.1.as_ref().ok()
    }

    /// The last link of a job's manifest, ignoring links of deletions.
    pub fn last_of(&self, job: &str) -> Option<&Linked> {
        self.links().rev().find(|linked| linked.link.id == job && linked.link.tombstone_sha256.is_none())
    }

    /// The links that record the deletion of a manifest's shards, in order.
    pub fn deletions_of(&self, manifest_sha256: &str) -> impl Iterator<Item = &Linked> {
        self.links().filter(move |linked| {
            linked.link.tombstone_sha256.is_some() && linked.link.manifest_sha256 == manifest_sha256
        })
    }

    /// Files in the folder that are not links.
    pub fn strangers(&self) -> &[String] {
        &self.strangers
    }

    /// All defects of the links, in order.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for name in &self.misnamed {
            let message = "is not the name of a link: names have six digits, or more if the number does".to_owned();
            flaws.push(Flaw { name: name.clone(), message });
        }
        let mut before: Option<(u64, Option<&Linked>)> = None;
        for (&number, found) in &self.found {
            let expected = before.map_or(1, |(number, _)| number.saturating_add(1));
            if number != expected {
                let upto = match number - 1 {
                    last if last == expected => String::new(),
                    last => format!(", like all links up to {}", layout::link(last)),
                };
                let message = format!("is missing{upto}, but {} exists: it was removed", layout::link(number));
                flaws.push(Flaw { name: layout::link(expected), message });
            }
            let mut flaw = |message: String| flaws.push(Flaw { name: layout::link(number), message });
            match found {
                Err(bad) => flaw(bad.to_string()),
                Ok(Linked { link, .. }) => {
                    if link.number != number {
                        flaw(format!("says that it is link {}: it replaced another link", link.number));
                    }
                    let before = before.filter(|(before, _)| *before == number - 1);
                    match (&link.previous, before) {
                        (None, _) if number == 1 => {}
                        (Some(_), _) if number == 1 => {
                            flaw("is the first link, but names a predecessor: earlier links were removed".to_owned());
                        }
                        (Some(previous), _) if previous.number != number - 1 => {
                            flaw(format!("follows link {}, not its predecessor", previous.number));
                        }
                        (Some(previous), Some((_, Some(before)))) if previous.sha256 != before.sha256 => {
                            let name = layout::link(number - 1);
                            flaw(format!(
                                "follows a link with the digest {}, and {name} has {}: one of them was changed or \
                                 replaced",
                                previous.sha256, before.sha256
                            ));
                        }
                        (Some(_), _) => {}
                        (None, _) => flaw("names no predecessor, but is not the first link".to_owned()),
                    }
                }
            }
            before = Some((number, found.as_ref().ok()));
        }
        flaws
    }
}

/// Parses a link, and checks that its bytes are those that kt-export writes.
fn parse(bytes: &[u8]) -> Result<Linked, BadLink> {
    let link = Link::from_json(bytes).map_err(BadLink::Malformed)?;
    if link.to_json_bytes()? != bytes {
        return Err(BadLink::Changed);
    }
    Ok(Linked { link, sha256: sha256(bytes) })
}

/// The number in a file name that resembles a link's.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    // A number that exceeds u64 is as invalid as 0.
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests;
