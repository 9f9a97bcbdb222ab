//! Files of exports.
//!
//! A file is hashed while it is sent. Its last block is sent only if the digest is that of the manifest, so what a caller has
//! whole is what was exported. An answer that cannot be finished is cut off, which the caller sees by its length.

#![allow(unused_qualifications, reason = "utoipa's macros qualify the names of parameters")]

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::IntoParams;

use super::exports::{find, record_of};
use super::problems::{Conflict, KeyProblems, NoExport};
use super::{Caller, ExportId, blocking};
use crate::failure::chain;
use crate::jobs::JobRecord;
use crate::package::layout::{MANIFEST, REPORT, SHA256SUMS};
use crate::package::{Package, PackageFile};
use crate::service::Service;
use crate::service::identity::uuid_of;
use crate::service::keys::Right;
use crate::service::problem::Problem;
use crate::service::token::Claim;
use crate::stop::Stop;
use crate::store::Location;

/// Bytes of a block.
const BLOCK: usize = 64 << 10;

/// Blocks that wait for a slow caller.
const BLOCKS: usize = 2;

/// A caller who takes no block for this time is gone.
const STALLED: Duration = Duration::from_secs(60);

/// How long a link into a store is valid: as long as it takes to follow a redirect.
const LINK_LIFE: Duration = Duration::from_mins(5);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TokenQuery {
    /// `download_token` of the file.
    token: Option<String>,
}

/// Fetches a file. The last bytes are sent only if the SHA-256 of all is that of the manifest; otherwise the answer is cut
/// off.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}/files/{name}",
    tag = "exports",
    params(ExportId, ("name" = String, Path, description = "`name` of a file of the export; it may contain slashes"), TokenQuery),
    responses(
        (status = 200, description = "the file", content_type = "application/octet-stream", headers(("etag" = String))),
        (status = 206, description = "the part that `Range` asks for", content_type = "application/octet-stream"),
        (status = 304, description = "the file is that of `If-None-Match`"),
        (status = 307, description = "the file is at the link in `Location`"),
        (status = 403, description = "the key may not do this", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "the file was deleted when its retention ended", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "bytes that the file does not have", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json"),
        NoExport,
        Conflict,
    ),
)]
pub(super) async fn file(
    State(service): State<Arc<Service>>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<TokenQuery>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (Ok(Path((id, name))), Ok(Query(query))) = (path, query) else { return Err(refused()) };
    let permit = Arc::clone(&service.downloads).try_acquire_owned().map_err(|_| Problem::busy("downloads"))?;
    let opened = blocking(move || open(&service, &id, &name, query.token.as_deref())).await?;
    match opened {
        Opened::Elsewhere(url) => {
            let location =
                HeaderValue::from_str(&url).map_err(|_| Problem::internal("the store's link has no text"))?;
            Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response())
        }
        Opened::Here(package, file) => send(package, file, &method, &headers, permit),
    }
}

/// The same answer for every reason: who has no token learns nothing, not even what there is.
fn refused() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "the download token is not valid for this file; get a fresh one")
}

/// Where a file is.
enum Opened {
    /// At a link that the store has signed.
    Elsewhere(String),
    /// On this machine's disk.
    Here(Box<Package>, OwnedFile),
}

/// A file that a manifest lists.
struct OwnedFile {
    path: String,
    bytes: u64,
    sha256: String,
}

impl OwnedFile {
    fn listed(&self) -> PackageFile<'_> {
        PackageFile { path: &self.path, bytes: self.bytes, sha256: &self.sha256, rows: 0 }
    }
}

fn open(service: &Service, id: &str, name: &str, token: Option<&str>) -> Result<Opened, Problem> {
    let job = uuid::Uuid::try_parse(id).ok().or_else(|| uuid_of(id));
    let claim = Claim { job: job.ok_or_else(refused)?, file: name };
    let now = Timestamp::now();
    if !service.tokens.accept(claim, token.ok_or_else(refused)?, now) {
        return Err(refused());
    }
    let record = find(service, id)?.ok_or_else(refused)?;
    let package = package(service, &record, now)?;
    let gone = || Problem::new(StatusCode::GONE, "the file was deleted when its retention ended");
    let tombstone = package.tombstone().map_err(|error| Problem::internal(&chain(&error)))?;
    if tombstone.is_some() {
        return Err(gone());
    }
    let damaged = |error: &dyn std::error::Error| Problem::internal(&format!("{}: {}", record.id, chain(error)));
    let shards = package.shards().map_err(|error| damaged(&error))?;
    let file = shards.into_iter().chain(package.rejects()).find(|file| file.path == name);
    let file =
        file.map(|file| OwnedFile { path: file.path.to_owned(), bytes: file.bytes, sha256: file.sha256.to_owned() });
    let file = file.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "the export has no such file any more"))?;
    match package.folder.location() {
        Location::Local(_) => {
            // What can be known before the first byte is sent is an error of its own.
            package.open_file(&file.listed()).map_err(|error| damaged(&error))?;
            Ok(Opened::Here(Box::new(package), file))
        }
        Location::Object(_) => {
            Ok(Opened::Elsewhere(package.folder.presign(&file.path, LINK_LIFE)?.url.as_str().to_owned()))
        }
    }
}

