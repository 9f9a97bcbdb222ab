//! The rejects file of a task.

use super::*;
use crate::digest::sha256;
use crate::run::example::{self, Example, RECIPIENT, drafts, empty_folder};
use crate::run::sealing::Sealing;
use crate::store::Publish;

fn writer(folder: &Folder) -> RejectsWriter {
    RejectsWriter::new(folder.clone(), "rejects/0.ndjson".to_owned(), None)
}

#[test]
fn without_a_row_there_is_no_file() {
    let (_root, folder) = empty_folder();
    let mut writer = writer(&folder);
    writer.append(b"", 0).unwrap();
    assert!(writer.open.is_none() && writer.finish().unwrap().is_none());
}

#[test]
fn the_lines_are_appended_in_order_and_their_digest_is_that_of_the_file() {
    let (_root, folder) = empty_folder();
    let mut writer = writer(&folder);
    writer.append(b"{1}\n", 1).unwrap();
    writer.append(b"", 0).unwrap();
    writer.append(b"{2}\n{3}\n", 2).unwrap();
    let part = writer.finish().unwrap().unwrap();
    assert_eq!((part.name.as_str(), part.rows, part.bytes), ("rejects/0.ndjson", 3, 12));
    assert_eq!(part.sha256, sha256(b"{1}\n{2}\n{3}\n"));
    assert!(part.plain.is_none() && part.sealed.is_none());
    assert_eq!(folder.read("rejects/0.ndjson").unwrap(), None);
    part.draft.publish(Publish::Create).unwrap();
    assert_eq!(folder.read("rejects/0.ndjson").unwrap().unwrap(), b"{1}\n{2}\n{3}\n");
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let (_root, folder) = empty_folder();
    let mut writer = writer(&folder);
    writer.append(b"{1}\n", 1).unwrap();
    assert_eq!(drafts(&folder), 1);
    drop(writer);
    assert!(folder.list("").unwrap().is_empty() && drafts(&folder) == 0);
}

#[test]
fn what_would_confirm_a_guess_of_an_encrypted_file_is_in_clear_only_where_the_spec_says_so() {
    for (digests, is_sealed) in [("clear", false), ("sealed", true)] {
        let example =
            Example::new(&format!("encryption: {{age: {{recipients: [{RECIPIENT}]}}, digests: {digests}}}\n"));
        let sealing = Sealing::read(&example.job, &example::env()).unwrap();
        let folder = example.folder();
        let name = "rejects/0.ndjson.age".to_owned();
        let writer = RejectsWriter::new(folder.clone(), name.clone(), sealing.recipients.clone());
        let mut writer = writer.sealing(sealing.facts(&example.job));
        writer.append(b"{1}\n", 1).unwrap();
        let part = writer.finish().unwrap().unwrap();
        let plain = part.plain.map(|plain| (plain.bytes, plain.sha256));
        assert_eq!(plain, (!is_sealed).then(|| (4, sha256(b"{1}\n"))));
        assert_eq!(part.sealed.is_some(), is_sealed);
        part.draft.publish(Publish::Create).unwrap();
        let stored = folder.read(&name).unwrap().unwrap();
        assert!(stored.starts_with(b"age-encryption.org/v1\n"));
        assert_eq!((part.bytes, part.sha256), (stored.len() as u64, sha256(&stored)));
    }
}

#[test]
fn a_file_that_cannot_be_begun_fails_with_its_name() {
    let (_root, folder) = empty_folder();
    let mut writer = RejectsWriter::new(folder, "../0.ndjson".to_owned(), None);
    let failure = writer.append(b"{1}\n", 1).unwrap_err();
    assert_eq!(failure.to_string(), "`../0.ndjson` is not a name inside a package: a segment is `.` or `..`");
}
