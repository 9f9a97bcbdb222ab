//! What a run relies on, tried on a real folder.

use super::*;
use crate::package::layout::DRAFTS;
use crate::store::Folder;

fn folder() -> (tempfile::TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::open(root.path().join("a/b/package")).unwrap();
    (root, folder)
}

fn everything_in(root: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(root).min_depth(1).into_iter().map(|e| e.unwrap().into_path()).collect()
}

#[test]
fn one_of_sixteen_writers_gets_the_name() {
    let (_root, folder) = folder();
    let results: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                // Half of them as runs of their own.
                let folder = if writer % 2 == 0 {
                    folder.clone()
                } else {
                    Folder::existing(folder.location()).unwrap().unwrap()
                };
                scope.spawn(move || {
                    let mut draft = folder.begin("data/2026-03-01/part-0000.csv").unwrap();
                    draft.write_all(format!("{writer}").as_bytes()).unwrap();
                    (writer, draft.publish(Publish::Create))
                })
            })
            .collect();
        writers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let winners: Vec<_> = results.iter().filter(|(_, r)| r.is_ok()).map(|(w, _)| w.to_string()).collect();
    assert_eq!(winners.len(), 1);
    assert!(results.iter().all(|(_, r)| r.is_ok()
        || matches!(r, Err(StoreError::AlreadyExists { name }) if name == "data/2026-03-01/part-0000.csv")));
    assert_eq!(folder.read("data/2026-03-01/part-0000.csv").unwrap().unwrap(), winners[0].as_bytes());
    assert!(fs::read_dir(folder.location().local().unwrap().join(DRAFTS)).unwrap().next().is_none());
}

#[test]
fn nothing_has_a_name_before_it_is_published() {
    let (_root, folder) = folder();
    let mut draft = folder.begin("data/x").unwrap();
    draft.write_all(b"half").unwrap();
    assert_eq!(folder.read("data/x").unwrap(), None);
    assert!(folder.list("").unwrap().is_empty());
    draft.write_all(b"half").unwrap();
    draft.publish(Publish::Create).unwrap();
    assert_eq!(folder.read("data/x").unwrap().unwrap(), b"halfhalf");
}

#[test]
fn what_cannot_be_read_is_not_taken_away() {
    let (_root, folder) = folder();
    let path = folder.location().local().unwrap().join("manifest.json");
    File::create(&path).unwrap().set_len(MAX_READ_BYTES + 1).unwrap();
    let error = folder.swap("manifest.json", Some(b"old"), b"new").unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(fs::metadata(&path).unwrap().len(), MAX_READ_BYTES + 1);
}

#[test]
fn taking_away_what_is_in_no_folder_leaves_nothing() {
    let (_root, folder) = folder();
    assert!(!folder.take_away("data/x", b"x").unwrap());
    assert!(!folder.swap("data/x", Some(b"x"), b"y").unwrap());
    assert_eq!(everything_in(folder.location().local().unwrap()), Vec::<PathBuf>::new());
}

#[test]
fn a_dropped_draft_leaves_nothing() {
    let (_root, folder) = folder();
    let mut draft = folder.begin("data/x").unwrap();
    draft.write_all(b"half").unwrap();
    drop(draft);
    assert!(everything_in(folder.location().local().unwrap()).iter().all(|path| path.is_dir()));
}

#[test]
fn opening_leaves_nothing_in_the_folder() {
    let (_root, folder) = folder();
    assert!(everything_in(folder.location().local().unwrap()).is_empty());
}

#[test]
fn replacing_puts_the_new_bytes_in_the_place_of_the_old() {
    let (_root, folder) = folder();
    folder.replace_bytes("report.html", b"one").unwrap();
    folder.replace_bytes("report.html", b"two").unwrap();
    assert_eq!(folder.read("report.html").unwrap().unwrap(), b"two");
    assert_eq!(folder.create_bytes("report.html", b"three").unwrap(), Created::Exists);
    assert_eq!(folder.size("report.html").unwrap(), Some(3));
    assert_eq!(folder.size("nothing").unwrap(), None);
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("exports"), b"").unwrap();
    for path in ["exports", "exports/name/2026-03"] {
        let error = Folder::open(root.path().join(path)).unwrap_err();
        assert!(error.to_string().contains("exports is a file, but a folder is needed there"), "{error}");
        assert_eq!(error.code(), crate::error::ErrorCode::StoreDenied);
    }
    let folder = Folder::open(root.path().join("package")).unwrap();
    fs::write(folder.location().local().unwrap().join("data"), b"").unwrap();
    assert!(matches!(folder.begin("data/x"), Err(StoreError::WrongKind { .. })));
    assert!(matches!(folder.read("data/x"), Err(StoreError::WrongKind { .. })));
    assert!(matches!(folder.list("data/"), Err(StoreError::WrongKind { .. })));
}

