//! Locations of files: a local path, or a bucket and a key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{grants_access, userinfo};

/// A file or a folder, here or in an object store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Location {
    /// On this machine.
    Local(PathBuf),
    /// In an object store.
    Object(Arc<ObjectLocation>),
}

/// An object, or the start of the keys of many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectLocation {
    /// Which kind of store.
    pub scheme: Scheme,
    /// Bucket or container; of `abfss` also the account, of `https` the host.
    pub authority: String,
    /// Without a slash at its ends.
    pub key: String,
    /// How the store is reached.
    pub options: StoreOptions,
}

/// Kinds of object stores, as URIs name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage, the account from the environment.
    Az,
    /// Azure Data Lake Storage, `container@account.dfs.core.windows.net`.
    Abfss,
    /// A web server; only read, one file at a time.
    Https,
    /// A web server of this machine.
    Http,
}

/// How a store is reached, where the environment does not say. None of it is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreOptions {
    /// URL of the service, for stores other than the cloud's own: `http://127.0.0.1:9000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// S3: region of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// S3: section of `~/.aws/credentials` and `~/.aws/config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Azure: the storage account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// S3: whether the bucket is part of the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_hosted_style: Option<bool>,
    /// Whether requests go unsigned, for public buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
}

impl StoreOptions {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// An unsupported scheme.
    #[error("`{scheme}://` is not supported: write a path, or s3://, gs://, az://, abfss:// or https://")]
    Scheme {
        /// As written.
        scheme: String,
    },
    /// No bucket or host.
    #[error("{scheme}:// names no {what}: write {scheme}://{what}/…")]
    NoBucket {
        /// As written.
        scheme: &'static str,
        /// `bucket`, `container` or `host`.
        what: &'static str,
    },
    /// A user and password, or a signed query.
    #[error("URIs must not contain credentials: remove the part {at} and set them in environment variables")]
    Secret {
        /// Before or after what.
        at: &'static str,
    },
    /// A key with segments that object stores keep and paths do not.
    #[error("the key `{key}` {why}")]
    Key {
        /// As written.
        key: String,
        /// The rule.
        why: &'static str,
    },
    /// Unencrypted transport, which others can tamper with.
    #[error("http:// is only for this machine (127.0.0.1, localhost): use https://")]
    Insecure,
}

impl Scheme {
    /// As in a URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::Abfss => "abfss",
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// Whether it is a web server and no store.
    pub fn is_web(self) -> bool {
        matches!(self, Self::Https | Self::Http)
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "s3" | "s3a" => Self::S3,
            "gs" | "gcs" => Self::Gs,
            "az" | "azure" => Self::Az,
            "abfss" | "abfs" => Self::Abfss,
            "https" => Self::Https,
            "http" => Self::Http,
            _ => return None,
        })
    }
}

impl Location {
    /// Reads a path or a URI; `options` are those of the place that named it.
    ///
    /// # Errors
    /// [`LocationError`].
    pub fn parse(text: &str, options: &StoreOptions) -> Result<Self, LocationError> {
        let Some((scheme, rest)) = split_scheme(text) else { return Ok(Self::Local(PathBuf::from(text))) };
        if scheme.eq_ignore_ascii_case("file") {
            return Ok(Self::Local(PathBuf::from(rest)));
        }
        let Some(scheme) = Scheme::parse(scheme) else {
            return Err(LocationError::Scheme { scheme: scheme.to_owned() });
        };
        let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
        let what = match scheme {
            Scheme::S3 | Scheme::Gs => "bucket",
            Scheme::Az | Scheme::Abfss => "container",
            Scheme::Https | Scheme::Http => "host",
        };
        if authority.is_empty() {
            return Err(LocationError::NoBucket { scheme: scheme.as_str(), what });
        }
        if userinfo(scheme.as_str(), rest).is_some() {
            return Err(LocationError::Secret { at: "before the @" });
        }
        // A presigned link; other stores have keys with such characters.
        if key.split_once(['?', '#']).is_some_and(|(_, query)| grants_access(query)) {
            return Err(LocationError::Secret { at: "after the ?" });
        }
        let mut key = key.trim_end_matches('/').to_owned();
        if scheme.is_web() {
            if key.contains(['?', '#']) {
                return Err(LocationError::Secret { at: "after the ?" });
            }
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            if scheme == Scheme::Http && !matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
                return Err(LocationError::Insecure);
            }
            key = percent_decode_str(&key).decode_utf8_lossy().into_owned();
        }
        check_key(&key)?;
        let authority = authority.to_owned();
        Ok(ObjectLocation { scheme, authority, key, options: options.clone() }.into())
    }

    /// A file or folder below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Object(object) => object.join(name).into(),
        }
    }

    /// The place beside this one that has a suffix behind its name.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        match self {
            Self::Local(path) => {
                let mut name = path.file_name().unwrap_or_default().to_owned();
                name.push(suffix);
                Self::Local(path.with_file_name(name))
            }
            Self::Object(object) => {
                let key = format!("{}{suffix}", object.key);
                ObjectLocation { key, ..ObjectLocation::clone(object) }.into()
            }
        }
    }

    /// The path, if it is on this machine.
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Object(_) => None,
        }
    }
}

