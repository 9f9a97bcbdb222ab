//! Chains with a link taken away, changed, swapped, added.

use std::fs;
use std::path::Path;

use super::*;
use crate::package::manifest::tests::manifest;
use crate::package::manifest::{LinkRecord, Manifest};

/// The links of four packages.
fn chain(root: &Path) -> Folder {
    let folder = Folder::open(root.join("chain")).unwrap();
    let mut before = None;
    for number in 1..=4 {
        let link = Some(LinkRecord { number, previous_sha256: before.take() });
        let mut manifest = Manifest { link, ..manifest() };
        assert_eq!(Link::of(&manifest, "").unwrap_err().to_string(), "`spec.resolved` has no `output.uri`");
        manifest.spec.resolved.set("output", serde_json::json!({"uri": "package/"}));
        let link = Link::of(&manifest, &sha256(&number.to_be_bytes())).unwrap().unwrap();
        let bytes = link.to_json_bytes().unwrap();
        assert_eq!(Link::from_json(&bytes).unwrap().to_json_bytes().unwrap(), bytes);
        before = Some(sha256(&bytes));
        fs::write(root.join("chain").join(layout::link(number)), bytes).unwrap();
    }
    folder
}

/// What is wrong after a change, as `name: message`.
fn flaws(change: impl FnOnce(&Path)) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let folder = chain(root.path());
    change(folder.location().local().unwrap());
    let read = Chain::read(&folder).unwrap();
    read.flaws().into_iter().map(|flaw| format!("{}: {}", flaw.name, flaw.message)).collect()
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_whole_chain_has_no_flaw_and_knows_its_head() {
    assert_eq!(flaws(|_| ()), [""; 0]);
    let root = tempfile::tempdir().unwrap();
    let folder = chain(root.path());
    fs::write(root.path().join("chain/README.md"), "hello").unwrap();
    let read = Chain::read(&folder).unwrap();
    let head = read.head().unwrap();
    assert_eq!(head.link.number, 4);
    assert_eq!(head.sha256, sha256(&fs::read(root.path().join("chain/000004.json")).unwrap()));
    assert_eq!(read.strangers(), ["README.md"]);
    assert_eq!(read.last_of(&head.link.id), Some(head));
    assert_eq!(layout::link(1_234_567), "1234567.json");
}

#[test]
fn links_that_are_gone_are_named() {
    assert_eq!(
        flaws(|at| fs::remove_file(at.join("000002.json")).unwrap()),
        ["000002.json: is missing, but 000003.json exists: it was removed"]
    );
    assert_eq!(
        flaws(|at| {
            fs::remove_file(at.join("000001.json")).unwrap();
            fs::remove_file(at.join("000002.json")).unwrap();
        }),
        ["000001.json: is missing, like all links up to 000002.json, but 000003.json exists: it was removed"]
    );
}

#[test]
fn links_that_were_changed_or_moved_are_named() {
    let changed = flaws(|at| edit(&at.join("000002.json"), "\"events\"", "\"other\""));
    assert_eq!(changed.len(), 1);
    assert!(
        changed[0].starts_with("000003.json: follows a link with the digest ")
            && changed[0].contains(", and 000002.json has ")
            && changed[0].ends_with(": one of them was changed or replaced"),
        "{changed:?}"
    );
    let swapped = flaws(|at| {
        fs::rename(at.join("000002.json"), at.join("x")).unwrap();
        fs::rename(at.join("000003.json"), at.join("000002.json")).unwrap();
        fs::rename(at.join("x"), at.join("000003.json")).unwrap();
    });
    for words in [
        "000002.json: says that it is link 3: it replaced another link",
        "000002.json: follows link 2, not its predecessor",
        "000003.json: says that it is link 2: it replaced another link",
        "000003.json: follows link 1, not its predecessor",
    ] {
        assert!(swapped.iter().any(|flaw| flaw == words), "{swapped:#?}");
    }
    assert_eq!(
        flaws(|at| edit(&at.join("000004.json"), "{\n  \"link", "{\n   \"link")),
        ["000004.json: is not in the form in which links are written: it was changed"]
    );
    assert_eq!(
        flaws(|at| edit(&at.join("000004.json"), "\"link_version\": 1", "\"link_version\": 2")),
        ["000004.json: cannot be read: it has `link_version: 2`, and this release reads 1 only: use the release that \
          wrote it or a newer one"]
    );
    assert_eq!(
        flaws(|at| fs::write(at.join("000004.json"), vec![b' '; 70_000]).unwrap()),
        ["000004.json: is larger than any link"]
    );
    let first = flaws(|at| assert!(fs::copy(at.join("000002.json"), at.join("000001.json")).is_ok()));
    assert!(
        first.contains(&"000001.json: is the first link, but names a predecessor: earlier links were removed".into())
    );
    let none = flaws(|at| assert!(fs::copy(at.join("000001.json"), at.join("000003.json")).is_ok()));
    assert!(none.contains(&"000003.json: names no predecessor, but is not the first link".into()), "{none:#?}");
}

#[test]
fn files_that_only_look_like_links_are_named() {
    for name in ["00005.json", "0000005.json", "000000.json", "99999999999999999999999.json"] {
        let found = flaws(|at| fs::write(at.join(name), "{}").unwrap());
        let expected = format!("{name}: is not the name of a link: names have six digits, or more if the number does");
        assert!(found.contains(&expected), "{found:?}");
    }
    // A number far away costs nothing.
    let far = flaws(|at| assert!(fs::copy(at.join("000001.json"), at.join("18446744073709551615.json")).is_ok()));
    assert!(far[0].starts_with("000005.json: is missing, like all links up to 18446744073709551614.json"), "{far:?}");
}
