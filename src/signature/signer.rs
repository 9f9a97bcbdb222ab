//! The signing key: from a file, an environment variable, or an ssh-agent. Loading makes a test signature, so that a
//! run of hours cannot end without one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::{NAMESPACE, check, fingerprint, is_signing, one_line};
use crate::package::manifest::SignerRecord;
use crate::secret::{SecretError, SecretName};

/// Where an ssh-agent listens.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// What a key signs to prove that it does. No manifest has these bytes.
const TRIAL: &[u8] = b"";

/// A key that signs.
pub struct Signer {
    identity: String,
    public_key: PublicKey,
    /// The public key as manifests have it.
    line: String,
    place: KeyHolder,
}

enum KeyHolder {
    Here(Box<PrivateKey>),
    /// The agent's socket.
    Agent(PathBuf),
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Something else than a key.
    #[error(
        "{name} holds no OpenSSH private key: make one with `ssh-keygen -t ed25519`, or name a public key whose private \
         key is in the ssh-agent"
    )]
    NoKey {
        /// Where it was looked for.
        name: String,
    },
    /// A key that cannot be opened.
    #[error(
        "the key in {name} has a passphrase: add it to the ssh-agent with `ssh-add` and name its public key (the file \
         that ends in .pub) instead"
    )]
    Passphrase {
        /// Where.
        name: String,
    },
    /// A kind of key that does not sign here.
    #[error(
        "the key in {name} is of the kind {algorithm}, which is not used for signing here: take an Ed25519 key \
         (`ssh-keygen -t ed25519`), in the file or in the ssh-agent with its public key in the file"
    )]
    Kind {
        /// Where.
        name: String,
        /// As OpenSSH calls it.
        algorithm: Algorithm,
    },
    /// Only a public key, and no agent.
    #[error(
        "{name} holds a public key, so the ssh-agent has to sign, but {AGENT_VARIABLE} is not set: start ssh-agent \
         where this process runs and add the key with `ssh-add`"
    )]
    NoAgent {
        /// Where.
        name: String,
    },
    /// The agent does not sign.
    #[error("the ssh-agent at {} does not sign with {fingerprint}: {why}", socket.display())]
    Agent {
        /// Where it listens.
        socket: PathBuf,
        /// The key.
        fingerprint: String,
        /// What happened and what to do.
        why: String,
    },
    /// A signature that does not fit its key.
    #[error("the key in {name} is damaged: what it signs does not verify; make a new one")]
    Damaged {
        /// Where, or which.
        name: String,
    },
}

impl Signer {
    /// Reads the key and lets it sign something.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn load(key: &SecretName, identity: &str, env: &BTreeMap<String, String>) -> Result<Self, SignError> {
        let name = key.to_string();
        let secret = key.read(env)?;
        let text = std::str::from_utf8(&secret).map_err(|_| SignError::NoKey { name: name.clone() })?;
        let (public_key, place) = match PublicKey::from_openssh(text.trim()) {
            Ok(public_key) => {
                let socket = env.get(AGENT_VARIABLE).filter(|socket| !socket.is_empty());
                let socket = socket.ok_or_else(|| SignError::NoAgent { name: name.clone() })?;
                (public_key, KeyHolder::Agent(PathBuf::from(socket)))
            }
            Err(_) => {
                let key = PrivateKey::from_openssh(text).map_err(|_| SignError::NoKey { name: name.clone() })?;
                if key.is_encrypted() {
                    return Err(SignError::Passphrase { name });
                }
                (key.public_key().clone(), KeyHolder::Here(Box::new(key)))
            }
        };
        if !is_signing(&public_key.algorithm()) {
            return Err(SignError::Kind { name, algorithm: public_key.algorithm() });
        }
        let line = one_line(&public_key).map_err(|_| SignError::Damaged { name: name.clone() })?;
        let signer = Self { identity: identity.to_owned(), public_key, line, place };
        signer.sign(TRIAL)?;
        Ok(signer)
    }

    /// What a manifest says of its signer.
    pub fn record(&self) -> SignerRecord {
        SignerRecord { identity: self.identity.clone(), public_key: self.line.clone() }
    }

    /// Whether an ssh-agent keeps the key.
    pub fn is_in_agent(&self) -> bool {
        matches!(self.place, KeyHolder::Agent(_))
    }

    /// The armored signature of `bytes`, which is checked before it is given out.
    ///
    /// # Errors
    /// [`SignError::Agent`], [`SignError::Damaged`].
    pub fn sign(&self, bytes: &[u8]) -> Result<String, SignError> {
        let signature = match &self.place {
            KeyHolder::Here(key) => key.sign(NAMESPACE, HashAlg::Sha512, bytes).ok(),
            KeyHolder::Agent(socket) => Some(self.ask_agent(socket, bytes)?),
        };
        signature
            .and_then(|signature| signature.to_pem(LineEnding::LF).ok())
            .filter(|text| check(text.as_bytes(), bytes).is_ok_and(|key| key.key_data() == self.public_key.key_data()))
            .ok_or_else(|| SignError::Damaged { name: self.to_string() })
    }

    #[cfg(unix)]
    fn ask_agent(&self, socket: &std::path::Path, bytes: &[u8]) -> Result<SshSig, SignError> {
        let failed = |why: String| SignError::Agent {
            socket: socket.to_owned(),
            fingerprint: fingerprint(&self.public_key),
            why,
        };
        let malformed = |_| failed("its answer is no signature; restart the agent".to_owned());
        let blob = self.public_key.to_bytes().map_err(malformed)?;
        let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, bytes).map_err(malformed)?;
        let answer = super::agent::sign(socket, &blob, &data).map_err(|error| failed(error.to_string()))?;
        let signature = ssh_key::Signature::try_from(answer.as_slice()).map_err(malformed)?;
        SshSig::new(self.public_key.key_data().clone(), NAMESPACE, HashAlg::Sha512, signature).map_err(malformed)
    }

    #[cfg(not(unix))]
    fn ask_agent(&self, socket: &std::path::Path, _bytes: &[u8]) -> Result<SshSig, SignError> {
        let why = "agents are only asked on Unix; name a private key".to_owned();
        Err(SignError::Agent { socket: socket.to_owned(), fingerprint: fingerprint(&self.public_key), why })
    }
}

/// Kind and fingerprint.
impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.public_key.algorithm(), fingerprint(&self.public_key))
    }
}
