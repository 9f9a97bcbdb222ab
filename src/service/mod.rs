//! The exports API over HTTP (`docs/api.md`).
//!
//! A job of the API is a job of the store: [`crate::jobs`] keeps it, and what the service answers is read from there. So any
//! number of services may share a store, and one that dies takes nothing with it.

mod api;
mod connections;
mod identity;
pub(crate) mod keys;
mod problem;
mod random;
mod rate;
mod token;
mod workers;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::keys::KeysFile;
pub(crate) use self::rate::Rates;
pub(crate) use self::token::TokenKeys;
use crate::jobs::{JobRecord, Jobs};
use crate::resolve::Environment;
use crate::run::RunOptions;
use crate::stop::Stop;

/// Interval between two looks at the stop flag.
const LOOK: Duration = Duration::from_millis(100);

/// Most downloads at a time; each has a thread and a quarter of a MiB.
pub(crate) const MAX_DOWNLOADS: usize = 256;

/// Threads that handle requests; those that wait for the store are others.
const HTTP_THREADS: usize = 2;

/// What the service needs.
pub(crate) struct Service {
    /// The jobs.
    pub(crate) jobs: Jobs,
    /// Where each export type's data is; read again for each request that creates an export.
    pub(crate) catalog: PathBuf,
    /// Who may call.
    pub(crate) keys: KeysFile,
    /// What download tokens are made with.
    pub(crate) tokens: TokenKeys,
    /// How often they call.
    pub(crate) rates: Rates,
    /// age recipients of exports for which neither the request nor the key names one.
    pub(crate) encrypt_to: Vec<String>,
    /// Downloads that may begin.
    pub(crate) downloads: Arc<Semaphore>,
    /// The environment of the process; `now` is that of its start.
    pub(crate) environment: Environment,
}

/// Gives the options of a run.
pub(crate) type OptionsOf = dyn Fn(&JobRecord, Stop) -> RunOptions + Send + Sync;

/// Answers requests and runs jobs until a stop. Then no request is accepted any more, jobs stop resumably, and downloads
/// that have begun may take so long as `grace`.
///
/// # Errors
/// The system's, where it has no threads or sockets.
pub(crate) fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    workers: usize,
    options: Arc<OptionsOf>,
    stop: &Stop,
    grace: Duration,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let running = workers::start(&service, workers, &options, stop)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(HTTP_THREADS).enable_all().build()?;
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        connections::serve(&listener, &api::router(service), stop, grace).await;
        Ok(())
    });
    runtime.shutdown_background();
    for worker in running {
        if worker.join().is_err() {
            return Err(io::Error::other("a worker has panicked; its message is above"));
        }
    }
    served
}
