//! The allowed signers file, as `ssh-keygen -Y verify -f` reads it.
//!
//! Format: ssh-keygen(1), "ALLOWED SIGNERS"; patterns: ssh_config(5), "PATTERNS". One invalid line makes the whole file
//! invalid, because a half-understood list could allow too much or refuse without reason. Certificate authorities are
//! not supported: their lines are skipped and reported.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use ssh_key::PublicKey;

use super::NAMESPACE;

/// The file's lines, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedSigners {
    signers: Vec<AllowedSigner>,
    authorities: Vec<usize>,
}

/// One line: a key and for whom, for what and when it may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedSigner {
    line: usize,
    principals: String,
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
    key: PublicKey,
}

/// What the file says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// It may sign; the principals as the line has them.
    Allowed {
        /// The pattern that names them.
        principals: String,
    },
    /// It stands there, and may not sign this.
    Refused {
        /// Why, line by line.
        why: Vec<String>,
    },
    /// It does not stand there.
    Unknown,
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct AllowedError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and how it should be.
    pub why: String,
}

impl AllowedSigners {
    /// Reads the file's text. Times without a zone are those of `zone`, as ssh-keygen reads them.
    ///
    /// # Errors
    /// [`AllowedError`], the first.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, AllowedError> {
        let mut allowed = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match parse_line(line, text, zone).map_err(|bad| AllowedError { line, why: bad.to_string() })? {
                Some(signer) => allowed.signers.push(signer),
                None => allowed.authorities.push(line),
            }
        }
        Ok(allowed)
    }

    /// Lines that name certificate authorities, which are left out.
    pub fn authorities(&self) -> &[usize] {
        &self.authorities
    }

    /// Whether a key may sign packages for `principal` (`None`: for anybody who is listed) at an instant, of which the whole
    /// seconds count: ssh-keygen's `verify-time` has no others, and both must say the same.
    pub fn look_up(&self, key: &PublicKey, principal: Option<&str>, at: Timestamp) -> Listing {
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let mut refusals = Vec::new();
        for signer in self.signers.iter().filter(|signer| signer.key.key_data() == key.key_data()) {
            match signer.refusal(principal, at) {
                None => return Listing::Allowed { principals: signer.principals.clone() },
                Some(why) => refusals.push(format!("line {}: {why}", signer.line)),
            }
        }
        if refusals.is_empty() { Listing::Unknown } else { Listing::Refused { why: refusals } }
    }
}

impl AllowedSigner {
    fn refusal(&self, principal: Option<&str>, at: Timestamp) -> Option<String> {
        if let Some(principal) = principal
            && !matches_list(principal, &self.principals)
        {
            return Some(format!("the key is that of {}", self.principals));
        }
        if let Some(namespaces) = &self.namespaces
            && !matches_list(NAMESPACE, namespaces)
        {
            return Some(format!("the key may sign for the namespaces {namespaces}, not for {NAMESPACE}"));
        }
        match (self.valid_after, self.valid_before) {
            (Some(after), _) if at < after => Some(format!("the key is valid after {after}, and signed at {at}")),
            (_, Some(before)) if at > before => Some(format!("the key is valid before {before}, and signed at {at}")),
            _ => None,
        }
    }
}

/// What is wrong with a line, and how it should be.
#[derive(Debug, thiserror::Error)]
enum BadLine {
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("it names no principals")]
    NoPrincipals,
    #[error(
        "expected principals, options and a public key: name@example.com namespaces=\"kt-export\" ssh-ed25519 AAAA…"
    )]
    NoKey,
    #[error("`{name}` needs a value in quotes: {name}=\"…\"")]
    NoValue { name: String },
    #[error("write the value of `{name}` in quotes")]
    Unquoted { name: String },
    #[error(
        "the option `{}` is not known: it is none of namespaces, valid-after, valid-before, cert-authority",
        name.escape_debug()
    )]
    UnknownOption { name: String },
    #[error("`{}` is not a time: write YYYYMMDD or YYYYMMDDHHMM[SS], and Z for UTC", text.escape_debug())]
    NotATime { text: String },
}

