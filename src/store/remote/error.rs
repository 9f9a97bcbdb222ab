//! Translates cloud responses into messages that say what to check and contain no secrets.

use std::error::Error as _;
use std::sync::LazyLock;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};
use regex::Regex;

use super::tries::Failed;
use crate::diagnostic::masked;
use crate::error::ErrorCode;
use crate::store::StoreError;

/// Why a store request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Invalid, expired or insufficient credentials.
    Denied,
    /// The request's time is too far from the store's clock.
    ClockSkewed,
    /// No credentials were found.
    NoCredentials,
    /// No such bucket or container.
    NoBucket,
    /// No such object.
    NoObject,
    /// The bucket is in another region.
    OtherRegion,
    /// Too many requests.
    Throttled,
    /// Another request about the same object is being handled.
    Busy,
    /// No response, or a temporary failure.
    Unreachable,
    /// A truncated or invalid response.
    Garbled,
    /// The object has to be restored from an archive before it can be read.
    Archived,
    /// The object has changed.
    Changed,
    /// The request was refused.
    Refused,
    /// What the environment or `options` say of the store cannot be used; nothing was asked.
    Settings,
}

impl Refusal {
    /// The error code.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Denied
            | Self::ClockSkewed
            | Self::NoCredentials
            | Self::OtherRegion
            | Self::Archived
            | Self::Refused
            | Self::Settings => ErrorCode::StoreDenied,
            Self::NoBucket | Self::NoObject => ErrorCode::StoreNotFound,
            Self::Throttled | Self::Busy => ErrorCode::StoreThrottled,
            Self::Unreachable | Self::Garbled => ErrorCode::StoreUnreachable,
            Self::Changed => ErrorCode::SourceChanged,
        }
    }

    /// What happened, and what to check.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::Denied => {
                "access denied: check that the credentials are right, not expired, and allowed to do this on this \
                 bucket"
            }
            Self::ClockSkewed => {
                "this machine's clock and the store's are too far apart for signatures: set this machine's clock (NTP)"
            }
            Self::NoCredentials => {
                "no credentials were found: set the cloud's usual variables (AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, AWS_PROFILE; AZURE_STORAGE_ACCOUNT_KEY; GOOGLE_APPLICATION_CREDENTIALS), or \
                 run where the machine has an identity"
            }
            Self::NoBucket => "the bucket does not exist: check its name, the account and the endpoint",
            Self::NoObject => "the object does not exist",
            Self::OtherRegion => {
                "the bucket is in another region: set AWS_REGION, or `region` in `options`, to the bucket's own"
            }
            Self::Throttled => "the store throttles requests, even after retries: run again later",
            Self::Busy => "another request about the same object is being handled, even after retries: run again later",
            Self::Unreachable => {
                "the store does not respond, even after retries: check the endpoint, the network and the proxy, and \
                 run again"
            }
            Self::Garbled => {
                "the store's responses are truncated or invalid, even after retries: check the endpoint, the \
                 network and the proxy, and run again"
            }
            Self::Archived => {
                "the object is in an archive (Glacier, Deep Archive, the archive tier) and cannot be read: restore it, \
                 move it to another storage class, or select the other objects with a glob, and run again"
            }
            Self::Changed => "the object has changed since it was listed",
            Self::Refused => "the store refuses the request",
            Self::Settings => "its settings in the environment or `options` are invalid",
        }
    }
}

/// What the environment or `options` say cannot be made into a client.
pub(super) fn settings_error(at: String, error: &object_store::Error) -> StoreError {
    StoreError::Remote { action: "connect to", at, refusal: Refusal::Settings, answer: answer(error) }
}

/// Puts what was tried where before the cloud's answer.
pub(super) fn store_error(action: &'static str, at: String, error: &object_store::Error) -> StoreError {
    StoreError::Remote { action, at, refusal: refusal(error), answer: answer(error) }
}

/// As [`store_error`], with how long it was tried.
pub(super) fn failure(action: &'static str, at: String, failed: &Failed) -> StoreError {
    let mut answer = answer(&failed.error);
    if failed.tries > 1 {
        answer = format!("{answer}; tried {} times in {} s", failed.tries, failed.time.as_secs());
    }
    StoreError::Remote { action, at, refusal: refusal(&failed.error), answer }
}

/// What is wrong with an answer that the client took for a good one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// None came.
    #[error("no answer within {} s", time.as_secs())]
    Silent {
        /// How long it was waited for.
        time: Duration,
    },
    /// Fewer bytes than the object has, or more.
    #[error("the answer has {got} bytes, the object {expected}")]
    Length {
        /// What came.
        got: u64,
        /// What should have come.
        expected: u64,
    },
    /// Two answers about different versions.
    #[error("the object was replaced while it was read")]
    Replaced,
    /// Neither ours nor another writer's.
    #[error("another creation of the object is under way")]
    Undecided,
    /// Something that is not what was asked for, such as a proxy's page.
    #[error("{what}")]
    Alien {
        /// What it is instead.
        what: &'static str,
    },
}

