//! What is not downloaded, and the words for it.

use super::*;
use crate::package::manifest::{EncryptionRecord, FileStatus, JobStatus};

fn small(format: &Format) -> Sample {
    Sample::rows(format, "", &[vec![row(1, "a")], vec![row(2, "b")]])
}

/// The error of a download, which leaves nothing behind under the final name.
fn refused(package: &Sample, name: &str, form: Form) -> (String, Exit) {
    let error = package.fetch(&package.out(name), form).unwrap_err();
    assert!(!package.out(name).is_file(), "{error}");
    (error.to_string(), error.exit())
}

const MEND: &str = "restore it from a copy, or export it again";

#[test]
fn a_flipped_byte_anywhere_is_named_and_nothing_wrong_gets_the_name() {
    for format in [csv_format(), Format::NDJSON, Format::Json, Format::Parquet] {
        let endings: &[&str] = if matches!(format, Format::Parquet) { &[""] } else { &["", ".gz", ".zst"] };
        for ending in endings {
            let (package, _) = Sample::many(&format, ending);
            let whole = fs::read(package.path(2)).unwrap();
            let name = format!("all.{}", format.name());
            for at in (0..whole.len()).step_by(whole.len() / 20 + 1) {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                fs::write(package.path(2), &bytes).unwrap();
                let shard = &package.manifest.files[2];
                let text = format!(
                    "`{}` in {} has SHA-256 {}, but the manifest says {}: {MEND}",
                    shard.path,
                    package.root().display(),
                    sha256(&bytes),
                    sha256(&whole)
                );
                assert_eq!(refused(&package, &name, Form::Joined), (text, Exit::VerifyFailed));
            }
        }
    }
}

#[test]
fn a_cut_and_a_missing_shard_are_named() {
    for format in [csv_format(), Format::Parquet] {
        let package = small(&format);
        let shard = &package.manifest.files[1];
        let at = package.root().display().to_string();
        let whole = fs::read(package.path(1)).unwrap();
        fs::write(package.path(1), &whole[1..]).unwrap();
        let sizes = format!("has {} bytes, but the manifest says {}", whole.len() - 1, whole.len());
        let text = format!("`{}` in {at} {sizes}: {MEND}", shard.path);
        assert_eq!(refused(&package, "all", Form::Joined), (text, Exit::VerifyFailed));
        fs::remove_file(package.path(1)).unwrap();
        let text = format!("`{}` is not in {at}, though the manifest lists it: {MEND}", shard.path);
        assert_eq!(refused(&package, "all", Form::Joined), (text, Exit::VerifyFailed));
        // Mended, it goes on.
        fs::write(package.path(1), &whole).unwrap();
        let resumed = if format == Format::Parquet { 0 } else { 1 };
        assert_eq!(package.join("all").unwrap().resumed_files, resumed);
    }
}

#[test]
fn names_that_lead_out_of_the_package_are_refused_before_the_first_byte() {
    for (path, why) in [
        ("../x", "`../x` is not a name inside a package: a segment is `.` or `..`"),
        ("/etc/passwd", "`/etc/passwd` is not a name inside a package: it is absolute"),
        ("data/../../x", "`data/../../x` is not a name inside a package: a segment is `.` or `..`"),
        ("manifest.json", "it is not below data/"),
        ("data/x.part", "it ends with `.part`, as unfinished files do"),
    ] {
        for form in [Form::Joined, Form::Shards] {
            let mut package = small(&csv_format());
            package.manifest.files[1].path = path.into();
            let text =
                format!("the manifest's entry `{path}` is invalid: {why}; check the package with `kt-export verify`");
            assert_eq!(refused(&package, "x", form), (text, Exit::VerifyFailed));
            assert_eq!(names(&package.out("")), Vec::<String>::new());
        }
    }
    let mut package = small(&csv_format());
    package.manifest.files[0].sha256 = None;
    let (text, exit) = refused(&package, "x", Form::Joined);
    assert!(text.contains("it is complete and has no `sha256`"), "{text}");
    assert_eq!(exit, Exit::VerifyFailed);
}

