use std::path::PathBuf;

use super::entry::NewKey;
use super::*;
use crate::diagnostic::render_text;

const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

fn new(id: &str) -> NewKey {
    NewKey {
        id: KeyId::new(id).unwrap(),
        types: vec!["events".to_owned(), "audit-log".to_owned()],
        may: BTreeSet::from([Right::Read, Right::Create]),
        tenant: KeyId::new("acme"),
        encrypt_to: vec![AGE.to_owned()],
        expires_at: Some("2027-01-01T00:00:00Z".parse().unwrap()),
        rate: Rate::parse("60/m"),
    }
}

fn generate(new: NewKey) -> (String, ApiKey) {
    let (text, key) = ApiKey::generate(new).unwrap();
    (text.to_string(), key)
}

fn parse(text: &str) -> Result<Keys, String> {
    let source = Arc::new(SourceText { path: PathBuf::from("keys.yaml"), text: text.to_owned() });
    Keys::parse(&source).map_err(|mistakes| render_text(&mistakes, false))
}

fn now() -> Timestamp {
    "2026-11-29T00:00:00Z".parse().unwrap()
}

#[test]
fn a_key_is_found_by_its_text_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let (texts, keys): (Vec<_>, Vec<_>) = ["a", "b", "c"].map(new).into_iter().map(generate).unzip();
    keys.iter().for_each(|key| add(&path, key).unwrap());
    let read = Keys::read(&path).unwrap();
    for (text, key) in texts.iter().zip(&keys) {
        assert_eq!(text.len(), 47);
        assert_eq!(**read.find(text, now()).unwrap(), *key);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(text.as_str()));
        assert!(read.find(&text[..46], now()).is_none());
        assert!(read.find(text, "2027-01-01T00:00:00Z".parse().unwrap()).is_none());
    }
    assert!(read.find("", now()).is_none());
    assert!(Keys::default().find(&texts[0], now()).is_none());
    let revoked = revoke(&path, "b", now()).unwrap();
    assert_eq!(revoked.revoked_at, Some(now()));
    // A second time, nothing changes.
    assert_eq!(revoke(&path, "b", Timestamp::UNIX_EPOCH).unwrap().revoked_at, Some(now()));
    let read = Keys::read(&path).unwrap();
    assert_eq!(texts.iter().map(|text| read.find(text, now()).is_some()).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn the_rest_of_the_file_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let (_, mut key) = generate(new("one"));
    let before = format!("# who may call\nversion: 1\n\nkeys:\n{}    # the last\n", indented(&key, "    "));
    std::fs::write(&path, &before).unwrap();
    let (_, second) =
        generate(NewKey { tenant: None, encrypt_to: Vec::new(), rate: None, expires_at: None, ..new("2") });
    add(&path, &second).unwrap();
    let both = format!("{before}{}", indented(&second, "    "));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), both);
    revoke(&path, "one", now()).unwrap();
    key.revoked_at = Some(now());
    let expected = both.replacen("- id: \"one\"\n", &format!("- id: \"one\"\n      revoked_at: {}\n", now()), 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(*Keys::read(&path).unwrap().keys[0], key);
}

fn indented(key: &ApiKey, indent: &str) -> String {
    key.to_string().lines().map(|line| format!("{indent}{line}\n")).collect()
}

#[test]
fn line_ends_stay_as_they_are_and_no_change_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let (_, key) = generate(new("a"));
    std::fs::write(&path, format!("version: 1\nkeys:\n{}", indented(&key, "  ")).replace('\n', "\r\n")).unwrap();
    revoke(&path, "a", now()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() > 4 && text.matches('\n').count() == text.matches("\r\n").count(), "{text:?}");
    let names: Vec<_> = (0..8).map(|i| format!("k{i}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| add(&path, &generate(new(name)).1).unwrap());
        }
    });
    assert_eq!(Keys::read(&path).unwrap().keys.len(), 9);
}

#[test]
fn a_file_that_cannot_be_read_now_leaves_its_keys_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let (text, key) = generate(new("a"));
    add(&path, &key).unwrap();
    let file = KeysFile::open(&path).unwrap();
    let has_key_after = |expected: bool| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while file.current().find(&text, now()).is_some() != expected && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(file.current().find(&text, now()).is_some(), expected);
    };
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "version: 1\nkeys: 7\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    has_key_after(true);
    std::fs::write(&path, "version: 1\nkeys: []\n").unwrap();
    has_key_after(false);
    std::fs::write(&path, good).unwrap();
    has_key_after(true);
}

