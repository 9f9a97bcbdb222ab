//! The table of layers in `src/lib.rs` is true: no module imports from its own layer or a higher one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use walkdir::WalkDir;

/// Layers by module, as the table has them: `source::files` beside `source`.
fn layers(lib: &str) -> BTreeMap<String, u32> {
    let row = Regex::new(r"(?m)^//! \| (\d+) \| (.+) \|$").unwrap();
    let module = Regex::new(r"`([a-z_:]+)`").unwrap();
    let mut layers = BTreeMap::new();
    for row in row.captures_iter(lib) {
        for module in module.captures_iter(&row[2]) {
            assert_eq!(
                layers.insert(module[1].to_owned(), row[1].parse().unwrap()),
                None,
                "{} is there twice",
                &module[1]
            );
        }
    }
    layers
}

/// The entry of the table that a path of modules belongs to: the longest that it begins with.
fn entry<'l>(layers: &'l BTreeMap<String, u32>, path: &[&str]) -> Option<(&'l str, u32)> {
    let two = path.get(..2).map(|two| two.join("::"));
    let found = two.and_then(|two| layers.get_key_value(&two)).or_else(|| layers.get_key_value(*path.first()?));
    found.map(|(name, layer)| (name.as_str(), *layer))
}

/// What is compiled for tests only may import anything: files named as tests, and modules declared for tests.
fn test_files(root: &Path) -> Vec<PathBuf> {
    let declared = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))? )?mod ([a-z_]+);").unwrap();
    let mut found = Vec::new();
    for path in sources(root) {
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") | None => path.parent().unwrap().to_owned(),
            Some(stem) => path.with_file_name(stem),
        };
        for module in declared.captures_iter(&std::fs::read_to_string(&path).unwrap()) {
            found.push(folder.join(&module[1]));
        }
    }
    found
}

fn sources(root: &Path) -> impl Iterator<Item = PathBuf> {
    let files = WalkDir::new(root).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
}

/// The code of a file without comments and test modules.
fn code(text: &str) -> String {
    let comment = Regex::new(r"//[^\n]*").unwrap();
    let test_module = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))? )?mod [a-z_]+ \{").unwrap();
    let text = comment.replace_all(text, "");
    text[..test_module.find(&text).map_or(text.len(), |tests| tests.start())].to_owned()
}

/// The generic arguments of a type, from the text after its `<`.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '>' if text[..at].ends_with('-') => {}
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' if depth > 0 => depth -= 1,
            ',' | '>' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
                if c == '>' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// Files outside `cli` in which a `Result` has text as its error.
fn text_errors(root: &Path) -> Vec<String> {
    let tests = test_files(root);
    let is_test = |file: &Path| tests.iter().any(|test| file.with_extension("").starts_with(test));
    let files = sources(root).filter(|file| !file.starts_with(root.join("cli")) && !is_test(file));
    let mut found = Vec::new();
    for file in files {
        let code = code(&std::fs::read_to_string(&file).unwrap());
        let results = code.match_indices("Result<").map(|(at, start)| arguments(&code[at + start.len()..]));
        let texts = results.filter(|arguments| matches!(arguments.as_slice(), [_, "String"]));
        found.extend(texts.map(|_| file.strip_prefix(root).unwrap().display().to_string()));
    }
    found
}

