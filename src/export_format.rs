//! Output formats and their compressions: one table of the facts that specs, shard names, manifests, downloads, checks and
//! reports need.
//!
//! What a module does with a format (encode, join, read back) is a `match` without a wildcard arm in that module, so a new
//! variant does not compile until each of them handles it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Format of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Format)]
pub enum ExportFormat {
    /// RFC 4180.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// One JSON array.
    Json,
    /// Apache Parquet.
    Parquet,
}

/// Compression of shards; the level is in `spec.resolved`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Compression")]
pub enum ExportCompression {
    /// As encoded.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// Parquet pages.
    Snappy,
    /// Parquet pages.
    Lz4,
}

/// What distinguishes a format from the others, apart from its encoding.
#[derive(Debug)]
pub struct FormatFacts {
    /// Word in specs and manifests, and extension of shards.
    pub name: &'static str,
    /// Other extensions that mean the format.
    pub other_extensions: &'static [&'static str],
    /// For reports.
    pub title: &'static str,
    /// Allowed compressions, in the order in which messages list them.
    pub compressions: &'static [ExportCompression],
    /// Level of zstd where the spec has none.
    pub zstd_level: i32,
    /// Whether pages inside a file are compressed, instead of the file as a whole.
    pub compresses_pages: bool,
    /// Whether files can be encrypted with Parquet modular encryption.
    pub has_modular_encryption: bool,
}

/// What distinguishes a compression from the others, apart from its algorithm.
#[derive(Debug)]
pub struct CompressionFacts {
    /// Word in specs and manifests.
    pub name: &'static str,
    /// For reports.
    pub title: &'static str,
    /// Levels are from 1 to this; `None` if it has no levels.
    pub highest_level: Option<i32>,
    /// How whole files are compressed; `None` if they are not.
    pub file: Option<FileCompression>,
}

/// Compression of a whole file.
#[derive(Debug)]
pub struct FileCompression {
    /// Last extension of the file's name.
    pub extension: &'static str,
    /// The usual command: `-t` tests a file, `-dc` decompresses it.
    pub command: &'static str,
}

/// Level of gzip where the spec has none: that of the `gzip` command.
pub(crate) const DEFAULT_GZIP_LEVEL: u32 = 6;

const TEXT_COMPRESSIONS: &[ExportCompression] =
    &[ExportCompression::Zstd, ExportCompression::Gzip, ExportCompression::None];

const CSV: FormatFacts = FormatFacts {
    name: "csv",
    other_extensions: &[],
    title: "CSV (RFC 4180)",
    compressions: TEXT_COMPRESSIONS,
    zstd_level: 3,
    compresses_pages: false,
    has_modular_encryption: false,
};

const NDJSON: FormatFacts = FormatFacts {
    name: "ndjson",
    other_extensions: &["jsonl"],
    title: "NDJSON, one JSON object a line",
    compressions: TEXT_COMPRESSIONS,
    zstd_level: 3,
    compresses_pages: false,
    has_modular_encryption: false,
};

const JSON: FormatFacts = FormatFacts {
    name: "json",
    other_extensions: &[],
    title: "JSON, one array",
    compressions: TEXT_COMPRESSIONS,
    zstd_level: 3,
    compresses_pages: false,
    has_modular_encryption: false,
};

const PARQUET: FormatFacts = FormatFacts {
    name: "parquet",
    other_extensions: &[],
    title: "Apache Parquet",
    compressions: &[
        ExportCompression::Zstd,
        ExportCompression::Snappy,
        ExportCompression::Lz4,
        ExportCompression::None,
    ],
    // Parquet's encodings leave little that higher levels find: level 1 takes half the time of level 3 for the same size.
    zstd_level: 1,
    compresses_pages: true,
    has_modular_encryption: true,
};

const UNCOMPRESSED: CompressionFacts =
    CompressionFacts { name: "none", title: "none", highest_level: None, file: None };

const GZIP: CompressionFacts = CompressionFacts {
    name: "gzip",
    title: "gzip",
    highest_level: Some(9),
    file: Some(FileCompression { extension: "gz", command: "gzip" }),
};

const ZSTD: CompressionFacts = CompressionFacts {
    name: "zstd",
    title: "zstd",
    highest_level: Some(22),
    file: Some(FileCompression { extension: "zst", command: "zstd" }),
};

const SNAPPY: CompressionFacts = CompressionFacts { name: "snappy", title: "Snappy", highest_level: None, file: None };

