//! Spans: gzipped NDJSON, one file for each month of UTC, as `path_time` likes it. Attributes differ from span to span.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::{Compression, GzBuilder};

use super::record::{Record, quoted};
use super::{Failure, Random, TEXTS, instants, rfc3339};

/// The files.
pub(crate) fn files() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut random = Random(2);
    let mut months: BTreeMap<String, String> = BTreeMap::new();
    for at in instants(&mut random, 400)? {
        let started_at = rfc3339(at)?;
        let month = started_at.get(..7).unwrap_or_default().to_owned();
        let lines = months.entry(month).or_default();
        lines.push_str(&span(&mut random, &started_at));
        lines.push('\n');
    }
    let files = months.into_iter().map(|(month, lines)| {
        // No modification time and no name in the header, so that the bytes say nothing of the machine.
        let mut gzip = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::new(6));
        gzip.write_all(lines.as_bytes())?;
        Ok((format!("traces/{month}.ndjson.gz"), gzip.finish()?))
    });
    files.collect()
}

fn span(random: &mut Random, started_at: &str) -> String {
    let service = random.pick(&["gateway", "retriever", "classifier", "billing"]);
    let parent = (!random.one_in(3)).then(|| format!("{:016x}", random.next()));
    // Durations beyond 2^53 come from clocks that were set while the span was open.
    let duration_ns =
        if random.one_in(50) { (1 << 53) + 1 + random.below(1 << 60) } else { random.below(90_000_000_000) };
    let mut record = Record::new()
        .text("span_id", &format!("{:016x}", random.next()))
        .text("trace_id", &format!("{:016x}{:016x}", random.below(90), random.below(90)))
        .maybe("parent_id", parent.as_deref())
        .text("service", service)
        .text("name", random.pick(&["POST /v1/chat", "embed", "SELECT documents", "classify: 確認"]))
        .text("status", random.pick(&["ok", "ok", "ok", "error"]))
        .maybe("session_id", (!random.one_in(6)).then(|| format!("{:08}", random.below(60) * 1_001)).as_deref())
        .text("started_at", started_at)
        .integer("duration_ns", duration_ns)
        .json("attributes", &attributes(random, service));
    // A key that only late and few spans have.
    if started_at > "2026-03-20" && random.one_in(20) {
        record = record.text("sampling_reason", random.pick(&["latency", "error", "tail"]));
    }
    record.end()
}

/// An object whose keys depend on the service and whose values change their type.
fn attributes(random: &mut Random, service: &str) -> String {
    match service {
        "gateway" => Record::new()
            .json("http.status_code", if random.one_in(9) { "\"504\"" } else { "200" })
            .text("user_agent", "curl/8.5.0")
            .end(),
        "retriever" => {
            let documents: Vec<_> = (0..random.below(4)).map(|n| quoted(&format!("doc-{n:04}"))).collect();
            Record::new().json("documents", &format!("[{}]", documents.join(","))).integer("k", random.below(20)).end()
        }
        "classifier" => Record::new()
            .json("score", if random.one_in(4) { "1" } else { "0.8125" })
            .text("label", random.pick(&TEXTS))
            .end(),
        _ => Record::new().json("amount", "12345678901234567.89").json("retry", "null").end(),
    }
}
