//! An S3 server in the test process, for clients in it and in processes that it starts.
//!
//! Objects live in memory. Signatures are checked. Before each request a test may make it fail.

mod backend;
mod promises;
mod state;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use futures_util::stream;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::StreamingBlob;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse, S3Error, S3ErrorCode, S3Result, StdError, s3_error};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use backend::Backend;
use state::{Bucket, Object};

const BUCKET: &str = "bucket";
const ACCESS_KEY: &str = "TESTACCESSKEY";
const SECRET_KEY: &str = "test-secret-key";

/// Replies leave in pieces of this size, so that little is counted as sent after a client went away.
const CHUNK_BYTES: usize = 64 << 10;

/// What was written goes to the client in this time, before the connection is cut.
const FLUSH: Duration = Duration::from_millis(20);

/// A request as the server saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub method: String,
    /// Percent-decoded, without the bucket; empty if the request is about a bucket.
    pub key: String,
    /// As sent, without the question mark.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// None while there is no reply, and if it was lost.
    pub status: Option<u16>,
    /// Bytes of the reply's body that were handed to the connection.
    pub bytes_sent: u64,
    /// Bytes of the request's body.
    pub bytes_received: u64,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The request is not handled. The reply is an error with this HTTP status and code.
    Status(u16, &'static str),
    /// The request is handled, and the connection closed without a reply.
    LoseReply,
    /// The connection is closed, and the request not handled.
    Reset,
    /// The request is handled after this time.
    Stall(Duration),
    /// The reply has its true headers, at most so many bytes of its body, and then the connection is closed.
    CutBody(usize),
    /// The request is handled. The reply has at most so many bytes of its body, and a length that fits.
    ShortBody(usize),
    /// The request is not handled. The reply has status 200 and an error as its body, as CompleteMultipartUpload may.
    ErrorInBody,
    /// The request is not handled. The reply has status 200, no headers and no body.
    EmptyOk,
    /// The request is handled. The reply has status 200, no headers and no body.
    LoseBody,
    /// The connection stays open, and there is no reply.
    Hang,
}

type Faults = Arc<dyn Fn(&Request) -> Option<Fault> + Send + Sync>;
type Entry = Arc<Mutex<Request>>;

/// Knows one key.
struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == ACCESS_KEY {
            Ok(SECRET_KEY.into())
        } else {
            Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
        }
    }
}

#[derive(Clone, Default)]
struct Shared {
    backend: Backend,
    log: Arc<Mutex<Vec<Entry>>>,
    faults: Arc<Mutex<Option<Faults>>>,
}

/// A server on a port of its own, with one empty bucket named `bucket`. It stops when dropped.
pub(crate) struct S3Server {
    address: SocketAddr,
    shared: Shared,
    runtime: Option<Runtime>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl S3Server {
    pub(crate) fn start() -> Self {
        let shared = Shared::default();
        shared.backend.0.lock().unwrap().buckets.insert(BUCKET.to_owned(), Bucket::default());
        let mut service = S3ServiceBuilder::new(shared.backend.clone());
        service.set_auth(Keys);
        let service = service.build();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, shared.clone(), service));
        S3Server { address, shared, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Variables that lead a client here.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let here = [("AWS_ENDPOINT_URL", self.endpoint()), ("AWS_ALLOW_HTTP", "true".to_owned())];
        Self::credentials().into_iter().chain(here).collect()
    }

    /// Variables with what a client needs besides the endpoint.
    pub(crate) fn credentials() -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    fn bucket<T>(&self, act: impl FnOnce(&mut Bucket) -> T) -> T {
        act(self.shared.backend.0.lock().unwrap().bucket(BUCKET).unwrap())
    }

    /// Stores an object without a request.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.bucket(|bucket| bucket.objects.insert(key.to_owned(), Object::new(Bytes::copy_from_slice(bytes))));
    }

    /// The bytes of an object, without a request.
    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.bucket(|bucket| bucket.objects.get(key).map(|object| object.bytes.to_vec()))
    }

    /// Removes an object without a request, locked or not.
    pub(crate) fn remove(&self, key: &str) {
        self.bucket(|bucket| bucket.objects.remove(key));
    }

    /// Keys of objects, sorted.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        self.bucket(|bucket| bucket.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    /// Keys of unfinished multipart uploads, sorted, one for each upload.
    pub(crate) fn uploads(&self) -> Vec<String> {
        self.bucket(|bucket| bucket.uploads.keys().map(|(key, _)| key.clone()).collect())
    }

    /// Leaves an unfinished multipart upload behind, as a client does that dies.
    pub(crate) fn begin_upload(&self, key: &str) {
        self.shared.backend.0.lock().unwrap().begin_upload(BUCKET, key, Object::new(Bytes::new())).unwrap();
    }

    /// All requests in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().iter().map(|entry| entry.lock().unwrap().clone()).collect()
    }

    /// Bytes of objects that were sent in replies to GETs.
    pub(crate) fn bytes_served(&self) -> u64 {
        let is_served = |r: &Request| r.method == "GET" && !r.key.is_empty() && matches!(r.status, Some(200 | 206));
        self.requests().iter().filter(|request| is_served(request)).map(|request| request.bytes_sent).sum()
    }

    /// Empties the log, and so sets `bytes_served` to zero.
    pub(crate) fn forget_requests(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// Lists give at most so many entries a page, and never more than 1000.
    pub(crate) fn set_page_size(&self, keys: usize) {
        self.shared.backend.0.lock().unwrap().page_size = keys;
    }

    /// Whether `If-Match` and `If-None-Match` of writes are ignored, as some servers do that resemble S3.
    pub(crate) fn ignore_conditions(&self, yes: bool) {
        self.shared.backend.0.lock().unwrap().ignore_conditions = yes;
    }

    /// Whether parts before the last may have less than 5 MiB.
    pub(crate) fn allow_small_parts(&self, yes: bool) {
        self.shared.backend.0.lock().unwrap().allow_small_parts = yes;
    }

    /// How far the server's clock is ahead of ours. Signatures are taken whatever it says.
    pub(crate) fn set_clock_ahead(&self, seconds: i64) {
        self.shared.backend.0.lock().unwrap().clock_ahead = seconds;
    }

    /// Deletes of this key fail with 403 AccessDenied. It can be overwritten, which with Object Lock makes a version.
    pub(crate) fn lock(&self, key: &str) {
        self.bucket(|bucket| bucket.locked.insert(key.to_owned()));
    }

    /// Asks for a fault as soon as the headers of a request are here. The function may block.
    pub(crate) fn on_request(&self, fault: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        *self.shared.faults.lock().unwrap() = Some(Arc::new(fault));
    }

    pub(crate) fn clear_faults(&self) {
        *self.shared.faults.lock().unwrap() = None;
    }
}

