//! Joins Parquet shards: row groups are copied unchanged, only the footer is new.
//!
//! A shard is read from back to front, and its digest is known only at its end. So each one is first copied to a scratch
//! file and verified there; what is joined are then the very bytes that were verified, and a store is asked once for
//! each. The joined file's footer lists every row group, so that there is no resuming: it starts over.

use std::fs::File;
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;

use super::part::{PartFile, create_anew, disk};
use super::source::{BLOCK_BYTES, StoredBytes, check_stop, copy, read_block};
use super::target::Target;
use super::{Download, DownloadError, Downloaded, rows_of};
use crate::package::PackageFile;
use crate::seal::{self, AGE_EXTENSION, OpenError};

pub(super) fn join(
    request: &Download<'_>,
    shards: &[PackageFile<'_>],
    target: Target,
) -> Result<Downloaded, DownloadError> {
    let mut part = PartFile::open(&target.path, &request.package.manifest_sha256)?;
    let scratch_path = part.scratch_path();
    let filled = create_anew(&scratch_path)
        .and_then(|mut scratch| fill(request, shards, &mut part, &mut scratch, &scratch_path));
    #[expect(clippy::let_underscore_must_use, reason = "a scratch file that stays is replaced by the next download")]
    let _ = std::fs::remove_file(&scratch_path);
    if let Err(error) = filled {
        part.leave();
        return Err(error);
    }
    let bytes = part.bytes();
    part.publish()?;
    Ok(Downloaded { path: target.path, files: shards.len(), rows: rows_of(shards), bytes, resumed_files: 0 })
}

fn fill(
    request: &Download<'_>,
    shards: &[PackageFile<'_>],
    part: &mut PartFile,
    scratch: &mut File,
    scratch_path: &Path,
) -> Result<(), DownloadError> {
    let joined = part.path().to_owned();
    let (mut writer, mut part) = (None, Some(part));
    let mut done = 0_u64;
    for shard in shards {
        fetch(request, shard, done, scratch, scratch_path)?;
        done = done.saturating_add(shard.bytes);
        // The decoder of footers is built for files that are what they say; on others it may panic.
        let appended = catch_unwind(AssertUnwindSafe(|| append(shard, scratch, &mut writer, &mut part)));
        let appended = appended.unwrap_or_else(|_| Err(Fault::Shard("it is not Parquet that can be read".to_owned())));
        appended.map_err(|fault| fault.into_error(shard, &joined))?;
    }
    (request.progress)(done);
    let closed = writer.map(SerializedFileWriter::close).transpose();
    closed.map(drop).map_err(|error| disk("write", &joined, std::io::Error::other(error)))
}

/// Copies a shard to the scratch file, decrypted where it is encrypted, and verifies it.
fn fetch(
    request: &Download<'_>,
    shard: &PackageFile<'_>,
    done: u64,
    scratch: &mut File,
    path: &Path,
) -> Result<(), DownloadError> {
    let wrong = |source| disk("write", path, source);
    scratch.rewind().and_then(|()| scratch.set_len(0)).map_err(wrong)?;
    if !shard.path.ends_with(AGE_EXTENSION) {
        return copy(request, shard, done, scratch, path);
    }
    let source = StoredBytes::open(request, shard)?;
    let locked = |why| DownloadError::Locked { shard: shard.path.to_owned(), why };
    let decrypted = seal::decrypt(source.clone(), request.identities).map_err(locked).and_then(|mut plain| {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            check_stop(request)?;
            let n = read_block(&mut plain, &mut block).map_err(|error| locked(OpenError::Read(error)))?;
            if n == 0 {
                return Ok(());
            }
            scratch.write_all(block.get(..n).unwrap_or_default()).map_err(wrong)?;
            (request.progress)(done.saturating_add(source.taken()));
        }
    });
    match decrypted {
        // Damage explains whatever a decoder made of it.
        Err(error @ DownloadError::Locked { .. }) => source.settle(request, shard).and(Err(error)),
        Err(error) => Err(error),
        Ok(()) => source.settle(request, shard),
    }
}

enum Fault {
    Shard(String),
    Write(std::io::Error),
}

impl Fault {
    fn into_error(self, shard: &PackageFile<'_>, path: &Path) -> DownloadError {
        match self {
            Self::Shard(why) => DownloadError::Contents { shard: shard.path.to_owned(), why },
            Self::Write(source) => disk("write", path, source),
        }
    }
}

/// The Parquet writer wraps the errors of the writer below.
fn write_fault(error: ParquetError) -> Fault {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) => Fault::Write(*io),
            Err(inner) => Fault::Shard(inner.to_string()),
        },
        other => Fault::Shard(format!("its row groups cannot be copied: {other}")),
    }
}

/// The joined file, from the first shard on.
type Writer<'a> = SerializedFileWriter<&'a mut PartFile>;

/// Begins the joined file as the first shard was begun.
fn begin<'a>(first: &ParquetMetaData, part: &'a mut PartFile) -> Result<Writer<'a>, Fault> {
    let facts = first.file_metadata();
    let version = if facts.version() == 1 { WriterVersion::PARQUET_1_0 } else { WriterVersion::PARQUET_2_0 };
    let mut properties = WriterProperties::builder().set_writer_version(version);
    if let Some(name) = facts.created_by() {
        properties = properties.set_created_by(name.to_owned());
    }
    properties = properties.set_key_value_metadata(facts.key_value_metadata().cloned());
    let schema = facts.schema_descr().root_schema_ptr();
    SerializedFileWriter::new(part, schema, Arc::new(properties.build())).map_err(write_fault)
}

/// A number of bytes or rows in a footer, which has signed integers.
fn not_negative(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::Shard(format!("its footer has the negative number {number}")))
}

/// Puts the row groups of the shard in the scratch file behind those before.
fn append<'a>(
    shard: &PackageFile<'_>,
    scratch: &File,
    writer: &mut Option<Writer<'a>>,
    part: &mut Option<&'a mut PartFile>,
) -> Result<(), Fault> {
    let read = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional).parse_and_finish(scratch);
    let metadata = read.map_err(|error| Fault::Shard(format!("its footer cannot be read: {error}")))?;
    let rows: i128 = metadata.row_groups().iter().map(|group| i128::from(group.num_rows())).sum();
    if rows != i128::from(shard.rows) {
        return Err(Fault::Shard(format!("it has {rows} rows, but the manifest says {}", shard.rows)));
    }
    if let Some(part) = part.take() {
        *writer = Some(begin(&metadata, part)?);
    }
    let Some(writer) = writer else { return Ok(()) };
    if writer.schema_descr().root_schema() != metadata.file_metadata().schema() {
        return Err(Fault::Shard("its schema is not that of the first shard".to_owned()));
    }
    let index = metadata.page_index();
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let mut out = writer.next_row_group().map_err(write_fault)?;
        for (place, column) in group.columns().iter().enumerate() {
            let closed = ColumnCloseResult {
                bytes_written: not_negative(column.compressed_size())?,
                rows_written: not_negative(group.num_rows())?,
                metadata: column.clone(),
                bloom_filter: Sbbf::read_from_column_chunk(column, scratch).map_err(write_fault)?,
                column_index: index.and_then(|index| index.column_index(number, place)).cloned(),
                offset_index: index.and_then(|index| index.offset_index(number, place)).cloned(),
            };
            out.append_column(scratch, closed).map_err(write_fault)?;
        }
        out.close().map_err(write_fault)?;
    }
    Ok(())
}
