//! The keys that a command line names, read.

use std::sync::Arc;

use super::args::KeyArgs;
use super::environment::variables;
use crate::encode::ParquetKeys;
use crate::failure::chain;
use crate::package::ReadKeys;
use crate::seal::Identities;

/// Reads identities and keys of Parquet.
///
/// # Errors
/// A sentence for people: a file or variable without a key in it.
pub fn read_keys(args: &KeyArgs) -> Result<ReadKeys, String> {
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
