//! The cases of `tests/shapes`, whose README says what their files are.

use std::path::{Path, PathBuf};

use crate::project::{NOW, Project, files_below};

/// The specs.
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shapes");
    let mut cases: Vec<PathBuf> = walkdir::WalkDir::new(root)
        .min_depth(2)
        .max_depth(2)
        .into_iter()
        .map(|entry| entry.expect("readable").into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn each_shape_is_exported_or_refused_as_its_files_say() {
    let cases = cases();
    assert!(cases.len() > 30, "{cases:?}");
    for case in cases {
        let project = Project::new();
        let folder = case.parent().expect("a folder");
        for (name, path) in files_below(folder) {
            project.write(&name, std::fs::read(path).expect("readable"));
        }
        let spec = case.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        let says = std::fs::read_to_string(case.with_extension("says")).unwrap_or_else(|_| "exit 0".to_owned());
        let mut lines = says.lines();
        let code = lines.next().and_then(|line| line.strip_prefix("exit ")).expect("an exit code");
        let texts: Vec<&str> = lines.collect();
        let args = ["run", spec, "--progress", "never", "--now", NOW];
        project.call(&args).exits(code.parse().expect("a number")).says(&texts);
        let rows = std::fs::read(case.with_extension("ndjson"));
        assert!(rows.is_ok() || !texts.is_empty(), "{} expects nothing", case.display());
        if let Ok(rows) = rows {
            let package = project.package();
            package.balances();
            project.call(&["verify", "--rows", "package"]).exits(0);
            let written: Vec<u8> = package.shards().into_values().flatten().collect();
            assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&rows), "{}", case.display());
        }
    }
}