/// `None` for a certificate authority.
fn parse_line(line: usize, text: &str, zone: &TimeZone) -> Result<Option<AllowedSigner>, BadLine> {
    let (principals, rest) = word(text).ok_or(BadLine::OpenQuote)?;
    if principals.is_empty() {
        return Err(BadLine::NoPrincipals);
    }
    let principals = principals.to_owned();
    let signer = |key| AllowedSigner { line, principals, namespaces: None, valid_after: None, valid_before: None, key };
    if let Ok(key) = PublicKey::from_openssh(rest) {
        return Ok(Some(signer(key)));
    }
    let (options, rest) = options(rest)?;
    let key = PublicKey::from_openssh(rest).map_err(|_| BadLine::NoKey)?;
    let mut signer = signer(key);
    let mut is_authority = false;
    for (name, value) in options {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("cert-authority", None) => is_authority = true,
            ("namespaces", Some(value)) => signer.namespaces = Some(value),
            ("valid-after", Some(value)) => signer.valid_after = Some(instant(&value, zone)?),
            ("valid-before", Some(value)) => signer.valid_before = Some(instant(&value, zone)?),
            ("namespaces" | "valid-after" | "valid-before", None) => return Err(BadLine::NoValue { name }),
            _ => return Err(BadLine::UnknownOption { name }),
        }
    }
    Ok((!is_authority).then_some(signer))
}

/// The first word, which may stand in quotes, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_once([' ', '\t']).unwrap_or((text, "")),
    };
    Some((word, rest.trim_start()))
}

type Options = Vec<(String, Option<String>)>;

/// Options up to the first space outside quotes, separated by commas; `\"` inside quotes is a quote.
fn options(text: &str) -> Result<(Options, &str), BadLine> {
    let mut options = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(['=', ',', ' ', '\t']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => {
                let quoted = after.strip_prefix('"').ok_or_else(|| BadLine::Unquoted { name: name.to_owned() })?;
                let (value, after) = quoted_value(quoted).ok_or(BadLine::OpenQuote)?;
                (Some(value), after)
            }
            None => (None, after),
        };
        options.push((name.to_owned(), value));
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok((options, after.trim_start())),
        }
    }
}

/// What stands before the closing quote, and what follows it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                value.push('"');
                chars.next();
            }
            c => value.push(c),
        }
    }
    None
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with `Z` or `UTC` after it in UTC.
fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp, BadLine> {
    let upper = text.to_ascii_uppercase();
    let utc = upper.strip_suffix("UTC").or_else(|| upper.strip_suffix('Z'));
    let digits = utc.unwrap_or(&upper);
    let zone = if utc.is_some() { &TimeZone::UTC } else { zone };
    let format = match digits.len() {
        8 => "%Y%m%d",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => "",
    };
    let is_digits = digits.bytes().all(|b| b.is_ascii_digit());
    let parsed = strtime::parse(format, digits).ok().filter(|_| is_digits && !format.is_empty());
    let civil = parsed.and_then(|time| match time.to_datetime() {
        Ok(datetime) => Some(datetime),
        Err(_) => time.to_date().ok().map(|date| DateTime::from_parts(date, Time::midnight())),
    });
    let instant = civil.and_then(|civil| zone.to_ambiguous_zoned(civil).compatible().ok());
    instant.map(|zoned| zoned.timestamp()).ok_or_else(|| BadLine::NotATime { text: text.to_owned() })
}

/// Whether a name fits a list of patterns: one of them, and none of those with `!` before it.
fn matches_list(name: &str, patterns: &str) -> bool {
    let mut fits = false;
    for pattern in patterns.split(',').map(str::trim) {
        match pattern.strip_prefix('!') {
            Some(not) if matches_pattern(name.as_bytes(), not.as_bytes()) => return false,
            Some(_) => {}
            None => fits |= matches_pattern(name.as_bytes(), pattern.as_bytes()),
        }
    }
    fits
}

/// `*` is any text, `?` one byte. Goes back to the last `*` only, which is enough and takes no exponential time.
fn matches_pattern(name: &[u8], pattern: &[u8]) -> bool {
    let (mut n, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || Some(&c) == name.get(n) => (n, p) = (n + 1, p + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (n, p) = (from + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
}
