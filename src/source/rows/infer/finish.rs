//! From evidence to Arrow fields, and the sentences about what differed.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};

use super::UNWRAP_JSON;
use super::evidence::{Mark, Node, kind};
use super::join::join;
use crate::job::{DeclaredType, SchemaDrift};
use crate::logical::{json_field, number_field, uuid};
use crate::source::SourceSchema;

/// What a place in the data becomes.
#[derive(Debug, Clone, PartialEq)]
enum Settled {
    /// Nothing but nulls was seen.
    Null,
    /// An Arrow type that holds every value exactly.
    Type(DataType),
    /// Text holding numbers: the digits of each value.
    Number,
    /// Text holding JSON: the raw bytes of each value.
    Json,
    /// Text holding dashed UUIDs.
    Uuid,
    /// Fields of [`Node::fields`].
    Struct,
    /// Items of [`Node::items`].
    List,
    /// Nested columns of a columnar file and something else.
    Apart,
}

impl Settled {
    fn name(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Uuid => "uuid".to_owned(),
            Self::Struct => "struct".to_owned(),
            Self::List => "list".to_owned(),
            Self::Apart => "nested".to_owned(),
            Self::Type(t) => match t {
                DataType::Boolean => "bool".to_owned(),
                DataType::Utf8View => "text".to_owned(),
                t if t.is_primitive() && !t.is_temporal() => t.to_string().to_lowercase(),
                t => t.to_string(),
            },
        }
    }
}

/// The type that holds all the evidence.
fn settle(node: &Node) -> Settled {
    let rows = settle_rows(node);
    if node.typed.is_empty() {
        return rows;
    }
    if node.columnar || matches!(node.typed.first(), Some((DataType::Map(..) | DataType::Struct(_), _))) {
        // A map or an empty struct alone stands as it is.
        return match (node.typed.as_slice(), &rows) {
            ([(t, _)], Settled::Null) => Settled::Type(t.clone()),
            _ => Settled::Apart,
        };
    }
    if node.typed.iter().all(|(_, mark)| *mark == Mark::Json) && !node.cells {
        return Settled::Json;
    }
    if node.typed.iter().all(|(_, mark)| *mark == Mark::Uuid) && rows == Settled::Null {
        return Settled::Uuid;
    }
    let is_exact = node.typed.iter().all(|(t, _)| t.is_integer() || t.is_decimal());
    let is_numeric =
        matches!(rows, Settled::Number | Settled::Type(DataType::Int64 | DataType::UInt64 | DataType::Float64));
    let mut types = node.typed.iter().map(|(t, _)| t);
    let first = types.next().cloned();
    let joined = types.try_fold(first.unwrap_or(DataType::Utf8View), |sum, t| join(&sum, t));
    let joined = match (joined, rows) {
        (joined, Settled::Null) => joined,
        // Integers that were seen need not be taken for any int64.
        (Some(DataType::Float64), Settled::Type(DataType::Int64 | DataType::UInt64)) if !node.unsafe_integer => {
            Some(DataType::Float64)
        }
        (Some(t), Settled::Type(r)) => join(&t, &r),
        _ => None,
    };
    match joined {
        Some(joined) => Settled::Type(joined),
        // What none of them holds, the digits of all do.
        None if is_exact && is_numeric => Settled::Number,
        None => Settled::Type(DataType::Utf8View),
    }
}

/// The type of what was seen in CSV, NDJSON and JSON.
fn settle_rows(node: &Node) -> Settled {
    const NUMBER: u8 = kind::INTEGER | kind::FRACTION;
    let text = || Settled::Type(DataType::Utf8View);
    let mixed = || {
        if node.columnar {
            Settled::Apart
        } else if node.cells {
            text()
        } else {
            Settled::Json
        }
    };
    match node.kinds {
        0 => Settled::Null,
        kind::BOOL => Settled::Type(DataType::Boolean),
        kind::TEXT => text(),
        kind::INTEGER if node.beyond || (node.negative && node.above_i64) => Settled::Number,
        kind::INTEGER if node.above_i64 => Settled::Type(DataType::UInt64),
        kind::INTEGER => Settled::Type(DataType::Int64),
        kind::FRACTION | NUMBER if node.absurd => text(),
        // In CSV the cell `1` would come back from a float as `1.0`, and `1.50` as `1.5`.
        NUMBER if node.cells => Settled::Number,
        kind::FRACTION | NUMBER if node.inexact || node.unsafe_integer || node.other_notation || node.keep_digits => {
            Settled::Number
        }
        kind::FRACTION | NUMBER => Settled::Type(DataType::Float64),
        kind::OBJECT if node.collapsed || node.fields.list.is_empty() => mixed(),
        kind::OBJECT => Settled::Struct,
        kind::LIST if node.collapsed => mixed(),
        kind::LIST => Settled::List,
        _ => mixed(),
    }
}

