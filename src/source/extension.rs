//! What the extensions of a file's name say.

use std::path::Path;

use crate::job::{SourceCompression, SourceFormat};

/// Extensions of compressions that are not supported. They are recognized so that compressed bytes are rejected, not parsed
/// as rows.
const UNSUPPORTED_COMPRESSIONS: [&str; 7] = ["br", "zip", "7z", "snappy", "lzo", "lzma", "z"];

/// Most letters of an extension that is taken for a type of files, such as `html`. What stands between other dots is a part
/// of the name, such as the hash in `E123.2026-03-05-01.a1b2c3d4.gz`.
const MAX_TYPE_LETTERS: usize = 5;

/// The extensions of a name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// The last one that is not of a compression; empty if there is none.
    pub(crate) format: String,
    /// What the last one says of the compression.
    pub(crate) compression: NamedCompression,
    is_hidden: bool,
}

/// The compression that a name ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedCompression {
    /// None.
    None,
    /// One that is read.
    Supported(SourceCompression),
    /// The extension of one that is not.
    Unsupported(String),
}

impl NamedCompression {
    /// The compression, if it is read.
    pub(crate) fn supported(&self) -> Option<SourceCompression> {
        match self {
            Self::Supported(compression) => Some(*compression),
            Self::None | Self::Unsupported(_) => None,
        }
    }
}

impl Extensions {
    /// Those of a file's name or path.
    pub(crate) fn of(path: &Path) -> Self {
        let of = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let last = of(path);
        let compression = match SourceCompression::of_extension(&last) {
            Some(compression) => NamedCompression::Supported(compression),
            None if UNSUPPORTED_COMPRESSIONS.contains(&last.as_str()) => NamedCompression::Unsupported(last.clone()),
            None => NamedCompression::None,
        };
        let format = match compression {
            NamedCompression::None => last,
            _ => of(Path::new(path.file_stem().unwrap_or_default())),
        };
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        Self { format, compression, is_hidden: matches!(name, [b'.' | b'_', ..]) }
    }

    /// The format that they name.
    pub(crate) fn named_format(&self) -> Option<SourceFormat> {
        Some(match self.format.as_str() {
            "parquet" | "pq" => SourceFormat::Parquet,
            "ndjson" | "jsonl" => SourceFormat::Ndjson,
            "json" => SourceFormat::Json,
            "csv" | "tsv" | "tab" => SourceFormat::Csv,
            "arrow" | "ipc" | "feather" => SourceFormat::Arrow,
            "avro" => SourceFormat::Avro,
            _ => return None,
        })
    }

    /// Whether they say that cells are separated by tabs.
    pub(crate) fn is_tab_separated(&self) -> bool {
        matches!(self.format.as_str(), "tsv" | "tab")
    }

    /// Whether a file of any format may have the name: `.log`, no extension, or only that of a compression.
    pub(crate) fn leave_format_open(&self) -> bool {
        let is_type = self.format.len() <= MAX_TYPE_LETTERS && self.format.bytes().all(|b| b.is_ascii_alphabetic());
        let is_open = match self.format.as_str() {
            "" | "log" => true,
            _ => self.compression != NamedCompression::None && !is_type && self.named_format().is_none(),
        };
        is_open && !self.is_hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Extensions {
        Extensions::of(Path::new(name))
    }

    #[test]
    fn a_compression_is_passed_over_for_the_format() {
        for (name, format, compression) in [
            ("a.csv", "csv", NamedCompression::None),
            ("x.gz/a.TSV.Gz", "tsv", NamedCompression::Supported(SourceCompression::Gzip)),
            ("a.tab.br", "tab", NamedCompression::Unsupported("br".to_owned())),
            ("a.zst", "", NamedCompression::Supported(SourceCompression::Zstd)),
            ("a", "", NamedCompression::None),
            (".gz", "", NamedCompression::None),
        ] {
            let found = of(name);
            assert_eq!((found.format.as_str(), found.compression), (format, compression), "{name}");
        }
        assert!(of("a.tsv").is_tab_separated() && of("a.tab.br").is_tab_separated() && !of("tsv").is_tab_separated());
    }

    #[test]
    fn only_names_without_a_type_leave_the_format_open() {
        for name in
            ["a", "b.log", "b.LOG.gz", "x.gz", "x/E123.2026-03-05-01.a1b2.gz", "x.RT4KCNSGK.gz", "app.log.2.zst"]
        {
            assert!(of(name).leave_format_open(), "{name}");
        }
        for name in [
            "a.txt",
            "a.txt.gz",
            "a.tar.gz",
            "app.ndjson.1",
            "a.csv",
            "a.parquet.gz",
            "_SUCCESS",
            ".x",
            "_a.log",
            "a.b2",
        ] {
            assert!(!of(name).leave_format_open(), "{name}");
        }
    }
}
