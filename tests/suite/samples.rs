//! The committed sample data is what its generator writes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

#[path = "../../examples/samples/mod.rs"]
mod generator;

/// A file's content without its compression: another version of a compressor, or another processor, may pack the same
/// bytes in another way.
fn unpacked(name: &str, bytes: &[u8]) -> Result<Vec<u8>, generator::Failure> {
    let mut plain = Vec::new();
    match name.rsplit_once('.') {
        Some((_, "gz")) => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain)?,
        Some((_, "zst")) => zstd::Decoder::new(bytes)?.read_to_end(&mut plain)?,
        _ => (&mut &*bytes).read_to_end(&mut plain)?,
    };
    Ok(plain)
}

fn committed(folder: &Path, below: &str, found: &mut BTreeMap<String, Vec<u8>>) -> Result<(), generator::Failure> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            committed(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.insert(name.clone(), unpacked(&name, &std::fs::read(entry.path())?)?);
        }
    }
    Ok(())
}

#[test]
fn the_committed_samples_are_what_their_generator_writes() -> Result<(), generator::Failure> {
    let mut found = BTreeMap::new();
    committed(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/data"), "", &mut found)?;
    let made = generator::files()?;
    assert!(made.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 400_000, "the samples stay small");
    for (name, bytes) in made {
        let was = found.remove(&name);
        let same = was.as_deref() == Some(&unpacked(&name, &bytes)?);
        assert!(
            same,
            "examples/data/{name} is not current: run `cargo run --example make_samples` and commit the result"
        );
    }
    assert!(found.is_empty(), "examples/data has files that nothing makes: {:?}", found.keys());
    Ok(())
}
