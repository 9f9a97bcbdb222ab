//! The package's location. Rendered values cannot move it out of the folder that the spec names.
//!
//! The text before the first template stands in the spec, where a review sees it; it may be absolute. What
//! follows may have come from a variable, so it can only go deeper.

use crate::diagnostic::{Diagnostic, shown};
use crate::job::Window;
use crate::limits;
use crate::resolve::Environment;
use crate::spec::{OutputUri, Spec};
use crate::store::{Location, LocationError, StoreOptions, split_scheme};

/// The output folder as text, relative or absolute, with a `/` at its end; `None` after a mistake.
pub(super) fn text(spec: &Spec, window: Option<&Window>, errors: &mut Vec<Diagnostic>) -> Option<String> {
    match spec.output.as_ref().and_then(|o| o.uri.as_ref()) {
        Some(uri) => checked(uri, "output", errors),
        None => {
            let name = &spec.name.value;
            window.filter(|_| !name.is_empty()).map(|window| format!("exports/{name}/{}/", window.label))
        }
    }
}

/// A folder as written, ending with `/`; `None` after adding an error.
pub(super) fn checked(uri: &OutputUri, what: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    match check(&uri.text.value, uri.trusted_bytes) {
        Ok(()) => Some(with_slash(uri.text.value.strip_prefix("./").unwrap_or(&uri.text.value))),
        Err((message, help)) => {
            let mistake = uri.text.mistake(format!("the {what} `{}` {message}", shown(&uri.text.value)));
            errors.push(mistake.help(help));
            None
        }
    }
}

/// Where the folder is.
pub(super) fn place(text: &str, options: &StoreOptions, environment: &Environment) -> Location {
    match Location::parse(text, options) {
        Ok(Location::Object(at)) => Location::Object(at),
        Ok(Location::Local(path)) if path.is_absolute() => Location::Local(path),
        // What `check` has let through has no scheme that is not known.
        Ok(Location::Local(_)) | Err(_) => match &environment.output_base {
            Location::Local(base) => Location::Local(environment.current_dir.join(base).join(text)),
            Location::Object(base) => base.join(text).into(),
        },
    }
}

fn with_slash(text: &str) -> String {
    if text.ends_with('/') { text.to_owned() } else { format!("{text}/") }
}

