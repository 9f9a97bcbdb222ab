//! Files of a web server, which is only read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use kt_export::store::{Folder, Location, ObjectMeta, StoreError, StoreOptions, Stored, head_object};

use super::bytes_of;

/// How a server tells of its one file, `/files/a b.bin`.
#[derive(Clone, Default)]
struct Habits {
    etag: Option<&'static str>,
    ignores_ranges: bool,
}

/// What was asked so far: request line and range.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Serves until the process ends.
fn serve(bytes: Vec<u8>, habits: Habits) -> (Location, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/files/a%20b.bin", listener.local_addr().unwrap());
    let asked = Asked::default();
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(&stream.unwrap(), &bytes, &habits, &log);
        }
    });
    (Location::parse(&uri, &StoreOptions::default()).unwrap(), asked)
}

fn answer(mut stream: &TcpStream, bytes: &[u8], habits: &Habits, log: &Asked) -> std::io::Result<()> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let lines: Vec<String> = lines.collect();
    let header = |name: &str| {
        let of =
            |line: &String| Some(line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name))?.1.to_owned());
        lines.iter().find_map(of)
    };
    let range = header("range");
    log.lock().unwrap().push((lines[0].clone(), range.clone()));
    let range = range.filter(|_| !habits.ignores_ranges).map(|range| {
        let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
        let first = first.parse::<usize>().unwrap();
        first..last.parse().map_or(bytes.len(), |last: usize| (last + 1).min(bytes.len()))
    });
    let is_there = lines[0].contains(" /files/a%20b.bin ");
    // A strong comparison, which no weak tag passes.
    let is_meant = header("if-match").is_none_or(|tag| Some(&*tag) == habits.etag && !tag.starts_with("W/"));
    let (status, range, body) = match range {
        _ if !is_there => ("404 Not ObjectMeta", String::new(), &[][..]),
        _ if !is_meant => ("412 Precondition Failed", String::new(), &[][..]),
        Some(range) => (
            "206 Partial Content",
            format!("Content-Range: bytes {}-{}/{}\r\n", range.start, range.end - 1, bytes.len()),
            &bytes[range],
        ),
        None => ("200 OK", String::new(), bytes),
    };
    let etag = habits.etag.map_or(String::new(), |etag| format!("ETag: {etag}\r\n"));
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nLast-Modified: Sun, 01 Mar 2026 00:00:00 GMT\r\n\
         Content-Length: {length}\r\n{etag}{range}\r\n"
    )?;
    if lines[0].starts_with("HEAD") { Ok(()) } else { stream.write_all(body) }
}

fn found(at: &Location) -> Option<ObjectMeta> {
    let Location::Object(at) = at else { panic!("{at} is no object") };
    head_object(at).unwrap()
}

#[test]
fn a_file_is_read_whole_and_in_parts_whatever_the_server_tells_of_its_version() {
    let bytes = bytes_of((8 << 20) + 77);
    for etag in [None, Some("\"strong\""), Some("W/\"weak\"")] {
        let (at, asked) = serve(bytes.clone(), Habits { etag, ..Habits::default() });
        let found = found(&at).unwrap();
        assert_eq!((found.bytes, found.modified.to_string()), (bytes.len() as u64, "2026-03-01T00:00:00Z".into()));
        let open = || Stored::open(&at, found.bytes, found.etag.as_deref()).unwrap();
        assert!(open().read_at(5, 1000).unwrap() == bytes[5..1005], "{etag:?}");
        let mut read = Vec::new();
        open().into_reader().read_to_end(&mut read).unwrap();
        assert!(read == bytes, "{etag:?}");
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|(line, range)| line.starts_with("HEAD") || range.is_some()), "{asked:?}");
    }
}

#[test]
fn another_version_than_the_one_that_was_looked_at_is_not_read() {
    let (at, _) = serve(bytes_of(100), Habits { etag: Some("\"new\""), ..Habits::default() });
    let error = Stored::open(&at, 100, Some("\"old\"")).unwrap().read_at(0, 10).unwrap_err();
    assert!(error.to_string().contains("the object has changed since it was listed"), "{error}");
}

#[test]
fn a_server_without_ranges_is_told_as_such_and_never_read_whole() {
    let (at, _) = serve(bytes_of(1 << 20), Habits { ignores_ranges: true, ..Habits::default() });
    let error = Stored::open(&at, 1 << 20, None).unwrap().read_at(10, 10).unwrap_err();
    assert!(error.to_string().contains("the store refuses the request"), "{error}");
}

#[test]
fn what_is_not_there_is_none_and_nothing_is_written() {
    let (at, asked) = serve(Vec::new(), Habits::default());
    let text = at.to_string().replace("a b", "other");
    assert!(found(&Location::parse(&text, &StoreOptions::default()).unwrap()).is_none());
    assert!(matches!(Folder::open(&at), Err(StoreError::ReadOnly { .. })));
    assert!(asked.lock().unwrap().iter().all(|(line, _)| line.starts_with("HEAD") || line.starts_with("GET")));
}
