//! `serve`: exports asked for, watched and fetched over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::project::{Project, daily_files};
use crate::s3_server::S3Server;

const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A project with a catalog, where exports find their rows.
fn project() -> Project {
    let project = Project::new();
    for (name, text) in daily_files(3, 40) {
        project.write(&name, text);
    }
    let catalog = "version: 1\ntypes:\n  events: {source: {uri: data/}}\n  kb-audit: {source: {uri: kb/}}\n";
    project.write("catalog.yaml", catalog);
    let row = "{\"entry_id\":\"1\",\"occurred_at\":\"2026-03-01T10:00:00Z\",\"kb_id\":\"k\",\"status\":\"blocked\"}\n";
    project.write("kb/a.ndjson", row);
    project.write("token.key", "0123456789abcdef0123456789abcdef\n");
    project
}

/// Adds a key to `keys.yaml`.
#[track_caller]
fn key(project: &Project, id: &str, rest: &[&str]) -> String {
    let args = ["keys", "new", "--keys", "keys.yaml", "--id", id];
    let outcome = project.call(&[&args, rest].concat()).exits(0);
    let key = outcome.stdout.trim_end().to_owned();
    assert!(key.starts_with("kte_") && key.len() == 47, "{outcome:?}");
    key
}

const ALL: [&str; 4] = ["--types", "*", "--may", "create,read,download"];

/// A running service, which ends with the test.
struct Server {
    child: Child,
    address: String,
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[track_caller]
    fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{}", self.head, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The detail of problem details.
    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json(status);
        assert_eq!(problem["status"], json!(status));
        problem
    }
}

impl Server {
    #[track_caller]
    fn start(project: &Project, args: &[&str]) -> Self {
        Self::start_in(project, args, Vec::new())
    }

