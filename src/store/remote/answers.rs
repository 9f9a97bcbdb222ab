//! Inspects responses before the client parses them, for errors that the client ignores.
//!
//! Of a page of a list: whether it is one at all, because the client takes a proxy's page, or an error inside a good
//! status, for an empty list; and keys that the client cannot name (`a//b`), for which it would refuse the whole page.
//! Of an answer that brings credentials: when they end.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use quick_xml::events::Event;
use quick_xml::{Reader, Writer};
use regex::Regex;

use super::error::Broken;

/// An object that is listed and cannot be read, because its key is not one that a request can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnaddressableKey {
    /// The key.
    pub key: String,
    /// The object's size.
    pub bytes: u64,
}

impl UnaddressableKey {
    /// Whether it is what consoles put down where a folder is made.
    pub fn is_folder(&self) -> bool {
        self.bytes == 0 && self.key.ends_with('/')
    }

    /// Which rule the key breaks.
    pub fn why(&self) -> &'static str {
        let segments = || self.key.split('/');
        if self.key.starts_with('/') {
            "it begins with a slash"
        } else if self.key.ends_with('/') {
            "it ends with a slash"
        } else if segments().any(str::is_empty) {
            "it has an empty segment (`//`)"
        } else if segments().any(|segment| matches!(segment, "." | "..")) {
            "it has a segment `.` or `..`"
        } else {
            "it holds a control character"
        }
    }
}

/// Goes with the request for a page of a list and comes back with the keys that were taken out of it.
#[derive(Debug, Clone, Default)]
pub(super) struct UnaddressableKeys(Arc<Mutex<Vec<UnaddressableKey>>>);

impl UnaddressableKeys {
    /// What the answer held.
    pub(super) fn take(&self) -> Vec<UnaddressableKey> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When temporary credentials end, as far as an answer has said.
#[derive(Debug, Clone, Default)]
pub(super) struct CredentialsEnd(Arc<Mutex<Option<Timestamp>>>);

impl CredentialsEnd {
    /// The end of those that came last.
    pub(super) fn get(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes clients whose answers are looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Connector {
    pub(super) end: CredentialsEnd,
    /// Where the environment says that a container's credentials are.
    pub(super) container: Option<String>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Looker { client, connector: self.clone() }))
    }
}

struct Looker {
    client: HttpClient,
    connector: Connector,
}

impl fmt::Debug for Looker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looker").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpService for Looker {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let unaddressable = request.extensions().get::<UnaddressableKeys>().cloned();
        let brings_credentials = self.connector.brings_credentials(&request.uri().to_string());
        let response = self.client.execute(request).await?;
        if !response.status().is_success() || (unaddressable.is_none() && !brings_credentials) {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        let mut bytes = body.bytes().await?;
        if brings_credentials {
            *self.connector.end.0.lock().unwrap_or_else(PoisonError::into_inner) = end_in(&bytes);
        }
        if let Some(unaddressable) = unaddressable {
            let (page, found) = readable(&bytes).map_err(|broken| HttpError::new(HttpErrorKind::Decode, broken))?;
            *unaddressable.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
            bytes = page.into();
            parts.headers.remove("content-length");
        }
        Ok(HttpResponse::from_parts(parts, bytes.into()))
    }
}

impl Connector {
    /// Instance metadata, a container's agent, and the token service.
    fn brings_credentials(&self, uri: &str) -> bool {
        uri.contains("/latest/meta-data/iam/security-credentials/")
            || ["http://169.254.170.2/", "http://169.254.170.23/"].iter().any(|agent| uri.starts_with(agent))
            || self.container.as_ref().is_some_and(|container| uri.starts_with(container.as_str()))
            || uri.contains("Action=AssumeRole")
    }
}

#[allow(clippy::expect_used, reason = "the patterns are constants, and a test compiles them")]
static END: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"Expiration"?\s*[:>]\s*"?([0-9T:.+Z-]+)"#).expect("a constant pattern compiles"));

