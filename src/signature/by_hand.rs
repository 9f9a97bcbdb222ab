//! The OpenSSH commands that repeat these checks, so that every page prints the same ones.
//!
//! A key may be replaced after it signed, so both judge it at the time of the signature: ssh-keygen takes that as
//! `verify-time`, in whole seconds, in UTC where a `Z` stands behind (OpenSSH 9.1 and later).

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::NAMESPACE;

/// What one signature is checked with.
#[derive(Debug, Clone, Copy)]
pub struct ByHand<'a> {
    /// The list of allowed signers, as a shell reads it.
    pub list: &'a str,
    /// The file that is signed.
    pub file: &'a str,
    /// Its signature.
    pub signature: &'a str,
    /// When it signed.
    pub at: Timestamp,
}

impl ByHand<'_> {
    /// `ssh-keygen -Y verify`; `principal` as a shell reads it.
    pub fn verify(&self, principal: &str) -> String {
        let Self { list, file, signature, .. } = self;
        let time = self.time();
        format!(
            "ssh-keygen -Y verify -f {list} -I {principal} -n {NAMESPACE} -O verify-time={time} -s {signature} < {file}"
        )
    }

    /// `ssh-keygen -Y find-principals`.
    pub fn find_principals(&self) -> String {
        let Self { list, signature, .. } = self;
        let time = self.time();
        format!("ssh-keygen -Y find-principals -f {list} -O verify-time={time} -s {signature}")
    }

    fn time(&self) -> String {
        self.at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%SZ").to_string()
    }
}
