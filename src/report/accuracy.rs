//! The accuracy section: digests, signature, chain, versions, and the commands that check them with independent tools.

use jiff::tz::TimeZone;

use super::page::{Block, Fact, Section, Style, Table, columns};
use super::words::{counted, listed, quoted, size, to_second};
use crate::job::Digests;
use crate::package::layout::{MANIFEST, SHA256SUMS, SIGNATURE};
use crate::package::manifest::{EncryptionRecord, Manifest, PackageRef, RunOutcome};
use crate::signature::ByHand;

/// The section.
pub(super) fn section(manifest: &Manifest, manifest_sha256: &str) -> Section {
    let tool = &manifest.tool;
    let facts = vec![
        Fact::code("SHA-256 of manifest.json", manifest_sha256),
        Fact::words(
            "SHA-256 of every file",
            format!("in the manifest and in {SHA256SUMS}: {}, {}", count(manifest), size(manifest.total_bytes)),
        ),
        match &manifest.rows_digest {
            Some(digest) => Fact::code("Digest of all rows", digest),
            None if is_sealed(manifest) && manifest.spec.resolved.rows_digest() == Ok(true) => {
                let words = "sealed with the digests of the files: kt-export verify --identity KEY_FILE opens them";
                Fact::words("Digest of all rows", words)
            }
            None => Fact::words("Digest of all rows", "not requested by the spec"),
        },
        signature(manifest),
        link(manifest),
        package(
            "Package before this one",
            manifest.previous.as_ref(),
            "none: the spec has no chain, or this is its first",
        ),
        package("Supersedes", manifest.supersedes.as_ref(), "none: this is the first export of its window"),
        revision(manifest),
        Fact::words(
            "Written by",
            format!("{} {}", tool.name, tool.version)
                + &tool.commit.as_ref().map_or(String::new(), |commit| format!(", built from commit {commit}")),
        ),
        Fact::words("Versions", format!("manifest {}, spec {}", manifest.manifest_version, spec_version(manifest))),
        Fact::words("This page", format!("made by {} from {MANIFEST} alone", super::maker())),
    ];
    let blocks = vec![
        Block::Facts { facts },
        Block::Heading { text: "What this report does not prove" },
        Block::List { items: limits(manifest) },
    ];
    Section { id: "accuracy", title: "Accuracy", question: "How do we know that it is accurate?", blocks }
}

/// Whether the digests of encrypted content are sealed.
fn is_sealed(manifest: &Manifest) -> bool {
    manifest.encryption.as_ref().is_some_and(|encryption| encryption.digests() == Digests::Sealed)
}

fn count(manifest: &Manifest) -> String {
    counted(manifest.digests().count() as u64, "file")
}

/// The signer that the manifest names. This page cannot know whether the signature exists and is valid.
fn signature(manifest: &Manifest) -> Fact {
    match &manifest.signer {
        Some(signer) => {
            let values = vec![
                signer.identity.clone(),
                signer.public_key.clone(),
                format!("{SIGNATURE}, check it as shown below"),
            ];
            Fact { name: "Signed by", values, is_code: true }
        }
        None => Fact::words("Signature", "none: the spec names no signer, so nothing proves who wrote the manifest"),
    }
}

/// Its place among the packages of the spec.
fn link(manifest: &Manifest) -> Fact {
    match &manifest.link {
        Some(link) => Fact::words("Place in the chain", format!("link {}", link.number)),
        None => Fact::words("Place in the chain", "none: the spec has no chain"),
    }
}

fn package(name: &'static str, package: Option<&PackageRef>, none: &str) -> Fact {
    match package {
        Some(package) => {
            Fact { name, values: vec![package.id.clone(), format!("its manifest: {}", package.sha256)], is_code: true }
        }
        None => Fact::words(name, none),
    }
}

/// What a revision changed.
fn revision(manifest: &Manifest) -> Fact {
    let Some(restatement) = &manifest.restatement else { return Fact::words("Revision", "1, the first") };
    let changed = restatement.partitions.iter().filter(|partition| partition.rows_before != partition.rows_after);
    let told: Vec<String> = changed
        .map(|p| format!("{}: {} before, {} now", p.label, counted(p.rows_before, "row"), p.rows_after))
        .collect();
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let told = if told.is_empty() { "every partition has as many rows as before".to_owned() } else { listed(&told) };
    let values = vec![restatement.revision.to_string(), told];
    Fact { name: "Revision", values, is_code: false }
}

