//! Secrets that nobody can guess.

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Bytes of a secret.
pub(super) const SECRET_BYTES: usize = 32;

/// The system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(crate) struct NoRandom;

/// A new secret.
///
/// # Errors
/// [`NoRandom`].
pub(super) fn secret() -> Result<Zeroizing<[u8; SECRET_BYTES]>, NoRandom> {
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    SystemRandom::new().fill(secret.as_mut()).map_err(|_| NoRandom)?;
    Ok(secret)
}
