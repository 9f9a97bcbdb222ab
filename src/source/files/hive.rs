//! Hive partitioning: `k=v` folders as columns.
//!
//! The values exist only in the path, so the readers of file formats do not see them: [`open`] removes these columns from a
//! request and adds them to the batches as constants. They are text unless the catalog declares a type, which uses the same
//! exact conversion as columns of files.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray, StringViewBuilder, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::error::ErrorCode;
use crate::source::columnar::adapt::{AdaptError, adapt};
use crate::source::{BATCH_ROWS, Batch, BatchReader, Chunk, ChunkReader, ReadRequest, SourceError, SourceFile};

/// The folder value that Hive writes for null.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Why folders cannot become columns although the catalog requests it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HiveError {
    /// A file column and a folder key of one name.
    #[error(
        "column {column} is both in the files and in the folder names of {file}; set `hive_partitioning: false` to read the files' column alone"
    )]
    AlsoInFile {
        /// The name.
        column: String,
        /// A file with such a folder.
        file: String,
    },
    /// A key twice in one path.
    #[error("{file} has the folder key {column} twice; set `hive_partitioning: false`, or rename a folder")]
    Twice {
        /// The key.
        column: String,
        /// The file.
        file: String,
    },
}

/// The `k=v` folders of a relative name, key and value percent-decoded except for the null marker, from the outermost.
pub fn keys_of(name: &str) -> Vec<(String, String)> {
    let folders = name.rsplit_once('/').map_or("", |(folders, _)| folders);
    let pairs = folders.split('/').filter_map(|segment| segment.split_once('='));
    pairs.filter(|(key, _)| !key.is_empty()).map(|(key, value)| (percent_decode(key), percent_decode(value))).collect()
}

/// Decodes `%41` to `A`. Invalid escapes stay unchanged, and so does text that would not decode to UTF-8, as in Spark.
fn percent_decode(text: &str) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// The columns from the folders of a source, in order of first appearance.
///
/// `setting` is the catalog's `hive_partitioning`. With `None`, there are columns only if every file has the same keys, once
/// each, and `file_columns` (the columns of all files) contains none of them. With `Some(true)`, every key of any file is a
/// column, and a file without the key has null.
///
/// # Errors
/// [`HiveError`], only with `Some(true)`.
pub fn columns(files: &[SourceFile], setting: Option<bool>, file_columns: &Schema) -> Result<Vec<Field>, HiveError> {
    if setting == Some(false) {
        return Ok(Vec::new());
    }
    let mut keys: Vec<&str> = Vec::new();
    let mut uniform = true;
    let first: BTreeSet<&str> =
        files.first().map(|f| f.hive.iter().map(|(k, _)| k.as_str()).collect()).unwrap_or_default();
    for file in files {
        let mut own = BTreeSet::new();
        for (key, _) in &file.hive {
            if !own.insert(key.as_str()) {
                if setting.is_none() {
                    return Ok(Vec::new());
                }
                return Err(HiveError::Twice { column: key.clone(), file: file.name.clone() });
            }
            if file_columns.column_with_name(key).is_some() {
                if setting.is_none() {
                    return Ok(Vec::new());
                }
                return Err(HiveError::AlsoInFile { column: key.clone(), file: file.name.clone() });
            }
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        uniform &= own == first;
    }
    if setting.is_none() && !uniform {
        return Ok(Vec::new());
    }
    Ok(keys.into_iter().map(|key| Field::new(key, DataType::Utf8View, true)).collect())
}

/// The value of a key in a file's folders; `None` is null.
pub fn value<'f>(file: &'f SourceFile, key: &str) -> Option<&'f str> {
    let found = file.hive.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    found.filter(|v| *v != NULL_PARTITION)
}

/// Opens a file whose request may include `keys`. `inner` reads the other columns.
///
/// # Errors
/// Those of `inner`; [`ErrorCode::SchemaMismatch`] where a folder's value is not of the requested type.
pub fn open(
    request: ReadRequest,
    keys: &[String],
    inner: impl FnOnce(ReadRequest) -> Result<Box<dyn ChunkReader>, SourceError>,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    let is_key = |field: &Field| keys.contains(field.name());
    if !request.schema.fields().iter().any(|f| is_key(f)) {
        return inner(request);
    }
    let mut columns = Vec::with_capacity(request.schema.fields().len());
    let mut of_file = Vec::new();
    for field in request.schema.fields() {
        if is_key(field) {
            let array = constant(value(&request.file, field.name()), field).map_err(|error| SourceError {
                name: request.file.name.clone(),
                position: None,
                code: ErrorCode::SchemaMismatch,
                message: format!("{error}; correct the column's type in `schema`, or the folder's name"),
            })?;
            columns.push(Column::Constant(array));
        } else {
            columns.push(Column::OfFile(of_file.len()));
            of_file.push(Arc::clone(field));
        }
    }
    let schema = Arc::clone(&request.schema);
    let name = request.file.name.clone();
    let inner_schema = Arc::new(Schema::new_with_metadata(of_file, schema.metadata().clone()));
    let inner = inner(ReadRequest { schema: inner_schema, ..request })?;
    Ok(Box::new(HiveChunks { inner, folders: Arc::new(Folders { schema, columns, name }) }))
}