    #[track_caller]
    fn start_in(project: &Project, args: &[&str], environment: Vec<(&'static str, String)>) -> Self {
        let serve = ["serve", "--json", "--catalog", "catalog.yaml", "--keys", "keys.yaml", "--listen", "127.0.0.1:0"];
        let mut command = project.command(&[&serve, args].concat());
        let mut child = command.envs(environment).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.trim_end().ends_with('}') {
            assert!(stdout.read_line(&mut text).unwrap() > 0, "the service has ended: {text}");
        }
        let started: Value = serde_json::from_str(&text).unwrap();
        Self { child, address: started["address"].as_str().unwrap().to_owned(), _stdout: stdout }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        send(&self.address, method, path, headers, body)
    }

    fn get(&self, key: &str, path: &str) -> Answer {
        self.send("GET", path, &[("x-api-key", key)], b"")
    }

    fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        self.send("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Waits until an export has ended.
    #[track_caller]
    fn ended(&self, key: &str, id: &str) -> Value {
        for _ in 0..600 {
            let export = self.get(key, &format!("/v1/exports/{id}")).json(200);
            if !["queued", "running"].contains(&export["status"].as_str().unwrap()) {
                return export;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{id} does not end");
    }
}

/// One request over a connection of its own.
fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    connection.write_all(head.as_bytes()).unwrap();
    // A server that refuses a body does not read all of it.
    drop(connection.write_all(body));
    let mut bytes = Vec::new();
    let ended = connection.read_to_end(&mut bytes);
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{ended:?}: {bytes:?}"));
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[at + 4..].to_vec() }
}

fn march() -> Value {
    json!({"type": "events", "date_from": "2026-03-01", "date_to": "2026-03-03", "format": "csv"})
}

#[test]
fn an_export_is_created_watched_and_fetched() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    let server = Server::start(&project, &["--token-key-file", "token.key"]);
    let answer = server.post(&key, "/v1/exports", &march());
    let created = answer.json(202);
    let (id, job_id) = (created["id"].as_str().unwrap(), created["job_id"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(format!("/v1/exports/{id}").as_str()));
    assert!(id.as_bytes()[14] == b'8' && job_id.starts_with("job_"), "{created}");
    let export = server.ended(&key, id);
    assert_eq!((&export["status"], &export["total_rows"]), (&json!("complete"), &json!(120)));
    assert_eq!(server.ended(&key, job_id)["id"], created["id"]);
    // What jobs were made on the command line, and by the API, is the same.
    let seen = project.call(&["jobs", "get", "--id", job_id, "--json"]).exits(0).json();
    assert_eq!(seen["total_rows"], json!(120));
    // The same request is the same job.
    assert_eq!(server.post(&key, "/v1/exports", &march()).json(202)["id"], created["id"]);
    let mut another = march();
    another["new"] = json!(true);
    let repeat = |idempotency: &str| {
        let headers =
            [("x-api-key", key.as_str()), ("content-type", "application/json"), ("idempotency-key", idempotency)];
        server.send("POST", "/v1/exports", &headers, another.to_string().as_bytes())
    };
    let others = [server.post(&key, "/v1/exports", &another), repeat("a"), repeat("b")];
    let others = others.map(|answer| answer.json(202)["id"].as_str().unwrap().to_owned());
    assert!(others.iter().all(|other| other != id) && others[0] != others[1] && others[1] != others[2], "{others:?}");
    assert_eq!(repeat("a").json(202)["id"], json!(others[1]));
    assert_eq!(repeat("a b").problem(422)["errors"][0]["loc"], json!(["header", "idempotency-key"]));

    let files = export["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    for file in files {
        let (url, name) = (file["download_url"].as_str().unwrap(), file["name"].as_str().unwrap());
        let stored = std::fs::read(project.path(&format!(".kt-export/jobs/{job_id}/package/{name}"))).unwrap();
        let whole = server.send("GET", url, &[], b"");
        assert_eq!((whole.status, &whole.body), (200, &stored));
        let etag = whole.header("etag").unwrap();
        assert_eq!(etag, format!("{}", file["sha256"]));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let name_of_download = format!("attachment; filename=\"{}\"", name.replace('/', "_"));
        assert_eq!(whole.header("content-disposition"), Some(name_of_download.as_str()));
        for (range, part) in
            [("bytes=5-9", 5..10), ("bytes=7-", 7..stored.len()), ("bytes=-3", stored.len() - 3..stored.len())]
        {
            let answer = server.send("GET", url, &[("range", range), ("if-range", etag)], b"");
            assert_eq!((answer.status, &answer.body[..]), (206, &stored[part.clone()]), "{range}");
            let expected = format!("bytes {}-{}/{}", part.start, part.end - 1, stored.len());
            assert_eq!(answer.header("content-range"), Some(expected.as_str()));
        }
        assert_eq!(server.send("GET", url, &[("range", "bytes=5-9"), ("if-range", "\"old\"")], b"").status, 200);
        for known in [etag.to_owned(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            assert_eq!(
                server.send("GET", url, &[("if-none-match", "\"y\""), ("if-none-match", &known)], b"").status,
                304
            );
        }
        let head = server.send("HEAD", url, &[("range", "bytes=0-1")], b"");
        assert_eq!((head.status, head.header("content-length").unwrap()), (200, stored.len().to_string().as_str()));
        let beyond = server.send("GET", url, &[("range", "bytes=999999-")], b"");
        beyond.problem(416);
        assert_eq!(beyond.header("content-range"), Some(format!("bytes */{}", stored.len()).as_str()));
        let head = server.send("HEAD", url, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(stored.len().to_string().as_str()));
    }
    let manifest = server.get(&key, &format!("/v1/exports/{id}/manifest"));
    assert_eq!(manifest.json(200)["id"], json!(job_id));
    let sums = server.get(&key, &format!("/v1/exports/{id}/SHA256SUMS"));
    assert_eq!(
        sums.body,
        std::fs::read(project.path(&format!(".kt-export/jobs/{job_id}/package/SHA256SUMS"))).unwrap()
    );
    let report = server.get(&key, &format!("/v1/exports/{id}/report"));
    assert!(report.body.starts_with(b"<!doctype html>") || report.body.starts_with(b"<!DOCTYPE html>"));
    assert!(report.header("content-security-policy").unwrap().contains("sandbox"));
}

#[test]
fn a_damaged_shard_never_ends_as_a_whole_answer() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    let server = Server::start(&project, &[]);
    let created = server.post(&key, "/v1/exports", &march()).json(202);
    let export = server.ended(&key, created["id"].as_str().unwrap());
    let file = &export["files"][1];
    let (url, name) = (file["download_url"].as_str().unwrap(), file["name"].as_str().unwrap());
    let path = project.path(&format!(".kt-export/jobs/{}/package/{name}", export["job_id"].as_str().unwrap()));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for range in [None, Some("bytes=3-")] {
        let headers: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
        let answer = server.send("GET", url, &headers, b"");
        let promised: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert!(answer.body.len() < promised, "{} of {promised} bytes", answer.body.len());
    }
    // What can be known before is an answer of its own.
    bytes.push(0);
    std::fs::write(&path, &bytes).unwrap();
    server.send("GET", url, &[], b"").problem(500);
    std::fs::remove_file(&path).unwrap();
    server.send("GET", url, &[], b"").problem(500);
}

#[test]
fn a_store_that_signs_links_serves_the_files_itself() {
    let store = S3Server::start();
    let project = project();
    let key = key(&project, "ci", &ALL);
    let server = Server::start_in(&project, &["--store", "s3://bucket/exports"], store.environment());
    let created = server.post(&key, "/v1/exports", &march()).json(202);
    let export = server.ended(&key, created["id"].as_str().unwrap());
    let file = &export["files"][0];
    let url = file["download_url"].as_str().unwrap();
    let answer = server.send("GET", url, &[], b"");
    assert_eq!(answer.status, 307, "{answer:?}");
    let link = answer.header("location").unwrap();
    assert!(link.contains("X-Amz-Expires=300&"), "{link}");
    let (address, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let fetched = send(address, "GET", &format!("/{path}"), &[], b"");
    assert_eq!((fetched.status, fetched.body.len()), (200, file["bytes"].as_u64().unwrap() as usize));
    // Without the token, there is no link.
    server.send("GET", url.split_once('?').unwrap().0, &[], b"").problem(403);
}

#[test]
fn files_are_deleted_when_their_retention_has_ended() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    let server = Server::start(&project, &[]);
    let mut body = march();
    body["retention"] = json!("1d");
    let kept = server.post(&key, "/v1/exports", &body).json(202);
    body["retention"] = json!("1s");
    let created = server.post(&key, "/v1/exports", &body).json(202);
    let id = created["id"].as_str().unwrap();
    let export = server.ended(&key, id);
    let file = export["files"][0]["download_url"].as_str().unwrap();
    let delete = |id: &str| server.send("DELETE", &format!("/v1/exports/{id}"), &[("x-api-key", &key)], b"");
    let mut status = 0;
    for _ in 0..100 {
        status = delete(id).status;
        if status == 204 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status, 204);
    assert_eq!(
        server.send("GET", file, &[], b"").problem(410)["detail"],
        json!("the file was deleted when its retention ended")
    );
    let expired = server.get(&key, &format!("/v1/exports/{id}")).json(200);
    assert_eq!((&expired["status"], &expired["total_rows"]), (&json!("expired"), &json!(120)));
    assert!(expired["files"][0].get("download_url").is_none(), "{expired}");
    let kept = server.ended(&key, kept["id"].as_str().unwrap());
    let why = delete(kept["id"].as_str().unwrap()).problem(409)["detail"].clone();
    assert_eq!(why, json!(format!("the export is kept until {}", kept["expires_at"].as_str().unwrap())));
}

#[test]
fn tokens_open_one_file_and_say_nothing_else() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    let server = Server::start(&project, &["--token-key-file", "token.key"]);
    let created = server.post(&key, "/v1/exports", &march()).json(202);
    let export = server.ended(&key, created["id"].as_str().unwrap());
    let [one, other] = [0, 1].map(|i| export["files"][i]["download_url"].as_str().unwrap());
    let (path, token) = one.split_once("?token=").unwrap();
    let (other_path, _) = other.split_once("?token=").unwrap();
    let (_, of_no_job) = path.split_once("/v1/exports/").unwrap();
    let (_, of_no_job) = of_no_job.split_once('/').unwrap();
    let refusal = server.send("GET", path, &[], b"").problem(403);
    for url in [
        format!("{path}?token="),
        format!("{path}?token=AAAA"),
        format!("{path}?token={}", &token[1..]),
        format!("{other_path}?token={token}"),
        format!("{path}x?token={token}"),
        format!("/v1/exports/00000000-0000-8000-8000-000000000000/{of_no_job}?token={token}"),
        format!("/v1/exports/job_x/{of_no_job}?token={token}"),
    ] {
        assert_eq!(server.send("GET", &url, &[], b"").problem(403), refusal, "{url}");
    }
    // Another process with the same secret accepts the token, one with another secret does not, and one with both does.
    project.write("other.key", "fedcba9876543210fedcba9876543210\n");
    for (keys, status) in [
        (vec!["--token-key-file", "token.key"], 200),
        (vec!["--token-key-file", "other.key"], 403),
        (vec!["--token-key-file", "other.key", "--token-key-file", "token.key"], 200),
        (vec![], 403),
    ] {
        let replica = Server::start(&project, &[&["--workers", "0"], &keys[..]].concat());
        assert_eq!(replica.send("GET", one, &[], b"").status, status, "{keys:?}");
    }
}

#[test]
fn a_key_does_what_it_may_and_sees_what_is_its_tenants() {
    let project = project();
    let plain = key(&project, "plain", &ALL);
    let acme = key(&project, "acme", &[&ALL[..], &["--tenant", "acme"]].concat());
    let reader = key(&project, "reader", &["--types", "events", "--may", "read", "--tenant", "acme"]);
    let traces = key(&project, "traces", &["--types", "traces", "--may", "create,read", "--tenant", "acme"]);
    let server = Server::start(&project, &[]);
    for bad in ["", "kte_", "kte_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let answer = server.get(bad, "/v1/exports");
        assert_eq!(answer.problem(401)["detail"], json!("give a valid API key in the header `x-api-key`"));
        assert_eq!(answer.header("www-authenticate"), Some("ApiKey header=\"x-api-key\""));
    }
    server.send("GET", "/v1/exports", &[], b"").problem(401);
    let mine = server.post(&plain, "/v1/exports", &march()).json(202);
    let theirs = server.post(&acme, "/v1/exports", &march()).json(202);
    // The same request of another tenant is another job: nobody learns what others asked for.
    assert_ne!(mine["id"], theirs["id"]);
    let path = |export: &Value| format!("/v1/exports/{}", export["id"].as_str().unwrap());
    server.ended(&plain, mine["id"].as_str().unwrap());
    server.ended(&acme, theirs["id"].as_str().unwrap());
    let nothing = server.get(&plain, "/v1/exports/job_aaaaaaaaaaaaaaaaaaaaaaaaaa").problem(404);
    for (key, export) in [(&plain, &theirs), (&acme, &mine), (&traces, &theirs)] {
        for path in [path(export), format!("{}/manifest", path(export))] {
            assert_eq!(server.get(key, &path).problem(404), nothing);
        }
    }
    let listed = |key: &str| -> Vec<Value> {
        let listed = server.get(key, "/v1/exports").json(200);
        listed["exports"].as_array().unwrap().iter().map(|export| export["id"].clone()).collect()
    };
    assert_eq!(listed(&plain), [mine["id"].clone()]);
    assert_eq!(listed(&acme), [theirs["id"].clone()]);
    assert_eq!(listed(&reader), [theirs["id"].clone()]);
    assert!(listed(&traces).is_empty());
    // Who may not download gets no token.
    let seen = server.get(&reader, &path(&theirs)).json(200);
    assert!(seen["files"][0].get("download_token").is_none(), "{seen}");
    assert_eq!(
        server.post(&reader, "/v1/exports", &march()).problem(403)["detail"],
        json!("the API key may not `create`")
    );
    let other_type = server.post(&traces, "/v1/exports", &march()).problem(403);
    assert_eq!(other_type["detail"], json!("the API key may not export this type"));
    project.call(&["keys", "revoke", "--keys", "keys.yaml", "--id", "acme"]).exits(0).says(&["`acme` is revoked"]);
    let mut status = 200;
    for _ in 0..100 {
        status = server.get(&acme, "/v1/exports").status;
        if status == 401 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status, 401);
    assert_eq!(server.get(&plain, "/v1/exports").status, 200);
}

#[test]
fn mistakes_of_a_request_are_named_where_they_are() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    let server = Server::start(&project, &["--workers", "0"]);
    let errors = |body: Value| server.post(&key, "/v1/exports", &body).problem(422)["errors"].clone();
    for (change, loc, msg) in [
        (json!({"format": "xml"}), json!(["body", "format"]), "`format` cannot be `xml`"),
        (json!({"date_to": null}), json!(["body", "date_to"]), "give it beside `date_from`"),
        (json!({"date_to": "2026-02-30"}), json!(["body", "date_to"]), "2026-02-30"),
        (json!({"timezone": "Europe/Bonn"}), json!(["body", "timezone"]), "unknown time zone `Europe/Bonn`"),
        (json!({"filters": {"n": {"gt": [1]}}}), json!(["body", "filters", "n", "gt"]), "gt"),
        (json!({"where": "n >"}), json!(["body", "where"]), "expected an expression"),
        (json!({"columns": ["n", "n"]}), json!(["body", "columns", 1]), "n"),
        (json!({"partition": {"by": "fortnight"}}), json!(["body", "partition", "by"]), "fortnight"),
        (json!({"encrypt_to": ["age1x"]}), json!(["body", "encrypt_to", 0]), "is not an age public key"),
        (json!({"retention": "1mo"}), json!(["body", "retention"]), "1mo"),
        (json!({"name": "A B"}), json!(["body", "name"]), "A B"),
        (json!({"type": "nothing"}), json!(["body", "type"]), "nothing"),
        (json!({"filter": {}}), json!(["body", "filter"]), "unknown field `filter`"),
        (json!({"encrypt_to": []}), json!(["body", "encrypt_to"]), "name at least one recipient"),
        (json!({"encrypt_to": ["AGE-SECRET-KEY-1"]}), json!(["body"]), "is a secret key: name the public key instead"),
        (json!({"start": "2026-03-01T00:00:00Z"}), json!(["body"]), "give either `date_from` and `date_to`"),
        (json!({"new": "yes"}), json!(["body", "new"]), "invalid type: string \"yes\", expected a boolean"),
        (json!({"filters": 1}), json!(["body", "filters"]), "`filters` must be"),
    ] {
        let mut body = march();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let errors = errors(body);
        let found = errors.as_array().unwrap().iter().find(|error| error["loc"] == loc);
        let found = found.unwrap_or_else(|| panic!("{loc} in {errors}"));
        assert!(found["msg"].as_str().unwrap().contains(msg), "{found}");
    }
    // A number keeps its digits, and what would change it is refused.
    let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
    let with = |filters: &str| {
        let body = march().to_string().replacen('{', &format!("{{\"filters\": {filters}, "), 1);
        server.send("POST", "/v1/exports", &headers, body.as_bytes())
    };
    let problem = with("{\"n\": 123456789012345678901234567890}").problem(422);
    assert_eq!(problem["errors"][0]["loc"], json!(["body", "filters", "n"]), "{problem}");
    let kept =
        with("{\"n\": 18446744073709551615, \"note\": \"\\u007f\\ud83d\\ude00 {{{ name }} {% if %}{#\"}").json(202);
    assert_eq!(
        kept["filters"],
        json!({"n": {"eq": {"integer": "18446744073709551615"}}, "note": {"eq": "\u{7f}😀 {{{ name }} {% if %}{#"}})
    );
    server.send("POST", "/v1/exports", &headers, b"[\"events\"]").problem(422);
    // All at once.
    let mut body = march();
    (body["format"], body["timezone"]) = (json!("xml"), json!("Mars"));
    assert_eq!(errors(body).as_array().unwrap().len(), 2);
    let json = [("x-api-key", key.as_str()), ("content-type", "application/json; charset=utf-8")];
    let broken = server.send("POST", "/v1/exports", &json, b"{\"type\": ").problem(422);
    assert!(broken["errors"][0]["msg"].as_str().unwrap().starts_with("not JSON: EOF"), "{broken}");
    let more = server.send("POST", "/v1/exports", &json, b"{\"type\": \"events\"} {}").problem(422);
    assert!(more["errors"][0]["msg"].as_str().unwrap().starts_with("not JSON: trailing characters"), "{more}");
    server.send("POST", "/v1/exports", &[("x-api-key", &key)], b"{}").problem(415);
    let large = vec![b' '; (1 << 20) + 1];
    assert_eq!(
        server.send("POST", "/v1/exports", &json, &large).problem(413)["detail"],
        json!("a request may have 1 MiB")
    );
    server.send("PUT", "/v1/exports", &json, b"{}").problem(405);
    assert_eq!(server.send("GET", "/healthz", &[("x-long", &"x".repeat(200_000))], b"").status, 431);
    server.send("GET", "/v1/export", &json, b"").problem(404);
    for id in ["job_", "job_%00", "%ff", "job_aaaaaaaaaaaaaaaaaaaaaaaaa1", &format!("job_{}", "a".repeat(5000))] {
        server.send("GET", &format!("/v1/exports/{id}"), &json, b"").problem(404);
        server.send("GET", &format!("/v1/exports/{id}/files/x?token=a"), &[], b"").problem(403);
    }
    server.send("GET", "/v1/exports/job_a/files/x?token=a&token=b", &[], b"").problem(403);
    for (query, loc) in [
        ("limit=0", json!(["query", "limit"])),
        ("limit=501", json!(["query", "limit"])),
        ("limit=x", json!(["query"])),
        ("status=done", json!(["query"])),
        ("page=2", json!(["query"])),
        ("cursor=x", json!(["query", "cursor"])),
    ] {
        let problem = server.get(&key, &format!("/v1/exports?{query}")).problem(422);
        assert_eq!(problem["errors"][0]["loc"], loc, "{problem}");
    }
}

