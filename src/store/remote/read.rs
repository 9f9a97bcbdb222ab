//! Reads objects: all requested bytes, or an error.
//!
//! A connection that breaks is noticed by the client; a proxy that sends less than there is, with a length that fits,
//! is not. So ranges are held against what was asked for, and whole objects against their own digest, or against the
//! size that a second question gives.

use std::ops::Range;

use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use md5::{Digest, Md5};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::error::Broken;
use crate::store::MAX_READ_BYTES;

/// A whole object, or the size of one that is too large to be read whole.
pub(super) async fn read_whole(objects: &dyn ObjectStore, path: &Path) -> object_store::Result<Result<Bytes, u64>> {
    let found = objects.get(path).await?;
    let meta = found.meta.clone();
    if meta.size > MAX_READ_BYTES {
        return Ok(Err(meta.size));
    }
    let bytes = found.bytes().await?;
    let got = bytes.len() as u64;
    if got != meta.size {
        return Err(Broken::Length { got, expected: meta.size }.into());
    }
    if !is_its_digest(&meta, &bytes) {
        let there = match objects.head(path).await {
            Err(object_store::Error::NotFound { .. }) => return Err(Broken::Replaced.into()),
            there => there?,
        };
        if !is_same_version(&meta, &there) {
            return Err(Broken::Replaced.into());
        }
        if there.size != got {
            return Err(Broken::Length { got, expected: there.size }.into());
        }
    }
    Ok(Ok(bytes))
}

/// Whether the tag is the MD5 of the bytes, as it is for most small objects of most stores. That it is not says
/// nothing: encrypted objects and those that were uploaded in parts have other tags.
fn is_its_digest(meta: &ObjectMeta, bytes: &[u8]) -> bool {
    let tag = meta.e_tag.as_deref().map(bare).unwrap_or_default();
    HEXLOWER_PERMISSIVE.decode(tag.as_bytes()).is_ok_and(|tag| tag == Md5::digest(bytes).as_slice())
}

fn is_same_version(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    match (&one.e_tag, &other.e_tag) {
        (Some(one), Some(other)) => bare(one) == bare(other),
        _ => one.last_modified == other.last_modified,
    }
}

/// Some stores quote a tag in lists and not in answers, or the other way round.
fn bare(tag: &str) -> &str {
    tag.trim_start_matches("W/").trim_matches('"')
}

/// A range of one version of an object, all of it. Not every store honours `If-Match`, so the tag of the answer is
/// looked at too.
pub(super) async fn read_version(
    objects: &dyn ObjectStore,
    path: &Path,
    range: Range<u64>,
    if_match: Option<String>,
) -> object_store::Result<Bytes> {
    let (expected, end) = (range.end.saturating_sub(range.start), range.end);
    let wanted = if_match.clone();
    let range = Some(GetRange::Bounded(range));
    let found = objects.get_opts(path, GetOptions { if_match, range, ..GetOptions::default() }).await?;
    if let (Some(wanted), Some(there)) = (wanted.as_deref().map(bare), found.meta.e_tag.as_deref().map(bare))
        && wanted != there
    {
        let why = "its ETag is another one, and the store ignores If-Match";
        return Err(object_store::Error::Precondition { path: path.to_string(), source: why.into() });
    }
    let size = found.meta.size;
    let found = found.bytes().await?;
    let got = found.len() as u64;
    if got == expected {
        return Ok(found);
    }
    // The object itself is smaller than it was when it was listed.
    if size < end {
        let why = "it is smaller than what was asked for";
        return Err(object_store::Error::Precondition { path: path.to_string(), source: why.into() });
    }
    Err(Broken::Length { got, expected }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_is_the_md5_of_the_bytes_proves_them_and_no_other_does() {
        let meta = |tag: Option<&str>| ObjectMeta {
            location: Path::default(),
            last_modified: Default::default(),
            size: 3,
            e_tag: tag.map(str::to_owned),
            version: None,
        };
        // `printf abc | md5sum`
        for tag in ["\"900150983cd24fb0d6963f7d28e17f72\"", "900150983CD24FB0D6963F7D28E17F72"] {
            assert!(is_its_digest(&meta(Some(tag)), b"abc"));
            assert!(!is_its_digest(&meta(Some(tag)), b"ab"));
        }
        for tag in [None, Some(""), Some("0x8DC"), Some("900150983cd24fb0d6963f7d28e17f72-2")] {
            assert!(!is_its_digest(&meta(tag), b"abc"));
        }
    }
}
