//! JSON documents (RFC 8259): an array of objects, objects one after another in any layout, or documents that hold the rows
//! in an array (`records`).
//!
//! Elements are cut out of the stream one by one, so memory is bounded by the largest element. The text between elements
//! is checked on the way. Unlike a bad line of NDJSON, text that is not JSON ends the reading, because the start of the
//! next element is unknown. Only if the rows are in arrays of arrays, or keep fields of their documents, is a document held
//! whole: its fields may stand behind its rows.

use std::ops::Range;
use std::sync::Arc;

use crate::job::{Envelope, KeptField};
use crate::source::InspectRequest;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::CutBlocks;
use crate::source::formats::rows::decode::{Buffer, MAX_ROW_BYTES, unreadable};
use crate::source::formats::rows::envelope::{self, ElementChecks, EnvelopeFault, Expansion, SkippedKeys};
use crate::source::formats::rows::inspect::{self, InspectionSteps, StepResults};
use crate::source::formats::rows::json_text::{self, Extent, Fault};
use crate::source::formats::rows::reader::{self, JsonRowInspector, RawRow, RowBlock};
use crate::source::{ChunkReader, SourceError, SourceFile};

/// Inspects every row of a file, in bounded memory.
pub(crate) fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    envelope: Option<&'a Arc<Envelope>>,
    block_bytes: usize,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    inspect::block_steps(file, move || {
        let documents = Documents::open(file, envelope, block_bytes)?;
        Ok((documents, JsonRowInspector::new(file, request)))
    })
}

/// Opens a file for reading. Positions are element numbers, counted from 1 through the whole file.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema has a type that JSON cannot supply.
pub(crate) fn open(request: FileRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    let documents = Documents::open(&request.file, request.text.envelope.as_ref(), block_bytes)?;
    reader::json_chunks(documents, request)
}

/// The reading position in a document. `first`: no entry of this object or array has been read.
#[derive(Debug, Clone, Copy)]
enum Cursor {
    /// Between documents.
    Top,
    /// In the object that should hold the key of the path at this level.
    Object { level: usize, first: bool },
    /// In the array of rows; `level` is the level of the surrounding object.
    Array { level: Option<usize>, first: bool },
}

/// A document at the start of the buffer, held until its rows are cut.
struct HeldDocument {
    len: usize,
    rows: Expansion,
    /// An offset, and its line in the file.
    line: (usize, u64),
}

/// What comes next in a file.
enum Next {
    /// An element of this length.
    Element(usize),
    /// A document that is held.
    Held,
    End,
}

/// Cuts a file into elements.
struct Documents {
    buffer: Buffer,
    /// Keys of the path of the rows.
    path: Vec<String>,
    /// There if documents must be held whole.
    envelope: Option<Arc<Envelope>>,
    held: Option<HeldDocument>,
    max_document_bytes: usize,
    cursor: Cursor,
    /// Whether the array of the current document has been found.
    found: bool,
    /// Keys of the path that the current document has.
    passed_keys: usize,
    /// Number of documents begun.
    documents: u64,
    /// Number of elements cut.
    element: u64,
    /// 1-based line of the first byte in the buffer.
    line: u64,
    /// Bytes of elements that fill a block.
    block_bytes: usize,
    /// Keys that were skipped since the last block.
    skipped: SkippedKeys,
    /// Set once the file is read or has failed. The error is returned after the block of the elements before it.
    ended: Option<Result<(), SourceError>>,
}

impl Documents {
    fn open(file: &SourceFile, envelope: Option<&Arc<Envelope>>, block_bytes: usize) -> Result<Self, SourceError> {
        let plain = envelope.filter(|envelope| envelope.keep.is_empty()).and_then(|e| e.records.plain_keys());
        Ok(Self {
            buffer: Buffer::open(file, block_bytes)?,
            envelope: envelope.filter(|_| plain.is_none()).cloned(),
            path: plain.unwrap_or_default().into_iter().map(str::to_owned).collect(),
            held: None,
            max_document_bytes: MAX_ROW_BYTES,
            cursor: Cursor::Top,
            found: false,
            passed_keys: 0,
            documents: 0,
            element: 0,
            line: 1,
            block_bytes,
            skipped: SkippedKeys::default(),
            ended: None,
        })
    }