#[test]
fn the_audit_log_of_knowledge_bases_is_always_encrypted() {
    let project = project();
    let plain = key(&project, "plain", &ALL);
    let sealed = key(&project, "sealed", &[&ALL[..], &["--encrypt-to", AGE]].concat());
    let server = Server::start(&project, &[]);
    let path = "/v1/knowledge-base/audit/exports";
    let body = json!({"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z", "statuses": ["blocked"]});
    let problem = server.post(&plain, path, &body).problem(422);
    let msg = problem["errors"][0]["msg"].as_str().unwrap();
    assert!(msg.starts_with("this export is always encrypted, and neither the API key nor the server"), "{msg}");
    let created = server.post(&sealed, path, &body).json(202);
    assert_eq!((&created["type"], &created["export_format"]), (&json!("kb-audit"), &json!("csv")));
    let export = server.ended(&sealed, created["id"].as_str().unwrap());
    let name = export["files"][0]["name"].as_str().unwrap();
    assert!(name.ends_with(".age"), "{export}");
    assert_eq!(
        server.get(&sealed, &format!("{path}/{}", created["id"].as_str().unwrap())).json(200)["id"],
        created["id"]
    );
    let listed = server.get(&sealed, path).json(200);
    assert_eq!(listed["exports"][0]["id"], created["id"]);
    let other = server.get(&sealed, &format!("{path}?type=events")).problem(422);
    assert_eq!(other["errors"][0]["loc"], json!(["query", "type"]));
    let mut wrong = body;
    (wrong["export_format"], wrong["end"]) = (json!("parquet"), json!("yesterday"));
    let problem = server.post(&sealed, path, &wrong).problem(422);
    assert_eq!(problem["errors"][0]["loc"], json!(["body", "export_format"]));
    wrong["export_format"] = json!("ndjson");
    assert_eq!(server.post(&sealed, path, &wrong).problem(422)["errors"][0]["loc"], json!(["body", "end"]));
    drop(server);
    let server = Server::start(&project, &["--encrypt-to", AGE]);
    let body = json!({"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z", "export_format": "ndjson"});
    assert_eq!(server.post(&plain, path, &body).json(202)["export_format"], json!("ndjson"));
}

