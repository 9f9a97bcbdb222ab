//! Exports: created, listed, shown, cancelled, deleted.

#![allow(unused_qualifications, reason = "utoipa's macros qualify the names of parameters")]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::problems::{BodyProblems, Conflict, KeyProblems, Mistakes, NoExport};
use super::request::{KB_AUDIT_TYPE, NewExport, NewKbAuditExport, RequestSpec};
use super::view::{ExportView, Tokens};
use super::{Caller, ExportId, blocking};
use crate::diagnostic::{Diagnostic, SourceText};
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::jobs::{JobRecord, JobRequest, JobView, Prune, Requester, State as JobState, Which, prune_job};
use crate::query::check_syntax;
use crate::resolve::{CatalogText, Destination, Environment, read_spec, resolve_text};
use crate::service::Service;
use crate::service::identity::uuid_of;
use crate::service::keys::{ApiKey, Right};
use crate::service::problem::Problem;

/// Bytes of the longest `Idempotency-Key`.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// Jobs on a page if the caller does not say.
const PAGE: usize = 50;

/// Most jobs on a page.
const LARGEST_PAGE: usize = 500;

/// Creates an export of any type of the catalog.
#[utoipa::path(
    post,
    path = "/v1/exports",
    tag = "exports",
    params(("idempotency-key" = Option<String>, Header, description = "with `new`: asks for the same other job each time")),
    request_body = NewExport,
    responses(
        (status = 202, description = "the export", body = ExportView, headers(("location" = String))),
        KeyProblems,
        BodyProblems,
        Mistakes,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<NewExport>,
) -> Result<Response, Problem> {
    create_export(service, caller, &headers, request.spec()?).await
}

