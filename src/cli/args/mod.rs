//! The command line as typed. Doc comments are the help texts.

mod jobs;
mod packages;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run::memory::{LEAST, Memory};
use crate::units::parse_bytes;

pub use jobs::{
    JobsArgs, JobsCommand, JobsCreateArgs, JobsDownloadArgs, JobsGetArgs, JobsIdArgs, JobsListArgs, JobsPruneArgs,
    JobsWorkArgs, StoreArgs,
};
pub use packages::{
    CoverageArgs, DecryptArgs, IdentityArgs, KeyArgs, PackArgs, ReportArgs, ReportFormat, ReproduceArgs, SampleArgs,
    VerifyArgs,
};

/// Declarative batch exporter for compliance evidence.
///
/// An export spec says what to export; `run` fills a package of shards with a manifest that accounts for every
/// row of the source; `verify` checks a package offline.
#[derive(Debug, Parser)]
#[command(name = "kt-export", version, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to talk.
    #[command(flatten)]
    pub output: OutputArgs,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  complete
  1  internal error (a bug)
  2  command line, spec or catalog wrong
  3  partial: some partitions failed, rows were set aside or an expectation does not hold; the
     manifest says which
  4  failed: no partition usable, or the run as a whole
  5  verification failed
  6  try again later: the window is not over or not settled, a store is throttled or does not answer
  130, 143  stopped by a signal, resumable";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a catalog, a first spec and a CI workflow to start a repository from.
    Init(InitArgs),
    /// Check specs and catalogs without touching data.
    Validate(ValidateArgs),
    /// Check before the night whether runs would work: source, columns, output, disk, clock. Leaves nothing behind.
    Doctor(DoctorArgs),
    /// Show what a run would do: window, partitions, tasks, files, bytes. Writes nothing.
    Plan(PlanArgs),
    /// Run specs: fill their packages, or resume where an earlier run stopped.
    Run(RunArgs),
    /// Check packages: sizes, digests, row conservation, signature, chain, files that should not be there.
    Verify(VerifyArgs),
    /// Tell what a package says of itself: a self-contained HTML page, or Markdown.
    Report(ReportArgs),
    /// Decrypt files that age encrypted, such as shards and rejects; `age -d` does the same.
    Decrypt(DecryptArgs),
    /// Run a recorded job against its source again and compare every shard.
    Reproduce(ReproduceArgs),
    /// Show which time packages cover: gaps, overlaps, packages that cannot be trusted.
    Coverage(CoverageArgs),
    /// Draw rows by a seed, each with its shard and its place, for checking by hand.
    Sample(SampleArgs),
    /// Pack a package into one tar for an auditor, with instructions that need no program of ours.
    Pack(PackArgs),
    /// Ask for exports and follow them: create, list, get, download, cancel, work, prune.
    Jobs(JobsArgs),
    /// Explain an error code: its cause, what to do, whether to retry.
    Explain(ExplainArgs),
    /// Print the JSON Schema of specs, catalogs or manifests.
    Schema(SchemaArgs),
    /// Print shell completions.
    Completions(CompletionsArgs),
}

/// How to talk.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Print one versioned JSON object on stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// Colours on stderr.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// More on stderr; twice for debugging.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Only errors on stderr.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Form of log lines on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// `auto` looks at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What decides the window, the templates and the place.
#[derive(Debug, Args)]
pub struct SpecArgs {
    /// The instant that relative windows count from, RFC 3339; default: the clock.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    /// Value of a variable that the spec declares.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = key_value)]
    pub vars: Vec<(String, String)>,
    /// Folder, or s3:// gs:// az:// prefix, that a relative `output.uri` is below; default: the current folder.
    #[arg(long, value_name = "URI")]
    pub output: Option<String>,
}

/// How many resources to use.
#[derive(Debug, Args)]
pub struct ResourceArgs {
    /// Worker threads; default: all processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Memory to stay within, such as 512MiB; default: a quarter of the machine's, or of the container's limit.
    #[arg(long, value_name = "SIZE", env = "KT_EXPORT_MEMORY", value_parser = memory)]
    pub memory: Option<Memory>,
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where; default: the current folder.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Spec and catalog files, or folders of them.
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,
    /// Form of the findings.
    #[arg(long, value_enum, default_value_t = ValidateFormat::Text)]
    pub format: ValidateFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub spec: SpecArgs,
}

/// Form of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ValidateFormat {
    /// For people, on stderr.
    Text,
    /// One JSON object.
    Json,
    /// GitHub workflow annotations.
    Github,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Spec files, or folders of them.
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,
    /// Look at every row of the source, as a run does; else at all Parquet footers and the start of the newest others.
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub resources: ResourceArgs,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Form of the plan.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub resources: ResourceArgs,
}

/// Form of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// A table.
    Text,
    /// One JSON object.
    Json,
    /// For a pull request.
    Markdown,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Spec files, or folders of them.
    #[arg(required = true)]
    pub specs: Vec<PathBuf>,
    /// Export committed shards again that are missing or damaged.
    #[arg(long)]
    pub repair: bool,
    /// Export a window again whose package is whole, after late data: beside it, as `<uri>.r2` and so on, as a revision
    /// that supersedes it. Nothing is done where the source has not changed.
    #[arg(long, conflicts_with_all = ["repair", "replace"])]
    pub restate: bool,
    /// Remove this other job from the output folder first, unless it is complete.
    #[arg(long, value_name = "JOB_ID")]
    pub replace: Option<String>,
    /// Bars on a terminal, lines elsewhere.
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub progress: When,
    /// Note the job in this store, for `jobs list`; a store that fails only warns.
    #[arg(long, value_name = "URI", env = "KT_EXPORT_STORE")]
    pub store: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub resources: ResourceArgs,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// An error code from a manifest; without one, all.
    pub code: Option<String>,
}

/// `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what.
    #[arg(value_enum)]
    pub of: SchemaOf,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Spec files.
    Spec,
    /// Catalog files.
    Catalog,
    /// `manifest.json`.
    Manifest,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

fn memory(text: &str) -> Result<Memory, String> {
    let bytes = parse_bytes(text).map_err(|e| e.to_string())?;
    if bytes < LEAST { Err(format!("the least is {}MiB", LEAST >> 20)) } else { Ok(Memory::new(bytes)) }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
