//! The server keeps what it promises, as a client sees it.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::{BUCKET, Fault, S3Server};

/// A client that never tries again, and where to run it.
fn client(server: &S3Server) -> (AmazonS3, Runtime) {
    let _ = rustls::crypto::ring::default_provider().install_default(); // or is there already
    let variables = server.environment();
    let builder = variables.iter().fold(AmazonS3Builder::new().with_bucket_name(BUCKET), |builder, (name, value)| {
        builder.with_config(name.to_ascii_lowercase().parse().unwrap(), value)
    });
    let store = builder.with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() }).build().unwrap();
    (store, Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

#[test]
fn of_many_conditional_puts_exactly_one_wins() {
    let server = S3Server::start();
    for round in 0..4 {
        let key = format!("claims/{round}");
        let start = Barrier::new(16);
        let claim = |i: u8| {
            let (store, runtime) = client(&server);
            start.wait();
            let path = Path::from(key.as_str());
            runtime.block_on(store.put_opts(&path, vec![i].into(), PutMode::Create.into())).map(|_| i)
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let claim = &claim;
            let threads: Vec<_> = (0..16).map(|i| scope.spawn(move || claim(i))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<u8> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        assert_eq!(server.get(&key), Some(winners));
        let refused = |result: &&_| matches!(result, Err(object_store::Error::AlreadyExists { .. }));
        assert_eq!(results.iter().filter(refused).count(), 15);
    }
    server.ignore_conditions(true);
    let (store, runtime) = client(&server);
    runtime.block_on(store.put_opts(&Path::from("claims/0"), "other".into(), PutMode::Create.into())).unwrap();
    assert_eq!(server.get("claims/0").unwrap(), b"other");
}

async fn keys_of(list: BoxStream<'_, object_store::Result<ObjectMeta>>) -> Vec<String> {
    list.map_ok(|object| object.location.to_string()).try_collect().await.unwrap()
}

#[test]
fn lists_are_whole_whatever_the_size_of_a_page() {
    let server = S3Server::start();
    let (store, runtime) = client(&server);
    let keys = ["a", "a/1", "a/2/x", "a/2/y", "a/3", "a/4/z", "a/5", "a0", "b"];
    keys.iter().for_each(|key| server.put(key, key.as_bytes()));
    for size in [1, 2, 3, 1000] {
        server.set_page_size(size);
        server.forget_requests();
        assert_eq!(runtime.block_on(keys_of(store.list(Some(&Path::from("a"))))), keys[1..7]);
        let pages = server.requests();
        assert_eq!(pages.len(), 6_usize.div_ceil(size));
        assert!(pages.iter().all(|page| page.key.is_empty() && page.query.contains("list-type=2")), "{pages:?}");
        let level = runtime.block_on(store.list_with_delimiter(Some(&Path::from("a")))).unwrap();
        assert_eq!(level.common_prefixes, ["a/2", "a/4"].map(Path::from));
        let objects = keys_of(stream::iter(level.objects).map(Ok).boxed());
        assert_eq!(runtime.block_on(objects), ["a/1", "a/3", "a/5"]);
        let rest = keys_of(store.list_with_offset(None, &Path::from("a/3")));
        assert_eq!(runtime.block_on(rest), ["a/4/z", "a/5", "a0", "b"]);
    }
}

#[test]
fn ranges_are_served_and_counted() {
    let server = S3Server::start();
    let (store, runtime) = client(&server);
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    server.put("a b/ü", &bytes);
    let part = runtime.block_on(store.get_range(&Path::parse("a b/ü").unwrap(), 1000..201_000)).unwrap();
    assert_eq!(part, bytes[1000..201_000]);
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!((&*request.key, request.range.as_deref()), ("a b/ü", Some("bytes=1000-200999")));
    assert_eq!((request.status, request.bytes_sent, server.bytes_served()), (Some(206), 200_000, 200_000));
}

#[test]
fn a_multipart_upload_is_nothing_until_it_is_completed() {
    let server = S3Server::start();
    let (store, runtime) = client(&server);
    let parts = [vec![1; 5 << 20], vec![2; 5 << 20], vec![3; 7]];
    let mut upload = runtime.block_on(store.put_multipart(&Path::from("big"))).unwrap();
    for part in &parts {
        runtime.block_on(upload.put_part(PutPayload::from(part.clone()))).unwrap();
    }
    assert_eq!((server.get("big"), server.uploads()), (None, vec!["big".to_owned()]));
    runtime.block_on(upload.complete()).unwrap();
    assert!(server.get("big").unwrap() == parts.concat() && server.uploads().is_empty());

    let mut upload = runtime.block_on(store.put_multipart(&Path::from("small"))).unwrap();
    runtime.block_on(upload.put_part("too small".into())).unwrap();
    runtime.block_on(upload.put_part("last".into())).unwrap();
    assert!(runtime.block_on(upload.complete()).unwrap_err().to_string().contains("EntityTooSmall"));
    assert_eq!((server.get("small"), server.uploads()), (None, vec!["small".to_owned()]));
}

#[test]
fn a_request_whose_reply_is_lost_was_handled() {
    let server = S3Server::start();
    let (store, runtime) = client(&server);
    server.on_request(|request| (request.method == "PUT").then_some(Fault::LoseReply));
    runtime.block_on(store.put(&Path::from("x"), "there".into())).unwrap_err();
    assert_eq!(server.get("x").unwrap(), b"there");
    server.on_request(|_| Some(Fault::Reset));
    runtime.block_on(store.put(&Path::from("y"), "not there".into())).unwrap_err();
    assert_eq!(server.get("y"), None);
    server.put("z", &[0; 1000]);
    server.on_request(|_| Some(Fault::CutBody(10)));
    let reply = runtime.block_on(store.get(&Path::from("z"))).unwrap();
    assert_eq!(reply.meta.size, 1000);
    let mut body = reply.into_stream();
    assert_eq!(runtime.block_on(body.next()).unwrap().unwrap().len(), 10);
    runtime.block_on(body.next()).unwrap().unwrap_err();
    assert_eq!(server.requests().iter().map(|r| r.status).collect::<Vec<_>>(), [None, None, Some(200)]);
}

#[test]
fn a_fault_lasts_until_it_is_cleared() {
    let server = S3Server::start();
    let (store, runtime) = client(&server);
    server.put("x", b"there");
    server.on_request(|_| Some(Fault::Status(503, "SlowDown")));
    assert!(runtime.block_on(store.get(&Path::from("x"))).unwrap_err().to_string().contains("SlowDown"));
    server.on_request(|_| Some(Fault::Stall(Duration::from_millis(100))));
    let start = Instant::now();
    runtime.block_on(store.get(&Path::from("x"))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100));

    server.on_request(|request| {
        (request.method == "POST" && !request.query.contains("uploads")).then_some(Fault::ErrorInBody)
    });
    server.allow_small_parts(true);
    let put_in_parts = || {
        let mut upload = runtime.block_on(store.put_multipart(&Path::from("parts"))).unwrap();
        runtime.block_on(upload.put_part("a".into())).unwrap();
        runtime.block_on(upload.put_part("b".into())).unwrap();
        runtime.block_on(upload.complete())
    };
    assert!(put_in_parts().unwrap_err().to_string().contains("InternalError"));
    assert_eq!((server.keys(""), server.uploads()), (vec!["x".to_owned()], vec!["parts".to_owned()]));
    server.clear_faults();
    put_in_parts().unwrap();
    assert_eq!(server.get("parts").unwrap(), b"ab");
}

#[test]
fn a_locked_object_cannot_be_deleted_by_a_client() {
    let server = S3Server::start();
    let (store, runtime) = client(&server);
    for key in ["free", "locked"] {
        server.put(key, b"");
    }
    server.lock("locked");
    runtime.block_on(store.delete(&Path::from("free"))).unwrap();
    assert!(runtime.block_on(store.delete(&Path::from("locked"))).unwrap_err().to_string().contains("AccessDenied"));
    assert_eq!(server.keys(""), ["locked"]);
    server.remove("locked");
    server.begin_upload("left behind");
    assert_eq!((server.keys("").len(), server.uploads()), (0, vec!["left behind".to_owned()]));
}
