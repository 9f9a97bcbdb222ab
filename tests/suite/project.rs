//! A folder with specs and data, as a user has it, and the program run in it.
//!
//! Shards are read back by libraries that the program does not encode with: the csv crate, serde_json, and the
//! parquet crate's reader with arrow-json.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};

/// Every run counts relative windows from here.
pub(crate) const NOW: &str = "2027-01-01T00:00:00Z";

/// A row as read back: cells of CSV are text.
pub(crate) type Row = Map<String, Value>;

/// A folder of a user.
pub(crate) struct Project {
    folder: Arc<tempfile::TempDir>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Asserts the exit code, and shows what the program said if it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr says all of these.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "no `{text}` in:\n{}", self.stderr);
        }
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

impl Project {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: Arc::new(tempfile::tempdir().expect("a temporary folder")) }
    }

    /// A spec `spec.yaml` with version, name, and `package` as its output folder, and this text after it.
    pub(crate) fn with_spec(rest: &str) -> Self {
        let project = Self::new();
        project.spec(rest);
        project
    }

    /// Writes `spec.yaml`.
    pub(crate) fn spec(&self, rest: &str) {
        self.write("spec.yaml", format!("version: 1\nname: test\noutput: {{uri: package}}\n{rest}\n"));
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and the folders above it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("folders");
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// The program, to be run in the folder. It finds no repository and no settings of the machine.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kt-export"));
        command.current_dir(self.folder.path()).args(args).stdin(Stdio::null());
        command.env("GIT_CEILING_DIRECTORIES", self.folder.path()).env("NO_COLOR", "1").env_remove("RUST_BACKTRACE");
        command
    }

    /// Runs any command.
    pub(crate) fn call(&self, args: &[&str]) -> Outcome {
        outcome(&mut self.command(args))
    }

    /// `run spec.yaml` with these arguments.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.call(&[&["run", "spec.yaml", "--progress", "never", "--now", NOW], args].concat())
    }

    /// The package that `with_spec` names.
    pub(crate) fn package(&self) -> Package {
        self.package_in("package")
    }

    /// A package in a folder of the project.
    pub(crate) fn package_in(&self, name: &str) -> Package {
        Package { root: self.path(name), _folder: self.folder.clone() }
    }

    /// Runs the spec, which must be complete, and checks that every row is accounted for and the package verifies.
    #[track_caller]
    pub(crate) fn complete(&self) -> Package {
        self.run(&[]).exits(0);
        let package = self.package();
        package.balances();
        self.call(&["verify", "--rows", "package"]).exits(0);
        package
    }
}

/// Runs a command to its end.
pub(crate) fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().expect("the program starts");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is text"),
        stderr: String::from_utf8(output.stderr).expect("stderr is text"),
    }
}

/// A package as an auditor has it.
pub(crate) struct Package {
    pub root: PathBuf,
    /// Stays as long as this does.
    _folder: Arc<tempfile::TempDir>,
}

impl Package {
    /// `manifest.json`.
    #[track_caller]
    pub(crate) fn manifest(&self) -> Value {
        let path = self.root.join("manifest.json");
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_slice(&text).expect("the manifest is JSON")
    }

    /// The entries of `files`.
    #[track_caller]
    pub(crate) fn files(&self) -> Vec<Value> {
        self.manifest()["files"].as_array().expect("a list").clone()
    }

    /// The entries of one partition.
    #[track_caller]
    pub(crate) fn files_of(&self, label: &str) -> Vec<Value> {
        self.files().into_iter().filter(|f| f["partition"]["label"] == label).collect()
    }

    /// The one entry of a partition.
    #[track_caller]
    pub(crate) fn file(&self, label: &str) -> Value {
        let files = self.files_of(label);
        assert_eq!(files.len(), 1, "{label}: {files:?}");
        files[0].clone()
    }

