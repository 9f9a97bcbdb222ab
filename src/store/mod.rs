//! Where a package's files go: names to bytes, and nothing half-done under a final name.
//!
//! [`Folder`] is a package, or any other folder of whole files, on a local disk or in an object store. What all of them
//! can do is what an object store can: create exclusively, replace whole, read, list, size, remove. There is no append,
//! no rename and no lock.
//!
//! Invariants, each kept by one function of each store:
//!
//! - A name is visible only when its bytes are whole and durable: [`Draft::publish`] is the only way to a final name.
//! - A name is created by at most one of any number of writers: [`Folder::create_bytes`]; where a store cannot give
//!   that, [`Folder::is_exclusive`] says so.
//! - A name of the package never leads out of the package: [`check_name`] sees every one of them.
//! - A file is swapped only for the bytes that it held: [`Folder::swap`].

mod draft;
mod error;
mod folder;
mod local;
mod location;
mod probe;
mod remote;
#[cfg(test)]
pub(crate) mod simulated;
mod stored;

use std::hash::{BuildHasher, RandomState};

pub use draft::{Draft, Publish};
pub use error::{StoreError, error_code};
pub use folder::{Folder, Link};
pub(crate) use local::sync_parent;
pub use local::{check_name, resolve};
pub use location::{Location, LocationError, ObjectLocation, Scheme, StoreOptions, split_scheme};
pub use probe::{Probed, free_bytes, probe};
pub use remote::{Refusal, UnaddressableKey};
pub use stored::{Below, Found, Stored, has_below, list_below, look_at};

/// What [`Folder::read`] takes into memory at most. The largest file read whole is a manifest; one of 100,000
/// partitions has about 80 MB.
pub const MAX_READ_BYTES: u64 = 1 << 30;

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name in the package.
    pub name: String,
    /// Size.
    pub bytes: u64,
}

/// What became of an exclusive creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "somebody else may have created it with other bytes"]
pub enum Created {
    /// The name is ours.
    Created,
    /// The name was taken; what it holds was left as it is.
    Exists,
}

/// Tells processes apart: the random keys of the standard library's hasher.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
