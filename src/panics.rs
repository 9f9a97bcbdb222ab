//! Panic messages, withheld if they could reveal redacted or encrypted values.
//!
//! A panic is a bug, and its message may quote the value that it broke on. Where a spec redacts or encrypts, no message of a
//! panic may reach a terminal, a log or a manifest: only the place in our source does, which is what a report needs.

use std::any::Any;
use std::panic::{set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set for the rest of the process: threads do not say for which job they panic.
static WITHHELD: AtomicBool = AtomicBool::new(false);

/// From now on panics say where they happened and nothing else.
pub(crate) fn withhold() {
    // Unit tests of encrypted jobs share a process with tests of what panics say.
    if cfg!(test) {
        return;
    }
    static INSTALLED: Once = Once::new();
    WITHHELD.store(true, Ordering::Relaxed);
    INSTALLED.call_once(|| {
        drop(take_hook());
        set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!("a thread panicked at {place}; {REASON}");
        }));
    });
}

const REASON: &str = "what it said is withheld, because a spec redacts or encrypts values";

/// The message of a panic that was caught.
pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    told(panic, WITHHELD.load(Ordering::Relaxed))
}

fn told(panic: &(dyn Any + Send), is_withheld: bool) -> String {
    if is_withheld {
        return REASON.to_owned();
    }
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_unless_values_are_withheld() {
        let panic: Box<dyn Any + Send> = Box::new("at byte 7 of `secret`");
        assert_eq!(told(panic.as_ref(), false), "at byte 7 of `secret`");
        assert_eq!(told(panic.as_ref(), true), "what it said is withheld, because a spec redacts or encrypts values");
        let panic: Box<dyn Any + Send> = Box::new("text".to_owned());
        assert_eq!(told(panic.as_ref(), false), "text");
        let panic: Box<dyn Any + Send> = Box::new(7);
        assert_eq!(told(panic.as_ref(), false), "a panic without a message");
    }
}