#[test]
fn lists_have_pages_and_exports_can_be_cancelled() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    let server = Server::start(&project, &["--workers", "0"]);
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let mut body = march();
        body["name"] = json!(name);
        ids.push(server.post(&key, "/v1/exports", &body).json(202)["id"].clone());
    }
    ids.reverse();
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    let mut pages = 0;
    loop {
        let page = server.get(&key, &format!("/v1/exports?{query}")).json(200);
        seen.extend(page["exports"].as_array().unwrap().iter().map(|export| export["id"].clone()));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=2&cursor={cursor}");
    }
    assert_eq!((seen, pages), (ids.clone(), 3));
    let path = format!("/v1/exports/{}", ids[0].as_str().unwrap());
    assert_eq!(
        server.get(&key, &format!("{path}/manifest")).problem(409)["detail"],
        json!("the export has no files yet; wait until it has ended")
    );
    let waiting = server.send("DELETE", &path, &[("x-api-key", &key)], b"").problem(409);
    assert_eq!(waiting["detail"], json!("the export is queued: cancel it first"));
    assert_eq!(server.post(&key, &format!("{path}/cancel"), &json!({})).json(200)["status"], json!("cancelled"));
    let kept = server.send("DELETE", &path, &[("x-api-key", &key)], b"").problem(409);
    assert_eq!(kept["detail"], json!("the export has no `retention`, so it is kept"));
    let listed = server.get(&key, "/v1/exports?status=cancelled&type=events").json(200);
    assert_eq!(listed["exports"].as_array().unwrap().len(), 1);
    assert!(server.get(&key, "/v1/exports?type=traces").json(200)["exports"].as_array().unwrap().is_empty());
    // What was cancelled is asked for again.
    let mut body = march();
    body["name"] = json!("e");
    assert_eq!(server.post(&key, "/v1/exports", &body).json(202)["id"], ids[0]);
    assert_eq!(server.get(&key, &path).json(200)["status"], json!("queued"));
    project.call(&["jobs", "work", "-q"]).exits(0);
    assert_eq!(server.get(&key, &path).json(200)["status"], json!("complete"));
    let done = server.post(&key, &format!("{path}/cancel"), &json!({})).problem(409);
    assert_eq!(done["detail"], json!("the export is complete already"));
}

