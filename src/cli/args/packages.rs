//! Commands that read existing packages.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ResourceArgs, SpecArgs};
use crate::audit::sample::MAX_SAMPLE_ROWS;
use crate::audit::verify::Head;
use crate::diagnostic::Located;
use crate::secret::SecretName;

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Package folders, local or in a store; with --chain also folders that contain packages.
    #[arg(required_unless_present = "chain", value_name = "URI")]
    pub packages: Vec<String>,
    /// Decode every shard and count its rows.
    #[arg(long)]
    pub rows: bool,
    /// Allowed signers file, as for ssh-keygen -Y verify. Requires a valid signature.
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// Principal that must have signed, regardless of the identity in the manifest.
    #[arg(long, value_name = "IDENTITY", requires = "allowed_signers")]
    pub signer: Option<String>,
    /// Fail packages without a signature.
    #[arg(long)]
    pub require_signature: bool,
    /// The current time, RFC 3339: later times count as future; default: now.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    /// Check this chain's links, and that they match the packages.
    #[arg(long, value_name = "URI")]
    pub chain: Option<String>,
    /// The chain's last link as recorded earlier: its number and SHA-256, 12:9f86d0…
    #[arg(long, value_name = "N:SHA256", requires = "chain")]
    pub expect_head: Option<Head>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub keys: KeyArgs,
}

/// Keys that read the rows of encrypted shards.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub identities: IdentityArgs,
    /// A Parquet encryption key of the shards: `footer=env:VARIABLE`, `column.message=file:PATH`.
    #[arg(long = "parquet-key", value_name = "KEY=WHERE", value_parser = parquet_key)]
    pub parquet_keys: Vec<(String, SecretName)>,
}

/// Identities that read encrypted files.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// File of age identities (`AGE-SECRET-KEY-1…`) to decrypt with; may be repeated.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
}

/// `decrypt`.
#[derive(Debug, Args)]
pub(crate) struct DecryptArgs {
    /// Encrypted files, binary or armored; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub identities: IdentityArgs,
    /// Environment variable that holds the passphrase, for passphrase-encrypted files.
    #[arg(long, value_name = "NAME")]
    pub passphrase_env: Option<String>,
    /// File or folder to write to; `-` for standard output. Default: beside the input, without `.age`; standard input
    /// goes to standard output.
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
}

/// `reproduce`.
#[derive(Debug, Args)]
pub(crate) struct ReproduceArgs {
    /// The package's folder, local or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// The spec, if it is not at the path in the manifest.
    #[arg(long, value_name = "SPEC")]
    pub spec: Option<PathBuf>,
    /// Folder for the comparison export; default: the system's temporary folder.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub keys: KeyArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// `coverage`.
#[derive(Debug, Args)]
pub(crate) struct CoverageArgs {
    /// Packages, or folders or prefixes that contain packages.
    #[arg(required = true, value_name = "URI")]
    pub packages: Vec<String>,
    /// Start of the time to cover: a date or an instant; default: the first window's start.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// End of the time to cover: a date (inclusive) or an instant; default: the last window's end.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Time zone of dates in arguments and output.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub timezone: String,
    /// The current time, RFC 3339: later times count as future; default: now.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
    /// Only packages of this spec.
    #[arg(long)]
    pub name: Option<String>,
    /// Only packages of this export type.
    #[arg(long = "type", value_name = "TYPE")]
    pub type_name: Option<String>,
    /// Check every byte of every package, as `verify` does, instead of trusting their manifests.
    #[arg(long)]
    pub verify: bool,
}

/// `sample`.
#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// The package's folder, local or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// Number of rows.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=MAX_SAMPLE_ROWS))]
    pub rows: u64,
    /// Seed of the sample: any number, chosen after the package was finished. The same seed draws the same rows.
    #[arg(long, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub keys: KeyArgs,
}

/// `pack`.
#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// The package's folder, local or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// The tar file; `-` for stdout.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The package's folder, local or in a store.
    #[arg(value_name = "URI")]
    pub package: String,
    /// Format of the report.
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    /// File to write; default: standard output, as with `-`.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One self-contained page.
    Html,
    /// Markdown for a ticket or a pull request.
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