#[test]
fn a_file_that_cannot_be_changed_safely_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let (_, key) = generate(new("ci"));
    for text in ["version: 1\nkeys: []\n", "{version: 1, keys: []}\n", "keys: []\nversion: 1\n"] {
        std::fs::write(&path, text).unwrap();
        let why = add(&path, &key).unwrap_err().to_string();
        let start =
            format!("{} is not laid out as `keys new` writes it, so it was not changed; add this to", path.display());
        assert!(why.starts_with(&start), "{why}");
        assert!(why.ends_with(&key.to_string()), "{why}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let flow = format!("version: 1\nkeys: [{{id: ci, sha256: {}, types: [a], may: [read]}}]\n", key.sha256_hex());
    std::fs::write(&path, &flow).unwrap();
    let why = revoke(&path, "ci", now()).unwrap_err().to_string();
    assert!(why.ends_with("add `revoked_at: 2026-11-29T00:00:00Z` to the key `ci` by hand"), "{why}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), flow);
    let why = add(&path, &key).unwrap_err().to_string();
    assert!(why.ends_with("has a key `ci` already; choose another `--id`, because logs name keys by it"), "{why}");
    let why = revoke(&path, "cd", now()).unwrap_err().to_string();
    assert!(why.ends_with("has no key `cd`; `keys list` shows those it has"), "{why}");
}

#[cfg(unix)]
#[test]
fn nobody_else_reads_a_new_file_and_an_old_one_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    add(&path, &generate(new("a")).1).unwrap();
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    add(&path, &generate(new("b")).1).unwrap();
    assert_eq!(mode(), 0o640);
}

#[test]
fn mistakes_say_where_they_are_and_what_to_write() {
    let hex = "0".repeat(64);
    let entry = |rest: &str| format!("version: 1\nkeys:\n- id: a\n  sha256: {hex}\n{rest}");
    for (text, expected) in [
        (entry("  types: [events]\n"), "missing key `may` in `keys`"),
        (entry("  may: [read]\n"), "missing key `types` in `keys`"),
        (entry("  types: [events]\n  may: []\n"), "`may` names nothing"),
        (entry("  types: [events]\n  may: [reed]\n"), "did you mean `read`?"),
        (entry("  types: [events, \"*\"]\n  may: [read]\n"), "`*` stands for all types"),
        (entry("  types: [events]\n  may: [read]\n  rate: 60\n"), "`rate`"),
        (entry("  types: [events]\n  may: [read]\n  rate: 60/d\n"), "`60/d` is not a rate"),
        (entry("  types: [events]\n  may: [read]\n  rate: 0/m\n"), Rate::RULE),
        (entry("  types: [events]\n  may: [read]\n  tenant: a/b\n"), "`a/b` cannot be an `tenant`"),
        (entry("  types: [events]\n  may: [read]\n  expires_at: tomorrow\n"), "`tomorrow` is not a time"),
        (entry("  types: [events]\n  may: [read]\n  encrypt_to: [age1x]\n"), "`age1x` is not an age recipient"),
        (entry("  types: [events]\n  may: [read]\n  key: kte_x\n"), "unknown key `key` in `keys`"),
        ("version: 1\nkeys:\n- {id: a, sha256: ABC, types: [a], may: [read]}\n".to_owned(), "`sha256` must be 64"),
        (
            entry(&format!(
                "  types: [a]\n  may: [read]\n- {{id: a, sha256: {}, types: [a], may: [read]}}\n",
                "1".repeat(64)
            )),
            "there are two keys `a`",
        ),
        (
            entry(&format!("  types: [a]\n  may: [read]\n- {{id: b, sha256: {hex}, types: [a], may: [read]}}\n")),
            "the key `b` is another one's",
        ),
        ("version: 1\n".to_owned(), "missing key `keys`"),
    ] {
        let why = parse(&text).unwrap_err();
        assert!(why.contains(expected), "{expected}\n{why}");
        assert!(why.contains("keys.yaml:"), "{why}");
    }
}

#[test]
fn names_are_those_that_logs_and_paths_can_hold() {
    for name in ["a", "A-1_b.c", &"x".repeat(64)] {
        assert!(KeyId::new(name).is_some(), "{name}");
    }
    for name in ["", "-a", ".", "..", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
        assert!(KeyId::new(name).is_none(), "{name:?}");
    }
}