impl ObjectLocation {
    /// An object below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let name = name.trim_end_matches('/');
        let key = match (self.key.as_str(), name) {
            ("", name) => name.to_owned(),
            (key, "") => key.to_owned(),
            (key, name) => format!("{key}/{name}"),
        };
        Self { key, ..self.clone() }
    }

    /// The bucket alone, as messages name it.
    pub fn bucket(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.authority)
    }
}

impl fmt::Display for ObjectLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.scheme.as_str(), self.authority, self.key)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Object(object) => object.fmt(f),
        }
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Local(path)
    }
}

impl From<ObjectLocation> for Location {
    fn from(object: ObjectLocation) -> Self {
        Self::Object(Arc::new(object))
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

/// The scheme of a URI, and what follows it.
pub fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then_some((scheme, rest))
}

/// Stores keep keys as they are; these would be other keys once a client has tidied them.
fn check_key(key: &str) -> Result<(), LocationError> {
    let why = if key.chars().any(char::is_control) {
        "holds a control character"
    } else if !key.is_empty() && key.split('/').any(str::is_empty) {
        "has an empty segment: write one `/` between names"
    } else if key.split('/').any(|segment| matches!(segment, "." | "..")) {
        "has a segment `.` or `..`: name the folder itself"
    } else {
        return Ok(());
    };
    Err(LocationError::Key { key: key.escape_debug().to_string(), why })
}

/// As in records: text where there are no options.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(String),
    WithOptions { uri: String, options: StoreOptions },
}

impl From<Location> for Written {
    fn from(location: Location) -> Self {
        match &location {
            Location::Object(object) if !object.options.is_empty() => {
                Self::WithOptions { uri: location.to_string(), options: object.options.clone() }
            }
            _ => Self::Plain(location.to_string()),
        }
    }
}

impl TryFrom<Written> for Location {
    type Error = LocationError;

    fn try_from(written: Written) -> Result<Self, LocationError> {
        match written {
            Written::Plain(text) => Self::parse(&text, &StoreOptions::default()),
            Written::WithOptions { uri, options } => Self::parse(&uri, &options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::parse(text, &StoreOptions::default())
    }

    #[test]
    fn paths_and_uris_are_told_apart_and_written_as_they_were() {
        for text in ["s3://bucket/a/b", "gs://b/x", "az://c/x", "abfss://c@a.dfs.core.windows.net/x", "/a/b", "a b/c"] {
            let location = parse(text).unwrap();
            assert_eq!(location.to_string(), text);
            let json = serde_json::to_string(&location).unwrap();
            assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), location);
        }
        assert_eq!(parse("file:///a/b").unwrap(), Location::Local("/a/b".into()));
        assert_eq!(parse("s3a://b/x/").unwrap().to_string(), "s3://b/x");
        assert_eq!(parse("https://h/a%20b.csv").unwrap().to_string(), "https://h/a b.csv");
        assert_eq!(parse("s3://bucket").unwrap().join("x").to_string(), "s3://bucket/x");
    }

    #[test]
    fn a_suffix_goes_behind_the_last_name() {
        for (text, revised) in [("/a/b", "/a/b.r2"), ("/a/2026-03/", "/a/2026-03.r2"), ("s3://b/x/y/", "s3://b/x/y.r2")]
        {
            assert_eq!(parse(text).unwrap().with_suffix(".r2").to_string(), revised);
        }
    }

    #[test]
    fn options_stand_in_records_with_the_uri() {
        let options = StoreOptions { endpoint: Some("http://127.0.0.1:9000".into()), ..StoreOptions::default() };
        let location = Location::parse("s3://b/x", &options).unwrap();
        let json = serde_json::to_string(&location).unwrap();
        assert_eq!(json, r#"{"uri":"s3://b/x","options":{"endpoint":"http://127.0.0.1:9000"}}"#);
        assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), location);
    }

    #[test]
    fn what_names_no_place_says_why() {
        for (text, words) in [
            ("ftp://h/x", "`ftp://` is not supported"),
            ("s3:///x", "names no bucket"),
            ("az://", "names no container"),
            ("https://u:p@h/x", "before the @"),
            ("https://h/x?sig=abc", "after the ?"),
            ("http://example.com/x", "use https://"),
            ("s3://b/a//b", "empty segment"),
            ("s3://b/a/../b", "`..`"),
            ("s3://b/a\u{7}", "control character"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("abc") && !error.contains("u:p"), "{error}");
        }
    }
}
