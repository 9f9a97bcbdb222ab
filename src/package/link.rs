//! `000001.json`, …: one link of a chain of packages.
//!
//! A link is a function of its manifest: every field is in the manifest, or is its digest. The manifest's signature
//! therefore covers the link, and a link that differs was changed. When the shards of a package are deleted, a second link
//! records that; it is a function of the manifest and the tombstone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::json::{self, JsonError};
use crate::package::manifest::{
    JobStatus, LinkRecord, Manifest, ManifestError, ResolvedError, Tombstone, from_versioned,
};

/// The version that is written, and the only one that is read.
pub const LINK_VERSION: u32 = 1;

/// The content of one file of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// [`LINK_VERSION`].
    pub link_version: u32,
    /// Its number, from 1.
    pub number: u64,
    /// The job's id.
    pub id: String,
    /// The spec's name.
    pub name: String,
    /// First instant inside the package's window.
    pub window_start: Timestamp,
    /// First instant after it.
    pub window_end: Timestamp,
    /// How the job ended.
    pub status: JobStatus,
    /// Lower-case hex SHA-256 of the manifest's bytes.
    pub manifest_sha256: String,
    /// Lower-case hex SHA-256 of `tombstone.json`, if the link records the deletion of the package's shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone_sha256: Option<String>,
    /// The package's folder: the spec's `output.uri`, rendered, with the number of a revision.
    pub package: String,
    /// The previous link; null in the first.
    #[serde(deserialize_with = "Option::deserialize")]
    pub previous: Option<LinkRef>,
    /// When the manifest was written, or the shards were deleted.
    pub created_at: Timestamp,
}

/// A reference to another link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRef {
    /// Its number.
    pub number: u64,
    /// Lower-case hex SHA-256 of its bytes.
    pub sha256: String,
}

impl Link {
    /// The link of a manifest whose bytes have this digest; `None` if it is not chained.
    ///
    /// # Errors
    /// [`ResolvedError`] for a manifest without the package's folder.
    pub fn of(manifest: &Manifest, manifest_sha256: &str) -> Result<Option<Self>, ResolvedError> {
        let place = manifest.link.clone();
        place.map(|place| Self::at(place, manifest, manifest_sha256)).transpose()
    }

    /// The link of a tombstone whose bytes have the digest `sha256`; `None` if it is not chained.
    ///
    /// # Errors
    /// As [`Link::of`].
    pub fn of_tombstone(
        manifest: &Manifest,
        tombstone: &Tombstone,
        sha256: &str,
    ) -> Result<Option<Self>, ResolvedError> {
        let Some(place) = tombstone.link.clone() else { return Ok(None) };
        Ok(Some(Self {
            tombstone_sha256: Some(sha256.to_owned()),
            created_at: tombstone.pruned_at,
            ..Self::at(place, manifest, &tombstone.manifest_sha256)?
        }))
    }

    fn at(place: LinkRecord, manifest: &Manifest, manifest_sha256: &str) -> Result<Self, ResolvedError> {
        let LinkRecord { number, previous_sha256 } = place;
        Ok(Self {
            link_version: LINK_VERSION,
            number,
            id: manifest.id.clone(),
            name: manifest.name.clone(),
            window_start: manifest.window_start,
            window_end: manifest.window_end,
            status: manifest.status,
            manifest_sha256: manifest_sha256.to_owned(),
            tombstone_sha256: None,
            package: place_of(manifest)?,
            previous: previous_sha256.map(|sha256| LinkRef { number: number.saturating_sub(1), sha256 }),
            created_at: manifest.finalized_at,
        })
    }

    /// Pretty JSON, newline at the end. Equal links give equal bytes.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn to_json_bytes(&self) -> Result<Vec<u8>, JsonError> {
        json::pretty(self, "a link of the chain")
    }

    /// Reads a link strictly.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        from_versioned(bytes, "link_version", LINK_VERSION)
    }
}

fn place_of(manifest: &Manifest) -> Result<String, ResolvedError> {
    let uri = manifest.spec.resolved.output_uri()?;
    Ok(match &manifest.restatement {
        Some(restatement) => format!("{}.r{}", uri.trim_end_matches('/'), restatement.revision),
        None => uri.to_owned(),
    })
}
