//! `jobs` and its commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{IdentityArgs, ResourceArgs, key_value};
use crate::jobs::State;
use crate::units::parse_duration;

/// `jobs`.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: JobsCommand,
}

/// Where jobs are.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store of jobs: a folder, or an s3:// gs:// az:// prefix.
    #[arg(long, value_name = "URI", env = "KT_EXPORT_STORE", default_value = "./.kt-export")]
    pub store: String,
}

/// The commands of `jobs`.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Ask for an export; prints the job's id at once and exports in the background.
    Create(Box<JobsCreateArgs>),
    /// List jobs, newest first.
    List(JobsListArgs),
    /// Show a job: status, configuration, shards.
    Get(JobsGetArgs),
    /// Bring a job's rows here as one file, or its shards as a package, verified; or print links to them.
    Download(JobsDownloadArgs),
    /// Ask that nobody work on a job; what is committed stays.
    Cancel(JobsIdArgs),
    /// Work on queued and abandoned jobs until none is left.
    Work(JobsWorkArgs),
    /// Delete shards whose retention is over, and uploads that dead runs left. Shows what would go; `--yes` does it.
    Prune(JobsPruneArgs),
}

/// `jobs create`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["type_name", "spec"])))]
pub struct JobsCreateArgs {
    /// Export type: events, traces, escalations, audit-log, kb-audit, or one of the catalog's.
    #[arg(long = "type", value_name = "TYPE")]
    pub type_name: Option<String>,
    /// A spec file that says everything; its `output.uri` does not count.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "name", "format", "compression", "partition_by", "retention", "date_from", "date_to", "start", "end", "timezone",
        "allow_open", "catalog", "kb_ids", "statuses", "actor_user_id", "session_id", "filter", "where_sql",
        "encrypt_to",
    ])]
    pub spec: Option<PathBuf>,
    /// The job's name; default: its type.
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
    /// First day.
    #[arg(long, value_name = "DATE", requires = "date_to", conflicts_with_all = ["start", "end"])]
    pub date_from: Option<String>,
    /// Last day, included.
    #[arg(long, value_name = "DATE", requires = "date_from")]
    pub date_to: Option<String>,
    /// First instant, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "end")]
    pub start: Option<String>,
    /// First instant after, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "start")]
    pub end: Option<String>,
    /// Zone of days, IANA name; default: UTC.
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Take a window that is not over yet.
    #[arg(long)]
    pub allow_open: bool,
    /// The catalog; default: the nearest catalog.yaml.
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<String>,
    /// Knowledge bases, separated by commas.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub kb_ids: Vec<String>,
    /// Statuses, separated by commas.
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub statuses: Vec<String>,
    /// The acting user.
    #[arg(long, value_name = "ID")]
    pub actor_user_id: Option<String>,
    /// The session.
    #[arg(long, value_name = "ID")]
    pub session_id: Option<String>,
    /// Another filter; numbers, true, false and quoted text as in JSON, all else is text. Twice: one of the values.
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value)]
    pub filter: Vec<(String, String)>,
    /// One SQL condition over source columns.
    #[arg(long = "where", value_name = "SQL")]
    pub where_sql: Option<String>,
    /// How long the package is kept, such as 400d.
    #[arg(long, value_name = "DURATION")]
    pub retention: Option<String>,
    /// Encrypt shards and rejects to this age public key; may be given several times.
    #[arg(long, value_name = "RECIPIENT")]
    pub encrypt_to: Vec<String>,
    /// Another job, even if the same one is there.
    #[arg(long)]
    pub new: bool,
    /// Follow the job to its end, with progress; the exit code is the job's.
    #[arg(long, conflicts_with = "queue_only")]
    pub wait: bool,
    /// Leave the work to `jobs work`.
    #[arg(long)]
    pub queue_only: bool,
    /// The instant that relative windows count from, RFC 3339; default: the clock.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    /// Value of a variable that the spec declares.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = key_value)]
    pub vars: Vec<(String, String)>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub resources: ResourceArgs,
}

/// `jobs list`.
#[derive(Debug, Args)]
pub struct JobsListArgs {
    /// Only jobs of this status.
    #[arg(long, value_name = "STATUS", value_parser = state)]
    pub status: Option<State>,
    /// Only jobs of this export type.
    #[arg(long = "type", value_name = "TYPE")]
    pub type_name: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
}

/// `jobs get`.
#[derive(Debug, Args)]
pub struct JobsGetArgs {
    /// The job.
    #[arg(long, value_name = "JOB_ID")]
    pub id: String,
    /// Look again until the job has ended; the exit code is the job's.
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
}

/// `jobs cancel`.
#[derive(Debug, Args)]
pub struct JobsIdArgs {
    /// The job.
    #[arg(long, value_name = "JOB_ID")]
    pub id: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
}

/// `jobs download`.
#[derive(Debug, Args)]
pub struct JobsDownloadArgs {
    /// The job.
    #[arg(long, value_name = "JOB_ID")]
    pub id: String,
    /// File for all rows; in a folder it is called after the job. With --shards a folder.
    #[arg(long, short, value_name = "FILE|DIR", required_unless_present = "url")]
    pub output: Option<PathBuf>,
    /// Keep the shards apart: the package as it is, manifest and digests included.
    #[arg(long, conflicts_with_all = ["url", "identity"])]
    pub shards: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub identities: IdentityArgs,
    /// Print presigned links to the shards instead.
    #[arg(long, conflicts_with_all = ["output", "identity"])]
    pub url: bool,
    /// How long the links work, such as 1h; at most what the service and the credentials allow.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = positive_duration, requires = "url")]
    pub expires: std::time::Duration,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
}

/// `jobs work`.
#[derive(Debug, Args)]
pub struct JobsWorkArgs {
    /// Only this job, whatever its state.
    #[arg(long, value_name = "JOB_ID")]
    pub id: Option<String>,
    /// Go on looking for jobs until a signal comes.
    #[arg(long, conflicts_with = "id")]
    pub follow: bool,
    /// Leave the terminal that started this process, and be the run of this name.
    #[arg(long, hide = true, requires = "id", value_name = "RUN_ID")]
    pub detached: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub resources: ResourceArgs,
}

/// `jobs prune`.
#[derive(Debug, Args)]
pub struct JobsPruneArgs {
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// The instant that retention is measured at, RFC 3339; default: the clock.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,
}

fn state(text: &str) -> Result<State, String> {
    let found = State::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| format!("one of {}", State::ALL.map(State::as_str).join(", ")))
}

fn positive_duration(text: &str) -> Result<std::time::Duration, String> {
    let duration = parse_duration(text).map_err(|e| e.to_string())?;
    std::time::Duration::try_from(duration)
        .ok()
        .filter(|d| !d.is_zero())
        .ok_or_else(|| "it must be more than nothing".to_owned())
}
