//! JSON documents (RFC 8259): an array of objects, objects one after another in any layout, or objects that hold the
//! array at a dotted path (`records`).
//!
//! Elements are cut out of the stream one by one, so that a file of any size takes the memory of its largest element,
//! and what stands between them is checked on the way. Unlike a bad line of NDJSON, text that is not JSON ends the
//! reading: nobody knows where the next element starts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::rows::blocks::Cut;
use crate::source::rows::decode::{Buffer, unreadable};
use crate::source::rows::infer::InspectRequest;
use crate::source::rows::inspect::{self, Findings, Pieces};
use crate::source::rows::json_text::{self, Fault};
use crate::source::rows::reader::{self, RawRow, RowBlock, RowsSeen};
use crate::source::{ChunkReader, ReadRequest, SourceError, SourceFile};
use crate::swar::{find, marks};

/// Reads every row of a file for its evidence, in bounded memory.
pub fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    block_bytes: usize,
) -> (Box<dyn Pieces<'a> + 'a>, Findings<'a>) {
    let passed = PassedKeys::default();
    let seen = passed.clone();
    let (pieces, findings) = inspect::inspector(file, move || {
        let documents = Documents::open(file, request.records, block_bytes, seen.clone())?;
        Ok((documents, RowsSeen::new(file, request)))
    });
    (pieces, findings.with_passed_keys(passed))
}

/// Names of keys that are told at most: what stands around the rows is named by people, mostly.
const MAX_PASSED_KEYS: usize = 100;

/// The keys of the objects around the array of rows, which are passed over, each with the path to it.
pub(super) type PassedKeys = Arc<Mutex<BTreeSet<String>>>;

/// Opens a file for reading. Positions are numbers of elements, counted from 1 through the whole file.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema asks for a type that JSON does not give.
pub fn open(request: ReadRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    let documents = Documents::open(&request.file, request.records.as_deref(), block_bytes, PassedKeys::default())?;
    reader::json_chunks(documents, request)
}

/// Where in a document the reading is. `first`: nothing of this object or array was read yet.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Between documents.
    Top,
    /// In the object in which the path's key of this level is looked for.
    Object { level: usize, first: bool },
    /// In the array whose elements are the rows; `level` is that of the object around it.
    Array { level: Option<usize>, first: bool },
}

/// Marks quotes and brackets of both kinds, which one bit tells apart.
fn brackets_and_quotes(word: u64) -> u64 {
    let either = word | 0x2020_2020_2020_2020;
    marks(word, b'"') | marks(either, b'{') | marks(either, b'}')
}

/// Cuts a file into elements.
struct Documents {
    buffer: Buffer,
    path: Vec<String>,
    place: Place,
    /// Whether the current document's array was found.
    found: bool,
    /// Documents begun.
    documents: u64,
    /// Elements cut.
    element: u64,
    /// 1-based line of the first byte in the buffer.
    line: u64,
    /// How many bytes of elements make a block.
    block_bytes: usize,
    passed: PassedKeys,
    /// The file is read or has failed; the error is given after the block of the elements before it.
    ended: Option<Result<(), SourceError>>,
}

impl Documents {
    fn open(
        file: &SourceFile,
        records: Option<&str>,
        block_bytes: usize,
        passed: PassedKeys,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            buffer: Buffer::open(file, block_bytes)?,
            path: records.map(|r| r.split('.').map(str::to_owned).collect()).unwrap_or_default(),
            place: Place::Top,
            found: false,
            documents: 0,
            element: 0,
            line: 1,
            block_bytes,
            passed,
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

    /// Steps over white space; the byte that comes, `None` at the end of the file.
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

    /// Steps over the comma before all but the first; whether another key or element comes.
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
            None => self.fail("the file ends inside an object or array: it is cut; fetch it again"),
        }
    }

    /// The length of the value that starts at the buffer's first byte, all of it in the buffer. Only brackets and
    /// quotes are looked at: whether it is JSON is for the parser to say.
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
                        // Where the escaped byte is not there yet, the backslash is come back to.
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
                        // Words and numbers end where something else begins.
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
                return self.fail("the file ends inside a value: it is cut; fetch it again");
            }
        }
    }

    /// Cuts the value that comes and checks it.
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

    /// Notes a key that is passed over.
    fn pass(&self, level: usize, key: String) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.len() < MAX_PASSED_KEYS {
            let path: Vec<String> = self.path.iter().take(level).cloned().chain([key]).collect();
            passed.insert(path.join("."));
        }
    }

    /// Reads one key of an object of the path, and goes where it leads.
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
            self.pass(level, key);
            self.place = Place::Object { level, first: false };
            return Ok(());
        }
        let records = self.path.join(".");
        let last = level + 1 == self.path.len();
        match next {
            Some(b'[') if last && self.found => {
                return self.fail(format!("the array at `{records}` stands twice in one document"));
            }
            Some(b'[') if last => {
                self.found = true;
                self.place = Place::Array { level: Some(level), first: true };
            }
            Some(b'{') if !last => self.place = Place::Object { level: level + 1, first: true },
            None => return self.fail("the file ends inside an object: it is cut; fetch it again"),
            Some(_) => return self.fail(format!("what stands at `{records}` is not an array; check `records`")),
        }
        self.consume(1);
        Ok(())
    }

    /// The length of the next element, which then starts at the buffer's first byte; `None` at the end of the file.
    fn next_element(&mut self) -> Result<Option<usize>, SourceError> {
        loop {
            match self.place {
                Place::Top => {
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
                        (Some(b'['), true) => self.place = Place::Array { level: None, first: true },
                        (Some(b'{'), false) => {
                            self.found = false;
                            self.place = Place::Object { level: 0, first: true };
                        }
                        _ => {
                            let records = self.path.join(".");
                            return self
                                .fail(format!("expected an object with an array at `{records}`; check `records`"));
                        }
                    }
                    self.consume(1);
                }
                Place::Object { level, first } => {
                    if self.next_in(b'}', first)? {
                        self.step_into_object(level)?;
                    } else if let Some(outer) = level.checked_sub(1) {
                        self.place = Place::Object { level: outer, first: false };
                    } else if self.found {
                        self.place = Place::Top;
                    } else {
                        let (n, records) = (self.documents, self.path.join("."));
                        return self.fail(format!("document {n} has no array at `{records}`; check `records`"));
                    }
                }
                Place::Array { level, first } => {
                    if self.next_in(b']', first)? {
                        self.place = Place::Array { level, first: false };
                        return self.value_len().map(Some);
                    }
                    self.place = level.map_or(Place::Top, |level| Place::Object { level, first: false });
                }
            }
        }
    }
}

impl Cut for Documents {
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

/// Some elements, one after the other, without what stood between them.
struct Elements {
    /// The file's name.
    name: Arc<str>,
    bytes: Vec<u8>,
    /// Of each element, where it ends and the line on which it stood.
    ends: Vec<(usize, u64)>,
    /// Number of the first element in the file.
    first: u64,
    /// Index of the element that comes.
    next: usize,
}

impl Elements {
    /// Bytes and line of an element.
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

    fn broken(&self, fault: &Fault) -> Option<SourceError> {
        let Fault::Syntax { at, .. } = fault else { return None };
        let i = self.next.checked_sub(1)?;
        let (bytes, line) = self.element(i)?;
        let line = line + memchr::memchr_iter(b'\n', bytes.get(..*at).unwrap_or_default()).count() as u64;
        let message = format!("element {}: {fault}; what follows cannot be read", self.first + i as u64);
        Some(unreadable(&self.name, Some(line), message))
    }
}
