//! A chain: the packages of a spec in the order in which they ended, as numbered links in a folder of their own.
//!
//! Each link names the digest of its manifest and the digest of the link before it, so that none can be taken out,
//! changed or put elsewhere without all later ones showing it. What the folder alone cannot show is that the *last*
//! links were taken away; for that somebody has to have noted the head ([`Chain::head`]).
//!
//! A link is created exclusively and never replaced. It decides: whoever finds a link whose manifest is not yet
//! published publishes it.

use std::collections::BTreeMap;
use std::thread;

pub use crate::package::link::{LINK_VERSION, Link, LinkRef};

use crate::digest::sha256;
use crate::package::layout::STATE;
use crate::store::{Folder, Listed, StoreError};

/// Larger than any link.
const LARGEST_BYTES: u64 = 64 << 10;

/// Requests to an object store at a time.
const READERS: usize = 16;

/// The links of a folder.
#[derive(Debug, Default)]
pub struct Chain {
    found: BTreeMap<u64, Result<Linked, String>>,
    /// Files whose names are nearly those of links.
    misnamed: Vec<String>,
    /// Other files.
    strangers: Vec<String>,
}

/// A number and what stands under it: a link, or why it is none.
type Found = (u64, Result<Linked, String>);

/// A link and the digest of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// What it says.
    pub link: Link,
    /// Lower-case hex SHA-256.
    pub sha256: String,
}

/// Something about the links that is not as it should be.
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

    /// Reads the links that came since.
    ///
    /// # Errors
    /// The store's.
    pub fn refresh(&mut self, folder: &Folder) -> Result<(), StoreError> {
        (self.misnamed, self.strangers) = (Vec::new(), Vec::new());
        let mut new = Vec::new();
        for listed in folder.list("")? {
            match number_of(&listed.name) {
                Some(number) if number > 0 && listed.name == Link::file_name(number) => {
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
            let read_one = |(number, listed): &(u64, Listed)| -> Result<Option<Found>, StoreError> {
                let link = match listed.bytes {
                    0..=LARGEST_BYTES => match folder.read(&listed.name) {
                        // The other links can still be told of; a store that does not answer may answer later.
                        Err(error) if !error.code().is_retryable() => Some(Err(format!("cannot be read: {error}"))),
                        bytes => bytes?.as_deref().map(parse),
                    },
                    _ => Some(Err("is larger than any link".to_owned())),
                };
                Ok(link.map(|link| (*number, link)))
            };
            let threads: Vec<_> = new
                .chunks(portion)
                .map(|portion| scope.spawn(move || portion.iter().map(read_one).collect::<Result<Vec<_>, _>>()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let read: Vec<Vec<Option<Found>>> = Result::from_iter::<Vec<_>>(read)?;
        self.found.extend(read.into_iter().flatten().flatten());
        Ok(())
    }

    /// The links that can be read, in order.
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

    /// The last link of a job that is one of a manifest.
    pub fn last_of(&self, job: &str) -> Option<&Linked> {
        self.links().rev().find(|linked| linked.link.id == job && linked.link.tombstone_sha256.is_none())
    }

    /// The links that say that shards of a manifest were deleted, in order.
    pub fn deletions_of(&self, manifest_sha256: &str) -> impl Iterator<Item = &Linked> {
        self.links().filter(move |linked| {
            linked.link.tombstone_sha256.is_some() && linked.link.manifest_sha256 == manifest_sha256
        })
    }

    /// Files that are no links.
    pub fn strangers(&self) -> &[String] {
        &self.strangers
    }

    /// Everything that is wrong with the links themselves, in order.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for name in &self.misnamed {
            let message = "is no name of a link: those have six digits, and more only where the number has".to_owned();
            flaws.push(Flaw { name: name.clone(), message });
        }
        let mut before: Option<(u64, Option<&Linked>)> = None;
        for (&number, found) in &self.found {
            let expected = before.map_or(1, |(number, _)| number.saturating_add(1));
            if number != expected {
                let upto = match number - 1 {
                    last if last == expected => String::new(),
                    last => format!(", nor the links up to {}", Link::file_name(last)),
                };
                let message = format!("is not there{upto}, but {} is: somebody removed it", Link::file_name(number));
                flaws.push(Flaw { name: Link::file_name(expected), message });
            }
            let mut flaw = |message: String| flaws.push(Flaw { name: Link::file_name(number), message });
            match found {
                Err(message) => flaw(message.clone()),
                Ok(Linked { link, .. }) => {
                    if link.number != number {
                        flaw(format!("says that it is link {}: it was put in the place of another", link.number));
                    }
                    let before = before.filter(|(before, _)| *before == number - 1);
                    match (&link.previous, before) {
                        (None, _) if number == 1 => {}
                        (Some(_), _) if number == 1 => {
                            flaw("names a link before it, and is the first: those before it were removed".to_owned());
                        }
                        (Some(previous), _) if previous.number != number - 1 => {
                            flaw(format!("follows link {}, not the one before it", previous.number));
                        }
                        (Some(previous), Some((_, Some(before)))) if previous.sha256 != before.sha256 => {
                            let name = Link::file_name(number - 1);
                            flaw(format!(
                                "follows a link with the digest {}, and {name} has {}: one of them was changed or \
                                 replaced",
                                previous.sha256, before.sha256
                            ));
                        }
                        (Some(_), _) => {}
                        (None, _) => flaw("names no link before it, and is not the first".to_owned()),
                    }
                }
            }
            before = Some((number, found.as_ref().ok()));
        }
        flaws
    }
}

/// The bytes of a link that is written as links are.
fn parse(bytes: &[u8]) -> Result<Linked, String> {
    match Link::from_json(bytes) {
        Ok(link) if link.to_json_bytes() == bytes => Ok(Linked { link, sha256: sha256(bytes) }),
        Ok(_) => Err("is not written as links are: somebody changed it".to_owned()),
        Err(error) => Err(match std::error::Error::source(&error) {
            Some(cause) => format!("cannot be read: {error}: {cause}"),
            None => format!("cannot be read: {error}"),
        }),
    }
}

/// The number of what could be a link.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    // What no u64 holds is a link as little as 0 is.
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests;
