//! Threads that run the jobs of the store.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{OptionsOf, Service};
use crate::failure::chain;
use crate::jobs::{Queue, run_job};
use crate::stop::Stop;

/// Interval between two looks at an empty queue.
const PAUSE: Duration = Duration::from_secs(1);

/// After this time, a job that could not run is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// The queue of a process: no two of its workers take the same job.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    retried_at: Instant,
}

pub(super) fn start(
    service: &Arc<Service>,
    workers: usize,
    options: &Arc<OptionsOf>,
    stop: &Stop,
) -> io::Result<Vec<JoinHandle<()>>> {
    let shared = Arc::new(Mutex::new(Shared { queue: Queue::default(), retried_at: Instant::now() }));
    let start = |number: usize| {
        let (service, options, stop, shared) = (service.clone(), options.clone(), stop.clone(), shared.clone());
        let worker = std::thread::Builder::new().name(format!("worker {number}"));
        worker.spawn(move || work(&service, &*options, &stop, &shared))
    };
    (1..=workers).map(start).collect()
}

fn work(service: &Service, options: &OptionsOf, stop: &Stop, shared: &Mutex<Shared>) {
    while !stop.is_set() {
        let next = {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.retried_at.elapsed() >= RETRY {
                shared.queue.retry();
                shared.retried_at = Instant::now();
            }
            shared.queue.next(&service.jobs)
        };
        match next {
            Ok(Some(record)) => {
                // Cancelling stops one job; a signal stops all.
                match run_job(&service.jobs, &record, options(&record, stop.job())) {
                    Ok(outcome) => tracing::info!("{} {:?}", record.id, outcome.exit()),
                    Err(error) => tracing::warn!("{}: {}", record.id, chain(&error)),
                }
            }
            Ok(None) => stop.pause(PAUSE),
            Err(error) => {
                tracing::warn!("cannot look for jobs: {error}");
                stop.pause(PAUSE);
            }
        }
    }
}
