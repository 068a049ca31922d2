//! Reserve: what this request can cost at worst, held against the budget of its key before anything
//! is sent. Keys without a budget pass through.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

use super::passage::{Certified, Reserved};
use super::plan::question;
use super::{Outcome, Rooms};
use crate::chat::{Code, Refusal, Tokens};
use crate::ledger::budget::{Ask, BudgetError};
use crate::money::Money;
use crate::routing::{Question, worst_case};

#[derive(Clone)]
pub(super) struct Reserve<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Reserve<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Reserve { inner, rooms }
    }
}

impl<S, T> Service<Certified> for Reserve<S>
where
    S: Service<Reserved, Response = T, Error = Refusal, Future = Outcome<T>>
        + Clone
        + Send
        + 'static,
    T: Send + 'static,
{
    type Response = T;
    type Error = Refusal;
    type Future = Outcome<T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, certified: Certified) -> Self::Future {
        let Some(budget) = certified.asked.principal.budget else {
            return self.inner.call(Reserved {
                bound: certified.asked.request.max_output,
                hold: None,
                certified,
            });
        };
        let (rooms, mut inner) = (self.rooms.clone(), self.inner.clone());
        Box::pin(async move {
            // Without a bound of the caller's the worst case would be the model's longest answer,
            // and small budgets would refuse everything: the gateway sets a bound of its own.
            let bound = certified
                .asked
                .request
                .max_output
                .unwrap_or_else(|| assumed(&certified, rooms.limits.assumed_output));
            let worst = worst(&certified, bound);
            let asked = &certified.asked;
            let hold = rooms
                .budgets
                .reserve(Ask {
                    key: asked.principal.payer.key,
                    budget,
                    worst,
                    now: asked.at,
                    until: asked.at + longest(&rooms),
                })
                .await
                .map_err(|error| refusal(&error))?;
            inner
                .call(Reserved {
                    bound: Some(bound),
                    hold: Some(hold),
                    certified,
                })
                .await
        })
    }
}

/// The bound that the gateway sets. Completions of a bare prompt are so short at some hosts that they
/// would be refused for it: theirs is what each host that has them writes.
fn assumed(certified: &Certified, most: u64) -> Tokens {
    let (most, needs) = (Tokens::new(most), &certified.asked.request.needs);
    if !needs.completions {
        return most;
    }
    certified
        .allowed
        .iter()
        .map(|&index| certified.sites.all[index].backend.offer())
        .filter(|offer| offer.capabilities.completions)
        .map(|offer| offer.longest(needs))
        .min()
        .unwrap_or(most)
        .min(most)
}

/// The dearest that any allowed backend could become, for as many attempts as may be made.
fn worst(certified: &Certified, bound: Tokens) -> Money {
    let question = Question {
        bound: Some(bound),
        ..question(&certified.asked.request)
    };
    certified
        .allowed
        .iter()
        .filter_map(|&index| {
            let site = &certified.sites.all[index];
            let window = site.window(certified.asked.at)?;
            Some(worst_case(&window, site.backend.offer(), question))
        })
        .max()
        .unwrap_or(Money::ZERO)
}

/// A hold lapses only when no request can still be running.
fn longest(rooms: &Rooms) -> Duration {
    let limits = &rooms.limits;
    (limits.first_byte_timeout + limits.retry_wait) * u32::from(limits.attempts.max(1))
        + limits.drain_time
        + Duration::from_secs(6 * 3600)
}

fn refusal(error: &BudgetError) -> Refusal {
    match error {
        BudgetError::Exceeded { .. } => Refusal::new(
            Code::BudgetExceeded,
            format!("{error}. Ask for a larger budget, or set a smaller max_tokens"),
        ),
        BudgetError::Unknown(_) => Refusal::new(
            Code::Overloaded,
            format!("{error}; a hard budget does not guess, try again shortly"),
        )
        .retry_after(Duration::from_secs(1)),
    }
}
