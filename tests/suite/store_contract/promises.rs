//! Promises of a store that works, and of one whose faults the retry layer hides.
//!
//! Unit tests compile this file again for the in-memory store, which only they can reach; see `src/store/contract.rs`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Barrier;
use std::time::Duration;

use kt_export::store::{Created, Folder, Publish, StoreError};

use super::{PACKAGE, Rig, bytes_of, kept};

kept! {
    // Of many writers one wins: only where the store says so.
    a_name_is_created_by_one_of_many: local s3 s3_with_faults gcs gcs_with_faults memory,
    each_version_is_swapped_once: local s3 s3_with_faults gcs gcs_with_faults memory,
    // The rest, everywhere.
    a_file_is_created_once: local s3 s3_with_faults s3_without_conditions gcs gcs_with_faults memory,
    a_replaced_file_is_whole: local s3 s3_with_faults s3_without_conditions gcs gcs_with_faults memory,
    files_of_any_size_are_read_whole_and_in_parts: local s3 s3_with_faults gcs gcs_with_faults memory,
    a_draft_is_nothing_before_it_is_published: local s3 s3_with_faults gcs gcs_with_faults memory,
    a_draft_gets_its_name_in_both_ways: local s3 s3_with_faults s3_without_conditions gcs gcs_with_faults memory,
    a_draft_of_several_parts_is_one_file: local s3 s3_with_faults gcs gcs_with_faults memory,
    lists_are_sorted_and_whole: local s3 s3_with_faults gcs gcs_with_faults memory,
    thousands_of_names_are_listed: local s3 s3_with_faults gcs gcs_with_faults memory,
    removing_is_no_error_where_nothing_is: local s3 s3_with_faults s3_without_conditions gcs gcs_with_faults memory,
    names_are_kept_as_they_are: local s3 s3_with_faults gcs gcs_with_faults memory,
    names_that_lead_elsewhere_are_refused: local s3 gcs memory,
    what_dead_runs_left_goes_when_it_may: local s3 s3_with_faults gcs gcs_with_faults,
    a_package_may_be_a_whole_bucket: s3 gcs,
    a_link_reads_one_file_for_a_while: s3 gcs,
    one_writer_swaps_without_conditions: s3_without_conditions,
    every_answer_is_true_of_what_is_there: local s3 s3_with_faults s3_without_conditions gcs gcs_with_faults memory
        memory_with_faults memory_with_stale_lists,
}

