//! Commands that look at packages which are there.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ResourceArgs, SpecArgs};
use crate::audit::sample::MAX_ROWS;
use crate::audit::verify::Head;
use crate::diagnostic::Located;
use crate::secret::SecretName;

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Package folders, here or in a store; with --chain also folders that packages are below.
    #[arg(required_unless_present = "chain", value_name = "URI")]
    pub packages: Vec<String>,
    /// Read every row back and count.
    #[arg(long)]
    pub rows: bool,
    /// Whose keys may sign: a list of allowed signers as for ssh-keygen -Y verify. Demands a signature.
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// Who must have signed: a principal of the list, whatever identity the manifest names.
    #[arg(long, value_name = "IDENTITY", requires = "allowed_signers")]
    pub signer: Option<String>,
    /// A package without a signature is not intact.
    #[arg(long)]
    pub require_signature: bool,
    /// The instant after which times are in the future, RFC 3339; default: the clock.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
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
    pub keys: KeyArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub given: SpecArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub resources: ResourceArgs,
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
    /// The instant after which times are in the future, RFC 3339; default: the clock.
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
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
