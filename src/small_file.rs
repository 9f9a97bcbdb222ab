//! Small files named by users: specs, catalogs, keys, lists. The name may be of anything, so no more of it is read than
//! it may have, and where the name comes from a spec, only of a file that has an end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most so many bytes. A pipe could block for ever, a device could have no end.
///
/// # Errors
/// The system's; [`io::ErrorKind::FileTooLarge`]; [`io::ErrorKind::InvalidInput`] for what is not a regular file.
pub(crate) fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let facts = file.metadata()?;
    // Reading a folder fails with the system's own words.
    if !facts.is_file() && !facts.is_dir() {
        let why = "it is not a regular file, but a pipe, a socket or a device";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    read_to(file, most)
}

/// Reads what the user names on the command line, also a pipe, as in `--identity <(pass age-key)`.
///
/// # Errors
/// The system's; [`io::ErrorKind::FileTooLarge`].
pub(crate) fn read_any(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_to(File::open(path)?, most)
}

/// Reading one byte more than the limit shows that the file is too large.
fn read_to(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // At once, so that no copy of a key is left behind where the memory grows.
    bytes.reserve_exact(usize::try_from(file.metadata()?.len().min(most) + 1).unwrap_or_default());
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!("it is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Does not block on a pipe without a writer.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(no_wait).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()));
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let error = read_regular(path, 10).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file, but a pipe, a socket or a device");
        }
        assert_eq!(read_any(Path::new("/dev/zero"), 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // A terabyte that takes no room on the disk.
        let sparse = File::create(&path).unwrap();
        sparse.set_len(1 << 40).unwrap();
        for read in [read_regular, read_any] {
            assert_eq!(read(&path, 10).unwrap_err().to_string(), "it is larger than 10 bytes");
        }
        sparse.set_len(10).unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), [0; 10]);
    }
}