/// One value, [`BATCH_ROWS`] times, as the field's type.
fn constant(value: Option<&str>, field: &Field) -> Result<ArrayRef, AdaptError> {
    let Some(value) = value else { return Ok(new_null_array(field.data_type(), BATCH_ROWS)) };
    let mut builder = StringViewBuilder::with_capacity(BATCH_ROWS).with_deduplicate_strings();
    (0..BATCH_ROWS).for_each(|_| builder.append_value(value));
    let text: StringViewArray = builder.finish();
    adapt(&(Arc::new(text) as ArrayRef), false, field)
}

/// Where a requested column comes from.
enum Column {
    /// A folder: [`BATCH_ROWS`] equal values.
    Constant(ArrayRef),
    /// Index in the inner reader's batches.
    OfFile(usize),
}

/// The columns that the folders of one file add to its rows.
struct Folders {
    schema: SchemaRef,
    columns: Vec<Column>,
    name: String,
}

/// Adds the constants to another reader's chunks.
struct HiveChunks {
    inner: Box<dyn ChunkReader>,
    folders: Arc<Folders>,
}

impl ChunkReader for HiveChunks {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let Some(Chunk { unit, batches: inner }) = self.inner.next_chunk()? else { return Ok(None) };
        let batches = Box::new(HiveBatches { inner, folders: Arc::clone(&self.folders) });
        Ok(Some(Chunk { unit, batches }))
    }
}

/// Adds the constants to the batches of a chunk.
struct HiveBatches {
    inner: Box<dyn BatchReader>,
    folders: Arc<Folders>,
}

impl BatchReader for HiveBatches {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        self.inner.next_batch()?.map(|batch| self.folders.complete(batch)).transpose()
    }
}