fn at_once<T: Send>(writers: usize, write: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(writers);
    std::thread::scope(|scope| {
        let (start, write) = (&start, &write);
        let wait_and_write = move |writer| {
            start.wait();
            write(writer)
        };
        let threads: Vec<_> = (0..writers).map(|writer| scope.spawn(move || wait_and_write(writer))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn a_name_is_created_by_one_of_many(rig: &Rig) {
    assert!(rig.folder.is_exclusive());
    for round in 0..3 {
        let name = format!("_state/claims/{round}.json");
        let results = at_once(16, |writer| rig.folder.create_bytes(&name, format!("{writer}").as_bytes()).unwrap());
        let winners: Vec<_> = (0..16).filter(|i| results[*i] == Created::Created).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(rig.folder.read(&name).unwrap().unwrap(), winners[0].to_string().as_bytes());
    }
}

fn each_version_is_swapped_once(rig: &Rig) {
    assert!(rig.folder.swap("manifest.json", None, b"0").unwrap());
    assert!(!rig.folder.swap("manifest.json", None, b"other").unwrap());
    let mut current = b"0".to_vec();
    for version in 0..4 {
        let swaps = at_once(8, |writer| {
            let new = format!("{version} {writer}");
            // Where two collide, both may be told that they were late.
            let won = (0..20).any(|_| rig.folder.swap("manifest.json", Some(&current), new.as_bytes()).unwrap());
            won.then_some(new)
        });
        let winners: Vec<_> = swaps.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(rig.folder.read("manifest.json").unwrap().unwrap(), winners[0].as_bytes());
        // A run that slept cannot put an old version over a newer one.
        assert!(!rig.folder.swap("manifest.json", Some(&current), b"late").unwrap());
        assert_eq!(rig.folder.read("manifest.json").unwrap().unwrap(), winners[0].as_bytes());
        current = winners[0].clone().into_bytes();
    }
}

fn one_writer_swaps_without_conditions(rig: &Rig) {
    assert!(rig.folder.swap("m", None, b"one").unwrap());
    assert!(rig.folder.swap("m", Some(b"one"), b"two").unwrap());
    assert!(!rig.folder.swap("m", Some(b"one"), b"three").unwrap());
    assert_eq!(rig.folder.read("m").unwrap().unwrap(), b"two");
}

fn a_file_is_created_once(rig: &Rig) {
    assert_eq!(rig.folder.create_bytes("a/b", b"one").unwrap(), Created::Created);
    assert_eq!(rig.folder.create_bytes("a/b", b"two").unwrap(), Created::Exists);
    assert_eq!(rig.folder.read("a/b").unwrap().unwrap(), b"one");
    assert_eq!(rig.folder.create_bytes("empty", b"").unwrap(), Created::Created);
    assert_eq!(rig.folder.create_bytes("empty", b"x").unwrap(), Created::Exists);
    assert_eq!(rig.keys(), ["evidence/package/a/b", "evidence/package/empty"]);
}

fn a_replaced_file_is_whole(rig: &Rig) {
    let versions = [bytes_of(200_000), b"short".to_vec(), Vec::new()];
    rig.folder.replace_bytes("x", &versions[0]).unwrap();
    at_once(4, |reader| {
        for round in 0..8 {
            if reader == 0 {
                rig.folder.replace_bytes("x", &versions[round % 3]).unwrap();
            } else {
                assert!(versions.contains(&rig.folder.read("x").unwrap().unwrap()));
            }
        }
    });
    assert_eq!(rig.folder.read("x").unwrap().unwrap(), versions[1]);
}

fn files_of_any_size_are_read_whole_and_in_parts(rig: &Rig) {
    for length in [0, 1, 70_000, (9 << 20) + 3] {
        let bytes = bytes_of(length);
        rig.put(&format!("{PACKAGE}/data/x"), &bytes);
        assert_eq!(rig.folder.size("data/x").unwrap(), Some(length as u64));
        assert!(rig.folder.read("data/x").unwrap().unwrap() == bytes);
        let open = || rig.folder.open_file("data/x").unwrap().unwrap();
        let (stored, end) = (open(), length as u64);
        assert_eq!(stored.bytes(), end);
        for (start, wanted) in [(0, 1), (end / 2, 1000), (end.saturating_sub(8), 8), (end, 0), (1, 300_000)] {
            let Some(part) = bytes.get(start as usize..(start + wanted) as usize) else { continue };
            assert!(stored.read_at(start, wanted).unwrap() == part, "{start} {wanted} of {length}");
            let mut memory = vec![0; part.len()];
            stored.read_exact_at(start, &mut memory).unwrap();
            assert!(memory == part);
        }
        stored.read_at(end, 1).unwrap_err();
        if length > 1000 {
            let ranges = [5..10, 20..900, end - 500..end, 0..1];
            let parts = stored.read_ranges(&ranges).unwrap();
            let expected = ranges.map(|r| bytes[r.start as usize..r.end as usize].to_vec());
            assert!(parts.iter().zip(&expected).all(|(part, expected)| part == expected) && parts.len() == 4);
        }
        let mut read = Vec::new();
        open().into_reader().read_to_end(&mut read).unwrap();
        assert!(read == bytes, "{length}");
    }
    for name in ["data", "data/y", "data/x/y/z"] {
        if rig.is_local() && name != "data/y" {
            continue; // A folder or a file where the other is meant: told as such.
        }
        assert!(rig.folder.read(name).unwrap().is_none() && rig.folder.size(name).unwrap().is_none());
        assert!(rig.folder.open_file(name).unwrap().is_none());
    }
}

fn a_draft_is_nothing_before_it_is_published(rig: &Rig) {
    for length in [10, (5 << 20) + 10] {
        let mut draft = rig.folder.begin("data/p/part-0000").unwrap();
        draft.write_all(&bytes_of(length)).unwrap();
        assert!(rig.folder.list("").unwrap().is_empty() && rig.folder.size("data/p/part-0000").unwrap().is_none());
        drop(draft);
        assert!(rig.unfinished().is_empty(), "{:?}", rig.unfinished());
        assert!(rig.keys().is_empty(), "{:?}", rig.keys());
    }
}

fn a_draft_gets_its_name_in_both_ways(rig: &Rig) {
    let draft = |bytes: &[u8]| {
        let mut draft = rig.folder.begin("data/p").unwrap();
        draft.write_all(bytes).unwrap();
        draft
    };
    draft(b"").publish(Publish::Create).unwrap();
    assert!(matches!(draft(b"other").publish(Publish::Create), Err(StoreError::AlreadyExists { .. })));
    assert_eq!(rig.folder.read("data/p").unwrap().unwrap(), b"");
    draft(b"other").publish(Publish::Replace).unwrap();
    assert_eq!(rig.folder.read("data/p").unwrap().unwrap(), b"other");
    assert_eq!(rig.keys(), ["evidence/package/data/p"]);
}

fn a_draft_of_several_parts_is_one_file(rig: &Rig) {
    for (length, mode) in [(5 << 20, Publish::Create), ((10 << 20) + 1, Publish::Replace)] {
        let bytes = bytes_of(length);
        let mut draft = rig.folder.begin("data/p").unwrap();
        bytes.chunks(3_000_000).for_each(|chunk| draft.write_all(chunk).unwrap());
        draft.publish(mode).unwrap();
        assert!(rig.folder.read("data/p").unwrap().unwrap() == bytes && rig.unfinished().is_empty());
    }
    let mut draft = rig.folder.begin("data/p").unwrap();
    draft.write_all(&bytes_of((5 << 20) + 1)).unwrap();
    assert!(matches!(draft.publish(Publish::Create), Err(StoreError::AlreadyExists { .. })));
    assert!(rig.folder.size("data/p").unwrap() == Some((10 << 20) + 1) && rig.unfinished().is_empty());
}

fn lists_are_sorted_and_whole(rig: &Rig) {
    let names = ["a", "data/2026-03-01/p", "data/2026-03-02/p", "data/2026-03-02/q", "data/2026-04/x/y", "data0"];
    for name in names {
        rig.put(&format!("{PACKAGE}/{name}"), name.as_bytes());
    }
    rig.put("evidence/package-2/data/2026-03-01/z", b"");
    rig.put("evidence/packagf", b"");
    for size in [1, 2, 5, 1000] {
        rig.set_page_size(size);
        for prefix in ["", "data", "data/", "data/2026-03-0", "data/2026-03-02", "data/2026-03-02/", "d", "x", "x/y"] {
            let listed = rig.folder.list(prefix).unwrap();
            let expected: Vec<_> = names.iter().filter(|name| name.starts_with(prefix)).collect();
            assert_eq!(listed.iter().map(|l| &l.name).collect::<Vec<_>>(), expected, "`{prefix}`");
            assert!(listed.iter().all(|l| l.bytes == l.name.len() as u64));
        }
        assert_eq!(rig.folder.folders("").unwrap(), ["data"]);
        assert_eq!(rig.folder.folders("data").unwrap(), ["2026-03-01", "2026-03-02", "2026-04"]);
        assert!(rig.folder.folders("data/2026-03-01").unwrap().is_empty());
        assert!(rig.folder.folders("nothing").unwrap().is_empty());
    }
}

fn thousands_of_names_are_listed(rig: &Rig) {
    let names: Vec<String> = (0..2500).map(|n| format!("_state/tasks/{n:05}.json")).collect();
    names.iter().for_each(|name| rig.put(&format!("{PACKAGE}/{name}"), b"{}"));
    let listed = rig.folder.list("_state/tasks/").unwrap();
    assert!(listed.iter().map(|l| &l.name).eq(&names));
    assert_eq!(rig.folder.list("_state/tasks/0210").unwrap().len(), 10);
}

fn removing_is_no_error_where_nothing_is(rig: &Rig) {
    rig.folder.replace_bytes("data/p/x", b"").unwrap();
    for _ in 0..2 {
        rig.folder.remove("data/p/x").unwrap();
    }
    rig.folder.remove("never/there").unwrap();
    assert!(rig.keys().is_empty() && !rig.folder.folders("").unwrap().contains(&"data".to_owned()));
    assert!(rig.folder.read("data/p/x").unwrap().is_none());
}

fn names_are_kept_as_they_are(rig: &Rig) {
    let names = [
        "data/ leading and trailing ",
        "data/%2e%2e/x",
        "data/%",
        "data/100%25",
        "data/a#b",
        "data/a+b",
        "data/a=b&c",
        "data/a?b",
        "data/~:@;,!*()'\"<>|",
        "data/ü/ö",
        "data/日本",
        "..data/x..",
    ];
    for name in names {
        assert_eq!(rig.folder.create_bytes(name, name.as_bytes()).unwrap(), Created::Created, "{name}");
        let key = format!("{PACKAGE}/{name}");
        assert!(rig.keys().contains(&key), "{key} in {:?}", rig.keys());
    }
    for name in names {
        assert_eq!(rig.folder.read(name).unwrap().unwrap(), name.as_bytes());
        assert_eq!(rig.folder.list(name).unwrap()[0].name, name);
        let mut read = String::new();
        rig.folder.open_file(name).unwrap().unwrap().into_reader().read_to_string(&mut read).unwrap();
        assert_eq!(read, name);
    }
    let listed: Vec<_> = rig.folder.list("").unwrap().into_iter().map(|l| l.name).collect();
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    names.iter().for_each(|name| rig.folder.remove(name).unwrap());
    assert!(rig.keys().is_empty(), "{:?}", rig.keys());
}

fn names_that_lead_elsewhere_are_refused(rig: &Rig) {
    rig.put("evidence/secret", b"secret");
    for name in ["", "/evidence/secret", "../secret", "data/../../secret", "a//b", "a/", "./a", "a\0b", "a\\..\\b"] {
        let refused = [
            rig.folder.begin(name).map(drop),
            rig.folder.create_bytes(name, b"x").map(drop),
            rig.folder.replace_bytes(name, b"x"),
            rig.folder.read(name).map(drop),
            rig.folder.size(name).map(drop),
            rig.folder.open_file(name).map(drop),
            rig.folder.remove(name),
            rig.folder.presign(name, Duration::from_secs(60)).map(drop),
            rig.folder.swap(name, None, b"x").map(drop),
            rig.folder.make_durable(name),
        ];
        for (n, refused) in refused.into_iter().enumerate() {
            assert!(matches!(refused, Err(StoreError::BadName { .. })), "{name:?} {n}: {refused:?}");
        }
    }
    for prefix in ["../", "/evidence/", "data/../../"] {
        assert!(rig.folder.list(prefix).is_err(), "{prefix}");
    }
    assert_eq!(rig.keys(), ["evidence/secret"]);
}

fn what_dead_runs_left_goes_when_it_may(rig: &Rig) {
    if rig.is_local() {
        rig.put(&format!("{PACKAGE}/_state/tmp/1-dead-1"), b"half");
        let mut draft = rig.folder_at(PACKAGE).begin("x").unwrap();
        draft.write_all(b"alive").unwrap();
        rig.folder.remove_drafts(false).unwrap();
        assert_eq!(rig.unfinished().len(), 1);
        return draft.publish(Publish::Create).unwrap();
    }
    let ours = ["data/p/a", "data/p/a", "data/p/b", "rejects/x"];
    ours.iter().for_each(|name| rig.begin_upload(&format!("{PACKAGE}/{name}")));
    // Another package beside this one, another one below it, and somebody else's.
    let theirs = ["evidence/other", "evidence/package-2/data/p", "evidence/package/2026/data/p"];
    theirs.iter().for_each(|key| rig.begin_upload(key));
    rig.set_page_size(2);
    assert!(rig.folder.remove_drafts(false).unwrap().is_empty());
    assert_eq!(rig.unfinished().len(), 7);
    assert_eq!(rig.folder.remove_drafts(true).unwrap(), ours);
    let mut left = theirs.to_vec();
    left.sort_unstable();
    assert_eq!(rig.unfinished(), left);
}

fn a_package_may_be_a_whole_bucket(rig: &Rig) {
    let folder = rig.folder_at("");
    folder.replace_bytes("data/p/x", b"x").unwrap();
    assert_eq!(folder.list("").unwrap()[0].name, "data/p/x");
    assert_eq!(folder.folders("").unwrap(), ["data"]);
    rig.begin_upload("data/p/y");
    assert_eq!(folder.remove_drafts(true).unwrap(), ["data/p/y"]);
    assert!(rig.unfinished().is_empty());
    folder.remove("data/p/x").unwrap();
    assert!(rig.keys().is_empty());
}

/// Gets a link as a browser does: status and body.
pub(super) fn get(url: &url::Url) -> (u16, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = reqwest::Client::new().get(url.clone()).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    })
}

fn a_link_reads_one_file_for_a_while(rig: &Rig) {
    for name in ["data/a b+ü%/x", "data/y"] {
        rig.folder.replace_bytes(name, name.as_bytes()).unwrap();
        let link = rig.folder.presign(name, Duration::from_secs(600)).unwrap().url;
        assert_eq!(get(&link), (200, name.as_bytes().to_vec()), "{name}");
        let mut other = link.clone();
        other.set_path(&link.path().replace("/data/", "/rejects/"));
        assert_ne!(get(&other).0, 200);
    }
    let short = rig.folder.presign("data/y", Duration::from_secs(1)).unwrap().url;
    std::thread::sleep(Duration::from_millis(2100));
    assert!((400..404).contains(&get(&short).0));
}

/// The files of a package, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// The result of an operation. After an error, the operation may have had its effect.
struct Step {
    what: String,
    /// Whether the answer was right, given the files before the operation.
    answer: Result<bool, StoreError>,
    /// The files after the operation.
    effect: Files,
}

/// A generator of operations: splitmix64 (Steele, Lea and Flood, 2014).
pub(super) struct Draw(pub u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}

/// Performs a random operation. `new` must differ from the bytes of all other operations.
fn step(rig: &Rig, draw: &mut Draw, new: &[u8], before: &Files) -> Step {
    let folder: &Folder = &rig.folder;
    let name = ["a", "data/x", "data/y", "_state/log/000001.json"][draw.below(4)];
    let there = before.get(name);
    let with = |bytes: Option<&[u8]>| {
        let mut files = before.clone();
        match bytes {
            Some(bytes) => files.insert(name.to_owned(), bytes.to_vec()),
            None => files.remove(name),
        };
        files
    };
    let unchanged = || before.clone();
    let if_free = || if there.is_none() { with(Some(new)) } else { unchanged() };
    let old: Option<Vec<u8>> = match draw.below(3) {
        0 => None,
        1 => Some(b"never written".to_vec()),
        _ => there.cloned(),
    };
    let is_old = there == old.as_ref();
    let draft = || -> Result<_, StoreError> {
        let mut draft = folder.begin(name)?;
        draft.write_all(new).map_err(|error| StoreError::reading(&folder.location().join(name), error))?;
        Ok(draft)
    };
    let (what, answer, effect) = match draw.below(12) {
        0 | 1 => {
            let created = folder.create_bytes(name, new);
            ("create", created.map(|created| (created == Created::Created) == there.is_none()), if_free())
        }
        2 => ("replace", folder.replace_bytes(name, new).map(|()| true), with(Some(new))),
        3 | 4 => {
            let swapped = folder.swap(name, old.as_deref(), new).map(|swapped| swapped == is_old);
            ("swap", swapped, if is_old { with(Some(new)) } else { unchanged() })
        }
        5 => {
            let old = old.unwrap_or_default();
            let is_old = there == Some(&old);
            let taken = folder.take_away(name, &old).map(|taken| taken == is_old);
            ("take away", taken, if is_old { with(None) } else { unchanged() })
        }
        6 => ("read", folder.read(name).map(|read| read.as_ref() == there), unchanged()),
        7 => {
            let size = folder.size(name).map(|size| size == there.map(|bytes| bytes.len() as u64));
            ("size", size, unchanged())
        }
        8 => {
            let read = folder.open_file(name).and_then(|stored| {
                let Some(stored) = stored else { return Ok(there.is_none()) };
                let mut read = Vec::new();
                let all = stored.into_reader().read_to_end(&mut read);
                all.map_err(|error| StoreError::reading(&folder.location().join(name), error))?;
                Ok(there == Some(&read))
            });
            ("open", read, unchanged())
        }
        9 => {
            let listed = folder.list("data/").map(|listed| {
                let listed: BTreeMap<_, _> = listed.into_iter().map(|found| (found.name, found.bytes)).collect();
                let below = before.iter().filter(|(name, _)| name.starts_with("data/"));
                let below: BTreeMap<_, _> = below.map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect();
                // A stale listing may lack names, but lists no name that does not exist.
                listed == below
                    || (rig.has_stale_lists() && listed.iter().all(|(name, bytes)| below.get(name) == Some(bytes)))
            });
            ("list", listed, unchanged())
        }
        10 => ("remove", folder.remove(name).map(|()| true), with(None)),
        _ => {
            let (mode, effect) = match draw.below(3) {
                0 => (Some(Publish::Replace), with(Some(new))),
                1 => (None, unchanged()),
                _ => (Some(Publish::Create), if_free()),
            };
            let published = draft().and_then(|draft| match mode {
                Some(mode) => draft.publish(mode),
                None => Ok(()),
            });
            let answer = match published {
                Ok(()) => Ok(mode != Some(Publish::Create) || there.is_none()),
                Err(StoreError::AlreadyExists { .. }) => Ok(mode == Some(Publish::Create) && there.is_some()),
                Err(error) => Err(error),
            };
            ("publish", answer, effect)
        }
    };
    Step { what: format!("{what} {name}"), answer, effect }
}

/// Performs a random operation and checks its answer against the content of the store.
///
/// # Errors
/// The operation's, after checking that it had its whole effect or none.
pub(super) fn checked_step(rig: &Rig, draw: &mut Draw, number: usize) -> Result<(), StoreError> {
    let before = rig.files();
    let new = format!("{number} {}", "x".repeat(number)).into_bytes();
    let Step { what, answer, effect } = step(rig, draw, &new, &before);
    let after = rig.files();
    match answer {
        Ok(is_right) => {
            assert!(is_right, "{number} {what}: a wrong answer");
            assert!(after == effect, "{number} {what}: {:?} instead of {:?}", after.keys(), effect.keys());
            Ok(())
        }
        Err(error) => {
            assert!(error.to_string().starts_with("cannot "), "{number} {what}: {error}");
            assert!(after == before || after == effect, "{number} {what}: half an effect");
            Err(error)
        }
    }
}

fn every_answer_is_true_of_what_is_there(rig: &Rig) {
    let mut draw = Draw(7);
    let results: Vec<_> = (0..400).map(|number| checked_step(rig, &mut draw, number)).collect();
    let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    if rig.may_fail() {
        assert!((20..380).contains(&errors.len()), "{} errors", errors.len());
    } else {
        assert!(errors.is_empty(), "{errors:?}");
    }
}
