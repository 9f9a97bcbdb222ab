//! VERIFY.txt: how to check a packed package with standard tools. Lines indented by four spaces are commands. They run
//! as printed, in order, under `sh -eu`, in a folder that contains only the tar file. Commands contain none of the
//! manifest's free text, only digests, numbers and the folder's name, which consists of safe characters. Every check
//! starts from the manifest, the one file that is signed; SHA256SUMS only repeats it.

#![expect(clippy::let_underscore_must_use, reason = "writing to a String does not fail")]

use std::fmt::Write;

use jiff::Timestamp;

use crate::audit::verify::Dialect;
use crate::diagnostic::escaped;
use crate::export_format::{ExportCompression, ExportFormat, FileCompression};
use crate::package::layout::{MANIFEST, SIGNATURE, TOMBSTONE, TOMBSTONE_SIGNATURE};
use crate::package::manifest::{
    EncryptionRecord, FileStatus, JobStatus, Manifest, ResolvedError, SignerRecord, Tombstone,
};
use crate::seal::AGE_EXTENSION;
use crate::signature::ByHand;

/// Maximum number of partitions to list.
const SHOWN_PARTITIONS: usize = 20;

/// Facts that are not in the manifest.
pub(super) struct Facts<'a> {
    /// The one folder in the tar.
    pub folder: &'a str,
    pub manifest_sha256: &'a str,
    /// Number of files below data/ and rejects/ in the tar file.
    pub files: usize,
    /// Number of listed files that were deleted after their retention.
    pub deleted: usize,
    pub is_signed: bool,
    /// Record of the deletion.
    pub tombstone: Option<&'a Tombstone>,
}

/// The text. Writing to a `String` cannot fail.
///
/// # Errors
/// [`ResolvedError`] for a dialect that cannot be read.
pub(super) fn text(manifest: &Manifest, facts: &Facts<'_>) -> Result<String, ResolvedError> {
    let mut page = Page { text: String::new(), step: 0 };
    head(&mut page, manifest, facts);
    page.step("Unpack.");
    page.command("tar -xf *.tar");
    page.command(&format!("cd {}", facts.folder));
    page.step(
        "Is this the package you were told about? This digest covers all of it.\n\
         Compare it with a digest that you got from elsewhere: from your working\n\
         papers, a signed message, or the package that lists this one as previous.",
    );
    page.command(&format!("echo '{}  manifest.json' | sha256sum -c -", facts.manifest_sha256));
    if facts.is_signed {
        page.step(
            "Who signed the manifest? You need your own list of trusted signers, in the\n\
             format of ssh-keygen, as `allowed_signers` next to the tar file. The list must\n\
             allow the key for the name below at the time of signing, and the name must be\n\
             one that you expect. (Needs OpenSSH 9.1 or later; earlier versions read the\n\
             time without `Z`, and as local time.)",
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
        contents(&mut page, manifest, plain)?;
    }
    Ok(page.text)
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
    let title = "How to check this package without kt-export";
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
            "{} files were deleted after their retention period; see tombstone.json.\n",
            facts.deleted
        );
    }
    page.line("Lines indented by four spaces are commands for a POSIX shell. A command that fails");
    page.line("has found a problem: stop there. Start in a folder that contains only the tar file");
    page.line("and the files of your own that a step asks for. If sha256sum is missing, use");
    page.line("`shasum -a 256` instead.");
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
        let _ = writeln!(page.text, "NOT COMPLETE in these partitions; manifest.json has the reasons:\n{named}\n");
    }
}

/// Takes the signer's name from the signed file, not from the list, which may name others for the same key.
fn signature(page: &mut Page, file: &str, signature: &str, at: Timestamp, signer: Option<&SignerRecord>) {
    let by_hand = ByHand { list: "../allowed_signers", file, signature, at };
    // awk takes the text between quotes, so a name with JSON escapes is looked up in the list instead.
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
    page.step("Who deleted files, and from which package?");
    page.command(&format!("grep -q '\"manifest_sha256\": \"{}\"' {TOMBSTONE}", facts.manifest_sha256));
    if tombstone.signer.is_some() {
        signature(page, TOMBSTONE, TOMBSTONE_SIGNATURE, tombstone.pruned_at, tombstone.signer.as_ref());
    }
}