fn package(service: &Service, record: &JobRecord, now: Timestamp) -> Result<Package, Problem> {
    let none = || Problem::new(StatusCode::CONFLICT, "the export has no files yet; wait until it has ended");
    let folder = service.jobs.package(record)?.ok_or_else(none)?;
    service.jobs.open_package(record, folder, now)?.ok_or_else(none)
}

/// The bytes of a file that are wanted: first, and first behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: u64,
    to: u64,
}

/// What a `Range` header asks for (RFC 9110, 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Part),
    /// Bytes that the file does not have.
    Unsatisfiable,
}

/// Several ranges, other units and what cannot be read are ignored, as the standard allows.
fn wanted(range: Option<&str>, bytes: u64) -> Wanted {
    let Some(range) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((from, to)) = range.split_once('-').filter(|_| !range.contains(',')) else { return Wanted::Whole };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than any file has bytes mean "to its end".
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, to) = (from.trim(), to.trim());
    let part = match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to || from >= bytes => Part { from, to: to.saturating_add(1).min(bytes) },
        (Some(from), None) if to.is_empty() => Part { from, to: bytes },
        (None, Some(last)) if from.is_empty() => Part { from: bytes.saturating_sub(last), to: bytes },
        _ => return Wanted::Whole,
    };
    if part.from < part.to { Wanted::Part(part) } else { Wanted::Unsatisfiable }
}

fn send(
    package: Box<Package>,
    file: OwnedFile,
    method: &Method,
    headers: &HeaderMap,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", file.sha256);
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let mut known = known.flat_map(|tags| tags.split(',')).map(str::trim);
    if known.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    // A part of another version than the caller has the rest of would be of no use. Only GET has parts.
    let is_same = text(header::IF_RANGE).is_none_or(|tag| tag.trim() == etag) && method == Method::GET;
    let (status, part) = match wanted(text(header::RANGE).filter(|_| is_same), file.bytes) {
        Wanted::Whole => (StatusCode::OK, Part { from: 0, to: file.bytes }),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => {
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the file does not have these bytes");
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{}", file.bytes))], problem).into_response());
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, part.to - part.from)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, etag)
        .header(header::CONTENT_DISPOSITION, disposition(&file.path));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{}", part.from, part.to.saturating_sub(1), file.bytes);
        response = response.header(header::CONTENT_RANGE, range);
    }
    let body = if method == Method::GET { stream(package, file, part, permit)? } else { Body::empty() };
    response.body(body).map_err(|error| Problem::internal(&error.to_string()))
}

/// The bytes of a part, read by a thread of their own: one that waits for a slow caller must not keep others waiting.
fn stream(package: Box<Package>, file: OwnedFile, part: Part, permit: OwnedSemaphorePermit) -> Result<Body, Problem> {
    let (sender, receiver) = mpsc::channel(BLOCKS);
    let sender = Blocks { sender, runtime: Handle::current() };
    let read = move || {
        let _permit = permit;
        if let Err(error) = read(&package, &file, part, &sender) {
            tracing::error!("{} of {} is cut off: {error}", file.path, package.manifest.id);
            // A caller who is gone needs not be told.
            sender.send(Err(error));
        }
    };
    let thread = std::thread::Builder::new().name("download".to_owned()).spawn(read);
    thread.map_err(|error| Problem::internal(&format!("no thread for a download: {error}")))?;
    let blocks = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    Ok(Body::from_stream(blocks))
}

/// Where blocks go.
struct Blocks {
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
    runtime: Handle,
}

impl Blocks {
    /// Whether the caller has taken it. One who takes nothing for [`STALLED`] counts as gone.
    fn send(&self, block: Result<Bytes, io::Error>) -> bool {
        self.runtime.block_on(self.sender.send_timeout(block, STALLED)).is_ok()
    }
}

