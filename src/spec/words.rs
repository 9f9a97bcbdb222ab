//! The words that specs and catalogs write for the closed sets of [`crate::job`].

use crate::job::{
    Absent, Digests, ExpectedFiles, HeaderNames, LastLine, OnBad, OnEmptyFile, OnPartitionError, Order, PartitionBy,
    SchemaDrift, ShortRows, SourceCompression, SourceFormat,
};
use crate::yaml::decode::Word;

impl Word for PartitionBy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("hour", Self::Hour),
        ("day", Self::Day),
        ("week", Self::Week),
        ("month", Self::Month),
        ("quarter", Self::Quarter),
        ("year", Self::Year),
    ];
}

impl Word for ExpectedFiles {
    const WORDS: &'static [(&'static str, Self)] = &[("every", Self::Every)];
}

impl Word for OnEmptyFile {
    const WORDS: &'static [(&'static str, Self)] = &[("skip", Self::Skip), ("fail", Self::Fail)];
}

impl Word for LastLine {
    const WORDS: &'static [(&'static str, Self)] = &[("complete", Self::Complete), ("any", Self::Any)];
}

impl Word for ShortRows {
    const WORDS: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("null", Self::Null)];
}

impl Word for HeaderNames {
    const WORDS: &'static [(&'static str, Self)] = &[("strict", Self::Strict), ("number", Self::Number)];
}

impl Word for SourceFormat {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("parquet", Self::Parquet),
        ("ndjson", Self::Ndjson),
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("lines", Self::Lines),
        ("arrow", Self::Arrow),
        ("avro", Self::Avro),
    ];
}

impl Word for SourceCompression {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("gzip", Self::Gzip),
        ("zstd", Self::Zstd),
        ("bzip2", Self::Bzip2),
        ("xz", Self::Xz),
        ("lz4", Self::Lz4),
    ];
}

impl Word for SchemaDrift {
    const WORDS: &'static [(&'static str, Self)] = &[("widen", Self::Widen), ("fail", Self::Fail)];
}

impl Word for Order {
    const WORDS: &'static [(&'static str, Self)] = &[("source", Self::Source), ("time", Self::Time)];
}

impl Word for OnPartitionError {
    const WORDS: &'static [(&'static str, Self)] = &[("continue", Self::Continue), ("stop", Self::Stop)];
}

impl Word for OnBad {
    const WORDS: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("reject", Self::Reject)];
}

impl Word for Absent {
    const WORDS: &'static [(&'static str, Self)] = &[("fill", Self::Fill), ("omit", Self::Omit)];
}

impl Word for Digests {
    const WORDS: &'static [(&'static str, Self)] = &[("sealed", Self::Sealed), ("clear", Self::Clear)];
}
