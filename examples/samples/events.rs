//! Gateway decisions: two Parquet files, each across the end of a month, with several row groups. The second has a column
//! that the first does not know.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Failure, Random, SECOND, TEXTS, instants};

/// 2026-03-16T12:00:00Z: the second file begins.
const SECOND_FILE: i64 = 1_773_662_400 * SECOND;

#[derive(Default)]
struct Columns {
    event_id: Vec<String>,
    occurred_at: Vec<i64>,
    status: Vec<&'static str>,
    kb_id: Vec<Option<String>>,
    actor_user_id: Vec<Option<String>>,
    session_id: Vec<String>,
    team: Vec<&'static str>,
    policy: Vec<Option<&'static str>>,
    provider: Vec<&'static str>,
    model: Vec<&'static str>,
    latency_ms: Vec<Option<i32>>,
    tokens: Vec<Option<i64>>,
    cost_usd: Vec<Option<i128>>,
    cached: Vec<Option<bool>>,
    message: Vec<Option<&'static str>>,
    email: Vec<Option<String>>,
    role: Vec<&'static str>,
    risk: Vec<Option<i32>>,
}

/// The files.
pub(crate) fn files() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut random = Random(1);
    let (mut first, mut second) = (Columns::default(), Columns::default());
    for (row, at) in instants(&mut random, 480)?.into_iter().enumerate() {
        let columns = if at < SECOND_FILE { &mut first } else { &mut second };
        columns.push(row, at, &mut random);
    }
    Ok(vec![
        ("events/events-0001.parquet".to_owned(), first.write(false)?),
        ("events/events-0002.parquet".to_owned(), second.write(true)?),
    ])
}

impl Columns {
    fn push(&mut self, row: usize, at: i64, random: &mut Random) {
        let status = random.pick(&["allowed", "allowed", "allowed", "blocked", "escalated", "redacted"]);
        let provider = random.pick(&["anthropic", "openai", "mistral"]);
        self.event_id.push(format!("evt_{row:06}"));
        self.occurred_at.push(at);
        self.status.push(status);
        self.kb_id.push((!random.one_in(4)).then(|| format!("kb-{:03}", random.below(12))));
        self.actor_user_id.push((!random.one_in(20)).then(|| random.uuid(25)));
        self.session_id.push(format!("{:08}", random.below(60) * 1_001));
        self.team.push(random.pick(&["payments", "support", "research", "Müller & Söhne"]));
        self.policy.push((status != "allowed").then(|| random.pick(&["pii", "secrets", "prompt-injection"])));
        self.provider.push(provider);
        self.model.push(match provider {
            "anthropic" => "claude-sonnet",
            "openai" => "gpt-4o",
            _ => "mistral-large",
        });
        self.latency_ms.push((!random.one_in(30)).then(|| i32::try_from(random.below(30_000)).unwrap_or_default()));
        // Once in a while more than a double can count.
        self.tokens.push(match random.below(40) {
            0 => None,
            1 => Some((1 << 53) + 1),
            2 => Some(i64::MAX),
            _ => Some(random.below(8_000)),
        });
        self.cost_usd.push((!random.one_in(25)).then(|| i128::from(random.below(2_000_000))));
        self.cached.push((!random.one_in(10)).then(|| random.one_in(3)));
        self.message.push((!random.one_in(3)).then(|| random.pick(&TEXTS)));
        self.email.push((!random.one_in(5)).then(|| format!("user{}@example.com", random.below(25))));
        self.role.push(random.pick(&["analyst", "admin", "service"]));
        self.risk.push((!random.one_in(6)).then(|| i32::try_from(random.below(101)).unwrap_or_default()));
    }

    fn write(self, with_risk: bool) -> Result<Vec<u8>, Failure> {
        let text = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
        let user_fields =
            Fields::from(vec![Field::new("email", DataType::Utf8, true), Field::new("role", DataType::Utf8, false)]);
        let user = StructArray::try_new(
            user_fields.clone(),
            vec![Arc::new(StringArray::from(self.email)), text(self.role)],
            None,
        )?;
        let metadata_fields = Fields::from(vec![Field::new("user", DataType::Struct(user_fields), false)]);
        let metadata = StructArray::try_new(metadata_fields, vec![Arc::new(user)], None)?;
        let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("event_id", Arc::new(StringArray::from(self.event_id)), false),
            ("occurred_at", Arc::new(TimestampNanosecondArray::from(self.occurred_at).with_timezone("UTC")), false),
            ("status", text(self.status), false),
            ("kb_id", Arc::new(StringArray::from(self.kb_id)), true),
            ("actor_user_id", Arc::new(StringArray::from(self.actor_user_id)), true),
            ("session_id", Arc::new(StringArray::from(self.session_id)), false),
            ("team", text(self.team), false),
            ("policy", Arc::new(StringArray::from(self.policy)), true),
            ("provider", text(self.provider), false),
            ("model", text(self.model), false),
            ("latency_ms", Arc::new(Int32Array::from(self.latency_ms)), true),
            ("tokens", Arc::new(Int64Array::from(self.tokens)), true),
            ("cost_usd", Arc::new(Decimal128Array::from(self.cost_usd).with_precision_and_scale(12, 6)?), true),
            ("cached", Arc::new(BooleanArray::from(self.cached)), true),
            ("message", Arc::new(StringArray::from(self.message)), true),
            ("metadata", Arc::new(metadata), false),
        ];
        if with_risk {
            columns.push(("risk_score", Arc::new(Int32Array::from(self.risk)), true));
        }
        let fields: Vec<_> = columns.iter().map(|(n, a, null)| Field::new(*n, a.data_type().clone(), *null)).collect();
        let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        let properties = WriterProperties::builder()
            .set_created_by("kt-export samples".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(100))
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(bytes)
    }
}
