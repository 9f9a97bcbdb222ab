//! One file out of many, in every format.

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;

#[test]
fn joined_text_is_what_one_shard_of_all_rows_would_be() {
    for format in [csv_format(), Format::NDJSON, Format::Json] {
        for ending in ["", ".gz", ".zst"] {
            for to in ["", ".gz", ".zst"] {
                let (package, whole) = Sample::many(&format, ending);
                let name = format!("all.{}{to}", format.name());
                let done = package.join(&name).unwrap();
                assert_eq!(plain(&done.path), whole, "{name} of {ending}");
                assert_eq!((done.files, done.rows, done.resumed_files), (12, package.manifest.total_rows, 0));
                assert_eq!(done.bytes, fs::metadata(&done.path).unwrap().len());
                assert_eq!(names(&package.out("")), [name]);
            }
        }
    }
}

#[test]
fn other_readers_find_all_rows_of_the_joined_file() {
    let (package, _) = Sample::many(&csv_format(), ".zst");
    let path = package.join("all.csv").unwrap().path;
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert_eq!(reader.headers().unwrap(), vec!["id", "te\nxt"]);
    assert_eq!(reader.records().map(Result::unwrap).count() as u64, package.manifest.total_rows);

    let (package, _) = Sample::many(&Format::Json, ".gz");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&plain(&package.join("x.json").unwrap().path)).unwrap();
    assert_eq!(rows.len() as u64, package.manifest.total_rows);
}

#[test]
fn a_byte_order_mark_stands_once_and_headers_only_where_the_dialect_has_them() {
    for (bom, header) in [(true, true), (true, false), (false, false)] {
        let format = Format::Csv(CsvFormat { bom, header, ..CsvFormat::default() });
        let (package, whole) = Sample::many(&format, ".zst");
        assert_eq!(plain(&package.join("all.csv").unwrap().path), whole, "{bom} {header}");
    }
}

#[test]
fn shards_without_rows_join_to_a_shard_without_rows() {
    for (format, expected) in [(csv_format(), &b"id,\"te\nxt\"\n"[..]), (Format::NDJSON, b""), (Format::Json, b"[]\n")]
    {
        let package = Sample::rows(&format, ".zst", &[vec![], vec![], vec![]]);
        assert_eq!(plain(&package.join("none.gz").unwrap().path), expected);
        assert_eq!(plain(&package.join("none").unwrap().path), expected);
    }
}

#[test]
fn arrays_may_have_other_blanks_around_their_ends() {
    let blanks = " \n\t".repeat(9);
    let shards =
        [format!("{blanks}[{blanks}{{}}{blanks}]{blanks}"), format!("[{blanks}]"), "[{\"a\":\"]\"},{}]".into()];
    let shards: Vec<_> = shards.into_iter().zip([1, 0, 2]).map(|(text, rows)| (text.into_bytes(), rows)).collect();
    let package = Sample::of(&Format::Json, "", &shards);
    let text = plain(&package.join("all.json").unwrap().path);
    assert_eq!(text, b"[\n{},\n{\"a\":\"]\"},{}\n]\n");
}

#[test]
fn parquet_row_groups_are_copied_with_schema_and_metadata() {
    let (package, _) = Sample::many(&Format::Parquet, "");
    let done = package.join("all.parquet").unwrap();
    let open = |path: &Path| ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let first = open(&package.path(1));
    let joined = open(&done.path);
    let facts = |builder: &ParquetRecordBatchReaderBuilder<fs::File>| {
        let facts = builder.metadata().file_metadata().clone();
        let mut pairs = facts.key_value_metadata().cloned().unwrap();
        pairs.sort_by(|a, b| a.key.cmp(&b.key));
        (facts.schema().clone(), facts.created_by().map(str::to_owned), facts.version(), pairs)
    };
    assert_eq!(facts(&joined), facts(&first));
    assert_eq!(joined.schema(), first.schema());
    assert_eq!(joined.metadata().num_row_groups(), 8);
    assert_eq!(joined.metadata().file_metadata().num_rows() as u64, package.manifest.total_rows);
    let read = |path: &Path| -> Vec<RecordBatch> { open(path).build().unwrap().map(Result::unwrap).collect() };
    let expected: Vec<_> = (0..12).flat_map(|shard| read(&package.path(shard))).collect();
    let schema = joined.schema().clone();
    let found = read(&done.path);
    let concat = |batches: &[RecordBatch]| arrow::compute::concat_batches(&schema, batches).unwrap();
    assert_eq!(concat(&found), concat(&expected));
    let reader = SerializedFileReader::new(fs::File::open(&done.path).unwrap()).unwrap();
    assert!(reader.metadata().row_group(7).column(0).offset_index_offset().is_some(), "page indexes are kept");
    assert_eq!(names(&package.out("")), ["all.parquet"]);
}

#[test]
fn parquet_without_rows_is_parquet_with_a_schema() {
    let package = Sample::rows(&Format::Parquet, "", &[vec![], vec![]]);
    let path = package.join("none.parquet").unwrap().path;
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    assert_eq!(builder.schema().fields().len(), 2);
    assert_eq!(builder.build().unwrap().count(), 0);
}

#[test]
fn a_thousand_shards_are_joined_with_few_open_files() {
    for format in [csv_format(), Format::Parquet] {
        let shards: Vec<Vec<Row>> = (0..1_000).map(|n| vec![row(n, "x")]).collect();
        let package = Sample::rows(&format, "", &shards);
        let most = Cell::new(0);
        let opened = package.open();
        // Those of this download only: other tests have files of their own.
        let open = |_| {
            let Ok(files) = fs::read_dir("/proc/self/fd") else { return };
            let ours = |path: PathBuf| path.starts_with(package.home.path());
            let open = files.flatten().filter(|file| fs::read_link(file.path()).is_ok_and(ours)).count();
            most.set(most.get().max(open));
        };
        let request = Download {
            package: &opened,
            to: package.out("all"),
            form: Form::Joined,
            source: None,
            identities: &Identities::none(),
            stop: &Stop::default(),
            progress: &open,
        };
        assert_eq!(download(&request).unwrap().rows, 1_000);
        assert!(most.get() <= 4, "{}", most.get());
    }
}

#[test]
fn a_folder_gets_a_file_named_after_export_and_window() {
    let (package, whole) = Sample::many(&Format::NDJSON, ".zst");
    let name = "events-2026-03-01_2026-03-02.ndjson";
    assert_eq!(package.fetch(&package.out(""), Form::Joined).unwrap().path, package.out(name));
    assert_eq!(package.fetch(&package.out("new/sub/"), Form::Joined).unwrap().path, package.out("new/sub").join(name));
    assert_eq!(plain(&package.out(name)), whole);
}

#[test]
fn what_a_partial_package_has_is_joined() {
    let mut package = Sample::rows(&csv_format(), "", &[vec![row(1, "a")], vec![row(2, "b")], vec![row(3, "c")]]);
    package.manifest.status = crate::package::manifest::JobStatus::Partial;
    package.manifest.files[0].status = crate::package::manifest::FileStatus::Partial;
    let failed = &mut package.manifest.files[1];
    (failed.status, failed.rows, failed.bytes, failed.sha256) =
        (crate::package::manifest::FileStatus::Failed, 0, 0, None);
    package.finish();
    let done = package.join("all.csv").unwrap();
    assert_eq!((done.files, done.rows), (2, 2));
    assert_eq!(plain(&done.path), b"id,\"te\nxt\"\n1,a\n3,c\n");
}
