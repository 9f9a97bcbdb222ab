//! Appends JSON rows to columns.

use super::observe::not_an_object;
use super::scan::{Fault, Key, Scanner, Value, duplicate_key};
use crate::source::formats::rows::column::{Column, StructColumn};

/// Appends one row, which must be an object, to the requested columns. Its other keys are checked and dropped.
///
/// After an error, the columns may hold a part of the row.
pub(in crate::source) fn append_row(root: &mut StructColumn, text: &str) -> Result<(), Fault> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value()?;
    if value != Value::Object {
        scanner.skip_rest(value)?;
        scanner.end()?;
        return Err(not_an_object());
    }
    append_fields(root, &mut scanner)?;
    scanner.end()?;
    root.end();
    Ok(())
}

/// Appends the fields of an object after its opening brace.
fn append_fields(into: &mut StructColumn, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
    into.begun += 1;
    let begun = into.begun;
    let mut others = scanner.key_guard();
    let mut first = true;
    let mut hint = 0;
    while let Some(key) = scanner.next_key_after(&mut first, into.plain_name(hint))? {
        let place = match key {
            Key::Expected => hint,
            Key::Other(key) => {
                let name = key.decode();
                match into.place(&name, hint) {
                    Some(place) => place,
                    None if into.is_whole => {
                        return Err(Fault::Content(format!(
                            "the field `{name}` is not in the planned schema: the file changed since it was inspected"
                        )));
                    }
                    None => {
                        others.refuse_duplicate(scanner, name)?;
                        scanner.skip()?;
                        continue;
                    }
                }
            }
        };
        hint = place + 1;
        let (Some(given), Some(column)) = (into.given.get_mut(place), into.columns.get_mut(place)) else { continue };
        if std::mem::replace(given, begun) == begun {
            return Err(duplicate_key(into.name(place)));
        }
        append(column, scanner).map_err(|fault| match fault {
            Fault::Content(why) => Fault::Content(format!("`{}`: {why}", into.name(place))),
            syntax => syntax,
        })?;
    }
    others.close(scanner);
    Ok(())
}

/// Appends the next value to a column. Messages may reach places that must not see redacted data, so faults do not show
/// the value.
fn append(column: &mut Column, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
    let start = scanner.offset();
    let value = scanner.value()?;
    match (column, value) {
        (column, Value::Null) => {
            column.null();
        }
        (Column::Text(builder), Value::String(text)) => {
            builder.append_value(text.decode());
        }
        (Column::Text(builder), value) => {
            scanner.skip_rest(value)?;
            builder.append_value(scanner.since(start));
        }
        (Column::Json { builder, unwrap }, value) => {
            scanner.skip_rest(value)?;
            match value {
                Value::String(text) if *unwrap && holds_json(&text.decode()) => builder.append_value(text.decode()),
                _ => builder.append_value(scanner.since(start)),
            }
        }
        (Column::Bool(builder), Value::Bool(b)) => {
            builder.append_value(b);
        }
        (Column::Struct(inner), Value::Object) => {
            append_fields(inner, scanner)?;
            inner.end();
        }
        (Column::List(list), Value::Array) => {
            let mut first = true;
            while scanner.next_item(&mut first)? {
                append(&mut list.items, scanner)?;
            }
            list.end(true);
        }
        (column, value) => {
            let fits = match value {
                Value::Number(number) => column.number(number.text),
                Value::String(text) => column.text(&text.decode()),
                _ => false,
            };
            if !fits {
                // A syntax error takes precedence.
                scanner.skip_rest(value)?;
                return Err(Fault::Content(format!("the value is not {}", column.type_name())));
            }
        }
    }
    Ok(())
}

/// Whether text is a JSON object or array. A number or literal in a string is more likely meant as a string.
fn holds_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && is_json_text(text)
}

/// Whether text is one JSON value.
pub(in crate::source) fn is_json_text(text: &str) -> bool {
    super::check(text).is_ok()
}