async fn serve(listener: TcpListener, shared: Shared, service: S3Service) -> Infallible {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let (shared, service) = (shared.clone(), service.clone());
        let answer = service_fn(move |request| answer(shared.clone(), service.clone(), request));
        // Fails when a client goes away, and where a fault wants it to.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%');
        let decoded = hex.and_then(|hex| Some(HEXLOWER_PERMISSIVE.decode(hex).ok()?[0]));
        rest = &after[if decoded.is_some() { 2 } else { 0 }..];
        bytes.push(decoded.unwrap_or(*first));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Replies to a request. An error closes its connection.
async fn answer(
    shared: Shared,
    service: S3Service,
    request: hyper::Request<Incoming>,
) -> Result<HttpResponse, StdError> {
    let (head, body) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let entry = Arc::new(Mutex::new(Request {
        method: head.method.to_string(),
        key: head.uri.path()[1..].split_once('/').map(|(_, key)| percent_decoded(key)).unwrap_or_default(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        range: head.headers.get(RANGE).map(|range| String::from_utf8_lossy(range.as_bytes()).into_owned()),
        status: None,
        bytes_sent: 0,
        bytes_received: 0,
    }));
    shared.log.lock().unwrap().push(Arc::clone(&entry));
    let faults = shared.faults.lock().unwrap().clone();
    let seen = entry.lock().unwrap().clone();
    let fault = faults.and_then(|fault| tokio::task::block_in_place(|| fault(&seen)));
    if matches!(fault, Some(Fault::Reset)) {
        return Err("reset".into());
    }
    let body = Body::from(body).store_all_limited(usize::MAX).await?;
    entry.lock().unwrap().bytes_received = body.len() as u64;
    match fault {
        Some(Fault::Stall(time)) => tokio::time::sleep(time).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::EmptyOk) => return Ok(HttpResponse::new(Body::empty())),
        _ => {}
    }
    let response = match fault {
        Some(Fault::Status(status, code)) => error(status, code)?,
        Some(Fault::ErrorInBody) => error(200, "InternalError")?,
        _ => service.call(hyper::Request::from_parts(head, Body::from(body))).await.map_err(StdError::from)?,
    };
    let cut = match fault {
        Some(Fault::LoseReply) => return Err("lost".into()),
        Some(Fault::LoseBody) => return Ok(HttpResponse::new(Body::empty())),
        Some(Fault::CutBody(bytes)) => Some(bytes),
        _ => None,
    };
    entry.lock().unwrap().status = Some(response.status().as_u16());
    let (mut head, mut body) = response.into_parts();
    if is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(HttpResponse::from_parts(head, Body::empty()));
    }
    let mut body = body.store_all_limited(usize::MAX).await?;
    if let Some(Fault::ShortBody(bytes)) = fault {
        body.truncate(bytes);
    }
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    Ok(HttpResponse::from_parts(head, counted(body, cut, entry)))
}

fn error(status: u16, code: &str) -> Result<HttpResponse, StdError> {
    let mut error = S3Error::with_message(code.parse::<S3ErrorCode>()?, "A fault of the test");
    error.set_status_code(StatusCode::from_u16(status)?);
    Ok(error.to_http_response()?)
}

/// A body that says in the log how much of it is taken, and that breaks where it is cut.
fn counted(bytes: Bytes, cut: Option<usize>, entry: Entry) -> Body {
    let chunks = stream::unfold((bytes, cut), move |(mut rest, cut)| {
        let entry = Arc::clone(&entry);
        async move {
            if cut == Some(0) {
                tokio::time::sleep(FLUSH).await;
                return Some((Err(io::Error::other("cut")), (Bytes::new(), None)));
            }
            if rest.is_empty() {
                return None;
            }
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES).min(cut.unwrap_or(usize::MAX)));
            entry.lock().unwrap().bytes_sent += chunk.len() as u64;
            let cut = cut.map(|left| left - chunk.len());
            Some((Ok(chunk), (rest, cut)))
        }
    });
    Body::from(StreamingBlob::wrap(chunks))
}
