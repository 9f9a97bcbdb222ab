//! A file being written, on a local disk or in an object store.

use std::fmt;
use std::io::{self, Write};

use super::{Created, StoreError};

/// How a draft gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Only if the name is free: exactly one of many writers succeeds.
    Create,
    /// In place of whatever has the name; readers see the old bytes or the new ones.
    Replace,
}

/// What a store knows of a draft.
pub(super) trait Unpublished: Write + Send {
    /// Makes the bytes durable and gives them their name. After [`StoreError::AlreadyExists`] they may be published under
    /// another one.
    fn publish(&mut self, mode: Publish) -> Result<(), StoreError>;
    /// Changes the name that they are going to have.
    fn rename(&mut self, name: &str) -> Result<(), StoreError>;
}

/// A file that has no name yet. Dropping it removes it.
///
/// A write takes all that it is given or fails; pieces may be small.
pub struct Draft {
    pub(super) name: String,
    pub(super) bytes: Box<dyn Unpublished>,
}

impl Draft {
    /// The name it is going to have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the bytes durable and gives them their name. On an error the name is as it was before.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] where another one was first (`Create` only); [`StoreError::DraftGone`] where
    /// another run cleaned up; else the store's error.
    pub fn publish(mut self, mode: Publish) -> Result<(), StoreError> {
        self.bytes.publish(mode)
    }

    /// As [`Draft::publish`] with [`Publish::Create`]; where the name is taken the draft stays, to get another one.
    ///
    /// # Errors
    /// As [`Draft::publish`].
    pub fn create(&mut self) -> Result<Created, StoreError> {
        match self.bytes.publish(Publish::Create) {
            Ok(()) => Ok(Created::Created),
            Err(StoreError::AlreadyExists { .. }) => Ok(Created::Exists),
            Err(error) => Err(error),
        }
    }

    /// Changes the name that it is going to have.
    ///
    /// # Errors
    /// [`StoreError::BadName`]; an upload to an object store has its name from the start.
    pub fn rename(&mut self, name: &str) -> Result<(), StoreError> {
        self.bytes.rename(name)?;
        name.clone_into(&mut self.name);
        Ok(())
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.bytes.flush()
    }
}
