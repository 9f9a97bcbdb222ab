//! The keys of pseudonyms.
//!
//! A pseudonym is HMAC-SHA-256 (RFC 2104, FIPS 180-4) of a value's text, as 64 lower-case hex digits. Anyone with the key can
//! reproduce it: `printf %s VALUE | openssl dgst -sha256 -hmac KEY`.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::job::{Redaction, RedactionMethod};
use crate::secret::{SecretError, SecretName};

/// Fewest bytes of a key, against brute force: the 128 bits that RFC 2104 (section 3) and NIST SP 800-107 consider safe,
/// although the bits of a key are rarely all random.
pub(crate) const MIN_KEY_BYTES: usize = 16;

/// The message whose HMAC is a key's id.
const KEY_ID_TEXT: &[u8] = b"kt-export key id";

/// Hex digits of a key's id.
const KEY_ID_DIGITS: usize = 16;

/// Hex digits of a pseudonym.
pub(super) const PSEUDONYM_BYTES: usize = 64;

/// The keys that a job's redactions need, by the index of the redaction.
#[derive(Default)]
pub(crate) struct Keys(Vec<Option<Key>>);

/// One key. It cannot be extracted.
pub(super) struct Key {
    /// Has the key in it.
    state: Hmac<Sha256>,
    id: String,
}

/// Why a job's values cannot be redacted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The key is missing.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The key is too short.
    #[error(
        "the key in {name} has {bytes} bytes, and a key for pseudonyms needs at least {MIN_KEY_BYTES}; make one with \
         `openssl rand -hex 32`"
    )]
    TooShort {
        /// As [`SecretName`] shows itself.
        name: String,
        /// Length of the key.
        bytes: usize,
    },
}

impl Keys {
    /// Reads every key that the redactions name.
    ///
    /// # Errors
    /// [`KeyError`] for the first that is not there or too short.
    pub(crate) fn read(redactions: &[Redaction], env: &BTreeMap<String, String>) -> Result<Self, KeyError> {
        let key = |redaction: &Redaction| match &redaction.method {
            RedactionMethod::HmacSha256(name) => Key::read(name, env).map(Some),
            _ => Ok(None),
        };
        redactions.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The public name of the key of a redaction.
    pub(crate) fn id(&self, redaction: usize) -> Option<&str> {
        self.get(redaction).map(|key| key.id.as_str())
    }

    /// The public names of all keys, by the redaction's path.
    pub(crate) fn ids(&self, redactions: &[Redaction]) -> BTreeMap<String, String> {
        let with_key = redactions.iter().enumerate().filter_map(|(i, r)| Some((r, self.id(i)?)));
        with_key.map(|(redaction, id)| (redaction.path.value.clone(), id.to_owned())).collect()
    }

    pub(super) fn get(&self, redaction: usize) -> Option<&Key> {
        self.0.get(redaction)?.as_ref()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| key.as_ref().map(|key| &key.id))).finish()
    }
}

impl Key {
    fn read(name: &SecretName, env: &BTreeMap<String, String>) -> Result<Self, KeyError> {
        let secret = name.read(env)?;
        let too_short = || KeyError::TooShort { name: name.to_string(), bytes: secret.len() };
        if secret.len() < MIN_KEY_BYTES {
            return Err(too_short());
        }
        // HMAC accepts keys of any length.
        let state = Hmac::new_from_slice(&secret).map_err(|_| too_short())?;
        let id = pseudonym(&state, KEY_ID_TEXT);
        Ok(Self { id: id.iter().take(KEY_ID_DIGITS).map(|byte| char::from(*byte)).collect(), state })
    }

    /// The pseudonym of a text.
    pub(super) fn pseudonym(&self, text: &[u8]) -> [u8; PSEUDONYM_BYTES] {
        pseudonym(&self.state, text)
    }
}

fn pseudonym(key: &Hmac<Sha256>, text: &[u8]) -> [u8; PSEUDONYM_BYTES] {
    let mut mac = key.clone();
    mac.update(text);
    let mut hex = [0; PSEUDONYM_BYTES];
    data_encoding::HEXLOWER.encode_mut(&mac.finalize().into_bytes(), &mut hex);
    hex
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::diagnostic::Located;

    /// Keys of redactions in the order of their methods.
    pub(in crate::redact) fn keys(redactions: &[Redaction]) -> Keys {
        let env = BTreeMap::from([("KEY".to_owned(), "0123456789abcdef".to_owned())]);
        Keys::read(redactions, &env).unwrap()
    }

    /// A redaction under the key `0123456789abcdef`, where it needs one.
    pub(in crate::redact) fn redaction(path: &str, method: &str) -> Redaction {
        let method = match method {
            "mask" => RedactionMethod::Mask,
            "nullify" => RedactionMethod::Nullify,
            "drop" => RedactionMethod::Drop,
            "hmac_sha256" => RedactionMethod::HmacSha256(SecretName::Env(Located::default_value("KEY".to_owned()))),
            text => RedactionMethod::Replace(text.to_owned()),
        };
        Redaction { path: Located::default_value(path.to_owned()), method }
    }

    #[test]
    fn pseudonyms_are_those_of_rfc_4231_and_of_openssl() {
        let key = |bytes: &[u8]| Key { state: Hmac::new_from_slice(bytes).unwrap(), id: String::new() };
        let hex = |key: &Key, text: &[u8]| String::from_utf8(key.pseudonym(text).to_vec()).unwrap();
        // RFC 4231, test cases 1 and 6.
        assert_eq!(
            hex(&key(&[0x0b; 20]), b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex(&key(&[0xaa; 131]), b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        // printf %s 'kt-export key id' | openssl dgst -sha256 -hmac 0123456789abcdef
        let redactions = [redaction("a", "mask"), redaction("b", "hmac_sha256")];
        let keys = keys(&redactions);
        assert_eq!((keys.id(0), keys.id(1)), (None, Some("fecc8dde46034ca6")));
        assert_eq!(keys.ids(&redactions), BTreeMap::from([("b".to_owned(), "fecc8dde46034ca6".to_owned())]));
        assert_eq!(format!("{keys:?}"), "[None, Some(\"fecc8dde46034ca6\")]");
    }

    #[test]
    fn a_key_that_could_be_guessed_is_refused() {
        let read = |text: &str| {
            let env = BTreeMap::from([("KEY".to_owned(), text.to_owned())]);
            Keys::read(&[redaction("a", "hmac_sha256")], &env).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(read("0123456789abcdef"), Ok(()));
        assert_eq!(
            read("0123456789abcde"),
            Err("the key in env:KEY has 15 bytes, and a key for pseudonyms needs at least 16; make one with \
                 `openssl rand -hex 32`"
                .to_owned())
        );
        assert_eq!(read(""), Err("the key in env:KEY is empty".to_owned()));
    }
}
