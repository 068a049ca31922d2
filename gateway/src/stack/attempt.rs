//! Attempt: walks the plan until a backend answers. Until the first byte of an answer any other may
//! give it instead; after it, the next may go on from what was said. Only backends of the plan are
//! ever asked.

mod answering;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;
use tower::retry::budget::Budget as _;

use self::answering::Answering;
use super::meter::{Delivered, Setback, Shared};
use super::passage::{Answer, Content, Dispatch, Planned};
use super::{Outcome, Rooms};
use crate::chat::{Code, Lack, Refusal};

/// Between two attempts at the same backend, where it does not say how long to wait.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(super) struct Attempt<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Attempt<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Attempt { inner, rooms }
    }
}

impl<S> Service<Planned> for Attempt<S>
where
    S: Service<Dispatch, Response = Delivered, Error = Setback> + Clone + Send + Unpin + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Refusal;
    type Future = Outcome;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, planned: Planned) -> Self::Future {
        let walk = Walk {
            meter: self.inner.clone(),
            rooms: self.rooms.clone(),
            planned: Arc::new(planned),
            attempts: 0,
            setbacks: Vec::new(),
        };
        Box::pin(walk.run())
    }
}

/// One request on its way through its plan.
struct Walk<S> {
    meter: S,
    rooms: Arc<Rooms>,
    planned: Arc<Planned>,
    attempts: u16,
    setbacks: Vec<(usize, Setback)>,
}

impl<S> Walk<S>
where
    S: Service<Dispatch, Response = Delivered, Error = Setback> + Send + Unpin + 'static,
    S::Future: Send + 'static,
{
    async fn run(mut self) -> Result<Answer, Refusal> {
        let ranked = self.planned.plan.ranked.len();
        if ranked == 0 {
            return Err(self.nobody());
        }
        self.rooms.retries.deposit();
        let mut rank = 0;
        loop {
            let setback = match self.ask(rank, None).await {
                Ok(delivered) => return Ok(self.answer(rank, delivered)),
                Err(setback) => setback,
            };
            if setback.was_sent() {
                self.attempts += 1;
            }
            if let Some(refusal) = setback.ends_the_walk() {
                return Err(self.complete(refusal));
            }
            self.setbacks.push((rank, setback));
            let Some((next, pause)) = self.next(rank, ranked) else {
                return Err(self.failed());
            };
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            rank = next;
        }
    }

    /// Makes one attempt: of the whole answer, or of what is missing of it.
    fn ask(&mut self, rank: usize, so_far: Option<Shared>) -> S::Future {
        self.meter.call(Dispatch {
            planned: self.planned.clone(),
            rank,
            attempt: self.attempts + 1,
            left: Arc::new(AtomicBool::new(false)),
            so_far,
        })
    }

    /// Whether the budget of retries allows it. One that could not even be asked costs none.
    fn may_ask_another(&self) -> bool {
        let unasked = matches!(self.setbacks.last(), Some((_, Setback::CannotSay(_))));
        unasked || self.withdraw()
    }

    fn withdraw(&self) -> bool {
        self.rooms.retries.withdraw()
    }

    /// Where to go next and how long to wait before, within the limits of attempts and retries.
    fn next(&self, rank: usize, ranked: usize) -> Option<(usize, Duration)> {
        if self.attempts >= self.rooms.limits.attempts {
            return None;
        }
        if rank + 1 < ranked {
            return self.may_ask_another().then_some((rank + 1, Duration::ZERO));
        }
        // Everybody was asked: the best of those whom a short wait may help, once more.
        let (again, wait) = self
            .setbacks
            .iter()
            .rev()
            .take(ranked)
            .filter_map(|(rank, setback)| Some((*rank, setback.wait()?.max(PAUSE))))
            .min_by_key(|(rank, wait)| (*wait, *rank))?;
        (wait <= self.rooms.limits.retry_wait && self.withdraw()).then_some((again, wait))
    }

    fn answer(mut self, rank: usize, delivered: Delivered) -> Answer {
        let backend = self.planned.site(rank).backend.name.clone();
        self.attempts += 1;
        let attempts = self.attempts;
        let broken = Arc::<AtomicBool>::default();
        let (cost, content) = match delivered {
            Delivered::Whole { body, priced } => (
                priced.then(|| self.planned.spending.total()),
                Content::Whole(body),
            ),
            Delivered::Stream(stream) => {
                let answering = Answering::new(self, rank, *stream, broken.clone());
                (None, Content::Stream(axum::body::Body::new(answering)))
            }
        };
        Answer {
            backend,
            attempts,
            cost,
            content,
            again: false,
            broken,
        }
    }

    fn lacks(&self) -> Vec<Lack> {
        self.setbacks
            .iter()
            .map(|(rank, setback)| Lack {
                backend: self.planned.site(*rank).backend.name.to_string(),
                reason: setback.to_string(),
            })
            .collect()
    }

    fn complete(&self, mut refusal: Refusal) -> Refusal {
        refusal.attempts = self.attempts;
        refusal
    }

    fn failed(&self) -> Refusal {
        let all =
            |test: fn(&Setback) -> bool| self.setbacks.iter().all(|(_, setback)| test(setback));
        let soonest = self
            .setbacks
            .iter()
            .filter_map(|(_, setback)| setback.wait())
            .min();
        let refusal = if all(|setback| matches!(setback, Setback::CannotSay(_))) {
            Refusal::new(
                Code::InvalidRequest,
                "no allowed backend can be asked this; `backends` says why for each",
            )
        } else if all(Setback::is_timeout) {
            Refusal::new(
                Code::TimedOut,
                "no backend answered in time; `backends` lists each attempt",
            )
        } else if all(Setback::is_busy) {
            Refusal::new(
                Code::NoBackend,
                "every backend is busy; try again after the time that Retry-After gives",
            )
            .retry_after(
                soonest
                    .unwrap_or(Duration::from_secs(1))
                    .min(crate::backend::LONGEST_REST),
            )
        } else {
            Refusal::new(
                Code::HostFailed,
                "every attempt failed; `backends` lists what each host did",
            )
        };
        self.complete(refusal.because(self.lacks()))
    }

    /// The plan is empty: nobody who is allowed can take this request now.
    fn nobody(&self) -> Refusal {
        let now = self.rooms.clock.now();
        let rejected = self.planned.plan.rejected.clone();
        let wait = self
            .planned
            .plan
            .retry_at
            .and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        if wait.is_some() || self.planned.plan.full {
            return Refusal::new(
                Code::NoBackend,
                "no allowed backend takes requests now; try again after the time that Retry-After gives",
            )
            .retry_after(wait.unwrap_or(Duration::from_secs(1)))
            .because(rejected);
        }
        let (code, message) = if self.planned.asked.max_cost.is_some() {
            (
                Code::NotAllowed,
                "no allowed backend meets the demands of this request, its limit on the cost included; \
                 `backends` says why for each",
            )
        } else {
            (
                Code::InvalidRequest,
                "no allowed backend can serve what this request asks; `backends` says why for each",
            )
        };
        Refusal::new(code, message).because(rejected)
    }
}