#[test]
#[cfg(unix)]
fn links_are_followed_above_the_root_only() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("real")).unwrap();
    symlink(root.path().join("real"), root.path().join("link")).unwrap();
    symlink(root.path().join("nothing"), root.path().join("dangling")).unwrap();
    Folder::open(root.path().join("link/package")).unwrap();
    let error = Folder::open(root.path().join("link")).unwrap_err();
    assert!(error.to_string().contains("link is a symbolic link"), "{error}");
    for path in ["dangling", "dangling/package"] {
        let error = Folder::open(root.path().join(path)).unwrap_err();
        assert!(error.to_string().contains("dangling is a symbolic link"), "{error}");
    }
    assert!(!root.path().join("nothing").exists());
}

#[test]
fn looking_at_a_package_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    assert!(Folder::existing(root.path().join("none")).unwrap().is_none());
    fs::write(root.path().join("manifest.json"), b"{}").unwrap();
    let folder = Folder::existing(root.path().to_owned()).unwrap().unwrap();
    assert_eq!(folder.read("manifest.json").unwrap().unwrap(), b"{}");
    assert_eq!(everything_in(root.path()).len(), 1);
}

#[test]
fn a_list_is_sorted_by_name_and_begins_with_the_prefix() {
    let (_root, folder) = folder();
    for name in ["data/b/2", "data/b/10", "data/a", "database", "_state/plan.json", "manifest.json"] {
        folder.replace_bytes(name, name.as_bytes()).unwrap();
    }
    let _draft = folder.begin("data/c").unwrap();
    let names = |prefix: &str| folder.list(prefix).unwrap().into_iter().map(|l| l.name).collect::<Vec<_>>();
    assert_eq!(names("data/"), ["data/a", "data/b/10", "data/b/2"]);
    assert_eq!(names("data/b/1"), ["data/b/10"]);
    assert_eq!(names("data"), ["data/a", "data/b/10", "data/b/2", "database"]);
    assert_eq!(names("").len(), 6);
    assert_eq!(names("rejects/"), [""; 0]);
    assert!(folder.list("../").is_err());
    assert_eq!(folder.list("data/b/10").unwrap(), [ListedFile { name: "data/b/10".into(), bytes: 9 }]);
}

#[test]
fn removing_the_last_file_removes_its_folders() {
    let (_root, folder) = folder();
    folder.replace_bytes("data/a/1", b"").unwrap();
    folder.replace_bytes("data/a/2", b"").unwrap();
    folder.remove("data/a/1").unwrap();
    assert!(folder.location().local().unwrap().join("data/a").is_dir());
    folder.remove("data/a/2").unwrap();
    folder.remove("data/a/2").unwrap();
    assert!(!folder.location().local().unwrap().join("data").exists());
    assert!(folder.location().local().unwrap().is_dir());
}

#[test]
fn names_and_folders_that_come_and_go_do_not_disturb_a_publication() {
    let (_root, folder) = folder();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let folder = folder.clone();
            scope.spawn(move || {
                for round in 0..25 {
                    let name = format!("data/x/{thread}-{round}");
                    folder.replace_bytes(&name, b"x").unwrap();
                    folder.remove(&name).unwrap();
                }
            });
        }
    });
    assert!(folder.list("").unwrap().is_empty());
}

#[test]
fn drafts_of_a_dead_run_are_removed_and_those_of_the_living_are_not() {
    let (_root, folder) = folder();
    let other = Folder::existing(folder.location()).unwrap().unwrap();
    let theirs = other.begin("data/x").unwrap();
    let mut ours = folder.begin("data/y").unwrap();
    ours.write_all(b"y").unwrap();
    let dead = folder.location().local().unwrap().join("_state/tmp/dead-0");
    fs::write(&dead, b"half").unwrap();
    folder.remove_drafts(false).unwrap();
    assert!(!dead.exists());
    theirs.publish(Publish::Create).unwrap();
    ours.publish(Publish::Create).unwrap();
    folder.remove_drafts(false).unwrap();
    assert_eq!(folder.list("").unwrap().len(), 2);
    assert!(!folder.location().local().unwrap().join("_state").exists());
}

#[test]
fn a_publication_that_fails_leaves_no_empty_folder() {
    let (_root, folder) = folder();
    let draft = folder.begin("data/2026-03-05/part-0000.csv").unwrap();
    fs::remove_dir_all(folder.location().local().unwrap().join("_state/tmp")).unwrap();
    assert!(matches!(draft.publish(Publish::Create), Err(StoreError::DraftGone { .. })));
    assert!(!folder.location().local().unwrap().join("data").exists());
}

