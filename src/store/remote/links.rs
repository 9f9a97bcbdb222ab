//! Presigned links: read an object without credentials for a limited time.

use std::time::Duration;

use jiff::Timestamp;
use object_store::signer::Method;

use super::bucket::Bucket;
use super::error::Refusal;
use crate::store::{Link, StoreError};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// How long a signature of Google's signBlob is usable for certain. Google replaces the keys that sign, so a link with a later
/// expiry may stop working before it
/// (<https://docs.cloud.google.com/storage/docs/authentication/creating-signatures>).
const SIGN_BLOB: Duration = Duration::from_secs(12 * 3600);

/// What signs a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignedBy {
    /// A key without an end.
    Key,
    /// Temporary credentials of S3, which end then, if they say so.
    Temporary { end: Option<Timestamp> },
    /// Google's signBlob, for a user, an impersonated service account or the identity of a machine.
    SignBlob,
}

impl Bucket {
    /// A link that reads an object without credentials, for so long or as long as may be.
    pub(in crate::store) fn presign(&self, key: &str, expires_in: Duration) -> Result<Link, StoreError> {
        let path = self.path(key)?;
        let Some(signer) = &self.client().signer else {
            let answer = "a web server's objects have no presigned links".to_owned();
            return Err(StoreError::Remote { action: "sign", at: self.object(key), refusal: Refusal::Refused, answer });
        };
        let (signed_by, now) = (self.signed_by(key)?, Timestamp::now());
        let (longest, why) = longest_link(signed_by, now);
        if let SignedBy::Temporary { end: Some(end) } = signed_by
            && longest.is_zero()
        {
            let answer = format!("they ended at {end}: get new ones");
            return Err(StoreError::Remote {
                action: "sign a link to",
                at: self.object(key),
                refusal: Refusal::Denied,
                answer,
            });
        }
        // Signatures count whole seconds.
        let seconds = Duration::from_secs(expires_in.min(longest).as_secs().max(1));
        let url = self.ask("sign a link to", key, || signer.signed_url(Method::GET, &path, seconds))?;
        let expires_at = now.checked_add(seconds).map_err(|_| StoreError::Remote {
            action: "sign a link to",
            at: self.object(key),
            refusal: Refusal::ClockSkewed,
            answer: format!("it is {now}"),
        })?;
        Ok(Link { url, expires_at: Some(expires_at), limited_by: (expires_in > longest).then_some(why) })
    }

    /// What signs, wherever it comes from: variables, a profile, web identity, a container, the instance.
    fn signed_by(&self, key: &str) -> Result<SignedBy, StoreError> {
        let client = self.client();
        if let Some(provider) = &client.credentials {
            let token = self.ask("sign a link to", key, || provider.get_credential())?.token.clone();
            return Ok(match token {
                Some(token) => SignedBy::Temporary { end: self.credentials_end(&token) },
                None => SignedBy::Key,
            });
        }
        if let Some(provider) = &client.signing {
            let credential = self.ask("sign a link to", key, || provider.get_credential())?;
            return Ok(if credential.private_key.is_some() { SignedBy::Key } else { SignedBy::SignBlob });
        }
        Ok(SignedBy::Key)
    }

    /// When temporary credentials end, as who gave them said; `AWS_CREDENTIAL_EXPIRATION` speaks only of those in the
    /// environment.
    fn credentials_end(&self, token: &str) -> Option<Timestamp> {
        let said = self.client().end.get();
        let is_environments = || std::env::var("AWS_SESSION_TOKEN").is_ok_and(|environments| environments == token);
        said.or_else(|| std::env::var("AWS_CREDENTIAL_EXPIRATION").ok().filter(|_| is_environments())?.parse().ok())
    }
}

/// How long a link can work, and what ends it.
fn longest_link(signed_by: SignedBy, now: Timestamp) -> (Duration, &'static str) {
    const OF_SERVICE: (Duration, &str) = (WEEK, "the service signs for 7 days at most");
    match signed_by {
        SignedBy::Key => OF_SERVICE,
        SignedBy::SignBlob => (
            SIGN_BLOB,
            "Google guarantees signatures of signBlob for 12 hours; for longer links, use the key of a service account",
        ),
        // A link dies with the credentials that signed it.
        SignedBy::Temporary { end: Some(end) } => match Duration::try_from(end.duration_since(now)).unwrap_or_default()
        {
            left if left < WEEK => (left, "the credentials end then"),
            _ => OF_SERVICE,
        },
        SignedBy::Temporary { end: None } => (HOUR, "the credentials are temporary and do not say when they end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lives_no_longer_than_the_credentials_that_signed_it() {
        let now: Timestamp = "2026-03-05T00:00:00Z".parse().unwrap();
        let until = |text: &str| SignedBy::Temporary { end: Some(text.parse().unwrap()) };
        for (signed_by, longest, why) in [
            (SignedBy::Key, WEEK, "7 days"),
            (SignedBy::Temporary { end: None }, HOUR, "do not say when they end"),
            (until("2026-03-05T00:20:00Z"), HOUR / 3, "the credentials end then"),
            (until("2026-03-04T00:20:00Z"), Duration::ZERO, "the credentials end then"),
            (until("2027-03-05T00:20:00Z"), WEEK, "7 days"),
            (SignedBy::SignBlob, 12 * HOUR, "Google guarantees signatures of signBlob for 12 hours"),
        ] {
            let (length, reason) = longest_link(signed_by, now);
            assert!(length == longest && reason.contains(why), "{length:?} {reason}");
        }
    }
}
