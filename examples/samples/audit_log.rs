//! Administrative changes: JSON documents with the records inside (`Records`), as cloud audit logs deliver them, some of them
//! pretty-printed. What changed has the type of what changed.

use super::record::{Record, quoted};
use super::{Failure, Random, TEXTS, instants, rfc3339};

/// Records of one document.
const RECORDS: usize = 70;

/// The files.
pub(crate) fn files() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut random = Random(4);
    let mut records = Vec::new();
    for (row, at) in instants(&mut random, 266)?.into_iter().enumerate() {
        records.push(record(&mut random, row, &rfc3339(at)?));
    }
    let documents = records.chunks(RECORDS).enumerate().map(|(number, records)| {
        let pretty = number % 2 == 1;
        let (line, gap) = if pretty { (",\n    ", "\n    ") } else { (",", "") };
        let head = Record::new().integer("page", number as i64).json("schema", "2").end();
        let head = head.trim_end_matches('}');
        let text = format!("{head},\"Records\":[{gap}{}{}]}}\n", records.join(line), gap.trim_end());
        (format!("audit-log/audit-{number:04}.json"), text.into_bytes())
    });
    Ok(documents.collect())
}

fn record(random: &mut Random, row: usize, occurred_at: &str) -> String {
    let (action, resource) = match random.below(5) {
        0 => ("policy.update", "policy"),
        1 => ("role.grant", "user"),
        2 => ("key.rotate", "api-key"),
        3 => ("quota.set", "team"),
        _ => ("login", "session"),
    };
    Record::new()
        .text("entry_id", &format!("aud-{row:05}"))
        .text("occurred_at", occurred_at)
        .integer("sequence", (1 << 53) + row as i64)
        .text("actor_user_id", &random.uuid(12))
        .text("action", action)
        .text("resource_type", resource)
        .text("resource_id", &format!("{resource}/{:04}", random.below(300)))
        .text("status", random.pick(&["success", "success", "denied"]))
        .maybe("session_id", (!random.one_in(5)).then(|| format!("{:08}", random.below(60) * 1_001)).as_deref())
        .json("change", &change(random, action))
        .json("request", &request(random))
        .end()
}

/// Null, text, number, list or object: before and after are what the resource holds.
fn change(random: &mut Random, action: &str) -> String {
    match action {
        "policy.update" => {
            let rule = Record::new().text("match", random.pick(&TEXTS)).json("weight", "0.1").end();
            Record::new().json("before", "{}").json("after", &rule).end()
        }
        "role.grant" => Record::new().json("before", "[\"viewer\"]").json("after", "[\"viewer\",\"admin\"]").end(),
        "key.rotate" => Record::new().text("before", "k-0019").text("after", "k-0020").end(),
        "quota.set" => Record::new().json("before", "null").json("after", "18446744073709551615").end(),
        _ => "null".to_owned(),
    }
}

fn request(random: &mut Random) -> String {
    let address = format!("203.0.113.{}", random.below(255));
    let reason = if random.one_in(3) { quoted(random.pick(&TEXTS)) } else { "null".to_owned() };
    let client = Record::new().text("ip", &address).text("agent", "console/4.2").end();
    Record::new()
        .json("client", &client)
        .json("mfa", if random.one_in(4) { "false" } else { "true" })
        .json("reason", &reason)
        .end()
}
