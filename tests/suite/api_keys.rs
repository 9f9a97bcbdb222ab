//! `keys`: API keys are made, listed and revoked.

use serde_json::json;

use crate::project::Project;

#[test]
fn a_key_is_shown_once_with_its_entry() {
    let project = Project::new();
    let new = ["keys", "new", "--id", "ci", "--types", "events,audit-log", "--may", "create,read", "--rate", "60/m"];
    let outcome = project.call(&new).exits(0).says(&["the key is shown once; add the entry below it to the keys file"]);
    let (key, entry) = outcome.stdout.split_once("\n\n").unwrap();
    assert!(key.starts_with("kte_") && key.len() == 47, "{key}");
    assert!(entry.starts_with("- id: \"ci\"\n  sha256: \""), "{entry}");
    // `printf %s KEY | sha256sum` gives what the entry has.
    let sum = std::process::Command::new("sh").args(["-c", "printf %s \"$0\" | sha256sum", key]).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert!(entry.contains(&format!("  sha256: \"{}\"\n", sum.split(' ').next().unwrap())), "{entry}");
    project.write("keys.yaml", format!("version: 1\nkeys:\n{entry}"));
    let listed = project.call(&["keys", "list", "--keys", "keys.yaml", "--json"]).exits(0).json();
    let known = &listed["keys"][0];
    assert_eq!((&known["id"], &known["state"], &known["rate"]), (&json!("ci"), &json!("valid"), &json!("60/m")));
    assert_eq!((&known["types"], &known["may"]), (&json!(["audit-log", "events"]), &json!(["create", "read"])));
}

#[test]
fn a_file_of_keys_grows_and_keys_in_it_are_revoked() {
    let project = Project::new();
    let list = || project.call(&["keys", "list", "--keys", "keys.yaml"]).exits(0).stdout;
    for id in ["a", "b"] {
        let args =
            ["keys", "new", "--keys", "keys.yaml", "--id", id, "--types", "*", "--may", "read", "--expires", "90d"];
        let outcome = project.call(&args).exits(0).says(&["keys.yaml has the key `"]);
        assert_eq!(outcome.stdout.trim_end().len(), 47, "{outcome:?}");
    }
    assert!(list().lines().skip(1).all(|line| line.contains(" valid ") && line.contains(" * ")), "{}", list());
    project.call(&["keys", "revoke", "--keys", "keys.yaml", "--id", "a"]).exits(0);
    assert!(list().lines().any(|line| line.trim_start().starts_with('a') && line.contains(" revoked ")), "{}", list());
    project
        .call(&["keys", "revoke", "--keys", "keys.yaml", "--id", "c"])
        .exits(2)
        .says(&["error: keys.yaml has no key `c`; `keys list` shows those it has"]);
    project
        .call(&["keys", "new", "--keys", "keys.yaml", "--id", "a", "--types", "*", "--may", "read"])
        .exits(2)
        .says(&["error: keys.yaml has a key `a` already; choose another `--id`"]);
}

#[test]
fn flags_that_are_no_key_say_what_is() {
    let project = Project::new();
    for (flag, value, expected) in [
        ("--id", "a b", "use 1 to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit"),
        ("--may", "write", "use create, read, download"),
        ("--rate", "60", "write a number of requests and a unit, `s`, `m` or `h`, such as `60/m`"),
        ("--encrypt-to", "age1x", "age1x"),
        ("--expires", "1mo", "write a duration such as"),
    ] {
        let mut args = vec!["keys", "new", flag, value];
        for (known, default) in [("--id", "ci"), ("--types", "events"), ("--may", "read")] {
            if known != flag {
                args.extend([known, default]);
            }
        }
        project.call(&args).exits(2).says(&[expected]);
    }
}
