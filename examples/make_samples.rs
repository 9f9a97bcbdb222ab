//! Writes the sample data below `examples/data/`, which the specs in `specs/` export.
//!
//! `cargo run --example make_samples [FOLDER]`. The data is committed; a test compares it with what this program writes.

use std::error::Error;
use std::path::{Path, PathBuf};

mod samples;

fn main() -> Result<(), Box<dyn Error>> {
    let committed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let folder = std::env::args_os().nth(1).map_or_else(committed, PathBuf::from);
    for (name, bytes) in samples::files()? {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
