//! Names of the files in a package.
//!
//! No other module spells them, so that what is written, listed, verified and removed are the same files.

/// The manifest. Its presence means that a run ended.
pub const MANIFEST: &str = "manifest.json";
/// The manifest's signature.
pub const SIGNATURE: &str = "manifest.json.sig";
/// The digests of the manifest and of everything below [`CONTENT`], as `sha256sum` reads them.
pub const SHA256SUMS: &str = "SHA256SUMS";
/// The report for people.
pub const REPORT: &str = "report.html";
/// Says that the shards were deleted after their retention ended.
pub const TOMBSTONE: &str = "tombstone.json";
/// The tombstone's signature.
pub const TOMBSTONE_SIGNATURE: &str = "tombstone.json.sig";
/// The instructions in a packed package.
pub const VERIFY_TXT: &str = "VERIFY.txt";

/// Where shards are.
pub const DATA: &str = "data/";
/// Where rejected rows are.
pub const REJECTS: &str = "rejects/";
/// Where the files listed in a manifest are; `verify` reports any other file there.
pub const CONTENT: [&str; 2] = [DATA, REJECTS];

/// Where runs keep what they need to resume. Not evidence.
pub const STATE: &str = "_state/";
/// Where files are written until they are published, on a local disk: in the package, because a link or rename cannot leave
/// its file system.
pub const DRAFTS: &str = "_state/tmp";
/// The first pinned plan.
pub const PLAN: &str = "_state/plan.json";
/// Where the entries of the log are.
pub const LOG: &str = "_state/log/";
/// Where the records of committed partitions are.
pub const PARTITION_RECORDS: &str = "_state/partitions/";
/// Where the records of tasks are.
pub const TASK_RECORDS: &str = "_state/tasks/";
/// Where every version of the manifest is kept.
const KEPT_MANIFESTS: &str = "_state/manifests/";

/// The folder of a name with a `/` at its end.
pub fn folder(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// The part of a digest that names contain: 64 bits, enough for the few files of one package. Readers of such a file compare
/// the whole digest.
fn short(sha256: &str) -> &str {
    sha256.get(..16).unwrap_or(sha256)
}

/// Where a version of the manifest is kept, by the digest of its bytes.
pub fn kept_manifest(sha256: &str) -> String {
    format!("{KEPT_MANIFESTS}{}.json", short(sha256))
}

/// Where the signature of a version of the manifest is kept.
pub fn kept_signature(sha256: &str) -> String {
    format!("{}.sig", kept_manifest(sha256))
}

/// Where a tombstone is kept before it is linked.
pub fn kept_tombstone(sha256: &str) -> String {
    format!("_state/tombstones/{}.json", short(sha256))
}

/// A pinned plan after the first one, by the digest of its bytes.
pub fn later_plan(sha256: &str) -> String {
    format!("_state/plans/{}.json", short(sha256))
}

/// An entry of the log.
pub fn log_entry(number: u32) -> String {
    format!("{LOG}{number:06}.json")
}

/// A link in the folder of a chain: at least six digits, so that names sort as numbers do.
pub fn link(number: u64) -> String {
    format!("{number:06}.json")
}

/// The number of an entry of the log.
pub fn log_number(name: &str) -> Option<u32> {
    name.strip_prefix(LOG)?.strip_suffix(".json")?.parse().ok()
}

/// The record of a committed partition.
pub fn partition_record(label: &str, generation: u32) -> String {
    format!("{PARTITION_RECORDS}{label}{}.json", generation_suffix(generation))
}

/// The record of a task.
pub fn task_record(key: &str, generation: u32) -> String {
    format!("{TASK_RECORDS}{key}{}.json", generation_suffix(generation))
}

/// A file that is created and removed to see what the store can do.
pub fn probe(nonce: u64) -> String {
    format!("{STATE}probe-{nonce:016x}")
}

/// What distinguishes files that otherwise have the same name.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The generation of the plan.
    pub generation: u32,
    /// The run, if names contain it.
    pub run: Option<String>,
}

impl Origin {
    fn suffix(&self) -> String {
        let run = self.run.as_ref().map_or(String::new(), |run| format!(".{run}"));
        format!("{}{run}", generation_suffix(self.generation))
    }
}