/// Checks a rendered path of which the first bytes are trusted. What is wrong, and the way out.
fn check(path: &str, trusted_bytes: usize) -> Result<(), (String, &'static str)> {
    const DEEPER: &str = "a rendered value may name folders below the text before the first template, nothing else";
    let refuse = |message: &str, help| Err((message.to_owned(), help));
    // Of a URI the store and the bucket have to be trusted; what follows is checked like a path below a trusted one.
    if let Some((scheme, rest)) = split_scheme(path) {
        let bucket_end = rest.find('/').map(|end| path.len() - rest.len() + end);
        let bucket = bucket_end.map_or(rest, |end| path.get(path.len() - rest.len()..end).unwrap_or_default());
        if bucket_end.unwrap_or(path.len()) > trusted_bytes {
            return refuse("gets its store or bucket out of a template", DEEPER);
        }
        if scheme.eq_ignore_ascii_case("file") {
            return check(rest, trusted_bytes - (path.len() - rest.len()));
        }
        const STORES: &str = "write a path, s3://, gs://, az:// or abfss://";
        // Of the whole URI, because the signature of a presigned link stands behind the key.
        if let Err(error @ LocationError::Secret { .. }) = Location::parse(path, &StoreOptions::default()) {
            return Err((format!("cannot be written: {error}"), STORES));
        }
        return match Location::parse(&format!("{scheme}://{bucket}"), &StoreOptions::default()) {
            Err(error) => Err((format!("cannot be written: {error}"), STORES)),
            Ok(Location::Object(at)) if at.scheme.is_web() => refuse("is on a web server, which is only read", STORES),
            Ok(_) => {
                let base = "bucket";
                let key = bucket_end.and_then(|end| path.get(end..)).unwrap_or_default();
                check(&format!("{base}{key}"), base.len() + trusted_bytes - bucket_end.unwrap_or(path.len()))
            }
        };
    }
    if path.chars().any(char::is_control) {
        return refuse("holds a control character", DEEPER);
    }
    if path.starts_with('/') && trusted_bytes == 0 {
        return refuse("is made absolute by a template", DEEPER);
    }
    let mut start = 0;
    let mut names = 0;
    let last = path.matches('/').count();
    for (index, segment) in path.split('/').enumerate() {
        let is_trusted = start + segment.len() <= trusted_bytes;
        start += segment.len() + 1;
        let lower = segment.to_ascii_lowercase();
        match segment {
            // `/` at the start and at the end of the path.
            "" if index == 0 && last > 0 && trusted_bytes > 0 || index == last && index > 0 => {}
            "" => return refuse("has an empty segment", "write one `/` between names; is a variable empty?"),
            ".." => return refuse("has a segment `..`", "name the folder itself"),
            "." if is_trusted => names += 1,
            "." => return refuse("has a segment `.` out of a template", DEEPER),
            _ if ["%2e", "%2f", "%5c", "%00"].iter().any(|code| lower.contains(code)) => {
                return refuse("has an encoded separator", "write the character itself");
            }
            _ if !is_trusted && segment.contains('\\') => return refuse("has a backslash out of a template", DEEPER),
            _ if segment.len() > limits::PATH_SEGMENT_BYTES => {
                return refuse("has a name longer than 255 bytes", "shorten it; no file system takes it");
            }
            _ => names += 1,
        }
    }
    if names == 0 { refuse("names no folder", "a package fills a folder of its own") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_allowed(base: &str, rendered: &str) -> bool {
        check(&format!("{base}{rendered}"), base.len()).is_ok()
    }

    #[test]
    fn the_text_before_the_first_template_is_trusted() {
        assert!(is_allowed("/srv/evidence/", "monthly/2026-03/"));
        assert!(is_allowed("./exports/", "monthly/2026-03"));
        assert!(is_allowed("evidence/", "eu/west"));
        assert!(is_allowed("exports", ""));
        assert!(is_allowed("s3://bucket/", "monthly/2026-03/"));
        assert!(is_allowed("s3://bucket/evidence/", "2026-03"));
        assert!(is_allowed("file:///srv/evidence/", "2026-03"));
    }

    #[test]
    fn no_rendered_value_leaves_the_base() {
        for (base, rendered) in [
            ("", "/etc"),
            ("e/", "../x"),
            ("e/", "a/../../x"),
            ("e/", ""),
            ("e/", "/etc"),
            ("e/", "."),
            ("e/", "a\0"),
            ("e/", "%2e%2e/x"),
            ("e/", "a%2Fb"),
            ("e/", "a\\b"),
            ("e/", "a//b"),
            ("", ""),
            ("/", ""),
            ("e", "/../x"),
            ("e/", "\u{1b}[2J"),
            ("", "s3://bucket/x"),
            ("s3://", "bucket/x"),
            ("s3://bucket", "-2/x"),
            ("s3://bucket/e/", "../x"),
            ("https://host/", "x"),
            ("e/", "%5C"),
            ("../e/", "x"),
            ("", "."),
        ] {
            // An empty rendered value is a mistake only in the middle of a path.
            let is_end = rendered.is_empty() && base == "e/";
            assert_eq!(is_allowed(base, rendered), is_end, "{base:?} + {rendered:?}");
        }
        assert!(!is_allowed("e/", &"x".repeat(256)));
    }

    proptest! {
        #[test]
        fn what_is_allowed_stays_below_the_base(rendered in "[a./%2eEfF\\\\~-]{0,12}") {
            if is_allowed("/base/", &rendered) {
                let mut depth = 0_i32;
                for part in rendered.split('/').filter(|p| !p.is_empty()) {
                    prop_assert!(part != "..");
                    depth += i32::from(part != ".");
                    prop_assert!(depth >= 0);
                }
                prop_assert!(!rendered.starts_with('/'));
            }
        }
    }
}
