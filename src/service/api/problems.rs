//! Problems that several endpoints have in common, for their descriptions.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

/// Of every endpoint that wants a key.
pub(super) struct KeyProblems;

/// Of endpoints that take a body.
pub(super) struct BodyProblems;

/// Of endpoints that take values.
pub(super) struct Mistakes;

/// Of endpoints of one export.
pub(super) struct NoExport;

/// Of endpoints that want an export in some state.
pub(super) struct Conflict;

impl IntoResponses for KeyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (401, "without a valid API key"),
            (403, "the key may not do this"),
            (429, "the rate of the key is exceeded"),
            (503, "the store does not answer"),
        ])
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(413, "a body over 1 MiB"), (415, "a body that is not JSON")])
    }
}

impl IntoResponses for Mistakes {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(422, "mistakes in the request")])
    }
}

impl IntoResponses for NoExport {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(404, "no such export, or it is not yours")])
    }
}

impl IntoResponses for Conflict {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(409, "the export is not in a state for this")])
    }
}

fn problems(statuses: &[(u16, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |(status, description): &(u16, &str)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(*description).content("application/problem+json", content);
        (status.to_string(), response.build().into())
    };
    statuses.iter().map(problem).collect()
}