/// `"Expiration": "…"` of metadata and containers, `<Expiration>…</Expiration>` of the token service.
fn end_in(answer: &[u8]) -> Option<Timestamp> {
    END.captures(std::str::from_utf8(answer).ok()?)?.get(1)?.as_str().parse().ok()
}

/// What a page consists of, in the words of S3 and Google, and of Azure.
const ENTRIES: [&[u8]; 4] = [b"Contents", b"CommonPrefixes", b"Blob", b"BlobPrefix"];

/// A page without the entries whose keys the client cannot name, and those keys.
fn readable(page: &[u8]) -> Result<(Vec<u8>, Vec<UnaddressableKey>), Broken> {
    let alien = |what| Broken::Alien { what };
    let cut = "a page of the list is cut short";
    let mut reader = Reader::from_reader(page);
    let mut kept = Writer::new(Vec::with_capacity(page.len()));
    let mut unaddressable = Vec::new();
    let (mut depth, mut is_list) = (0_usize, false);
    // The entry that is being read, and its depth.
    let mut entry: Option<(usize, Writer<Vec<u8>>, UnaddressableKey)> = None;
    let mut element: Vec<u8> = Vec::new();
    loop {
        let event = reader.read_event().map_err(|_| alien(cut))?;
        match &event {
            Event::Start(start) => {
                depth += 1;
                element = start.local_name().as_ref().to_vec();
                if depth == 1 {
                    is_list = matches!(element.as_slice(), b"ListBucketResult" | b"EnumerationResults");
                    if !is_list {
                        return Err(alien("a page of the list is not one"));
                    }
                }
                if entry.is_none() && ENTRIES.contains(&element.as_slice()) {
                    entry = Some((depth, Writer::new(Vec::new()), UnaddressableKey { key: String::new(), bytes: 0 }));
                }
            }
            Event::Empty(start) if depth == 0 => {
                is_list = matches!(start.local_name().as_ref(), b"ListBucketResult" | b"EnumerationResults");
            }
            Event::Text(text) => {
                if let Some((_, _, found)) = &mut entry {
                    let text = text.decode().map_err(|_| alien(cut))?;
                    note(found, &element, &text)?;
                }
            }
            Event::GeneralRef(reference) => {
                if let Some((_, _, found)) = &mut entry {
                    let character = match reference.resolve_char_ref() {
                        Ok(Some(character)) => character.to_string(),
                        _ => {
                            let name = reference.decode().map_err(|_| alien(cut))?;
                            let known = quick_xml::escape::resolve_predefined_entity(&name);
                            known.ok_or_else(|| alien("a key of the list has an unknown entity"))?.to_owned()
                        }
                    };
                    note(found, &element, &character)?;
                }
            }
            Event::Eof => break,
            _ => {}
        }
        let ends = matches!(event, Event::End(_));
        let writer = entry.as_mut().map_or(&mut kept, |(_, writer, _)| writer);
        writer.write_event(event).map_err(|_| alien(cut))?;
        if ends {
            element.clear();
            if let Some((_, written, found)) = entry.take_if(|(at, _, _)| *at == depth) {
                if is_nameable(&found) {
                    kept.get_mut().extend(written.into_inner());
                } else {
                    unaddressable.push(found);
                }
            }
            depth = depth.saturating_sub(1);
        }
    }
    if !is_list || depth > 0 {
        return Err(alien(cut));
    }
    Ok((kept.into_inner(), unaddressable))
}

fn note(found: &mut UnaddressableKey, element: &[u8], text: &str) -> Result<(), Broken> {
    match element {
        b"Key" | b"Name" | b"Prefix" => found.key.push_str(text),
        b"Size" | b"Content-Length" => {
            let not_a_number = |_| Broken::Alien { what: "a size in the list is not a number" };
            found.bytes = text.trim().parse().map_err(not_a_number)?;
        }
        _ => {}
    }
    Ok(())
}

