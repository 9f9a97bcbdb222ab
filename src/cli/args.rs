//! The command line as typed. Doc comments are the help texts.

use std::path::PathBuf;

use crate::diagnostic::Located;
use crate::jobs::State;
use crate::run::memory::{LEAST, Memory};
use crate::sample::MAX_ROWS;
use crate::secret::SecretName;
use crate::units::{parse_bytes, parse_duration};
use crate::verify::Head;
use clap::{Args, Parser, Subcommand, ValueEnum};

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
  3  partial: some partitions failed or rows were set aside; the manifest says which
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

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Package folders, here or in a store; with --chain also folders that packages are below.
    #[arg(required_unless_present = "chain", value_name = "URI")]
    pub packages: Vec<String>,
    /// Read every row back and count.
    #[arg(long)]
    pub rows: bool,
    /// Whose keys may sign: a list of allowed signers as for ssh-keygen -Y verify.
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// A package without a signature is not intact.
    #[arg(long)]
    pub require_signature: bool,
    /// Check this chain's links and that the packages are those that it links.
    #[arg(long, value_name = "URI")]
    pub chain: Option<String>,
    /// A link that was the chain's last one when somebody noted it: its number and SHA-256, 12:9f86d0…
    #[arg(long, value_name = "N:SHA256", requires = "chain")]
    pub expect_head: Option<Head>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: KeyArgs,
}

/// What reads the rows of encrypted shards.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub identities: IdentityArgs,
    /// A key of Parquet shards that are encrypted as such: `footer=env:VARIABLE`, `column.message=file:PATH`.
    #[arg(long = "parquet-key", value_name = "KEY=WHERE", value_parser = parquet_key)]
    pub parquet_keys: Vec<(String, SecretName)>,
}

/// Who reads encrypted files.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// A file of age identities (`AGE-SECRET-KEY-1…`) that can read what is encrypted; may be given several times.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
}

/// `decrypt`.
#[derive(Debug, Args)]
pub struct DecryptArgs {
    /// Encrypted files, binary or armored; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub identities: IdentityArgs,
    /// The environment variable that holds the passphrase, for files that were encrypted with one.
    #[arg(long, value_name = "NAME")]
    pub passphrase_env: Option<String>,
    /// Where to; `-` is standard output. Default: beside the file, without `.age`; standard output for standard input.
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
}

/// `reproduce`.
#[derive(Debug, Args)]
pub struct ReproduceArgs {
    /// The package's folder, here or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// The spec, if it is not where the manifest says.
    #[arg(long, value_name = "SPEC")]
    pub spec: Option<PathBuf>,
    /// Where the rows are exported to for the comparison; default: the system's temporary folder.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub resources: ResourceArgs,
}

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

/// `coverage`.
#[derive(Debug, Args)]
pub struct CoverageArgs {
    /// Packages, or folders or prefixes that packages are below.
    #[arg(required = true, value_name = "URI")]
    pub packages: Vec<String>,
    /// Time must be covered from here: a date, or an instant; default: the first window's start.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Time must be covered up to here: a date, which counts whole, or an instant; default: the last window's end.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Zone of dates, and of what is shown.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub timezone: String,
    /// Only packages of this spec.
    #[arg(long)]
    pub name: Option<String>,
    /// Only packages of this export type.
    #[arg(long = "type", value_name = "TYPE")]
    pub type_name: Option<String>,
    /// Check every byte of every package, as `verify` does, and not only their own records.
    #[arg(long)]
    pub verify: bool,
}

/// `sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The package's folder, here or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// How many rows.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=MAX_ROWS))]
    pub rows: u64,
    /// What decides which: any number, chosen when the package was finished. The same one draws the same rows.
    #[arg(long, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: KeyArgs,
}

/// `pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// The package's folder, here or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// The tar; `-` for stdout.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
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

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The package's folder, here or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// Form of the report.
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    /// Where it is written; default: standard output, as with `-`.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One self-contained page.
    Html,
    /// For a ticket or a pull request.
    Markdown,
}

/// `footer=env:NAME` or `column.message=file:PATH`.
fn parquet_key(text: &str) -> Result<(String, SecretName), String> {
    let wrong =
        || "write footer=env:NAME, footer=file:PATH, column.COLUMN=env:NAME or column.COLUMN=file:PATH".to_owned();
    let located = |text: &str| Located::default_value(text.to_owned());
    let (name, key) = match (text.split_once("=env:"), text.split_once("=file:")) {
        (Some((name, variable)), None) => (name, SecretName::Env(located(variable))),
        (None, Some((name, path))) => (name, SecretName::File { written: located(path), path: path.into() }),
        _ => return Err(wrong()),
    };
    let is_key = name == "footer" || name.strip_prefix("column.").is_some_and(|column| !column.is_empty());
    if is_key { Ok((name.to_owned(), key)) } else { Err(wrong()) }
}
