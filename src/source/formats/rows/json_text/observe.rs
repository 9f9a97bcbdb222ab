//! Adds JSON rows to the evidence.

use std::borrow::Cow;

use super::path::raw_at;
use super::scan::{Fault, Key, Scanner, Value, duplicate_key};
use crate::source::formats::rows::infer::Node;
use crate::source::formats::rows::reader::MAX_COLUMNS;

/// The value of a row's time column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) enum RowTime<'a> {
    /// No value, or one that cannot be a time.
    None,
    /// A string.
    Text(Cow<'a, str>),
    /// A number without a fraction.
    Integer(i64),
    /// Any other number, as written.
    Number(&'a str),
}

/// Adds one row, which must be an object, to the evidence of its table, and returns the value of its time column, which may
/// be a path of keys.
///
/// After an error, the evidence may hold a part of the row.
pub(in crate::source) fn observe_row<'a>(
    root: &mut Node,
    text: &'a str,
    time_column: &str,
) -> Result<RowTime<'a>, Fault> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value()?;
    if value != Value::Object {
        scanner.skip_rest(value)?;
        scanner.end()?;
        return Err(not_an_object());
    }
    root.object(0);
    let (holder, path) = time_column.split_once('.').unwrap_or_default();
    let mut time = RowTime::None;
    let mut first = true;
    let mut hint = 0;
    while let Some((place, name, field)) = next_field(root, &mut scanner, &mut first, hint)? {
        if place >= MAX_COLUMNS {
            // The table is refused, so the rest of the row does not matter.
            return Ok(time);
        }
        hint = place + 1;
        if name == time_column {
            field.keep_digits();
            let start = scanner.offset();
            observe(field, &mut scanner, 1)?;
            time = row_time(scanner.since(start))?;
        } else if name == holder && !path.is_empty() {
            let start = scanner.offset();
            observe(field, &mut scanner, 1)?;
            if let Some(value) = raw_at(scanner.since(start), path.split('.'))? {
                time = row_time(value)?;
                if matches!(time, RowTime::Number(_)) {
                    field.keep_digits_at(path.split('.'));
                }
            }
        } else {
            observe(field, &mut scanner, 1)?;
        }
    }
    scanner.end()?;
    Ok(time)
}

/// The next field of an object, with its index and name. `hint` is its likely index.
#[inline]
fn next_field<'n>(
    object: &'n mut Node,
    scanner: &mut Scanner<'_>,
    first: &mut bool,
    hint: usize,
) -> Result<Option<(usize, &'n str, &'n mut Node)>, Fault> {
    let place = match scanner.next_key_after(first, object.plain_name(hint))? {
        None => return Ok(None),
        Some(Key::Expected) => hint,
        Some(Key::Other(key)) => object.place(&key.decode(), hint),
    };
    if !object.record_key(place) {
        return Err(duplicate_key(object.named_field(place).map_or("", |(name, _)| name)));
    }
    Ok(object.named_field(place).map(|(name, field)| (place, name, field)))
}

/// The value of a row's time, to which `keys` lead. The rest of the row is not examined.
///
/// # Errors
/// [`Fault`] where the row is unreadable up to that value.
pub(in crate::source) fn time_of<'a>(text: &'a str, keys: &[&str]) -> Result<RowTime<'a>, Fault> {
    let mut scanner = Scanner::new(text);
    if scanner.value()? != Value::Object {
        return Err(not_an_object());
    }
    let Some((column, inner)) = keys.split_first() else { return Ok(RowTime::None) };
    let mut first = true;
    while let Some(key) = scanner.next_key(&mut first)? {
        let value = scanner.skip()?;
        if key.decode() == *column {
            return raw_at(value, inner.iter().copied())?.map_or(Ok(RowTime::None), row_time);
        }
    }
    Ok(RowTime::None)
}

pub(super) fn not_an_object() -> Fault {
    Fault::Content("a row must be a JSON object".to_owned())
}

fn row_time(raw: &str) -> Result<RowTime<'_>, Fault> {
    Ok(match Scanner::new(raw).value()? {
        Value::String(text) => RowTime::Text(text.decode()),
        Value::Number(n) if n.integer => n.text.parse().map_or(RowTime::Number(n.text), RowTime::Integer),
        Value::Number(n) => RowTime::Number(n.text),
        _ => RowTime::None,
    })
}

fn observe(node: &mut Node, scanner: &mut Scanner<'_>, level: usize) -> Result<(), Fault> {
    let value = scanner.value()?;
    match value {
        Value::Null => {}
        Value::Bool(_) => node.boolean(),
        Value::Number(n) => node.number(n.text, n.integer),
        Value::String(_) => node.text(),
        Value::Object => {
            if !node.object(level) {
                return scanner.skip_rest(value);
            }
            let mut first = true;
            let mut hint = 0;
            while let Some((place, _, field)) = next_field(node, scanner, &mut first, hint)? {
                hint = place + 1;
                observe(field, scanner, level + 1)?;
            }
        }
        Value::Array => {
            let Some(items) = node.list(level) else { return scanner.skip_rest(value) };
            let mut first = true;
            while scanner.next_item(&mut first)? {
                observe(items, scanner, level + 1)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_more_keys_than_a_table_may_have_is_not_read_to_its_end() {
        let keys: Vec<String> = (0..1_000_000).map(|n| format!("\"k{n}\":0")).collect();
        let mut root = Node::default();
        // The row is truncated, but its end is never examined.
        observe_row(&mut root, &format!("{{{}", keys.join(",")), "t").unwrap();
        assert_eq!(root.width(), MAX_COLUMNS + 1);
    }
}
