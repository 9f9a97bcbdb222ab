//! Tells a file's format from its first bytes, where its name does not.
//!
//! Only what cannot be taken for anything else is told: the magic numbers of Parquet, Arrow and Avro, and JSON. The dialect of CSV
//! and the pattern of lines are never guessed.

use encoding_rs::Encoding;
use serde::de::IgnoredAny;

use super::rows::decode::Head;
use crate::diagnostic::shown;
use crate::job::{SourceCompression, SourceFormat};
use crate::source::{SourceError, SourceFile};

/// Most decompressed bytes that are read to see the end of the first line. JSON with a longer one is read as a document: the
/// rows are the same.
const MAX_HEAD_BYTES: usize = 1 << 20;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Rows of this format.
    Rows(SourceFormat),
    /// A format that compresses inside, in another compression.
    DoublyCompressed(SourceFormat),
    /// No bytes, or blanks only.
    Nothing,
    /// Anything else, with the beginning of its first line to show.
    Other {
        /// At most [`SHOWN_CHARS`](crate::diagnostic::SHOWN_CHARS) characters, escaped.
        first_line: String,
    },
}

/// Reads the first bytes of a file, decompressed. The file's `format` is ignored.
///
/// # Errors
/// Those of opening and decompressing it.
pub(crate) fn content_of(file: &SourceFile) -> Result<Content, SourceError> {
    let head = Head::read(file, MAX_HEAD_BYTES, is_enough)?;
    let magic = [
        (b"PAR1".as_slice(), SourceFormat::Parquet),
        (b"ARROW1", SourceFormat::Arrow),
        (b"Obj\x01", SourceFormat::Avro),
    ];
    if let Some((_, format)) = magic.into_iter().find(|(magic, _)| head.bytes.starts_with(magic)) {
        return Ok(match head.compression {
            SourceCompression::None => Content::Rows(format),
            _ => Content::DoublyCompressed(format),
        });
    }
    let text = text_of(&head.bytes);
    let line = memchr::memchr(b'\n', text).and_then(|end| text.get(..end));
    if text.is_empty() && head.is_whole {
        return Ok(Content::Nothing);
    }
    Ok(match json_format(text, line.or(head.is_whole.then_some(text))) {
        Some(format) => Content::Rows(format),
        None => Content::Other { first_line: shown(String::from_utf8_lossy(line.unwrap_or(text)).trim_end()) },
    })
}

/// The beginning of a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextHead {
    /// Decoded, without its byte order mark.
    pub text: String,
    /// The file has no more.
    pub is_whole: bool,
    /// What it was decoded from: what a byte order mark says, or else how the bytes look.
    pub encoding: &'static Encoding,
    /// Whether a byte order mark says so.
    pub has_mark: bool,
    /// Whether the file's last line has a line end, or a compression proves the end of the file.
    pub ends_complete: bool,
}

/// Bytes at the end of a file that show whether it ends with a line end, in UTF-16 too.
const TAIL_BYTES: u64 = 2;

/// Reads the first decompressed bytes of a file as text, at most `most`.
///
/// # Errors
/// Those of opening, decompressing and reading it.
pub(crate) fn text_head(file: &SourceFile, most: usize) -> Result<TextHead, SourceError> {
    let head = Head::read(file, most, |_| false)?;
    let bytes = head.bytes.as_slice();
    let mark = Encoding::for_bom(bytes);
    let (encoding, start) = mark.unwrap_or((encoding_of(bytes, head.is_whole), 0));
    let (text, _) = encoding.decode_without_bom_handling(bytes.get(start..).unwrap_or_default());
    let ends_complete = if head.compression != SourceCompression::None {
        true
    } else {
        let start = file.bytes.saturating_sub(TAIL_BYTES);
        let tail = file.open()?.read_at(start, file.bytes - start);
        let tail = tail.map_err(|error| SourceError::io(file, "read", &error))?;
        tail.is_empty() || tail.iter().any(|byte| matches!(byte, b'\n' | b'\r')) && !ends_in_text(&tail)
    };
    Ok(TextHead { text: text.into_owned(), is_whole: head.is_whole, encoding, has_mark: mark.is_some(), ends_complete })
}

/// Whether the last byte is of text, in encodings of one byte for each ASCII character.
fn ends_in_text(tail: &[u8]) -> bool {
    tail.last().is_some_and(|byte| !matches!(byte, b'\n' | b'\r' | 0))
}

/// The encoding of text without a byte order mark. Any text is valid in Windows-1252.
fn encoding_of(bytes: &[u8], is_whole: bool) -> &'static Encoding {
    let zeros = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let half = bytes.len() / 4;
    if bytes.len() >= 4 && zeros(1) > half && zeros(0) == 0 {
        return encoding_rs::UTF_16LE;
    }
    if bytes.len() >= 4 && zeros(0) > half && zeros(1) == 0 {
        return encoding_rs::UTF_16BE;
    }
    match std::str::from_utf8(bytes) {
        // The last character may be cut.
        Err(error) if error.error_len().is_some() || is_whole => encoding_rs::WINDOWS_1252,
        _ => encoding_rs::UTF_8,
    }
}

