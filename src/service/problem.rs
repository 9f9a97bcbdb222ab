//! What went wrong with a request: problem details (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::failure::Failure;

/// The media type.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Seconds after which a store that did not answer may be asked again.
const RETRY_AFTER: u64 = 5;

/// Problem details (RFC 9457). They never say more than the caller may know.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `about:blank`: the status says it all.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The phrase of the status.
    title: &'static str,
    status: u16,
    /// What is wrong, and the way out.
    detail: String,
    /// Where and what, for 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Seconds.
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// What is wrong with one value of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// Where: `["body", "filters", "statuses", 0]`.
    pub(super) loc: Vec<Place>,
    /// What, and the way out.
    pub(super) msg: String,
}

/// A key or an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Place {
    Key(String),
    Index(usize),
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// For a caller that is too fast.
    pub(super) fn too_many(wait: Duration) -> Self {
        // The next whole second: sooner would be refused again.
        let retry_after = Some(wait.as_secs() + 1);
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "the API key's rate is exceeded") }
    }

    /// For a server that does as much as it may.
    pub(super) fn busy(with: &str) -> Self {
        let detail = format!("the server is busy with other {with}; try again");
        Self { retry_after: Some(RETRY_AFTER), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the request has mistakes; see `errors`") }
    }

    pub(super) fn invalid_field(loc: &[&str], msg: impl Into<String>) -> Self {
        let loc = loc.iter().map(|key| Place::Key((*key).to_owned())).collect();
        Self::invalid(vec![FieldError { loc, msg: msg.into() }])
    }

    /// Also for what belongs to others.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such export")
    }

    /// For a bug or a broken server. The reason is for its operator.
    pub(super) fn internal(why: &str) -> Self {
        tracing::error!("{why}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says why")
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        if !failure.code().is_retryable() {
            return Self::internal(&failure.to_string());
        }
        tracing::warn!("{failure}");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again");
        Self { retry_after: Some(RETRY_AFTER), ..problem }
    }
}

impl From<crate::store::StoreError> for Problem {
    fn from(error: crate::store::StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM);
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 wants callers to be told how to authenticate.
            let scheme = HeaderValue::from_static("ApiKey header=\"x-api-key\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
