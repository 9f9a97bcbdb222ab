//! Warnings about a successful package: it has no rows, or files that may have rows were skipped.

use std::collections::BTreeMap;

use super::survey::{SETTLE_CASE, differ_in_case};
use crate::logical::origin::same_but_for_case;
use crate::package::manifest::{Manifest, SkipCode};
use crate::units::counted;

/// Maximum number of file names in a warning; the rest are counted.
const NAMES: usize = 3;

/// The warnings about a package, one sentence each, without a full stop.
pub(crate) fn warnings(manifest: &Manifest) -> Vec<String> {
    let no_rows = manifest.why_no_rows();
    let no_rows = no_rows.map(|finding| format!("the package has no rows: {}", manifest.no_rows_in_words(&finding)));
    let skipped =
        manifest.source.files.iter().filter_map(|file| {
            Some((file.skip_code.unwrap_or_default(), file.path.as_str(), file.skipped.as_deref()?))
        });
    let mut warnings: Vec<String> = no_rows.into_iter().collect();
    let declares = |name: &&str| manifest.spec.resolved.declares(name).unwrap_or_default();
    for group in same_but_for_case(manifest.columns.iter().map(|column| column.name.as_str())) {
        if !group.iter().all(declares) {
            warnings.push(format!("{}; {SETTLE_CASE}", differ_in_case(&group)));
        }
    }
    warnings.extend(skips(skipped.filter(|(code, ..)| code.is_surprising())));
    warnings
}

/// Warnings about skipped files, by reason: their number, the first names, and what to do.
pub(crate) fn skips<'a>(skipped: impl Iterator<Item = (SkipCode, &'a str, &'a str)>) -> Vec<String> {
    let mut by_reason: BTreeMap<SkipCode, Vec<(&str, &str)>> = BTreeMap::new();
    for (code, name, reason) in skipped {
        by_reason.entry(code).or_default().push((name, reason));
    }
    let warning = |(code, files): (SkipCode, Vec<(&str, &str)>)| {
        let names: Vec<&str> = files.iter().take(NAMES).map(|(name, _)| *name).collect();
        let more = match files.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (were, reason) = (if files.len() == 1 { "was" } else { "were" }, files.first().map_or("", |(_, r)| r));
        let count = counted(files.len() as u64, "file");
        format!("{count} {were} not read ({}{more}): {reason}; {}", names.join(", "), code.advice())
    };
    by_reason.into_iter().map(warning).collect()
}
