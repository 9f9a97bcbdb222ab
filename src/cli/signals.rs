//! SIGINT and SIGTERM: the first signal stops gracefully, the second one at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Exit;
use crate::stop::{Signal, Stop};

/// Installs the handlers and returns the flag they set.
///
/// # Errors
/// A message for users if no handler can be installed.
pub(super) fn listen() -> Result<Stop, String> {
    let stop = Stop::default();
    match handle(stop.clone()) {
        Ok(()) => Ok(stop),
        Err(error) => Err(format!("cannot listen for signals: {error}")),
    }
}

fn handle(stop: Stop) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            let (which, exit) = match signal {
                SIGTERM => (Signal::Terminate, Exit::Terminated),
                _ => (Signal::Interrupt, Exit::Interrupted),
            };
            if count > 0 {
                std::process::exit(exit.code().into());
            }
            stop.set(which);
        }
    })?;
    Ok(())
}