    fn fail<T>(&self, why: impl Into<String>) -> Result<T, SourceError> {
        Err(unreadable(self.buffer.name(), Some(self.line), why))
    }

    fn fill(&mut self) -> Result<bool, SourceError> {
        let line = self.line;
        self.buffer.fill(usize::MAX).map_err(|e| SourceError { position: Some(line), ..e })
    }

    fn consume(&mut self, n: usize) {
        let gone = self.buffer.data().get(..n).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', gone).count() as u64;
        self.buffer.consume(n);
    }

    /// Skips white space and returns the next byte; `None` at the end of the file.
    fn peek(&mut self) -> Result<Option<u8>, SourceError> {
        loop {
            let data = self.buffer.data();
            let space = data.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
            match space {
                Some(n) => {
                    let byte = data.get(n).copied();
                    self.consume(n);
                    return Ok(byte);
                }
                None => {
                    self.consume(self.buffer.data().len());
                    if !self.fill()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Skips the comma before any entry but the first. Returns whether another key or element follows.
    fn next_in(&mut self, close: u8, first: bool) -> Result<bool, SourceError> {
        match self.peek()? {
            Some(b) if b == close => {
                self.consume(1);
                Ok(false)
            }
            Some(b',') if !first => {
                self.consume(1);
                match self.peek()? {
                    Some(b) if b == close => self.fail("not JSON: a value must follow a comma"),
                    _ => Ok(true),
                }
            }
            Some(_) if first => Ok(true),
            Some(_) => self.fail("not JSON: expected `,` or a closing bracket"),
            None => self.fail("the file ends inside an object or array: it is truncated; fetch it again"),
        }
    }

    /// Fills the buffer until it holds the whole value at its start, and returns the length of the value. Only matches
    /// brackets and quotes; the parser decides whether the value is JSON.
    fn value_len(&mut self) -> Result<usize, SourceError> {
        let mut extent = Extent::default();
        loop {
            if let Some(len) = extent.len(self.buffer.data()) {
                return Ok(len);
            }
            if self.envelope.is_some() && self.buffer.data().len() > self.max_document_bytes {
                let mib = self.max_document_bytes >> 20;
                return self.fail(format!(
                    "document {} is longer than {mib} MiB, and is held in memory whole because of `keep` or a `[]` inside \
                     `records`; write several documents",
                    self.documents
                ));
            }
            if !self.fill()? {
                let len = self.buffer.data().len();
                if extent.may_end() && len > 0 {
                    return Ok(len);
                }
                return self.fail("the file ends inside a value: it is truncated; fetch it again");
            }
        }
    }

    /// Cuts the next value and checks it.
    fn checked_value(&mut self) -> Result<String, SourceError> {
        let len = self.value_len()?;
        let bytes = self.buffer.data().get(..len).unwrap_or_default();
        let checked = reader::utf8(bytes).and_then(|text| json_text::check(text).map(|()| text.to_owned()));
        match checked {
            Ok(text) => {
                self.consume(len);
                Ok(text)
            }
            Err(fault) => self.fail(fault.to_string()),
        }
    }

    /// Records a key that is skipped.
    fn record_skipped(&mut self, level: usize, key: &str) {
        let path: Vec<&str> = self.path.iter().take(level).map(String::as_str).chain([key]).collect();
        self.skipped.add(&path.join("."));
    }

    /// Reads one key of an object on the path and enters its value if it is on the path, too.
    fn step_into_object(&mut self, level: usize) -> Result<(), SourceError> {
        if self.peek()? != Some(b'"') {
            return self.fail("not JSON: expected a key in quotes");
        }
        let raw = self.checked_value()?;
        if self.peek()? != Some(b':') {
            return self.fail("not JSON: expected `:` after a key");
        }
        self.consume(1);
        let next = self.peek()?;
        let key: String = serde_json::from_str(&raw).unwrap_or_default();
        if self.path.get(level) != Some(&key) {
            self.checked_value()?;
            self.record_skipped(level, &key);
            self.cursor = Cursor::Object { level, first: false };
            return Ok(());
        }
        let records = self.path.join(".");
        let last = level + 1 == self.path.len();
        if level < self.passed_keys {
            return self.fail(format!("the array at `{records}` appears twice in one document"));
        }
        self.passed_keys = level + 1;
        match next {
            // An empty array.
            Some(b'n') if self.checked_value()? == "null" => {
                self.found = true;
                self.cursor = Cursor::Object { level, first: false };
                return Ok(());
            }
            Some(b'[') if last => {
                self.found = true;
                self.cursor = Cursor::Array { level: Some(level), first: true };
            }
            Some(b'{') if !last => self.cursor = Cursor::Object { level: level + 1, first: true },
            None => return self.fail("the file ends inside an object: it is truncated; fetch it again"),
            Some(_) => return self.fail(format!("the value at `{records}` is not an array; check `records`")),
        }
        self.consume(1);
        Ok(())
    }

    /// Finds the rows of the document at the start of the buffer, which stays there until they are cut.
    fn hold_document(&mut self) -> Result<(), SourceError> {
        let Some(envelope) = self.envelope.clone() else { return Ok(()) };
        let len = self.value_len()?;
        let n = self.documents;
        let data = self.buffer.data().get(..len).unwrap_or_default();
        let text = match std::str::from_utf8(data) {
            Ok(text) => text,
            Err(e) => {
                let at = e.valid_up_to();
                return self.fail_inside(at, format!("document {n} is not UTF-8 at byte {}", at + 1));
            }
        };
        match envelope::expand(&envelope, text, ElementChecks::Later, &mut self.skipped) {
            Ok(rows) => {
                self.held = Some(HeldDocument { len, rows, line: (0, self.line) });
                Ok(())
            }
            Err(EnvelopeFault::Json(Fault::Syntax { at, why })) => {
                self.fail_inside(at, format!("document {n} is not JSON at byte {}: {why}", at + 1))
            }
            Err(EnvelopeFault::Json(Fault::Content(why))) => self.fail(format!("document {n}: {why}")),
            Err(EnvelopeFault::Path(why)) => self.fail(format!("document {n} {why}")),
        }
    }

    /// Fails at the line of an offset in the buffer.
    fn fail_inside<T>(&self, at: usize, why: String) -> Result<T, SourceError> {
        let before = self.buffer.data().get(..at).unwrap_or_default();
        let line = self.line + memchr::memchr_iter(b'\n', before).count() as u64;
        Err(unreadable(self.buffer.name(), Some(line), why))
    }

    /// Appends the next row of the held document to a block. Returns whether there was one.
    fn cut_held(&mut self, held: &mut HeldDocument, block: &mut Elements) -> Result<bool, SourceError> {
        let document = self.buffer.data().get(..held.len).unwrap_or_default();
        let element = match held.rows.next_element(document) {
            Ok(Some(element)) => element,
            Ok(None) => return Ok(false),
            Err(Fault::Syntax { at, why }) => {
                let n = self.documents;
                return self.fail_inside(at, format!("document {n} is not JSON at byte {}: {why}", at + 1));
            }
            Err(Fault::Content(why)) => return self.fail(why),
        };
        let (at, line) = held.line;
        let between = document.get(at..element.place.start).unwrap_or_default();
        let line = line + memchr::memchr_iter(b'\n', between).count() as u64;
        held.line = (element.place.start, line);
        if let Some(kept) = &mut block.kept {
            kept.add(&held.rows, element.scope, document);
        }
        self.element += 1;
        block.bytes.extend_from_slice(document.get(element.place).unwrap_or_default());
        block.ends.push((block.bytes.len(), line));
        Ok(true)
    }

    /// Appends the next row of the file to a block. Returns whether there was one.
    fn cut_element(&mut self, block: &mut Elements) -> Result<bool, SourceError> {
        loop {
            if let Some(mut held) = self.held.take() {
                if self.cut_held(&mut held, block)? {
                    self.held = Some(held);
                    return Ok(true);
                }
                self.consume(held.len);
                // The rows of another document keep other values.
                block.kept.iter_mut().for_each(|kept| kept.scope = None);
            }
            match self.next_element()? {
                Next::Held => {}
                Next::End => return Ok(false),
                Next::Element(len) => {
                    self.element += 1;
                    block.bytes.extend_from_slice(self.buffer.data().get(..len).unwrap_or_default());
                    block.ends.push((block.bytes.len(), self.line));
                    self.consume(len);
                    return Ok(true);
                }
            }
        }
    }

    /// Moves the next element to the start of the buffer.
    fn next_element(&mut self) -> Result<Next, SourceError> {
        loop {
            match self.cursor {
                Cursor::Top => {
                    let byte = self.peek()?;
                    match byte {
                        None if self.documents == 0 => {
                            return self.fail("the file is empty: a JSON text has at least one value");
                        }
                        None => return Ok(Next::End),
                        Some(b'{' | b'[') => self.documents += 1,
                        Some(_) => return self.fail("expected a JSON object or an array of objects"),
                    }
                    if self.envelope.is_some() {
                        return self.hold_document().map(|()| Next::Held);
                    }
                    match (byte, self.path.is_empty()) {
                        (Some(b'{'), true) => return self.value_len().map(Next::Element),
                        (Some(b'['), true) => self.cursor = Cursor::Array { level: None, first: true },
                        (Some(b'{'), false) => {
                            (self.found, self.passed_keys) = (false, 0);
                            self.cursor = Cursor::Object { level: 0, first: true };
                        }
                        _ => {
                            let records = self.path.join(".");
                            return self
                                .fail(format!("expected an object with an array at `{records}`; check `records`"));
                        }
                    }
                    self.consume(1);
                }
                Cursor::Object { level, first } => {
                    if self.next_in(b'}', first)? {
                        self.step_into_object(level)?;
                    } else if let Some(outer) = level.checked_sub(1) {
                        self.cursor = Cursor::Object { level: outer, first: false };
                    } else if self.found {
                        self.cursor = Cursor::Top;
                    } else {
                        let (n, records) = (self.documents, self.path.join("."));
                        return self.fail(format!("document {n} has no array at `{records}`; check `records`"));
                    }
                }
                Cursor::Array { level, first } => {
                    if self.next_in(b']', first)? {
                        self.cursor = Cursor::Array { level, first: false };
                        return self.value_len().map(Next::Element);
                    }
                    self.cursor = level.map_or(Cursor::Top, |level| Cursor::Object { level, first: false });
                }
            }
        }
    }
}

impl CutBlocks for Documents {
    type Block = Elements;

    fn next_block(&mut self) -> Result<Option<Elements>, SourceError> {
        let keep = self.envelope.as_ref().map(|envelope| envelope.keep.clone()).filter(|keep| !keep.is_empty());
        let mut block = Elements {
            name: self.buffer.name().into(),
            bytes: Vec::new(),
            ends: Vec::new(),
            first: self.element + 1,
            next: 0,
            kept: keep.map(KeptValues::new),
            skipped: SkippedKeys::default(),
        };
        while self.ended.is_none() && block.len() < self.block_bytes {
            match self.cut_element(&mut block) {
                Ok(true) => {}
                Ok(false) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
        }
        block.skipped = std::mem::take(&mut self.skipped);
        if !block.ends.is_empty() || !block.skipped.is_empty() {
            return Ok(Some(block));
        }
        self.ended.replace(Ok(())).unwrap_or(Ok(())).map(|()| None)
    }
}

/// Some elements, joined without the text between them.
struct Elements {
    /// The name of the file.
    name: Arc<str>,
    bytes: Vec<u8>,
    /// For each element, its end in `bytes` and its line in the file.
    ends: Vec<(usize, u64)>,
    /// Number in the file of the first element.
    first: u64,
    /// Index of the next element.
    next: usize,
    /// There if rows keep fields of their documents.
    kept: Option<KeptValues>,
    /// Keys around the elements.
    skipped: SkippedKeys,
}

/// What the elements of a block keep.
struct KeptValues {
    keep: Arc<[KeptField]>,
    /// The kept fields of all scopes, joined.
    fields: String,
    /// For each element, the place of its fields.
    places: Vec<Range<usize>>,
    /// The scope of the last element in its document.
    scope: Option<usize>,
    /// The row that was given last.
    row: String,
}

impl KeptValues {
    fn new(keep: Arc<[KeptField]>) -> Self {
        Self { keep, fields: String::new(), places: Vec::new(), scope: None, row: String::new() }
    }

    /// Adds what the next element keeps.
    fn add(&mut self, rows: &Expansion, scope: usize, document: &[u8]) {
        let last = self.places.last().filter(|_| self.scope == Some(scope)).cloned();
        let place = last.unwrap_or_else(|| {
            let start = self.fields.len();
            rows.kept_fields(scope, &self.keep, document, &mut self.fields);
            start..self.fields.len()
        });
        self.places.push(place);
        self.scope = Some(scope);
    }

    /// The row of an element; `None` if that is the element itself.
    fn row(&mut self, i: usize, element: &[u8]) -> Option<Result<&str, Fault>> {
        let fields = self.fields.get(self.places.get(i)?.clone())?;
        envelope::keep_in_row(&self.keep, fields, element, &mut self.row)
    }
}

impl Elements {
    /// Bytes that the block holds.
    fn len(&self) -> usize {
        self.bytes.len() + self.kept.as_ref().map_or(0, |kept| kept.fields.len())
    }
}

/// The bytes and the line of an element.
fn element<'b>(bytes: &'b [u8], ends: &[(usize, u64)], i: usize) -> Option<(&'b [u8], u64)> {
    let (end, line) = *ends.get(i)?;
    let start = i.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |before| before.0);
    Some((bytes.get(start..end)?, line))
}

impl RowBlock for Elements {
    fn next_row(&mut self) -> Option<RawRow<'_>> {
        let i = self.next;
        self.next += 1;
        let (bytes, _) = element(&self.bytes, &self.ends, i)?;
        let expanded = self.kept.as_mut().and_then(|kept| kept.row(i, bytes));
        Some(RawRow { position: self.first + i as u64, bytes, expanded })
    }

    fn rewind(&mut self) {
        self.next = 0;
    }

    fn fatal_error(&self, fault: &Fault) -> Option<SourceError> {
        let Fault::Syntax { at, .. } = fault else { return None };
        let i = self.next.checked_sub(1)?;
        let (bytes, line) = element(&self.bytes, &self.ends, i)?;
        let line = line + memchr::memchr_iter(b'\n', bytes.get(..*at).unwrap_or_default()).count() as u64;
        let message = format!("element {}: {fault}; what follows cannot be read", self.first + i as u64);
        Some(unreadable(&self.name, Some(line), message))
    }

    fn skipped_keys(&self) -> Option<&SkippedKeys> {
        Some(&self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{RecordsPath, SourceCompression, SourceFormat};
    use crate::source::formats::rows::decode::tests::fixture;

    #[test]
    fn a_document_that_is_too_long_to_be_held_is_refused() {
        let row = "{\"a\":\"0123456789012345678901234567890123456789012345678\"},";
        let document = format!("{{\"r\":[{{\"s\":[{}1]}}]}}", row.repeat(40_000));
        let text = format!("{{\"r\":[]}}\n{document}");
        let fixture = fixture("a.json", SourceFormat::Json, SourceCompression::None, text.as_bytes());
        let envelope = |records| Arc::new(Envelope { records: RecordsPath::new(records).unwrap(), keep: [].into() });
        let open = |records| {
            let mut documents = Documents::open(&fixture.file, Some(&envelope(records)), 1 << 10).unwrap();
            documents.max_document_bytes = 1 << 20;
            documents
        };
        let error = open("r[].s").next_block().map(|_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.json:2: document 2 is longer than 1 MiB, and is held in memory whole because of `keep` or a `[]` inside \
             `records`; write several documents"
        );
        // The elements of one array are cut out of the stream.
        assert!(open("r").next_block().is_ok());
    }
}
