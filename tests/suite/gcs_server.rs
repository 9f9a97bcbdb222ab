//! A stand-in for Cloud Storage in the test process: the part of its XML API that uploads, reads, lists and signs.
//!
//! No emulator of this API was to be had, so this is a fixture made from its documentation ("XML API", "V4 signing
//! process", "Preconditions"). What it shows is that the client follows that documentation, not that the cloud does.
//! Bearer tokens and signed links have to be there and in date; what is signed is not checked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hyper::body::Incoming;
use hyper::header::{AsHeaderName, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, LAST_MODIFIED, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use s3s::{Body, HttpResponse, StdError};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::s3_server::{Fault, Request};

const EMAIL: &str = "exporter@test.iam.gserviceaccount.com";

/// Every part but the last has at least so many bytes.
const MIN_PART_BYTES: usize = 5 << 20;

struct Object {
    bytes: Bytes,
    etag: String,
    generation: u64,
    modified: Timestamp,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// By key and id, the parts.
    uploads: BTreeMap<(String, String), BTreeMap<u32, Bytes>>,
    counter: u64,
    page_size: usize,
}

type Faults = Arc<dyn Fn(&Request) -> Option<Fault> + Send + Sync>;

#[derive(Clone, Default)]
struct Shared {
    state: Arc<Mutex<State>>,
    faults: Arc<Mutex<Option<Faults>>>,
}

/// A server on a port of its own, with one empty bucket named `bucket`. It stops when dropped.
pub(crate) struct GcsServer {
    address: SocketAddr,
    shared: Shared,
    runtime: Option<Runtime>,
}

impl Drop for GcsServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl GcsServer {
    pub(crate) fn start() -> Self {
        let shared = Shared::default();
        shared.state.lock().unwrap().page_size = 1000;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, shared.clone()));
        GcsServer { address, shared, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variable with the credentials that a client needs. A service account signs its tokens itself, so nobody
    /// else is asked.
    pub(crate) fn environment() -> Vec<(&'static str, String)> {
        let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} PRIVATE KEY-----"));
        let key = serde_json::json!({
            "type": "service_account",
            "private_key": format!("{begin}\n{}\n{end}\n", KEY.join("\n")),
            "private_key_id": "key",
            "client_email": EMAIL,
        });
        vec![("GOOGLE_SERVICE_ACCOUNT_KEY", key.to_string())]
    }

    /// Stores an object without a request.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.shared.state.lock().unwrap().insert(key, Bytes::copy_from_slice(bytes));
    }

    /// The bytes of an object, without a request.
    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.shared.state.lock().unwrap().objects.get(key).map(|object| object.bytes.to_vec())
    }

    /// Keys of objects, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// Keys of unfinished multipart uploads, sorted.
    pub(crate) fn uploads(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().uploads.keys().map(|(key, _)| key.clone()).collect()
    }

    /// Leaves an unfinished multipart upload behind, as a client does that dies.
    pub(crate) fn begin_upload(&self, key: &str) {
        self.shared.state.lock().unwrap().begin_upload(key);
    }

    /// Lists give at most so many entries a page.
    pub(crate) fn set_page_size(&self, entries: usize) {
        self.shared.state.lock().unwrap().page_size = entries;
    }

    /// Asks for a fault as soon as the headers of a request are here.
    pub(crate) fn on_request(&self, fault: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        *self.shared.faults.lock().unwrap() = Some(Arc::new(fault));
    }
}

