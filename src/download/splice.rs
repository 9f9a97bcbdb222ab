//! Headers, brackets and separators of text shards, and how they are removed when shards are joined.
//!
//! | format | a shard | joined |
//! |---|---|---|
//! | CSV | byte order mark and header, as the dialect has them, then records | both of the first shard, then all records |
//! | NDJSON | lines | all lines |
//! | JSON | `[`, rows with `,` between them, `]` | one `[`, all rows, one `]` |
//!
//! Rows are passed on as they are, in blocks; only the ends of a shard are looked at. The result is what one shard of all
//! rows would be. The format of shards is that of `encode::text_shard`; blanks at the ends of an array may differ.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::package::manifest::{Manifest, ResolvedError};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The longest header that is compared. A name of a column may be long, but not every name of thousands.
const MAX_HEADER_BYTES: usize = 16 << 20;

/// Bytes at the end of a JSON shard that are looked at: the bracket and the blanks around it.
const HELD_BYTES: usize = 64;

/// What joining has to remember from shard to shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    /// SHA-256 of the first shard's header.
    header_sha256: Option<String>,
    /// JSON: whether a row was written, so that the next one comes after a comma.
    has_rows: bool,
}

/// A shard that cannot be spliced, or a file that cannot be written.
#[derive(Debug)]
pub(super) enum SpliceError {
    Shard(String),
    Write(io::Error),
}

impl From<io::Error> for SpliceError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

fn shard_error<T>(why: &str) -> Result<T, SpliceError> {
    Err(SpliceError::Shard(why.to_owned()))
}

/// How shards of one manifest are joined.
#[derive(Debug, Clone, Copy)]
pub(super) enum Splice {
    Csv { bom: bool, header: bool },
    Ndjson,
    Json,
}

impl Splice {
    /// For CSV shards of the dialect in the manifest.
    ///
    /// # Errors
    /// [`ResolvedError`] for a dialect that cannot be read.
    pub(super) fn csv(manifest: &Manifest) -> Result<Self, ResolvedError> {
        let csv = manifest.spec.resolved.csv()?;
        // A source without any column gives shards that have not even a header.
        Ok(Self::Csv { bom: csv.bom, header: csv.header && !manifest.columns.is_empty() })
    }

