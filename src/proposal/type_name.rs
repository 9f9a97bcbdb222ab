//! Names of types, from those of files and folders.

use std::path::Path;

/// The name where nothing tells another.
const FALLBACK: &str = "events";

/// Most characters of a name that is made from a file's.
const MAX_CHARS: usize = 40;

/// Whether a catalog's type may be called so without quotes: lower-case letters, digits, `-` and `_`.
pub(crate) fn is_type_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(is_inner)
}

/// The name of a type for a source: that of its folder, or of its file without extensions.
pub(crate) fn type_name_of(uri: &str) -> String {
    let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let mut names = path.split(['/', '\\']).filter(|name| !matches!(*name, "" | "." | ".."));
    let last = names.rfind(|name| !name.contains(['*', '?', '[', '{'])).unwrap_or_default();
    // Dates, hashes and extensions come behind the first dot.
    let stem = Path::new(last.trim_start_matches(['.', '_'])).file_prefix().unwrap_or_default().to_string_lossy();
    let mut name = String::new();
    for c in stem.to_ascii_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        // No digits or dashes in front, and no two dashes.
        let is_dropped = if name.is_empty() { !c.is_ascii_alphabetic() } else { c == '-' && name.ends_with('-') };
        if !is_dropped && name.len() < MAX_CHARS {
            name.push(c);
        }
    }
    let mut name = name.as_str();
    // Dates and numbers of files.
    while let Some((before, _)) = name.rsplit_once('-').filter(|(_, end)| end.bytes().all(|b| b.is_ascii_digit())) {
        name = before;
    }
    if name.is_empty() { FALLBACK.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_or_file_names_the_type() {
        for (uri, name) in [
            ("logs/", "logs"),
            ("./data/Access Logs/", "access-logs"),
            ("in/E123.2026-03-05-01.a1b2.gz", "e123"),
            ("app-2026-03-05.ndjson.gz", "app"),
            ("s3://lake/traces/*.jsonl", "traces"),
            ("s3://lake", "lake"),
            ("2026/03/05/", "events"),
            (".", "events"),
            ("../..", "events"),
            ("", "events"),
            ("*.csv", "events"),
            ("münchen.csv", "m-nchen"),
        ] {
            let found = type_name_of(uri);
            assert_eq!(found, name, "{uri}");
            assert!(is_type_name(&found), "{uri}");
        }
        for bad in ["", "A", "1a", "-a", "a b", "ä", "a:"] {
            assert!(!is_type_name(bad), "{bad}");
        }
    }
}