#[test]
fn errors_say_what_to_check_and_have_a_code() {
    use crate::error::ErrorCode;
    let cases = [
        (ErrorKind::StorageFull, ErrorCode::DiskFull, "free some space"),
        (ErrorKind::QuotaExceeded, ErrorCode::DiskFull, "quota"),
        (ErrorKind::PermissionDenied, ErrorCode::StoreDenied, "check the owner and the mode"),
        (ErrorKind::ReadOnlyFilesystem, ErrorCode::StoreDenied, "mounted read-only"),
        (ErrorKind::Other, ErrorCode::WriteFailed, "cannot create /package/x"),
    ];
    for (kind, code, words) in cases {
        let error = StoreError::io("create", Path::new("/package/x"), kind.into());
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(words), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

/// A run's folder is moved away, and a link, another folder or nothing at all stands in its place.
#[test]
fn a_folder_that_is_swapped_while_it_is_in_use_is_not_written_through() {
    let root = tempfile::tempdir().unwrap();
    let (path, moved, other) = (root.path().join("package"), root.path().join("moved"), root.path().join("other"));
    for is_link in [true, false] {
        let folder = Folder::open(path.clone()).unwrap();
        folder.replace_bytes("manifest.json", b"{}").unwrap();
        let mut draft = folder.begin("data/x").unwrap();
        draft.write_all(b"rows").unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&other).unwrap();
        if is_link {
            std::os::unix::fs::symlink(&other, &path).unwrap();
        } else {
            fs::create_dir(&path).unwrap();
        }
        let found = if is_link { "a symbolic link" } else { "another folder" };
        let told = |result: Result<(), StoreError>| {
            let error = result.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("package was replaced by {found} while it was in use")), "{text}");
            assert!(text.contains("put the folder back") && matches!(error, StoreError::Swapped { .. }), "{text}");
        };
        told(draft.publish(Publish::Create));
        told(folder.create_bytes("data/y", b"").map(drop));
        told(folder.replace_bytes("manifest.json", b""));
        told(folder.read("manifest.json").map(drop));
        told(folder.remove("manifest.json"));
        told(folder.list("").map(drop));
        told(folder.remove_drafts(true).map(drop));
        assert!(everything_in(&other).is_empty() && (is_link || everything_in(&path).is_empty()));
        if is_link { fs::remove_file(&path) } else { fs::remove_dir(&path) }.unwrap();
        folder.create_bytes("data/y", b"").unwrap_err();
        fs::rename(&moved, &path).unwrap();
        assert_eq!(folder.create_bytes("data/y", b"").unwrap(), Created::Created);
        assert_eq!(folder.list("").unwrap().len(), 2);
        assert!(!path.join(DRAFTS).exists() || fs::read_dir(path.join(DRAFTS)).unwrap().next().is_none());
        fs::remove_dir_all(&path).unwrap();
        fs::remove_dir_all(&other).unwrap();
    }
}

/// Every call comes back, although nobody writes into the pipe.
#[test]
#[cfg(target_os = "linux")]
fn a_pipe_in_a_package_is_named_and_not_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let (_root, folder) = folder();
    let root = folder.location().local().unwrap().to_owned();
    folder.replace_bytes("data/x", b"").unwrap();
    fs::create_dir_all(root.join(DRAFTS)).unwrap();
    for name in ["data/pipe", "_state/tmp/1-pipe"] {
        mknodat(CWD, root.join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    for error in [
        folder.read("data/pipe").map(drop).unwrap_err(),
        folder.open_file("data/pipe").map(drop).unwrap_err(),
        folder.size("data/pipe").map(drop).unwrap_err(),
    ] {
        assert!(error.to_string().contains("data/pipe is a device, pipe or socket, but a file is needed"), "{error}");
    }
    folder.remove_drafts(true).unwrap();
    let error = open_listed(&root.join("data/pipe")).unwrap_err();
    assert!(error.to_string().contains("not a regular file any more"), "{error}");
}

#[test]
fn a_draft_takes_small_pieces_and_large_ones_in_order() {
    let (_root, folder) = folder();
    let mut draft = folder.begin("x").unwrap();
    let mut expected = Vec::new();
    for length in [1, 60, 65_000, 600, 200_000, 3, 65_536, 65_537, 0, 7] {
        let piece: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        assert_eq!(draft.write(&piece).unwrap(), length);
        expected.extend(piece);
    }
    draft.publish(Publish::Create).unwrap();
    assert!(folder.read("x").unwrap().unwrap() == expected);
}
