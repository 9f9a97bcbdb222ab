//! Why a file is not valid Arrow IPC.

use std::num::TryFromIntError;

use arrow::error::ArrowError;
use arrow::ipc::MessageHeader;

use super::MAX_INFLATED_BYTES;

/// The first fault found in an Arrow file or stream. Offsets count bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum IpcError {
    #[error("it is truncated: it begins as an Arrow file and does not end as one; copy it again")]
    FileCutShort,
    #[error("it ends at byte {end}, in the middle of a message; copy it again")]
    MessageCutShort { end: u64 },
    #[error("it ends without an end-of-stream marker, so rows may be missing; copy it again")]
    NoEndOfStream,
    #[error("it is empty")]
    Empty,
    #[error("{bytes} bytes follow its end-of-stream marker")]
    TrailingBytes { bytes: u64 },
    #[error("its footer is longer than the file")]
    FooterLength,
    #[error("its footer lists no record batches")]
    NoBatchList,
    #[error("its footer points before the start of the file")]
    NegativeOffset,
    #[error("its footer and its head have different schemas; copy it again")]
    SchemasDiffer,
    #[error("it has no schema before its record batches")]
    NoSchemaBeforeBatches,
    #[error("it has no schema")]
    NoSchema,
    #[error("it does not begin with a schema: {0}")]
    NotASchema(String),
    #[error("it was written on a machine with the other byte order")]
    ByteOrder,
    #[error("{part} is corrupt: {cause}")]
    Flatbuffer { part: &'static str, cause: String },
    #[error("{0} is corrupt")]
    Corrupt(&'static str),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("a message claims {0} bytes")]
    BodyLength(i64),
    #[error("a {0:?} message appears among the record batches")]
    UnexpectedMessage(MessageHeader),
    #[error("a record batch claims {0} rows")]
    RowCount(i64),
    #[error("a record batch claims {0} rows, but its first column has a different number")]
    RowCountsDiffer(i64),
    #[error("a record batch has {0} bytes that belong to none of its columns")]
    UncoveredBytes(usize),
    #[error("a compressed buffer claims {0} bytes, more than {MAX}", MAX = MAX_INFLATED_BYTES)]
    InflatedBytes(i64),
    #[error(
        "its footer lists a message from byte {start} to byte {end}, which overlaps another message or the footer; copy it \
         again"
    )]
    Overlap { start: u64, end: u64 },
    #[error("its footer lists nothing from byte {start} to byte {end}, so rows may be missing; copy it again")]
    Gap { start: u64, end: u64 },
    #[error(
        "the message at byte {start} ends at byte {end}, but at byte {listed_end} according to the footer; copy the file again"
    )]
    MessageEnd { start: u64, end: u64, listed_end: u64 },
    #[error(transparent)]
    AddressSpace(#[from] TryFromIntError),
    #[error("{0}")]
    Read(std::io::Error),
    #[error(transparent)]
    Library(#[from] ArrowError),
}

impl IpcError {
    /// For `map_err`: names the flatbuffer that failed verification. The verifier's error type does not implement
    /// [`std::error::Error`], so its text is kept.
    pub(super) fn flatbuffer<E: std::fmt::Display>(part: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Flatbuffer { part, cause: cause.to_string() }
    }
}
