//! Packages made by hand, downloaded, and read back by other readers.

mod forms;
mod property;
mod refusals;
mod resume;
mod shards;

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::digest::sha256;
use crate::encode::{Encoded, Encoder};
use crate::error::Exit;
use crate::job::{self, CsvFormat, Format};
use crate::package::layout::{MANIFEST, SHA256SUMS};
use crate::package::manifest::tests::{entry, manifest as template};
use crate::package::manifest::{Accounting, Column, InputRecord, Manifest, ResolvedSpec, Totals};
use crate::resolve::job_id;
use crate::stop::Signal;
use crate::store::Folder;

/// A row: a number and a text that may be missing.
type Row = (i64, Option<String>);

fn row(id: i64, text: &str) -> Row {
    (id, Some(text.to_owned()))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("te\nxt", DataType::Utf8, true)];
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.clone())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ids, texts]).unwrap()
}

/// A shard as an export writes it, before compression.
fn encode(format: &Format, rows: &[Row]) -> Vec<u8> {
    let batch = batch(rows);
    let encoder = Arc::new(Encoder::new(format, job::Compression::None, batch.schema()).unwrap());
    let mut shard = encoder.start(Vec::new());
    let mut encoded = Encoded::default();
    let all: Vec<u32> = (0..u32::try_from(rows.len()).unwrap()).collect();
    encoder.encode(&batch, &all, &mut encoded).unwrap();
    shard.append(&encoded, 0..rows.len()).unwrap();
    shard.finish().unwrap()
}

fn compress(plain: &[u8], ending: &str) -> Vec<u8> {
    match ending {
        ".zst" => zstd::encode_all(plain, 3).unwrap(),
        ".gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        _ => plain.to_vec(),
    }
}

fn plain(path: &Path) -> Vec<u8> {
    let stored = fs::read(path).unwrap();
    let mut plain = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("zst") => zstd::Decoder::new(stored.as_slice()).unwrap().read_to_end(&mut plain).unwrap(),
        Some("gz") => flate2::read::MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut plain).unwrap(),
        _ => return stored,
    };
    plain
}

fn csv_format() -> Format {
    Format::Csv(CsvFormat::default())
}

struct Sample {
    home: tempfile::TempDir,
    manifest: Manifest,
    /// Of its job.
    source: Option<job::SourceSettings>,
}

impl Sample {
    /// A package of shards as they are, each with its number of rows.
    fn of(format: &Format, ending: &str, shards: &[(Vec<u8>, u64)]) -> Self {
        let mut manifest = template();
        let word = format.name();
        manifest.export_format = format.kind();
        manifest.spec.resolved = ResolvedSpec::from(match format {
            Format::Csv(csv) => json!({"format": {"csv": {"bom": csv.bom, "header": csv.header}}}),
            _ => json!({"format": word}),
        });
        manifest.id = job_id(&manifest.spec.resolved).unwrap();
        let column = |name: &str, kind: &str| Column {
            name: name.into(),
            type_name: kind.into(),
            nullable: true,
            redaction: Vec::new(),
        };
        manifest.columns = vec![column("id", "integer"), column("te\nxt", "text")];
        let mut package = Self { home: tempfile::tempdir().unwrap(), manifest, source: None };
        let mut start = package.manifest.window_start;
        package.manifest.files.clear();
        for (index, (text, rows)) in shards.iter().enumerate() {
            let end = start + SignedDuration::from_hours(1);
            let label = format!("h{index:05}");
            let path = format!("data/{label}/part-0000.{word}{ending}");
            let mut file = entry(&path, &label, &start.to_string(), &end.to_string());
            let stored = compress(text, ending);
            (file.rows, file.bytes, file.sha256) = (*rows, stored.len() as u64, Some(sha256(&stored)));
            package.write(&path, &stored);
            package.manifest.files.push(file);
            start = end;
        }
        package.manifest.window_end = start;
        package.finish();
        package
    }

    /// A package of these rows, one shard for each list.
    fn rows(format: &Format, ending: &str, shards: &[Vec<Row>]) -> Self {
        let shards: Vec<_> = shards.iter().map(|rows| (encode(format, rows), rows.len() as u64)).collect();
        Self::of(format, ending, &shards)
    }

    /// Many shards with some empty ones, and what one shard of all rows would be.
    fn many(format: &Format, ending: &str) -> (Self, Vec<u8>) {
        let rows = |shard: i64| -> Vec<Row> {
            let count = if [0, 3, 4, 11].contains(&shard) { 0 } else { shard * 7 };
            (0..count).map(|n| (n, (n % 4 > 0).then(|| format!("a\n\"{shard}\", [é]],\n]\n")))).collect()
        };
        let shards: Vec<Vec<Row>> = (0..12).map(rows).collect();
        (Self::rows(format, ending, &shards), encode(format, &shards.concat()))
    }

    fn finish(&mut self) {
        let totals = Totals::of(&self.manifest.files);
        (self.manifest.total_rows, self.manifest.total_bytes) = (totals.rows, totals.bytes);
        (self.manifest.partial_count, self.manifest.failed_count) = (totals.partial, totals.failed);
        let rows = totals.rows;
        self.manifest.accounting = Accounting { source_rows: rows, written: rows, ..Accounting::default() };
        self.manifest.source.files = vec![InputRecord {
            path: "events.csv".into(),
            bytes: Some(60),
            mtime: None,
            etag: None,
            snapshot: None,
            rows: Some(rows),
            skipped: None,
            skip_code: None,
            error: None,
        }];
        let bytes = self.manifest.to_json_bytes().unwrap();
        self.write(MANIFEST, &bytes);
        self.write(SHA256SUMS, self.manifest.sha256sums(&sha256(&bytes)).as_bytes());
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("package")
    }

    /// A path outside the package.
    fn out(&self, name: &str) -> PathBuf {
        let folder = self.home.path().join("out");
        fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    fn path(&self, shard: usize) -> PathBuf {
        self.root().join(&self.manifest.files[shard].path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// As it was before anything was done to its files.
    fn open(&self) -> Package {
        let folder = Folder::existing(self.root()).unwrap().unwrap();
        let manifest_bytes = self.manifest.to_json_bytes().unwrap();
        Package::new(folder, self.manifest.clone(), manifest_bytes, jiff::Timestamp::UNIX_EPOCH)
    }

    fn fetch(&self, to: &Path, form: Form) -> Result<Downloaded, DownloadError> {
        self.fetch_until(to, form, u64::MAX)
    }

    /// Stopped by a signal after so many stored bytes.
    fn fetch_until(&self, to: &Path, form: Form, bytes: u64) -> Result<Downloaded, DownloadError> {
        let package = self.open();
        let stop = Stop::default();
        let last = Cell::new(0);
        let progress = |done: u64| {
            assert!(done >= last.replace(done), "progress goes forward");
            if done >= bytes {
                stop.set(Signal::Terminate);
            }
        };
        let to = to.to_owned();
        let identities = &Identities::none();
        let (stop, progress) = (&stop, &progress);
        let source = self.source.as_ref();
        let request = Download { package: &package, to, form, source, identities, stop, progress };
        let done = download(&request);
        if done.is_ok() {
            let rejects: u64 = self.manifest.rejects.iter().map(|file| file.bytes).sum();
            let shards: u64 = self.manifest.files.iter().map(|file| file.bytes).sum();
            assert_eq!(last.get(), shards + if form == Form::Shards { rejects } else { 0 });
        }
        done
    }

    fn join(&self, name: &str) -> Result<Downloaded, DownloadError> {
        self.fetch(&self.out(name), Form::Joined)
    }
}

/// What a folder holds, by name.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}
