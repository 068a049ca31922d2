//! Admit: how much one key, and all together, may ask at once. Decided from the headers alone; the
//! permit travels with the request and is given back when its answer has been delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tower::Service;

use super::passage::{Admitted, Known};
use super::{Outcome, Rooms};
use crate::chat::{Code, Refusal};
use crate::id::KeyId;
use crate::settings::Limits;

/// What a shed caller is told to wait: long enough for the flood to pass, short enough to be kept.
const SHED_WAIT: Duration = Duration::from_secs(1);

/// The counts that all requests share.
pub struct Admission {
    rates: RateLimiter<KeyId, HashMapStateStore<KeyId>, DefaultClock>,
    clock: DefaultClock,
    in_flight: Arc<AtomicUsize>,
    /// One counter a key; as many as there are keys.
    keys: Mutex<HashMap<KeyId, Arc<AtomicU32>>>,
}

impl Admission {
    pub fn new(limits: &Limits) -> Self {
        let at_least_one =
            |value: u32| std::num::NonZeroU32::new(value).unwrap_or(std::num::NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.requests_per_second))
            .allow_burst(at_least_one(limits.burst));
        Admission {
            rates: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            in_flight: Arc::default(),
            keys: Mutex::default(),
        }
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    fn admit(&self, key: KeyId, limits: &Limits) -> Result<Permit, Refusal> {
        if self.in_flight.fetch_add(1, Relaxed) >= limits.in_flight {
            self.in_flight.fetch_sub(1, Relaxed);
            return Err(Refusal::new(
                Code::Overloaded,
                "the gateway has all the requests in flight that it takes; try again shortly",
            )
            .retry_after(SHED_WAIT));
        }
        let mut permit = Permit {
            all: self.in_flight.clone(),
            key: None,
        };
        let counter = self.keys.lock().entry(key).or_default().clone();
        let running = counter.fetch_add(1, Relaxed);
        permit.key = Some(counter);
        if running >= limits.in_flight_per_key {
            return Err(Refusal::new(
                Code::RateLimited,
                format!(
                    "this key has {} requests in flight, all that it may have; wait for one to end",
                    limits.in_flight_per_key
                ),
            )
            .retry_after(SHED_WAIT));
        }
        if let Err(early) = self.rates.check_key(&key) {
            let wait = early.wait_time_from(self.clock.now());
            return Err(Refusal::new(
                Code::RateLimited,
                format!(
                    "this key may send {} requests a second; slow down",
                    limits.requests_per_second
                ),
            )
            .retry_after(wait.max(Duration::from_millis(1))));
        }
        Ok(permit)
    }
}

/// The right to be worked on, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    all: Arc<AtomicUsize>,
    key: Option<Arc<AtomicU32>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Relaxed);
        if let Some(key) = &self.key {
            key.fetch_sub(1, Relaxed);
        }
    }
}

#[derive(Clone)]
pub(super) struct Admit<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Admit<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Admit { inner, rooms }
    }
}

impl<S, T> Service<Known> for Admit<S>
where
    S: Service<Admitted, Response = T, Error = Refusal, Future = Outcome<T>>,
    T: Send + 'static,
{
    type Response = T;
    type Error = Refusal;
    type Future = Outcome<T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, known: Known) -> Self::Future {
        let key = known.principal.payer.key;
        match self.rooms.admission.admit(key, &self.rooms.limits) {
            Ok(permit) => self.inner.call(Admitted { known, permit }),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_counted_and_given_back() {
        let limits = Limits {
            in_flight: 3,
            in_flight_per_key: 2,
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        let (one, two) = (KeyId::new(), KeyId::new());
        let first = admission.admit(one, &limits).expect("room");
        let _second = admission.admit(one, &limits).expect("room");
        assert_eq!(
            admission.admit(one, &limits).expect_err("full").code,
            Code::RateLimited
        );
        let _third = admission.admit(two, &limits).expect("room");
        let shed = admission.admit(two, &limits).expect_err("all full");
        assert_eq!(shed.code, Code::Overloaded);
        assert!(shed.retry_after.is_some());
        drop(first);
        assert_eq!(admission.in_flight(), 2);
        admission.admit(two, &limits).expect("room again");
    }

    #[test]
    fn a_key_that_asks_too_fast_is_told_how_long_to_wait() {
        let limits = Limits {
            requests_per_second: 1,
            burst: 1,
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        let key = KeyId::new();
        admission.admit(key, &limits).expect("the first");
        let refusal = admission.admit(key, &limits).expect_err("too fast");
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(
            refusal
                .retry_after
                .is_some_and(|wait| wait <= Duration::from_secs(1))
        );
        admission
            .admit(KeyId::new(), &limits)
            .expect("another key is not held up");
    }
}
