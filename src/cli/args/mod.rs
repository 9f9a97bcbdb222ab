//! The command line as typed. Doc comments become the help texts.

mod jobs;
mod packages;
mod service;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::proposal::is_type_name;
use crate::run::memory::{LEAST, Memory};
use crate::units::parse_bytes;

pub(super) use jobs::{
    JobsArgs, JobsCommand, JobsCreateArgs, JobsDownloadArgs, JobsGetArgs, JobsIdArgs, JobsListArgs, JobsPruneArgs,
    JobsWorkArgs, StoreArgs,
};
pub(super) use packages::{
    CoverageArgs, DecryptArgs, IdentityArgs, KeyArgs, PackArgs, ReportArgs, ReportFormat, ReproduceArgs, SampleArgs,
    VerifyArgs,
};
pub(super) use service::{KeysArgs, KeysCommand, KeysFileArgs, KeysNewArgs, KeysRevokeArgs, ServeArgs};

/// Declarative batch exporter for compliance evidence.
///
/// An export spec says what to export; `run` fills a package of shards with a manifest that accounts for every
/// row of the source; `verify` checks a package offline.
#[derive(Debug, Parser)]
#[command(name = "kt-export", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(super) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Output options.
    #[command(flatten)]
    pub output: OutputArgs,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  complete
  1  internal error (a bug)
  2  error in the command line, a spec or a catalog
  3  partial: some partitions failed, rows were rejected or an expectation does not hold; see the manifest
  4  failed: no partition is usable, or the whole run failed
  5  verification failed
  6  try again later: the window has not ended or settled, or a store throttles or does not respond
  130, 143  stopped by a signal, resumable";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a starter catalog, spec and CI workflow.
    Init(InitArgs),
    /// Look at files and propose a catalog entry that reads them: format, dialect, envelope, time column, columns.
    Inspect(InspectArgs),
    /// Check specs and catalogs without reading data.
    Validate(ValidateArgs),
    /// Preflight check: can these specs run? Checks source, columns, output, disk and clock; leaves nothing behind.
    Doctor(DoctorArgs),
    /// Show what a run would do: window, partitions, tasks, files, bytes. Writes nothing.
    Plan(PlanArgs),
    /// Run specs: export their packages, or resume an earlier run.
    Run(RunArgs),
    /// Verify packages: sizes, digests, row conservation, signature, chain, unexpected files.
    Verify(VerifyArgs),
    /// Render a package's manifest as a self-contained HTML page or as Markdown.
    Report(ReportArgs),
    /// Decrypt age-encrypted files such as shards and rejects; equivalent to `age -d`.
    Decrypt(DecryptArgs),
    /// Run a recorded job against its source again and compare every shard.
    Reproduce(ReproduceArgs),
    /// Show which times a set of packages covers: gaps, overlaps, packages that fail verification.
    Coverage(CoverageArgs),
    /// Draw a reproducible random sample of rows, each with its shard and position, to check by hand.
    Sample(SampleArgs),
    /// Pack a package into one tar file for an auditor, with instructions to verify it without kt-export.
    Pack(PackArgs),
    /// Manage export jobs: create, list, get, download, cancel, work, prune.
    Jobs(JobsArgs),
    /// Serve the exports API over HTTP, and run its jobs.
    Serve(Box<ServeArgs>),
    /// Manage API keys of the service: new, list, revoke.
    Keys(KeysArgs),
    /// Explain an error code: cause, remedy, and whether to retry.
    Explain(ExplainArgs),
    /// Print the JSON Schema of specs, catalogs or manifests.
    Schema(SchemaArgs),
    /// Print shell completions.
    Completions(CompletionsArgs),
}