/// The bytes behind a byte order mark and blanks.
fn text_of(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

/// Whether more bytes would tell no more.
fn is_enough(bytes: &[u8]) -> bool {
    let text = text_of(bytes);
    match text.split_first() {
        None => false,
        Some((b'{', rest)) => memchr::memchr(b'\n', rest).is_some(),
        Some((b'[', rest)) => !rest.trim_ascii_start().is_empty(),
        Some(_) => true,
    }
}

/// The format of JSON text; `line` is its first line, if its end is known. A log may begin with `[2026-03-05 12:00:00]`, so a
/// bracket alone does not tell.
fn json_format(text: &[u8], line: Option<&[u8]>) -> Option<SourceFormat> {
    let (first, rest) = text.split_first()?;
    let second = rest.trim_ascii_start().first();
    match (first, second) {
        (b'{', _) if line.is_some_and(is_json) => Some(SourceFormat::Ndjson),
        (b'{', Some(b'"' | b'}')) | (b'[', Some(b'{' | b']')) => Some(SourceFormat::Json),
        _ => None,
    }
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::formats::rows::decode::tests::{fixture, gzip};

    fn content(bytes: &[u8]) -> Content {
        let content = |bytes: &[u8]| {
            let fixture = fixture("a", SourceFormat::Ndjson, SourceCompression::None, bytes);
            content_of(&fixture.file).unwrap()
        };
        let plain = content(bytes);
        let compressed = match content(&gzip(bytes)) {
            Content::DoublyCompressed(format) => Content::Rows(format),
            other => other,
        };
        assert_eq!(plain, compressed);
        plain
    }

    #[test]
    fn only_what_the_first_bytes_prove_is_told() {
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(100_000));
        let longer = format!("{{\"a\":\"{}\"}}\n", "x".repeat(MAX_HEAD_BYTES));
        for (bytes, format) in [
            ("PAR1\u{15}\u{4}", SourceFormat::Parquet),
            ("ARROW1\0\0", SourceFormat::Arrow),
            ("Obj\u{1}\u{4}", SourceFormat::Avro),
            ("{}", SourceFormat::Ndjson),
            ("\u{feff}\r\n {\"a\": [1, {}]} \r\n{\"a\"", SourceFormat::Ndjson),
            ("{\"a\":\"b\n", SourceFormat::Json),
            ("{\"a\":1}{\"a\":2}\n", SourceFormat::Json),
            ("{\n  \"a\": 1\n}\n", SourceFormat::Json),
            ("[\n{\"a\":1}]", SourceFormat::Json),
            ("[]", SourceFormat::Json),
            ("{\"a\": tru", SourceFormat::Json),
            (&long, SourceFormat::Ndjson),
            (&longer, SourceFormat::Json),
        ] {
            assert_eq!(content(bytes.as_bytes()), Content::Rows(format), "{}", shown(bytes));
        }
        for bytes in ["", "\n", " \r\n\t", "\u{feff}"] {
            assert_eq!(content(bytes.as_bytes()), Content::Nothing, "{bytes:?}");
        }
    }

    #[test]
    fn of_anything_else_the_first_line_is_shown() {
        let long = "x".repeat(10_000);
        for (bytes, first_line) in [
            (b"a,b\r\n1,2\n".as_slice(), "a,b"),
            (b"\n127.0.0.1 - - [05/Mar/2026]", "127.0.0.1 - - [05/Mar/2026]"),
            (b"[05/Mar/2026] up\n{}\n", "[05/Mar/2026] up"),
            (b"{{ x }}\n", "{{ x }}"),
            (b"{", "{"),
            (b"[[1]]", "[[1]]"),
            (b"\x1b[31mred\xff\n", "\\u{1b}[31mred\u{fffd}"),
            (b"PAR", "PAR"),
            (long.as_bytes(), &format!("{}…", &long[..80])),
        ] {
            assert_eq!(content(bytes), Content::Other { first_line: first_line.to_owned() });
        }
    }

    #[test]
    fn columnar_files_in_a_compression_are_told() {
        for (bytes, format) in [(b"PAR1".as_slice(), SourceFormat::Parquet), (b"ARROW1", SourceFormat::Arrow)] {
            let fixture = fixture("a.gz", SourceFormat::Ndjson, SourceCompression::Gzip, &gzip(bytes));
            assert_eq!(content_of(&fixture.file), Ok(Content::DoublyCompressed(format)));
        }
    }

    #[test]
    fn a_declared_compression_counts_alone() {
        let mut fixture = fixture("a", SourceFormat::Ndjson, SourceCompression::None, &gzip(b"{}"));
        fixture.file.compression_is_declared = true;
        assert!(matches!(content_of(&fixture.file), Ok(Content::Other { .. })));
    }
}
