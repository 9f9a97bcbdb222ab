//! The boundary to the format libraries: turns their errors and panics into [`SourceError`].
//!
//! Files come from anywhere, and a library may panic on bytes that it does not expect. Such a panic means one unreadable
//! file, not the end of the run, so every call that parses a file's bytes goes through [`guarded`]. The panic is reported
//! once, as the file's error; the panic hook stays silent about it.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::error::ErrorCode;
use crate::panics;
use crate::source::{SourceError, SourceFile};
use crate::store::StoreError;

thread_local! {
    /// The store's error during the call that [`guarded`] runs. The libraries keep only its text.
    static STORE_ERROR: RefCell<Option<StoreError>> = const { RefCell::new(None) };

    /// Whether [`guarded`] will catch and report a panic of this thread.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Installs a panic hook, once per process, that skips panics [`guarded`] reports and forwards all others.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                previous(panic);
            }
        }));
    });
}

/// How a guarded call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError<E> {
    #[error(transparent)]
    Returned(E),
    #[error("its bytes contradict each other ({0})")]
    Panicked(String),
}

/// Calls a format library and turns a panic into an error.
///
/// The caller must not use what the call borrows after an error, because a panic may leave it half changed.
pub(super) fn guarded<T, E>(call: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>> {
    install_hook();
    STORE_ERROR.take();
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(CallError::Returned(error)),
        Err(panic) => Err(CallError::Panicked(panics::text(panic.as_ref()))),
    }
}

/// Keeps a store's error that is about to pass through a library, for [`unreadable`].
pub(super) fn remember(error: io::Error) -> io::Error {
    match error.downcast::<StoreError>() {
        Ok(store_error) => {
            let text = store_error.to_string();
            STORE_ERROR.replace(Some(store_error));
            io::Error::other(text)
        }
        Err(error) => error,
    }
}

/// The error of a file whose bytes violate its format. If the file has changed since it was listed, that is the error.
pub(super) fn unreadable(file: &SourceFile, message: impl Display) -> SourceError {
    if let Some(store_error) = STORE_ERROR.take() {
        return SourceError::of_store(&file.name, &store_error);
    }
    let error = SourceError {
        name: file.name.clone(),
        position: None,
        code: ErrorCode::SourceUnreadable,
        message: message.to_string(),
    };
    file.check_unchanged().err().unwrap_or(error)
}

/// The error of a file whose values do not fit the planned schema.
pub(super) fn mismatch(file: &SourceFile, message: impl Display) -> SourceError {
    SourceError {
        name: file.name.clone(),
        position: None,
        code: ErrorCode::SchemaMismatch,
        message: message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let panicked = guarded(|| -> io::Result<()> { panic!("at byte {}", 7) }).expect_err("caught").to_string();
        assert!(panicked.contains("at byte 7"), "{panicked}");
        let returned = guarded(|| Err::<(), _>(io::Error::other("plain"))).expect_err("kept");
        assert_eq!(returned.to_string(), "plain");
        assert_eq!(guarded(|| Ok::<_, io::Error>(1)).expect("value"), 1);
    }
}
