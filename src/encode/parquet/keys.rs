//! Keys of Parquet modular encryption, for writing and reading.
//!
//! Format: <https://github.com/apache/parquet-format/blob/master/Encryption.md>, AES-GCM for everything (`AES_GCM_V1`),
//! footer encrypted. Once one column has a key, the `parquet` crate leaves every column without one in plaintext. So if
//! columns have keys, all others get the footer key explicitly: nothing is ever in plaintext.
//!
//! The keys encrypt the modules directly, without data keys, so that DuckDB and other readers that take explicit keys can
//! read the files. A file names each key (`key_metadata`) as `footer` or `column.<name>`, in the format of pyarrow's and
//! Java's key tools:
//! <https://github.com/apache/parquet-java/blob/master/parquet-hadoop/src/main/java/org/apache/parquet/crypto/keytools/KeyMaterial.java>.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parquet::encryption::decrypt::{FileDecryptionProperties, KeyRetriever};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::seal::FactsSecret;

/// The name of the footer key.
const FOOTER: &str = "footer";

/// Prefix of the names of column keys.
const COLUMN: &str = "column.";

/// Key sizes of AES-128 and AES-256. The format also allows AES-192, but the library does not.
const KEY_BYTES: [usize; 2] = [16, 32];

/// A footer key and column keys. `Debug` never shows them.
#[derive(Default)]
pub struct ParquetKeys {
    by_name: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl ParquetKeys {
    /// Sets the footer key: base64 of 16 or 32 bytes.
    ///
    /// # Errors
    /// [`ParquetKeyError`].
    pub fn set_footer(&mut self, base64: &[u8]) -> Result<(), ParquetKeyError> {
        self.by_name.insert(FOOTER.to_owned(), key(base64)?);
        Ok(())
    }

    /// Sets the key of a column, by its name in the shards, and of everything nested in it.
    ///
    /// # Errors
    /// [`ParquetKeyError`].
    pub fn set_column(&mut self, column: &str, base64: &[u8]) -> Result<(), ParquetKeyError> {
        self.by_name.insert(format!("{COLUMN}{column}"), key(base64)?);
        Ok(())
    }

    /// The properties that encrypt everything in a file with these columns.
    pub(super) fn encryption(&self, schema: &SchemaDescriptor) -> Result<Arc<FileEncryptionProperties>, ParquetError> {
        let footer = self.named(FOOTER)?;
        let mut properties =
            FileEncryptionProperties::builder(footer.to_vec()).with_footer_key_metadata(material(FOOTER, true));
        if self.by_name.len() > 1 {
            let mut given: BTreeMap<String, String> = BTreeMap::new();
            for leaf in schema.columns() {
                let column = leaf.path().parts().first().map_or("", String::as_str);
                let own = format!("{COLUMN}{column}");
                let name = if self.by_name.contains_key(&own) { own.as_str() } else { FOOTER };
                let path = leaf.path().string();
                if given.insert(path.clone(), name.to_owned()).is_some_and(|earlier| earlier != name) {
                    // `a.b` may be a column, and `b` may be nested in `a`: the library cannot distinguish their keys.
                    return Err(ParquetError::General(format!("two columns are called {path}, with different keys")));
                }
                let key = self.named(name)?.to_vec();
                properties = properties.with_column_key_and_metadata(&path, key, material(name, false));
            }
        }
        properties.build()
    }

    /// The properties that decrypt files written with these keys.
    ///
    /// # Errors
    /// None in this version of the library.
    pub fn decryption(self: &Arc<Self>) -> Result<Arc<FileDecryptionProperties>, ParquetError> {
        FileDecryptionProperties::with_key_retriever(self.clone()).build()
    }

    /// The key of facts that can only be read with the footer key and the keys of these columns.
    ///
    /// # Errors
    /// The name of a key that was not given.
    pub fn facts_secret<'a>(&self, columns: impl Iterator<Item = &'a str>) -> io::Result<FactsSecret> {
        let mut names: Vec<String> = columns.map(|column| format!("{COLUMN}{column}")).collect();
        names.sort_unstable();
        names.dedup();
        names.push(FOOTER.to_owned());
        let missing = |name: &String| io::Error::other(format!("the key `{name}` was not given"));
        let key = |name| self.by_name.get(name).map(|key| key.as_slice()).ok_or_else(|| missing(name));
        FactsSecret::of(names.iter().map(key).collect::<io::Result<Vec<_>>>()?)
    }