#[test]
fn an_export_that_failed_is_resumed_when_it_is_asked_for_again() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    std::fs::rename(project.path("data"), project.path("away")).unwrap();
    let server = Server::start(&project, &[]);
    let created = server.post(&key, "/v1/exports", &march()).json(202);
    let id = created["id"].as_str().unwrap();
    assert_eq!(server.ended(&key, id)["status"], json!("failed"));
    std::fs::rename(project.path("away"), project.path("data")).unwrap();
    let again = server.post(&key, "/v1/exports", &march()).json(202);
    assert_eq!((again["id"].as_str().unwrap(), &again["status"]), (id, &json!("queued")));
    assert_eq!(server.ended(&key, id)["status"], json!("complete"));
    // A package without all rows is completed, too.
    project.write("data/2026-03-02.ndjson", "{\"event_id\":\"x\",\"occurred_at\":\"2026-03-02T00:00:00Z\"}\n{");
    let mut body = march();
    body["name"] = json!("partial");
    let created = server.post(&key, "/v1/exports", &body).json(202);
    let id = created["id"].as_str().unwrap();
    assert_eq!(server.ended(&key, id)["status"], json!("partial"));
    project.write("data/2026-03-02.ndjson", "{\"event_id\":\"x\",\"occurred_at\":\"2026-03-02T00:00:00Z\"}\n");
    assert_eq!(server.post(&key, "/v1/exports", &body).json(202)["status"], json!("queued"));
    let ended = server.ended(&key, id);
    assert!(["complete", "failed", "partial"].contains(&ended["status"].as_str().unwrap()), "{ended}");
}

