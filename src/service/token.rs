//! Download tokens: who has one may fetch one file of one job until it expires, and nothing else.
//!
//! A token is base64url of its expiry (seconds since 1970, 8 bytes, big-endian) and an HMAC-SHA256 (RFC 2104) over expiry, job
//! and file, each with its length. The job stands for its tenant, which its id is made of. The server keeps no token, so any
//! replica with the same secret accepts it, and a forged one is refused before the store is asked for anything.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::random::{self, NoRandom, SECRET_BYTES};

/// Separates these codes from all others under the same secret.
const DOMAIN: &[u8] = b"kt-export download token v1";

/// Bytes of the shortest secret.
const SHORTEST_KEY: usize = SECRET_BYTES;

/// Bytes of the expiry.
const EXPIRY: usize = 8;

/// The secrets, of which the first makes tokens and every one accepts them: to rotate, put the new one first, and remove the
/// old one when its last token has expired.
pub(crate) struct TokenKeys(Vec<Zeroizing<Vec<u8>>>);

/// Why secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenKeyError {
    /// A secret that could be guessed.
    #[error("it has {found} bytes, and at least {SHORTEST_KEY} are needed; `openssl rand -hex 32` makes one")]
    Short {
        /// Its length.
        found: usize,
    },
    /// The system has no random numbers.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// What a token is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) job: Uuid,
    /// Name in the package.
    pub(super) file: &'a str,
}

impl TokenKeys {
    /// The given secrets, or a random one.
    ///
    /// # Errors
    /// [`TokenKeyError`].
    pub(crate) fn new(keys: Vec<Zeroizing<Vec<u8>>>) -> Result<Self, TokenKeyError> {
        if !keys.is_empty() {
            return match keys.iter().find(|key| key.len() < SHORTEST_KEY) {
                Some(short) => Err(TokenKeyError::Short { found: short.len() }),
                None => Ok(Self(keys)),
            };
        }
        Ok(Self(vec![Zeroizing::new(random::secret()?.to_vec())]))
    }

    /// A token that is valid before `expires_at`, in whole seconds; `None` for a time before 1970.
    pub(super) fn issue(&self, claim: Claim<'_>, expires_at: Timestamp) -> Option<String> {
        let expiry = u64::try_from(expires_at.as_second()).ok()?.to_be_bytes();
        let code = code(self.0.first()?, claim, expiry)?.finalize().into_bytes();
        Some(data_encoding::BASE64URL_NOPAD.encode(&[&expiry[..], &code[..]].concat()))
    }

    /// Whether a token is valid for this now.
    pub(super) fn accept(&self, claim: Claim<'_>, token: &str, now: Timestamp) -> bool {
        let Ok(bytes) = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()) else { return false };
        let Some((expiry, given)) = bytes.split_first_chunk::<EXPIRY>() else { return false };
        let is_ours =
            |key: &Zeroizing<Vec<u8>>| code(key, claim, *expiry).is_some_and(|c| c.verify_slice(given).is_ok());
        let is_ours = self.0.iter().any(is_ours);
        is_ours && i64::try_from(u64::from_be_bytes(*expiry)).is_ok_and(|expiry| now.as_second() < expiry)
    }
}

fn code(key: &[u8], claim: Claim<'_>, expiry: [u8; EXPIRY]) -> Option<Hmac<Sha256>> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).ok()?;
    code.update(DOMAIN);
    code.update(&expiry);
    for part in [claim.job.as_bytes().as_slice(), claim.file.as_bytes()] {
        code.update(&u64::try_from(part.len()).ok()?.to_be_bytes());
        code.update(part);
    }
    Some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn keys(bytes: &[u8]) -> TokenKeys {
        TokenKeys::new(bytes.iter().map(|byte| Zeroizing::new(vec![*byte; SHORTEST_KEY])).collect()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_token_is_for_one_file_of_one_job_until_it_expires() {
        let keys = keys(&[1]);
        let claim = Claim { job: Uuid::from_u128(7), file: "data/b.csv" };
        let token = keys.issue(claim, at(900)).unwrap();
        assert!(keys.accept(claim, &token, NOW));
        assert!(keys.accept(claim, &token, at(899)));
        assert!(!keys.accept(claim, &token, at(900)));
        for other in [
            Claim { job: Uuid::from_u128(8), ..claim },
            Claim { file: "data/b.csv2", ..claim },
            Claim { file: "", ..claim },
        ] {
            assert!(!keys.accept(other, &token, NOW), "{other:?}");
        }
        for (i, c) in token.char_indices() {
            let other = if c == 'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &token[..i], &token[i + 1..]);
            assert!(!keys.accept(claim, &changed, NOW), "{i}");
        }
        for other in ["", "A", "AAAAAAAAAAA", &token[..token.len() - 4], &format!("{token}AAAA")] {
            assert!(!keys.accept(claim, other, NOW), "{other}");
        }
    }

    #[test]
    fn a_token_is_what_its_description_says() {
        // Made by hmac and base64 of Python.
        let claim = Claim { job: Uuid::from_u128(7), file: "data/b.csv" };
        let token = keys(&[1]).issue(claim, at(900)).unwrap();
        assert_eq!(token, "AAAAAAAAA4QsFTjdIo2lpEL3COzdsY3YXMdcpwKY8E2lDWrYiLFg5A");
    }

    #[test]
    fn both_secrets_are_accepted_while_one_replaces_the_other() {
        let claim = Claim { job: Uuid::from_u128(7), file: "data/b.csv" };
        let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        let (first, second) = (old.issue(claim, at(9)).unwrap(), both.issue(claim, at(9)).unwrap());
        assert!(both.accept(claim, &first, NOW) && both.accept(claim, &second, NOW));
        assert!(!new.accept(claim, &first, NOW) && new.accept(claim, &second, NOW));
        let random = || TokenKeys::new(Vec::new()).unwrap().issue(claim, at(9)).unwrap();
        assert_ne!(random(), random());
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused() {
        let error = TokenKeys::new(vec![Zeroizing::new(b"secret".to_vec())]).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "it has 6 bytes, and at least 32 are needed; `openssl rand -hex 32` makes one");
    }
}
