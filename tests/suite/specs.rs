//! `tests/specs/valid`: what must be accepted. `tests/specs/invalid`: one fault a file, and the message that it must give.
//!
//! `SNAPSHOTS=overwrite cargo test` writes the messages anew; read the difference before committing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kt_export::diagnostic::{SourceText, render_text};
use kt_export::job::Job;
use kt_export::package::manifest;
use kt_export::resolve::{Environment, check_file, resolve};
use kt_export::{catalog, spec, yaml};
use proptest::prelude::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn environment() -> Environment {
    Environment {
        now: "2026-04-02T03:00:00Z".parse().expect("a timestamp"),
        vars: BTreeMap::new(),
        env: BTreeMap::new(),
        current_dir: root(),
        output_base: PathBuf::new().into(),
    }
}

/// Paths as a user at the repository's root would write them, sorted.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .expect("the folder is part of the repository")
        .map(|entry| Path::new(folder).join(entry.expect("listed").file_name()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

fn job(name: &str) -> Job {
    let path = Path::new("tests/specs/valid").join(name);
    resolve(&path, &environment()).unwrap_or_else(|errors| panic!("{}", render_text(&errors, false)))
}

#[test]
fn every_valid_file_is_accepted() {
    let files = files("tests/specs/valid");
    assert!(files.len() >= 10);
    for file in files {
        let errors = check_file(&file, &environment());
        assert!(errors.is_empty(), "{}", render_text(&errors, false));
        let text = std::fs::read_to_string(root().join(&file)).expect("readable");
        assert!(text.starts_with("# yaml-language-server: $schema=../../../schema/"), "{}", file.display());
    }
}

#[test]
fn every_invalid_file_gives_its_message() {
    let overwrite = std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite");
    let mut different = Vec::new();
    let files = files("tests/specs/invalid");
    assert!(files.len() >= 35);
    for file in files.into_iter().filter(|f| f.file_name().is_some_and(|n| n != "catalog.yaml")) {
        let expected_path = root().join(&file).with_extension("stderr");
        let errors = check_file(&file, &environment());
        assert!(!errors.is_empty(), "{} is accepted", file.display());
        let text = render_text(&errors, false);
        if overwrite {
            std::fs::write(&expected_path, &text).expect("writable");
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if text != expected {
            different.push(format!("--- {}\nexpected:\n{expected}\nfound:\n{text}", file.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_message_about_a_file_has_a_place() {
    for file in files("tests/specs/invalid") {
        for error in check_file(&file, &environment()) {
            assert!(error.span.is_some(), "{}: {}", file.display(), error.message);
        }
    }
}

#[test]
fn five_mistakes_are_told_at_once() {
    let errors = check_file(Path::new("tests/specs/invalid/five-mistakes.yaml"), &environment());
    assert_eq!(errors.len(), 5, "{}", render_text(&errors, false));
}

#[test]
fn a_file_of_nothing_but_mistakes_is_told_in_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spec.yaml");
    for text in ["a: b\n".repeat(30_000), (0..40_000).map(|n| format!("fromat{n}: x\n")).collect()] {
        std::fs::write(&path, format!("type: events\n{text}")).expect("writable");
        let errors = check_file(&path, &environment());
        assert_eq!(errors.len(), 101);
        assert!(errors[100].message.ends_with(" more mistakes are not shown"), "{}", errors[100].message);
    }
}

#[test]
fn what_only_the_catalog_could_tell_is_told_together_with_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join(".git")).expect("a folder");
    let path = folder.path().join("spec.yaml");
    std::fs::write(&path, "version: 1\nfromat: csv\ntype: events\n").expect("writable");
    let messages: Vec<String> = check_file(&path, &environment()).into_iter().map(|e| e.message).collect();
    let expected =
        ["missing key `name`", "missing key `window`", "unknown key `fromat`", "the type `events` has no source"];
    assert_eq!(messages, expected);
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_too() {
    let errors = check_file(Path::new("tests/specs/nowhere.yaml"), &environment());
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.starts_with("cannot read tests/specs/nowhere.yaml: "), "{}", errors[0].message);
}

#[test]
fn large_files_and_files_that_are_not_text_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = folder.path().join("large.yaml");
    std::fs::File::create(&large).and_then(|f| f.set_len(1 << 30)).expect("a sparse file");
    assert_eq!(check_file(&large, &environment())[0].message, "the file is larger than 1048576 bytes");
    let binary = folder.path().join("binary.yaml");
    std::fs::write(&binary, b"name: x\nb: \xff\n").expect("writable");
    let errors = check_file(&binary, &environment());
    assert_eq!(errors[0].message, "the file is not UTF-8 text");
    assert_eq!(errors[0].span.as_ref().map(kt_export::diagnostic::Span::line_column), Some((2, 4)));
}

#[test]
fn nothing_is_left_to_default() {
    let job = job("minimal.yaml");
    assert_eq!(job.output.local(), Some(&*root().join("exports/monthly-events/2026-03/")));
    assert_eq!(job.source.uris[0].absolute.value, root().join("tests/specs/valid/data/events/").display().to_string());
    assert_eq!(job.time.column.value, "occurred_at");
    assert_eq!(job.time.timezone.iana_name(), Some("Europe/Berlin"), "the catalog's default");
    assert_eq!(job.window.start.to_string(), "2026-03-01T00:00:00Z");
    assert!(job.id.starts_with("job_") && job.id.len() == 30, "{}", job.id);
}

#[test]
fn a_spec_replaces_whole_keys_of_its_catalog() {
    let minimal = job("minimal.yaml");
    assert!(minimal.source.records.is_none(), "`source` is the spec's own");
    assert_eq!(minimal.schema.len(), 2, "`schema` is the catalog's");
    let own = job("own-type.yaml");
    assert_eq!(own.time.timezone.iana_name(), Some("Europe/Berlin"));
    assert!(own.id_column.is_none());
}

#[test]
fn filters_name_columns_by_their_filter_name() {
    let job = job("full.yaml");
    let column = |key: &str| job.filters.iter().find(|f| f.key == key).map(|f| f.column.value.as_str());
    assert_eq!(column("statuses"), Some("status"));
    assert_eq!(column("team"), Some("team"));
    assert_eq!(job.filters.len(), 12);
    assert_eq!(job.output.local(), Some(&*root().join("evidence/monthly-blocked-events/eu/2026-03/")));
}

#[test]
fn variables_come_from_the_command_line_then_the_environment_then_the_spec() {
    let path = Path::new("tests/specs/valid/full.yaml");
    let mut environment = environment();
    let output = |environment: &Environment| resolve(path, environment).expect("valid").output;
    environment.env.insert("EVIDENCE_REGION".to_owned(), "us".to_owned());
    assert!(output(&environment).local().expect("local").ends_with("us/2026-03"));
    environment.vars.insert("region".to_owned(), "ap".to_owned());
    assert!(output(&environment).local().expect("local").ends_with("ap/2026-03"));
}

#[test]
fn templates_are_rendered_value_by_value() {
    let job = job("templates.yaml");
    assert_eq!(job.name, "eu-events");
    assert_eq!(job.output.local(), Some(Path::new("/srv/evidence/events/csv/first/2026-03/")));
}

#[test]
fn a_job_has_the_same_id_from_every_folder_however_its_window_is_written() {
    let here = job("minimal.yaml");
    let mut elsewhere = environment();
    elsewhere.current_dir = root().join("tests/specs");
    elsewhere.output_base = PathBuf::from("/somewhere/else").into();
    let there = resolve(Path::new("valid/../valid/minimal.yaml"), &elsewhere).expect("valid");
    assert_eq!(here.id, there.id);
    assert_eq!(here.canonical, there.canonical);
    let text = here.canonical.to_string();
    assert!(!text.contains(&*root().to_string_lossy()), "{text}");

    let folder = tempfile::tempdir().expect("a folder");
    let id = |window: &str, extra: &str| {
        let path = folder.path().join("spec.yaml");
        let text = format!("version: 1\nname: x\ntype: events\nsource: {{uri: d/}}\nwindow: {window}\n{extra}");
        std::fs::write(&path, text).expect("writable");
        resolve(&path, &environment()).unwrap_or_else(|e| panic!("{}", render_text(&e, false))).id
    };
    let month = id("{month: 2026-03}", "");
    assert_eq!(
        month,
        id("{previous: month, allow_open: true}", "description: for people\nlabels: {a: b}\norder: source\n")
    );
    assert_ne!(month, id("{month: 2026-03, timezone: Europe/Berlin}", ""));
    assert_ne!(month, id("{month: 2026-03}", "where: a = 1\n"));
    assert_ne!(
        id("{month: 2026-03}", "filters: {n: 9007199254740992}\n"),
        id("{month: 2026-03}", "filters: {n: 9007199254740993}\n")
    );
}

#[test]
fn the_nearest_catalog_is_found_up_to_the_root_of_the_repository() {
    let folder = tempfile::tempdir().expect("a folder");
    let specs = folder.path().join("repository/specs/deep");
    std::fs::create_dir_all(&specs).expect("folders");
    let path = specs.join("spec.yaml");
    std::fs::write(&path, "version: 1\nname: x\ntype: events\nwindow: {month: 2026-03}\n").expect("writable");
    std::fs::write(folder.path().join("catalog.yaml"), "version: 1\ntypes: {events: {source: {uri: above/}}}\n")
        .expect("writable");
    let found = resolve(&path, &environment()).expect("valid").source.uris[0].absolute.value.clone();
    assert!(found.ends_with("/above/"), "{found}");
    std::fs::create_dir(folder.path().join("repository/.git")).expect("a folder");
    let errors = resolve(&path, &environment()).expect_err("the catalog is outside the repository");
    assert_eq!(errors[0].message, "the type `events` has no source");
}

#[test]
fn the_json_schemas_have_the_keys_of_the_decoder() {
    let spec = spec::json_schema();
    let catalog = catalog::json_schema();
    let keys = |schema: &serde_json::Value, pointer: &str| {
        let properties =
            schema.pointer(pointer).and_then(|p| p.as_object()).unwrap_or_else(|| panic!("{pointer}: {schema:#}"));
        let mut keys: Vec<String> = properties.keys().cloned().collect();
        keys.sort();
        keys
    };
    let sorted = |known: &[&str]| {
        let mut known: Vec<String> = known.iter().map(|k| (*k).to_owned()).collect();
        known.sort();
        known
    };
    for (name, known) in spec::DECODED_KEYS {
        let pointer = if name.is_empty() { "/properties".to_owned() } else { format!("/$defs/{name}/properties") };
        assert_eq!(keys(&spec, &pointer), sorted(known.known), "{name}");
    }
    assert_eq!(keys(&spec, "/$defs/Filter/anyOf/2/properties"), sorted(&spec::OPERATORS));
    assert_eq!(keys(&spec, "/$defs/Format/anyOf/1/properties/csv/properties"), sorted(spec::CSV_KEYS.known));
    assert_eq!(keys(&catalog, "/properties"), sorted(catalog::CATALOG_KEYS.known));
    assert_eq!(keys(&catalog, "/$defs/Defaults/properties"), sorted(catalog::DEFAULTS_KEYS.known));
    assert_eq!(keys(&catalog, "/$defs/CatalogType/properties"), sorted(catalog::CATALOG_TYPE_KEYS.known));
    for schema in [&spec, &catalog] {
        let text = schema.to_string();
        // Only `short_rows` may be null.
        let is_optional = text.contains("\"type\":\"null\"") || text.contains(",\"null\"]");
        assert!(!is_optional && !text.contains("unsupported"), "{text}");
        for (name, definition) in schema["properties"].as_object().expect("properties") {
            assert!(definition.get("description").is_some(), "{name} has no description");
        }
    }
}

#[test]
fn the_shipped_json_schemas_are_current() {
    let overwrite = std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite");
    let schemas =
        [("spec", spec::json_schema()), ("catalog", catalog::json_schema()), ("manifest", manifest::json_schema())];
    for (name, schema) in schemas {
        let path = root().join("schema").join(format!("{name}.schema.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("serialises"));
        if overwrite {
            std::fs::write(&path, &text).expect("writable");
        }
        let shipped = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == shipped, "schema/{name}.schema.json is out of date; SNAPSHOTS=overwrite renews it");
    }
}

/// Lines that a spec is made of, sound and unsound.
const PARTS: [&str; 24] = [
    "version: 1\n",
    "name: x\n",
    "name: [x]\n",
    "type: events\n",
    "source: {uri: d/}\n",
    "source: {uri: 's3://x'}\n",
    "window: {month: 2026-03}\n",
    "window: {last: 9999999999999d}\n",
    "window: {date: 0000-99-99}\n",
    "filters: {a: [1, b]}\n",
    "filters: {a: {between: [1]}}\n",
    "columns: [a, {b: c}]\n",
    "format: {csv: {delimiter: '€'}}\n",
    "compression: {zstd: x}\n",
    "output: {uri: \"{{ name }}/{{ window.label }}\"}\n",
    "output: {uri: '..'}\n",
    "partition: {max_bytes: 1e99}\n",
    "vars: {a: {default: '{{ b }}'}}\n",
    "schema: {a: 'decimal(1'}\n",
    "time: {column: t, format: '%'}\n",
    "types: {}\n",
    "labels: &a {b: c}\n",
    "labels: *a\n",
    "redact: {}\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_reading_a_spec_panic(text in prop_oneof![
        any::<String>(),
        "[ -~\n]{0,300}",
        proptest::collection::vec(proptest::sample::select(PARTS.to_vec()), 0..12).prop_map(|parts| parts.concat()),
    ]) {
        let source = Arc::new(SourceText { path: "spec.yaml".into(), text: text.clone() });
        let _ = spec::kind(&source);
        if let Ok(root) = yaml::parse(&source) {
            let _ = catalog::Catalog::decode(&root, &mut Vec::new());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spec.yaml");
        std::fs::write(&path, text).expect("writable");
        let errors = check_file(&path, &environment());
        render_text(&errors, true);
    }
}
