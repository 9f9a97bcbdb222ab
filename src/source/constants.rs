//! Completes batches with columns whose value is the same in all rows of an input, such as those of `k=v` folders.
//!
//! Readers do not see these values, which exist only in [`Input::constants`](super::Input::constants). They are text unless
//! the catalog declares a type, which uses the same exact conversion as columns that are read.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray, StringViewBuilder, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::formats::columnar::adapt::{AdaptError, adapt};
use super::{BATCH_ROWS, Batch, ChunkReader, ReadRequest, SourceError, map_batches};
use crate::error::ErrorCode;

/// Opens an input whose schema may include constants. `open` reads the other columns.
///
/// # Errors
/// Those of `open`; [`ErrorCode::SchemaMismatch`] if a constant is not of the requested type.
pub(super) fn open(
    request: ReadRequest<'_>,
    open: impl FnOnce(ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError>,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    let is_constant = |field: &Field| request.constants.contains(field.name());
    if !request.schema.fields().iter().any(|field| is_constant(field)) {
        return open(request);
    }
    let name = request.input.name();
    let mut columns = Vec::with_capacity(request.schema.fields().len());
    let mut read = Vec::new();
    for field in request.schema.fields() {
        if is_constant(field) {
            let array = constant(request.input.constant(field.name()), field).map_err(|error| SourceError {
                name: name.to_owned(),
                position: None,
                code: ErrorCode::SchemaMismatch,
                message: format!("{error}; correct the column's type in `schema`, or the folder's name"),
            })?;
            columns.push(Column::Constant(array));
        } else {
            columns.push(Column::Read(read.len()));
            read.push(Arc::clone(field));
        }
    }
    let layout = Layout { schema: Arc::clone(&request.schema), columns, name: name.to_owned() };
    let schema = Arc::new(Schema::new_with_metadata(read, layout.schema.metadata().clone()));
    let inner = open(ReadRequest { schema, ..request })?;
    Ok(map_batches(inner, move |batch| layout.complete(batch)))
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
    /// [`BATCH_ROWS`] equal values.
    Constant(ArrayRef),
    /// Index in the batches that are read.
    Read(usize),
}

/// The requested columns of one input.
struct Layout {
    schema: SchemaRef,
    columns: Vec<Column>,
    name: String,
}

impl Layout {
    fn complete(&self, batch: Batch) -> Result<Batch, SourceError> {
        let rows = batch.rows.num_rows();
        let fail = |code, message: String| SourceError { name: self.name.clone(), position: None, code, message };
        let columns = self.columns.iter().map(|column| match column {
            Column::Constant(array) if rows <= array.len() => Ok(array.slice(0, rows)),
            Column::Constant(_) => Err(fail(
                ErrorCode::Internal,
                format!("a batch of {rows} rows is larger than the limit of {BATCH_ROWS}"),
            )),
            Column::Read(index) => match batch.rows.columns().get(*index) {
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
    use crate::job::OnBad;
    use crate::source::files::hive::tests::input;
    use crate::source::{BatchReader, OneChunk, Positions};
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::{DataType, Int32Type};

    struct OneBatch(Option<RecordBatch>);

    impl BatchReader for OneBatch {
        fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
            Ok(self.0.take().map(|rows| Batch {
                rows,
                positions: Positions::From(1),
                rejected: Vec::new(),
                outside: 0,
            }))
        }
    }

    fn read(name: &str, fields: Vec<Field>, keys: &[&str]) -> Result<Batch, SourceError> {
        let constants: Vec<_> = keys.iter().map(|k| (*k).to_owned()).collect();
        let request = ReadRequest {
            input: &input(name),
            constants: &constants,
            schema: Arc::new(Schema::new(fields)),
            units: vec![0],
            on_bad_rows: OnBad::Fail,
            within: None,
        };
        let mut reader = open(request, |inner| {
            let columns: Vec<ArrayRef> =
                inner.schema.fields().iter().map(|_| Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(2));
            let rows = RecordBatch::try_new_with_options(inner.schema, columns, &options).expect("batch");
            Ok(Box::new(OneChunk(Some(Box::new(OneBatch(Some(rows)))))))
        })?;
        let mut chunk = reader.next_chunk()?.expect("one chunk");
        chunk.batches.next_batch().map(|b| b.expect("one batch"))
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