fn spec_version(manifest: &Manifest) -> String {
    match manifest.spec.resolved.version() {
        Ok(Some(version)) => version.to_string(),
        Ok(None) => "not recorded".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn limits(manifest: &Manifest) -> Vec<String> {
    let mut limits = vec![
        "This page only repeats manifest.json. It was made without reading any rows, has no recorded digest and is not \
         signed: rely on the manifest and the files, and check them as shown below."
            .to_owned(),
        "Digests prove that nothing changed since the manifest was written. Only a signature proves who wrote \
         it.".to_owned(),
        "Matching row counts prove that nothing was lost between the source and the package. They cannot show what \
         never reached the source."
            .to_owned(),
        "Records are as they were when they were read. Later changes in the source are not in this package."
            .to_owned(),
    ];
    let skipped = manifest.source.files.iter().filter(|file| file.skipped.is_some()).count() as u64;
    if skipped > 0 {
        limits.push(format!(
            "{} of the source {} rows are not in the equation above.",
            counted(skipped, "file"),
            if skipped == 1 { "was not read. Its" } else { "were not read. Their" },
        ));
    }
    if manifest.expires_at.is_some() {
        limits.push(
            "After the retention period, files may be deleted; tombstone.json then records the deletion, and the \
             digests remain."
                .to_owned(),
        );
    }
    limits
}

/// The section with the commands of independent tools.
pub(super) fn by_hand(manifest: &Manifest, manifest_sha256: &str) -> Section {
    let command = |why: &str, lines: &[&str]| Block::Command {
        why: why.to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    };
    let mut blocks = vec![
        Block::text("Run these in the package's folder, with standard Unix tools:"),
        command(
            "This page belongs to the manifest next to it: the digest must equal the one shown here.",
            &[&format!("sha256sum {MANIFEST}"), &format!("# {manifest_sha256}  {MANIFEST}")],
        ),
        command(
            "No file is missing or changed: each line must end with OK. On macOS: shasum -a 256 -c.",
            &[&format!("sha256sum -c {SHA256SUMS}")],
        ),
    ];
    if let Some(signer) = &manifest.signer {
        let identity = quoted(&signer.identity);
        let by_hand =
            ByHand { list: "allowed_signers", file: MANIFEST, signature: SIGNATURE, at: manifest.finalized_at };
        blocks.push(command(
            "Who signed it: allowed_signers contains the keys you trust; get it from somewhere other than this \
             package.",
            &[&by_hand.verify(&identity)],
        ));
    }
    blocks.extend(decryption(manifest));
    blocks.push(command(
        "To check all of this, the manifest's sums and times, and the rows of every file, with kt-export itself:",
        &["kt-export verify --rows ."],
    ));
    Section { id: "verify", title: "How to verify by hand", question: "Which commands check it?", blocks }
}

fn decryption(manifest: &Manifest) -> Option<Block> {
    let Some(EncryptionRecord::Age { .. }) = manifest.encryption else { return None };
    let file = manifest.files.iter().find(|file| file.plain_sha256.is_some() || file.sealed.is_some())?;
    let plain = file.path.strip_suffix(".age")?;
    let name = plain.rsplit('/').next().unwrap_or(plain);
    if let Some(sealed) = &file.sealed {
        return Some(Block::Command {
            why: "The content of an encrypted file, with your key; the digest must equal the `plain_sha256` that the \
                last command shows."
                .to_owned(),
            lines: vec![
                format!("age -d -i KEY_FILE -o {} {}", quoted(name), quoted(&file.path)),
                format!("sha256sum {}", quoted(name)),
                format!("echo {} | base64 -d | age -d -i KEY_FILE", quoted(&sealed.data)),
            ],
        });
    }
    Some(Block::Command {
        why: "The content of an encrypted file, with your key; the digest must equal the one before encryption."
            .to_owned(),
        lines: vec![
            format!("age -d -i KEY_FILE -o {} {}", quoted(name), quoted(&file.path)),
            format!("sha256sum {}", quoted(name)),
            format!("# {}  {name}", file.plain_sha256.as_deref().unwrap_or_default()),
        ],
    })
}

/// The section with every run of the job.
pub(super) fn history(manifest: &Manifest, zone: &TimeZone) -> Section {
    let rows = manifest.runs.iter().map(|run| {
        let end = run.finished_at.map_or("not recorded".to_owned(), |at| to_second(at, zone));
        vec![run.run_id.clone(), outcome(run.outcome).to_owned(), to_second(run.started_at, zone), end]
    });
    let table = Table {
        caption: "Runs of the job".to_owned(),
        columns: columns([
            ("Run", Style::Code),
            ("Outcome", Style::Status),
            ("Started", Style::Text),
            ("Ended", Style::Text),
        ]),
        rows: rows.collect(),
    };
    let facts = vec![
        Fact::words("Job planned", to_second(manifest.created_at, zone)),
        Fact::words("Manifest written", to_second(manifest.finalized_at, zone)),
    ];
    let blocks = vec![Block::Facts { facts }, Block::Table(table)];
    Section { id: "runs", title: "Runs", question: "Which runs worked on it, and when?", blocks }
}

fn outcome(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Complete => "complete",
        RunOutcome::Partial => "partial",
        RunOutcome::Failed => "failed",
        RunOutcome::Cancelled => "cancelled",
        RunOutcome::Interrupted => "interrupted",
        RunOutcome::TryLater => "to be retried",
        RunOutcome::Abandoned => "abandoned",
    }
}