impl Folders {
    fn complete(&self, batch: Batch) -> Result<Batch, SourceError> {
        let rows = batch.rows.num_rows();
        let fail = |code, message: String| SourceError { name: self.name.clone(), position: None, code, message };
        let columns = self.columns.iter().map(|column| match column {
            Column::Constant(array) if rows <= array.len() => Ok(array.slice(0, rows)),
            Column::Constant(_) => Err(fail(
                ErrorCode::Internal,
                format!("a batch of {rows} rows is larger than the limit of {BATCH_ROWS}"),
            )),
            Column::OfFile(index) => match batch.rows.columns().get(*index) {
                Some(array) => Ok(Arc::clone(array)),
                None => Err(fail(ErrorCode::Internal, "a batch has fewer columns than were requested".to_owned())),
            },
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| fail(ErrorCode::SchemaMismatch, error.to_string()))?;
        Ok(Batch { rows, ..batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{OnBad, SourceFormat};
    use crate::source::Codec;
    use crate::source::{Positions, WholeFile};
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    fn file(name: &str) -> SourceFile {
        SourceFile {
            at: std::path::PathBuf::from(name).into(),
            name: name.to_owned(),
            bytes: 0,
            modified: jiff::Timestamp::UNIX_EPOCH,
            etag: None,
            format: SourceFormat::Csv,
            codec: Codec::Plain,
            hive: keys_of(name),
        }
    }

    fn names(files: &[&str], setting: Option<bool>, file_columns: &[&str]) -> Result<Vec<String>, HiveError> {
        let files: Vec<_> = files.iter().map(|n| file(n)).collect();
        let fields: Vec<_> = file_columns.iter().map(|c| Field::new(*c, DataType::Int32, true)).collect();
        columns(&files, setting, &Schema::new(fields)).map(|f| f.into_iter().map(|f| f.name().clone()).collect())
    }

    struct OneBatch(Option<RecordBatch>);

    impl BatchReader for OneBatch {
        fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
            Ok(self.0.take().map(|rows| Batch {
                rows,
                unit: 3,
                positions: Positions::From(1),
                rejected: Vec::new(),
                outside: 0,
            }))
        }
    }

    fn read(name: &str, fields: Vec<Field>, keys: &[&str]) -> Result<Batch, SourceError> {
        let request = ReadRequest {
            file: file(name),
            schema: Arc::new(Schema::new(fields)),
            units: vec![0],
            on_bad_rows: OnBad::Fail,
            records: None,
            within: None,
        };
        let keys: Vec<_> = keys.iter().map(|k| (*k).to_owned()).collect();
        let mut reader = open(request, &keys, |inner| {
            let columns: Vec<ArrayRef> =
                inner.schema.fields().iter().map(|_| Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(2));
            let rows = RecordBatch::try_new_with_options(inner.schema, columns, &options).expect("batch");
            Ok(Box::new(WholeFile(Some(Box::new(OneBatch(Some(rows)))))))
        })?;
        let mut chunk = reader.next_chunk()?.expect("one chunk");
        chunk.batches.next_batch().map(|b| b.expect("one batch"))
    }

    #[test]
    fn folders_are_decoded_and_file_names_are_not_keys() {
        let pairs = |name| keys_of(name).into_iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>();
        assert_eq!(pairs("region=eu/d%3D1=a%2Fb%20c/x=y.csv"), ["region:eu", "d=1:a/b c"]);
        assert_eq!(pairs("a=b=c/=x/plain/k=/f.csv"), ["a:b=c", "k:"]);
        assert_eq!(pairs("k=100%/k2=%zz%4/k3=%ff/f.csv"), ["k:100%", "k2:%zz%4", "k3:%ff"]);
        assert_eq!(pairs("k=v.csv"), [""; 0]);
    }

    #[test]
    fn automatic_columns_need_the_same_keys_everywhere_and_no_column_of_that_name() {
        assert_eq!(names(&["r=eu/y=1/a", "r=us/y=2/a"], None, &["x"]), Ok(vec!["r".into(), "y".into()]));
        assert_eq!(names(&["r=eu/a", "a"], None, &[]), Ok(vec![]));
        assert_eq!(names(&["r=eu/a", "r=us/y=2/a"], None, &[]), Ok(vec![]));
        assert_eq!(names(&["r=eu/a"], None, &["r"]), Ok(vec![]));
        assert_eq!(names(&["r=eu/r=us/a"], None, &[]), Ok(vec![]));
        assert_eq!(names(&["r=eu/a"], Some(false), &[]), Ok(vec![]));
        assert_eq!(names(&[], None, &[]), Ok(vec![]));
    }

    #[test]
    fn demanded_columns_are_the_union_and_conflicts_are_errors() {
        assert_eq!(names(&["r=eu/a", "y=2/a"], Some(true), &[]), Ok(vec!["r".into(), "y".into()]));
        assert!(matches!(names(&["r=eu/a"], Some(true), &["r"]), Err(HiveError::AlsoInFile { .. })));
        assert!(matches!(names(&["r=eu/r=us/a"], Some(true), &[]), Err(HiveError::Twice { .. })));
    }

    #[test]
    fn constants_stand_where_they_were_asked_for() {
        let fields = vec![
            Field::new("region", DataType::Utf8View, true),
            Field::new("n", DataType::Int32, true),
            Field::new("year", DataType::Int32, true),
            Field::new("void", DataType::Utf8View, true),
            Field::new("absent", DataType::Utf8View, true),
        ];
        let name = "region=eu-central-1-a/year=2026/void=__HIVE_DEFAULT_PARTITION__/x";
        let batch = read(name, fields, &["region", "year", "void", "absent"]).expect("read");
        assert_eq!(batch.unit, 3);
        assert_eq!(batch.rows.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["eu-central-1-a"; 2]);
        assert_eq!(batch.rows.column(1).as_primitive::<Int32Type>().values(), &[1, 2]);
        assert_eq!(batch.rows.column(2).as_primitive::<Int32Type>().values(), &[2026, 2026]);
        assert_eq!((batch.rows.column(3).null_count(), batch.rows.column(4).null_count()), (2, 2));
    }

    #[test]
    fn a_request_of_constants_alone_keeps_the_number_of_rows() {
        let batch = read("r=eu/x", vec![Field::new("r", DataType::Utf8View, true)], &["r"]).expect("read");
        assert_eq!(batch.rows.num_rows(), 2);
    }

    #[test]
    fn a_folder_that_is_not_of_the_declared_type_is_a_mismatch() {
        let error = read("year=x/a", vec![Field::new("year", DataType::Int32, true)], &["year"]).expect_err("refused");
        assert_eq!(error.code, ErrorCode::SchemaMismatch);
        assert!(error.message.contains("year"), "{error}");
    }
}