/// Creates an encrypted export of the audit log of knowledge bases. What follows is as for other exports, below this path or
/// `/v1/exports`.
#[utoipa::path(
    post,
    path = "/v1/knowledge-base/audit/exports",
    tag = "exports",
    params(("idempotency-key" = Option<String>, Header, description = "with `new`: asks for the same other job each time")),
    request_body = NewKbAuditExport,
    responses(
        (status = 202, description = "the export", body = ExportView, headers(("location" = String))),
        KeyProblems,
        BodyProblems,
        Mistakes,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn create_kb_audit(
    State(service): State<Arc<Service>>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<NewKbAuditExport>,
) -> Result<Response, Problem> {
    create_export(service, caller, &headers, request.spec()?).await
}

async fn create_export(
    service: Arc<Service>,
    caller: Caller,
    headers: &HeaderMap,
    mut request: RequestSpec,
) -> Result<Response, Problem> {
    caller.require(Right::Create)?;
    let repeated = headers.get("idempotency-key").map(|key| revision_of(&caller, key)).transpose()?;
    let which = match (request.is_new, repeated) {
        (false, _) => Which::First,
        (true, None) => Which::New,
        (true, Some(revision)) => Which::Revision(revision),
    };
    if !caller.0.has_type(&request.type_name) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the API key may not export this type"));
    }
    request.encrypt_to(&caller.0.encrypt_to)?;
    request.encrypt_to(&service.encrypt_to)?;
    if request.must_encrypt && !request.is_encrypted() {
        let msg = "this export is always encrypted, and neither the API key nor the server has age recipients: \
                   add `encrypt_to` to the key's entry in the keys file";
        return Err(Problem::invalid_field(&["body"], msg));
    }
    let view = blocking(move || requested(&service, &caller.0, &request, which)).await?;
    let location = view.location();
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Why a request gave no job.
enum Refused {
    Mistakes(Vec<Diagnostic>),
    Failed(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The revision that an `Idempotency-Key` stands for: half of the revisions, which are never counted up to, are for these. So
/// the same request with the same key is the same job on every replica, and nothing needs to be remembered.
fn revision_of(caller: &Caller, key: &HeaderValue) -> Result<u32, Problem> {
    let key = key.as_bytes();
    if !(1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        let msg = format!("use 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters");
        return Err(Problem::invalid_field(&["header", "idempotency-key"], msg));
    }
    let digest = Sha256::new().chain_update(caller.0.id.as_str()).chain_update([0]).chain_update(key).finalize();
    let four = digest.first_chunk().copied().unwrap_or_default();
    Ok(u32::from_be_bytes(four) | 1 << 31)
}

fn requested(service: &Service, key: &ApiKey, request: &RequestSpec, which: Which) -> Result<ExportView, Problem> {
    let environment = Environment { now: Timestamp::now(), ..service.environment.clone() };
    let catalog: Arc<SourceText> = read_spec(&service.catalog, &environment).map_err(|mistakes| {
        let why = mistakes.first().map_or("", |mistake| mistake.message.as_str());
        Problem::internal(&format!("the catalog cannot be read: {why}"))
    })?;
    let tenant = key.tenant().map(str::to_owned);
    let source = request.source();
    let job = |revision| {
        let store = service.jobs.location().clone();
        let destination = Destination::Store { store, revision, tenant: tenant.clone() };
        let catalog = CatalogText::Recorded(Some(catalog.clone()));
        let job = resolve_text(&source, &catalog, &destination, &environment).map_err(Refused::Mistakes)?;
        job.where_sql.as_ref().map_or(Ok(()), check_syntax).map_err(Refused::Mistakes)?;
        Ok(job)
    };
    let requester = Requester { key: key.id.as_str().to_owned(), tenant: tenant.clone() };
    let how = JobRequest { environment: &environment, git: None, requester: Some(requester), which };
    match service.jobs.request(&how, job) {
        Ok(requested) => ExportView::new(requested.view, None),
        Err(Refused::Mistakes(mistakes)) => Err(request.problem(&mistakes)),
        Err(Refused::Failed(failure)) => Err(failure.into()),
    }
}

/// What a list is of.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Only exports in this state.
    status: Option<JobState>,
    /// Only exports of this type.
    #[serde(rename = "type")]
    type_name: Option<String>,
    /// Most exports on a page; default: 50.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl From<QueryRejection> for Problem {
    fn from(error: QueryRejection) -> Self {
        Self::invalid_field(&["query"], error.body_text())
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportList)]
pub(super) struct Listed {
    /// Without their files.
    exports: Vec<ExportView>,
    /// Null on the last page.
    next_cursor: Option<String>,
}

/// Lists exports, newest first.
#[utoipa::path(
    get,
    path = "/v1/exports",
    tag = "exports",
    params(Listing),
    responses(
        (status = 200, description = "a page", body = Listed),
        KeyProblems,
        Mistakes,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Listed>, Problem> {
    listed(service, caller, listing?.0).await
}

/// Lists the exports of the audit log of knowledge bases, newest first.
#[utoipa::path(
    get,
    path = "/v1/knowledge-base/audit/exports",
    tag = "exports",
    params(Listing),
    responses(
        (status = 200, description = "a page", body = Listed),
        KeyProblems,
        Mistakes,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn list_kb_audit(
    State(service): State<Arc<Service>>,
    caller: Caller,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Listed>, Problem> {
    let Query(mut listing) = listing?;
    let type_name = listing.type_name.get_or_insert_with(|| KB_AUDIT_TYPE.to_owned());
    if type_name != KB_AUDIT_TYPE {
        let msg = format!("here are exports of `{KB_AUDIT_TYPE}` alone: leave it out, or ask `/v1/exports`");
        return Err(Problem::invalid_field(&["query", "type"], msg));
    }
    listed(service, caller, listing).await
}

async fn listed(service: Arc<Service>, caller: Caller, listing: Listing) -> Result<Json<Listed>, Problem> {
    caller.require(Right::Read)?;
    let limit = listing.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid_field(&["query", "limit"], format!("use 1 to {LARGEST_PAGE}")));
    }
    let after = listing.cursor.as_deref().map(position_of).transpose()?;
    blocking(move || {
        let listed = service.jobs.list(Timestamp::now())?;
        for passed_over in &listed.passed_over {
            tracing::warn!("{} is left out of the list: {}", passed_over.id, passed_over.why);
        }
        let is_shown = |view: &JobView| {
            is_callers(&caller, view.tenant.as_deref(), &view.type_name)
                && listing.status.is_none_or(|status| view.status == status)
                && listing.type_name.as_ref().is_none_or(|name| view.type_name == *name)
                && after.as_ref().is_none_or(|(at, id)| (view.created_at, id) < (*at, &view.id))
        };
        let mut views: Vec<_> = listed.views.into_iter().filter(is_shown).take(limit + 1).collect();
        let has_more = views.len() > limit;
        views.truncate(limit);
        let next_cursor = views.last().filter(|_| has_more).map(cursor_of);
        let exports = views.into_iter().map(|view| ExportView::new(view, None)).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, Problem>(Json(Listed { exports, next_cursor }))
    })
    .await
}

/// Lists are sorted by time, newest first, and then by id.
fn cursor_of(view: &JobView) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("{}|{}", view.created_at, view.id).as_bytes())
}

fn position_of(cursor: &str) -> Result<(Timestamp, String), Problem> {
    let parse = || {
        let text = String::from_utf8(data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()?;
        let (at, id) = text.split_once('|')?;
        Some((at.parse().ok()?, id.to_owned()))
    };
    let msg = "it is not a cursor: take `next_cursor` of the page before";
    parse().ok_or_else(|| Problem::invalid_field(&["query", "cursor"], msg))
}

/// Shows an export, with its files once it has some. Who may download gets a token for each.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}",
    tag = "exports",
    params(ExportId),
    responses(
        (status = 200, description = "the export", body = ExportView),
        KeyProblems,
        NoExport,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    ExportId(id): ExportId,
) -> Result<Json<ExportView>, Problem> {
    caller.require(Right::Read)?;
    blocking(move || {
        let record = record_of(&service, &caller, &id)?;
        let now = Timestamp::now();
        let view = service.jobs.get_recorded(record, now)?;
        let tokens = Tokens { keys: &service.tokens, now };
        let may_download = caller.0.may.contains(&Right::Download);
        ExportView::new(view, may_download.then_some(&tokens)).map(Json)
    })
    .await
}

/// Cancels an export. Committed partitions are kept.
#[utoipa::path(
    post,
    path = "/v1/exports/{id}/cancel",
    tag = "exports",
    params(ExportId),
    responses(
        (status = 200, description = "the export", body = ExportView),
        KeyProblems,
        NoExport,
        Conflict,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    ExportId(id): ExportId,
) -> Result<Json<ExportView>, Problem> {
    caller.require(Right::Create)?;
    blocking(move || {
        let record = record_of(&service, &caller, &id)?;
        let now = Timestamp::now();
        let view = service.jobs.view_recorded(record.clone(), now)?;
        if matches!(view.status, JobState::Complete | JobState::Expired) {
            let why = format!("the export is {} already", view.status);
            return Err(Problem::new(StatusCode::CONFLICT, why));
        }
        service.jobs.cancel(&record.id, now)?;
        ExportView::new(service.jobs.view_recorded(record, now)?, None).map(Json)
    })
    .await
}

/// Deletes the files of an export whose retention has ended. What it was stays on record.
#[utoipa::path(
    delete,
    path = "/v1/exports/{id}",
    tag = "exports",
    params(ExportId),
    responses(
        (status = 204, description = "the files are deleted"),
        KeyProblems,
        NoExport,
        Conflict,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    caller: Caller,
    ExportId(id): ExportId,
) -> Result<StatusCode, Problem> {
    caller.require(Right::Create)?;
    blocking(move || {
        let record = record_of(&service, &caller, &id)?;
        let now = Timestamp::now();
        let view = service.jobs.view_recorded(record, now)?;
        let conflict = |why: String| Problem::new(StatusCode::CONFLICT, why);
        match view.expires_at {
            _ if !view.status.is_settled() => {
                return Err(conflict(format!("the export is {}: cancel it first", view.status)));
            }
            None => return Err(conflict("the export has no `retention`, so it is kept".to_owned())),
            Some(at) if at > now => return Err(conflict(format!("the export is kept until {at}"))),
            Some(_) => {}
        }
        let how = Prune { until: now, now, env: &service.environment.env, is_dry: false };
        match prune_job(&service.jobs, &view, &how) {
            Ok(_) => Ok(StatusCode::NO_CONTENT),
            Err(failure) if failure.code() == ErrorCode::PackageOccupied => {
                Err(conflict("a run changed the export in the meantime; try again".to_owned()))
            }
            Err(failure) => Err(failure.into()),
        }
    })
    .await
}

/// The record of a job that the caller may know of, by either of its ids.
pub(super) fn record_of(service: &Service, caller: &Caller, id: &str) -> Result<JobRecord, Problem> {
    let record = find(service, id)?;
    let is_callers = |record: &JobRecord| is_callers(caller, record.tenant(), &record.type_name);
    record.filter(is_callers).ok_or_else(Problem::not_found)
}

/// The record of a job, by either of its ids.
pub(super) fn find(service: &Service, id: &str) -> Result<Option<JobRecord>, Problem> {
    let job_id = match uuid::Uuid::try_parse(id) {
        // Names of another form may be none that a store can have.
        Err(_) => uuid_of(id).map(|_| id.to_owned()),
        Ok(uuid) => service.jobs.ids()?.into_iter().find(|id| uuid_of(id) == Some(uuid)),
    };
    Ok(job_id.map(|id| service.jobs.record(&id)).transpose()?.flatten())
}

fn is_callers(caller: &Caller, tenant: Option<&str>, type_name: &str) -> bool {
    tenant == caller.0.tenant() && caller.0.has_type(type_name)
}
