//! Infers Arrow fields from evidence and describes how files and rows differed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};

use super::UNWRAP_JSON;
use super::evidence::{Mark, Node, kind};
use super::join::join;
use crate::job::{DeclaredType, SchemaDrift};
use crate::logical::path::{SEPARATOR, beginnings, field_at};
use crate::logical::{json_field, number_field, uuid};
use crate::source::SourceSchema;

/// The type inferred for one node: a column, a field of an object, or the items of a list.
#[derive(Debug, Clone, PartialEq)]
enum InferredType {
    /// Only nulls were seen.
    Null,
    /// An Arrow type that holds every value exactly.
    Type(DataType),
    /// Text that holds the digits of each number.
    Number,
    /// Text that holds the raw JSON of each value.
    Json,
    /// Text that holds dashed UUIDs.
    Uuid,
    /// A struct with the fields of [`Node::fields`].
    Struct,
    /// A list of [`Node::items`].
    List,
    /// Nested columns of a columnar file mixed with other kinds, which no type holds.
    Irreconcilable,
}

impl InferredType {
    fn name(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Uuid => "uuid".to_owned(),
            Self::Struct => "struct".to_owned(),
            Self::List => "list".to_owned(),
            Self::Irreconcilable => "nested".to_owned(),
            Self::Type(t) => match t {
                DataType::Boolean => "bool".to_owned(),
                DataType::Utf8View => "text".to_owned(),
                t if t.is_primitive() && !t.is_temporal() => t.to_string().to_lowercase(),
                t => t.to_string(),
            },
        }
    }
}

/// The narrowest type that holds all the evidence exactly.
fn infer_type(node: &Node) -> InferredType {
    let rows = infer_row_type(node);
    if node.typed.is_empty() {
        return rows;
    }
    if node.columnar || matches!(node.typed.first(), Some((DataType::Map(..) | DataType::Struct(_), _))) {
        // A map or an empty struct keeps its type if it is the only type.
        return match (node.typed.as_slice(), &rows) {
            ([(t, _)], InferredType::Null) => InferredType::Type(t.clone()),
            _ => InferredType::Irreconcilable,
        };
    }
    if node.typed.iter().all(|(_, mark)| *mark == Mark::Json) && !node.cells {
        return InferredType::Json;
    }
    if node.typed.iter().all(|(_, mark)| *mark == Mark::Uuid) && rows == InferredType::Null {
        return InferredType::Uuid;
    }
    let is_numeric = node.typed.iter().all(|(t, _)| t.is_numeric())
        && matches!(
            rows,
            InferredType::Null
                | InferredType::Number
                | InferredType::Type(DataType::Int64 | DataType::UInt64 | DataType::Float64)
        );
    let mut types = node.typed.iter().map(|(t, _)| t);
    let first = types.next().cloned();
    let joined = types.try_fold(first.unwrap_or(DataType::Utf8View), |sum, t| join(&sum, t));
    let joined = match (joined, rows) {
        (joined, InferredType::Null) => joined,
        // All integers seen are exact in a float, so int64 need not be assumed.
        (Some(DataType::Float64), InferredType::Type(DataType::Int64 | DataType::UInt64)) if !node.unsafe_integer => {
            Some(DataType::Float64)
        }
        (Some(t), InferredType::Type(r)) => join(&t, &r),
        _ => None,
    };
    match joined {
        Some(joined) => InferredType::Type(joined),
        // No numeric type holds all values; their digits do.
        None if is_numeric => InferredType::Number,
        None => InferredType::Type(DataType::Utf8View),
    }
}