/// Whether the client's name for a key is the key. An empty object may have a slash at its end, as a folder has.
fn is_nameable(found: &UnaddressableKey) -> bool {
    let bare = if found.bytes == 0 { found.key.strip_suffix('/').unwrap_or(&found.key) } else { &found.key };
    Path::parse(bare).is_ok_and(|path| path.as_ref() == bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(entries: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>b</Name><Prefix>a//</Prefix>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>"
        )
    }

    fn contents(key: &str, bytes: u64) -> String {
        format!("<Contents><Key>{key}</Key><Size>{bytes}</Size><ETag>&quot;x&quot;</ETag></Contents>")
    }

    #[test]
    fn keys_that_cannot_be_named_are_taken_out_of_a_page() {
        let good = [contents("a/b &amp; c", 3), contents("a/folder/", 0), contents("a/ü", 1)].concat();
        let bad = ["a//b", "/a/b", "a/./b", "a/../b", "a&#x1;b", "a/full/"].map(|key| contents(key, 7)).concat();
        let text = page(&format!("{good}{bad}<CommonPrefixes><Prefix>a//</Prefix></CommonPrefixes>"));
        let (kept, unaddressable) = readable(text.as_bytes()).unwrap();
        let mut expected = page(&good);
        assert_eq!(std::str::from_utf8(&kept).unwrap(), expected);
        let keys: Vec<_> =
            unaddressable.iter().map(|unaddressable| (unaddressable.key.as_str(), unaddressable.bytes)).collect();
        let files = ["a//b", "/a/b", "a/./b", "a/../b", "a\u{1}b", "a/full/"].map(|key| (key, 7));
        assert_eq!(keys, [&files[..], &[("a//", 0)]].concat());
        expected.push('\n');
        let azure = "<EnumerationResults><Blobs><Blob><Name>a//b</Name><Properties><Content-Length>5</Content-Length>\
                     </Properties></Blob><Blob><Name>a/b</Name></Blob></Blobs><NextMarker/></EnumerationResults>";
        let (kept, unaddressable) = readable(azure.as_bytes()).unwrap();
        assert_eq!(unaddressable, [UnaddressableKey { key: "a//b".to_owned(), bytes: 5 }]);
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.contains("<Blob><Name>a/b</Name></Blob>") && kept.contains("<NextMarker/>"), "{kept}");
    }

    #[test]
    fn what_is_no_page_of_a_list_or_only_the_start_of_one_is_refused() {
        let whole = page(&contents("a/b", 3));
        readable(whole.as_bytes()).unwrap();
        for end in 0..whole.len() - 1 {
            readable(&whole.as_bytes()[..end]).unwrap_err();
        }
        for other in ["", "<html><body>Log in</body></html>", "<Error><Code>InternalError</Code></Error>", "{}", "<x/>"]
        {
            readable(other.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_size_or_a_key_that_cannot_be_read_is_not_guessed() {
        let refused = |entry: &str| readable(page(entry).as_bytes()).unwrap_err().to_string();
        let size = refused("<Contents><Key>a/b</Key><Size>many</Size></Contents>");
        assert!(size.contains("a size in the list is not a number"), "{size}");
        let key = refused(&contents("a/&unknown;b", 3));
        assert!(key.contains("a key of the list has an unknown entity"), "{key}");
    }

    #[test]
    fn the_end_of_credentials_is_found_in_the_answers_of_all_who_give_them() {
        let end: Timestamp = "2026-03-05T06:07:08Z".parse().unwrap();
        for answer in [
            r#"{"Code":"Success","Token":"t","Expiration" : "2026-03-05T06:07:08Z"}"#,
            "<Credentials><Expiration>2026-03-05T06:07:08Z</Expiration></Credentials>",
        ] {
            assert_eq!(end_in(answer.as_bytes()), Some(end));
        }
        assert_eq!(end_in(b"{}"), None);
        let connector = Connector { container: Some("http://127.0.0.1:7/creds".into()), ..Connector::default() };
        for uri in [
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/role",
            "http://169.254.170.2/v2/credentials/x",
            "http://127.0.0.1:7/creds",
            "https://sts.amazonaws.com/?Version=1&Action=AssumeRoleWithWebIdentity",
        ] {
            assert!(connector.brings_credentials(uri), "{uri}");
        }
        assert!(!connector.brings_credentials("https://bucket.s3.amazonaws.com/key"));
    }
}
