//! What VERIFY.txt says of packages of every kind. That its commands run is for the suite.

use super::instructions::{Facts, text};
use crate::export_format::{ExportCompression, ExportFormat};
use crate::package::manifest::tests::manifest;
use crate::package::manifest::{EncryptionRecord, FileStatus, JobStatus, Manifest, SignerRecord};

fn facts() -> Facts<'static> {
    Facts {
        folder: "events-2026-03-job_x",
        manifest_sha256: "feed",
        files: 2,
        deleted: 0,
        is_signed: false,
        tombstone: None,
    }
}

/// The lines that are commands.
fn commands(manifest: &Manifest, facts: &Facts<'_>) -> Vec<String> {
    text(manifest, facts).unwrap().lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[test]
fn the_commands_bind_every_file_to_the_manifest_and_count_its_rows() {
    let manifest = Manifest { total_rows: 40, ..manifest() };
    assert_eq!(
        commands(&manifest, &facts()),
        [
            "tar -xf *.tar",
            "cd events-2026-03-job_x",
            "echo 'feed  manifest.json' | sha256sum -c -",
            r#"awk -F'"' '/^      "path": "/ { path = $4 } /^      "sha256": "/ { print $4 "  " path }' manifest.json | sha256sum -c -"#,
            "sha256sum -c SHA256SUMS",
            r#"test "$(find . ! -type d | grep -c -e '^[.]/data/' -e '^[.]/rejects/')" -eq 2"#,
            "find data -name '*.zst' -exec zstd -tq {} +",
            r#"test "$(find data -type f -exec zstd -dcq {} + | LC_ALL=C awk '{ q += gsub(/"/, "") } q % 2 == 0 { n++ } END { print n + 0 }')" -eq 42"#,
        ]
    );
}

#[test]
fn every_format_is_counted_in_its_own_way() {
    let plain = |export_format, extension: &str| {
        let mut manifest =
            Manifest { total_rows: 40, export_format, compression: ExportCompression::None, ..manifest() };
        for file in &mut manifest.files {
            file.path = file.path.replace("csv.zst", extension);
        }
        commands(&manifest, &facts()).pop().unwrap()
    };
    assert_eq!(plain(ExportFormat::Ndjson, "ndjson"), r#"test "$(find data -type f -exec cat {} + | wc -l)" -eq 40"#);
    assert_eq!(
        plain(ExportFormat::Json, "json.gz"),
        r#"test "$(find data -type f -exec gzip -dcq {} + | awk 'substr($0, 1, 1) == "{" { n++ } END { print n + 0 }')" -eq 40"#
    );
    // No tool that every system has reads Parquet.
    assert!(plain(ExportFormat::Parquet, "parquet").starts_with("test \"$(find . ! -type d"));
}

#[test]
fn signed_encrypted_and_pruned_packages_are_checked_as_such() {
    let signed = text(&manifest(), &Facts { is_signed: true, ..facts() }).unwrap();
    let find = "signer=$(ssh-keygen -Y find-principals -f ../allowed_signers -O verify-time=20260401000002Z -s";
    let verify = "ssh-keygen -Y verify -f ../allowed_signers -I \"$signer\" -n kt-export -O verify-time=20260401000002Z -s \
                  manifest.json.sig < manifest.json\n";
    assert!(signed.contains(verify) && signed.contains(find), "{signed}");
    let by = |identity: &str| {
        let signer = Some(SignerRecord { identity: identity.into(), public_key: "ssh-ed25519 AAAA".into() });
        commands(&Manifest { signer, ..manifest() }, &Facts { is_signed: true, ..facts() })
    };
    let name =
        r#"signer=$(awk -F'"' '/^  "signer": / { s = 1 } s && /^    "identity": / { print $4; exit }' manifest.json)"#;
    assert!(by("evidence@example.com").iter().any(|line| line == name));
    assert!(by("two\"words").iter().any(|line| line.starts_with(find)));
    let age = EncryptionRecord::Age { recipients: vec!["age1x".into()], digests: Some(crate::job::Digests::Clear) };
    let sealed = commands(&Manifest { encryption: Some(age), ..manifest() }, &facts());
    assert!(
        sealed.iter().any(|line| line.contains("age -d -i ../identity.txt -o \"../plain/${file%.age}\" \"$file\""))
    );
    assert!(sealed.last().unwrap().contains("find ../plain/data -type f -exec zstd -dcq"), "{sealed:?}");
    let pruned = commands(&manifest(), &Facts { files: 1, deleted: 1, ..facts() });
    assert!(pruned.iter().any(|line| line == "sha256sum --ignore-missing -c SHA256SUMS"));
    let gone = text(&manifest(), &Facts { files: 0, deleted: 2, ..facts() }).unwrap();
    assert!(gone.contains("2 files were deleted after their retention period") && !gone.contains("awk"), "{gone}");
}

#[test]
fn a_package_that_is_not_complete_says_which_partitions_are_not() {
    let mut partial = Manifest { status: JobStatus::Partial, ..manifest() };
    partial.files[1].status = FileStatus::Failed;
    let text = text(&partial, &facts()).unwrap();
    assert!(text.contains("NOT COMPLETE in these partitions; manifest.json has the reasons:\n2026-03-02\n"));
}

#[test]
fn nothing_of_the_manifests_own_words_reaches_a_command() {
    let hostile = "x\n    rm -rf /\n\u{202e}$(rm -rf /)";
    let manifest = Manifest {
        name: hostile.into(),
        type_name: hostile.into(),
        window_label: hostile.into(),
        timezone: hostile.into(),
        id: hostile.into(),
        ..manifest()
    };
    assert!(commands(&manifest, &facts()).iter().all(|line| !line.contains("rm -rf")));
}