    /// `(partition, status, rows)` of every entry.
    #[track_caller]
    pub(crate) fn statuses(&self) -> Vec<(String, String, u64)> {
        let text = |v: &Value| v.as_str().expect("text").to_owned();
        let files = self.files();
        let entry = |f: &Value| (text(&f["partition"]["label"]), text(&f["status"]), f["rows"].as_u64().expect("rows"));
        files.iter().map(entry).collect()
    }

    /// A shard's bytes without compression.
    pub(crate) fn plain(&self, path: &str) -> Vec<u8> {
        let bytes = std::fs::read(self.root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        match path.rsplit_once('.') {
            Some((_, "zst")) => zstd::decode_all(&*bytes).expect("zstd"),
            Some((_, "gz")) => {
                let mut plain = Vec::new();
                std::io::copy(&mut flate2::read::MultiGzDecoder::new(&*bytes), &mut plain).expect("gzip");
                plain
            }
            _ => bytes,
        }
    }

    /// The text of the one shard of a partition.
    #[track_caller]
    pub(crate) fn text(&self, label: &str) -> String {
        String::from_utf8(self.plain(self.file(label)["path"].as_str().expect("text"))).expect("UTF-8")
    }

    /// Rows of all shards in order, each checked against the number that the manifest gives.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.by_partition().into_iter().flat_map(|(_, rows)| rows).collect()
    }

    /// Rows by shard, with the partition's label.
    #[track_caller]
    pub(crate) fn by_partition(&self) -> Vec<(String, Vec<Row>)> {
        let files = self.files();
        let with_file = files.iter().filter(|f| f["status"] == "complete" || f["status"] == "partial");
        with_file
            .map(|file| {
                let path = file["path"].as_str().expect("text");
                let rows = self.read(path);
                assert_eq!(Some(rows.len() as u64), file["rows"].as_u64(), "{path}");
                (file["partition"]["label"].as_str().expect("text").to_owned(), rows)
            })
            .collect()
    }

    /// Asserts that every row of the source is accounted for, and that what is written is what reads back.
    #[track_caller]
    pub(crate) fn balances(&self) {
        let manifest = self.manifest();
        let a = &manifest["accounting"];
        let n = |key: &str| a[key].as_u64().unwrap_or_else(|| panic!("{key} in {a}"));
        let sum: u64 = ["rejected", "null_time", "outside_window", "filtered_out", "written"].map(n).iter().sum();
        assert_eq!(n("source_rows"), sum, "{a}");
        assert_eq!(manifest["total_rows"], a["written"]);
        assert_eq!(self.rows().len() as u64, n("written"));
    }

    /// The rows of a shard.
    pub(crate) fn read(&self, path: &str) -> Vec<Row> {
        if path.ends_with(".parquet") { parquet_rows(&self.root.join(path)) } else { read(path, self.plain(path)) }
    }

    /// The rows of a file that is in no package.
    pub(crate) fn rows_of_file(path: &Path) -> Vec<Row> {
        let name = path.to_str().expect("text");
        if name.ends_with(".parquet") {
            return parquet_rows(path);
        }
        let stored = bytes(path);
        let plain = if name.ends_with(".zst") { zstd::decode_all(&*stored).expect("zstd") } else { stored };
        read(name, plain)
    }

    /// Names and bytes below `data/`.
    pub(crate) fn shards(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(&self.root.join("data")).into_iter().map(|(name, path)| (name, bytes(&path))).collect()
    }

    /// Shards by the names that an undisturbed run gives them: without the generation of their plan.
    pub(crate) fn undisturbed_shards(&self) -> BTreeMap<String, Vec<u8>> {
        self.shards().into_iter().map(|(name, bytes)| (without_generation(&name), bytes)).collect()
    }

    /// As [`Package::snapshot`], without what serves resuming alone.
    pub(crate) fn evidence(&self) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        self.snapshot().into_iter().filter(|(name, _)| !name.starts_with("_state/")).collect()
    }

    /// Names, bytes and modification times of everything.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let stamp = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).expect("a time");
        let files = files_below(&self.root).into_iter();
        files.map(|(name, path)| (name, (bytes(&path), stamp(&path)))).collect()
    }
}