#[test]
#[cfg(unix)]
fn links_are_not_followed() {
    let package = small(&csv_format());
    let to = package.out("copy");
    fs::create_dir(&to).unwrap();
    let outside = package.out("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, to.join("data")).unwrap();
    let (text, exit) = refused(&package, "copy", Form::Shards);
    assert!(text.contains("holds `data`, which does not belong to this package"), "{text}");
    assert_eq!(exit, Exit::Usage);
    std::os::unix::fs::symlink(&outside, package.out("all.csv.part")).unwrap();
    let (text, _) = refused(&package, "all.csv", Form::Joined);
    assert!(text.ends_with("all.csv.part already exists: remove it or choose another name"), "{text}");
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let package = small(&csv_format());
    let to = package.out("all.csv");
    fs::write(&to, "mine").unwrap();
    let error = package.fetch(&to, Form::Joined).unwrap_err();
    let text = format!("{} already exists: remove it or choose another name", to.display());
    assert_eq!((error.to_string(), error.exit()), (text, Exit::Usage));
    assert_eq!(fs::read(&to).unwrap(), b"mine");
}

#[test]
fn names_promise_the_right_format_or_none() {
    let package = small(&csv_format());
    for (name, named) in
        [("a.json", "json"), ("a.ndjson.zst", "ndjson"), ("a.JSONL", "ndjson"), ("a.parquet", "parquet")]
    {
        let at = package.out(name);
        let text = format!("{} has the extension of {named}, but the export is csv: name it `.csv`", at.display());
        assert_eq!(refused(&package, name, Form::Joined), (text, Exit::Usage));
    }
    for name in ["a", "a.txt", "a.csv", "a.CSV", "a.json.bak"] {
        assert_eq!(plain(&package.join(name).unwrap().path), b"id,\"te\nxt\"\n1,a\n2,b\n");
    }
    let package = small(&Format::Parquet);
    let text = format!(
        "{}: Parquet compresses pages, not the whole file: name it `.parquet`",
        package.out("a.parquet.zst").display()
    );
    assert_eq!(refused(&package, "a.parquet.zst", Form::Joined), (text, Exit::Usage));
}

#[test]
fn a_place_that_the_source_would_read_is_refused() {
    let mut package = small(&csv_format());
    let source = |uri: &str| job::SourceSettings {
        uris: vec![job::SourceUri {
            written: uri.to_owned(),
            absolute: crate::diagnostic::Located::default_value(uri.to_owned()),
        }],
        options: crate::store::StoreOptions::default(),
        format: None,
        hive_partitioning: None,
        path_time: None,
        compression: None,
        on_empty_file: job::OnEmptyFile::Skip,
        csv: None,
        exclude: Vec::new(),
        lines: None,
        records: None,
        keep: Vec::new(),
        plain_files: false,
    };
    let uri = package.out("lake").display().to_string();
    package.source = Some(source(&uri));
    let end = "of this job, so the next export would contain its rows twice: choose a place outside";
    for (name, form, file) in [
        ("lake/a.csv", Form::Joined, "lake/a.csv"),
        ("lake/new/", Form::Joined, "lake/new/events-2026-03-01_2026-03-02.csv"),
        ("lake/copy", Form::Shards, "lake/copy/data/h00000/part-0000.csv"),
    ] {
        let text = format!("{} lies inside the source {uri} {end}", package.out(file).display());
        assert_eq!(refused(&package, name, form), (text, Exit::Usage));
        assert!(!package.out("lake").exists());
    }
    package.join("a.csv").unwrap();
    package.source = Some(source("lake/[.csv"));
    assert_eq!(
        refused(&package, "b.csv", Form::Joined),
        ("the source lake/[.csv of this job is invalid".into(), Exit::Usage)
    );
}

#[test]
fn what_names_no_file_is_refused() {
    let mut package = small(&csv_format());
    let error = package.fetch(&package.out("none/.."), Form::Joined).unwrap_err();
    assert!(error.to_string().ends_with("does not name a file: write a file name, or a folder with a `/` at its end"));
    assert_eq!(error.exit(), Exit::Usage);
    package.manifest.name = "../up".into();
    let error = package.fetch(&package.out(""), Form::Joined).unwrap_err();
    let text = "`../up-2026-03-01_2026-03-02.csv` cannot be a file name: give a file name";
    assert_eq!((error.to_string().as_str(), error.exit()), (text, Exit::Usage));
    let error = package.fetch(&package.out("none/a.csv"), Form::Joined).unwrap_err();
    let text = format!(
        "cannot create {}: create its parent folder, or choose another place",
        package.out("none/a.csv.part").display()
    );
    assert_eq!((error.to_string(), error.exit()), (text, Exit::Failed));
}

#[test]
fn encrypted_shards_and_packages_without_shards_cannot_be_joined() {
    let mut package = Sample::of(&csv_format(), ".age", &[(b"secret".to_vec(), 1)]);
    let text = "`data/h00000/part-0000.csv.age` is encrypted: name a file with an identity that can read it, `--identity \
                FILE`, or download the shards as they are with `--shards`";
    assert_eq!(refused(&package, "all.csv", Form::Joined), (text.to_owned(), Exit::Usage));
    package.manifest.encryption = Some(EncryptionRecord::Parquet {
        algorithm: "AES_GCM_V1".to_owned(),
        footer_key: "env:KEY".to_owned(),
        columns: Default::default(),
        digests: Some(job::Digests::Sealed),
    });
    package.manifest.files[0].path = "data/h00000/part-0000.parquet".to_owned();
    let text = "the Parquet shards are encrypted, and such shards cannot be joined: download them separately with \
        `--shards`";
    assert_eq!(refused(&package, "all.parquet", Form::Joined), (text.to_owned(), Exit::Usage));
    package.manifest.files[0].status = FileStatus::Failed;
    package.manifest.encryption = None;
    package.manifest.status = JobStatus::Failed;
    let text =
        "the package is failed and has no shard to download: run its job again, or take its manifest with `--shards`";
    assert_eq!(refused(&package, "all.csv", Form::Joined), (text.to_owned(), Exit::Failed));
}

#[test]
fn shards_that_do_not_fit_together_are_named() {
    let bom = Format::Csv(CsvFormat { bom: true, ..CsvFormat::default() });
    let parquet = encode(&Format::Parquet, &[row(1, "a")]);
    let other = {
        let batch = batch(&[row(1, "a")]).project(&[0]).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let cases: [(Format, &[u8], &[u8], &str); 14] = [
        (csv_format(), b"a\n1\n", b"b\n2\n", "its header is not that of the first shard"),
        (csv_format(), b"a\n1\n", b"a", "it has no whole header"),
        (csv_format(), b"a\n1\n", b"\"a\n\n", "it has no whole header"),
        (csv_format(), b"a\n1\n", b"a\n2", "its last row does not end with a line end"),
        (
            bom.clone(),
            b"\xef\xbb\xbfa\n1\n",
            b"a\n2\n",
            "it does not begin with the byte order mark that its dialect has",
        ),
        (bom, b"\xef\xbb\xbfa\n1\n", b"\xef", "it does not begin with the byte order mark that its dialect has"),
        (Format::NDJSON, b"{}\n", b"{}", "its last row does not end with a line end"),
        (Format::NDJSON, b"{}\n", b"{}\n{}\n", "it has 2 rows, but the manifest says 1"),
        (Format::Json, b"[{}]", b"{}", "it does not begin as a JSON array"),
        (Format::Json, b"[{}]", b" ", "it does not begin as a JSON array"),
        (Format::Json, b"[{}]", b"[{}", "it does not end as a JSON array"),
        (Format::Json, b"[{}]", b"[", "it does not end as a JSON array"),
        (Format::Parquet, &parquet, &other, "its schema is not that of the first shard"),
        (Format::Parquet, &parquet, b"PAR1", "its footer cannot be read: "),
    ];
    for (format, first, second, why) in cases {
        let package = Sample::of(&format, "", &[(first.to_vec(), 1), (second.to_vec(), 1)]);
        let (text, exit) = refused(&package, "all", Form::Joined);
        let start = format!("`{}` cannot be joined: {why}", package.manifest.files[1].path);
        assert!(text.starts_with(&start), "{start}: {text}");
        let end = "; download the package with `--shards` and check it with `kt-export verify --rows`";
        assert!(text.ends_with(end) && exit == Exit::VerifyFailed, "{text}");
    }
    let mut package = small(&Format::Parquet);
    package.manifest.files[0].rows = 7;
    let (text, _) = refused(&package, "all", Form::Joined);
    assert!(text.contains("it has 1 rows, but the manifest says 7"), "{text}");
    let mut package = Sample::of(&csv_format(), "", &[(b"not zstd".to_vec(), 1)]);
    fs::rename(package.path(0), package.root().join("data/x.csv.zst")).unwrap();
    package.manifest.files[0].path = "data/x.csv.zst".into();
    let (text, _) = refused(&package, "all", Form::Joined);
    assert!(text.contains("its compressed text cannot be read: "), "{text}");
}

#[test]
fn what_a_store_or_a_disk_says_is_told_with_the_name() {
    let package = small(&csv_format());
    fs::remove_file(package.path(0)).unwrap();
    fs::create_dir(package.path(0)).unwrap();
    let (text, exit) = refused(&package, "all", Form::Joined);
    assert_eq!(text, format!("cannot open `{}`", package.manifest.files[0].path));
    assert_eq!(exit, Exit::Failed);

    let throttled = || std::io::Error::other("slow down");
    let read = DownloadError::Read { shard: "data/x".into(), at: "s3://b".into(), source: throttled() };
    let text = "cannot read `data/x` in s3://b: download again to resume";
    assert_eq!((read.to_string().as_str(), read.exit()), (text, Exit::Failed));
    let refusal = || crate::store::StoreError::Remote {
        action: "read",
        at: "s3://b/data/x".into(),
        refusal: crate::store::Refusal::Throttled,
        answer: "503".into(),
    };
    let source = std::io::Error::other(refusal());
    assert_eq!(DownloadError::Read { shard: "x".into(), at: "s3://b".into(), source }.exit(), Exit::TryLater);
    assert_eq!(DownloadError::Store { name: "x".into(), source: refusal() }.exit(), Exit::TryLater);
    for (kind, words) in [
        (std::io::ErrorKind::StorageFull, "free some space on its file system and download again"),
        (std::io::ErrorKind::PermissionDenied, "check its owner and mode"),
        (std::io::ErrorKind::ReadOnlyFilesystem, "is mounted read-only"),
    ] {
        let disk = DownloadError::Disk { action: "write", path: "all".into(), source: kind.into() };
        assert!(disk.to_string().starts_with("cannot write all: ") && disk.to_string().contains(words), "{disk}");
        assert_eq!(disk.exit(), Exit::Failed);
    }
    let target = DownloadError::Target(crate::store::check_name("..").unwrap_err());
    assert_eq!(target.to_string(), "cannot write into the folder of the download");
    assert_eq!(target.exit(), Exit::Failed);
}