const LZ4: CompressionFacts = CompressionFacts { name: "lz4", title: "LZ4", highest_level: None, file: None };

impl ExportFormat {
    /// In the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Ndjson, Self::Json, Self::Parquet];

    /// The row of the table.
    pub fn facts(self) -> &'static FormatFacts {
        match self {
            Self::Csv => &CSV,
            Self::Ndjson => &NDJSON,
            Self::Json => &JSON,
            Self::Parquet => &PARQUET,
        }
    }

    /// Word in specs and manifests, and extension of shards.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The format that specs name so.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }

    /// The format that an extension without its dot means.
    pub fn of_extension(extension: &str) -> Option<Self> {
        let means = |format: &Self| format.facts().other_extensions.contains(&extension);
        Self::named(extension).or_else(|| Self::ALL.into_iter().find(means))
    }

    /// Extensions of shards before encryption, without the first dot: `csv.zst`, `parquet`.
    pub fn extensions(self, compression: ExportCompression) -> String {
        match &compression.facts().file {
            Some(file) if !self.facts().compresses_pages => format!("{}.{}", self.as_str(), file.extension),
            _ => self.as_str().to_owned(),
        }
    }
}

impl ExportCompression {
    /// In the order in which messages list them.
    pub const ALL: [Self; 5] = [Self::Zstd, Self::Gzip, Self::None, Self::Snappy, Self::Lz4];

    /// The row of the table.
    pub fn facts(self) -> &'static CompressionFacts {
        match self {
            Self::None => &UNCOMPRESSED,
            Self::Gzip => &GZIP,
            Self::Zstd => &ZSTD,
            Self::Snappy => &SNAPPY,
            Self::Lz4 => &LZ4,
        }
    }

    /// Word in specs and manifests.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The compression that specs name so.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| compression.as_str() == word)
    }

    /// A file's name without the extension of its compression, and that compression.
    pub fn split_name(name: &str) -> (&str, Self) {
        let plain = |compression: Self| {
            let extension = compression.facts().file.as_ref()?.extension;
            Some((name.strip_suffix(extension)?.strip_suffix('.')?, compression))
        };
        Self::ALL.into_iter().find_map(plain).unwrap_or((name, Self::None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that serde reads, which the compiler keeps complete.
    fn words<T: JsonSchema>() -> Vec<String> {
        let schema = serde_json::to_value(schemars::schema_for!(T)).unwrap();
        let variants = schema["oneOf"].as_array().unwrap();
        let mut words: Vec<String> = variants.iter().map(|v| v["const"].as_str().unwrap().to_owned()).collect();
        words.sort_unstable();
        words
    }

    fn sorted(names: &[&str]) -> Vec<String> {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_format_and_compression_is_listed_under_its_word_in_manifests() {
        assert_eq!(sorted(&ExportFormat::ALL.map(ExportFormat::as_str)), words::<ExportFormat>());
        assert_eq!(sorted(&ExportCompression::ALL.map(ExportCompression::as_str)), words::<ExportCompression>());
        for format in ExportFormat::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
        }
        for compression in ExportCompression::ALL {
            assert_eq!(serde_json::to_value(compression).unwrap(), compression.as_str());
        }
    }

    #[test]
    fn no_two_formats_have_an_extension_in_common() {
        for format in ExportFormat::ALL {
            for extension in [&[format.as_str()], format.facts().other_extensions].concat() {
                assert_eq!(ExportFormat::of_extension(extension), Some(format));
            }
        }
        assert_eq!(ExportFormat::of_extension("txt"), None);
    }

    #[test]
    fn the_name_of_a_compressed_file_shows_its_compression() {
        let extensions = |format: ExportFormat| {
            let facts = format.facts();
            facts.compressions.iter().map(|compression| format.extensions(*compression)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            ExportFormat::ALL.map(extensions),
            [
                "csv.zst csv.gz csv",
                "ndjson.zst ndjson.gz ndjson",
                "json.zst json.gz json",
                "parquet parquet parquet parquet"
            ]
        );
        assert_eq!(ExportCompression::split_name("a.csv.zst"), ("a.csv", ExportCompression::Zstd));
        assert_eq!(ExportCompression::split_name("a.gz.csv"), ("a.gz.csv", ExportCompression::None));
        assert_eq!(ExportCompression::split_name("zst"), ("zst", ExportCompression::None));
    }
}
