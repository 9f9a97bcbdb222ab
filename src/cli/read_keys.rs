//! Reads the keys that a command line names.

use std::sync::Arc;

use super::args::KeyArgs;
use super::environment::variables;
use crate::encode::ParquetKeys;
use crate::failure::chain;
use crate::package::ReadKeys;
use crate::seal::Identities;

/// Reads age identities and Parquet keys.
///
/// # Errors
/// A message for users: a file or variable does not contain a key.
pub(super) fn read_keys(args: &KeyArgs) -> Result<ReadKeys, String> {
    let identities = Identities::of_files(&args.identities.identity).map_err(|error| chain(&error))?;
    let env = variables();
    let mut keys = ParquetKeys::default();
    for (name, place) in &args.parquet_keys {
        let text = place.read(&env).map_err(|error| chain(&error))?;
        let set = match name.strip_prefix("column.") {
            Some(column) => keys.set_column(column, &text),
            None => keys.set_footer(&text),
        };
        set.map_err(|error| format!("the key in {place} {error}"))?;
    }
    let parquet = (!args.parquet_keys.is_empty()).then(|| Arc::new(keys));
    Ok(ReadKeys { identities, parquet })
}
