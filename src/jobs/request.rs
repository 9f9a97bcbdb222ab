//! Converts the flags of `jobs create` to a spec.

use serde_json::{Map, Value, json};

/// The window of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimeSpan {
    /// Days, both inclusive.
    Dates {
        /// The first.
        from: String,
        /// The last.
        to: String,
    },
    /// Instants, half-open.
    Instants {
        /// The first.
        start: String,
        /// The first after.
        end: String,
    },
}

/// The flags of `jobs create`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Request {
    /// The export type.
    pub type_name: String,
    /// The job's name; its type where none is given.
    pub name: Option<String>,
    /// Format of shards.
    pub format: Option<String>,
    /// Compression of shards.
    pub compression: Option<String>,
    /// The window.
    pub span: Option<TimeSpan>,
    /// IANA name.
    pub timezone: Option<String>,
    /// Whether a window that has not ended is accepted.
    pub allow_open: bool,
    /// Calendar unit of a partition.
    pub partition_by: Option<String>,
    /// The catalog.
    pub catalog: Option<String>,
    /// Filter names and values, in order; a repeated name means any of its values.
    pub filters: Vec<(String, String)>,
    /// One SQL condition.
    pub where_sql: Option<String>,
    /// How long the package is kept.
    pub retention: Option<String>,
    /// age recipients; if empty, the files are not encrypted.
    pub encrypt_to: Vec<String>,
}

impl Request {
    /// The spec, as JSON, which is also YAML.
    pub(crate) fn spec(&self) -> String {
        let mut spec = Map::new();
        let mut set = |key: &str, value: Value| {
            spec.insert(key.to_owned(), value);
        };
        set("version", json!(1));
        set("name", json!(self.name.as_ref().unwrap_or(&self.type_name)));
        set("type", json!(self.type_name));
        let mut window = match &self.span {
            Some(TimeSpan::Dates { from, to }) => json!({"date_from": from, "date_to": to}),
            Some(TimeSpan::Instants { start, end }) => json!({"start": start, "end": end}),
            None => json!({}),
        };
        if let Some(zone) = &self.timezone {
            window["timezone"] = json!(zone);
        }
        if self.allow_open {
            window["allow_open"] = json!(true);
        }
        set("window", window);
        let given = [("catalog", &self.catalog), ("format", &self.format), ("compression", &self.compression)];
        for (key, value) in given.into_iter().chain([("where", &self.where_sql)]) {
            if let Some(value) = value {
                set(key, json!(value));
            }
        }
        if let Some(unit) = &self.partition_by {
            set("partition", json!({"by": unit}));
        }
        if let Some(retention) = &self.retention {
            set("output", json!({"retention": retention}));
        }
        if !self.encrypt_to.is_empty() {
            set("encryption", json!({"age": {"recipients": self.encrypt_to}}));
        }
        if !self.filters.is_empty() {
            set("filters", filters(&self.filters));
        }
        format!("{:#}", Value::Object(spec))
    }
}

/// The spec's `filters`: a name with one value means equality, with several it means any of them.
fn filters(given: &[(String, String)]) -> Value {
    let mut filters = Map::new();
    for (name, text) in given {
        let value = scalar(text);
        match filters.get_mut(name) {
            None => {
                filters.insert(name.clone(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.clone(), value]),
        }
    }
    Value::Object(filters)
}

/// Parses a value: JSON numbers, booleans and strings (`500`, `true`, `"text"`) keep their type; everything else is text.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
        _ => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_spec() {
        let request = Request {
            type_name: "events".into(),
            format: Some("csv".into()),
            span: Some(TimeSpan::Dates { from: "2026-01-01".into(), to: "2026-01-31".into() }),
            filters: [("statuses", "blocked"), ("statuses", "escalated"), ("latency_ms", "500"), ("team", "\"7\"")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .to_vec(),
            encrypt_to: vec!["age1a".into(), "age1b".into()],
            ..Request::default()
        };
        let spec: Value = serde_json::from_str(&request.spec()).unwrap();
        assert_eq!(
            spec,
            json!({
                "version": 1, "name": "events", "type": "events", "format": "csv",
                "window": {"date_from": "2026-01-01", "date_to": "2026-01-31"},
                "encryption": {"age": {"recipients": ["age1a", "age1b"]}},
                "filters": {"statuses": ["blocked", "escalated"], "latency_ms": 500, "team": "7"},
            })
        );
    }
}
