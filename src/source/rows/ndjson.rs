//! NDJSON: one JSON object a line (ndjson.org, jsonlines.org).
//!
//! Lines end with LF or CRLF; the last may end with the file, because an object says itself where it ends. A byte
//! order mark is skipped, and so are blank lines. A line that cannot be read does not hide the next one.

use crate::source::rows::decode::Buffer;
use crate::source::rows::infer::{InspectRequest, RowFacts};
use crate::source::rows::json_text::Fault;
use crate::source::rows::reader::{self, JsonRows, RawRow, RowCutter};
use crate::source::{BatchReader, ReadRequest, SourceError, SourceFile};

/// Reads every row of a file for its evidence, in bounded memory.
pub fn inspect(file: &SourceFile, request: &InspectRequest) -> RowFacts {
    reader::inspect(file, request, || Lines::open(file))
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema asks for a type that JSON does not give.
pub fn open(request: ReadRequest) -> Result<Box<dyn BatchReader>, SourceError> {
    Ok(Box::new(JsonRows::new(Lines::open(&request.file)?, &request)?))
}

/// Cuts a file into lines.
struct Lines {
    buffer: Buffer,
    /// Lines cut so far.
    line: u64,
    /// Bytes of the line given last, its end included.
    given: usize,
}

impl Lines {
    fn open(file: &SourceFile) -> Result<Self, SourceError> {
        Ok(Self { buffer: Buffer::open(file)?, line: 0, given: 0 })
    }

    /// Lengths of the next line without and with its end; `None` at the end of the file.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>, SourceError> {
        let mut searched = 0;
        loop {
            let data = self.buffer.data();
            if let Some(i) = memchr::memchr(b'\n', data.get(searched..).unwrap_or_default()) {
                return Ok(Some((searched + i, searched + i + 1)));
            }
            searched = data.len();
            if !self.buffer.fill()? {
                return Ok((searched > 0).then_some((searched, searched)));
            }
        }
    }
}

impl RowCutter for Lines {
    fn next_row(&mut self) -> Result<Option<RawRow<'_>>, SourceError> {
        let len = loop {
            self.buffer.consume(std::mem::take(&mut self.given));
            let next = self.next_line().map_err(|e| SourceError { position: Some(self.line + 1), ..e })?;
            let Some((len, given)) = next else { return Ok(None) };
            self.line += 1;
            self.given = given;
            let line = self.buffer.data().get(..len).unwrap_or_default();
            if !line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
                break len;
            }
        };
        let line = self.buffer.data().get(..len).unwrap_or_default();
        Ok(Some(RawRow { position: self.line, bytes: line.strip_suffix(b"\r").unwrap_or(line) }))
    }

    fn broken(&self, _: &Fault) -> Option<SourceError> {
        None
    }
}
