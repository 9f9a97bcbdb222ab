//! An entry of the keys file: as text, and as it is read.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{ApiKey, Keys};
use crate::diagnostic::{Diagnostic, Located, SourceText, in_order, shown};
use crate::seal::check_recipient;
use crate::spec::{document_place, version};
use crate::yaml::decode::{Fields, Keys as KnownKeys, Word, list, text, word, written};
use crate::yaml::{self, Node};

/// Keys of the file.
const FILE_KEYS: KnownKeys = KnownKeys { known: &["version", "keys"] };

/// Keys of an entry.
const ENTRY_KEYS: KnownKeys =
    KnownKeys { known: &["id", "sha256", "types", "may", "tenant", "encrypt_to", "expires_at", "revoked_at", "rate"] };

/// All types of the catalog.
const ALL_TYPES: &str = "*";

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Right {
    /// Create, cancel and delete exports.
    Create,
    /// List exports and look at them.
    Read,
    /// Fetch their files.
    Download,
}

impl Word for Right {
    const WORDS: &'static [(&'static str, Self)] =
        &[("create", Self::Create), ("read", Self::Read), ("download", Self::Download)];
}

/// The name of a key or a tenant: 1 to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct KeyId(String);

impl KeyId {
    /// What a name may be, for messages.
    pub(crate) const RULE: &'static str =
        "use 1 to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit";

    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        (starts && text.len() <= 64 && text.bytes().all(is_known)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Most requests in a time: `60/m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) requests: NonZeroU32,
    unit: RateUnit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RateUnit {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// What a rate may be, for messages.
    pub(crate) const RULE: &'static str = "write a number of requests and a unit, `s`, `m` or `h`, such as `60/m`";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (requests, unit) = text.split_once('/')?;
        let unit = match unit {
            "s" => RateUnit::Second,
            "m" => RateUnit::Minute,
            "h" => RateUnit::Hour,
            _ => return None,
        };
        Some(Self { requests: requests.parse().ok()?, unit })
    }

    /// The time that [`Rate::requests`] may take no less than.
    pub(crate) fn per(self) -> Duration {
        Duration::from_secs(match self.unit {
            RateUnit::Second => 1,
            RateUnit::Minute => 60,
            RateUnit::Hour => 3600,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            RateUnit::Second => 's',
            RateUnit::Minute => 'm',
            RateUnit::Hour => 'h',
        };
        write!(f, "{}/{unit}", self.requests)
    }
}

impl Keys {
    /// Reads the text of a keys file.
    ///
    /// # Errors
    /// Every mistake that could be found.
    pub(super) fn parse(source: &Arc<SourceText>) -> Result<Self, Vec<Diagnostic>> {
        let root = yaml::parse(source).map_err(in_order)?;
        let mut errors = Vec::new();
        let keys = decode(&root, &mut errors);
        match keys {
            Some(keys) if errors.is_empty() => Ok(keys),
            _ => Err(in_order(errors)),
        }
    }
}

fn decode(root: &Node, errors: &mut Vec<Diagnostic>) -> Option<Keys> {
    let fields = Fields::open(root, &document_place(root), "", FILE_KEYS, errors)?;
    fields.required("version", "1", errors, version);
    fields.required("keys", "[]", errors, api_keys).map(|keys| Keys { keys })
}

fn api_keys(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Arc<ApiKey>>> {
    let mut keys: Vec<Arc<ApiKey>> = Vec::new();
    for node in list(node, what, errors)? {
        let Some((id, key)) = decode_key(node, errors) else { continue };
        if keys.iter().any(|other| other.id == key.id) {
            let mistake = id.mistake(format!("there are two keys `{}`", shown(&id.value)));
            errors.push(mistake.help("give one of them another `id`"));
        } else if keys.iter().any(|other| other.sha256 == key.sha256) {
            let mistake =
                id.mistake(format!("the key `{}` is another one's: it has the same `sha256`", shown(&id.value)));
            errors.push(mistake.help("remove one of the two entries"));
        }
        keys.push(Arc::new(key));
    }
    Some(keys)
}

/// A key, and its id with the place. What has a mistake is left out, because no key of a file with mistakes is used.
fn decode_key(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<(Located<String>, ApiKey)> {
    let fields = Fields::open(node, &node.span, "keys", ENTRY_KEYS, errors)?;
    let id = fields.required("id", "ci", errors, key_id);
    let sha256 = fields.required("sha256", "the SHA-256 of the key, in hex", errors, sha256);
    let types = fields.required("types", "[events, audit-log]", errors, types);
    let may = fields.required("may", "[create, read, download]", errors, rights);
    let tenant = fields.optional("tenant", errors, key_id).map(|(_, tenant)| tenant);
    let encrypt_to = fields.optional("encrypt_to", errors, recipients).unwrap_or_default();
    let expires_at = fields.optional("expires_at", errors, instant);
    let revoked_at = fields.optional("revoked_at", errors, instant);
    let rate = fields.optional("rate", errors, rate);
    let (written, id) = id?;
    let (sha256, types, may) = (sha256?, types?, may?);
    Some((written, ApiKey { id, sha256, types, may, tenant, encrypt_to, expires_at, revoked_at, rate }))
}

fn key_id(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<(Located<String>, KeyId)> {
    let found = text(node, what, errors)?;
    match KeyId::new(&found.value) {
        Some(id) => Some((found, id)),
        None => {
            errors.push(found.mistake(format!("`{}` cannot be an `{what}`", shown(&found.value))).help(KeyId::RULE));
            None
        }
    }
}

fn sha256(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<[u8; 32]> {
    let found = written(node, what, errors)?;
    let digest = data_encoding::HEXLOWER.decode(found.value.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    if digest.is_none() {
        let mistake = found.mistake("`sha256` must be 64 lower-case hex digits");
        errors.push(mistake.help("`kt-export keys new` prints the entry of a new key"));
    }
    digest
}

/// `None` inside for all types.
fn types(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Option<BTreeSet<String>>> {
    let names = texts(node, what, errors)?;
    let all = names.iter().find(|name| name.value == ALL_TYPES);
    if let Some(all) = all.filter(|_| names.len() > 1) {
        errors.push(all.mistake("`*` stands for all types").help("remove the others, or remove `*`"));
        return None;
    }
    Some(all.is_none().then(|| names.into_iter().map(|name| name.value).collect()))
}

fn rights(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<BTreeSet<Right>> {
    let nodes = some(node, what, errors)?;
    nodes.iter().map(|node| word(node, what, errors)).collect()
}

fn recipients(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let recipients = texts(node, what, errors)?;
    for recipient in &recipients {
        if let Err(why) = check_recipient(&recipient.value) {
            let mistake = recipient.mistake(format!("`{}` is not an age recipient", shown(&recipient.value)));
            errors.push(mistake.help(why.to_string()));
        }
    }
    Some(recipients.into_iter().map(|recipient| recipient.value).collect())
}

/// A list of at least one text.
fn texts(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Located<String>>> {
    some(node, what, errors)?.iter().map(|node| text(node, what, errors)).collect()
}

/// A list of at least one value.
fn some<'n>(node: &'n Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<&'n [Node]> {
    let nodes = list(node, what, errors)?;
    if nodes.is_empty() {
        let mistake = Diagnostic::at(Some(&node.span), format!("`{what}` names nothing"));
        errors.push(mistake.help("name something, or remove the entry"));
        return None;
    }
    Some(nodes)
}

fn instant(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Timestamp> {
    let found = text(node, what, errors)?;
    let instant = found.value.parse().ok();
    if instant.is_none() {
        let mistake = found.mistake(format!("`{}` is not a time", shown(&found.value)));
        errors.push(mistake.help("write RFC 3339 with an offset, such as `2027-01-01T00:00:00Z`"));
    }
    instant
}

fn rate(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Rate> {
    let found = text(node, what, errors)?;
    let rate = Rate::parse(&found.value);
    if rate.is_none() {
        errors.push(found.mistake(format!("`{}` is not a rate", shown(&found.value))).help(Rate::RULE));
    }
    rate
}

/// What a new key is for.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) id: KeyId,
    /// Names of types, or `*`.
    pub(crate) types: Vec<String>,
    pub(crate) may: BTreeSet<Right>,
    pub(crate) tenant: Option<KeyId>,
    pub(crate) encrypt_to: Vec<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) rate: Option<Rate>,
}

impl NewKey {
    pub(super) fn with_digest(self, sha256: [u8; 32]) -> ApiKey {
        let Self { id, types, may, tenant, encrypt_to, expires_at, rate } = self;
        let types = (!types.iter().any(|name| name == ALL_TYPES)).then(|| types.into_iter().collect());
        ApiKey { id, sha256, types, may, tenant, encrypt_to, expires_at, revoked_at: None, rate }
    }
}

/// An entry as text: `kt-export keys new` prints it.
///
/// Times and digests are written so that [`Keys::parse`] reads the same key again; lists are JSON, which is YAML.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = BTreeSet::from([ALL_TYPES.to_owned()]);
        let rights: Vec<_> = self.may.iter().map(|right| right.word()).collect();
        writeln!(f, "- id: {}", json!(self.id))?;
        writeln!(f, "  sha256: {}", json!(self.sha256_hex()))?;
        writeln!(f, "  types: {}", json!(self.types.as_ref().unwrap_or(&all)))?;
        writeln!(f, "  may: [{}]", rights.join(", "))?;
        if let Some(tenant) = &self.tenant {
            writeln!(f, "  tenant: {}", json!(tenant))?;
        }
        if !self.encrypt_to.is_empty() {
            writeln!(f, "  encrypt_to: {}", json!(self.encrypt_to))?;
        }
        for (key, at) in [("expires_at", self.expires_at), ("revoked_at", self.revoked_at)] {
            if let Some(at) = at {
                writeln!(f, "  {key}: {at}")?;
            }
        }
        self.rate.map_or(Ok(()), |rate| writeln!(f, "  rate: {rate}"))
    }
}
