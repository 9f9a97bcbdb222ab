//! `serve`; `keys` and its commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::ResourceArgs;
use super::jobs::{StoreArgs, positive_duration};
use crate::seal::check_recipient;
use crate::service::keys::{KeyId, Rate, Right};
use crate::yaml::decode::Word;

/// `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub store: StoreArgs,
    /// The catalog with the types that can be exported.
    #[arg(long, value_name = "FILE")]
    pub catalog: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub keys: KeysFileArgs,
    /// Address and port to listen on; port 0 takes a free one. Other than loopback needs `--behind-proxy`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// A proxy in front of the service speaks TLS with its callers.
    #[arg(long)]
    pub behind_proxy: bool,
    /// Number of jobs that this process runs at the same time; 0 leaves them to `jobs work --follow`.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub workers: u16,
    /// Environment variable with the secret of download tokens, at least 32 bytes; may be repeated, so that a new secret
    /// replaces an old one. Default: a random one, whose tokens end with this process.
    #[arg(long, value_name = "NAME")]
    pub token_key_env: Vec<String>,
    /// File with a secret of download tokens; as `--token-key-env`, before those.
    #[arg(long, value_name = "FILE")]
    pub token_key_file: Vec<PathBuf>,
    /// Encrypt exports to this age public key if neither the request nor its API key names one; may be repeated.
    #[arg(long, value_name = "RECIPIENT", value_parser = recipient)]
    pub encrypt_to: Vec<String>,
    /// How long downloads that have begun may take after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub grace: Duration,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub resources: ResourceArgs,
}

/// `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// The commands of `keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; prints it once, and its entry for the keys file, or adds that to the file.
    New(Box<KeysNewArgs>),
    /// List the keys of a file.
    List(KeysFileArgs),
    /// Revoke a key; it stays in the file, so that no other key gets its id.
    Revoke(KeysRevokeArgs),
}

/// Location of the keys file.
#[derive(Debug, Args)]
pub(crate) struct KeysFileArgs {
    /// The keys file.
    #[arg(long, value_name = "FILE", env = "KT_EXPORT_KEYS")]
    pub keys: PathBuf,
}

/// `keys new`.
#[derive(Debug, Args)]
pub(crate) struct KeysNewArgs {
    /// Name of the key, for logs: letters, digits, `-`, `_` and `.`.
    #[arg(long, value_name = "ID", value_parser = key_id)]
    pub id: KeyId,
    /// Export types that the key may see and create, separated by commas; `*` for all types of the catalog.
    #[arg(long, value_name = "TYPE", required = true, value_delimiter = ',')]
    pub types: Vec<String>,
    /// What the key may do: create (and cancel and delete), read, download; separated by commas.
    #[arg(long, value_name = "RIGHT", required = true, value_delimiter = ',', value_parser = right)]
    pub may: Vec<Right>,
    /// Whose exports the key sees. Keys without a tenant see the exports without one.
    #[arg(long, value_name = "ID", value_parser = key_id)]
    pub tenant: Option<KeyId>,
    /// Encrypt what the key exports to this age public key, if the request names none; may be repeated.
    #[arg(long, value_name = "RECIPIENT", value_parser = recipient)]
    pub encrypt_to: Vec<String>,
    /// How long the key is valid, such as 90d; default: until it is revoked.
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub expires: Option<Duration>,
    /// Most requests of the key in a second, minute or hour: 60/m.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Option<Rate>,
    /// Add the entry to this keys file, which is made if it is not there.
    #[arg(long, value_name = "FILE", env = "KT_EXPORT_KEYS")]
    pub keys: Option<PathBuf>,
}

/// `keys revoke`.
#[derive(Debug, Args)]
pub(crate) struct KeysRevokeArgs {
    /// Name of the key.
    #[arg(long, value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub file: KeysFileArgs,
}

fn key_id(text: &str) -> Result<KeyId, &'static str> {
    KeyId::new(text).ok_or(KeyId::RULE)
}

fn right(text: &str) -> Result<Right, String> {
    let known = Right::WORDS.iter().find(|(word, _)| *word == text);
    known
        .map(|(_, right)| *right)
        .ok_or_else(|| format!("use {}", Right::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")))
}

fn recipient(text: &str) -> Result<String, String> {
    check_recipient(text).map_err(|why| why.to_string())?;
    Ok(text.to_owned())
}

fn rate(text: &str) -> Result<Rate, &'static str> {
    Rate::parse(text).ok_or(Rate::RULE)
}
