//! The public interface of predicates: mistakes in filters, failures, memory, threads.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::datatypes::Field;

use super::*;
use crate::diagnostic::{SourceText, Span};
use crate::job::{Condition, Scalar};

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("status", DataType::Utf8View, true),
        Field::new("latency_ms", DataType::Int64, true),
        Field::new("blocked", DataType::Boolean, true),
        Field::new("raw", DataType::Binary, true),
    ])
}

fn filter(column: &str, condition: Condition) -> Filter {
    let source = Arc::new(SourceText { path: "spec.yaml".into(), text: format!("  {column}: condition") });
    let span = |start, end| Some(Span { source: source.clone(), start, end });
    Filter {
        column: Located { value: column.to_owned(), span: span(2, 2 + column.len()) },
        key: column.to_owned(),
        condition: Located { value: condition, span: span(4 + column.len(), 13 + column.len()) },
    }
}

fn number(value: i64) -> Scalar {
    Scalar::Number(value.into())
}

fn text(value: &str) -> Scalar {
    Scalar::Text(value.to_owned())
}

#[test]
fn nothing_to_check_is_no_predicate() {
    assert!(Predicate::compile(&[], None, &schema()).unwrap().is_none());
}

#[test]
fn mistakes_in_filters_are_all_reported_at_key_or_condition() {
    let filters = [
        filter("statuss", Condition::IsNull(true)),
        filter("status", Condition::Eq(number(7))),
        filter("status", Condition::In(vec![text("a"), Scalar::Bool(true)])),
        filter("latency_ms", Condition::Gt(text("500"))),
        filter("latency_ms", Condition::Contains("5".into())),
        filter("blocked", Condition::Eq(text("true"))),
        filter("blocked", Condition::Lt(Scalar::Bool(true))),
        filter("raw", Condition::Eq(text("x"))),
        filter("status", Condition::Matches("(".into())),
        filter("status", Condition::Matches("(a{1000}){1000}".into())),
        filter("status", Condition::Matches("(?=a)".into())),
    ];
    let sql = Located::default_value("nope = 1".to_owned());
    let found = Predicate::compile(&filters, Some(&sql), &schema()).unwrap_err();
    let told: Vec<_> = found
        .iter()
        .map(|d| {
            let shown = d.span.as_ref().map_or("", |s| &s.source.text[s.start..s.end]);
            format!("{} [{shown}] {}", d.message, d.help.as_deref().unwrap_or_default())
        })
        .collect();
    let quotes = "compare it with text: put the value in quotes";
    let numbers = "text is compared character by character, so that '10' is less than '9': to compare numbers, declare the column \
                of text in `schema` as number, float64 or decimal(p,s); to compare text, put the constant in quotes";
    let plain = "compare it with a number, without quotes";
    let bools = "compare it with true or false, without quotes";
    let syntax = "the syntax is that of the Rust crate `regex`, without look-around and backreferences";
    assert_eq!(
        told,
        [
            "the source has no column `statuss` [statuss] did you mean `status`?".to_owned(),
            format!("`status` is text and cannot be compared with the number 7 [condition] {numbers}"),
            format!("`status` is text and cannot be compared with true [condition] {quotes}"),
            format!("`latency_ms` is int64 and cannot be compared with the text '500' [condition] {plain}"),
            format!("`contains` needs a text column, not `latency_ms`, which is int64 [condition] {plain}"),
            format!("`blocked` is bool and cannot be compared with the text 'true' [condition] {bools}"),
            "`blocked`, which is bool, has no order [condition] compare true and false with `=`, `<>` or `in` (in \
             filters: eq, ne, in, not_in)"
                .to_owned(),
            "`raw` is binary and cannot be compared with the text 'x' [condition] only `is_null` (in `where`: IS NULL, \
             IS NOT NULL) can test it"
                .to_owned(),
            format!("the regular expression does not parse: unclosed group [condition] {syntax}"),
            "the pattern is too large [condition] compiled, it may have 4 MiB: use smaller repetitions or shorter text"
                .to_owned(),
            format!(
                "the regular expression does not parse: look-around, including look-ahead and look-behind, is not \
                 supported [condition] {syntax}"
            ),
            "the source has no column `nope` [] the columns are: status, latency_ms, blocked, raw".to_owned(),
        ]
    );
}

