//! Folders made for each case.

use jiff::Timestamp;

use super::*;
use crate::diagnostic::Located;
use crate::error::ErrorCode;
use crate::job::PartitionBy;
use crate::package::layout;
use std::fs;

fn source(uri: &str) -> SourceSettings {
    SourceSettings {
        uris: vec![SourceUri { written: uri.to_owned(), absolute: Located::default_value(uri.to_owned()) }],
        options: crate::store::StoreOptions::default(),
        format: None,
        hive_partitioning: None,
        path_time: None,
        compression: None,
        on_empty_file: OnEmptyFile::Skip,
        csv: None,
        exclude: Vec::new(),
        lines: None,
        records: None,
        keep: Vec::new(),
        plain_files: false,
    }
}

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temp dir");
    for name in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, name).expect("file");
    }
    folder
}

fn listed(folder: &tempfile::TempDir, below: &str) -> Result<FileListing, ListError> {
    list(&source(folder.path().join(below).to_str().expect("utf-8")))
}

fn names(listing: Result<FileListing, ListError>) -> Vec<String> {
    listing.expect("listed").files.into_iter().map(|f| f.file.name).collect()
}

fn skips(listing: Result<FileListing, ListError>) -> Vec<(String, SkipCode)> {
    listing.expect("listed").skipped.into_iter().map(|skipped| (skipped.name, skipped.code)).collect()
}

fn message(listing: Result<FileListing, ListError>) -> String {
    listing.expect_err("refused").to_string()
}

#[test]
fn a_folder_is_read_recursively_in_order_of_bytes() {
    let f = folder(&["b.csv", "a/z.ndjson.gz", "a-1.JSON", "B.pq", "é.csv", "a/b/c.jsonl.zst", "d.feather"]);
    assert_eq!(
        names(listed(&f, "")),
        ["B.pq", "a-1.JSON", "a/b/c.jsonl.zst", "a/z.ndjson.gz", "b.csv", "d.feather", "é.csv"]
    );
    let files = listed(&f, "").expect("listed").files;
    assert_eq!(
        files.iter().map(|f| (f.file.format, f.file.compression)).collect::<Vec<_>>(),
        [
            (SourceFormat::Parquet, SourceCompression::None),
            (SourceFormat::Json, SourceCompression::None),
            (SourceFormat::Ndjson, SourceCompression::Zstd),
            (SourceFormat::Ndjson, SourceCompression::Gzip),
            (SourceFormat::Csv, SourceCompression::None),
            (SourceFormat::Arrow, SourceCompression::None),
            (SourceFormat::Csv, SourceCompression::None)
        ]
    );
}

#[test]
fn markers_and_hidden_files_are_no_data_but_hive_folders_are() {
    let f = folder(&["_SUCCESS", ".a.csv", "_delta_log/0.json", ".git/x.csv", "_day=1/a.csv", "a.csv"]);
    assert_eq!(names(listed(&f, "")), ["_day=1/a.csv", "a.csv"]);
    let hidden = |name: &str| (name.to_owned(), SkipCode::Hidden);
    let data = |name: &str| (name.to_owned(), SkipCode::HiddenData);
    assert_eq!(skips(listed(&f, "")), [data(".a.csv"), hidden(".git/"), hidden("_SUCCESS"), hidden("_delta_log/")]);
    let f = folder(&["_temporary/0/part-0.csv", "x/_b.csv", "x/a.csv"]);
    assert_eq!(skips(listed(&f, "")), [data("_temporary/"), data("x/_b.csv")]);
    let f = folder(&[".b.csv.bz2", ".c.parquet.gz", ".d.zip", "a.csv"]);
    assert_eq!(skips(listed(&f, "")), [data(".b.csv.bz2"), data(".c.parquet.gz"), hidden(".d.zip")]);
    let f = folder(&["_temporary/0/part-0.csv", "x/_b.csv", "x/a.csv"]);
    // A glob reports what it would have matched.
    assert_eq!(skips(listed(&f, "x/*.csv")), [data("_b.csv")]);
    assert_eq!(skips(listed(&f, "*/a.csv")), []);
    assert_eq!(skips(listed(&f, "**/*.csv")), [data("_temporary/"), data("x/_b.csv")]);
}

