//! Keys that an auditor provides to read encrypted packages.

use std::sync::Arc;

use crate::encode::ParquetKeys;
use crate::seal::Identities;

/// Keys for reading. By default there are none, which suffices for packages that are not encrypted.
#[derive(Default)]
pub struct ReadKeys {
    /// For files that age encrypted.
    pub identities: Identities,
    /// For Parquet modular encryption.
    pub parquet: Option<Arc<ParquetKeys>>,
}