/// A shard: `data/2026-03-01/part-0000.csv.zst`; `extensions` without their first dot.
pub fn shard(partition: &str, part: usize, origin: &Origin, extensions: &str) -> String {
    format!("{DATA}{partition}/part-{part:04}{}.{extensions}", origin.suffix())
}

/// The rejected rows of a task; `extensions` without their first dot.
pub fn rejects(task_key: &str, origin: &Origin, extensions: &str) -> String {
    format!("{REJECTS}{task_key}{}.{extensions}", origin.suffix())
}

/// Where the extensions of a shard or a rejects file begin.
const FORMATS: [&str; 4] = [".csv", ".ndjson", ".json", ".parquet"];

fn extensions_of(name: &str) -> Option<usize> {
    FORMATS.iter().filter_map(|format| name.rfind(format)).max()
}

/// The name of a shard or rejects file with a run's id, for bytes that differ from those already published under the name.
pub fn name_with_run(name: &str, run: &str) -> String {
    let (stem, extensions) = name.split_at_checked(extensions_of(name).unwrap_or(name.len())).unwrap_or((name, ""));
    format!("{stem}.{run}{extensions}")
}

/// The name of a shard or rejects file without run and generation, which stand between the first dot of the file's name
/// and its extensions.
pub fn name_without_run(name: &str) -> String {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let stem = name.get(file..).and_then(|rest| rest.find('.')).map(|dot| file + dot);
    match (stem.and_then(|end| name.get(..end)), extensions_of(name).and_then(|start| name.get(start..))) {
        (Some(stem), Some(extensions)) => format!("{stem}{extensions}"),
        _ => name.to_owned(),
    }
}

/// The generation in a file's name: the segment `g<number>` after the first dot; 1 if there is none.
pub fn generation_of(name: &str) -> u32 {
    let file = name.rsplit('/').next().unwrap_or(name);
    let segment = file.split('.').nth(1).and_then(|segment| segment.strip_prefix('g'));
    segment.and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

fn generation_suffix(generation: u32) -> String {
    if generation > 1 { format!(".g{generation}") } else { String::new() }
}

/// Whether a file is never changed once it is published.
#[cfg(test)]
pub fn is_immutable(name: &str) -> bool {
    CONTENT
        .into_iter()
        .chain([LOG, PARTITION_RECORDS, TASK_RECORDS, "_state/plan"])
        .any(|prefix| name.starts_with(prefix))
        || (name.starts_with(KEPT_MANIFESTS) && name.ends_with(".json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_generation() {
        for (name, generation) in [
            ("data/2026-03-01/part-0000.csv", 1),
            ("data/2026-03-01/part-0000.g2.csv.zst", 2),
            ("data/2026-03-01/part-0000.g12.20261122T100721.149447Z-137a-cb673ceb.csv", 12),
            ("data/2026-03-01/part-0000.20261122T100721.149447Z-137a-cb673ceb.csv.age", 1),
            ("rejects/0123456789abcdef.g3.ndjson", 3),
            ("_state/partitions/2026-03-01.g2.json", 2),
            ("data/2026-03-01/part-0000.gz", 1),
        ] {
            assert_eq!(generation_of(name), generation, "{name}");
        }
    }

    #[test]
    fn a_name_is_the_same_whichever_run_wrote_it() {
        let run = "20261122T100721.149447Z-137a-cb673ceb";
        for (name, ending) in [
            ("data/2026-03-04/part-0000", "csv.zst"),
            ("data/all/part-0012", "parquet"),
            ("rejects/0123456789abcdef", "ndjson"),
            ("data/2026-W10/part-0000", "json.gz"),
            ("data/2026-03-04/part-0000", "csv.zst.age"),
            ("data/2026/part-0001", "parquet.age"),
            ("rejects/0123456789abcdef", "ndjson.age"),
        ] {
            let plain = format!("{name}.{ending}");
            assert_eq!(name_without_run(&format!("{name}.{run}.{ending}")), plain);
            assert_eq!(name_without_run(&format!("{name}.g2.{run}.{ending}")), plain);
            assert_eq!(name_with_run(&plain, run), format!("{name}.{run}.{ending}"));
            assert_eq!(name_without_run(&plain), plain);
        }
    }
}
