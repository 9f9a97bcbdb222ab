//! Compare-and-swap of a whole file, without locks, on a store that can only create exclusively and replace.
//!
//! A replacement cannot say "only if it is still the old one". So the decision is taken elsewhere: the replacement of a
//! file whose bytes have digest *d* is first created exclusively as `_state/successors/<name>/<d>`, which exactly one
//! writer can do. Then whoever comes by, the winner or anybody who finds the file, installs it under the name.
//!
//! Invariant: the versions of a name form one chain, each with at most one successor, and the last of it is the truth.
//! The name itself may lag behind after a crash, or for a moment when a slow process installs a version that others
//! have long replaced; that process then sees the successor and goes on to the end of the chain, and so does
//! everybody after a crash ([`Folder::settle`]). No version is ever lost, and no decision ever changes.
//!
//! The chain must not be a circle: bytes that were current once cannot become current again. A manifest lists its
//! runs, so no two are equal.

use super::{Created, Folder, StoreError};
use crate::seal::sha256 as digest;

/// Where the decisions are.
const SUCCESSORS: &str = "_state/successors";

/// How many versions one call goes forward. A crash leaves one to install; more is a circle that somebody made.
const MAX_VERSIONS: usize = 1000;

/// What became of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "somebody else may have been first"]
pub enum Swap {
    /// The name holds, or after others went on held, the new bytes.
    Replaced,
    /// The name holds something else than was expected; read it and decide anew.
    Changed,
}

impl Folder {
    /// Replaces `name` if its bytes have the SHA-256 `expected` (lower-case hex), or, with `None`, if it is not there.
    /// Of any number of callers with the same expectation one succeeds. The old bytes are first kept as `keep_as`.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] where `keep_as` holds something else; [`StoreError::Repeated`];
    /// [`StoreError::Io`], after which the caller cannot know and has to [`Folder::settle`] and read again.
    pub fn replace_bytes_if(
        &self,
        name: &str,
        expected: Option<&str>,
        bytes: &[u8],
        keep_as: Option<&str>,
    ) -> Result<Swap, StoreError> {
        let Some(expected) = expected else {
            return Ok(match self.create_bytes(name, bytes)? {
                Created::Created => Swap::Replaced,
                Created::Exists => Swap::Changed,
            });
        };
        let Some(old) = self.current_if(name, expected)? else { return Ok(Swap::Changed) };
        let new = digest(bytes);
        if new == expected {
            return Ok(Swap::Replaced);
        }
        if self.size(&successor(name, &new))?.is_some() {
            // Somebody may have written the very same bytes and gone on from them meanwhile.
            return match self.size(&successor(name, expected))? {
                Some(_) => Ok(Swap::Changed),
                None => Err(StoreError::Repeated { name: name.to_owned() }),
            };
        }
        if let Some(kept) = keep_as
            && self.create_bytes(kept, &old)? == Created::Exists
            && self.read(kept)?.as_ref() != Some(&old)
        {
            return Err(StoreError::AlreadyExists { name: kept.to_owned() });
        }
        let decided = self.create_bytes(&successor(name, expected), bytes)?;
        self.settle(name)?;
        Ok(match decided {
            Created::Created => Swap::Replaced,
            Created::Exists => Swap::Changed,
        })
    }

    /// The bytes of `name` if they have the digest `expected`.
    fn current_if(&self, name: &str, expected: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut other = None;
        loop {
            self.settle(name)?;
            let Some(bytes) = self.read(name)? else { return Ok(None) };
            let found = digest(&bytes);
            if found == expected {
                return Ok(Some(bytes));
            }
            // A slow process may have put an older version back between the two calls, so one look is no proof.
            if other.as_ref() == Some(&found) {
                return Ok(None);
            }
            other = Some(found);
        }
    }

    /// Whether `name` once held the bytes with this digest, and holds others now.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn was_replaced(&self, name: &str, sha256: &str) -> Result<bool, StoreError> {
        Ok(self.size(&successor(name, sha256))?.is_some())
    }

    /// Installs what was decided for `name` but, after a crash, not yet installed. Call it before a read whose answer
    /// matters; without it [`Folder::read`] may give an older version, never a torn one.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn settle(&self, name: &str) -> Result<(), StoreError> {
        for _ in 0..MAX_VERSIONS {
            let Some(current) = self.read(name)? else { return Ok(()) };
            let next = successor(name, &digest(&current));
            if self.size(&next)?.is_none() {
                return Ok(());
            }
            self.backend().install(&next, name)?;
        }
        Err(StoreError::Repeated { name: name.to_owned() })
    }
}

