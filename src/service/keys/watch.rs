//! The keys of a file that may change while the service runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::{Keys, KeysError};
use crate::diagnostic::render_text;

/// How old the answer to "has the file changed?" may be.
const LOOK: Duration = Duration::from_secs(1);

/// A keys file, read again when it changes.
pub(crate) struct KeysFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    keys: Arc<Keys>,
    looked_at: Instant,
    /// Of the file when `keys` was read.
    version: Option<Version>,
    /// Why it cannot be read now, which is said once.
    fault: Option<String>,
}

/// What tells two contents of a file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl KeysFile {
    /// Reads a keys file for the first time.
    ///
    /// # Errors
    /// [`KeysError`].
    pub(crate) fn open(path: &Path) -> Result<Self, KeysError> {
        let version = version(path);
        let keys = Arc::new(Keys::read(path)?);
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(State { keys, looked_at: Instant::now(), version, fault: None }),
        })
    }

    /// The keys as they are now. While the file cannot be read or has mistakes, those that it had before, and the log says
    /// so: a slip in the file must not lock everybody out.
    pub(crate) fn current(&self) -> Arc<Keys> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked_at.elapsed() >= LOOK {
            state.looked_at = Instant::now();
            let version = version(&self.path);
            if version != state.version {
                match Keys::read(&self.path) {
                    Ok(keys) => {
                        *state = State { keys: Arc::new(keys), looked_at: Instant::now(), version, fault: None }
                    }
                    // Tried again at every look: what is wrong may be the file's owner or mode.
                    Err(error) => state.complain(&self.path, &error),
                }
            }
        }
        Arc::clone(&state.keys)
    }
}

impl State {
    fn complain(&mut self, path: &Path, error: &KeysError) {
        let why = match error {
            KeysError::Mistakes(mistakes) => render_text(mistakes, false),
            error @ KeysError::Unreadable { .. } => error.to_string(),
        };
        if self.fault.as_ref() != Some(&why) {
            tracing::error!(
                "the keys that {} had before are used, because it cannot be read now: {why}",
                path.display()
            );
            self.fault = Some(why);
        }
    }
}

fn version(path: &Path) -> Option<Version> {
    let facts = fs::metadata(path).ok()?;
    Some(Version { modified: facts.modified().ok(), bytes: facts.len() })
}