/// The type of the values seen in CSV, NDJSON and JSON.
fn infer_row_type(node: &Node) -> InferredType {
    const NUMBER: u8 = kind::INTEGER | kind::FRACTION;
    let text = || InferredType::Type(DataType::Utf8View);
    let mixed = || {
        if node.columnar {
            InferredType::Irreconcilable
        } else if node.cells {
            text()
        } else {
            InferredType::Json
        }
    };
    match node.kinds {
        0 => InferredType::Null,
        kind::BOOL => InferredType::Type(DataType::Boolean),
        kind::TEXT => text(),
        kind::INTEGER if node.beyond || (node.negative && node.above_i64) => InferredType::Number,
        kind::INTEGER if node.above_i64 => InferredType::Type(DataType::UInt64),
        kind::INTEGER => InferredType::Type(DataType::Int64),
        kind::FRACTION | NUMBER if node.huge_exponent => text(),
        // A float would turn the CSV cell `1` into `1.0`, and `1.50` into `1.5`.
        NUMBER if node.cells => InferredType::Number,
        kind::FRACTION | NUMBER if node.inexact || node.unsafe_integer || node.other_notation || node.keep_digits => {
            InferredType::Number
        }
        kind::FRACTION | NUMBER => InferredType::Type(DataType::Float64),
        kind::OBJECT if node.collapsed || node.fields.list.is_empty() => mixed(),
        kind::OBJECT => InferredType::Struct,
        kind::LIST if node.collapsed => mixed(),
        kind::LIST => InferredType::List,
        _ => mixed(),
    }
}

/// Records at every node of one file's evidence which type the node has in that file.
pub(super) fn record_types(node: &mut Node, file: &Arc<str>) {
    let inferred = infer_type(node);
    node.files.count = 1;
    node.files.first = Some(file.clone());
    if inferred != InferredType::Null {
        node.files.types = vec![(inferred.name(), file.clone(), 1)];
    }
    for (_, field) in &mut node.fields.list {
        record_types(field, file);
    }
    if let Some(items) = &mut node.items {
        record_types(items, file);
    }
    if node.kinds & kind::OBJECT != 0 {
        node.files.objects = 1;
        node.files.first_object = Some(file.clone());
    }
}

/// The nullable field of a declared type.
pub(crate) fn declared_field(name: &str, declared: DeclaredType) -> Field {
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

/// Why the files of a source have no common schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchemaError {
    /// With [`SchemaDrift::Fail`]: files differ.
    #[error("{difference}; set `on_schema_drift: widen` or declare the column in `schema`")]
    Drift {
        /// A sentence that names the column, both types and both files.
        difference: String,
    },
    /// The keys of nested objects look like data. The type of such a column must not depend on how many keys occur, so the
    /// user decides.
    #[error(
        "{}: the keys look like data; declare `schema: {{{}}}`, which keeps each value as JSON text, nested in NDJSON and JSON",
        sentences(.paths),
        declarations(.paths)
    )]
    KeysAreData {
        /// Each path, and how many keys its objects have.
        paths: Vec<(String, String)>,
    },
    /// Nested columns of columnar files and other kinds.
    #[error(
        "column `{path}` is {}: no type holds nested columns of a columnar file beside others; export these files by separate \
         specs",
        .types.join(" and ")
    )]
    Irreconcilable {
        /// Column and place.
        path: String,
        /// Each type, with the first file that has it.
        types: Vec<String>,
    },
}

fn sentences(paths: &[(String, String)]) -> String {
    let sentences: Vec<_> = paths.iter().map(|(path, how)| format!("column `{path}` has {how}")).collect();
    sentences.join("; ")
}

impl SchemaError {
    /// The top-level columns to declare as JSON because the keys in them look like data.
    pub(crate) fn columns_of_keys(&self) -> Vec<String> {
        match self {
            Self::KeysAreData { paths } => top_columns(paths).into_iter().map(str::to_owned).collect(),
            Self::Drift { .. } | Self::Irreconcilable { .. } => Vec::new(),
        }
    }
}