/// Notes in every place of one file's evidence what it is there.
pub(super) fn settle_file(node: &mut Node, file: &Arc<str>) {
    let settled = settle(node);
    node.files.count = 1;
    node.files.first = Some(file.clone());
    if settled != Settled::Null {
        node.files.types = vec![(settled.name(), file.clone(), 1)];
    }
    for (_, field) in &mut node.fields.list {
        settle_file(field, file);
    }
    if let Some(items) = &mut node.items {
        settle_file(items, file);
    }
    if node.kinds & kind::OBJECT != 0 {
        node.files.objects = 1;
        node.files.first_object = Some(file.clone());
    }
}

/// The Arrow type of a declared one, as a nullable field.
fn declared_field(name: &str, declared: DeclaredType) -> Field {
    let data_type = match declared {
        DeclaredType::Bool => DataType::Boolean,
        DeclaredType::Int8 => DataType::Int8,
        DeclaredType::Int16 => DataType::Int16,
        DeclaredType::Int32 => DataType::Int32,
        DeclaredType::Int64 => DataType::Int64,
        DeclaredType::Uint8 => DataType::UInt8,
        DeclaredType::Uint16 => DataType::UInt16,
        DeclaredType::Uint32 => DataType::UInt32,
        DeclaredType::Uint64 => DataType::UInt64,
        DeclaredType::Float32 => DataType::Float32,
        DeclaredType::Float64 => DataType::Float64,
        DeclaredType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        DeclaredType::Number => return number_field(Field::new(name, DataType::Utf8View, true)),
        DeclaredType::Text => DataType::Utf8View,
        DeclaredType::Date => DataType::Date32,
        DeclaredType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DeclaredType::Json => {
            let unwrap = HashMap::from([(UNWRAP_JSON.to_owned(), "true".to_owned())]);
            return json_field(Field::new(name, DataType::Utf8View, true).with_metadata(unwrap));
        }
    };
    Field::new(name, data_type, true)
}

/// See [`super::TableEvidence::finish`].
pub(super) fn finish(
    root: Node,
    declared: &[(String, DeclaredType)],
    drift: SchemaDrift,
) -> Result<SourceSchema, String> {
    let mut telling = Telling { drift, sentences: Vec::new(), maps: Vec::new() };
    let mut fields = Vec::with_capacity(root.fields.list.len());
    for (name, node) in &root.fields.list {
        telling.missing(name, node, &root)?;
        fields.push(match declared.iter().find(|(n, _)| **n == **name) {
            Some((_, declared)) => declared_field(name, *declared),
            None => telling.field(name, name, node)?,
        });
    }
    telling.refuse_maps()?;
    for (name, declared) in declared {
        if !fields.iter().any(|f| f.name() == name) {
            telling.tell(format!("column `{name}` is declared, but in no file: it is null"))?;
            fields.push(declared_field(name, *declared));
        }
    }
    let arrow = Arc::new(Schema::new(fields));
    Ok(SourceSchema { arrow, drift: telling.sentences, unexported_keys: Vec::new() })
}

/// Collects what differed.
struct Telling {
    drift: SchemaDrift,
    sentences: Vec<String>,
    /// Paths whose keys look like data, and how.
    maps: Vec<(String, String)>,
}

impl Telling {
    fn tell(&mut self, sentence: String) -> Result<(), String> {
        if self.drift == SchemaDrift::Fail {
            return Err(format!("{sentence}; set `on_schema_drift: widen` or declare the column in `schema`"));
        }
        self.sentences.push(sentence);
        Ok(())
    }

