//! Tickets: CSV as a help desk exports it, RFC 4180 with CRLF. Times are on the clock of Berlin and carry no offset, so the
//! night of 2026-03-29 has times that its clock never showed. Numbers have leading zeros, text breaks lines.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Failure, Random, TEXTS, instants};

/// What a spreadsheet would run, and what a naive reader would take apart.
const SUBJECTS: [&str; 8] = [
    "=cmd|' /C calc'!A0",
    "+49 30 123456",
    "-2+3",
    "@SUM(A1:A9)",
    "Refund of 1,200.50 refused",
    "He said \"stop\"",
    "two\nlines",
    "three\r\nlines,\nof \"text\"",
];

/// The file.
pub(crate) fn files() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut random = Random(3);
    let berlin = TimeZone::get("Europe/Berlin")?;
    let on_clock = |nanosecond: i64| -> Result<String, Failure> {
        let local = Timestamp::from_nanosecond(i128::from(nanosecond))?.to_zoned(berlin.clone()).datetime();
        Ok(local.to_string())
    };
    let mut lines = vec![
        "escalation_id,opened_at,status,severity,actor_user_id,assignee_user_id,session_id,cost_center,amount,subject,notes,resolved_at".to_owned(),
    ];
    for (row, at) in instants(&mut random, 260)?.into_iter().enumerate() {
        lines.push(ticket(&mut random, row, &on_clock(at)?));
    }
    // 02:00 to 03:00 did not happen that night; someone's script wrote it all the same.
    for (row, opened_at) in ["2026-03-29T02:00:00", "2026-03-29T02:30:00.5", "2026-03-29T02:59:59"].iter().enumerate() {
        lines.push(ticket(&mut random, 900 + row, opened_at));
    }
    let text = lines.into_iter().map(|line| line + "\r\n").collect::<String>();
    Ok(vec![("escalations/escalations.csv".to_owned(), text.into_bytes())])
}

fn ticket(random: &mut Random, row: usize, opened_at: &str) -> String {
    let status = random.pick(&["open", "resolved", "resolved", "waiting"]);
    let assignee = if random.one_in(4) { String::new() } else { random.uuid(8) };
    let subject = if random.one_in(2) { random.pick(&SUBJECTS) } else { random.pick(&TEXTS) };
    // An empty cell is null, a quoted empty one is empty text.
    let notes = match random.below(5) {
        0 => String::new(),
        1 => "\"\"".to_owned(),
        _ => cell(random.pick(&TEXTS)),
    };
    let amount = match random.below(6) {
        0 => String::new(),
        1 => "9007199254740993".to_owned(),
        _ => format!("{}.{:02}", random.below(5_000), random.below(100)),
    };
    let resolved_at = if status == "resolved" { "2026-04-06T09:00:00" } else { "" };
    [
        format!("{row:07}"),
        opened_at.to_owned(),
        status.to_owned(),
        random.pick(&["low", "medium", "high", "critical"]).to_owned(),
        random.uuid(25),
        assignee,
        format!("{:08}", random.below(60) * 1_001),
        format!("{:05}", random.below(99) * 7),
        amount,
        cell(subject),
        notes,
        resolved_at.to_owned(),
    ]
    .join(",")
}

/// A cell, quoted where RFC 4180 wants it.
fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