fn successor(name: &str, sha256: &str) -> String {
    format!("{SUCCESSORS}/{name}/{sha256}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().join("package")).unwrap();
        (root, folder)
    }

    #[test]
    fn a_replacement_needs_the_expected_bytes_and_keeps_the_old_ones() {
        let (_root, folder) = folder();
        assert_eq!(folder.replace_bytes_if("m.json", None, b"one", None).unwrap(), Swap::Replaced);
        assert_eq!(folder.replace_bytes_if("m.json", None, b"other", None).unwrap(), Swap::Changed);
        assert_eq!(folder.replace_bytes_if("m.json", Some(&digest(b"zero")), b"two", None).unwrap(), Swap::Changed);
        let kept = "_state/manifests/old.json";
        let swapped = folder.replace_bytes_if("m.json", Some(&digest(b"one")), b"two", Some(kept)).unwrap();
        assert_eq!(swapped, Swap::Replaced);
        assert_eq!(folder.read("m.json").unwrap().unwrap(), b"two");
        assert_eq!(folder.read(kept).unwrap().unwrap(), b"one");
        let late = folder.replace_bytes_if("m.json", Some(&digest(b"one")), b"three", None).unwrap();
        assert_eq!(late, Swap::Changed);
        assert!(folder.list("_state/tmp/").unwrap().is_empty());
    }

    #[test]
    fn one_of_many_concurrent_replacements_wins_each_generation() {
        let (_root, folder) = folder();
        let _ = folder.replace_bytes_if("m", None, b"0", None).unwrap();
        let mut expected = digest(b"0");
        for generation in 0..8 {
            let winners: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|thread| {
                        let (folder, expected) = (folder.clone(), expected.clone());
                        scope.spawn(move || {
                            let new = format!("{generation} {thread}");
                            let swap = folder.replace_bytes_if("m", Some(&expected), new.as_bytes(), None).unwrap();
                            (swap == Swap::Replaced).then_some(new)
                        })
                    })
                    .collect();
                threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(winners.len(), 1);
            assert_eq!(folder.read("m").unwrap().unwrap(), winners[0].as_bytes());
            expected = digest(winners[0].as_bytes());
        }
    }

    #[test]
    fn no_increment_of_a_shared_counter_is_lost() {
        let (_root, folder) = folder();
        let _ = folder.replace_bytes_if("counter", None, b"0", None).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let folder = Folder::open(folder.location()).unwrap();
                scope.spawn(move || {
                    let mut added = 0;
                    while added < 10 {
                        let old = folder.read("counter").unwrap().unwrap();
                        let value: u32 = std::str::from_utf8(&old).unwrap().parse().unwrap();
                        let new = (value + 1).to_string();
                        let swap =
                            folder.replace_bytes_if("counter", Some(&digest(&old)), new.as_bytes(), None).unwrap();
                        added += u32::from(swap == Swap::Replaced);
                    }
                });
            }
        });
        folder.settle("counter").unwrap();
        assert_eq!(folder.read("counter").unwrap().unwrap(), b"40");
    }

    #[test]
    fn a_decision_that_a_crash_kept_from_being_installed_is_installed_by_the_next_one() {
        let (_root, folder) = folder();
        let _ = folder.replace_bytes_if("m", None, b"one", None).unwrap();
        let _ = folder.create_bytes(&successor("m", &digest(b"one")), b"two").unwrap();
        assert_eq!(folder.replace_bytes_if("m", Some(&digest(b"one")), b"three", None).unwrap(), Swap::Changed);
        assert_eq!(folder.read("m").unwrap().unwrap(), b"two");
    }

    #[test]
    fn a_version_that_a_slow_process_put_back_is_put_forward_again() {
        let (_root, folder) = folder();
        let _ = folder.replace_bytes_if("m", None, b"one", None).unwrap();
        for (old, new) in [("one", "two"), ("two", "three")] {
            let _ = folder.replace_bytes_if("m", Some(&digest(old.as_bytes())), new.as_bytes(), None).unwrap();
        }
        folder.replace_bytes("m", b"two").unwrap();
        folder.settle("m").unwrap();
        assert_eq!(folder.read("m").unwrap().unwrap(), b"three");
    }

    #[test]
    fn bytes_that_were_current_once_are_refused() {
        let (_root, folder) = folder();
        let _ = folder.replace_bytes_if("m", None, b"one", None).unwrap();
        let _ = folder.replace_bytes_if("m", Some(&digest(b"one")), b"two", None).unwrap();
        let back = folder.replace_bytes_if("m", Some(&digest(b"two")), b"one", None);
        assert!(matches!(back, Err(StoreError::Repeated { .. })));
    }
}