/// A shard's name without the generation of its plan.
pub(crate) fn without_generation(name: &str) -> String {
    let is_generation = |segment: &&str| {
        segment.strip_prefix('g').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    name.split('.').filter(|segment| !is_generation(segment)).collect::<Vec<_>>().join(".")
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files below a folder, by their names relative to it. A folder that is not there has none.
pub(crate) fn files_below(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_file());
    let name = |path: &Path| path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
    entries.map(|e| (name(e.path()), e.into_path())).collect()
}

/// Reads the text of a shard.
fn read(path: &str, bytes: Vec<u8>) -> Vec<Row> {
    let extensions = path.rsplit('/').next().expect("a name");
    let row = |value: Value| match value {
        Value::Object(row) => row,
        other => panic!("{path}: {other} is no row"),
    };
    if extensions.contains(".csv") {
        let mut reader = csv::ReaderBuilder::new().from_reader(&*bytes);
        let header = reader.headers().expect("a header").clone();
        let cells = |record: csv::StringRecord| {
            header.iter().zip(&record).map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<Row>()
        };
        reader.records().map(|r| cells(r.expect("a record"))).collect()
    } else if extensions.contains(".ndjson") {
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "{path}");
        text.lines().map(|line| row(serde_json::from_str(line).expect("JSON"))).collect()
    } else {
        let rows: Vec<Value> = serde_json::from_slice(&bytes).expect("a JSON array");
        rows.into_iter().map(row).collect()
    }
}

/// Rows of a Parquet file, nulls included.
fn parquet_rows(path: &Path) -> Vec<Row> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file);
    let batches: Vec<_> = builder.expect("Parquet").build().expect("a reader").map(|b| b.expect("a batch")).collect();
    let mut text = Vec::new();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut text);
    for batch in &batches {
        writer.write(batch).expect("rows");
    }
    writer.finish().expect("rows");
    let text = String::from_utf8(text).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// `text` as one cell or value of a row; nulls and empty cells are empty.
pub(crate) fn cell(row: &Row, column: &str) -> String {
    match row.get(column) {
        None => panic!("no `{column}` in {row:?}"),
        Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// One column of rows.
pub(crate) fn column(rows: &[Row], name: &str) -> Vec<String> {
    rows.iter().map(|row| cell(row, name)).collect()
}

/// Rows of `days` consecutive days from 2026-03-01 on, `per_day` of each, as NDJSON: name of the file and text.
pub(crate) fn daily_files(days: u32, per_day: u32) -> Vec<(String, String)> {
    let row = |day: u32, i: u32| {
        let (h, m, s) = (i * 86_399 / per_day / 3600, i * 86_399 / per_day / 60 % 60, i * 86_399 / per_day % 60);
        format!(
            "{{\"event_id\":\"e{day}-{i}\",\"occurred_at\":\"2026-03-{day:02}T{h:02}:{m:02}:{s:02}Z\",\
             \"status\":\"{}\",\"n\":{},\"note\":\"row {i} of day {day}\"}}\n",
            ["allowed", "blocked", "escalated"][(i % 3) as usize],
            u64::from(i) * 7919 % 1009,
        )
    };
    (1..=days).map(|d| (format!("data/2026-03-{d:02}.ndjson"), (0..per_day).map(|i| row(d, i)).collect())).collect()
}

/// The rows of an NDJSON text as one Parquet file with small row groups.
pub(crate) fn parquet_of(ndjson: &str) -> Vec<u8> {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let time = Field::new("occurred_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
    let n = Field::new("n", DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![text("event_id"), time, text("status"), n, text("note")]));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(500)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties)).expect("a writer");
    for batch in arrow::json::ReaderBuilder::new(schema).build(ndjson.as_bytes()).expect("a reader") {
        writer.write(&batch.expect("rows")).expect("memory");
    }
    writer.close().expect("memory");
    bytes
}

/// Compresses.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("memory");
    encoder.finish().expect("memory")
}
