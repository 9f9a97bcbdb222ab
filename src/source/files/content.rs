//! Finds the formats of files whose names leave them open.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lakehouse;
use super::list::{ListError, ListedFile};
use crate::job::{SourceCompression, SourceFormat, SourceSettings};
use crate::source::SourceFile;
use crate::source::formats::content::{Content, content_of};

/// The format of a file that may have any and holds nothing: one in which it has no rows, and which every setting allows.
pub(super) const WITHOUT_ROWS: SourceFormat = SourceFormat::Ndjson;

/// Files that are looked into at once: most of the time is spent waiting for a store.
const READERS: usize = 8;

/// Sets the formats of files whose names leave them open. `shows_content` allows messages to repeat a file's first line.
///
/// # Errors
/// That of the first such file, in order, whose first bytes do not tell its format; [`ListError::LakehouseTable`] for a
/// Parquet file of a table.
pub(super) fn find_formats(
    source: &SourceSettings,
    files: &mut [ListedFile],
    shows_content: bool,
) -> Result<(), ListError> {
    let mut open: Vec<&mut ListedFile> = files.iter_mut().filter(|file| file.is_format_open).collect();
    if open.is_empty() {
        return Ok(());
    }
    let found: Vec<Mutex<Option<Result<SourceFormat, ListError>>>> = open.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        // Files are taken in order, so those before one with an error are looked into as well.
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < open.len()) {
            let (Some(file), Some(slot)) = (open.get(index), found.get(index)) else { break };
            let format = format_of(file, shows_content);
            if format.is_err() {
                next.store(open.len(), Ordering::Relaxed);
            }
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(format);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..READERS.min(open.len()) {
            // Where no thread can be started, this one does the work.
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    for (file, format) in open.iter_mut().zip(found) {
        // Nothing is left out in front of the first error.
        let Some(format) = format.into_inner().unwrap_or_else(PoisonError::into_inner) else { break };
        let format = format.map_err(|error| error.of(source.uris.get(file.uri)))?;
        file.file.format = format;
        if !format.is_text() {
            file.file.compression = SourceCompression::None;
        }
        file.is_format_open = false;
    }
    for (index, uri) in source.uris.iter().enumerate() {
        let parquet = open.iter().filter(|listed| listed.uri == index && !listed.file.format.is_text());
        let parquet: Vec<&SourceFile> = parquet.map(|listed| &listed.file).collect();
        lakehouse::refuse_found(source, &parquet).map_err(|error| error.of(Some(uri)))?;
    }
    Ok(())
}

fn format_of(listed: &ListedFile, shows_content: bool) -> Result<SourceFormat, ListError> {
    let file = &listed.file;
    let path = || file.at.to_string();
    if file.bytes == 0 {
        return Ok(WITHOUT_ROWS);
    }
    match content_of(file) {
        Ok(Content::Rows(format)) => Ok(format),
        Ok(Content::Nothing) => Ok(WITHOUT_ROWS),
        Ok(Content::DoublyCompressed(format)) => {
            Err(ListError::DoublyCompressed { path: path(), format: format.short_name() })
        }
        Ok(Content::Other { first_line }) => {
            let begins = if shows_content { format!(" begins with `{first_line}`, which") } else { String::new() };
            Err(ListError::UnknownContent { path: path(), begins })
        }
        Err(error) => Err(ListError::Content { path: path(), error }),
    }
}
