//! VERIFY.txt: how to check a packed package with tools that every system has.
//!
//! Lines that are indented by four spaces are commands, which run as they are printed, one after another, under `sh -eu`, in
//! a folder that holds nothing but the tar. Nothing of the manifest's free text stands in a command: only digests, numbers
//! and the folder's name, which is made of harmless characters. Everything is bound to the manifest, the one file that
//! is signed; SHA256SUMS only repeats it.

use std::fmt::Write;

use jiff::Timestamp;

use crate::audit::verify::Dialect;
use crate::diagnostic::escaped;
use crate::package::layout::{MANIFEST, SIGNATURE, TOMBSTONE, TOMBSTONE_SIGNATURE};
use crate::package::manifest::{
    EncryptionRecord, ExportFormat, FileStatus, JobStatus, Manifest, SignerRecord, Tombstone,
};
use crate::signature::ByHand;

/// Partitions that are named at most.
const SHOWN_PARTITIONS: usize = 20;

/// What the manifest does not say.
pub(super) struct Facts<'a> {
    /// The one folder in the tar.
    pub folder: &'a str,
    pub manifest_sha256: &'a str,
    /// Below data/ and rejects/, in the tar.
    pub files: usize,
    /// Listed, but not in the tar, because their retention is over.
    pub deleted: usize,
    pub is_signed: bool,
    /// What says that files were deleted.
    pub tombstone: Option<&'a Tombstone>,
}

/// The text. Writing to a String does not fail.
pub(super) fn text(manifest: &Manifest, facts: &Facts<'_>) -> String {
    let mut page = Page { text: String::new(), step: 0 };
    head(&mut page, manifest, facts);
    page.step("Unpack.");
    page.command("tar -xf *.tar");
    page.command(&format!("cd {}", facts.folder));
    page.step(
        "Is it the package that you were told of? This digest stands for all of it.\n\
         Compare it with the one that reached you by another way: in your working\n\
         papers, a signed message, or the package that names this one as its previous.",
    );
    page.command(&format!("echo '{}  manifest.json' | sha256sum -c -", facts.manifest_sha256));
    if facts.is_signed {
        page.step(
            "Who signed the manifest? You need your own list of signers whom you trust, in\n\
             the format of ssh-keygen, as `allowed_signers` beside the tar. The key has to\n\
             be that of the name below when it signed, and the name one that you expect.\n\
             (OpenSSH 9.1 or later; before, it reads the time without `Z` and as local.)",
        );
        let signer = manifest.signer.as_ref();
        signature(&mut page, MANIFEST, SIGNATURE, manifest.finalized_at, signer);
    }
    if let Some(tombstone) = facts.tombstone {
        deletion(&mut page, tombstone, facts);
    }
    files(&mut page, facts);
    let plain = decrypted(&mut page, manifest, facts);
    if facts.files > 0 && facts.deleted == 0 && !matches!(manifest.encryption, Some(EncryptionRecord::Parquet { .. })) {
        contents(&mut page, manifest, plain);
    }
    page.text
}

struct Page {
    text: String,
    step: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn step(&mut self, what: &str) {
        self.step += 1;
        let what = what.replace('\n', "\n   ");
        let _ = write!(self.text, "\n{}. {what}\n\n", self.step);
    }

    fn command(&mut self, command: &str) {
        let _ = writeln!(self.text, "    {command}");
    }
}

fn head(page: &mut Page, manifest: &Manifest, facts: &Facts<'_>) {
    let title = "How to check this package without the program that made it";
    let _ = writeln!(page.text, "{title}\n{}\n", "=".repeat(title.len()));
    let _ = writeln!(page.text, "name     {} ({})", escaped(&manifest.name), escaped(&manifest.type_name));
    let _ = writeln!(
        page.text,
        "window   {}: {} to {} ({})",
        escaped(&manifest.window_label),
        manifest.window_start,
        manifest.window_end,
        escaped(&manifest.timezone)
    );
    let _ = writeln!(page.text, "job      {}", escaped(&manifest.id));
    let _ = writeln!(page.text, "status   {}", manifest.status);
    let _ = writeln!(page.text, "rows     {} in {} files", manifest.total_rows, manifest.files.len());
    let _ = writeln!(page.text, "SHA-256  {} (manifest.json)\n", facts.manifest_sha256);
    if manifest.status != JobStatus::Complete {
        not_complete(page, manifest);
    }
    if facts.deleted > 0 {
        let _ = writeln!(
            page.text,
            "{} files were deleted when their retention was over, as tombstone.json says.\n",
            facts.deleted
        );
    }
    page.line("Lines indented by four spaces are commands for a POSIX shell. Each ends with an");
    page.line("error where something is wrong; then stop. Begin in an empty folder that holds");
    page.line("the tar, and beside it what is yours and a step asks for. Where sha256sum is");
    page.line("missing, `shasum -a 256` does the same.");
}

fn not_complete(page: &mut Page, manifest: &Manifest) {
    let not_complete = manifest.files.iter().filter(|file| file.status != FileStatus::Complete);
    let mut labels: Vec<&str> = not_complete.map(|file| file.partition.label.as_str()).collect();
    labels.dedup();
    let more = labels.len().saturating_sub(SHOWN_PARTITIONS);
    labels.truncate(SHOWN_PARTITIONS);
    let mut named = escaped(&labels.join(", "));
    if more > 0 {
        let _ = write!(named, " and {more} more");
    }
    if !named.is_empty() {
        let _ =
            writeln!(page.text, "NOT COMPLETE in these partitions, for which manifest.json has the reason:\n{named}\n");
    }
}