#[test]
fn a_key_that_is_too_fast_waits() {
    let project = project();
    let slow = key(&project, "slow", &[&ALL[..], &["--rate", "3/h"]].concat());
    let other = key(&project, "other", &ALL);
    let server = Server::start(&project, &["--workers", "0"]);
    for _ in 0..3 {
        assert_eq!(server.get(&slow, "/v1/exports").status, 200);
    }
    let answer = server.get(&slow, "/v1/exports");
    assert_eq!(answer.problem(429)["detail"], json!("the API key's rate is exceeded"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1200).contains(&seconds), "{seconds}");
    assert_eq!(server.get(&other, "/v1/exports").status, 200);
    assert_eq!(server.send("GET", "/healthz", &[], b"").json(200), json!({"status": "ok"}));
    assert_eq!(server.send("GET", "/readyz", &[], b"").json(200), json!({"status": "ok"}));
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_service_and_jobs_go_on_with_the_next() {
    let project = project();
    let key = key(&project, "ci", &ALL);
    let mut server = Server::start(&project, &["--workers", "0"]);
    let created = server.post(&key, "/v1/exports", &march()).json(202);
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(143));
    let server = Server::start(&project, &[]);
    assert_eq!(server.ended(&key, created["id"].as_str().unwrap())["status"], json!("complete"));
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is() {
    let project = project();
    key(&project, "ci", &ALL);
    let serve = |args: &[&str]| project.call(&[&["serve", "--listen", "127.0.0.1:0"], args].concat());
    let all = ["--catalog", "catalog.yaml", "--keys", "keys.yaml"];
    serve(&["--catalog", "none.yaml", "--keys", "keys.yaml"]).exits(2).says(&["none.yaml"]);
    serve(&["--catalog", "catalog.yaml", "--keys", "none.yaml"])
        .exits(2)
        .says(&["error: cannot read the keys file none.yaml"]);
    project.write("bad.yaml", "version: 1\nkeys:\n- id: a\n");
    serve(&["--catalog", "catalog.yaml", "--keys", "bad.yaml"]).exits(2).says(&["missing key `sha256`", "bad.yaml:3"]);
    project.write("short.key", "secret");
    serve(&[&all[..], &["--token-key-file", "short.key"]].concat())
        .exits(2)
        .says(&["error: the secret of download tokens: it has 6 bytes, and at least 32 are needed"]);
    serve(&[&all[..], &["--token-key-env", "NONE"]].concat()).exits(2).says(&["NONE"]);
    let args = ["serve", "--listen", "0.0.0.0:0", "--catalog", "catalog.yaml", "--keys", "keys.yaml"];
    project
        .call(&args)
        .exits(2)
        .says(&["error: --listen 0.0.0.0:0: other machines would send their keys in the clear"]);
}
