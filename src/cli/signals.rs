//! SIGINT and SIGTERM: the first one asks to stop, the second one stops at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Exit;
use crate::run::stop::{Signal, Stop};

/// Listens from now on.
///
/// # Errors
/// The operating system's, where no handler can be set.
pub fn listen(stop: Stop) -> std::io::Result<()> {
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
