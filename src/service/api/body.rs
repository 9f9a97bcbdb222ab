//! Bodies of requests.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::service::problem::{FieldError, Place, Problem};

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON object.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "send JSON with `content-type: application/json`"));
        }
        let bytes = tokio::time::timeout(BODY_TIMEOUT, axum::body::Bytes::from_request(request, state)).await;
        let bytes = bytes.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long"))?;
        let bytes = bytes.map_err(|error| match error.status() {
            status @ StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "a request may have 1 MiB"),
            _ => Problem::new(StatusCode::BAD_REQUEST, "the request was cut off"),
        })?;
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A list of values without names would be accepted, too.
    if bytes.trim_ascii_start().first().is_some_and(|b| *b == b'[') {
        return Err(Problem::invalid_field(&["body"], "it must be an object, found a list"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let loc = std::iter::once(Place::Key("body".to_owned())).chain(error.path().iter().filter_map(place)).collect();
        // The position is that of the text, which `loc` says better.
        let why = error.inner().to_string();
        let msg = if error.inner().is_data() { without_position(&why).to_owned() } else { format!("not JSON: {why}") };
        Problem::invalid(vec![FieldError { loc, msg }])
    })?;
    json.end().map_err(|error| Problem::invalid_field(&["body"], format!("not JSON: {error}")))?;
    Ok(parsed)
}

fn place(segment: &serde_path_to_error::Segment) -> Option<Place> {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => Some(Place::Index(*index)),
        Segment::Map { key } => Some(Place::Key(key.clone())),
        Segment::Enum { variant } => Some(Place::Key(variant.clone())),
        Segment::Unknown => None,
    }
}

fn without_position(why: &str) -> &str {
    why.rsplit_once(" at line ").map_or(why, |(why, _)| why)
}
