//! What callers ask for, as specs.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;

use super::literal::{Literal, LiteralError, quoted};
use crate::diagnostic::{Diagnostic, SourceText, Span};
use crate::export_format::ExportFormat;
use crate::service::problem::{FieldError, Place, Problem};
use crate::yaml::{self, Kind, Node};

/// The type of the audit log of knowledge bases.
pub(super) const KB_AUDIT_TYPE: &str = "kb-audit";

/// The key of a spec that says who can read it.
const ENCRYPTION: &str = "encryption";

/// The file name of a spec that came as a request, which no file has.
const REQUEST: &str = "request";

/// `POST /v1/exports`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewExport {
    #[serde(rename = "type")]
    /// A type of the server's catalog.
    pub(super) type_name: String,
    /// `csv` (default), `ndjson`, `json`, `parquet`.
    #[schema(value_type = Option<ExportFormat>)]
    format: Option<String>,
    /// The first day.
    date_from: Option<String>,
    /// The last day, inclusive.
    date_to: Option<String>,
    /// The first instant, instead of days.
    start: Option<String>,
    /// The first instant after.
    end: Option<String>,
    /// IANA zone of the days; default: UTC.
    timezone: Option<String>,
    /// As in a spec.
    #[schema(value_type = Option<Object>)]
    filters: Option<Literal>,
    #[serde(rename = "where")]
    where_sql: Option<String>,
    /// As in a spec.
    #[schema(value_type = Option<Vec<Value>>)]
    columns: Option<Literal>,
    /// As in a spec: `{"by": "day"}`.
    #[schema(value_type = Option<Object>)]
    partition: Option<Literal>,
    name: Option<String>,
    /// age public keys.
    encrypt_to: Option<Vec<String>>,
    /// How long the files are kept, such as `400d`.
    retention: Option<String>,
    /// Ask for another job, even if the same exists.
    #[serde(default)]
    pub(super) new: bool,
}

/// `POST /v1/knowledge-base/audit/exports`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKbAuditExport {
    /// The first instant.
    start: String,
    /// The first instant after.
    end: String,
    #[serde(default)]
    export_format: RowFormat,
    kb_ids: Option<Vec<String>>,
    statuses: Option<Vec<String>>,
    actor_user_id: Option<String>,
    session_id: Option<String>,
    #[serde(default)]
    new: bool,
}

/// A format of rows.
#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RowFormat {
    #[default]
    Csv,
    Ndjson,
}