    /// What stands after the last row.
    pub(super) fn tail(self, seen: &Seen) -> &'static [u8] {
        match self {
            Self::Csv { .. } | Self::Ndjson => b"",
            Self::Json if seen.has_rows => b"\n]\n",
            Self::Json => b"[]\n",
        }
    }

    /// Begins a shard; `is_first` where no other was before.
    pub(super) fn shard(self, seen: Seen, is_first: bool) -> Piece {
        let stage = match self {
            Self::Csv { bom: true, .. } => Stage::Mark,
            Self::Csv { header: true, .. } => Stage::Header,
            Self::Csv { .. } | Self::Ndjson => Stage::Rows,
            Self::Json => Stage::Bracket,
        };
        Piece {
            splice: self,
            seen,
            is_first,
            stage,
            held: Vec::new(),
            is_quoted: false,
            has_rows: false,
            last: None,
            lines: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the byte order mark.
    Mark,
    /// In the header.
    Header,
    /// Before the opening bracket.
    Bracket,
    /// Between the bracket and the first row.
    BeforeRows,
    Rows,
}

/// A shard on its way into the joined file.
pub(super) struct Piece {
    splice: Splice,
    seen: Seen,
    /// Whether no shard was before.
    is_first: bool,
    stage: Stage,
    /// Not passed on yet: the header, or what may be the end of an array.
    held: Vec<u8>,
    /// Whether the header is inside quotes.
    is_quoted: bool,
    /// Whether a row of this array was passed on.
    has_rows: bool,
    last: Option<u8>,
    lines: u64,
}

impl Piece {
    /// Takes the next bytes of the shard.
    pub(super) fn push(&mut self, mut block: &[u8], out: &mut impl Write) -> Result<(), SpliceError> {
        while !block.is_empty() {
            match self.stage {
                Stage::Mark => {
                    let missing = BYTE_ORDER_MARK.len() - self.held.len();
                    let (mark, rest) = block.split_at(missing.min(block.len()));
                    self.held.extend_from_slice(mark);
                    block = rest;
                    if self.held.len() == BYTE_ORDER_MARK.len() {
                        self.mark(out)?;
                    }
                }
                Stage::Header => {
                    let end = self.header_end(block);
                    let (header, rest) = block.split_at(end.unwrap_or(block.len()));
                    self.held.extend_from_slice(header);
                    if self.held.len() > MAX_HEADER_BYTES {
                        return shard_error("its header has no end");
                    }
                    block = rest;
                    if end.is_some() {
                        self.header(out)?;
                    }
                }
                Stage::Bracket => {
                    block = block.trim_ascii_start();
                    if let Some((first, rest)) = block.split_first() {
                        if *first != b'[' {
                            return shard_error("it does not begin as a JSON array");
                        }
                        block = rest;
                        self.stage = Stage::BeforeRows;
                    }
                }
                // What comes first may be the closing bracket, which `held` finds at the end.
                Stage::BeforeRows => {
                    block = block.trim_ascii_start();
                    if !block.is_empty() {
                        self.stage = Stage::Rows;
                    }
                }
                Stage::Rows => {
                    self.rows(block, out)?;
                    block = &[];
                }
            }
        }
        Ok(())
    }

    fn mark(&mut self, out: &mut impl Write) -> Result<(), SpliceError> {
        if self.held != BYTE_ORDER_MARK {
            return shard_error("it does not begin with the byte order mark that its dialect has");
        }
        if self.is_first {
            out.write_all(&self.held)?;
        }
        self.held.clear();
        self.stage = if matches!(self.splice, Splice::Csv { header: true, .. }) { Stage::Header } else { Stage::Rows };
        Ok(())
    }

    /// Where the header ends in a block, its line end included. Quotes hide line ends (RFC 4180, 2.6); a doubled quote
    /// hides and shows again.
    fn header_end(&mut self, block: &[u8]) -> Option<usize> {
        for at in memchr::memchr2_iter(b'"', b'\n', block) {
            match block.get(at) {
                Some(b'"') => self.is_quoted = !self.is_quoted,
                _ if !self.is_quoted => return Some(at + 1),
                _ => {}
            }
        }
        None
    }

    fn header(&mut self, out: &mut impl Write) -> Result<(), SpliceError> {
        let digest = sha256(&self.held);
        match &self.seen.header_sha256 {
            Some(first) if *first != digest => return shard_error("its header is not that of the first shard"),
            Some(_) => {}
            None => {
                out.write_all(&self.held)?;
                self.seen.header_sha256 = Some(digest);
            }
        }
        self.held.clear();
        self.stage = Stage::Rows;
        Ok(())
    }

    fn rows(&mut self, block: &[u8], out: &mut impl Write) -> Result<(), SpliceError> {
        self.last = block.last().copied();
        if !matches!(self.splice, Splice::Json) {
            if matches!(self.splice, Splice::Ndjson) {
                self.lines += memchr::memchr_iter(b'\n', block).count() as u64;
            }
            out.write_all(block)?;
            return Ok(());
        }
        self.held.extend_from_slice(block);
        let passed = self.held.len().saturating_sub(HELD_BYTES);
        if passed > 0 {
            self.between(out)?;
            out.write_all(self.held.get(..passed).unwrap_or_default())?;
            self.held.drain(..passed);
        }
        Ok(())
    }

    /// What stands before the rows of this shard, once.
    fn between(&mut self, out: &mut impl Write) -> Result<(), SpliceError> {
        if !std::mem::replace(&mut self.has_rows, true) {
            out.write_all(if self.seen.has_rows { b",\n" } else { b"[\n" })?;
            self.seen.has_rows = true;
        }
        Ok(())
    }

    /// Ends the shard: what is to be remembered, and its rows where they were counted.
    pub(super) fn finish(mut self, out: &mut impl Write) -> Result<(Seen, Option<u64>), SpliceError> {
        match (self.stage, self.splice) {
            (Stage::Mark, _) => {
                return shard_error("it does not begin with the byte order mark that its dialect has");
            }
            (Stage::Header, _) => return shard_error("it has no whole header"),
            (Stage::Bracket, _) => return shard_error("it does not begin as a JSON array"),
            (_, Splice::Json) => {
                let held = std::mem::take(&mut self.held);
                let Some(rows) = held.trim_ascii_end().strip_suffix(b"]") else {
                    return shard_error("it does not end as a JSON array");
                };
                let rows = rows.trim_ascii_end();
                if !rows.is_empty() {
                    self.between(out)?;
                    out.write_all(rows)?;
                }
            }
            _ if self.last.is_some_and(|byte| byte != b'\n') => {
                return shard_error("its last row does not end with a line end");
            }
            _ => {}
        }
        let rows = matches!(self.splice, Splice::Ndjson).then_some(self.lines);
        Ok((self.seen, rows))
    }
}
