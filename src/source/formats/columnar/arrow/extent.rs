//! Locates the messages of an Arrow file and checks that they leave no gaps.

use super::error::IpcError;
use super::read_at;
use crate::store::Stored;

/// Writers align messages to at most this many bytes.
const LARGEST_GAP: u64 = 64;

/// An end-of-stream marker: continuation and a length of 0. Before format version 0.15 it was the length alone.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The bytes of one message, body included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) start: u64,
    /// First byte after it.
    pub(super) end: u64,
}

/// Start of the first message, after the padding of the file's head.
pub(super) fn first_message(handle: &Stored, head: u64, footer: u64) -> Result<u64, IpcError> {
    let padding = read_at(handle, head, LARGEST_GAP.min(footer.saturating_sub(head)), footer)?;
    let words = padding.as_slice().chunks(4).take_while(|word| word.iter().all(|byte| *byte == 0));
    Ok(head + 4 * words.count() as u64)
}

/// Checks that messages follow each other from the end of the schema to the footer.
///
/// # Errors
/// [`IpcError::Gap`] for bytes that no message covers, [`IpcError::Overlap`] for bytes that two messages cover.
pub(super) fn check_tiling(
    handle: &Stored,
    schema_end: u64,
    mut messages: Vec<Extent>,
    footer: u64,
) -> Result<(), IpcError> {
    messages.sort_unstable();
    let mut covered = schema_end;
    for message in messages {
        if message.start < covered || message.end > footer {
            return Err(IpcError::Overlap { start: message.start, end: message.end });
        }
        check_padding(handle, covered, message.start, footer)?;
        covered = message.end;
    }
    let rest = footer - covered;
    let marker = read_at(handle, covered, rest.min(END_OF_STREAM.len() as u64), footer)?;
    let after = if marker.as_slice() == END_OF_STREAM { covered + END_OF_STREAM.len() as u64 } else { covered };
    check_padding(handle, after, footer, footer)
}

/// Checks that only a few zeros separate two messages.
fn check_padding(handle: &Stored, start: u64, end: u64, footer: u64) -> Result<(), IpcError> {
    let gap = end.saturating_sub(start);
    let is_padding =
        gap == 0 || gap < LARGEST_GAP && read_at(handle, start, gap, footer)?.as_slice().iter().all(|byte| *byte == 0);
    if is_padding {
        return Ok(());
    }
    Err(IpcError::Gap { start, end })
}
