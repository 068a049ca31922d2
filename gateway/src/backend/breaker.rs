//! When to leave a backend alone: after failures in a row it rests, twice as long each time, and
//! then one request may try it before the others follow. A host's own `Retry-After` counts too.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::time::{Timestamp, from_cell, to_cell};

/// Failures in a row that open the breaker.
const THRESHOLD: u32 = 5;
const FIRST_REST: Duration = Duration::from_secs(5);
/// No backend is left alone longer than this, whatever it says or does.
pub const LONGEST_REST: Duration = Duration::from_secs(300);
/// A probe that has not ended by then no longer keeps others out.
const PROBE_TIME: Duration = Duration::from_secs(30);

/// The state of one backend's breaker; many requests update it without a lock.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU32,
    /// How often it has opened since the last success.
    opened: AtomicU32,
    resting_until: AtomicI64,
    probing_since: AtomicI64,
}

impl Breaker {
    /// Until when the backend rests, if it does.
    pub fn resting(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.resting_until.load(Relaxed);
        let now = to_cell(now);
        if until > now {
            return Some(from_cell(until));
        }
        if self.failures.load(Relaxed) < THRESHOLD {
            return None;
        }
        // Half open: one request tries, the others wait for what becomes of it.
        let probe = self.probing_since.load(Relaxed) + micros(PROBE_TIME);
        (probe > now).then(|| from_cell(probe))
    }

    /// A request is about to be sent.
    pub fn begin(&self, now: Timestamp) {
        if self.failures.load(Relaxed) >= THRESHOLD {
            self.probing_since.store(to_cell(now), Relaxed);
        }
    }

    pub fn success(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.opened.store(0, Relaxed);
            self.resting_until.store(0, Relaxed);
            self.probing_since.store(0, Relaxed);
        }
    }

    pub fn failure(&self, now: Timestamp) {
        self.probing_since.store(0, Relaxed);
        if self.failures.fetch_add(1, Relaxed) + 1 >= THRESHOLD {
            let opened = self.opened.fetch_add(1, Relaxed).min(10);
            self.rest(now, FIRST_REST * 2_u32.pow(opened));
        }
    }

    /// Leaves the backend alone for a while: a host's `Retry-After`, or a refused credential.
    pub fn rest(&self, now: Timestamp, wait: Duration) {
        let until = to_cell(now).saturating_add(micros(wait.min(LONGEST_REST)));
        self.resting_until.fetch_max(until, Relaxed);
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).expect("an instant")
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_rests_longer_each_time() {
        let breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failure(at(0));
        }
        assert_eq!(breaker.resting(at(0)), None);
        breaker.failure(at(0));
        assert_eq!(breaker.resting(at(0)), Some(at(5)));
        // Half open: the first may try, the second waits for it.
        assert_eq!(breaker.resting(at(5)), None);
        breaker.begin(at(5));
        assert!(breaker.resting(at(5)).is_some());
        breaker.failure(at(6));
        assert_eq!(breaker.resting(at(6)), Some(at(16)));
        breaker.success();
        assert_eq!(breaker.resting(at(6)), None);
    }

    #[test]
    fn one_success_forgets_single_failures() {
        let breaker = Breaker::default();
        for _ in 0..20 {
            breaker.failure(at(0));
            breaker.success();
        }
        assert_eq!(breaker.resting(at(0)), None);
    }

    #[test]
    fn an_absurd_retry_after_is_cut_to_the_longest_rest() {
        let breaker = Breaker::default();
        breaker.rest(at(0), Duration::from_secs(86_400 * 365));
        assert_eq!(breaker.resting(at(0)), Some(at(300)));
        breaker.rest(at(0), Duration::MAX);
        assert_eq!(breaker.resting(at(0)), Some(at(300)));
    }
}
