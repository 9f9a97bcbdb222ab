//! What an auditor was given to read what is encrypted.

use std::sync::Arc;

use crate::encode::ParquetKeys;
use crate::seal::Identities;

/// Keys for reading; by default none, which is enough for packages that are not encrypted.
#[derive(Default)]
pub struct ReadKeys {
    /// For files that age encrypted.
    pub identities: Identities,
    /// For Parquet modular encryption.
    pub parquet: Option<Arc<ParquetKeys>>,
}