    fn named(&self, name: &str) -> Result<&[u8], ParquetError> {
        let missing = || ParquetError::General(format!("the key `{name}` was not given"));
        self.by_name.get(name).map(|key| key.as_slice()).ok_or_else(missing)
    }
}

impl KeyRetriever for ParquetKeys {
    fn retrieve_key(&self, key_metadata: &[u8]) -> Result<Vec<u8>, ParquetError> {
        let material: Option<Value> = serde_json::from_slice(key_metadata).ok();
        let name = material.as_ref().and_then(|material| material.get("masterKeyID")).and_then(Value::as_str);
        // Without key metadata, everything is encrypted with the footer key.
        self.named(name.unwrap_or(FOOTER)).map(<[u8]>::to_vec)
    }
}

/// The key metadata in a file.
fn material(name: &str, is_footer: bool) -> Vec<u8> {
    let mut material = json!({
        "keyMaterialType": "PKMT1", "internalStorage": true, "isFooterKey": is_footer, "masterKeyID": name,
        // No key wrapping: the key itself encrypts.
        "wrappedDEK": "", "doubleWrapping": false,
    });
    if is_footer {
        material["kmsInstanceID"] = json!("DEFAULT");
        material["kmsInstanceURL"] = json!("DEFAULT");
    }
    material.to_string().into_bytes()
}

fn key(base64: &[u8]) -> Result<Zeroizing<Vec<u8>>, ParquetKeyError> {
    let key =
        Zeroizing::new(data_encoding::BASE64.decode(base64.trim_ascii()).map_err(|_| ParquetKeyError::NotBase64)?);
    if KEY_BYTES.contains(&key.len()) { Ok(key) } else { Err(ParquetKeyError::Length { bytes: key.len() }) }
}

/// Why a text is not a key. Callers put the name of the key before the message. The text is never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParquetKeyError {
    /// Not base64.
    #[error("is not base64; `openssl rand -base64 32` makes a key")]
    NotBase64,
    /// The library does not support the key size.
    #[error("has {bytes} bytes, but Parquet encryption needs 16 or 32; `openssl rand -base64 32` makes a key")]
    Length {
        /// Number of bytes.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_base64_of_16_or_32_bytes() {
        let mut keys = ParquetKeys::default();
        assert_eq!(keys.set_footer(b" MDEyMzQ1Njc4OWFiY2RlZg==\n"), Ok(()));
        assert_eq!(keys.set_column("a", data_encoding::BASE64.encode(&[7; 32]).as_bytes()), Ok(()));
        let said = |text: &[u8]| key(text).unwrap_err().to_string();
        assert_eq!(said(b"0123456789abcde!"), "is not base64; `openssl rand -base64 32` makes a key");
        for bytes in [0, 15, 24, 33] {
            assert_eq!(
                said(data_encoding::BASE64.encode(&vec![7; bytes]).as_bytes()),
                format!(
                    "has {bytes} bytes, but Parquet encryption needs 16 or 32; `openssl rand -base64 32` makes a key"
                )
            );
        }
    }

    #[test]
    fn a_key_that_was_not_given_is_named() {
        let mut keys = ParquetKeys::default();
        keys.set_footer(b"MDEyMzQ1Njc4OWFiY2RlZg==").unwrap();
        assert_eq!(keys.retrieve_key(&material(FOOTER, true)).unwrap(), b"0123456789abcdef");
        assert_eq!(keys.retrieve_key(b"what others write").unwrap(), b"0123456789abcdef");
        let error = keys.retrieve_key(&material("column.message", false)).unwrap_err();
        assert_eq!(error.to_string(), "Parquet error: the key `column.message` was not given");
    }
}
