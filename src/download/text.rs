//! Joins text shards.
//!
//! Each shard becomes a gzip member or zstd frame of its own, where the file is compressed: such files may be put behind
//! each other (RFC 1952, 2.2; RFC 8878, 3), so that an interrupted download goes on after the last whole shard.

use std::io::Write;

use super::part::{PartFile, disk};
use super::source::{BLOCK_BYTES, StoredBytes, check_stop, read_block};
use super::splice::{Seen, Splice, SpliceError};
use super::target::Target;
use super::{Download, DownloadError, Downloaded, rows_of};
use crate::job::Compression;
use crate::package::PackageFile;
use crate::seal::{self, Sealer};

pub(super) fn join(
    request: &Download<'_>,
    shards: &[PackageFile<'_>],
    target: Target,
    splice: Splice,
) -> Result<Downloaded, DownloadError> {
    let mut part = PartFile::open(&target.path, &request.package.manifest_sha256)?;
    let resumed_files = part.whole().shards;
    if let Err(error) = fill(request, shards, splice, target.compression, &mut part) {
        part.leave();
        return Err(error);
    }
    let bytes = part.bytes();
    part.publish()?;
    Ok(Downloaded { path: target.path, files: shards.len(), rows: rows_of(shards), bytes, resumed_files })
}

fn fill(
    request: &Download<'_>,
    shards: &[PackageFile<'_>],
    splice: Splice,
    compression: Compression,
    part: &mut PartFile,
) -> Result<(), DownloadError> {
    let whole = part.whole().shards;
    let mut done: u64 = shards.iter().take(whole).map(|shard| shard.bytes).fold(0, u64::saturating_add);
    let mut seen = part.whole().seen.clone();
    for (index, shard) in shards.iter().enumerate().skip(whole) {
        check_stop(request)?;
        (request.progress)(done);
        let source = StoredBytes::open(request, shard)?;
        let appended = append(request, shard, &source, done, part, Shape { splice, compression, seen, index });
        seen = match appended {
            Ok(seen) => {
                source.settle(request, shard)?;
                seen
            }
            Err(Fault::Shard(why)) => {
                // Damage explains whatever a decoder made of it.
                source.settle(request, shard)?;
                return Err(DownloadError::Contents { shard: shard.path.to_owned(), why });
            }
            Err(Fault::Locked(error)) => {
                source.settle(request, shard)?;
                return Err(error);
            }
            Err(Fault::Other(error)) => return Err(error),
        };
        part.shard_ends(&seen)?;
        done = done.saturating_add(shard.bytes);
    }
    (request.progress)(done);
    let tail = splice.tail(&seen);
    // A compressed file of nothing is not empty.
    if !tail.is_empty() || part.bytes() == 0 {
        let written = Sealer::new(&mut *part, compression).and_then(|mut sealer| {
            sealer.write_all(tail)?;
            sealer.finish()
        });
        written.map(drop).map_err(|error| disk("write", part.path(), error))?;
    }
    Ok(())
}

/// What a shard meets where it is joined.
struct Shape {
    splice: Splice,
    compression: Compression,
    seen: Seen,
    index: usize,
}

enum Fault {
    /// The shard is invalid; its digest may explain why.
    Shard(String),
    /// The same of its header.
    Locked(DownloadError),
    Other(DownloadError),
}

fn append(
    request: &Download<'_>,
    shard: &PackageFile<'_>,
    source: &StoredBytes,
    done: u64,
    part: &mut PartFile,
    shape: Shape,
) -> Result<Seen, Fault> {
    let unreadable = |error: std::io::Error| Fault::Shard(format!("its compressed text cannot be read: {error}"));
    let opened = seal::open(source.clone(), shard.path, request.identities);
    let mut plain = opened.map_err(|why| Fault::Locked(DownloadError::Locked { shard: shard.path.to_owned(), why }))?;
    let mut piece = shape.splice.shard(shape.seen, shape.index == 0);
    let part_path = part.path().to_owned();
    let fault = |error| Fault::Other(disk("write", &part_path, error));
    let mut sealer = Sealer::new(&mut *part, shape.compression).map_err(fault)?;
    let mut block = vec![0; BLOCK_BYTES];
    let spliced = loop {
        check_stop(request).map_err(Fault::Other)?;
        let n = match read_block(&mut plain, &mut block) {
            Ok(0) => break piece.finish(&mut sealer),
            Ok(n) => n,
            Err(error) => return Err(unreadable(error)),
        };
        if let Err(error) = piece.push(block.get(..n).unwrap_or_default(), &mut sealer) {
            break Err(error);
        }
        (request.progress)(done.saturating_add(source.taken()));
    };
    let finished = match spliced {
        Ok(ended) => sealer.finish().map(|_| ended).map_err(SpliceError::Write),
        Err(error) => {
            drop(sealer);
            Err(error)
        }
    };
    match finished {
        Ok((_, Some(rows))) if rows != shard.rows => {
            Err(Fault::Shard(format!("it has {rows} rows, but the manifest says {}", shard.rows)))
        }
        Ok((seen, _)) => Ok(seen),
        Err(SpliceError::Shard(why)) => Err(Fault::Shard(why)),
        Err(SpliceError::Write(error)) => Err(fault(error)),
    }
}