fn top_columns(paths: &[(String, String)]) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for (path, _) in paths {
        let column = path.split(['.', '[']).next().unwrap_or(path);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Declares each top-level column of the paths as JSON.
fn declarations(paths: &[(String, String)]) -> String {
    let declared: Vec<_> = top_columns(paths).iter().map(|column| format!("{column}: json")).collect();
    declared.join(", ")
}

/// See [`super::TableEvidence::finish`].
pub(super) fn finish(
    root: Node,
    declared: &[(String, DeclaredType)],
    drift: SchemaDrift,
) -> Result<SourceSchema, SchemaError> {
    // A path declares the field that it leads to, unless a column has its name.
    let mut paths: BTreeMap<&str, DeclaredType> =
        declared.iter().map(|(name, declared)| (&**name, *declared)).collect();
    let mut columns = BTreeMap::new();
    for (name, _) in &root.fields.list {
        columns.extend(paths.remove(&**name).map(|declared| (&**name, declared)));
    }
    let mut report = DriftReport { drift, sentences: Vec::new(), maps: Vec::new(), paths, met: BTreeSet::new() };
    let mut fields = Vec::with_capacity(root.fields.list.len());
    for (name, node) in &root.fields.list {
        report.report_missing(name, node, &root)?;
        fields.push(match columns.get(&**name) {
            Some(declared) => declared_field(name, *declared),
            None => report.field(name, name, node)?,
        });
    }
    if !report.maps.is_empty() {
        return Err(SchemaError::KeysAreData { paths: report.maps });
    }
    let met = std::mem::take(&mut report.met);
    let schema = Schema::new(fields.clone());
    for (name, declared) in declared {
        let is_known = columns.contains_key(&**name) || met.contains(name) || field_at(&schema, name, None).is_ok();
        if !is_known {
            report.report(format!("column `{name}` is declared, but in no file: it is null"))?;
            if !add_below(&mut fields, name, *declared) {
                fields.push(declared_field(name, *declared));
            }
        }
    }
    let arrow = Arc::new(Schema::new(fields));
    Ok(SourceSchema { arrow, drift: report.sentences, unexported_keys: Vec::new() })
}

/// Adds the field of a path that no row has to the struct that the path begins with. Returns whether there is one.
fn add_below(fields: &mut [Field], path: &str, declared: DeclaredType) -> bool {
    beginnings(path).any(|(name, rest)| {
        let Some(rest) = rest else { return false };
        let Some(field) = fields.iter_mut().find(|field| field.name() == name) else { return false };
        let DataType::Struct(inner) = field.data_type() else { return false };
        let mut inner: Vec<Field> = inner.iter().map(|field| field.as_ref().clone()).collect();
        if !add_below(&mut inner, rest, declared) {
            let first = rest.split(SEPARATOR).next().unwrap_or(rest);
            if inner.iter().any(|field| field.name() == first) {
                return false;
            }
            inner.push(nested_field(rest, declared));
        }
        *field = field.clone().with_data_type(DataType::Struct(inner.into()));
        true
    })
}

/// The field of a path of keys without dots.
fn nested_field(path: &str, declared: DeclaredType) -> Field {
    match path.split_once(SEPARATOR) {
        Some((name, rest)) => Field::new_struct(name, vec![nested_field(rest, declared)], true),
        None => declared_field(path, declared),
    }
}

/// Builds fields and collects the differences between files and rows.
struct DriftReport<'a> {
    drift: SchemaDrift,
    sentences: Vec<String>,
    /// Paths whose keys look like data, and how many keys there are.
    maps: Vec<(String, String)>,
    /// Declared types of paths, and those of them that lead to a field.
    paths: BTreeMap<&'a str, DeclaredType>,
    met: BTreeSet<String>,
}

