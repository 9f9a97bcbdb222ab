//! The window as a person wrote it: which form, which zone, nothing computed.
//!
//! Every value is the text of its YAML scalar (`2026`, `2026-03-05`, `7d`), so that the planner alone knows
//! calendars, and its messages can point at what was written. Exactly one form is present: the decoder
//! refuses none and two.

use crate::diagnostic::Located;

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
    /// How long late data may take, as written; `None` means no time at all.
    pub settle: Option<Located<String>>,
    /// Whether a window that is not over or not settled is exported all the same.
    pub allow_open: bool,
}