fn files(page: &mut Page, facts: &Facts<'_>) {
    let ignore = if facts.deleted > 0 { "--ignore-missing " } else { "" };
    if facts.files > 0 {
        page.step("Does every file match the manifest?");
        page.command(&format!(
            "awk -F'\"' '/^      \"path\": \"/ {{ path = $4 }} /^      \"sha256\": \"/ {{ print $4 \"  \" path }}' \
             manifest.json | sha256sum {ignore}-c -"
        ));
    }
    page.step("Does SHA256SUMS, a copy of that list for quick checks, match too?");
    page.command(&format!("sha256sum {ignore}-c SHA256SUMS"));
    page.step("Are there no other files in data/ and rejects/?");
    page.command(&format!(
        "test \"$(find . ! -type d | grep -c -e '^[.]/data/' -e '^[.]/rejects/')\" -eq {}",
        facts.files
    ));
}

/// Folder of the decrypted shards.
fn decrypted(page: &mut Page, manifest: &Manifest, facts: &Facts<'_>) -> &'static str {
    match &manifest.encryption {
        Some(EncryptionRecord::Age { .. }) if facts.files > 0 => {
            page.step(
                "Decrypt with age (age-encryption.org) and your own key in the file\n\
                 `identity.txt` next to the tar file. The plain files go to a folder next to\n\
                 the package, which is not changed.",
            );
            page.command(
                "find data -name '*.age' | while read -r file; do mkdir -p \"../plain/${file%/*}\" && \
                 age -d -i ../identity.txt -o \"../plain/${file%.age}\" \"$file\" || exit 1; done",
            );
            "../plain/data"
        }
        Some(EncryptionRecord::Parquet { .. }) => {
            page.text
                .push_str("\nThe rows are encrypted inside Parquet: reading them needs the keys and a reader of\n");
            page.text.push_str("Parquet modular encryption, such as pyarrow.\n");
            "data"
        }
        _ => "data",
    }
}

/// Checks that shards decompress and have the number of rows in the manifest.
fn contents(page: &mut Page, manifest: &Manifest, plain: &str) -> Result<(), ResolvedError> {
    let shards = manifest.files.iter().filter(|file| file.status.has_file());
    let first = shards.clone().next().map_or("", |file| file.path.as_str());
    let (_, compression) = ExportCompression::split_name(first.strip_suffix(AGE_EXTENSION).unwrap_or(first));
    let read = match &compression.facts().file {
        None => format!("find {plain} -type f -exec cat {{}} +"),
        Some(FileCompression { extension, command }) => {
            page.step(&format!("Is every compressed file intact? (needs {command})"));
            page.command(&format!("find {plain} -name '*.{extension}' -exec {command} -tq {{}} +"));
            format!("find {plain} -type f -exec {command} -dcq {{}} +")
        }
    };
    let rows = manifest.total_rows;
    let counted = |filter: &str, expected: u64| format!("test \"$({read} | {filter})\" -eq {expected}");
    match manifest.export_format {
        ExportFormat::Ndjson => {
            page.step(&format!("Are there {rows} rows? Each row is one line."));
            page.command(&counted("wc -l", rows));
        }
        ExportFormat::Json => {
            page.step(&format!("Are there {rows} rows? Each row starts a line."));
            page.command(&counted("awk 'substr($0, 1, 1) == \"{\" { n++ } END { print n + 0 }'", rows));
        }
        ExportFormat::Csv => {
            let has_header = Dialect::from_spec(&manifest.spec.resolved)?.header && !manifest.columns.is_empty();
            let headers = if has_header { shards.count() as u64 } else { 0 };
            page.step(&format!(
                "Are there {rows} rows and {headers} headers? A record ends at a line end outside\n\
                 quotes."
            ));
            let filter = "LC_ALL=C awk '{ q += gsub(/\"/, \"\") } q % 2 == 0 { n++ } END { print n + 0 }'";
            page.command(&counted(filter, rows.saturating_add(headers)));
        }
        ExportFormat::Parquet => {
            let _ = write!(
                page.text,
                "\nThe manifest says that the files in {plain}/ have {rows} rows. Any Parquet reader\n\
                 can count them, such as DuckDB: SELECT count(*) FROM '{plain}/*/*.parquet'\n"
            );
        }
    }
    Ok(())
}
