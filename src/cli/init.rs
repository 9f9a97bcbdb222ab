//! `init`: starter files for a repository of specs.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use super::Console;
use super::args::{InitArgs, ResourceArgs};
use super::inspect::proposed;
use crate::error::Exit;
use crate::proposal::{Proposal, catalog_text};
use crate::store::split_scheme;

const CATALOG_NAME: &str = "catalog.yaml";
const WORKFLOW_NAME: &str = ".github/workflows/export.yml";

const SPEC: &str = include_str!("init/spec.yaml");

/// Columns that the first spec names in a comment.
const NAMED_COLUMNS: usize = 3;

/// A file to write.
struct StarterFile {
    name: String,
    text: String,
}

impl StarterFile {
    fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// Writes the files and keeps existing ones unchanged.
pub(super) fn init(args: &InitArgs, console: &Console) -> Exit {
    let mut files = vec![
        StarterFile::new(CATALOG_NAME, include_str!("init/catalog.yaml")),
        StarterFile::new("specs/monthly-events.yaml", SPEC),
        StarterFile::new(WORKFLOW_NAME, include_str!("init/export.yml")),
    ];
    let mut next = "set the location of your data in catalog.yaml, then";
    let mut to_do = Vec::new();
    if let Some(source) = &args.from {
        // A spec for a type that the catalog does not have would be of no use.
        if args.dir.join(CATALOG_NAME).symlink_metadata().is_ok() {
            let catalog = args.dir.join(CATALOG_NAME);
            console.error(&format!(
                "error: {} already exists; add the entry that `kt-export inspect {source}` prints to it",
                catalog.display()
            ));
            return Exit::Usage;
        }
        let uri = match uri_from(&args.dir, source) {
            Ok(uri) => uri,
            Err(why) => {
                console.error(&format!("error: {why}"));
                return Exit::Usage;
            }
        };
        let proposal =
            match proposed(source, args.type_name.as_deref(), &ResourceArgs { threads: None, memory: None }, console) {
                Ok(proposal) => proposal.with_uri(uri),
                Err(exit) => return exit,
            };
        let (name, text) = spec_for(&proposal);
        files = vec![
            StarterFile::new(CATALOG_NAME, catalog_text(&proposal)),
            StarterFile::new(name, text),
            StarterFile::new(WORKFLOW_NAME, include_str!("init/export.yml")),
        ];
        next = "check in catalog.yaml what is marked as a guess, then";
        to_do = proposal.to_do;
    }
    let mut written = Vec::new();
    let mut kept = Vec::new();
    for StarterFile { name, text } in &files {
        match write_new(&args.dir.join(name), text) {
            Ok(()) => written.push(name.as_str()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => kept.push(name.as_str()),
            Err(error) => {
                console.error(&format!("error: cannot write {}: {error}", args.dir.join(name).display()));
                return Exit::Failed;
            }
        }
    }
    for what in &to_do {
        console.error(&format!("to do: {what}"));
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
    let spec = files.get(1).map_or("specs", |file| file.name.as_str());
    console.show_info(&format!(
        "\nNext: {next}\n  kt-export validate specs\n  kt-export plan {spec}\n  kt-export run specs"
    ));
    Exit::Complete
}

/// Name and text of a spec that exports the month of the latest time.
fn spec_for(proposal: &Proposal) -> (String, String) {
    let type_name = &proposal.type_name;
    let name = format!("monthly-{}", type_name.replace('_', "-"));
    let mut text = SPEC.replace("monthly-events", &name);
    text = text.replace("All events of the last month", &format!("All rows of {type_name}, a month at a time"));
    text = text.replace("type: events\n", &format!("type: {type_name}\n"));
    if let Some((_, latest)) = proposal.range {
        let month = latest.strftime("%Y-%m");
        let previous = "previous: month                       # or month: 2026-03,";
        text = text.replace(previous, &format!("month: {month}                        # or previous: month,"));
    }
    // The examples are of another type.
    let example = text.find("# filters:").zip(text.find("format: csv"));
    if let Some((start, end)) = example {
        let columns = proposal.first_columns(NAMED_COLUMNS).join(", ");
        text.replace_range(start..end, &format!("# filters: {{column: [value, another]}}\n# columns: [{columns}]\n\n"));
    }
    (format!("specs/{name}.yaml"), text)
}

/// The URI for a catalog in a folder that leads to a source, which is relative to the current folder.
fn uri_from(dir: &Path, source: &str) -> Result<String, String> {
    if split_scheme(source).is_some() || Path::new(source).is_absolute() {
        return Ok(source.to_owned());
    }
    let current = std::env::current_dir().map_err(|error| format!("cannot determine the current folder: {error}"))?;
    let absolute = current.join(source);
    let folder = current.join(dir);
    // Behind a link, `..` leads elsewhere.
    let is_plain = folder
        .canonicalize()
        .map_or_else(|_| is_normal(dir), |found| found == folder.components().collect::<PathBuf>());
    let relative = if is_plain { relative_to(&folder, &absolute) } else { absolute };
    let mut uri = relative.to_str().map(str::to_owned).ok_or("the path of the source is not UTF-8; rename it")?;
    if source.ends_with('/') && !uri.ends_with('/') {
        uri.push('/');
    }
    Ok(if uri.is_empty() { "./".to_owned() } else { uri })
}

fn is_normal(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The way from a folder to a path; both absolute.
fn relative_to(folder: &Path, path: &Path) -> PathBuf {
    let parts = |path: &Path| {
        path.components()
            .filter(|part| *part != Component::CurDir)
            .map(|part| part.as_os_str().to_owned())
            .collect::<Vec<_>>()
    };
    let (from, to) = (parts(folder), parts(path));
    let common = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
    let up = std::iter::repeat_n("..".into(), from.len() - common);
    up.chain(to.into_iter().skip(common)).collect()
}

/// Creates a file and its folders; fails if the file exists.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_as_seen_from_the_catalog() {
        for (folder, path, relative) in [
            ("/a", "/a/logs", "logs"),
            ("/a/b", "/a/logs/*.csv", "../logs/*.csv"),
            ("/a/./b/c", "/x", "../../../x"),
            ("/a", "/a", ""),
        ] {
            assert_eq!(relative_to(Path::new(folder), Path::new(path)), PathBuf::from(relative));
        }
    }
}
