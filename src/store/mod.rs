//! Where a package's files go: names to bytes, and nothing half-done under a final name.
//!
//! [`Folder`] keeps a package on a local disk. Its operations are those that an object store can give as well:
//! create exclusively, replace whole, read, list, size, remove. There is no append, no rename and no lock.
//!
//! Invariants, each kept by one function:
//!
//! - A name is visible only when its bytes are whole and durable: [`Draft::publish`] is the only way to a final
//!   name, and it syncs the file before and the folder after.
//! - A name is created by at most one of any number of writers: link(2) decides, on every local file system.
//! - A name of the package never leads out of the package: [`resolve`] checks every one of them.
//! - A replaced file has exactly one successor: [`Folder::replace_bytes_if`].

mod draft;
mod error;
mod folder;
mod name;
mod root;
mod swap;

pub use draft::{Draft, Publish};
pub use error::{StoreError, error_code};
pub use folder::{Created, Folder, Listed, MAX_READ_BYTES};
pub use name::{check_name, resolve};
pub use swap::Swap;
