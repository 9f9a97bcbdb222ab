//! The age public keys that files are encrypted to.
//!
//! Only native X25519 keys are supported (`age1…`, <https://c2sp.org/age>). Each recipient can read every file of the package
//! alone.

use std::io::{self, Write};

use age::stream::StreamWriter;
use age::{Encryptor, Recipient, x25519};

/// Most recipients. Their header stays within `open::HEADER_BYTES`.
pub const MAX_RECIPIENTS: usize = 500;

/// Public keys without duplicates, in the given order.
pub struct Recipients {
    names: Vec<String>,
    keys: Vec<x25519::Recipient>,
}

impl Recipients {
    /// Parses at least one and at most [`MAX_RECIPIENTS`] keys.
    ///
    /// # Errors
    /// [`RecipientError`] of the first invalid key.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, RecipientError> {
        let mut all = Self { names: Vec::new(), keys: Vec::new() };
        for text in texts {
            let key = recipient(text)?;
            let name = key.to_string();
            if !all.names.contains(&name) {
                all.names.push(name);
                all.keys.push(key);
            }
        }
        match all.names.len() {
            0 => Err(RecipientError::NoRecipients),
            n if n > MAX_RECIPIENTS => Err(RecipientError::TooMany { count: n }),
            _ => Ok(all),
        }
    }

    /// The keys (`age1…`), as in manifests.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Starts an age stream that each recipient can decrypt.
    pub(super) fn encrypt<W: Write>(&self, out: W) -> io::Result<StreamWriter<W>> {
        let keys = self.keys.iter().map(|key| -> &dyn Recipient { key });
        Encryptor::with_recipients(keys).map_err(io::Error::other)?.wrap_output(out)
    }
}

/// Checks one public key.
///
/// # Errors
/// [`RecipientError`]. Messages never repeat the text, which may be a misplaced secret.
pub fn check_recipient(text: &str) -> Result<(), RecipientError> {
    recipient(text).map(drop)
}

fn recipient(text: &str) -> Result<x25519::Recipient, RecipientError> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let lower = text.to_ascii_lowercase();
    let is = |starts: &[&str]| starts.iter().any(|start| lower.starts_with(start));
    Err(if is(&["age-secret-key-", "age-plugin-", "-----begin"]) {
        RecipientError::Secret
    } else if is(&["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]) {
        RecipientError::Ssh
    } else if is(&["age1pq1", "age1tagpq1"]) {
        RecipientError::PostQuantum
    } else if lower.strip_prefix("age1").is_some_and(|data| data.contains('1')) {
        // Bech32 data contains no `1`, so a second `1` means that a plugin name precedes it.
        RecipientError::Plugin
    } else {
        RecipientError::Malformed
    })
}

/// The keys in a list with one key per line, and the 1-based number of each line. `#` starts a comment.
pub fn listed_recipients(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Why a text is not a recipient. Callers put the name of the text before the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// An SSH public key.
    #[error(
        "is an SSH key, and only age keys (`age1…`) can be recipients: for SSH keys, the age library needs the crate `rsa`, \
         which leaks private keys through timing (RUSTSEC-2023-0071); ask for a key made by `age-keygen`"
    )]
    Ssh,
    /// An identity.
    #[error(
        "is a secret key: name the public key instead, which `age-keygen -y` prints; and make a new key, because this one is exposed"
    )]
    Secret,
    /// A hybrid key.
    #[error(
        "is a post-quantum key, which the age library of this release cannot encrypt to; name an X25519 key, `age1…`"
    )]
    PostQuantum,
    /// A plugin's key.
    #[error("is the key of an age plugin, and this program runs no plugins; name an X25519 key, `age1…`")]
    Plugin,
    /// Anything else.
    #[error("is not an age public key: it is mistyped or truncated; `age1…` has 62 characters")]
    Malformed,
    /// An empty list.
    #[error("name no recipient: the files would be unreadable")]
    NoRecipients,
    /// More than a header has room for.
    #[error("are {count} recipients, but the maximum is {MAX_RECIPIENTS}")]
    TooMany {
        /// Number of keys.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    #[test]
    fn the_same_key_twice_is_one_recipient() {
        let other = x25519::Identity::generate().to_public().to_string();
        let both = Recipients::new([KEY, &other, KEY]).unwrap();
        assert_eq!(both.names(), [KEY, &other]);
    }

    #[test]
    fn what_is_no_recipient_is_refused_with_a_reason() {
        let text = |key: &str| check_recipient(key).unwrap_err().to_string();
        assert_eq!(
            text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice"),
            "is an SSH key, and only age keys (`age1…`) can be recipients: for SSH keys, the age library needs the crate \
             `rsa`, which leaks private keys through timing (RUSTSEC-2023-0071); ask for a key made by `age-keygen`"
        );
        assert_eq!(
            text("AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33"),
            "is a secret key: name the public key instead, which `age-keygen -y` prints; and make a new key, because this one is exposed"
        );
        let quantum = "is a post-quantum key, which the age library of this release cannot encrypt to; name an X25519 key, `age1…`";
        assert_eq!(text("age1pq1xyz"), quantum);
        assert_eq!(text("age1tagpq1xyz"), quantum);
        assert_eq!(
            text("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t"),
            "is the key of an age plugin, and this program runs no plugins; name an X25519 key, `age1…`"
        );
        for mistyped in ["", "age1", "alice@example.com", &KEY[..40], &KEY.replace('t', "q")] {
            assert_eq!(
                text(mistyped),
                "is not an age public key: it is mistyped or truncated; `age1…` has 62 characters",
                "{mistyped}"
            );
        }
        let refused = |keys: &[&str]| Recipients::new(keys.iter().copied()).err().map(|e| e.to_string());
        assert_eq!(refused(&[]).unwrap(), "name no recipient: the files would be unreadable");
        let many: Vec<String> =
            (0..=MAX_RECIPIENTS).map(|_| x25519::Identity::generate().to_public().to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(refused(&many).unwrap(), "are 501 recipients, but the maximum is 500");
    }

    #[test]
    fn a_list_has_one_key_a_line_and_comments() {
        let text = format!("# auditors\n\n {KEY} \r\nalice\n");
        assert_eq!(listed_recipients(&text).collect::<Vec<_>>(), [(3, KEY), (4, "alice")]);
    }
}