impl DriftReport<'_> {
    /// Records a difference between files, which is an error under [`SchemaDrift::Fail`].
    fn report(&mut self, sentence: String) -> Result<(), SchemaError> {
        if self.drift == SchemaDrift::Fail {
            return Err(SchemaError::Drift { difference: sentence });
        }
        self.sentences.push(sentence);
        Ok(())
    }

    /// Reports a column or field that some files lack.
    fn report_missing(&mut self, path: &str, node: &Node, parent: &Node) -> Result<(), SchemaError> {
        let Some(file) = &node.files.missing_from else { return Ok(()) };
        let of = parent.files.objects;
        let lacking = of.saturating_sub(node.files.count);
        let present = node.files.first.as_deref().unwrap_or_default();
        self.report(format!(
            "column `{path}` is missing from {lacking} of {of} files, first {file}, where it is null; {present} has it"
        ))
    }

    /// Reports the types that a node has in different files or rows, given the type inferred for it.
    fn report_types(&mut self, path: &str, node: &Node, inferred: &InferredType) -> Result<(), SchemaError> {
        let name = inferred.name();
        if let [(first, first_file, _), (second, second_file, _), more @ ..] = node.files.types.as_slice() {
            let mut sentence = format!("column `{path}` is {first} in {first_file} and {second} in {second_file}");
            for (other, file, _) in more {
                sentence.push_str(&format!(" and {other} in {file}"));
            }
            if self.drift == SchemaDrift::Widen {
                sentence.push_str(&format!("; it is read as {name}"));
            }
            return self.report(sentence);
        }
        // Rows of one file that disagree are not drift between files, but they are reported.
        let kinds = node.kinds.count_ones() > 1;
        let is_text = matches!(inferred, InferredType::Type(DataType::Utf8View) | InferredType::Number);
        let narrow = is_text && !node.keep_digits && node.kinds & kind::TEXT == 0;
        if kinds || node.collapsed || (narrow && node.kinds != 0) {
            let held = kinds_of_values(node);
            let file = node.files.first.as_deref().unwrap_or_default();
            let sentence = format!("column `{path}` holds {held}, first in {file}; it is read as {name}");
            self.sentences.push(sentence);
        }
        Ok(())
    }

    /// The Arrow field of a node. `path` is its place in the table, for messages.
    fn field(&mut self, name: &str, path: &str, node: &Node) -> Result<Field, SchemaError> {
        if let Some(declared) = self.paths.get(path) {
            self.met.insert(path.to_owned());
            return Ok(declared_field(name, *declared));
        }
        if let Some(how) = node.keys_are_data() {
            self.maps.push((path.to_owned(), how));
            return Ok(Field::new(name, DataType::Utf8View, true));
        }
        let inferred = infer_type(node);
        self.report_types(path, node, &inferred)?;
        let data_type = match inferred {
            InferredType::Null => DataType::Utf8View,
            InferredType::Type(t) => t,
            InferredType::Number => return Ok(number_field(Field::new(name, DataType::Utf8View, true))),
            InferredType::Json => return Ok(json_field(Field::new(name, DataType::Utf8View, true))),
            InferredType::Uuid => return Ok(uuid::text_field(&Field::new(name, DataType::Utf8View, true))),
            InferredType::Struct => {
                let mut fields = Vec::with_capacity(node.fields.list.len());
                for (inner, child) in &node.fields.list {
                    let path = format!("{path}.{inner}");
                    self.report_missing(&path, child, node)?;
                    fields.push(self.field(inner, &path, child)?);
                }
                DataType::Struct(Fields::from(fields))
            }
            InferredType::List => {
                let nothing = Node::default();
                let items = node.items.as_deref().unwrap_or(&nothing);
                DataType::List(Arc::new(self.field("item", &format!("{path}[]"), items)?))
            }
            InferredType::Irreconcilable => {
                let types = node.files.types.iter().map(|(t, f, _)| format!("{t} in {f}")).collect();
                return Err(SchemaError::Irreconcilable { path: path.to_owned(), types });
            }
        };
        Ok(Field::new(name, data_type, true))
    }
}

/// The kinds of values seen at a node, for messages.
fn kinds_of_values(node: &Node) -> String {
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
