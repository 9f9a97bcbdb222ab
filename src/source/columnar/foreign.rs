//! The edge to the format libraries: their errors and their panics as [`SourceError`].
//!
//! Files come from anywhere, and a library that meets bytes that it did not expect may panic. That is one unreadable
//! file and not the end of the run, so every call that looks at a file's bytes goes through [`guarded`]. Such a panic is
//! told once, as the file's error, so the panic hook is kept quiet about it.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::error::ErrorCode;
use crate::panics;
use crate::source::files::list::check_unchanged;
use crate::source::{SourceError, SourceFile};
use crate::store::StoreError;

thread_local! {
    /// What a store answered within the call that [`guarded`] runs; the libraries keep only its text.
    static ANSWERED: RefCell<Option<StoreError>> = const { RefCell::new(None) };

    /// Whether a panic of this thread is going to be caught and told by [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Puts a hook before the one there is, once a process, that passes on the panics which nobody else tells.
fn quiet_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                others(panic);
            }
        }));
    });
}

/// Runs a call of a format library; a panic becomes its message.
///
/// What the call borrows must not be used again after an error: a panic may leave it half changed.
pub(super) fn guarded<T, E: std::fmt::Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    quiet_hook();
    ANSWERED.take();
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let text = panics::text(panic.as_ref());
            Err(format!("its bytes contradict each other ({text})"))
        }
    }
}

/// Remembers a store's answer that is on its way through a library, for [`unreadable`].
pub(super) fn remember(error: io::Error) -> io::Error {
    match error.downcast::<StoreError>() {
        Ok(answer) => {
            let text = answer.to_string();
            ANSWERED.replace(Some(answer));
            io::Error::other(text)
        }
        Err(error) => error,
    }
}

/// A file whose bytes are not what its format says, or, if it is no longer the file that was listed, that it changed.
pub(super) fn unreadable(file: &SourceFile, message: impl Into<String>) -> SourceError {
    if let Some(answer) = ANSWERED.take() {
        return SourceError::of_store(&file.name, &answer);
    }
    let error = SourceError {
        name: file.name.clone(),
        position: None,
        code: ErrorCode::SourceUnreadable,
        message: message.into(),
    };
    check_unchanged(file).err().unwrap_or(error)
}

/// A file whose values do not fit the plan.
pub(super) fn mismatch(file: &SourceFile, message: String) -> SourceError {
    SourceError { name: file.name.clone(), position: None, code: ErrorCode::SchemaMismatch, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let error = guarded(|| -> Result<(), String> { panic!("at byte {}", 7) }).expect_err("caught");
        assert!(error.contains("at byte 7"), "{error}");
        assert_eq!(guarded(|| Err::<(), _>("plain")).expect_err("kept"), "plain");
        assert_eq!(guarded(|| Ok::<_, String>(1)), Ok(1));
    }
}