    /// Which type such a column has must not depend on how many keys there happen to be, so a person decides.
    fn refuse_maps(&self) -> Result<(), String> {
        if self.maps.is_empty() {
            return Ok(());
        }
        let told: Vec<_> = self.maps.iter().map(|(path, how)| format!("column `{path}` has {how}")).collect();
        let mut columns: Vec<&str> = Vec::new();
        for (path, _) in &self.maps {
            let column = path.split(['.', '[']).next().unwrap_or(path);
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let declared: Vec<_> = columns.iter().map(|column| format!("{column}: json")).collect();
        Err(format!(
            "{}: the keys look like data; declare `schema: {{{}}}`, which keeps each value as JSON text, nested in NDJSON and \
             JSON",
            told.join("; "),
            declared.join(", ")
        ))
    }

    /// A column or field that some files lack.
    fn missing(&mut self, path: &str, node: &Node, parent: &Node) -> Result<(), String> {
        let Some(file) = &node.files.missing_from else { return Ok(()) };
        let of = parent.files.objects;
        let lacking = of.saturating_sub(node.files.count);
        let present = node.files.first.as_deref().unwrap_or_default();
        self.tell(format!(
            "column `{path}` is missing from {lacking} of {of} files, first {file}, where it is null; {present} has it"
        ))
    }

    /// What differed in the type of one place, given what it became.
    fn settled(&mut self, path: &str, node: &Node, settled: &Settled) -> Result<(), String> {
        let name = settled.name();
        if let [(first, first_file, _), (second, second_file, _), more @ ..] = node.files.types.as_slice() {
            let mut sentence = format!("column `{path}` is {first} in {first_file} and {second} in {second_file}");
            for (other, file, _) in more {
                // Writing to a String does not fail.
                let _ = write!(sentence, " and {other} in {file}");
            }
            if self.drift == SchemaDrift::Widen {
                let _ = write!(sentence, "; it is read as {name}");
            }
            return self.tell(sentence);
        }
        // Within one file the rows may disagree; that is no drift between files, but it is told.
        let kinds = node.kinds.count_ones() > 1;
        let is_text = matches!(settled, Settled::Type(DataType::Utf8View) | Settled::Number);
        let narrow = is_text && !node.keep_digits && node.kinds & kind::TEXT == 0;
        if kinds || node.collapsed || (narrow && node.kinds != 0) {
            let held = held(node);
            let file = node.files.first.as_deref().unwrap_or_default();
            let sentence = format!("column `{path}` holds {held}, first in {file}; it is read as {name}");
            self.sentences.push(sentence);
        }
        Ok(())
    }

    /// The Arrow field of one place.
    fn field(&mut self, name: &str, path: &str, node: &Node) -> Result<Field, String> {
        if let Some(how) = node.keys_are_data() {
            self.maps.push((path.to_owned(), how));
            return Ok(Field::new(name, DataType::Utf8View, true));
        }
        let settled = settle(node);
        self.settled(path, node, &settled)?;
        let data_type = match settled {
            Settled::Null => DataType::Utf8View,
            Settled::Type(t) => t,
            Settled::Number => return Ok(number_field(Field::new(name, DataType::Utf8View, true))),
            Settled::Json => return Ok(json_field(Field::new(name, DataType::Utf8View, true))),
            Settled::Uuid => return Ok(uuid::text_field(&Field::new(name, DataType::Utf8View, true))),
            Settled::Struct => {
                let mut fields = Vec::with_capacity(node.fields.list.len());
                for (inner, child) in &node.fields.list {
                    let path = format!("{path}.{inner}");
                    self.missing(&path, child, node)?;
                    fields.push(self.field(inner, &path, child)?);
                }
                DataType::Struct(Fields::from(fields))
            }
            Settled::List => {
                let nothing = Node::default();
                let items = node.items.as_deref().unwrap_or(&nothing);
                DataType::List(Arc::new(self.field("item", &format!("{path}[]"), items)?))
            }
            Settled::Apart => {
                let kinds: Vec<String> = node.files.types.iter().map(|(t, f, _)| format!("{t} in {f}")).collect();
                return Err(format!(
                    "column `{path}` is {}: no type holds nested columns of a columnar file beside others; \
                     export these files by separate specs",
                    kinds.join(" and ")
                ));
            }
        };
        Ok(Field::new(name, data_type, true))
    }
}

/// What kinds of values a place holds, for people.
fn held(node: &Node) -> String {
    let mut kinds: Vec<&str> = [
        (kind::BOOL, "booleans"),
        (kind::INTEGER, "integers"),
        (kind::FRACTION, "numbers with a fraction or exponent"),
        (kind::TEXT, "text"),
        (kind::OBJECT, "objects"),
        (kind::LIST, "lists"),
    ]
    .into_iter()
    .filter(|(k, _)| node.kinds & k != 0)
    .map(|(_, name)| name)
    .collect();
    if node.inexact
        || node.beyond
        || node.other_notation
        || (node.negative && node.above_i64)
        || (node.kinds & kind::FRACTION != 0 && node.unsafe_integer)
    {
        kinds.push("digits that no binary number keeps");
    }
    if node.collapsed && node.kinds.count_ones() == 1 {
        kinds.push("too many different keys or levels");
    }
    kinds.join(" and ")
}
