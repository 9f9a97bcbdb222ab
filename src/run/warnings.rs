//! What a person should be told of a package that ended well: that it has no rows, and which files were left out that may
//! hold some.

use std::collections::BTreeMap;

use crate::package::manifest::{Manifest, SkipCode};
use crate::units::counted;

/// Names that are given before the rest is only counted.
const NAMES: usize = 3;

/// One sentence each, without a full stop.
pub fn warnings(manifest: &Manifest) -> Vec<String> {
    let no_rows = manifest.why_no_rows();
    let no_rows = no_rows.map(|finding| format!("the package has no rows: {}", manifest.no_rows_in_words(&finding)));
    let skipped =
        manifest.source.files.iter().filter_map(|file| {
            Some((file.skip_code.unwrap_or_default(), file.path.as_str(), file.skipped.as_deref()?))
        });
    no_rows.into_iter().chain(skips(skipped.filter(|(code, ..)| code.is_surprising()))).collect()
}

/// Skipped files by the reason: how many, the first names, and the way out.
pub fn skips<'a>(skipped: impl Iterator<Item = (SkipCode, &'a str, &'a str)>) -> Vec<String> {
    let mut by_reason: BTreeMap<SkipCode, Vec<(&str, &str)>> = BTreeMap::new();
    for (code, name, reason) in skipped {
        by_reason.entry(code).or_default().push((name, reason));
    }
    let told = |(code, files): (SkipCode, Vec<(&str, &str)>)| {
        let names: Vec<&str> = files.iter().take(NAMES).map(|(name, _)| *name).collect();
        let more = match files.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (were, reason) = (if files.len() == 1 { "was" } else { "were" }, files.first().map_or("", |(_, r)| r));
        let count = counted(files.len() as u64, "file");
        format!("{count} {were} not read ({}{more}): {reason}; {}", names.join(", "), code.advice())
    };
    by_reason.into_iter().map(told).collect()
}
