//! Rows are found where the drawing says, whatever lies around them.

use super::read::{json, ndjson};
use super::*;

fn texts(found: Result<Vec<Box<RawValue>>, RowError>) -> Vec<String> {
    found.unwrap().iter().map(|row| row.get().to_owned()).collect()
}

#[test]
fn lines_and_elements_are_given_as_they_stand() {
    let lines = "{\"a\":1}\n{\"a\": 2.50}\n{\"a\":3}\n";
    assert_eq!(texts(ndjson(lines.as_bytes(), &[1, 2])), ["{\"a\": 2.50}", "{\"a\":3}"]);
    let array = "[{\"a\":1},\n{\"a\":\r\n 2.50},{\"a\":3}]";
    assert_eq!(texts(json(array.as_bytes(), &[0, 1])), ["{\"a\":1}", "{\"a\":   2.50}"]);
}

#[test]
fn rows_that_are_not_there_are_missing_and_do_not_panic() {
    assert_eq!(texts(ndjson(&b"{}\n"[..], &[0, 7])), ["{}"]);
    assert_eq!(texts(json(&b"[{}]"[..], &[0, 7])), ["{}"]);
    assert_eq!(texts(json(&b"[]"[..], &[0])), Vec::<String>::new());
    for text in [&b"{"[..], b"[{}", b"\xff\n"] {
        assert!(json(text, &[0]).is_err());
    }
    assert_eq!(
        ndjson(&b"{\n"[..], &[0]).unwrap_err().to_string(),
        "has no JSON in row 1: EOF while parsing an object at line 2 column 0"
    );
}
