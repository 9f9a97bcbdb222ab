//! The window as a person wrote it: which form, which zone, nothing computed.
//!
//! Every value is the text of its YAML scalar (`2026`, `2026-03-05`, `7d`), so that the planner alone knows
//! calendars, and its messages can point at what was written. Exactly one form is present: the decoder
//! refuses none and two.

use jiff::SignedDuration;
use schemars::JsonSchema;

use crate::diagnostic::{Diagnostic, Located, shown};
use crate::units;
use crate::yaml::Entry;
use crate::yaml::Node;
use crate::yaml::decode::{Fields, Keys, boolean, text, written};

/// How the window was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowForm {
    /// `date_from` and `date_to`: days of the zone, both inclusive.
    Dates {
        /// First day, `YYYY-MM-DD`.
        from: Located<String>,
        /// Last day, `YYYY-MM-DD`.
        to: Located<String>,
    },
    /// `start` and `end`: RFC 3339 instants, half-open.
    Instants {
        /// First instant inside.
        start: Located<String>,
        /// First instant after.
        end: Located<String>,
    },
    /// `YYYY-MM`.
    Month(Located<String>),
    /// `YYYY-Qn`.
    Quarter(Located<String>),
    /// `YYYY`.
    Year(Located<String>),
    /// `YYYY-Wnn`, ISO 8601.
    Week(Located<String>),
    /// `YYYY-MM-DD`.
    Date(Located<String>),
    /// The last whole `hour|day|week|month|quarter|year` before now.
    Previous(Located<String>),
    /// `n` whole `h|d|w|mo` before now: `7d`.
    Last(Located<String>),
}

/// The `window` of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// Which instants.
    pub form: WindowForm,
    /// IANA name; `UTC` when not written.
    pub timezone: Located<String>,
    /// How long late data may take; zero when not written.
    pub settle: Located<SignedDuration>,
    /// Whether a window that is not over or not settled is exported all the same.
    pub allow_open: bool,
}

/// Keys of `window`.
pub const WINDOW_KEYS: Keys = Keys {
    known: &[
        "date_from",
        "date_to",
        "start",
        "end",
        "month",
        "quarter",
        "year",
        "week",
        "date",
        "previous",
        "last",
        "timezone",
        "settle",
        "allow_open",
    ],
};

type MakeForm = fn(Located<String>) -> WindowForm;

/// Forms with one key, and what it looks like.
const SINGLE_FORMS: [(&str, MakeForm); 7] = [
    ("month", WindowForm::Month),
    ("quarter", WindowForm::Quarter),
    ("year", WindowForm::Year),
    ("week", WindowForm::Week),
    ("date", WindowForm::Date),
    ("previous", WindowForm::Previous),
    ("last", WindowForm::Last),
];

/// Forms with two keys.
const PAIRED_FORMS: [(&str, &str); 2] = [("date_from", "date_to"), ("start", "end")];

const FORMS_HELP: &str =
    "use one form: date_from + date_to, start + end, month, quarter, year, week, date, previous or last";

impl WindowSpec {
    /// Stands for a window whose mistake is already reported.
    pub(crate) fn nothing() -> Self {
        Self {
            form: WindowForm::Date(Located::default_value(String::new())),
            timezone: Located::default_value("UTC".to_owned()),
            settle: Located::default_value(SignedDuration::ZERO),
            allow_open: false,
        }
    }

    /// Reads `window`. A form with a mistake gives `None`.
    pub(crate) fn decode(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let at = entry.key.span.as_ref()?;
        let fields = Fields::open(&entry.value, at, "window", WINDOW_KEYS, errors)?;
        let form = decode_form(&fields, &entry.key, errors);
        let timezone = fields.optional("timezone", errors, text);
        let settle = fields.optional("settle", errors, duration);
        let allow_open = fields.optional("allow_open", errors, boolean);
        Some(Self {
            form: form?,
            timezone: timezone.unwrap_or_else(|| Located::default_value("UTC".to_owned())),
            settle: settle.unwrap_or_else(|| Located::default_value(SignedDuration::ZERO)),
            allow_open: allow_open.unwrap_or(false),
        })
    }
}