#[test]
fn unknown_extensions_are_skipped_and_told_unless_a_format_is_declared() {
    let f = folder(&["a.csv", "README.md", "b.dat", "c.zip"]);
    let listing = listed(&f, "").expect("listed");
    let skipped: Vec<_> = listing.skipped.iter().map(|s| (s.name.as_str(), s.bytes)).collect();
    assert_eq!(skipped, [("README.md", 9), ("b.dat", 5), ("c.zip", 5)]);

    let f = folder(&["a.csv", "b.dat", "c.dat.gz"]);
    let mut declared = source(f.path().to_str().expect("utf-8"));
    declared.format = Some(SourceFormat::Ndjson);
    let files = list(&declared).expect("listed").files;
    assert!(files.iter().all(|f| f.file.format == SourceFormat::Ndjson));
    assert_eq!(files[2].file.compression, SourceCompression::Gzip);
}

#[test]
fn files_of_0_bytes_are_listed_and_are_no_missing_source() {
    let f = folder(&["a.csv", "d.txt"]);
    for name in ["b.ndjson", "c.parquet"] {
        fs::write(f.path().join(name), "").expect("file");
    }
    let told = [("b.ndjson", SkipCode::Empty), ("d.txt", SkipCode::UnknownFormat)];
    // Parquet always has a footer, so that file may be broken: its name may say of which rows.
    assert_eq!(names(listed(&f, "")), ["a.csv", "c.parquet"]);
    assert_eq!(skips(listed(&f, "")), told.map(|(name, code)| (name.to_owned(), code)));
    let kept = SourceSettings { on_empty_file: OnEmptyFile::Fail, ..source(f.path().to_str().expect("utf-8")) };
    assert_eq!(names(list(&kept)), ["a.csv", "b.ndjson", "c.parquet"]);
    for name in ["a.csv", "c.parquet"] {
        fs::remove_file(f.path().join(name)).expect("removed");
    }
    assert_eq!(names(listed(&f, "")), [""; 0]);
    // Who names a file means it.
    assert_eq!(names(listed(&f, "b.ndjson")), ["b.ndjson"]);
}

#[test]
fn what_this_program_wrote_is_no_source() {
    let f =
        folder(&["a.csv", "exports/m/data/x/part-0000.csv", "begun/_state/plan.json", "begun/data/x/part-0000.csv"]);
    let write = |name: &str, text: &str| {
        let path = f.path().join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, text).expect("file");
    };
    write("exports/m/manifest.json", "{\n  \"manifest_version\": 1");
    write("chain/00000001.json", "{\"link_version\": 1}");
    write(&format!("chain/{}", layout::link(1)), "{\"link_version\": 1}");
    write("store/jobs/job_a/job.json", "{\"record_version\": 1}");
    // What only looks like ours.
    write("web/manifest.json", "{\"name\": \"app\"}");
    write("web/data/b.csv", "x");
    let ours = ["begun/", "chain/", "exports/m/", "store/jobs/job_a/"];
    assert_eq!(names(listed(&f, "")), ["a.csv", "web/data/b.csv", "web/manifest.json"]);
    assert_eq!(skips(listed(&f, "")), ours.map(|name| (name.to_owned(), SkipCode::Package)));
    assert!(message(listed(&f, "exports/m")).contains("name its data/ folder"));
    assert!(message(listed(&f, "exports")).contains("own packages"));
    // Who names the folders of a package means them.
    assert_eq!(names(listed(&f, "exports/m/data")), ["x/part-0000.csv"]);
    assert_eq!(names(listed(&f, "exports/*/data/**/*.csv")), ["m/data/x/part-0000.csv"]);
}

