//! Bytes a second of the text encoders, next to those of the writers of the arrow crates.
//!
//! The rows are events of a gateway as its log has them: ids, times, short texts of few values, numbers, a message and
//! an object as JSON. What the texts of few values are stored as matters: a Parquet reader makes views of a dictionary,
//! which come again (`Stored`), where other sources make a text for each row (`Fresh`). Each writer is measured by what
//! it writes itself; the arrow crates leave out less, so their bytes are not ours.
//!
//! `cargo bench --bench encoders`

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what cannot be encoded cannot be measured, and the numbers are chosen here"
)]

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;
use divan::Bencher;
use divan::counter::BytesCount;
use kt_export::encode::{Encoded, Encoder};
use kt_export::job::{Compression, CsvFormat, Format};

/// Rows of a batch of a source.
const ROWS: usize = 8192;

fn main() {
    divan::main();
}

/// How texts of few values are stored.
#[derive(Debug, Clone, Copy)]
enum Texts {
    Stored,
    Fresh,
}

const TEXTS: [Texts; 2] = [Texts::Stored, Texts::Fresh];

#[divan::bench(args = TEXTS)]
fn csv_kt_export(bencher: Bencher<'_, '_>, texts: Texts) {
    ours(bencher, &Format::Csv(CsvFormat::default()), texts);
}

#[divan::bench(args = TEXTS)]
fn csv_arrow(bencher: Bencher<'_, '_>, texts: Texts) {
    let batch = events(texts);
    theirs(bencher, |out| {
        arrow::csv::WriterBuilder::new().with_header(false).build(out).write(&batch).unwrap();
    });
}

#[divan::bench(args = TEXTS)]
fn ndjson_kt_export(bencher: Bencher<'_, '_>, texts: Texts) {
    ours(bencher, &Format::NDJSON, texts);
}

#[divan::bench(args = TEXTS)]
fn ndjson_arrow(bencher: Bencher<'_, '_>, texts: Texts) {
    let batch = events(texts);
    theirs(bencher, |out| {
        let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
        builder.build::<_, arrow::json::writer::LineDelimited>(out).write(&batch).unwrap();
    });
}

fn ours(bencher: Bencher<'_, '_>, format: &Format, texts: Texts) {
    let batch = events(texts);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let encoder = Arc::new(Encoder::new(format, Compression::None, batch.schema()).unwrap());
    let mut encoded = Encoded::default();
    encoder.encode(&batch, &rows, &mut encoded).unwrap();
    let mut shard = encoder.start(Vec::new());
    let head = shard.encoded_bytes();
    shard.append(&encoded, 0..ROWS).unwrap();
    let bytes = shard.encoded_bytes() - head;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| encoder.encode(&batch, &rows, &mut encoded).unwrap());
}

fn theirs(bencher: Bencher<'_, '_>, write: impl Fn(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    bencher.counter(BytesCount::new(out.len())).bench_local(|| {
        out.clear();
        write(&mut out);
    });
}

/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A batch, the same in every run.
fn events(texts: Texts) -> RecordBatch {
    let random = &mut Random(1);
    let start = 1_769_904_000_000_000;
    let times = (0..ROWS as i64).map(|row| start + row * 777_600).collect::<Vec<_>>();
    let uuid = |n: u64| format!("{n:08x}-0000-4000-8000-{n:012x}");
    let event = |random: &mut Random| format!("{:016x}{:016x}", random.next(), random.next());
    let ip = |random: &mut Random| {
        let mut ip = random.below(256).to_string();
        (0..3).for_each(|_| write!(ip, ".{}", random.below(256)).unwrap());
        ip
    };
    let messages = [
        "request routed to upstream",
        "request routed to upstream after a retry, within its budget of time",
        "blocked: the answer quoted \"internal only\" text",
        "first line\nsecond line",
        "größer als erlaubt",
        "",
    ];
    let metadata: Vec<String> =
        (0..12).map(|n| format!(r#"{{"region":"eu-{}","attempt":{},"tags":["a","b"]}}"#, n % 3, n / 3)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", fresh(random, 0, event)),
        ("occurred_at", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("tenant_id", few(texts, random, 0, &numbered(30, |n| format!("tenant-{n}")))),
        ("actor_user_id", few(texts, random, 0, &numbered(5000, uuid))),
        ("session_id", fresh(random, 30, |random| format!("sess_{:016x}", random.below(1 << 20)))),
        ("kb_id", few(texts, random, 0, &numbered(50, uuid))),
        ("status", few(texts, random, 0, &["allowed", "blocked", "redacted"].map(str::to_owned))),
        ("model", few(texts, random, 0, &["gpt-5", "claude-4", "llama-4"].map(str::to_owned))),
        ("policy", few(texts, random, 0, &numbered(24, |n| format!("policy/topic-{}/v{}", n / 4, n % 4)))),
        ("latency_ms", Arc::new(Int32Array::from_iter_values((0..ROWS).map(|_| random.below(30_000) as i32)))),
        ("prompt_tokens", Arc::new(Int64Array::from_iter_values((0..ROWS).map(|_| random.below(8_000) as i64)))),
        (
            "completion_tokens",
            Arc::new(Int64Array::from_iter(
                (0..ROWS).map(|_| (random.below(8) > 0).then_some(random.below(4_000) as i64)),
            )),
        ),
        (
            "cost_usd",
            Arc::new(
                Decimal128Array::from_iter_values((0..ROWS).map(|_| i128::from(random.below(1_000_000))))
                    .with_precision_and_scale(12, 6)
                    .unwrap(),
            ),
        ),
        (
            "risk_score",
            Arc::new(Float64Array::from_iter_values(
                (0..ROWS).map(|_| (random.next() >> 11) as f64 / (1u64 << 53) as f64),
            )),
        ),
        ("streamed", Arc::new(BooleanArray::from_iter((0..ROWS).map(|_| Some(random.below(2) == 0))))),
        ("client_ip", fresh(random, 0, ip)),
        ("message", few(texts, random, 5, &messages.map(str::to_owned))),
        ("metadata", few(texts, random, 0, &metadata)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn numbered(count: u64, text: impl Fn(u64) -> String) -> Vec<String> {
    (0..count).map(text).collect()
}

/// A text for each row, so many in a hundred of them null.
fn fresh(random: &mut Random, nulls: u64, text: impl Fn(&mut Random) -> String) -> ArrayRef {
    let texts = (0..ROWS).map(|_| (random.below(100) >= nulls).then(|| text(random)));
    Arc::new(StringViewArray::from_iter(texts))
}

/// One of these texts for each row.
fn few(texts: Texts, random: &mut Random, nulls: u64, values: &[String]) -> ArrayRef {
    let any = |random: &mut Random| random.below(values.len() as u64) as usize;
    if let Texts::Fresh = texts {
        return fresh(random, nulls, |random| values[any(random)].clone());
    }
    let mut builder = StringViewBuilder::new();
    let dictionary = builder.append_block(Buffer::from_vec(values.concat().into_bytes()));
    let mut ends = Vec::new();
    for value in values {
        ends.push(ends.last().copied().unwrap_or(0) + value.len() as u32);
    }
    for _ in 0..ROWS {
        let value = any(random);
        if random.below(100) < nulls {
            builder.append_null();
        } else {
            let length = values[value].len() as u32;
            builder.try_append_view(dictionary, ends[value] - length, length).unwrap();
        }
    }
    Arc::new(builder.finish())
}