/// The imports of each file that go up or sideways, as `file: importer (layer) imports imported (layer)`.
fn violations(root: &Path, lib: &str) -> Vec<String> {
    let layers = layers(lib);
    let tests = test_files(root);
    let import = Regex::new(r"\bcrate::(?:([a-z_]+)(?:::([a-z_]+))?|\{([^}]*)\})").unwrap();
    let mut found = Vec::new();
    for file in sources(root) {
        let inside = file.strip_prefix(root).unwrap().with_extension("");
        if inside == Path::new("lib")
            || inside == Path::new("main")
            || tests.iter().any(|test| file.with_extension("").starts_with(test))
        {
            continue;
        }
        let mut path: Vec<&str> = inside.iter().map(|segment| segment.to_str().unwrap()).collect();
        path.retain(|segment| *segment != "mod");
        let Some((importer, layer)) = entry(&layers, &path) else {
            found.push(format!("{} is of no layer", file.display()));
            continue;
        };
        let code = code(&std::fs::read_to_string(&file).unwrap());
        for import in import.captures_iter(&code) {
            let group = import.get(3).map_or(String::new(), |group| group.as_str().to_owned());
            let of_group = group.split(',').map(|name| vec![name.trim().split("::").next().unwrap_or_default()]);
            let single = import.get(1).map(|first| [Some(first.as_str()), import.get(2).map(|second| second.as_str())]);
            let single = single.map(|names| names.into_iter().flatten().collect::<Vec<_>>());
            for imported in
                single.into_iter().chain(of_group).filter(|path| path.first().is_some_and(|name| !name.is_empty()))
            {
                match entry(&layers, &imported) {
                    Some((name, below)) if name != importer && below >= layer => {
                        found.push(format!("{}: {importer} ({layer}) imports {name} ({below})", inside.display()));
                    }
                    Some(_) => {}
                    None => found.push(format!(
                        "{}: imports {}, which is of no layer",
                        inside.display(),
                        imported.join("::")
                    )),
                }
            }
        }
    }
    found.dedup();
    found
}

#[test]
fn modules_import_from_lower_layers_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = std::fs::read_to_string(root.join("lib.rs")).unwrap();
    let found = violations(&root, &lib);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_import_from_a_higher_layer_is_found() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let lib = "//! | 2 | `run` |\n//! | 1 | `store`, [`store::name`] |\n//! | 0 | `error` |\n";
    write("run/mod.rs", "use crate::store::Folder;\nuse crate::{error, store};\n");
    write("store.rs", "use crate::error::Code;\n#[cfg(test)]\nmod tests {\n    use crate::run;\n}\n");
    write("error.rs", "// crate::run\n#[cfg(test)]\nmod tests;\n");
    write("error/tests.rs", "use crate::run::run;\n");
    assert_eq!(violations(root.path(), lib), Vec::<String>::new());
    write("store.rs", "use crate::run::run;\nuse crate::store::name::check;\n");
    write("error.rs", "use crate::{store, stray};\n#[cfg(test)]\nmod tests;\n");
    assert_eq!(
        violations(root.path(), lib),
        [
            "error: error (0) imports store (1)",
            "error: imports stray, which is of no layer",
            "store: store (1) imports run (2)",
            "store: store (1) imports store::name (1)",
        ]
    );
}

#[test]
fn errors_below_cli_are_types_and_not_texts() {
    let found = text_errors(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_result_with_text_as_its_error_is_found() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("cli/mod.rs", "fn a() -> Result<(), String> {}\n");
    write(
        "a.rs",
        "// Result<(), String>\nfn a() -> Result<BTreeMap<String, String>, Error> {}\n#[cfg(test)]\nmod tests;\n",
    );
    write("a/tests.rs", "fn a() -> Result<(), String> {}\n");
    write(
        "b.rs",
        "fn b() -> Result<(), Error> {}\n#[cfg(test)]\nmod tests {\n    fn a() -> Result<(), String> {}\n}\n",
    );
    assert_eq!(text_errors(root.path()), Vec::<String>::new());
    write("c.rs", "fn c(f: fn(&str) -> Result<(), String>) -> Result<Result<Vec<(u8, u8)>, String>, Error> {}\n");
    assert_eq!(text_errors(root.path()), ["c.rs", "c.rs"]);
}

#[test]
fn the_reverts_that_the_simulation_must_find_still_apply() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/protocol/reverts");
    let patches = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let patches: Vec<_> =
        patches.filter(|path| path.extension().is_some_and(|extension| extension == "patch")).collect();
    assert_eq!(patches.len(), 4);
    for patch in patches {
        let applied =
            std::process::Command::new("git").arg("apply").arg("--check").arg(&patch).current_dir(root).output();
        let applied = applied.unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }
}
