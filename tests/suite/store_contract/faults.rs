//! Promises of a store whose requests go wrong.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kt_export::store::{Created, Folder, Publish, StoreError};

use super::promises::{Draw, checked_step};
use super::{Fault, PACKAGE, Request, Rig, bytes_of, is_recoverable, kept};

kept! {
    a_creation_whose_reply_is_lost_is_ours: s3 gcs,
    a_lost_creation_that_another_one_won_is_theirs: s3 gcs,
    a_creation_that_meets_another_waits_for_its_end: s3 gcs,
    a_replacement_whose_reply_is_lost_is_there: s3 gcs,
    a_swap_whose_reply_is_lost_is_ours_even_if_the_first_look_fails: s3 gcs,
    an_upload_whose_replies_are_lost_is_one_file: s3 gcs,
    a_completion_that_fails_is_no_success: s3 gcs,
    a_completion_with_an_error_inside_is_tried_again: s3,
    reads_that_break_off_are_whole: s3,
    slow_answers_are_waited_for: s3 gcs,
    a_store_that_stumbles_at_first_is_still_exclusive: s3 gcs,
    a_store_that_keeps_failing_gives_errors_and_no_wrong_answers: s3 gcs,
}

fn is_put(request: &Request) -> bool {
    request.method == "PUT"
}

fn a_creation_whose_reply_is_lost_is_ours(rig: &Rig) {
    for (n, fault) in [Fault::LoseReply, Fault::Reset, Fault::Status(503, "SlowDown")].into_iter().enumerate() {
        rig.fail(1, fault, is_put);
        let name = format!("_state/partitions/{n}.json");
        assert_eq!(rig.folder.create_bytes(&name, b"ours").unwrap(), Created::Created, "{fault:?}");
        assert_eq!(rig.folder.create_bytes(&name, b"theirs").unwrap(), Created::Exists);
        rig.fail(1, fault, is_put);
        let mut draft = rig.folder.begin(&format!("data/{n}")).unwrap();
        draft.write_all(b"ours").unwrap();
        draft.publish(Publish::Create).unwrap();
    }
    assert_eq!(rig.keys().len(), 6);
}

fn a_lost_creation_that_another_one_won_is_theirs(rig: &Rig) {
    rig.put(&format!("{PACKAGE}/x"), b"theirs");
    rig.fail(1, Fault::LoseReply, is_put);
    assert_eq!(rig.folder.create_bytes("x", b"ours").unwrap(), Created::Exists);
    rig.fail(1, Fault::LoseReply, is_put);
    let draft = rig.folder.begin("x").unwrap();
    assert!(matches!(draft.publish(Publish::Create), Err(StoreError::AlreadyExists { .. })));
    assert_eq!(rig.folder.read("x").unwrap().unwrap(), b"theirs");
}

fn a_creation_that_meets_another_waits_for_its_end(rig: &Rig) {
    for (status, code) in [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")] {
        // The other one came to nothing.
        rig.fail(2, Fault::Status(status, code), is_put);
        let name = format!("a/{status}");
        assert_eq!(rig.folder.create_bytes(&name, b"ours").unwrap(), Created::Created, "{code}");
        // The other one is there a moment later.
        let met = std::sync::Arc::new(AtomicBool::new(false));
        let seen = met.clone();
        rig.fail(usize::MAX, Fault::Status(status, code), move |request| {
            let is_asked = is_put(request) && !seen.load(Ordering::SeqCst);
            seen.fetch_or(is_put(request), Ordering::SeqCst);
            is_asked
        });
        let name = format!("b/{status}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !met.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                rig.put(&format!("{PACKAGE}/{name}"), b"theirs");
            });
            assert_eq!(rig.folder.create_bytes(&name, b"ours").unwrap(), Created::Exists, "{code}");
        });
        assert_eq!(rig.folder.read(&name).unwrap().unwrap(), b"theirs");
    }
}

fn a_replacement_whose_reply_is_lost_is_there(rig: &Rig) {
    for fault in [Fault::LoseReply, Fault::Reset, Fault::Status(500, "InternalError")] {
        rig.fail(2, fault, is_put);
        rig.folder.replace_bytes("x", format!("{fault:?}").as_bytes()).unwrap();
        assert_eq!(rig.folder.read("x").unwrap().unwrap(), format!("{fault:?}").as_bytes());
    }
}

/// The reply to the swap is lost, and so is that to the first look at what came of it.
fn a_swap_whose_reply_is_lost_is_ours_even_if_the_first_look_fails(rig: &Rig) {
    assert!(rig.folder.swap("manifest.json", None, b"one").unwrap());
    let puts = AtomicUsize::new(0);
    rig.fail(2, Fault::LoseReply, move |request| match request.method.as_str() {
        "PUT" => puts.fetch_add(1, Ordering::SeqCst) == 0,
        "GET" => puts.load(Ordering::SeqCst) > 0,
        _ => false,
    });
    assert!(rig.folder.swap("manifest.json", Some(b"one"), b"two").unwrap());
    assert_eq!(rig.folder.read("manifest.json").unwrap().unwrap(), b"two");
}

