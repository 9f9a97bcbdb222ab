//! JSON documents (RFC 8259): an array of objects, objects one after another in any layout, or objects that hold the
//! array at a dotted path (`records`).
//!
//! Elements are cut out of the stream one by one, so memory is bounded by the largest element. The text between elements
//! is checked on the way. Unlike a bad line of NDJSON, text that is not JSON ends the reading, because the start of the
//! next element is unknown.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::InspectRequest;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::CutBlocks;
use crate::source::formats::rows::decode::{Buffer, unreadable};
use crate::source::formats::rows::inspect::{self, InspectionSteps, StepResults};
use crate::source::formats::rows::json_text::{self, Fault};
use crate::source::formats::rows::reader::{self, JsonRowInspector, RawRow, RowBlock};
use crate::source::{ChunkReader, SourceError, SourceFile};
use crate::swar::{find, marks};

/// Inspects every row of a file, in bounded memory. `records` is the dotted path of the array inside each document.
pub(crate) fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    records: Option<&'a str>,
    block_bytes: usize,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    let skipped = SkippedKeys::default();
    let seen = skipped.clone();
    let (steps, findings) = inspect::block_steps(file, move || {
        let documents = Documents::open(file, records, block_bytes, seen.clone())?;
        Ok((documents, JsonRowInspector::new(file, request)))
    });
    (steps, findings.with_skipped_keys(skipped))
}

/// Skipped keys that are reported. Keys outside the rows are usually few and hand-designed.
const MAX_SKIPPED_KEYS: usize = 100;

/// Paths of the keys that surround the array of rows and are skipped.
pub(super) type SkippedKeys = Arc<Mutex<BTreeSet<String>>>;