/// Sends a part of a file, the last block only once the whole file is known to be what the manifest says. A part that does
/// not reach the end needs no more of the file than itself.
fn read(package: &Package, file: &OwnedFile, part: Part, blocks: &Blocks) -> Result<(), io::Error> {
    let listed = file.listed();
    let reader: Box<dyn Read + '_> = if part.to == file.bytes {
        Box::new(package.checked(listed, &Stop::default()).map_err(io::Error::other)?)
    } else {
        let reader = package.open_file(&listed).map_err(io::Error::other)?.into_reader();
        Box::new(reader.take(part.to))
    };
    let (mut reader, mut at) = (reader, 0u64);
    let mut held: Option<Bytes> = None;
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        // Also reads the end, at which the digest is compared.
        let n = reader.by_ref().take(BLOCK as u64).read_to_end(&mut block)? as u64;
        if n == 0 {
            break;
        }
        let skipped = part.from.saturating_sub(at).min(n);
        at += n;
        block.drain(..usize::try_from(skipped).unwrap_or(usize::MAX));
        if block.is_empty() {
            continue;
        }
        if let Some(held) = held.replace(block.into())
            && !blocks.send(Ok(held))
        {
            // The caller has gone.
            return Ok(());
        }
    }
    if at != part.to {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was"));
    }
    if let Some(held) = held {
        blocks.send(Ok(held));
    }
    Ok(())
}

/// The name that the caller's disk gets: the parts of the path joined, so that shards of several days do not collide.
fn disposition(path: &str) -> String {
    let name: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }).collect();
    format!("attachment; filename=\"{name}\"")
}

/// The manifest, as it is in the package.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}/manifest",
    tag = "exports",
    params(ExportId),
    responses(
        (status = 200, description = "as in the package", content_type = "application/json"),
        KeyProblems,
        NoExport,
        Conflict,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn manifest(
    State(service): State<Arc<Service>>,
    caller: Caller,
    ExportId(id): ExportId,
) -> Result<Response, Problem> {
    text(service, caller, id, MANIFEST, "application/json").await
}

/// The report, as it is in the package.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}/report",
    tag = "exports",
    params(ExportId),
    responses(
        (status = 200, description = "as in the package", content_type = "text/html"),
        KeyProblems,
        NoExport,
        Conflict,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn report(
    State(service): State<Arc<Service>>,
    caller: Caller,
    ExportId(id): ExportId,
) -> Result<Response, Problem> {
    text(service, caller, id, REPORT, "text/html; charset=utf-8").await
}

/// The digests of all files, as `sha256sum -c` reads them.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}/SHA256SUMS",
    tag = "exports",
    params(ExportId),
    responses(
        (status = 200, description = "as in the package", content_type = "text/plain"),
        KeyProblems,
        NoExport,
        Conflict,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn sums(
    State(service): State<Arc<Service>>,
    caller: Caller,
    ExportId(id): ExportId,
) -> Result<Response, Problem> {
    text(service, caller, id, SHA256SUMS, "text/plain; charset=utf-8").await
}

/// What a package says of itself.
async fn text(
    service: Arc<Service>,
    caller: Caller,
    id: String,
    name: &'static str,
    kind: &'static str,
) -> Result<Response, Problem> {
    caller.require(Right::Read)?;
    blocking(move || {
        let record = record_of(&service, &caller, &id)?;
        let package = package(&service, &record, Timestamp::now())?;
        let none = || Problem::new(StatusCode::CONFLICT, "the export has not ended yet");
        let bytes = package.folder.read(name)?.ok_or_else(none)?;
        // The report is a page of its own, and nothing else of the service's.
        let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";
        Ok::<_, Problem>(
            ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, policy)], bytes).into_response(),
        )
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        let part = |from, to| Wanted::Part(Part { from, to });
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 6)),
            ("bytes=2-", part(2, 10)),
            ("bytes=9-", part(9, 10)),
            ("bytes=2-99", part(2, 10)),
            ("bytes=0-99999999999999999999999", part(0, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-99", part(0, 10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=10-12", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("rows=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(range), 10), expected, "{range}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
        assert_eq!(wanted(Some("bytes=-1"), 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn a_name_for_a_disk_has_nothing_that_a_header_or_a_folder_is_made_of() {
        assert_eq!(
            disposition("data/2026-03-01/part-0000.csv"),
            "attachment; filename=\"data_2026-03-01_part-0000.csv\""
        );
        assert_eq!(disposition("data/\"\r\n/../ä"), "attachment; filename=\"data_____..__\"");
    }
}