#[test]
fn a_number_means_the_float32_that_a_package_shows_as_that_number() {
    use arrow::array::{Float16Array, Float32Array};
    let shown = ["0.1", "0.3", "16777216.0", "-0.1"];
    let singles = Float32Array::from_iter_values(shown.map(|text| text.parse::<f32>().unwrap()));
    let halves = arrow::compute::cast(&singles, &DataType::Float16).unwrap();
    let doubles = arrow::compute::cast(&singles, &DataType::Float64).unwrap();
    let batch = RecordBatch::try_from_iter([("f32", Arc::new(singles) as ArrayRef), ("f16", halves), ("f64", doubles)])
        .unwrap();
    let selected = |filters: &[Filter], sql: Option<&str>| -> Vec<&str> {
        let sql = sql.map(|sql| Located::default_value(sql.to_owned()));
        let predicate = Predicate::compile(filters, sql.as_ref(), &batch.schema()).unwrap().unwrap();
        let mask = predicate.evaluate(&batch).unwrap();
        shown.iter().zip(mask.kept()).filter_map(|(text, holds)| holds.then_some(*text)).collect()
    };
    let float = |text: &str| Scalar::Number(text.parse().unwrap());
    let by = |condition| selected(&[filter("f32", condition)], None);
    for text in shown {
        assert_eq!(by(Condition::Eq(float(text))), [text]);
        assert_eq!(selected(&[], Some(&format!("f32 = {text}"))), [text]);
    }
    assert_eq!(by(Condition::In(vec![float("0.1"), float("0.3")])), ["0.1", "0.3"]);
    assert_eq!(by(Condition::NotIn(vec![float("0.1"), float("0.3")])), ["16777216.0", "-0.1"]);
    assert_eq!(by(Condition::Between(float("0.1"), float("0.3"))), ["0.1", "0.3"]);
    assert_eq!(by(Condition::Gt(float("0.1"))), ["0.3", "16777216.0"]);
    assert_eq!(by(Condition::Lte(float("0.1"))), ["0.1", "-0.1"]);
    assert_eq!(by(Condition::Lt(float("1e39"))), shown, "beyond float32 is greater than all of it");
    assert_eq!(by(Condition::Eq(float("1e39"))), [""; 0]);
    // A half is shown as the single that it is.
    let half = Float16Array::from(batch.column(1).to_data()).value(0).to_f32();
    assert_eq!(selected(&[], Some(&format!("f16 = {half}"))), ["0.1"]);
    // A float64 is not rounded, and columns keep their values.
    assert_eq!(selected(&[], Some("f64 = 0.1")), [""; 0]);
    assert_eq!(selected(&[], Some("f64 = f32")), shown);
}

fn rows(count: i64) -> RecordBatch {
    let status: StringViewArray =
        (0..count).map(|i| (i % 7 != 0).then(|| format!("status number {}", i % 5))).collect();
    let latency: Int64Array = (0..count).map(|i| (i % 11 != 0).then_some(i % 1000)).collect();
    RecordBatch::try_from_iter([
        ("status", Arc::new(status) as ArrayRef),
        ("latency_ms", Arc::new(latency) as ArrayRef),
    ])
    .unwrap()
}

/// For each row the test that leaves it out, and the columns that are read.
fn left_out(filters: &[Filter], sql: Option<&str>) -> (Vec<Option<usize>>, Vec<String>) {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("status", Arc::new(StringViewArray::from(vec![Some("a"), Some("b"), None, Some("a")])) as ArrayRef, true),
        ("latency_ms", Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(9), None])) as ArrayRef, true),
    ]);
    let batch = batch.unwrap();
    let sql = sql.map(|sql| Located::default_value(sql.to_owned()));
    let predicate = Predicate::compile(filters, sql.as_ref(), &schema()).unwrap().unwrap();
    assert_eq!(predicate.tests(), filters.len() + usize::from(sql.is_some()));
    let selection = predicate.evaluate(&batch).unwrap();
    let by: Vec<_> = (0..4).map(|row| selection.left_out_by(row)).collect();
    assert_eq!(selection.kept(), &by.iter().map(Option::is_none).collect());
    (by, predicate.columns().to_vec())
}

#[test]
fn a_row_is_left_out_by_the_first_filter_that_is_false_or_null_of_it() {
    let is_a = || filter("status", Condition::Eq(text("a")));
    let is_slow = || filter("latency_ms", Condition::Gte(number(5)));
    let both = ["status", "latency_ms"].map(str::to_owned);
    assert_eq!(left_out(&[is_a(), is_slow()], None).0, [Some(1), Some(0), Some(0), Some(1)]);
    assert_eq!(left_out(&[is_slow(), is_a()], None).0, [Some(0), Some(0), Some(1), Some(0)]);
    assert_eq!(left_out(&[is_a()], Some("latency_ms < 5")), (vec![None, Some(0), Some(0), Some(1)], both.to_vec()));
    // False and null is false, null and true is null: both are the first filter's.
    assert_eq!(left_out(&[is_a()], Some("latency_ms IS NULL")).0, [Some(1), Some(0), Some(0), None]);
}

#[test]
fn what_is_the_same_for_all_rows_counts_in_its_turn_and_nothing_after_it_is_read() {
    let is_a = filter("status", Condition::Eq(text("a")));
    let (by, columns) = left_out(std::slice::from_ref(&is_a), Some("1 = 2"));
    assert_eq!((by, columns), (vec![Some(1), Some(0), Some(0), Some(1)], vec!["status".to_owned()]));
    let never = filter("latency_ms", Condition::In(vec![Scalar::Number(serde_json::Number::from_f64(1.5).unwrap())]));
    let (by, columns) = left_out(&[never, is_a.clone()], Some("latency_ms > 0"));
    if columns.is_empty() {
        assert_eq!(by, [Some(0); 4]);
    } else {
        assert_eq!((by, columns), (vec![Some(0); 4], vec!["latency_ms".to_owned(), "status".to_owned()]));
    }
    assert_eq!(left_out(&[is_a], Some("1 = 1")).0, [None, Some(0), Some(0), None]);
    assert_eq!(left_out(&[], Some("NULL")), (vec![Some(0); 4], vec![]));
}

