//! `jobs` and its commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{IdentityArgs, ResourceArgs, key_value};
use crate::jobs::State;
use crate::units::parse_duration;

/// `jobs`.
#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: JobsCommand,
}

/// Location of the job store.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Job store: a folder, or an s3:// gs:// az:// prefix.
    #[arg(long, value_name = "URI", env = "KT_EXPORT_STORE", default_value = "./.kt-export")]
    pub store: String,
}

/// The commands of `jobs`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// Create an export job; prints its id at once and exports in the background.
    Create(Box<JobsCreateArgs>),
    /// List jobs, newest first.
    List(JobsListArgs),
    /// Show a job: status, configuration, shards.
    Get(JobsGetArgs),
    /// Download a job's rows as one verified file, or its shards as a package; or print links to the shards.
    Download(JobsDownloadArgs),
    /// Cancel a job; committed partitions are kept.
    Cancel(JobsIdArgs),
    /// Run queued and abandoned jobs until none are left.
    Work(JobsWorkArgs),
    /// Delete shards past their retention and unfinished uploads of dead runs. Without `--yes`, only lists them.
    Prune(JobsPruneArgs),
}

/// `jobs create`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["type_name", "spec"])))]
pub(crate) struct JobsCreateArgs {
    /// Export type: events, traces, escalations, audit-log, kb-audit, or a type from the catalog.
    #[arg(long = "type", value_name = "TYPE")]
    pub type_name: Option<String>,
    /// A spec file instead of the flags; its `output.uri` is ignored.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "name", "format", "compression", "partition_by", "retention", "date_from", "date_to", "start", "end", "timezone",
        "allow_open", "catalog", "kb_ids", "statuses", "actor_user_id", "session_id", "filter", "where_sql",
        "encrypt_to",
    ])]
    pub spec: Option<PathBuf>,
    /// Name of the job; default: its type.
    #[arg(long)]
    pub name: Option<String>,
    /// csv, ndjson, json or parquet; default: csv.
    #[arg(long)]
    pub format: Option<String>,
    /// zstd, gzip or none (Parquet: also snappy, lz4); default: zstd.
    #[arg(long)]
    pub compression: Option<String>,
    /// Calendar unit of a partition; default: day.
    #[arg(long, value_name = "UNIT")]
    pub partition_by: Option<String>,
    /// First day of the window.
    #[arg(long, value_name = "DATE", requires = "date_to", conflicts_with_all = ["start", "end"])]
    pub date_from: Option<String>,
    /// Last day of the window, inclusive.
    #[arg(long, value_name = "DATE", requires = "date_from")]
    pub date_to: Option<String>,
    /// Start of the window, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "end")]
    pub start: Option<String>,
    /// End of the window, exclusive, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "start")]
    pub end: Option<String>,
    /// Time zone of the days, as an IANA name; default: UTC.
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Allow a window that has not ended yet.
    #[arg(long)]
    pub allow_open: bool,
    /// The catalog; default: the nearest catalog.yaml.
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<String>,
    /// Only these knowledge bases, separated by commas.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub kb_ids: Vec<String>,
    /// Only these statuses, separated by commas.
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub statuses: Vec<String>,
    /// Only rows of this acting user.
    #[arg(long, value_name = "ID")]
    pub actor_user_id: Option<String>,
    /// Only rows of this session.
    #[arg(long, value_name = "ID")]
    pub session_id: Option<String>,
    /// Another filter. Numbers, true, false and quoted strings are read as JSON, anything else as text. Repeat the flag
    /// to match any of several values.
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value)]
    pub filter: Vec<(String, String)>,
    /// One SQL condition over source columns.
    #[arg(long = "where", value_name = "SQL")]
    pub where_sql: Option<String>,
    /// How long to keep the package, such as 400d.
    #[arg(long, value_name = "DURATION")]
    pub retention: Option<String>,
    /// Encrypt shards and rejects to this age public key; may be repeated.
    #[arg(long, value_name = "RECIPIENT")]
    pub encrypt_to: Vec<String>,
    /// Create a new job even if an identical one exists.
    #[arg(long)]
    pub new: bool,
    /// Wait for the job to end and show its progress; exits with the job's exit code.
    #[arg(long, conflicts_with = "queue_only")]
    pub wait: bool,
    /// Only queue the job, for `jobs work` to run.
    #[arg(long)]
    pub queue_only: bool,
    /// The time that relative windows are based on, RFC 3339; default: now.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    /// Set a variable that the spec declares; may be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = key_value)]
    pub vars: Vec<(String, String)>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// `jobs list`.
#[derive(Debug, Args)]
pub(crate) struct JobsListArgs {
    /// Only jobs of this status.
    #[arg(long, value_name = "STATUS", value_parser = state)]
    pub status: Option<State>,
    /// Only jobs of this export type.
    #[arg(long = "type", value_name = "TYPE")]
    pub type_name: Option<String>,
    /// Show at most N jobs.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
}

/// `jobs get`.
#[derive(Debug, Args)]
pub(crate) struct JobsGetArgs {
    /// The job.
    #[arg(long, value_name = "JOB_ID")]
    pub id: String,
    /// Wait until the job has ended; exits with the job's exit code.
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
}

/// `jobs cancel`.
#[derive(Debug, Args)]
pub(crate) struct JobsIdArgs {
    /// The job.
    #[arg(long, value_name = "JOB_ID")]
    pub id: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
}

/// `jobs download`.
#[derive(Debug, Args)]
pub(crate) struct JobsDownloadArgs {
    /// The job.
    #[arg(long, value_name = "JOB_ID")]
    pub id: String,
    /// File for all rows, or a folder for a file named after the job. With --shards: a folder.
    #[arg(long, short, value_name = "FILE|DIR", required_unless_present = "url")]
    pub output: Option<PathBuf>,
    /// Download the shards as separate files: the whole package with manifest and digests.
    #[arg(long, conflicts_with_all = ["url", "identity"])]
    pub shards: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub identities: IdentityArgs,
    /// Print presigned links to the shards instead of downloading them.
    #[arg(long, conflicts_with_all = ["output", "identity"])]
    pub url: bool,
    /// How long the links stay valid, such as 1h; the store and the credentials may set a lower limit.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = positive_duration, requires = "url")]
    pub expires: std::time::Duration,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
}

/// `jobs work`.
#[derive(Debug, Args)]
pub(crate) struct JobsWorkArgs {
    /// Run only this job, whatever its state.
    #[arg(long, value_name = "JOB_ID")]
    pub id: Option<String>,
    /// Keep waiting for jobs until a signal arrives.
    #[arg(long, conflicts_with = "id")]
    pub follow: bool,
    /// Detach from the terminal and use this run id.
    #[arg(long, hide = true, requires = "id", value_name = "RUN_ID")]
    pub detached: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// `jobs prune`.
#[derive(Debug, Args)]
pub(crate) struct JobsPruneArgs {
    /// Delete instead of only listing.
    #[arg(long)]
    pub yes: bool,
    /// The time at which retention is evaluated, RFC 3339; default: now.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
}

fn state(text: &str) -> Result<State, String> {
    let found = State::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| format!("one of {}", State::ALL.map(State::as_str).join(", ")))
}

pub(super) fn positive_duration(text: &str) -> Result<std::time::Duration, String> {
    let duration = parse_duration(text).map_err(|e| e.to_string())?;
    std::time::Duration::try_from(duration)
        .ok()
        .filter(|d| !d.is_zero())
        .ok_or_else(|| "must be longer than zero".to_owned())
}
