//! Most requests of a key in a time. Each process counts on its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::keys::{ApiKey, KeyId, Rate};

/// The requests of all keys that have a rate.
#[derive(Default)]
pub(crate) struct Rates {
    clock: MonotonicClock,
    limiters: Mutex<HashMap<KeyId, Limiter>>,
}

struct Limiter {
    rate: Rate,
    requests: RateLimiter<NotKeyed, InMemoryState, MonotonicClock>,
}

impl Rates {
    /// Counts a request.
    ///
    /// # Errors
    /// The time until the next one is accepted.
    pub(super) fn count(&self, key: &ApiKey) -> Result<(), Duration> {
        let Some(rate) = key.rate else { return Ok(()) };
        let Some(quota) = Quota::with_period(rate.per() / rate.requests.get()) else { return Ok(()) };
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        // A key may get another rate while the service runs.
        let limiter = limiters.entry(key.id.clone()).and_modify(|known| {
            if known.rate != rate {
                *known = self.limiter(rate, quota);
            }
        });
        let limiter = limiter.or_insert_with(|| self.limiter(rate, quota));
        limiter.requests.check().map_err(|until| until.wait_time_from(self.clock.now()))
    }

    fn limiter(&self, rate: Rate, quota: Quota) -> Limiter {
        let quota = quota.allow_burst(rate.requests);
        Limiter { rate, requests: RateLimiter::direct_with_clock(quota, self.clock.clone()) }
    }
}
