//! `init`: the files that a repository of specs starts from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::Talk;
use super::args::InitArgs;
use crate::error::Exit;

/// Every file: where, and what it says.
const FILES: [(&str, &str); 3] = [
    ("catalog.yaml", include_str!("init/catalog.yaml")),
    ("specs/monthly-events.yaml", include_str!("init/spec.yaml")),
    (".github/workflows/export.yml", include_str!("init/export.yml")),
];

/// Writes the files. One that is there already stays as it is.
pub fn init(args: &InitArgs, talk: &Talk) -> Exit {
    let mut written = Vec::new();
    let mut kept = Vec::new();
    for (name, text) in FILES {
        match write_new(&args.dir.join(name), text) {
            Ok(()) => written.push(name),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => kept.push(name),
            Err(error) => {
                talk.complain(&format!("error: cannot write {}: {error}", args.dir.join(name).display()));
                return Exit::Failed;
            }
        }
    }
    if talk.json {
        return talk.print_json(&serde_json::json!({"version": 1, "written": written, "kept": kept}));
    }
    for name in &written {
        talk.say(&format!("wrote {name}"));
    }
    for name in &kept {
        talk.say(&format!("kept  {name}, it was there already"));
    }
    talk.say(
        "\nNext: tell catalog.yaml where your data is, then\n  kt-export validate specs\n  kt-export plan specs/monthly-events.yaml\n  kt-export run specs",
    );
    Exit::Complete
}

/// Creates a file that is not there, with its folders.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
