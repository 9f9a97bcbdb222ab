//! Some rows of a Parquet shard: only row groups that hold them are decoded, and of these only the rows.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use serde_json::value::RawValue;

use super::RowError;
use crate::audit::verify::Pages;
use crate::encode::{Encoded, Encoder, ParquetKeys};
use crate::job::{Compression, Format};
use crate::logical::uuid;
use crate::seal::PlainFile;

/// The rows as NDJSON would have them.
pub(super) fn rows(
    file: PlainFile,
    wanted: &[u64],
    keys: Option<&Arc<ParquetKeys>>,
) -> Result<Vec<Box<RawValue>>, RowError> {
    // The decoder is built for files that are what they say; on others it may panic.
    catch_unwind(AssertUnwindSafe(|| decode(file, wanted, keys)))
        .unwrap_or_else(|_| Err(RowError::Contents("cannot be decoded as Parquet".to_owned())))
}

fn decode(file: PlainFile, wanted: &[u64], keys: Option<&Arc<ParquetKeys>>) -> Result<Vec<Box<RawValue>>, RowError> {
    let mut options = ArrowReaderOptions::new();
    if let Some(keys) = keys {
        options = options.with_file_decryption_properties(keys.decryption().map_err(|error| wrong(&error))?);
    }
    let pages = Pages::new(file)?;
    let metadata = ArrowReaderMetadata::load(&pages, options).and_then(uuid::marked).map_err(|error| wrong(&error))?;
    let batch_rows = pages.batch_rows(metadata.metadata()).map_err(|error| wrong(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(pages, metadata).with_batch_size(batch_rows);
    let mut groups = Vec::new();
    // Rows of the chosen row groups, counted as if there were no others.
    let mut ranges = Vec::new();
    let (mut first, mut chosen_rows) = (0_u64, 0_usize);
    for (index, group) in builder.metadata().row_groups().iter().enumerate() {
        let group_rows = u64::try_from(group.num_rows()).map_err(|error| wrong(&error))?;
        let end = first.saturating_add(group_rows);
        let inside: Vec<u64> = wanted.iter().copied().filter(|row| (first..end).contains(row)).collect();
        if !inside.is_empty() {
            groups.push(index);
            for row in inside {
                let at = chosen_rows + usize::try_from(row - first).map_err(|error| wrong(&error))?;
                ranges.push(at..at + 1);
            }
            chosen_rows += usize::try_from(group_rows).map_err(|error| wrong(&error))?;
        }
        first = end;
    }
    let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), chosen_rows);
    let schema = Arc::new(uuid::text_schema(builder.schema()));
    let reader =
        builder.with_row_groups(groups).with_row_selection(selection).build().map_err(|error| wrong(&error))?;
    let encoder = Encoder::new(&Format::NDJSON, Compression::None, schema).map_err(|error| wrong(&error))?;
    let encoder = Arc::new(encoder);
    let mut shard = encoder.start(Vec::new());
    let mut encoded = Encoded::default();
    for batch in reader {
        let batch = batch.and_then(|batch| uuid::as_text(&batch)).map_err(|error| wrong(&error))?;
        let rows: Vec<u32> = (0..).take(batch.num_rows()).collect();
        encoder.encode(&batch, &rows, &mut encoded).map_err(|error| wrong(&error))?;
        shard.append(&encoded, 0..rows.len()).map_err(|error| wrong(&error))?;
    }
    let text = shard.finish().map_err(|error| wrong(&error))?;
    serde_json::Deserializer::from_slice(&text).into_iter().collect::<Result<_, _>>().map_err(|error| wrong(&error))
}

fn wrong(error: &dyn fmt::Display) -> RowError {
    RowError::Contents(format!("cannot be decoded as Parquet: {error}"))
}