/// Output options.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Print one versioned JSON object on stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// Use colors on stderr.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// Print more on stderr; repeat for debug output.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print only errors on stderr.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Format of log lines on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// `auto` depends on whether stderr is a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// Only on a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Inputs of the window, the templates and the output location.
#[derive(Debug, Args)]
pub(super) struct SpecArgs {
    /// The time that relative windows are based on, RFC 3339; default: now.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    /// Set a variable that the spec declares; may be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = key_value)]
    pub vars: Vec<(String, String)>,
    /// Folder, or s3:// gs:// az:// prefix, that a relative `output.uri` is resolved against; default: the current
    /// folder.
    #[arg(long, value_name = "URI")]
    pub output: Option<String>,
}

/// Resource limits.
#[derive(Debug, Clone, Args)]
pub(super) struct ResourceArgs {
    /// Number of worker threads; default: one per processor.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Memory limit, such as 512MiB; default: a quarter of the machine's memory or of the container's limit.
    #[arg(long, value_name = "SIZE", env = "KT_EXPORT_MEMORY", value_parser = memory)]
    pub memory: Option<Memory>,
}

/// `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Folder to write to; default: the current folder.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Files to describe in the catalog and to export with the first spec, as `inspect` does: a file, folder, glob, or
    /// s3:// gs:// az:// URI.
    #[arg(long, value_name = "SOURCE")]
    pub from: Option<String>,
    /// Name of the type, with `--from`; default: from the name of the folder or file.
    #[arg(long = "type", value_name = "TYPE", requires = "from", value_parser = type_name)]
    pub type_name: Option<String>,
}

/// `inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A file, folder (with everything below it), glob, or s3:// gs:// az:// URI. The beginning of a few files is read.
    pub source: String,
    /// Name of the type; default: from the name of the folder or file.
    #[arg(long = "type", value_name = "TYPE", value_parser = type_name)]
    pub type_name: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// `validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Spec and catalog files, or folders of them.
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,
    /// Format of the findings.
    #[arg(long, value_enum, default_value_t = ValidateFormat::Text)]
    pub format: ValidateFormat,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub spec: SpecArgs,
}

/// Format of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ValidateFormat {
    /// For people, on stderr.
    Text,
    /// One JSON object.
    Json,
    /// GitHub workflow annotations.
    Github,
}

/// `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Spec files, or folders of them.
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,
    /// Inspect every row of the source, as a run does. Without it: all Parquet footers, and the start of the newest
    /// other files.
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Format of the plan.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// Format of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanFormat {
    /// A table.
    Text,
    /// One JSON object.
    Json,
    /// Markdown for a pull request.
    Markdown,
}

/// `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Spec files, or folders of them.
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,
    /// Re-export committed shards that are missing or damaged.
    #[arg(long)]
    pub repair: bool,
    /// Re-export a window with a complete package after late data: as a new revision beside it (`<uri>.r2` and so on)
    /// that supersedes it. Does nothing if the source has not changed.
    #[arg(long, conflicts_with_all = ["repair", "replace"])]
    pub restate: bool,
    /// First remove this other job from the output folder, unless it is complete.
    #[arg(long, value_name = "JOB_ID")]
    pub replace: Option<String>,
    /// Show progress: a bar on a terminal, lines elsewhere.
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub progress: When,
    /// Register the job in this store, for `jobs list`; if the store fails, only warn.
    #[arg(long, value_name = "URI", env = "KT_EXPORT_STORE")]
    pub store: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// An error code from a manifest; default: all codes.
    pub code: Option<String>,
}

/// `schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Which schema.
    #[arg(value_enum)]
    pub of: SchemaOf,
}

/// Files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// Spec files.
    Spec,
    /// Catalog files.
    Catalog,
    /// `manifest.json`.
    Manifest,
}

/// `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell to generate completions for.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

fn memory(text: &str) -> Result<Memory, String> {
    let bytes = parse_bytes(text).map_err(|e| e.to_string())?;
    if bytes < LEAST { Err(format!("the minimum is {}MiB", LEAST >> 20)) } else { Ok(Memory::new(bytes)) }
}

fn type_name(text: &str) -> Result<String, String> {
    if is_type_name(text) {
        return Ok(text.to_owned());
    }
    Err("write lower-case letters, digits, `-` and `_`, and start with a letter".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
