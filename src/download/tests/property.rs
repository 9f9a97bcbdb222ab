//! However rows are split into shards, joining gives what one shard of them is.

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = proptest::option::of("[a-c\"\n\r,;\\[\\]{}\\\\ \u{feff}é]{0,9}");
    proptest::collection::vec((any::<i64>(), text), 0..40)
}

fn batches(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn joining_shards_is_the_inverse_of_splitting_rows(
        rows in rows(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        (bom, header, which) in (any::<bool>(), any::<bool>(), 0..4),
        ending in proptest::sample::select(vec!["", ".gz", ".zst"]),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len() + 1)).chain([0, rows.len()]).collect();
        cuts.sort_unstable();
        let split: Vec<Vec<Row>> = cuts.windows(2).map(|ends| rows[ends[0]..ends[1]].to_vec()).collect();
        let format = match which {
            0 => Format::Csv(CsvFormat { bom, header, ..CsvFormat::default() }),
            1 => Format::NDJSON,
            2 => Format::Json,
            _ => Format::Parquet,
        };
        let is_parquet = matches!(format, Format::Parquet);
        let ending = if is_parquet { "" } else { ending };
        let package = Sample::rows(&format, ending, &split);
        let path = package.join(&format!("all.{}{ending}", format.name())).unwrap().path;
        if is_parquet {
            let whole = package.out("whole");
            fs::write(&whole, encode(&format, &rows)).unwrap();
            prop_assert_eq!(batches(&path), batches(&whole));
        } else {
            prop_assert_eq!(plain(&path), encode(&format, &rows));
        }
    }
}
