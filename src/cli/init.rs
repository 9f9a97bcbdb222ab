//! `init`: starter files for a repository of specs.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::Console;
use super::args::InitArgs;
use crate::error::Exit;

/// Path and content of every file.
const FILES: [(&str, &str); 3] = [
    ("catalog.yaml", include_str!("init/catalog.yaml")),
    ("specs/monthly-events.yaml", include_str!("init/spec.yaml")),
    (".github/workflows/export.yml", include_str!("init/export.yml")),
];

/// Writes the files and keeps existing ones unchanged.
pub(super) fn init(args: &InitArgs, console: &Console) -> Exit {
    let mut written = Vec::new();
    let mut kept = Vec::new();
    for (name, text) in FILES {
        match write_new(&args.dir.join(name), text) {
            Ok(()) => written.push(name),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => kept.push(name),
            Err(error) => {
                console.error(&format!("error: cannot write {}: {error}", args.dir.join(name).display()));
                return Exit::Failed;
            }
        }
    }
    if console.json {
        return console.print_json(&serde_json::json!({"version": 1, "written": written, "kept": kept}));
    }
    for name in &written {
        console.info(&format!("wrote {name}"));
    }
    for name in &kept {
        console.info(&format!("kept  {name}, it already exists"));
    }
    console.show_info(
        "\nNext: set the location of your data in catalog.yaml, then\n  kt-export validate specs\n  kt-export plan \
         specs/monthly-events.yaml\n  kt-export run specs",
    );
    Exit::Complete
}

/// Creates a file and its folders; fails if the file exists.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
