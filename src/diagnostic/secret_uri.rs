//! Masks secrets in URIs, so that diagnostics about them do not leak to a terminal, log or report. Masking keeps the
//! length in bytes, so that columns in a line stay valid.

use std::borrow::Cow;
use std::ops::Range;

/// What names of parameters hold that are or grant access: presigned links of AWS, Google Cloud and Azure, and tokens.
const TELLING: [&str; 12] = [
    "signature",
    "credential",
    "token",
    "secret",
    "password",
    "passwd",
    "accesskey",
    "access_key",
    "access-key",
    "apikey",
    "api_key",
    "api-key",
];

/// A parameter's whole name, in lower case, that is as telling.
const TELLING_WHOLE: [&str; 5] = ["sig", "sas", "key", "pwd", "auth"];

/// The text with users, passwords and signed queries of its URIs as `*`.
pub fn masked(text: &str) -> Cow<'_, str> {
    let ranges = secrets(text);
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        // Those of a URI inside another's query come after that query's.
        let start = range.start.max(from);
        if range.end <= start {
            continue;
        }
        shown.push_str(text.get(from..start).unwrap_or_default());
        shown.extend(std::iter::repeat_n('*', range.end - start));
        from = range.end;
    }
    shown.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(shown)
}

/// Whether the part of a URI behind `?` or `#` holds a parameter that grants access.
pub fn grants_access(query: &str) -> bool {
    query
        .split(['&', ';', '?', '#'])
        .any(|parameter| parameter.split_once('=').is_some_and(|(name, _)| is_telling(name)))
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING_WHOLE.contains(&name.as_str()) || TELLING.iter().any(|telling| name.contains(telling))
}

/// Where secrets stand, by their starts.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("://") {
        let before = text.get(..at).unwrap_or_default();
        let scheme = before
            .rfind(|c: char| !c.is_ascii_alphanumeric() && !"+.-".contains(c))
            .map_or(0, |end| end + before.get(end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
        let scheme = before.get(scheme..).unwrap_or_default().to_ascii_lowercase();
        let start = at + "://".len();
        let rest = text.get(start..).unwrap_or_default();
        let end =
            rest.find(|c: char| c.is_whitespace() || c.is_control() || "\"'`<>".contains(c)).unwrap_or(rest.len());
        of_uri(&scheme, rest.get(..end).unwrap_or_default(), |range| {
            found.push(range.start + start..range.end + start);
        });
    }
    found.sort_by_key(|range| (range.start, range.end));
    found
}

/// Secrets of what stands behind a scheme.
fn of_uri(scheme: &str, uri: &str, mut found: impl FnMut(Range<usize>)) {
    if let Some(at) = userinfo(scheme, uri) {
        found(0..at);
    }
    let Some(query) = uri.find(['?', '#']) else { return };
    let is_web = matches!(scheme, "http" | "https");
    let mut start = query + 1;
    for parameter in uri.get(start..).unwrap_or_default().split(['&', ';', '?', '#']) {
        let end = start + parameter.len();
        match parameter.split_once('=') {
            Some((name, _)) if is_web || is_telling(name) => found(start + name.len() + 1..end),
            // A query that was taken out already is no secret.
            None if is_web && parameter != "…" => found(start..end),
            _ => {}
        }
        start = end + 1;
    }
}

/// Where a user and password end, behind the scheme of a URI.
pub fn userinfo(scheme: &str, uri: &str) -> Option<usize> {
    let authority = uri.find(['/', '?', '#']).map_or(uri, |end| uri.get(..end).unwrap_or_default());
    if let Some(at) = authority.rfind('@') {
        // `abfss://container@account.…` has no secret before its @.
        let is_container = scheme.starts_with("abfs") && !authority.get(..at).unwrap_or_default().contains(':');
        return (!is_container).then_some(at);
    }
    // Names of buckets may have colons (access points).
    if matches!(scheme, "s3" | "s3a" | "gs" | "gcs" | "az" | "azure" | "abfs" | "abfss") {
        return None;
    }
    // A password that contains a slash: the text after the colon is not a port.
    let (_, port) = authority.split_once(':').filter(|_| !authority.contains('['))?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    uri.rfind('@').filter(|_| !is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_passwords_and_signed_queries_are_masked_in_place() {
        for (text, shown) in [
            ("uri: https://bob:canary@host/a, x: 1", "uri: https://**********@host/a, x: 1"),
            ("https://canary@host", "https://******@host"),
            ("https://bob:can/ary@host/a", "https://***********@host/a"),
            ("\"https://host/a?canary\"", "\"https://host/a?******\""),
            ("s3://b/k?X-Amz-Signature=canary&v=1 then", "s3://b/k?X-Amz-Signature=******&v=1 then"),
            ("https://h/a?sig=canary#canary", "https://h/a?sig=******#******"),
            ("https://h/a?u=https://bob:canary@h2/", "https://h/a?u=**********************"),
            ("'s3://bob:canary@b/x\u{1b}[0m'", "'s3://**********@b/x\u{1b}[0m'"),
            ("postgres://bob:canary@host:5432/db", "postgres://**********@host:5432/db"),
            ("abfss://c:canary@account.dfs.core.windows.net/", "abfss://********@account.dfs.core.windows.net/"),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(text).len(), text.len());
        }
        let long = "https://ü:größe@host";
        assert_eq!((masked(long).len(), masked(long).ends_with("@host")), (long.len(), true));
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "s3://bucket/a@b/c:d?x=1",
            "s3://arn:aws:s3:eu-central-1:1:accesspoint/a@b",
            "abfss://container@account.dfs.core.windows.net/key",
            "https://host:8080/a@b",
            "https://[::1]:9000/a@b",
            "https://host/a?… failed",
            "matches: '(?i)x=1' # ://",
            "://",
            "größe://",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
