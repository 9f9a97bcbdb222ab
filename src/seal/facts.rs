//! Sealed facts: short texts in a package that only readers of its encrypted files can open.
//!
//! A digest of plain bytes confirms guesses of those bytes, so it is as secret as they are. In the manifest, a sealed fact is
//! base64 of one of two things: an age file to the recipients of the shards or, for shards with Parquet encryption, a random
//! 12-byte nonce and the output of AES-256-GCM (NIST SP 800-38D) under a key derived from the Parquet keys. Third-party
//! tools can open both: see `docs/encryption.md`.

use std::io::{self, Read, Write};
use std::sync::Arc;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::identities::Identities;
use super::open::{OpenError, decrypt};
use super::recipients::Recipients;

/// The message whose HMAC is the facts key. It separates this key from other uses.
const PURPOSE: &[u8] = b"kt-export sealed facts 1";

/// Limit on the size of a sealed text. A manipulated manifest could contain any length.
const LARGEST_BYTES: u64 = 64 << 10;

/// The key that seals facts.
#[derive(Clone)]
pub enum FactsKey {
    /// To the recipients of the shards.
    Age(Arc<Recipients>),
    /// Opened with all Parquet keys.
    Secret(FactsSecret),
}

/// A key that is derived from other keys.
#[derive(Clone)]
pub struct FactsSecret(Zeroizing<[u8; 32]>);

impl FactsSecret {
    /// Derives the key as HMAC-SHA-256 (RFC 2104), keyed with the concatenated keys.
    ///
    /// # Errors
    /// None in practice: HMAC accepts keys of any length.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> io::Result<Self> {
        let joined = Zeroizing::new(keys.into_iter().flatten().copied().collect::<Vec<u8>>());
        let mut hmac = Hmac::<Sha256>::new_from_slice(&joined).map_err(io::Error::other)?;
        hmac.update(PURPOSE);
        Ok(Self(Zeroizing::new(hmac.finalize().into_bytes().into())))
    }

    fn cipher(&self) -> io::Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, self.0.as_slice());
        Ok(LessSafeKey::new(key.map_err(|_| io::Error::other("AES-256 rejects its key"))?))
    }

    fn seal(&self, text: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        let no_random = |_| io::Error::other("the system provides no random numbers");
        SystemRandom::new().fill(&mut nonce).map_err(no_random)?;
        let mut sealed = text.to_vec();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        let too_long = |_| io::Error::other("the text is too long for AES-GCM");
        self.cipher()?.seal_in_place_append_tag(nonce_of, Aad::empty(), &mut sealed).map_err(too_long)?;
        Ok([&nonce, sealed.as_slice()].concat())
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(OpenError::Keys)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Keys)?;
        let mut text = sealed.to_vec();
        let cipher = self.cipher().map_err(OpenError::Read)?;
        let plain = cipher.open_in_place(nonce, Aad::empty(), &mut text).map_err(|_| OpenError::Keys)?;
        Ok(plain.to_vec())
    }
}

impl FactsKey {
    /// Seals a text. The result differs each time.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub fn seal(&self, text: &[u8]) -> io::Result<String> {
        let sealed = match self {
            Self::Age(recipients) => {
                let mut stream = recipients.encrypt(Vec::new())?;
                stream.write_all(text)?;
                stream.finish()?
            }
            Self::Secret(secret) => secret.seal(text)?,
        };
        Ok(BASE64.encode(&sealed))
    }
}

/// Opens facts sealed to recipients.
///
/// # Errors
/// [`OpenError`].
pub fn open_facts(sealed: &str, identities: &Identities) -> Result<Vec<u8>, OpenError> {
    let sealed = BASE64.decode(sealed.as_bytes()).map_err(|_| OpenError::Header)?;
    let mut text = Vec::new();
    let mut plain = decrypt(sealed.as_slice(), identities)?.take(LARGEST_BYTES);
    plain.read_to_end(&mut text).map_err(OpenError::Read)?;
    Ok(text)
}

/// Opens facts sealed with Parquet keys.
///
/// # Errors
/// [`OpenError::Keys`].
pub fn open_facts_with(sealed: &str, secret: &FactsSecret) -> Result<Vec<u8>, OpenError> {
    secret.open(&BASE64.decode(sealed.as_bytes()).map_err(|_| OpenError::Keys)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keys_of_parquet_seal_opens_with_all_of_them_and_nothing_else() {
        let (footer, column): (&[u8], &[u8]) = (b"0123456789abcdef", b"fedcba9876543210");
        let both = FactsSecret::of([column, footer]).unwrap();
        let sealed = FactsKey::Secret(both.clone()).seal(b"a fact").unwrap();
        assert_ne!(FactsKey::Secret(both.clone()).seal(b"a fact").unwrap(), sealed);
        assert_eq!(open_facts_with(&sealed, &both).unwrap(), b"a fact");
        let refused = "it was sealed with keys other than the given ones, or changed afterwards";
        let alone = FactsSecret::of([footer]).unwrap();
        assert_eq!(open_facts_with(&sealed, &alone).unwrap_err().to_string(), refused);
        for damaged in ["", "AAAA", "not base64", &sealed.replacen(&sealed[..4], "AAAA", 1)] {
            assert_eq!(open_facts_with(damaged, &both).unwrap_err().to_string(), refused, "{damaged}");
        }
    }

    /// `python3 -c 'import hmac; print(hmac.new(b"fedcba98765432100123456789abcdef", b"kt-export sealed facts 1", "sha256").hexdigest())'`
    #[test]
    fn the_key_is_the_one_that_the_documentation_derives() {
        let secret = FactsSecret::of([&b"fedcba9876543210"[..], b"0123456789abcdef"]).unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(secret.0.as_slice()),
            "6f06f2c4b8173a39f1392b2de282bde722e40ee2259607d5678bd162d4bcef6a"
        );
    }
}
