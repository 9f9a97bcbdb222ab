//! Presigned links: read an object without credentials for a limited time.

use std::time::Duration;

use jiff::Timestamp;
use object_store::signer::Method;

use super::bucket::Bucket;
use super::error::Refusal;
use crate::store::location::Scheme;
use crate::store::{Link, StoreError};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

impl Bucket {
    /// A link that reads an object without credentials, for so long or as long as may be.
    pub(in crate::store) fn presign(&self, key: &str, expires_in: Duration) -> Result<Link, StoreError> {
        let path = self.path(key)?;
        let Some(signer) = &self.client().signer else {
            let answer = "a web server's objects have no presigned links".to_owned();
            return Err(StoreError::Remote { action: "sign", at: self.object(key), refusal: Refusal::Refused, answer });
        };
        let (token, now) = (self.session_token(key)?, Timestamp::now());
        let end = self.credentials_end(token.as_deref());
        let (longest, why) = longest_link(self.scheme(), token.is_some(), end, now);
        if let Some(end) = end.filter(|_| longest.is_zero()) {
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

    /// The mark of temporary credentials, wherever they come from: variables, a profile, web identity, a container, the
    /// instance.
    fn session_token(&self, key: &str) -> Result<Option<String>, StoreError> {
        let Some(provider) = &self.client().credentials else { return Ok(None) };
        let credentials = self.ask("sign a link to", key, || provider.get_credential())?;
        Ok(credentials.token.clone())
    }

    /// When they end, as who gave them said; `AWS_CREDENTIAL_EXPIRATION` speaks only of those in the environment.
    fn credentials_end(&self, token: Option<&str>) -> Option<Timestamp> {
        let said = self.client().end.get();
        let is_environments = || token.is_some() && std::env::var("AWS_SESSION_TOKEN").ok().as_deref() == token;
        said.or_else(|| std::env::var("AWS_CREDENTIAL_EXPIRATION").ok().filter(|_| is_environments())?.parse().ok())
    }
}

/// How long a link can work, and what ends it.
fn longest_link(
    scheme: Scheme,
    is_temporary: bool,
    end: Option<Timestamp>,
    now: Timestamp,
) -> (Duration, &'static str) {
    if scheme != Scheme::S3 || !is_temporary {
        return (WEEK, "the service signs for 7 days at most");
    }
    // A link dies with the credentials that signed it.
    match end.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default()) {
        Some(left) if left < WEEK => (left, "the credentials end then"),
        Some(_) => (WEEK, "the service signs for 7 days at most"),
        None => (HOUR, "the credentials are temporary and do not say when they end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lives_no_longer_than_the_credentials_that_signed_it() {
        let now: Timestamp = "2026-03-05T00:00:00Z".parse().unwrap();
        let end = |text: &str| Some(text.parse().unwrap());
        for (scheme, is_temporary, end, longest, why) in [
            (Scheme::S3, false, None, WEEK, "7 days"),
            (Scheme::S3, true, None, HOUR, "do not say when they end"),
            (Scheme::S3, true, end("2026-03-05T00:20:00Z"), HOUR / 3, "the credentials end then"),
            (Scheme::S3, true, end("2026-03-04T00:20:00Z"), Duration::ZERO, "the credentials end then"),
            (Scheme::S3, true, end("2027-03-05T00:20:00Z"), WEEK, "7 days"),
            (Scheme::Az, false, None, WEEK, "7 days"),
        ] {
            let (length, reason) = longest_link(scheme, is_temporary, end, now);
            assert!(length == longest && reason.contains(why), "{length:?} {reason}");
        }
    }
}
