//! The package's list of digests, in the format that `sha256sum -c` of GNU coreutils reads.
//!
//! Format: coreutils manual, "cksum output modes" and `sha256sum`: digest, two spaces, name. A name with a backslash,
//! newline or carriage return is written escaped, and its line starts with a backslash.

use super::{EncryptionRecord, Manifest};
use crate::package::layout::MANIFEST;

/// The list, in the order given.
///
/// Each item is a name in the package and the lower-case hex SHA-256 of its bytes.
pub fn sha256sums<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    files.into_iter().map(|(name, sha256)| line(name, sha256)).collect()
}

fn line(name: &str, sha256: &str) -> String {
    if !name.contains(['\\', '\n', '\r']) {
        return format!("{sha256}  {name}\n");
    }
    let name = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    format!("\\{sha256}  {name}\n")
}

impl Manifest {
    /// Name and digest of every file of the package that the manifest vouches for: shards in order, then rejects.
    pub fn digests(&self) -> impl Iterator<Item = (&str, &str)> {
        let shards = self.files.iter().filter_map(|file| Some((file.path.as_str(), file.sha256.as_deref()?)));
        shards.chain(self.rejects.iter().map(|file| (file.path.as_str(), file.sha256.as_str())))
    }

    /// The same of what does not differ from run to run, for shards and rejects: the bytes before age encrypted them, the
    /// rows where Parquet's encryption leaves nothing else. `None` where a file has no such digest.
    pub fn lasting_digests(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let by_parquet = matches!(self.encryption, Some(EncryptionRecord::Parquet { .. }));
        let shards = self.files.iter().filter(|file| file.sha256.is_some()).map(move |file| {
            let stored = file.sha256.as_deref().filter(|_| self.encryption.is_none());
            let rows = file.rows_digest.as_deref().filter(|_| by_parquet);
            (file.path.as_str(), file.plain_sha256.as_deref().or(stored).or(rows))
        });
        let rejects = self.rejects.iter().map(|file| {
            let stored = Some(file.sha256.as_str()).filter(|_| self.encryption.is_none());
            (file.path.as_str(), file.plain_sha256.as_deref().or(stored))
        });
        shards.chain(rejects)
    }

    /// The text of SHA256SUMS: [`Manifest::digests`], then the manifest itself, whose bytes have the digest
    /// `manifest_sha256`.
    pub fn sha256sums(&self, manifest_sha256: &str) -> String {
        sha256sums(self.digests().chain([(MANIFEST, manifest_sha256)]))
    }
}