/// A spec that came as a request.
#[derive(Debug)]
pub(super) struct RequestSpec {
    pub(super) type_name: String,
    pub(super) is_new: bool,
    /// Whether the export is refused where nobody is named who can read it.
    pub(super) must_encrypt: bool,
    /// Keys and values, as YAML.
    fields: Vec<Field>,
    /// Keys of the spec and of the request that gave them, where they differ.
    names: &'static [(&'static [&'static str], &'static [&'static str])],
}

/// Names that every request has otherwise than a spec.
const NAMES: &[(&[&str], &[&str])] = &[
    (&["window"], &[]),
    (&["encryption", "age", "recipients"], &["encrypt_to"]),
    (&["encryption", "age"], &["encrypt_to"]),
    (&["encryption"], &["encrypt_to"]),
    (&["output", "retention"], &["retention"]),
];

/// Names that the request for a knowledge base's audit log has otherwise than a spec.
const KB_AUDIT_NAMES: &[(&[&str], &[&str])] =
    &[(&["window"], &[]), (&["filters"], &[]), (&["format"], &["export_format"]), (&["type"], &[])];

/// A value of a spec.
type Field = (&'static str, String);

impl NewExport {
    /// The spec that asks for the same.
    ///
    /// # Errors
    /// What is wrong with the request as such. What is wrong with its values, the spec says.
    pub(super) fn spec(self) -> Result<RequestSpec, Problem> {
        let days = (self.date_from.is_some(), self.date_to.is_some());
        let instants = (self.start.is_some(), self.end.is_some());
        let fault = |name: &str, msg: &str| Err(Problem::invalid_field(&["body", name], msg));
        match (days, instants) {
            ((true, true), (false, false)) | ((false, false), (true, true)) => {}
            ((true, false), (false, false)) => return fault("date_to", "give it beside `date_from`"),
            ((false, true), (false, false)) => return fault("date_from", "give it beside `date_to`"),
            ((false, false), (true, false)) => return fault("end", "give it beside `start`"),
            ((false, false), (false, true)) => return fault("start", "give it beside `end`"),
            _ => {
                let msg = "give either `date_from` and `date_to`, or `start` and `end`";
                return Err(Problem::invalid_field(&["body"], msg));
            }
        }
        if self.encrypt_to.as_ref().is_some_and(Vec::is_empty) {
            return fault("encrypt_to", "name at least one recipient, or leave it out");
        }
        let window = [
            ("date_from", self.date_from),
            ("date_to", self.date_to),
            ("start", self.start),
            ("end", self.end),
            ("timezone", self.timezone),
        ];
        let mut fields: Vec<Field> = vec![("version", "1".to_owned())];
        fields.push(("name", text(self.name.as_ref().unwrap_or(&self.type_name), "name")?));
        fields.push(("type", text(&self.type_name, "type")?));
        fields.push(("window", texts(&window)?));
        for (name, value) in [("format", &self.format), ("where", &self.where_sql)] {
            if let Some(value) = value {
                fields.push((name, text(value, name)?));
            }
        }
        for (name, value) in [("filters", &self.filters), ("columns", &self.columns), ("partition", &self.partition)] {
            if let Some(value) = value {
                fields.push((name, value.yaml().map_err(|error| invalid(name, &error))?));
            }
        }
        if let Some(retention) = &self.retention {
            fields.push(("output", format!("{{\"retention\": {}}}", text(retention, "retention")?)));
        }
        let mut spec =
            RequestSpec { type_name: self.type_name, is_new: self.new, must_encrypt: false, fields, names: NAMES };
        if let Some(recipients) = &self.encrypt_to {
            spec.encrypt_to(recipients)?;
        }
        Ok(spec)
    }
}

impl NewKbAuditExport {
    /// As [`NewExport::spec`].
    ///
    /// # Errors
    /// As [`NewExport::spec`].
    pub(super) fn spec(self) -> Result<RequestSpec, Problem> {
        let format = match self.export_format {
            RowFormat::Csv => "csv",
            RowFormat::Ndjson => "ndjson",
        };
        let window = texts(&[("start", Some(self.start)), ("end", Some(self.end))])?;
        let mut filters = Vec::new();
        for (name, values) in [("kb_ids", self.kb_ids), ("statuses", self.statuses)] {
            if let Some(values) = values {
                filters.push(format!("\"{name}\": {}", list(&values, name)?));
            }
        }
        for (name, value) in [("actor_user_id", self.actor_user_id), ("session_id", self.session_id)] {
            if let Some(value) = value {
                filters.push(format!("\"{name}\": {}", text(&value, name)?));
            }
        }
        let type_name = KB_AUDIT_TYPE.to_owned();
        let mut fields = vec![("version", "1".to_owned()), ("name", type_name.clone()), ("type", type_name.clone())];
        fields.extend([("window", window), ("format", format.to_owned())]);
        if !filters.is_empty() {
            fields.push(("filters", format!("{{{}}}", filters.join(", "))));
        }
        Ok(RequestSpec { type_name, is_new: self.new, must_encrypt: true, fields, names: KB_AUDIT_NAMES })
    }
}

fn invalid(name: &str, error: &LiteralError) -> Problem {
    Problem::invalid_field(&["body", name], error.to_string())
}

fn text(value: &str, name: &str) -> Result<String, Problem> {
    quoted(value).map_err(|error| invalid(name, &error))
}

fn list(values: &[String], name: &str) -> Result<String, Problem> {
    let values = values.iter().map(|value| text(value, name)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[{}]", values.join(", ")))
}

/// Those that are there.
fn texts(values: &[(&str, Option<String>)]) -> Result<String, Problem> {
    let given = values.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pairs = given.map(|(name, value)| Ok(format!("\"{name}\": {}", text(value, name)?)));
    Ok(format!("{{{}}}", pairs.collect::<Result<Vec<_>, Problem>>()?.join(", ")))
}

impl RequestSpec {
    /// Encrypts to these recipients, if there are any and none are named yet.
    ///
    /// # Errors
    /// A recipient that cannot stand in a spec.
    pub(super) fn encrypt_to(&mut self, recipients: &[String]) -> Result<(), Problem> {
        if !recipients.is_empty() && !self.is_encrypted() {
            let recipients = list(recipients, "encrypt_to")?;
            self.fields.push((ENCRYPTION, format!("{{\"age\": {{\"recipients\": {recipients}}}}}")));
        }
        Ok(())
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.fields.iter().any(|(key, _)| *key == ENCRYPTION)
    }

    /// The spec as YAML, one line a key.
    pub(super) fn source(&self) -> Arc<SourceText> {
        let text = self.fields.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        Arc::new(SourceText { path: PathBuf::from(REQUEST), text })
    }

    /// The problem of a spec with mistakes. Those of the catalog are the operator's.
    pub(super) fn problem(&self, mistakes: &[Diagnostic]) -> Problem {
        let is_ours =
            |mistake: &Diagnostic| mistake.span.as_ref().is_none_or(|span| span.source.path.as_os_str() == REQUEST);
        if let Some(foreign) = mistakes.iter().find(|mistake| !is_ours(mistake)) {
            return Problem::internal(&format!("the catalog has a mistake: {}", foreign.message));
        }
        let root = yaml::parse(&self.source()).ok();
        let error = |mistake: &Diagnostic| {
            let path = match (&mistake.span, &root) {
                (Some(span), Some(root)) => path_of(root, span),
                _ => Vec::new(),
            };
            let msg = match &mistake.help {
                // It would list types that the key may not know of.
                Some(_) if path == [Place::Key("type".to_owned())] => mistake.message.clone(),
                Some(help) => format!("{}: {help}", mistake.message),
                None => mistake.message.clone(),
            };
            FieldError { loc: self.loc(path), msg }
        };
        Problem::invalid(mistakes.iter().map(error).collect())
    }

    /// Where the request has what the spec has at `path`.
    fn loc(&self, path: Vec<Place>) -> Vec<Place> {
        let key = |name: &&str| Place::Key((*name).to_owned());
        let renamed = self.names.iter().find_map(|(spec, request)| {
            let spec: Vec<_> = spec.iter().map(key).collect();
            let rest = path.strip_prefix(spec.as_slice())?;
            Some(request.iter().map(key).chain(rest.iter().cloned()).collect())
        });
        std::iter::once(key(&"body")).chain(renamed.unwrap_or(path)).collect()
    }
}

/// The keys and indexes that lead to a place in the text.
fn path_of(root: &Node, place: &Span) -> Vec<Place> {
    let holds = |span: &Span| span.start <= place.start && place.end <= span.end;
    let (mut path, mut node) = (Vec::new(), root);
    loop {
        let next = match &node.kind {
            Kind::Mapping(entries) => {
                let is_here = |span: Option<&Span>| span.is_some_and(holds);
                let found = entries.iter().find(|e| is_here(e.key.span.as_ref()) || holds(&e.value.span));
                found.map(|entry| (Place::Key(entry.key.value.clone()), &entry.value))
            }
            Kind::Sequence(items) => {
                let found = items.iter().enumerate().find(|(_, item)| holds(&item.span));
                found.map(|(i, item)| (Place::Index(i), item))
            }
            Kind::Scalar(_) | Kind::Reported => None,
        };
        let Some((place, below)) = next else { return path };
        path.push(place);
        node = below;
    }
}