#[test]
fn compressions_that_hide_data_are_refused() {
    let f = folder(&["a.parquet.gz"]);
    assert!(message(listed(&f, "")).contains("Parquet inside another compression"));
    let f = folder(&["a.arrow.zst"]);
    assert!(message(listed(&f, "a.arrow.zst")).contains("Arrow inside another compression"));
    let f = folder(&["a.csv", "b.csv.br"]);
    let declared = SourceSettings {
        compression: Some(Located { value: SourceCompression::Gzip, span: None }),
        ..source(f.path().to_str().expect("utf-8"))
    };
    let files = list(&declared).expect("listed").files;
    let found: Vec<_> = files.iter().map(|f| (f.file.format, f.file.compression)).collect();
    assert_eq!(found, [(SourceFormat::Csv, SourceCompression::Gzip); 2]);
    assert!(
        message(listed(&f, ""))
            .contains("b.csv.br is compressed with .br, which is not read; use .gz, .zst, .bz2, .xz or .lz4")
    );
}

#[test]
fn a_name_that_leaves_the_format_open_is_no_name_of_another_file() {
    let f = folder(&["a", "b.log", "c.gz", "d.csv", "e.txt", "f.txt.gz", "_SUCCESS", ".g", "h.ndjson.1", "i.log.zip"]);
    fs::write(f.path().join("z"), "").expect("file");
    let listing = listed(&f, "").expect("listed");
    let open: Vec<_> = listing.files.iter().map(|l| (l.file.name.as_str(), l.is_format_open)).collect();
    assert_eq!(open, [("a", true), ("b.log", true), ("c.gz", true), ("d.csv", false)]);
    let skipped: Vec<_> = listing.skipped.iter().map(|s| (s.name.as_str(), s.code)).collect();
    let unknown = SkipCode::UnknownFormat;
    let expected = [
        (".g", SkipCode::Hidden),
        ("_SUCCESS", SkipCode::Hidden),
        ("e.txt", unknown),
        ("f.txt.gz", unknown),
        ("h.ndjson.1", unknown),
        ("i.log.zip", unknown),
        ("z", SkipCode::Empty),
    ];
    assert_eq!(skipped, expected);
    let declared = SourceSettings { format: Some(SourceFormat::Csv), ..source(f.path().to_str().expect("utf-8")) };
    fs::remove_file(f.path().join("i.log.zip")).expect("removed");
    assert!(list(&declared).expect("listed").files.iter().all(|listed| !listed.is_format_open));
}

#[test]
fn one_file_is_a_source_and_its_format_must_be_known() {
    let f = folder(&["x/a.csv", "x/a.txt"]);
    assert_eq!(names(listed(&f, "x/a.csv")), ["a.csv"]);
    assert!(message(listed(&f, "x/a.txt")).contains("set `source.format`"));
}

#[test]
fn globs_match_below_their_fixed_folder() {
    let f = folder(&["d/r=eu/a.csv", "d/r=us/a.csv", "d/r=us/x/b.csv", "d/c.csv", "d/_x.csv", "d/n.txt"]);
    assert_eq!(names(listed(&f, "d/*.csv")), ["c.csv"]);
    assert_eq!(names(listed(&f, "d/*/*.csv")), ["r=eu/a.csv", "r=us/a.csv"]);
    assert_eq!(names(listed(&f, "d/**/*.csv")), ["c.csv", "r=eu/a.csv", "r=us/a.csv", "r=us/x/b.csv"]);
    assert_eq!(names(listed(&f, "d/r={eu,us}/?.csv")), ["r=eu/a.csv", "r=us/a.csv"]);
    assert_eq!(names(listed(&f, "d/_*.csv")), ["_x.csv"]);
    let files = listed(&f, "d/**/*.csv").expect("listed").files;
    assert_eq!(files[1].file.constants, [("r".to_owned(), Some("eu".to_owned()))]);
}