/// Opens a file for reading. Positions are element numbers, counted from 1 through the whole file.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema has a type that JSON cannot supply.
pub(crate) fn open(request: FileRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    let documents =
        Documents::open(&request.file, request.text.records.as_deref(), block_bytes, SkippedKeys::default())?;
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

/// Marks quotes, braces and brackets. One bit distinguishes braces from brackets, so one mask finds both.
fn brackets_and_quotes(word: u64) -> u64 {
    let either = word | 0x2020_2020_2020_2020;
    marks(word, b'"') | marks(either, b'{') | marks(either, b'}')
}

/// Cuts a file into elements.
struct Documents {
    buffer: Buffer,
    path: Vec<String>,
    cursor: Cursor,
    /// Whether the array of the current document has been found.
    found: bool,
    /// Number of documents begun.
    documents: u64,
    /// Number of elements cut.
    element: u64,
    /// 1-based line of the first byte in the buffer.
    line: u64,
    /// Bytes of elements that fill a block.
    block_bytes: usize,
    skipped: SkippedKeys,
    /// Set once the file is read or has failed. The error is returned after the block of the elements before it.
    ended: Option<Result<(), SourceError>>,
}

impl Documents {
    fn open(
        file: &SourceFile,
        records: Option<&str>,
        block_bytes: usize,
        skipped: SkippedKeys,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            buffer: Buffer::open(file, block_bytes)?,
            path: records.map(|r| r.split('.').map(str::to_owned).collect()).unwrap_or_default(),
            cursor: Cursor::Top,
            found: false,
            documents: 0,
            element: 0,
            line: 1,
            block_bytes,
            skipped,
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
        let mut at = 0;
        let mut depth = 0usize;
        let mut in_string = false;
        loop {
            let data = self.buffer.data();
            while let Some(&byte) = data.get(at) {
                if in_string {
                    let marked = |w| marks(w, b'"') | marks(w, b'\\');
                    at = find(data, at, marked, |b| matches!(b, b'"' | b'\\'));
                    match data.get(at) {
                        // The escaped byte is not in the buffer yet: look at the backslash again.
                        Some(b'\\') if at + 1 >= data.len() => break,
                        Some(b'\\') => at += 2,
                        Some(_) => {
                            at += 1;
                            in_string = false;
                        }
                        None => {}
                    }
                    if in_string {
                        continue;
                    }
                } else {
                    match byte {
                        b'"' => in_string = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' if depth > 0 => depth -= 1,
                        _ if depth > 0 => {
                            at = find(data, at, brackets_and_quotes, |b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'));
                            continue;
                        }
                        b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => return Ok(at.max(1)),
                        // Literals and numbers end at the next delimiter.
                        _ => {
                            at += 1;
                            continue;
                        }
                    }
                    at += 1;
                }
                if depth == 0 && !in_string {
                    return Ok(at);
                }
            }
            if !self.fill()? {
                let len = self.buffer.data().len();
                if depth == 0 && !in_string && len > 0 {
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
    fn record_skipped(&self, level: usize, key: String) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        if skipped.len() < MAX_SKIPPED_KEYS {
            let path: Vec<String> = self.path.iter().take(level).cloned().chain([key]).collect();
            skipped.insert(path.join("."));
        }
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
            self.record_skipped(level, key);
            self.cursor = Cursor::Object { level, first: false };
            return Ok(());
        }
        let records = self.path.join(".");
        let last = level + 1 == self.path.len();
        match next {
            Some(b'[') if last && self.found => {
                return self.fail(format!("the array at `{records}` appears twice in one document"));
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

    /// Moves the next element to the start of the buffer and returns its length; `None` at the end of the file.
    fn next_element(&mut self) -> Result<Option<usize>, SourceError> {
        loop {
            match self.cursor {
                Cursor::Top => {
                    let byte = self.peek()?;
                    match byte {
                        None if self.documents == 0 => {
                            return self.fail("the file is empty: a JSON text has at least one value");
                        }
                        None => return Ok(None),
                        Some(b'{' | b'[') => self.documents += 1,
                        Some(_) => return self.fail("expected a JSON object or an array of objects"),
                    }
                    match (byte, self.path.is_empty()) {
                        (Some(b'{'), true) => return self.value_len().map(Some),
                        (Some(b'['), true) => self.cursor = Cursor::Array { level: None, first: true },
                        (Some(b'{'), false) => {
                            self.found = false;
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
                        return self.value_len().map(Some);
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
        let name: Arc<str> = self.buffer.name().into();
        let mut block = Elements { name, bytes: Vec::new(), ends: Vec::new(), first: self.element + 1, next: 0 };
        while self.ended.is_none() && block.bytes.len() < self.block_bytes {
            match self.next_element() {
                Ok(Some(len)) => {
                    self.element += 1;
                    block.bytes.extend_from_slice(self.buffer.data().get(..len).unwrap_or_default());
                    block.ends.push((block.bytes.len(), self.line));
                    self.consume(len);
                }
                Ok(None) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
        }
        if !block.ends.is_empty() {
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
}

impl Elements {
    /// The bytes and the line of an element.
    fn element(&self, i: usize) -> Option<(&[u8], u64)> {
        let (end, line) = *self.ends.get(i)?;
        let start = i.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |before| before.0);
        Some((self.bytes.get(start..end)?, line))
    }
}

impl RowBlock for Elements {
    fn next_row(&mut self) -> Option<RawRow<'_>> {
        let i = self.next;
        self.next += 1;
        let (bytes, _) = self.element(i)?;
        Some(RawRow { position: self.first + i as u64, bytes })
    }

    fn rewind(&mut self) {
        self.next = 0;
    }

    fn fatal_error(&self, fault: &Fault) -> Option<SourceError> {
        let Fault::Syntax { at, .. } = fault else { return None };
        let i = self.next.checked_sub(1)?;
        let (bytes, line) = self.element(i)?;
        let line = line + memchr::memchr_iter(b'\n', bytes.get(..*at).unwrap_or_default()).count() as u64;
        let message = format!("element {}: {fault}; what follows cannot be read", self.first + i as u64);
        Some(unreadable(&self.name, Some(line), message))
    }
}