async fn serve(listener: TcpListener, shared: Shared) -> Infallible {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        let answer = service_fn(move |request| answer(shared.clone(), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
    }
}

/// A request with its names decoded.
struct Asked {
    method: Method,
    key: String,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Replies to a request. An error closes its connection.
async fn answer(shared: Shared, request: hyper::Request<Incoming>) -> Result<HttpResponse, StdError> {
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let key = path.strip_prefix("/bucket").unwrap_or_default().trim_start_matches('/');
    let key = percent_encoding::percent_decode_str(key).decode_utf8()?.into_owned();
    let mut seen = Request { method: head.method.to_string(), key, query: query.to_owned(), ..Request::default() };
    let faults = shared.faults.lock().unwrap().clone();
    let fault = faults.and_then(|fault| tokio::task::block_in_place(|| fault(&seen)));
    match fault {
        Some(Fault::Reset) => return Err("reset".into()),
        Some(Fault::Stall(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let body = Body::from(body).store_all_limited(usize::MAX).await?;
    match fault {
        Some(Fault::Status(status, code)) => return Ok(failed(StatusCode::from_u16(status)?, code)),
        Some(Fault::ErrorInBody) => return Ok(failed(StatusCode::OK, "InternalError")),
        _ => {}
    }
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let key = std::mem::take(&mut seen.key);
    let asked = Asked { method: head.method, key, query, headers: head.headers, body };
    let response = match denied(&asked) {
        Some(denied) => denied,
        None => shared.state.lock().unwrap().answer(&asked),
    };
    if matches!(fault, Some(Fault::LoseReply)) { Err("lost".into()) } else { Ok(response) }
}

/// Whoever has neither a token of the service account nor a link that is in date is not let in.
fn denied(asked: &Asked) -> Option<HttpResponse> {
    let is_ours = |token: &str| {
        let claims = token.split('.').nth(1).and_then(|part| BASE64URL_NOPAD.decode(part.as_bytes()).ok());
        claims.is_some_and(|claims| String::from_utf8_lossy(&claims).contains(EMAIL))
    };
    if asked.header("authorization").and_then(|header| header.strip_prefix("Bearer ")).is_some_and(is_ours) {
        return None;
    }
    let signed = asked.query("X-Goog-Date").zip(asked.query("X-Goog-Expires")).filter(|_| {
        asked.query("X-Goog-Credential").is_some_and(|by| by.starts_with(EMAIL))
            && asked.query("X-Goog-Signature").is_some_and(|hex| hex.len() == 512)
    });
    let Some((date, seconds)) = signed else {
        return Some(failed(StatusCode::UNAUTHORIZED, "AuthenticationRequired"));
    };
    let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
    let date = date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let end = date + jiff::SignedDuration::from_secs(seconds.parse().unwrap());
    (end < Timestamp::now()).then(|| failed(StatusCode::BAD_REQUEST, "ExpiredToken"))
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    let body = body.into();
    let length = body.len();
    let mut response = HttpResponse::new(Body::from(body));
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.status_mut() = status;
    response
}

fn failed(status: StatusCode, code: &str) -> HttpResponse {
    reply(status, format!("<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"))
}

fn xml(root: &str, body: &str) -> HttpResponse {
    reply(StatusCode::OK, format!("<?xml version='1.0'?><{root}>{body}</{root}>"))
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", quick_xml::escape::escape(text))
}

impl State {
    fn insert(&mut self, key: &str, bytes: Bytes) -> HttpResponse {
        self.counter += 1;
        let etag = format!("\"{}-{}\"", HEXLOWER.encode(&Sha256::digest(&bytes)[..8]), self.counter);
        let object = Object { bytes, etag, generation: self.counter, modified: Timestamp::now() };
        let response = described(&object, reply(StatusCode::OK, ""));
        self.objects.insert(key.to_owned(), object);
        response
    }

    fn begin_upload(&mut self, key: &str) -> String {
        self.counter += 1;
        let id = format!("upload/{:08}", self.counter);
        self.uploads.insert((key.to_owned(), id.clone()), BTreeMap::new());
        id
    }

    fn answer(&mut self, asked: &Asked) -> HttpResponse {
        let key = asked.key.as_str();
        if key.is_empty() {
            return if asked.query("uploads").is_some() { self.list_uploads(asked) } else { self.list(asked) };
        }
        if let Some(id) = asked.query("uploadId") {
            return self.go_on(asked, (key.to_owned(), id.to_owned()));
        }
        let no_such_key = || failed(StatusCode::NOT_FOUND, "NoSuchKey");
        match asked.method {
            Method::POST if asked.query("uploads").is_some() => {
                xml("InitiateMultipartUploadResult", &element("UploadId", &self.begin_upload(key)))
            }
            Method::PUT => {
                let there = self.objects.get(key).map_or(0, |object| object.generation);
                let expected = asked.header("x-goog-if-generation-match").map(|n| n.parse::<u64>().unwrap());
                if expected.is_some_and(|expected| expected != there) {
                    return failed(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
                }
                self.insert(key, asked.body.clone())
            }
            Method::DELETE => self.objects.remove(key).map_or_else(no_such_key, |_| reply(StatusCode::NO_CONTENT, "")),
            Method::GET | Method::HEAD => self.objects.get(key).map_or_else(no_such_key, |object| read(object, asked)),
            _ => failed(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    /// What is asked of an unfinished upload.
    fn go_on(&mut self, asked: &Asked, upload: (String, String)) -> HttpResponse {
        let Some(parts) = self.uploads.get_mut(&upload) else { return failed(StatusCode::NOT_FOUND, "NoSuchUpload") };
        match asked.method {
            Method::PUT => {
                let etag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(&asked.body)[..16]));
                parts.insert(asked.query("partNumber").unwrap().parse().unwrap(), asked.body.clone());
                let mut response = reply(StatusCode::OK, "");
                response.headers_mut().insert(ETAG, etag.parse().unwrap());
                response
            }
            Method::POST => {
                let listed = String::from_utf8_lossy(&asked.body).matches("<PartNumber>").count();
                if listed != parts.len() {
                    return failed(StatusCode::BAD_REQUEST, "InvalidPart");
                }
                if parts.values().rev().skip(1).any(|part| part.len() < MIN_PART_BYTES) {
                    return failed(StatusCode::BAD_REQUEST, "EntityTooSmall");
                }
                let bytes: Vec<Bytes> = std::mem::take(parts).into_values().collect();
                self.uploads.remove(&upload);
                self.insert(&upload.0, bytes.concat().into());
                xml("CompleteMultipartUploadResult", &element("ETag", &self.objects[&upload.0].etag))
            }
            Method::DELETE => {
                self.uploads.remove(&upload);
                reply(StatusCode::NO_CONTENT, "")
            }
            _ => failed(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn list(&self, asked: &Asked) -> HttpResponse {
        let prefix = asked.query("prefix").unwrap_or_default();
        let after = asked.query("continuation-token").unwrap_or_default();
        let (mut page, mut last, mut entries) = (String::new(), "", 0);
        for (key, object) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let end =
                asked.query("delimiter").and_then(|d| Some(prefix.len() + key[prefix.len()..].find(d)? + d.len()));
            let entry = &key[..end.unwrap_or(key.len())];
            if entry <= after || entry == last {
                continue;
            }
            if entries == self.page_size {
                page += &(element("IsTruncated", "true") + &element("NextContinuationToken", last));
                break;
            }
            page += &match end {
                Some(_) => format!("<CommonPrefixes>{}</CommonPrefixes>", element("Prefix", entry)),
                None => {
                    let (size, modified) = (object.bytes.len().to_string(), object.modified.to_string());
                    let facts = [("Key", entry), ("Size", &size), ("ETag", &object.etag), ("LastModified", &modified)];
                    let facts: String = facts.iter().map(|(name, text)| element(name, text)).collect();
                    format!("<Contents>{facts}</Contents>")
                }
            };
            last = entry;
            entries += 1;
        }
        xml("ListBucketResult", &page)
    }

    fn list_uploads(&self, asked: &Asked) -> HttpResponse {
        let of = |name| asked.query(name).unwrap_or_default();
        let (prefix, after) = (of("prefix"), (of("key-marker"), of("upload-id-marker")));
        let is_asked = |key: &str, id: &str| key.starts_with(prefix) && (key, id) > after;
        let mut there = self.uploads.keys().filter(|(key, id)| is_asked(key, id));
        let (mut page, mut last) = (String::new(), None);
        for (key, id) in (&mut there).take(self.page_size) {
            page += &format!("<Upload>{}{}</Upload>", element("Key", key), element("UploadId", id));
            last = Some((key, id));
        }
        if let Some((key, id)) = last.filter(|_| there.next().is_some()) {
            page += &element("IsTruncated", "true");
            page += &(element("NextKeyMarker", key) + &element("NextUploadIdMarker", id));
        }
        xml("ListMultipartUploadsResult", &page)
    }
}

fn read(object: &Object, asked: &Asked) -> HttpResponse {
    if asked.header(IF_MATCH).is_some_and(|etag| etag != object.etag) {
        return failed(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    let range = asked.header(RANGE).and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return described(object, reply(StatusCode::OK, object.bytes.clone())) };
    let whole = object.bytes.len();
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(whole, |last: usize| (last + 1).min(whole));
    if first >= end {
        return failed(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
    }
    let mut response = described(object, reply(StatusCode::PARTIAL_CONTENT, object.bytes.slice(first..end)));
    let range = format!("bytes {first}-{}/{whole}", end - 1);
    response.headers_mut().insert(CONTENT_RANGE, range.parse().unwrap());
    response
}

fn described(object: &Object, mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(ETAG, object.etag.parse().unwrap());
    headers.insert("x-goog-generation", object.generation.into());
    let modified = object.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    headers.insert(LAST_MODIFIED, modified.parse().unwrap());
    response
}

/// Made for these tests, and nobody's.
const KEY: [&str; 26] = [
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCgALFsx9GA8DSQ",
    "ViQVIhjVpQRsk8lSquqCa0J5ecxOoIlzpoa/NX/bikWRhDGXuzhMcvHv2M5vveut",
    "FtMZdO8XTYAzROmU2RS3FwQ7DKJPkoCopM1PEWy1BfABrqol5xmA7XDMzUDOEe/b",
    "+z164JAD+QyFK/YWY3VaIK1N+XRS/W9qi9pFQfJkhhfxR2Q34lh+P4jvjjHLa57e",
    "NxicwRy/ZEGIjbGmRVcdgbV20zn7VifUIB487v9i7OobzIJ18eRqDbJd48RU7ccf",
    "48W9v2njZecOVBMk8KdC6gf2/+uvhdgv52ovjkNgcoGi8PVIb/JY7wSLM6X5+CB5",
    "Bq8dBRn7AgMBAAECggEAKpi0o5C46lpIrCp6tbObp/kkKeHYZa1B/JGgo2V1KnOb",
    "1FG/qtUL4n830Ss/5rS9osCxP1jZcK8/uJeMgMj8RBhqanvMscdvN+UlR7Ev3v5S",
    "SVOCoyuw5KqdgF0nSCrzw7qy3ptARvxIfqiu7/Er9hrOJgATplc5LVLowIsKWHNb",
    "HrBBvU9du1GUvVZH9G+7uNc0VJ+lo9zcbVWLswe9CrSIxL6lsItVZIsxzYneTF+B",
    "WGY1VISEUj8jQtpFCe5pEt8DNEuIEM2ouVy90IkDS3QfNgMZ0iiRq8fr8h/5ym1Z",
    "8U3n1DpO2t/15XHmfrLT1m9HmvlRcZbo8Y0Fi4EvqQKBgQDbx2kiWE4ple84fgWR",
    "Beap5gqTe5z3/pwpnF0Re7zuyzfvOd/9kr2j3807074MfdqR2TuQwuwpjBlMjeeV",
    "3jX7aCla7HUGwiyPjy0ivMB5TMt6pcNrfuwIwfRZY/zgugHB5plUQHwJG0mlt6p5",
    "pPKyb9miwAbTvTS2ouBKupfCswKBgQC6X0qXn3b8b+cM5HaTdE7MxmWy2WVvp9fA",
    "SjzJ3qr0VdrSsDsAXRVbi3YJxvKF/7+2/qmwsABI3k9sMiGkFc05SMnko+cfstkF",
    "3nElDsLjK7MwOhPlc/bQk39FU7zMjPT+mj3Crf0p9Xm5GjVlyilWKjpknUmlkWlh",
    "xkZVPBHPmQKBgHh/kKj/+XrbddlnXu3walNkiQ/rilh+BGjcDjrzuNbEHNrQxHpm",
    "5grfPcs7gMughSHKFNp9xLXS1lwewYZt2vMIXQQ4+MDH3V6ohXqyOmVHMZkBIW/i",
    "ms8CaFJKe+9KjIQfRpnm8RqdF3gAhztCsL4cjRqqZhPZfPlVu9u9Ck/5AoGBAJhd",
    "ExRF7/aMXW3y0OXXrhxHDhlbFUxlAUNY7b1zZnt+PPkFzhaMAsvmhceUd+0Immk2",
    "ZO/n0zO/W1ru2QXWNQLh+PwM6wTFKBteMU3EdZtWvJVuxZlOZrc5/lBlFvJ7Qkdr",
    "PZaMu220G6EyRflDfuvMdhSPaggLiwW+HP3NsBnxAoGAciYFVeKyCbFn2+Xtgtfc",
    "4h+cEMll25VyjMihlVlU+347OhdhXvmbw2wW+2arQdkamyRTASKxomFm2P1/PLM+",
    "rliwyrLv+JT0sibDVVjQVO8IDPISCmKP1LyDeHC1DkkEUZRYZFlsTzKDgdN/BF7i",
    "0v01hioHpunCcj4W2IRfi5w=",
];