impl From<Broken> for object_store::Error {
    fn from(broken: Broken) -> Self {
        Self::Generic { store: "store", source: Box::new(broken) }
    }
}

/// Whether asking again may help: no answer, one that is cut short or garbled, or one that says "not now".
pub(super) fn is_passing(error: &object_store::Error) -> bool {
    if !matches!(error, object_store::Error::Generic { .. }) {
        return names(&said(&whole(error)), BUSY);
    }
    let text = whole(error);
    if names(&said(&text), &["builder error"]) {
        return false;
    }
    match status(&text) {
        Some(501 | 505) => false,
        Some(408 | 429 | 500..) => true,
        Some(_) => names(&said(&text), &["RequestTimeout", "SlowDown", "InternalError"]),
        None => is_garbled(error, &text) || transport(error) || names(&said(&text), PASSING),
    }
}

/// Codes of a 409 while another request about the same object is being handled.
const BUSY: &[&str] = &["ConditionalRequestConflict", "OperationAborted"];

/// Codes inside of answers with a good status.
const PASSING: &[&str] = &["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"];

/// Whether the answer is cut short, or is none of the store's. The client reports the latter only as text.
fn is_garbled(error: &object_store::Error, text: &str) -> bool {
    let broken = error.source().and_then(|source| source.downcast_ref::<Broken>());
    match broken {
        Some(Broken::Silent { .. }) => false,
        Some(_) => true,
        None => names(
            text,
            &[
                "Got invalid",
                "Header missing from response",
                "Unable to extract metadata from headers",
                "Invalid content length",
                "Invalid last modified",
                "Content-Range header not present",
                // An answer of status 200 to a range may be a proxy's that has lost the rest.
                "Received non-partial response",
                "response body",
            ],
        ),
    }
}

/// Whether it was left open who has a name that is taken.
pub(super) fn is_undecided(error: &object_store::Error) -> bool {
    matches!(error.source().and_then(|source| source.downcast_ref()), Some(Broken::Undecided))
}

/// Whether the store knows no such header or operation.
pub(super) fn is_unknown_operation(error: &object_store::Error) -> bool {
    use object_store::Error;
    matches!(error, Error::NotImplemented { .. } | Error::NotSupported { .. }) || status(&whole(error)) == Some(501)
}

fn names(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

/// The service's own code and message, where it gives them; keys and addresses in the rest may hold any word.
fn said(text: &str) -> String {
    XML.captures(text).and_then(|found| found.get(0)).map_or(text, |said| said.as_str()).to_owned()
}

/// What kind of answer it is.
pub(super) fn refusal(error: &object_store::Error) -> Refusal {
    use object_store::Error;
    let text = whole(error);
    let said = said(&text);
    let names = |words: &[&str]| names(&said, words);
    // Instance metadata is asked last, after everything that people set.
    if names(&["169.254.169.254", "metadata.google.internal", "169.254.170."]) {
        return Refusal::NoCredentials;
    }
    if names(&["builder error"]) {
        return Refusal::Settings;
    }
    // In the words of S3, Azure and Google.
    if names(&["RequestTimeTooSkewed", "Request date header too old", "in a reasonable timeframe"]) {
        return Refusal::ClockSkewed;
    }
    if names(&["NoSuchBucket", "ContainerNotFound", "specified bucket does not exist", "ContainerBeingDeleted"]) {
        return Refusal::NoBucket;
    }
    if names(&[
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraint",
        "incorrectly configured region",
    ]) {
        return Refusal::OtherRegion;
    }
    // S3 says it with 403, Azure with 409.
    if names(&["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"]) {
        return Refusal::Archived;
    }
    if is_undecided(error) || names(BUSY) {
        return Refusal::Busy;
    }
    match error {
        Error::NotFound { .. } => Refusal::NoObject,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Refusal::Denied,
        Error::Precondition { .. } | Error::NotModified { .. } => Refusal::Changed,
        _ if names(&["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed"]) => {
            Refusal::Denied
        }
        _ => match status(&text) {
            Some(429) => Refusal::Throttled,
            Some(503) => Refusal::Throttled,
            Some(501 | 505) => Refusal::Refused,
            Some(408 | 500..) => Refusal::Unreachable,
            Some(401 | 403) => Refusal::Denied,
            Some(_) => Refusal::Refused,
            None if names(PASSING) => Refusal::Unreachable,
            None if is_garbled(error, &text) => Refusal::Garbled,
            None if transport(error) => Refusal::Unreachable,
            None => Refusal::Refused,
        },
    }
}

/// Whether the request may have had no effect because it, or its answer, was lost on the way.
pub(super) fn transport(error: &object_store::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(Broken::Silent { .. }) = cause.downcast_ref::<Broken>() {
            return true;
        }
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            return http.kind() != HttpErrorKind::Unknown || http.source().is_some();
        }
        next = cause.source();
    }
    false
}