fn decode_form(fields: &Fields<'_>, window: &Located<String>, errors: &mut Vec<Diagnostic>) -> Option<WindowForm> {
    let mut forms = Vec::new();
    let mut first_keys: Vec<&Located<String>> = Vec::new();
    for (from, to) in PAIRED_FORMS {
        let present = [from, to].map(|key| fields.get(key));
        if let Some(entry) = present.iter().flatten().next() {
            first_keys.push(&entry.key);
            let example = if from == "start" { "2026-03-01T00:00:00Z" } else { "2026-03-31" };
            let values =
                (fields.required(from, example, errors, written), fields.required(to, example, errors, written));
            if let (Some(first), Some(last)) = values {
                forms.push(if from == "start" {
                    WindowForm::Instants { start: first, end: last }
                } else {
                    WindowForm::Dates { from: first, to: last }
                });
            }
        }
    }
    for (key, form) in SINGLE_FORMS {
        if let Some(entry) = fields.get(key) {
            first_keys.push(&entry.key);
            forms.extend(written(&entry.value, key, errors).map(form));
        }
    }
    match first_keys.as_slice() {
        [] => {
            errors.push(window.mistake("`window` has no time").help(FORMS_HELP));
            None
        }
        [_] => forms.pop(),
        [first, others @ ..] => {
            for other in others {
                let message = format!("`{}` and `{}` are two forms of window", first.value, other.value);
                errors.push(other.mistake(message).help(FORMS_HELP));
            }
            None
        }
    }
}

/// A duration with its place.
pub(crate) fn duration(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<SignedDuration>> {
    let found = written(node, what, errors)?;
    match units::parse_duration(&found.value) {
        Ok(value) => Some(Located { value, span: found.span }),
        Err(bad) => {
            let mistake = found.mistake(format!("`{what}` cannot be `{}`", shown(&found.value)));
            errors.push(mistake.help(bad.to_string()));
            None
        }
    }
}

/// Which rows by time. Exactly one form: `date_from` + `date_to`, `start` + `end`, `month`, `quarter`, `year`, `week`,
/// `date`, `previous` or `last`.
#[derive(JsonSchema)]
#[schemars(rename = "Window", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
pub(crate) struct WindowSchema {
    /// First day, inclusive, in `timezone`: `2026-03-01`.
    date_from: Option<String>,
    /// Last day, inclusive, in `timezone`: `2026-03-31`.
    date_to: Option<String>,
    /// First instant inside: `2026-03-01T00:00:00Z`.
    start: Option<String>,
    /// First instant after: `2026-04-01T00:00:00Z`.
    end: Option<String>,
    /// One month: `2026-03`.
    month: Option<String>,
    /// One quarter: `2026-Q1`.
    quarter: Option<String>,
    /// One year: `2026`.
    year: Option<TextOrInteger>,
    /// One ISO 8601 week: `2026-W10`.
    week: Option<String>,
    /// One day: `2026-03-05`.
    date: Option<String>,
    /// The last whole unit before now: `hour`, `day`, `week`, `month`, `quarter` or `year`.
    previous: Option<String>,
    /// So many whole units before now, both ends floored: `24h`, `7d`, `4w`, `3mo`.
    last: Option<String>,
    /// IANA time zone that days and longer units are cut in; default UTC.
    timezone: Option<String>,
    /// How long late data may take: a window that ends later than now minus this is refused with exit 6, unless
    /// `allow_open`. Default `0s`.
    settle: Option<String>,
    /// Export a window that is not over or not settled all the same; default false.
    allow_open: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
enum TextOrInteger {
    Text(String),
    Integer(u64),
}
