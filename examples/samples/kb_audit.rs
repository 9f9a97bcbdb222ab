//! Who read or changed what in the knowledge bases: NDJSON compressed with zstd, in one hive folder for each region.

use std::collections::BTreeMap;

use super::record::Record;
use super::{Failure, Random, TEXTS, instants, rfc3339};

/// The files.
pub(crate) fn files() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut random = Random(5);
    let mut regions: BTreeMap<&str, String> = BTreeMap::new();
    for (row, at) in instants(&mut random, 330)?.into_iter().enumerate() {
        let region = random.pick(&["eu", "eu", "us", "ap-south"]);
        let lines = regions.entry(region).or_default();
        lines.push_str(&entry(&mut random, row, &rfc3339(at)?));
        lines.push('\n');
    }
    let files = regions.into_iter().map(|(region, lines)| {
        Ok((format!("kb-audit/region={region}/kb-audit.ndjson.zst"), zstd::bulk::compress(lines.as_bytes(), 3)?))
    });
    files.collect()
}

fn entry(random: &mut Random, row: usize, occurred_at: &str) -> String {
    let action = random.pick(&["document.read", "document.read", "document.add", "document.delete", "search"]);
    let query = (action == "search").then(|| random.pick(&TEXTS));
    Record::new()
        .text("entry_id", &format!("kba-{row:05}"))
        .text("occurred_at", occurred_at)
        .text("kb_id", &format!("kb-{:03}", random.below(12)))
        .text("status", random.pick(&["ok", "ok", "forbidden"]))
        .text("actor_user_id", &random.uuid(25))
        .maybe("session_id", (!random.one_in(7)).then(|| format!("{:08}", random.below(60) * 1_001)).as_deref())
        .text("action", action)
        .maybe("query", query)
        .integer("bytes", if random.one_in(60) { i64::MAX - random.below(9) } else { random.below(2_000_000) })
        .end()
}
