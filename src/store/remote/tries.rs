//! The retry policy of store requests: tries, pauses and total time.
//!
//! The clients themselves never retry. A try covers the request, the credentials it needs and the body of its answer,
//! so no failure has a budget of its own and none multiplies another's.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::error::{Broken, is_passing};
use crate::store::random;

/// Tries of a question while the store is known to answer.
const TRIES: u32 = 12;

/// Number of tries before the store has responded for the first time, so that a wrong address fails soon.
const FIRST_TRIES: u32 = 4;

/// How long the first contact may take.
const FIRST_CONTACT: Duration = Duration::from_secs(15);

/// How long a question is put to a store that did not answer others for all of their time: what a run still asks then
/// is only to clean up.
const FAREWELL: Duration = Duration::from_secs(5);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long a question is put to a store, unless the environment says otherwise.
pub(super) const DEFAULT_TIME: Duration = Duration::from_secs(120);

/// How a store has answered so far, and how long it may go on not answering.
#[derive(Debug)]
pub(super) struct Contact {
    /// The most that one question takes.
    time: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    answered: Option<Instant>,
    /// Since when no question was answered, where one has failed since the last answer.
    silent_since: Option<Instant>,
}

impl Contact {
    pub(super) fn new(time: Duration) -> Self {
        Self { time, state: Mutex::default() }
    }

    /// A try that takes longer is stuck, because no request carries more than some MiB; then there is time for another.
    pub(super) fn longest_try(time: Duration) -> Duration {
        time / 2
    }

    /// Puts a question until there is an answer, which an error may be, or no time is left.
    ///
    /// # Errors
    /// The last error, with how often and how long the question was put where more than once.
    pub(super) async fn ask<T, F>(&self, mut question: impl FnMut() -> F) -> Result<T, Failed>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let start = Instant::now();
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            let began = Instant::now();
            let (deadline, most) = self.limits(start);
            let limit = deadline.min(began + Self::longest_try(deadline.saturating_duration_since(start)));
            let answer = timeout_at(limit, question()).await.unwrap_or_else(|_| {
                let time = limit.saturating_duration_since(began);
                Err(Broken::Silent { time }.into())
            });
            tries += 1;
            let error = match answer {
                Err(error) if is_passing(&error) => error,
                answer => {
                    self.note_answer();
                    return answer.map_err(|error| Failed { error, tries, time: start.elapsed() });
                }
            };
            self.note_failure(began);
            tracing::debug!("a request to the store failed at try {tries}: {}", super::error::answer(&error));
            let jitter = pause.mul_f64(0.5 + (random() % 1024) as f64 / 2048.0);
            if tries >= most || Instant::now() + jitter >= deadline {
                return Err(Failed { error, tries, time: start.elapsed() });
            }
            sleep(jitter).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// When a question that began then is given up, and after how many tries.
    fn limits(&self, start: Instant) -> (Instant, u32) {
        let State { answered, silent_since } = self.state();
        match (answered, silent_since) {
            (None, _) => (start + FIRST_CONTACT.min(self.time), FIRST_TRIES),
            (Some(_), None) => (start + self.time, TRIES),
            // One budget for all that fails together: a silent store ends a run once, not at each of its questions.
            (Some(_), Some(since)) => ((since + self.time).max(start + FAREWELL.min(self.time)), TRIES),
        }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_answer(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { answered: Some(Instant::now()), silent_since: None };
    }

    fn note_failure(&self, began: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.answered.map_or(began, |answered| answered.max(began));
        state.silent_since.get_or_insert(since);
    }
}

/// A question without a good answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: object_store::Error,
    pub(super) tries: u32,
    pub(super) time: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset() -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: "status code: 503".into() }
    }

    fn paused<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
    }

    async fn took<F>(contact: &Contact, question: impl FnMut() -> F) -> (Duration, u32)
    where
        F: Future<Output = object_store::Result<()>>,
    {
        let start = Instant::now();
        let tries = contact.ask(question).await.unwrap_err().tries;
        (start.elapsed(), tries)
    }

    #[test]
    fn a_store_that_never_answers_is_given_up_within_the_documented_time() {
        paused(async {
            let contact = Contact::new(DEFAULT_TIME);
            let silent = std::future::pending::<object_store::Result<()>>;
            let (time, _) = took(&contact, silent).await;
            assert!(time <= FIRST_CONTACT, "{time:?}");
            contact.ask(|| async { Ok(()) }).await.unwrap();
            let start = Instant::now();
            let (time, tries) = took(&contact, silent).await;
            assert!(time <= DEFAULT_TIME && tries == 2, "{time:?} {tries}");
            // What is asked afterwards shares the time that is gone.
            for _ in 0..4 {
                assert!(took(&contact, silent).await.0 <= FAREWELL);
            }
            assert!(start.elapsed() <= DEFAULT_TIME + 4 * FAREWELL);
            // As soon as it answers again, it has all the time again.
            contact.ask(|| async { Ok(()) }).await.unwrap();
            assert!(took(&contact, silent).await.0 > DEFAULT_TIME / 2);
        });
    }

    #[test]
    fn questions_at_the_same_time_share_one_budget() {
        paused(async {
            let contact = Contact::new(DEFAULT_TIME);
            contact.ask(|| async { Ok(()) }).await.unwrap();
            let start = Instant::now();
            let failing = || async { Err::<(), _>(reset()) };
            let late = async {
                sleep(Duration::from_secs(60)).await;
                took(&contact, failing).await
            };
            futures_util::future::join(took(&contact, failing), late).await;
            assert!(start.elapsed() <= DEFAULT_TIME, "{:?}", start.elapsed());
        });
    }

    #[test]
    fn an_answer_is_not_asked_for_again() {
        paused(async {
            let contact = Contact::new(DEFAULT_TIME);
            let denied = || async {
                Err::<(), _>(object_store::Error::PermissionDenied { path: "x".into(), source: "no".into() })
            };
            assert_eq!(took(&contact, denied).await, (Duration::ZERO, 1));
            let (time, tries) = took(&contact, || async { Err::<(), _>(reset()) }).await;
            assert!(tries == TRIES && time < DEFAULT_TIME, "{time:?} {tries}");
        });
    }
}
