//! Stores of packages: names to bytes, never a partial file under a final name. [`Folder`] is a package, or any other
//! folder of complete files, on a local disk or in an object store. Its operations are those of an object store:
//! exclusive create, whole replace, read, list, size, remove. There is no append, no rename and no lock.
//!
//! Invariants, each kept by one function of each store:
//!
//! - A name is visible only once its bytes are complete and durable: [`Draft::publish`] is the only way to a final
//!   name.
//! - At most one of any number of writers creates a name: [`Folder::create_bytes`]; if a store cannot guarantee that,
//!   [`Folder::is_exclusive`] says so.
//! - A name of the package never leads out of the package: [`check_name`] sees every one of them.
//! - A file is replaced only if it has the expected bytes: [`Folder::swap`].

#[cfg(test)]
mod contract;
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
pub use stored::{ObjectListing, ObjectMeta, Stored, has_below, head_object, list_below};

/// What [`Folder::read`] takes into memory at most. The largest file read whole is a manifest; one of 100,000
/// partitions has about 80 MB.
pub const MAX_READ_BYTES: u64 = 1 << 30;

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
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

/// A random number per process: the keys of the standard library's hasher.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
