//! A job as the API shows it.

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::EXPORTS;
use crate::error::ErrorCode;
use crate::export_format::ExportFormat;
use crate::jobs::{JobView, State};
use crate::package::manifest::FileStatus;
use crate::service::identity::uuid_of;
use crate::service::problem::Problem;
use crate::service::token::{Claim, TokenKeys};

/// How long a download token is valid.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(15);

/// What stays as it is in a URL's path (RFC 3986), and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// An export.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
pub(super) struct ExportView {
    /// Of version 8, from the digest of what was asked for.
    pub(super) id: Uuid,
    /// The same, as jobs are called on the command line.
    pub(super) job_id: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    name: String,
    status: State,
    export_format: ExportFormat,
    created_at: Timestamp,
    window_start: Timestamp,
    window_end: Timestamp,
    started_at: Option<Timestamp>,
    finalized_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    total_rows: Option<u64>,
    partial_count: Option<u64>,
    failed_count: Option<u64>,
    /// `kt-export explain` says what it means.
    #[schema(value_type = Option<String>)]
    error_code: Option<ErrorCode>,
    #[schema(value_type = Object)]
    filters: Value,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    where_sql: Option<String>,
    /// Only of a single export, and only once it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<FileView>>,
}

/// A shard.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportFile)]
struct FileView {
    /// In the package.
    name: String,
    partition: String,
    status: FileStatus,
    rows: u64,
    bytes: u64,
    sha256: Option<String>,
    #[serde(flatten)]
    download: Option<DownloadView>,
}

/// How to fetch a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Download)]
struct DownloadView {
    download_url: String,
    download_token: String,
    token_expires_at: Timestamp,
}

/// Makes tokens for the files of a job.
pub(super) struct Tokens<'a> {
    pub(super) keys: &'a TokenKeys,
    pub(super) now: Timestamp,
}

impl ExportView {
    /// With tokens for those who may download.
    pub(super) fn new(view: JobView, tokens: Option<&Tokens<'_>>) -> Result<Self, Problem> {
        let id = uuid_of(&view.id).ok_or_else(|| Problem::internal(&format!("{} is no job id", view.id)))?;
        let has_shards = view.status != State::Expired;
        let files = view.files.map(|files| {
            let file = |file: crate::package::manifest::FileEntry| {
                let tokens = tokens.filter(|_| file.status.has_file() && has_shards);
                let download = tokens.map(|tokens| tokens.download(id, &file.path)).transpose()?;
                Ok(FileView {
                    name: file.path,
                    partition: file.partition.label,
                    status: file.status,
                    rows: file.rows,
                    bytes: file.bytes,
                    sha256: file.sha256,
                    download,
                })
            };
            files.into_iter().map(file).collect::<Result<Vec<_>, Problem>>()
        });
        Ok(Self {
            id,
            job_id: view.id,
            type_name: view.type_name,
            name: view.name,
            status: view.status,
            export_format: view.export_format,
            created_at: view.created_at,
            window_start: view.window_start,
            window_end: view.window_end,
            started_at: view.started_at,
            finalized_at: view.finalized_at,
            expires_at: view.expires_at,
            total_rows: view.total_rows,
            partial_count: view.partial_count,
            failed_count: view.failed_count,
            error_code: view.error_code,
            filters: view.filters,
            where_sql: view.where_sql,
            files: files.transpose()?,
        })
    }

    pub(super) fn location(&self) -> String {
        format!("{EXPORTS}/{}", self.id)
    }
}

impl Tokens<'_> {
    fn download(&self, id: Uuid, file: &str) -> Result<DownloadView, Problem> {
        let whole_second = Timestamp::from_second(self.now.as_second());
        let expires_at = whole_second.and_then(|now| now.checked_add(TOKEN_LIFE));
        let expires_at = expires_at.map_err(|error| Problem::internal(&format!("the clock is wrong: {error}")))?;
        let token = self.keys.issue(Claim { job: id, file }, expires_at);
        let token = token.ok_or_else(|| Problem::internal("the clock is before 1970"))?;
        let path = utf8_percent_encode(file, PATH);
        Ok(DownloadView {
            download_url: format!("{EXPORTS}/{id}/files/{path}?token={token}"),
            download_token: token,
            token_expires_at: expires_at,
        })
    }
}