/// Takes the signer's name from the file that is signed: it is the name that counts, whichever the list has first.
fn signature(page: &mut Page, file: &str, signature: &str, at: Timestamp, signer: Option<&SignerRecord>) {
    let by_hand = ByHand { list: "../allowed_signers", file, signature, at };
    // awk takes what stands between quotes; a name that JSON writes otherwise than it is has to be looked up.
    let is_plain = |name: &str| !name.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'));
    page.command(&match signer {
        Some(signer) if is_plain(&signer.identity) => {
            format!("signer=$(awk -F'\"' '/^  \"signer\": / {{ s = 1 }} s && /^    \"identity\": / {{ print $4; exit }}' {file})")
        }
        _ => format!("signer=$({} | head -n 1)", by_hand.find_principals()),
    });
    page.command("echo \"signed by $signer\"");
    page.command(&by_hand.verify("\"$signer\""));
}

fn deletion(page: &mut Page, tombstone: &Tombstone, facts: &Facts<'_>) {
    page.step("Who says that files were deleted, and of which package?");
    page.command(&format!("grep -q '\"manifest_sha256\": \"{}\"' {TOMBSTONE}", facts.manifest_sha256));
    if tombstone.signer.is_some() {
        signature(page, TOMBSTONE, TOMBSTONE_SIGNATURE, tombstone.pruned_at, tombstone.signer.as_ref());
    }
}

fn files(page: &mut Page, facts: &Facts<'_>) {
    let ignore = if facts.deleted > 0 { "--ignore-missing " } else { "" };
    if facts.files > 0 {
        page.step("Is every file the one that the manifest lists?");
        page.command(&format!(
            "awk -F'\"' '/^      \"path\": \"/ {{ path = $4 }} /^      \"sha256\": \"/ {{ print $4 \"  \" path }}' \
             manifest.json | sha256sum {ignore}-c -"
        ));
    }
    page.step("Does SHA256SUMS, the same list for quick checks, say the same?");
    page.command(&format!("sha256sum {ignore}-c SHA256SUMS"));
    page.step("Is there nothing else in data/ and rejects/?");
    page.command(&format!(
        "test \"$(find . ! -type d | grep -c -e '^[.]/data/' -e '^[.]/rejects/')\" -eq {}",
        facts.files
    ));
}

/// Where the files are without encryption.
fn decrypted(page: &mut Page, manifest: &Manifest, facts: &Facts<'_>) -> &'static str {
    match &manifest.encryption {
        Some(EncryptionRecord::Age { .. }) if facts.files > 0 => {
            page.step(
                "Decrypt, with age (age-encryption.org) and your own key in the file\n\
                 `identity.txt` beside the tar. The plain files go into a folder beside the\n\
                 package, which stays as it is.",
            );
            page.command(
                "find data -name '*.age' | while read -r file; do mkdir -p \"../plain/${file%/*}\" && \
                 age -d -i ../identity.txt -o \"../plain/${file%.age}\" \"$file\" || exit 1; done",
            );
            "../plain/data"
        }
        Some(EncryptionRecord::Parquet { .. }) => {
            page.text
                .push_str("\nThe rows are encrypted inside Parquet: reading them takes the keys and a reader of\n");
            page.text.push_str("Parquet modular encryption, such as pyarrow.\n");
            "data"
        }
        _ => "data",
    }
}

/// Whether shards are whole inside, and have as many rows as the manifest says.
fn contents(page: &mut Page, manifest: &Manifest, plain: &str) {
    let shards = manifest.files.iter().filter(|file| file.status.has_file());
    let first = shards.clone().next().map_or("", |file| file.path.as_str());
    let (tool, extension) = match first.strip_suffix(".age").unwrap_or(first).rsplit_once('.') {
        Some((_, "zst")) => ("zstd", "zst"),
        Some((_, "gz")) => ("gzip", "gz"),
        _ => ("", ""),
    };
    let read = if tool.is_empty() {
        format!("find {plain} -type f -exec cat {{}} +")
    } else {
        page.step(&format!("Does every compressed file end as it should? (needs {tool})"));
        page.command(&format!("find {plain} -name '*.{extension}' -exec {tool} -tq {{}} +"));
        format!("find {plain} -type f -exec {tool} -dcq {{}} +")
    };
    let rows = manifest.total_rows;
    let counted = |filter: &str, expected: u64| format!("test \"$({read} | {filter})\" -eq {expected}");
    match manifest.export_format {
        ExportFormat::Ndjson => {
            page.step(&format!("Are there {rows} rows? One is one line."));
            page.command(&counted("wc -l", rows));
        }
        ExportFormat::Json => {
            page.step(&format!("Are there {rows} rows? Each begins a line."));
            page.command(&counted("awk 'substr($0, 1, 1) == \"{\" { n++ } END { print n + 0 }'", rows));
        }
        ExportFormat::Csv => {
            let has_header = Dialect::of(&manifest.spec.resolved).header && !manifest.columns.is_empty();
            let headers = if has_header { shards.count() as u64 } else { 0 };
            page.step(&format!(
                "Are there {rows} rows and {headers} headers? A record ends with a line in which every\n\
                 quote is closed."
            ));
            let filter = "LC_ALL=C awk '{ q += gsub(/\"/, \"\") } q % 2 == 0 { n++ } END { print n + 0 }'";
            page.command(&counted(filter, rows.saturating_add(headers)));
        }
        ExportFormat::Parquet => {
            let _ = write!(
                page.text,
                "\nThe manifest says that the files in {plain}/ have {rows} rows. Any Parquet reader\n\
                 counts them, such as DuckDB: SELECT count(*) FROM '{plain}/*/*.parquet'\n"
            );
        }
    }
}