/// An error with all its causes; each cause once, because some errors repeat theirs.
fn whole(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[allow(clippy::expect_used, reason = "the patterns are constants, and a test compiles them")]
static STATUS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"status code: (\d{3})").expect("a constant pattern compiles"));
#[allow(clippy::expect_used, reason = "the patterns are constants, and a test compiles them")]
static QUERY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"([\w/])\?[^\s"'<>)]+"#).expect("a constant pattern compiles"));
#[allow(clippy::expect_used, reason = "the patterns are constants, and a test compiles them")]
static XML: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?").expect("a constant pattern compiles")
});

/// The HTTP status, which a client's error contains only in its text.
fn status(text: &str) -> Option<u16> {
    STATUS.captures(text)?.get(1)?.as_str().parse().ok()
}

/// The longest answer that is shown.
const ANSWER_CHARACTERS: usize = 400;

/// The cloud's own words: code and message where it gave them, else the error; never a query string, which may be a
/// signature, nor the user and password of a URL, which an endpoint or a proxy in the environment may have.
pub(super) fn answer(error: &object_store::Error) -> String {
    let text = whole(error);
    let told = XML.captures(&text).and_then(|found| {
        let code = found.get(1)?.as_str();
        Some(found.get(2).map_or(code.to_owned(), |message| format!("{code}: {}", message.as_str())))
    });
    let text = told.unwrap_or(text);
    let text = masked(&text);
    let text = QUERY.replace_all(&text, "$1?…");
    let mut text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = text.char_indices().nth(ANSWER_CHARACTERS) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn answers_are_told_apart() {
        let denied = object_store::Error::PermissionDenied { path: "x".into(), source: "no".into() };
        for (error, refusal, code) in [
            (denied, Refusal::Denied, ErrorCode::StoreDenied),
            (generic("status code: 503 <Code>SlowDown</Code>"), Refusal::Throttled, ErrorCode::StoreThrottled),
            (generic("status code: 500"), Refusal::Unreachable, ErrorCode::StoreUnreachable),
            (generic("status code: 404 <Code>NoSuchBucket</Code>"), Refusal::NoBucket, ErrorCode::StoreNotFound),
            (generic("status code: 301 PermanentRedirect"), Refusal::OtherRegion, ErrorCode::StoreDenied),
            (
                generic("error sending request to http://169.254.169.254/latest"),
                Refusal::NoCredentials,
                ErrorCode::StoreDenied,
            ),
            (
                generic("status code: 403 <Code>RequestTimeTooSkewed</Code>"),
                Refusal::ClockSkewed,
                ErrorCode::StoreDenied,
            ),
            (generic("status code: 400"), Refusal::Refused, ErrorCode::StoreDenied),
            (generic("status code: 501"), Refusal::Refused, ErrorCode::StoreDenied),
            (generic("status code: 403 <Code>InvalidObjectState</Code>"), Refusal::Archived, ErrorCode::StoreDenied),
            (generic("Got invalid list response: x"), Refusal::Garbled, ErrorCode::StoreUnreachable),
            (Broken::Length { got: 1, expected: 2 }.into(), Refusal::Garbled, ErrorCode::StoreUnreachable),
            (Broken::Undecided.into(), Refusal::Busy, ErrorCode::StoreThrottled),
            (
                object_store::Error::AlreadyExists {
                    path: "x".into(),
                    source: "status code: 409 <Code>OperationAborted</Code>".into(),
                },
                Refusal::Busy,
                ErrorCode::StoreThrottled,
            ),
        ] {
            assert_eq!(super::refusal(&error), refusal, "{error}");
            assert_eq!(refusal.code(), code);
        }
    }

    #[test]
    fn an_answer_is_short_and_holds_no_signature() {
        let text = answer(&generic("GET https://a.blob.core.windows.net/c/x?sv=1&sig=SECRET failed (and\n more)"));
        assert!(!text.contains("SECRET") && text.contains("c/x?… failed (and more)"), "{text}");
        let text = answer(&generic("GET https://bob:SECRET@host/b?list-type=2 via http://SECRET@proxy:1 failed"));
        assert!(text.ends_with("GET https://**********@host/b?… via http://******@proxy:1 failed"), "{text}");
        assert_eq!(answer(&generic("<?xml version=\"1.0\"?><Error><Code>SlowDown</Code></Error>")), "SlowDown");
        let xml = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><HostId>x</HostId></Error>";
        assert_eq!(answer(&generic(xml)), "AccessDenied: Access Denied");
        assert!(answer(&generic(&"x".repeat(9999))).chars().count() <= ANSWER_CHARACTERS + 1);
    }
}