/// Every reply of an upload is lost once: that to its beginning, to each part, to its completion.
fn an_upload_whose_replies_are_lost_is_one_file(rig: &Rig) {
    let bytes = bytes_of((5 << 20) + 9);
    for (n, lost) in ["uploads", "partNumber=1", "partNumber=2", "POST uploadId="].into_iter().enumerate() {
        rig.fail(1, Fault::LoseReply, move |request| format!("{} {}", request.method, request.query).contains(lost));
        let name = format!("data/{n}");
        let mut draft = rig.folder.begin(&name).unwrap();
        let written = draft.write_all(&bytes).map_err(|e| e.to_string());
        let published = written.and_then(|()| draft.publish(Publish::Create).map_err(|e| e.to_string()));
        // A beginning is not repeated where it could begin twice; then it is told, and is no wrong file.
        assert!(published.is_ok() || lost == "uploads", "{lost}: {published:?}");
        assert_eq!(rig.folder.size(&name).unwrap().is_some(), published.is_ok());
        if published.is_ok() {
            assert!(rig.folder.read(&name).unwrap().unwrap() == bytes, "{lost}");
        }
        // What began twice is swept when the job ends.
        assert!(!rig.unfinished().contains(&format!("{PACKAGE}/{name}")) || lost == "uploads", "{lost}");
    }
    rig.folder.remove_drafts(true).unwrap();
    assert!(rig.unfinished().is_empty());
}

/// What has the name already may have the very size of what did not get it.
fn a_completion_that_fails_is_no_success(rig: &Rig) {
    let (old, new) = (vec![1; (5 << 20) + 9], vec![2; (5 << 20) + 9]);
    rig.put(&format!("{PACKAGE}/data/x"), &old);
    rig.fail(usize::MAX, Fault::Status(403, "AccessDenied"), |r| r.method == "POST" && r.query.contains("uploadId="));
    for mode in [Publish::Replace, Publish::Create] {
        let mut draft = rig.folder.begin("data/x").unwrap();
        draft.write_all(&new).unwrap();
        draft.publish(mode).unwrap_err();
        assert!(rig.folder.read("data/x").unwrap().unwrap() == old && rig.unfinished().is_empty());
    }
}

fn a_completion_with_an_error_inside_is_tried_again(rig: &Rig) {
    rig.fail(2, Fault::ErrorInBody, |r| r.method == "POST" && r.query.contains("uploadId="));
    let bytes = bytes_of((5 << 20) + 9);
    let mut draft = rig.folder.begin("data/x").unwrap();
    draft.write_all(&bytes).unwrap();
    draft.publish(Publish::Create).unwrap();
    assert!(rig.folder.read("data/x").unwrap().unwrap() == bytes && rig.unfinished().is_empty());
}

fn reads_that_break_off_are_whole(rig: &Rig) {
    let bytes = bytes_of((9 << 20) + 3);
    rig.put(&format!("{PACKAGE}/data/x"), &bytes);
    rig.put(&format!("{PACKAGE}/data/y"), &bytes[..300_000]);
    let is_read = |request: &Request| request.method == "GET" && !request.key.is_empty();
    for cut in [0, 100_000] {
        rig.fail(2, Fault::CutBody(cut), is_read);
        assert!(rig.folder.read("data/y").unwrap().unwrap() == bytes[..300_000]);
        let open = || rig.folder.open_file("data/x").unwrap().unwrap();
        rig.fail(2, Fault::CutBody(cut), is_read);
        assert!(open().read_at(7, 900_000).unwrap() == bytes[7..900_007]);
        rig.fail(3, Fault::CutBody(cut), is_read);
        let mut read = Vec::new();
        open().into_reader().read_to_end(&mut read).unwrap();
        assert!(read == bytes);
    }
}

fn slow_answers_are_waited_for(rig: &Rig) {
    rig.put(&format!("{PACKAGE}/x"), b"slow");
    rig.fail(3, Fault::Stall(Duration::from_millis(150)), |_| true);
    assert_eq!(rig.folder.read("x").unwrap().unwrap(), b"slow");
    assert_eq!(rig.folder.create_bytes("x", b"other").unwrap(), Created::Exists);
    assert_eq!(rig.folder.list("").unwrap().len(), 1);
}

/// What goes wrong while the store is tried must not make it look like one that ignores conditions.
fn a_store_that_stumbles_at_first_is_still_exclusive(rig: &Rig) {
    for (n, fault) in [Fault::LoseReply, Fault::Reset, Fault::Status(503, "SlowDown")].into_iter().enumerate() {
        // The first creation is answered, the second one never.
        let puts = AtomicUsize::new(0);
        rig.fail(usize::MAX, fault, move |request| is_put(request) && puts.fetch_add(1, Ordering::SeqCst) > 0);
        let folder = Folder::open(rig.unasked_location(n));
        assert!(folder.as_ref().map_or(true, Folder::is_exclusive), "{fault:?}");
    }
}

/// Every request fails in the same way.
fn a_store_that_keeps_failing_gives_errors_and_no_wrong_answers(rig: &Rig) {
    let of_every_store = [
        Fault::LoseReply,
        Fault::Reset,
        Fault::Status(409, "ConditionalRequestConflict"),
        Fault::Status(429, "TooManyRequests"),
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
        Fault::ErrorInBody,
    ];
    // The Cloud Storage server does not have these.
    let of_s3 = [Fault::CutBody(0), Fault::CutBody(1), Fault::ShortBody(1), Fault::LoseBody];
    let faults = of_every_store.into_iter().chain(of_s3.into_iter().filter(|_| rig.is_s3()));
    let errors = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (seed, fault) in (0..).zip(faults) {
            let errors = &errors;
            scope.spawn(move || {
                let mut rig = rig.another();
                ["a", "data/x"].iter().for_each(|name| rig.put(&format!("{PACKAGE}/{name}"), name.as_bytes()));
                rig.fail(usize::MAX, fault, move |request| is_recoverable(fault, request));
                let mut draw = Draw(seed);
                for number in 0..8 {
                    // A client that has never reached its store gives up soon.
                    rig.folder = rig.unasked_folder(number);
                    if let Err(error) = checked_step(&rig, &mut draw, number) {
                        let text = error.to_string();
                        assert!(text.contains("; tried ") && text.contains(" times in "), "{fault:?}: {text}");
                        errors.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let errors = errors.into_inner();
    assert!(errors > 20, "{errors} errors");
}