fn busy_predicate() -> Predicate {
    let filters = [
        filter("status", Condition::In(vec![text("status number 1"), text("status number 3")])),
        filter("latency_ms", Condition::Between(number(100), number(900))),
        filter("status", Condition::Matches("number [0-9]$".into())),
    ];
    let sql = Located::default_value("latency_ms * 2 > 300 OR status LIKE '%3' OR latency_ms / 7 < 2".to_owned());
    Predicate::compile(&filters, Some(&sql), &schema()).unwrap().unwrap()
}

#[test]
fn a_predicate_names_each_column_once_and_is_shared_by_threads() {
    fn shared<T: Send + Sync + Clone>(value: &T) -> T {
        value.clone()
    }
    assert_eq!(shared(&busy_predicate()).columns(), ["status", "latency_ms"]);
}

#[test]
fn a_batch_that_is_not_as_planned_is_an_error() {
    let predicate = busy_predicate();
    let missing = rows(3).project(&[0]).unwrap();
    let error = predicate.evaluate(&missing).unwrap_err();
    assert_eq!(error.to_string(), "the batch has no column `latency_ms`");
    assert_eq!(error.code(), ErrorCode::SchemaMismatch);
    let other = RecordBatch::try_from_iter([("status", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let error = predicate.evaluate(&other).unwrap_err();
    assert_eq!(error.to_string(), "column `status` is Int64, but Utf8View was planned");
    assert_eq!(predicate.evaluate(&rows(0)).unwrap().kept().len(), 0);
}

#[test]
fn a_panic_below_is_an_error_and_the_next_batch_works() {
    let error = guarded::<()>(|| panic!("index {} out of bounds", 7)).unwrap_err();
    assert_eq!(error.to_string(), "the query engine panicked: index 7 out of bounds");
    assert_eq!(error.code(), ErrorCode::Internal);
    // A panic on one of polars' own threads comes back to the caller, too.
    use polars::prelude::{Column, IntoLazy as _, NamedFrom as _, Series, col};
    let error = guarded(|| {
        let column: Column = Series::new("x".into(), [1i64, 2]).into();
        let frame = polars::prelude::DataFrame::new(2, vec![column]).map_err(QueryError::Engine)?;
        let panics = col("x").map(|_| panic!("inside"), |_, field| Ok(field.clone()));
        let both = panics.clone().eq(panics);
        frame.lazy().select([both]).collect().map_err(QueryError::Engine)
    });
    assert!(matches!(error, Err(QueryError::Panicked { message }) if message == "inside"));
    assert_eq!(busy_predicate().evaluate(&rows(10)).unwrap().kept().len(), 10);
}

thread_local! {
    /// Jobs of ours that this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn evaluating_on_broadcast_workers_never_runs_another_job_on_the_same_thread() {
    const THREADS: usize = 4;
    const JOBS: usize = 400;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().unwrap();
    let predicate = busy_predicate();
    let (small, large) = (rows(64), rows(8192));
    let expected = (predicate.evaluate(&small).unwrap(), predicate.evaluate(&large).unwrap());
    let (next, nested, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    // Two broadcasts in turn: the second must not start on a thread that waits inside the first.
    for _ in 0..2 {
        next.store(0, Ordering::SeqCst);
        pool.broadcast(|_| {
            loop {
                let job = next.fetch_add(1, Ordering::SeqCst);
                if job >= JOBS {
                    return;
                }
                if DEPTH.replace(DEPTH.get() + 1) > 0 {
                    nested.fetch_add(1, Ordering::SeqCst);
                }
                let (batch, mask) = if job % 2 == 0 { (&small, &expected.0) } else { (&large, &expected.1) };
                assert_eq!(&predicate.evaluate(batch).unwrap(), mask);
                DEPTH.set(DEPTH.get() - 1);
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    assert_eq!((nested.into_inner(), done.into_inner()), (0, 2 * JOBS));
}

/// Resident memory in KiB, as Linux counts it.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "takes minutes"]
fn memory_does_not_grow_with_the_number_of_batches() {
    let predicate = busy_predicate();
    let evaluate = |batches: usize| {
        for _ in 0..batches {
            let batch = rows(8192);
            assert!(predicate.evaluate(&batch).unwrap().kept().count_set_bits() > 0);
        }
    };
    evaluate(50);
    let before = resident_kib();
    for _ in 0..4 {
        evaluate(250);
    }
    assert!(resident_kib() < before + 8 * 1024, "{before} KiB became {} KiB", resident_kib());
}
