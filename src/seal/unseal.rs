//! Decompresses stored bytes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::export_format::{DEFAULT_GZIP_LEVEL, ExportCompression};
use crate::job::Compression;

/// The compression of a stored file according to its name: `.gz`, `.zst`, else none.
///
/// The name does not show the level, so the result has the default level.
pub fn compression_of(name: &str) -> Compression {
    match ExportCompression::split_name(name).1 {
        ExportCompression::Gzip => Compression::Gzip(DEFAULT_GZIP_LEVEL),
        ExportCompression::Zstd => Compression::Zstd(zstd::DEFAULT_COMPRESSION_LEVEL),
        ExportCompression::None | ExportCompression::Snappy | ExportCompression::Lz4 => Compression::None,
    }
}

/// Reads the output of a [`Sealer`](super::Sealer): any number of gzip members or zstd frames, of any level.
///
/// The reader fails on corrupt or truncated streams, and on bytes after the last frame.
///
/// # Errors
/// The error of the codec.
pub fn unseal<'a, R: Read + Send + 'a>(reader: R, compression: Compression) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None | Compression::Snappy | Compression::Lz4 => Box::new(reader),
        Compression::Gzip(_) => Box::new(MultiGzDecoder::new(reader)),
        Compression::Zstd(_) => Box::new(zstd::Decoder::new(reader)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_decides() {
        assert_eq!(compression_of("data/2026-03-01/part-0000.csv.gz"), Compression::Gzip(6));
        assert_eq!(compression_of("part-0000.ndjson.zst"), Compression::Zstd(3));
        assert_eq!(compression_of("part-0000.gz.csv"), Compression::None);
        assert_eq!(compression_of("part-0000.parquet"), Compression::None);
        assert_eq!(compression_of("part-0000"), Compression::None);
    }
}
