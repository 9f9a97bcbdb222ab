//! Formats numbers, sizes, instants and values for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::package::manifest::{FileStatus, Manifest};
use crate::time::zone as zones;
use crate::units::grouped;

/// `1 file`, `2,000 files`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `17.8 MiB (18,653,184 bytes)`; small sizes in bytes alone.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 { counted(bytes, "byte") } else { format!("{} ({} bytes)", short_size(bytes), grouped(bytes)) }
}

/// `17.8 MiB`.
pub(super) fn short_size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// A share of a whole: `12.3 %`. A non-zero share is never rounded to 0 %, a partial one never to 100 %.
pub(super) fn share(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let percent = part as f64 / whole as f64 * 100.0;
    match () {
        () if part == 0 => "0 %".to_owned(),
        () if part == whole => "100 %".to_owned(),
        () if percent < 0.1 => "< 0.1 %".to_owned(),
        () if percent > 99.9 => "> 99.9 %".to_owned(),
        () => format!("{percent:.1} %"),
    }
}

/// The window's time zone; UTC if its name is unknown to this release.
pub(super) fn zone(manifest: &Manifest) -> TimeZone {
    zones::find(&manifest.timezone).unwrap_or(TimeZone::UTC)
}

/// `2026-03-01 00:00:00 +01:00`.
pub(super) fn zoned(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let offset = if local.offset().is_zero() { "UTC".to_owned() } else { local.strftime("%:z").to_string() };
    format!("{} {offset}", local.strftime("%Y-%m-%d %H:%M:%S%.f"))
}

/// As [`zoned`], to the second, for times of runs; the manifest has full precision.
pub(super) fn to_second(at: Timestamp, zone: &TimeZone) -> String {
    zoned(Timestamp::from_second(at.as_second()).unwrap_or(at), zone)
}

/// A status in the report's words.
pub(super) fn status(status: FileStatus) -> &'static str {
    match status {
        FileStatus::Pending => "not tried",
        FileStatus::Running => "running",
        FileStatus::Complete => "complete",
        FileStatus::Partial => "partial",
        FileStatus::Failed => "failed",
    }
}

/// A value of a spec; strings in quotes.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("“{text}”"),
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
        // An integer that JSON readers would round.
        Value::Object(object) => match object.get("integer") {
            Some(Value::String(digits)) if object.len() == 1 => digits.clone(),
            _ => Value::Object(object.clone()).to_string(),
        },
        other => other.to_string(),
    }
}

/// The first characters of a text.
pub(super) fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Comma-separated labels, truncated if there are many.
pub(super) fn listed(labels: &[&str]) -> String {
    const SHOWN: usize = 12;
    let shown = labels.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match labels.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {} more", grouped(more as u64)),
    }
}

/// A text as one word of a POSIX shell (XCU 2.2.2).
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&b);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_hides_a_row() {
        assert_eq!(share(0, 10), "0 %");
        assert_eq!(share(1, 1_000_000), "< 0.1 %");
        assert_eq!(share(999_999, 1_000_000), "> 99.9 %");
        assert_eq!(share(10, 10), "100 %");
        assert_eq!(share(1, 8), "12.5 %");
        assert_eq!(share(0, 0), "–");
    }

    #[test]
    fn instants_are_told_in_their_zone() {
        let at: Timestamp = "2026-02-28T23:00:00.5Z".parse().unwrap();
        assert_eq!(zoned(at, &zones::find("Europe/Berlin").unwrap()), "2026-03-01 00:00:00.5 +01:00");
        assert_eq!(zoned(at, &TimeZone::UTC), "2026-02-28 23:00:00.5 UTC");
        assert_eq!(to_second(at, &TimeZone::UTC), "2026-02-28 23:00:00 UTC");
    }

    #[test]
    fn a_shell_reads_a_quoted_text_as_one_word() {
        for text in ["data/2026-03-01/part-0000.csv.zst", "a b", "it's", "$(rm -rf /)", "-x", "", "a\nb", "`x`", "*"] {
            let Ok(shell) =
                std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(text))).output()
            else {
                return;
            };
            assert_eq!(String::from_utf8_lossy(&shell.stdout), text);
        }
        assert_eq!(quoted("data/x.csv.zst"), "data/x.csv.zst");
    }

    #[test]
    fn long_lists_say_how_long_they_are() {
        let labels: Vec<&str> = vec!["x"; 1_012];
        assert!(listed(&labels).ends_with("x, x and 1,000 more"));
        assert_eq!(listed(&labels[..2]), "x, x");
        assert_eq!((shortened("äöü", 3).as_str(), shortened("äöü", 2).as_str()), ("äöü", "äö…"));
    }

    #[test]
    fn values_show_where_they_end() {
        let json = serde_json::json!(["a, b", 1, true, {"integer": "9007199254740993"}, {"x": 1}]);
        assert_eq!(value(&json), "“a, b”, 1, true, 9007199254740993, {\"x\":1}");
    }
}
