//! The endpoints.

mod body;
mod exports;
mod files;
mod literal;
mod openapi;
mod problems;
mod request;
mod view;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::Service;
use super::keys::{ApiKey, Right};
use super::problem::Problem;

/// Bytes of the largest request body.
const MAX_BODY: usize = 1 << 20;

/// Where exports of any type are.
const EXPORTS: &str = "/v1/exports";

/// Where the audit log of knowledge bases is exported.
const KB_AUDIT: &str = "/v1/knowledge-base/audit/exports";

/// The API of a service.
pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .nest(EXPORTS, exports(post(exports::create).get(exports::list)))
        .nest(KB_AUDIT, exports(post(exports::create_kb_audit).get(exports::list_kb_audit)))
        .route("/openapi.json", get(openapi::document))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such endpoint"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the endpoint does not take this method; see `Allow`")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(protected))
        .with_state(service)
}

/// The endpoints of exports; they differ in which are created and listed.
fn exports(all: MethodRouter<Arc<Service>>) -> Router<Arc<Service>> {
    Router::new()
        .route("/", all)
        .route("/{id}", get(exports::show).delete(exports::delete))
        .route("/{id}/cancel", post(exports::cancel))
        .route("/{id}/files/{*name}", get(files::file))
        .route("/{id}/manifest", get(files::manifest))
        .route("/{id}/report", get(files::report))
        .route("/{id}/SHA256SUMS", get(files::sums))
}

/// Headers of every answer: exports are nobody else's, and no browser guesses what they are.
async fn protected(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "it does")))]
async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Whether the store answers.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses((status = 200, description = "it does"), (status = 503, description = "it does not", body = Problem, content_type = "application/problem+json")))]
async fn readyz(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    blocking(move || service.jobs.probe()).await?;
    Ok(Json(json!({"status": "ok"})))
}

/// A request with a valid key.
struct Caller(Arc<ApiKey>);

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "give a valid API key in the header `x-api-key`");
        let text = parts.headers.get("x-api-key").and_then(|key| key.to_str().ok()).ok_or_else(unknown)?;
        let key = service.keys.current().find(text, Timestamp::now()).cloned().ok_or_else(unknown)?;
        service.rates.count(&key).map_err(Problem::too_many)?;
        Ok(Self(key))
    }
}

/// An id in a path, as it was given.
#[derive(IntoParams)]
#[into_params(names("id"), parameter_in = Path)]
struct ExportId(
    /// `id` or `job_id`
    String,
);

impl<S: Send + Sync> FromRequestParts<S> for ExportId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found())
    }
}

impl Caller {
    fn require(&self, right: Right) -> Result<(), Problem> {
        if self.0.may.contains(&right) {
            return Ok(());
        }
        let word = crate::yaml::decode::Word::word(right);
        Err(Problem::new(StatusCode::FORBIDDEN, format!("the API key may not `{word}`")))
    }
}

/// Runs what waits for a disk or a store on a thread that may wait.
async fn blocking<T: Send + 'static, E: Into<Problem> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Problem::internal("a request has panicked; its message is above")),
    }
}