#[test]
fn a_path_that_exists_is_not_taken_for_a_glob() {
    let f = folder(&["a[1].csv", "a1.csv"]);
    assert_eq!(names(listed(&f, "a[1].csv")), ["a[1].csv"]);
}

#[test]
fn nothing_found_says_what_was_looked_for() {
    let f = folder(&["x/n.txt", "y/a.csv"]);
    let text = message(listed(&f, "x"));
    assert!(
        text.contains("source matches no file") && text.contains(".parquet") && text.contains("skipped 1"),
        "{text}"
    );
    assert!(message(listed(&f, "nowhere")).contains("no such file or folder"));
    assert!(message(listed(&f, "nowhere/*.csv")).contains("source matches no file"));
    assert!(message(listed(&f, "*")).contains("append /** to match the files in them"));
    assert!(message(listed(&f, "[")).contains("is not a glob"));
    assert!(message(list(&source("ftp://lake/events/"))).contains("`ftp://` is not supported"));
    assert!(message(list(&source("https://lake/events/"))).contains("lists no folders; name one file"));
}

#[test]
fn path_time_leaves_out_what_lies_outside_the_window() {
    let f = folder(&["2026-02-28.csv", "2026-03-01.csv", "2026-03-02.csv"]);
    let at = |text: &str| text.parse::<Timestamp>().expect("timestamp");
    let pattern = |p: &str| PathTime {
        pattern: Located::default_value(p.to_owned()),
        covers: PartitionBy::Day,
        early: SignedDuration::ZERO,
        late: SignedDuration::ZERO,
        expect: None,
    };
    let within = |p: &str| {
        let (start, end) = (at("2026-03-01T00:00:00Z"), at("2026-03-02T00:00:00Z"));
        listed(&f, "").expect("listed").within(&source(""), &pattern(p), [&TimeZone::UTC; 2], Period { start, end })
    };
    let listing = within("%Y-%m-%d.csv").expect("matched");
    assert_eq!(listing.files.iter().map(|listed| listed.file.name.as_str()).collect::<Vec<_>>(), ["2026-03-01.csv"]);
    assert_eq!(listing.skipped.len(), 2);
    assert!(listing.skipped[0].reason.contains("[2026-02-28T00:00:00Z, 2026-03-01T00:00:00Z)"));
    assert!(listing.skipped.iter().all(|skipped| skipped.code == SkipCode::PathTime));
    let adjacent: Vec<_> = listing.adjacent.iter().map(|listed| listed.file.name.as_str()).collect();
    assert_eq!(adjacent, ["2026-02-28.csv", "2026-03-02.csv"]);
    assert!(message(within("%Y%m%d.csv")).contains("2026-02-28.csv does not end in the time"));
}

#[test]
fn a_change_after_listing_is_seen() {
    let f = folder(&["a.csv"]);
    let file = listed(&f, "").expect("listed").files.remove(0).file;
    assert_eq!(file.check_unchanged(), Ok(()));
    let touched = SourceFile { modified: Timestamp::UNIX_EPOCH, ..file.clone() };
    assert_eq!(touched.check_unchanged().map_err(|e| e.code), Err(ErrorCode::SourceChanged));
    fs::write(file.at.local().expect("local"), "longer than before").expect("written");
    assert_eq!(file.check_unchanged().map_err(|e| e.code), Err(ErrorCode::SourceChanged));
    fs::remove_file(file.at.local().expect("local")).expect("removed");
    assert_eq!(file.check_unchanged().map_err(|e| e.code), Err(ErrorCode::SourceUnreadable));
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_to_files_and_folders_are_followed() {
        let real = folder(&["x/a.csv", "b.csv"]);
        let f = folder(&["c.csv"]);
        symlink(real.path().join("b.csv"), f.path().join("b.csv")).expect("link");
        symlink(real.path().join("x"), f.path().join("x")).expect("link");
        assert_eq!(names(listed(&f, "")), ["b.csv", "c.csv", "x/a.csv"]);
        assert_eq!(names(listed(&f, "*/*.csv")), ["x/a.csv"]);
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let f = folder(&["x/a.csv"]);
        symlink(f.path(), f.path().join("x/up")).expect("link");
        assert!(message(listed(&f, "")).contains("which contains it"));
    }

    #[test]
    fn a_dangling_link_is_an_error() {
        let f = folder(&["a.csv"]);
        symlink(f.path().join("gone.csv"), f.path().join("b.csv")).expect("link");
        assert!(message(listed(&f, "")).contains("b.csv"));
    }

    #[test]
    fn one_file_under_several_names_is_read_once_under_its_own() {
        let f = folder(&["x/c.csv", "z/real.csv"]);
        symlink(f.path().join("z/real.csv"), f.path().join("latest.csv")).expect("link");
        symlink(f.path().join("x"), f.path().join("w")).expect("link");
        fs::hard_link(f.path().join("x/c.csv"), f.path().join("x/d.csv")).expect("link");
        fs::hard_link(f.path().join("x/c.csv"), f.path().join("b.csv")).expect("link");
        assert_eq!(names(listed(&f, "")), ["b.csv", "z/real.csv"]);
        let told: Vec<_> = listed(&f, "").expect("listed").skipped.into_iter().map(|s| (s.name, s.reason)).collect();
        let same = |name: &str, first: &str| (name.to_owned(), format!("the same file as {first}, which is read"));
        let expected = [
            same("latest.csv", "z/real.csv"),
            same("w/c.csv", "b.csv"),
            same("w/d.csv", "b.csv"),
            same("x/c.csv", "b.csv"),
            same("x/d.csv", "b.csv"),
        ];
        assert_eq!(told, expected);
        assert!(listed(&f, "").expect("listed").skipped.iter().all(|s| s.code == SkipCode::SameFile));
    }

    #[test]
    fn equal_files_are_two_files() {
        let f = folder(&["a.csv"]);
        fs::copy(f.path().join("a.csv"), f.path().join("b.csv")).expect("copy");
        assert_eq!(names(listed(&f, "")), ["a.csv", "b.csv"]);
    }

    #[test]
    fn an_output_in_the_source_is_found_through_links() {
        let f = folder(&["data/x/a.csv", "out/keep"]);
        symlink(f.path().join("data"), f.path().join("link")).expect("link");
        symlink(f.path().join("out"), f.path().join("data/x/deep")).expect("link");
        let check = |from: &str, to: &str| {
            let from = source(f.path().join(from).to_str().expect("utf-8"));
            crate::source::files::overlap::check(&from, &f.path().join(to).into()).map_err(|e| e.to_string())
        };
        for (from, to) in [
            ("data", "data"),
            ("data", "data/exports/2026"),
            ("link", "data/exports"),
            ("data", "link/exports"),
            ("data/**", "data/exports"),
            ("data/*/*/*/*/*.zst", "data/exports/2026"),
            ("data/*/*/*/*/*.json.gz", "data/exports/2026"),
            ("data", "data/y/../z"),
        ] {
            assert!(check(from, to).expect_err(to).contains("lies inside the source"), "{from} {to}");
        }
        for (from, to) in [("data/x", "data"), ("data/x/a.csv", "data"), ("data/x/*.csv", "data/x/..")] {
            assert!(check(from, to).expect_err(to).contains("lies inside the output"), "{from} {to}");
        }
        for (from, to) in [
            ("data", "data2"),
            ("data", "out/y"),
            ("data/x/a.csv", "data/exports"),
            ("data/*.csv", "data/exports"),
            ("data/**/*.log", "data/exports"),
            ("data", "data/.exports/2026"),
            ("data", "data/../exports"),
        ] {
            assert_eq!(check(from, to), Ok(()), "{from} {to}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_an_error() {
        let f = folder(&["a.csv"]);
        fs::write(f.path().join(OsStr::from_bytes(b"b\xff.csv")), "").expect("file");
        assert!(message(listed(&f, "")).contains("b\u{fffd}.csv is not UTF-8"));
    }

    #[test]
    fn a_socket_is_not_read() {
        let f = folder(&["a.csv"]);
        let _socket = std::os::unix::net::UnixListener::bind(f.path().join("b.csv")).expect("socket");
        assert_eq!(names(listed(&f, "")), ["a.csv"]);
        assert_eq!(listed(&f, "").expect("listed").skipped[0].reason, "not a regular file");
        assert!(message(listed(&f, "b.csv")).contains("not a regular file"));
    }
}

#[test]
fn tables_of_a_lakehouse_are_refused_wherever_they_are_entered() {
    let delta = ["_delta_log/00000000000000000000.json", "date=2026-03-01/a.parquet", "b.parquet"];
    let iceberg = ["metadata/v1.metadata.json", "metadata/snap-1.avro", "data/date=2026-03-01/a.parquet"];
    let hudi = [".hoodie/hoodie.properties", "2026/03/01/.hoodie_partition_metadata", "2026/03/01/a.parquet"];
    for (files, what, entries) in [
        (
            delta,
            "is a Delta table (it has _delta_log)",
            &["lake", "lake/t/date=2026-03-01", "lake/t/b.parquet", "lake/t/*/*.parquet"][..],
        ),
        (
            iceberg,
            "is an Iceberg table (it has metadata/*.metadata.json)",
            &["", "lake/t/data/", "lake/t/data/*/a.parquet"],
        ),
        (
            ["schema/schema-0", "date=2026-03-01/bucket-0/a.csv", "date=2026-03-01/bucket-0/b.parquet"],
            "is a Paimon table (it has schema/schema-*)",
            &[
                "",
                "lake/t/",
                "lake/t/date=2026-03-01/bucket-0/a.csv",
                "lake/t/*/bucket-*/*.csv",
                "lake/t/*/*/*.parquet",
            ],
        ),
        (hudi, "is a Hudi table (it has .hoodie)", &["lake/t", "lake/t/2026/03/01", "lake/t/2026/*/*/*"]),
    ] {
        let files: Vec<String> = files.iter().map(|name| format!("lake/t/{name}")).collect();
        let f = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
        for entry in entries {
            let message = message(listed(&f, entry));
            assert!(message.contains("/lake/t ") && message.contains(what), "{entry}: {message}");
            assert!(
                message.ends_with("or set `plain_files: true` in `source` to read every file as it is"),
                "{message}"
            );
            let mut plain = source(f.path().join(entry).to_str().expect("utf-8"));
            plain.plain_files = true;
            assert!(!list(&plain).expect("listed").files.is_empty(), "{entry}");
        }
    }
}

#[test]
fn what_a_hudi_partition_holds_alone_tells_it() {
    let f = folder(&["2026/.hoodie_partition_metadata", "2026/a.parquet"]);
    assert!(message(listed(&f, "")).contains("is a part of a Hudi table"));
}

#[test]
fn other_files_beside_a_table_and_folders_of_spark_are_no_table() {
    let f = folder(&[
        "t/_delta_log/0.json",
        "logs/a.ndjson",
        "ok/_SUCCESS",
        "ok/_metadata",
        "ok/_committed_1",
        "ok/a.parquet",
    ]);
    assert_eq!(names(listed(&f, "")), ["logs/a.ndjson", "ok/a.parquet"]);
    let f = folder(&["metadata/a.parquet", "metadata/readme.json", "_delta_logs/x"]);
    assert_eq!(listed(&f, "").expect("listed").files.len(), 2);
    let f = folder(&["schema/schema-0.json", "schema/schema-", "schema/schema-1/c.csv", "bucket-0/a.csv", "b.parquet"]);
    assert_eq!(listed(&f, "").expect("listed").files.len(), 5);
    // Beside the buckets of a Paimon table, other files are no part of it.
    let f = folder(&["schema/schema-0", "a.csv"]);
    assert_eq!(names(listed(&f, "")), ["a.csv", "schema/schema-0"]);
}

#[test]
fn a_new_file_is_read_where_the_source_finds_it() {
    let f = folder(&["data/a.csv", "data/sub/b.csv", "one.csv"]);
    let path = |below: &str| f.path().join(below);
    for (uri, file, is_read) in [
        ("data", "data/new.ndjson", true),
        ("data/", "data/new/deep/a.parquet", true),
        ("data", "data/../data/a.csv", true),
        ("data", "new.csv", false),
        ("data", "data/new.txt", false),
        ("data", "data/.hidden/new.csv", false),
        ("data", "data/new.csv.bz2", true),
        ("data/*.csv", "data/new.csv", true),
        ("data/*.csv", "data/new.json", false),
        ("data/*.csv", "data/sub/new.csv", false),
        ("one.csv", "one.csv", true),
        ("one.csv", "two.csv", false),
    ] {
        let source = source(path(uri).to_str().expect("utf-8"));
        assert_eq!(
            super::super::reads_file(&source, &source.uris[0], &path(file)).expect("a source"),
            is_read,
            "{uri} {file}"
        );
    }
    let declared = SourceSettings { format: Some(SourceFormat::Csv), ..source(path("data").to_str().expect("utf-8")) };
    assert!(super::super::reads_file(&declared, &declared.uris[0], &path("data/new.txt")).expect("a source"));
    let remote = source("s3://bucket/data");
    assert!(!super::super::reads_file(&remote, &remote.uris[0], &path("a.csv")).expect("a source"));
}

#[cfg(unix)]
#[test]
fn a_link_into_a_table_is_followed_to_it() {
    let f = folder(&["t/_delta_log/0.json", "t/date=1/a.parquet", "plain/b.csv"]);
    std::os::unix::fs::symlink(f.path().join("t/date=1"), f.path().join("plain/link")).expect("link");
    assert!(message(listed(&f, "plain")).contains("is a Delta table"));
}

/// URIs below a folder, as a spec in it has them.
fn several(folder: &tempfile::TempDir, uris: &[&str]) -> SourceSettings {
    let absolute = |uri: &&str| folder.path().join(uri).to_str().expect("utf-8").to_owned();
    let uris = uris
        .iter()
        .map(|uri| SourceUri { written: (*uri).to_owned(), absolute: Located::default_value(absolute(uri)) });
    SourceSettings { uris: uris.collect(), ..source("") }
}

#[test]
fn names_from_several_uris_begin_with_the_folder_as_it_is_written() {
    let f = folder(&["a/x.csv", "b/k=1/x.csv", "b/_SUCCESS", "c/1.csv", "c/2.csv", "d.csv", "e/notes.txt", "e/y.csv"]);
    let absolute = f.path().join("e").to_str().expect("utf-8").to_owned();
    let uris = ["./b/", "a", "c/[2].csv", "a/../d.csv", &absolute];
    let listing = list(&several(&f, &uris)).expect("listed");
    let found: Vec<_> = listing.files.iter().map(|l| (l.file.name.clone(), l.uri)).collect();
    let of_e = format!("{absolute}/y.csv");
    let expected = [(of_e.as_str(), 4), ("a/../d.csv", 3), ("a/x.csv", 1), ("b/k=1/x.csv", 0), ("c/2.csv", 2)];
    assert_eq!(found, expected.map(|(name, uri)| (name.to_owned(), uri)));
    assert_eq!(listing.files[3].file.constants, [("k".to_owned(), Some("1".to_owned()))]);
    let skipped: Vec<_> = listing.skipped.iter().map(|s| (s.name.clone(), s.code)).collect();
    let unknown = (format!("{absolute}/notes.txt"), SkipCode::UnknownFormat);
    assert_eq!(skipped, [unknown, ("b/_SUCCESS".to_owned(), SkipCode::Hidden)]);
    // A list of one has the names of a single URI.
    assert_eq!(names(list(&several(&f, &["b/"]))), ["k=1/x.csv"]);
    assert_eq!(names(list(&several(&f, &["./", "a/"]))).first().map(String::as_str), Some("a/x.csv"));
}

#[test]
fn a_file_that_several_uris_reach_is_read_once() {
    let f = folder(&["a/x.csv", "a/sub/y.csv", "a/sub/_z.csv", "a/t.csv", "b/w.csv"]);
    fs::hard_link(f.path().join("a/x.csv"), f.path().join("b/x.csv")).expect("link");
    let mut source = several(&f, &["a/", "a/sub/", "a/*.csv", "b/", "a/sub/_z.csv"]);
    source.exclude = vec![Located::default_value(globset::Glob::new("sub/y.csv").expect("glob"))];
    let listing = list(&source).expect("listed");
    let read: Vec<_> = listing.files.iter().map(|l| l.file.name.as_str()).collect();
    // What one URI hides or excludes is read because another one names it.
    assert_eq!(read, ["a/sub/_z.csv", "a/sub/y.csv", "a/t.csv", "a/x.csv", "b/w.csv"]);
    let skipped: Vec<_> = listing.skipped.iter().map(|s| (s.name.as_str(), s.code, s.reason.as_str())).collect();
    let again = "another `uri` of the source names it too; it is read once";
    let expected = [
        ("a/t.csv", SkipCode::SameFile, again),
        ("a/x.csv", SkipCode::SameFile, again),
        ("b/x.csv", SkipCode::SameFile, "the same file as a/x.csv, which is read"),
    ];
    assert_eq!(skipped, expected);
}

#[test]
fn an_error_names_the_uri_that_it_is_about() {
    let text = std::sync::Arc::new(crate::diagnostic::SourceText { path: "spec.yaml".into(), text: String::new() });
    let f = folder(&["a/x.csv", "t/_delta_log/0.json", "t/y.parquet", "out/z.csv", "n/a.txt"]);
    fs::write(f.path().join("n/z.log"), "a,b\n").expect("file");
    let located = |uris: &[&str]| {
        let mut source = several(&f, uris);
        for (place, uri) in source.uris.iter_mut().enumerate() {
            let (source, start, end) = (text.clone(), place, place);
            uri.absolute.span = Some(crate::diagnostic::Span { source, start, end });
        }
        source
    };
    let place = |error: ListError| {
        let (span, error) = error.located();
        (span.map(|span| span.start), error.to_string())
    };
    for (uris, at, words) in [
        (["a/", "gone/"], 1, "gone/ (no such file or folder)"),
        (["n/a.txt", "a/"], 0, "the format of"),
        (["a/", "t/"], 1, "is a Delta table"),
    ] {
        let (found, message) = place(list(&located(&uris)).expect_err("refused"));
        assert_eq!(found, Some(at), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let output = f.path().join("out/package").into();
    let error = crate::source::files::overlap::check(&located(&["a/", "out/"]), &output).expect_err("refused");
    assert_eq!(place(error).0, Some(1));
    let source = located(&["a/", "n/z.log"]);
    let mut files = list(&source).expect("listed").files;
    assert_eq!(place(content::find_formats(&source, &mut files, true).expect_err("refused")).0, Some(1));
    let pattern = PathTime {
        pattern: Located::default_value("%Y.csv".to_owned()),
        covers: PartitionBy::Year,
        early: SignedDuration::ZERO,
        late: SignedDuration::ZERO,
        expect: None,
    };
    fs::write(f.path().join("out/2026.csv"), "a\n").expect("file");
    let source = located(&["out/2026.csv", "a/"]);
    let period = Period { start: Timestamp::UNIX_EPOCH, end: Timestamp::MAX };
    let within = list(&source).expect("listed").within(&source, &pattern, [&TimeZone::UTC; 2], period);
    assert_eq!(place(within.expect_err("refused")).0, Some(1));
}
