//! Hard budgets: what a request may cost at worst is held before it is sent, and settled or
//! released when it ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::access::{Budget, Period};
use crate::id::KeyId;
use crate::money::Money;
use crate::time::Timestamp;

/// What a request asks of a budget.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub key: KeyId,
    pub budget: Budget,
    /// What it may cost at worst.
    pub worst: Money,
    pub now: Timestamp,
    /// When the hold lapses, should nobody settle it: beyond any timeout of a request.
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    #[error("the budget of ${limit} a {} cannot cover ${needed}: ${spent} spent, ${held} held by requests under way", .period.as_str())]
    Exceeded {
        limit: Money,
        period: Period,
        spent: Money,
        held: Money,
        needed: Money,
        /// When the budget starts anew.
        renews: Option<Timestamp>,
    },
    #[error("what this key has spent so far is unknown: {0}")]
    Unknown(String),
}

/// Keeps what keys spend below their limits.
pub trait Budgets: Send + Sync + 'static {
    fn reserve(&self, ask: Ask) -> Reserving;
}

/// The other side of a [`Hold`].
pub trait Holder: Send {
    /// Turns the hold into spend of the period in which `billed` lies.
    fn settle(&mut self, actual: Money, billed: Timestamp);
    fn release(&mut self);
}

/// An amount held. Dropped without settlement it is released.
pub struct Hold(Option<Box<dyn Holder>>);

impl Hold {
    pub fn new(holder: Box<dyn Holder>) -> Self {
        Hold(Some(holder))
    }

    /// The request cost this much; the rest of the hold is free again.
    pub fn settle(mut self, actual: Money, billed: Timestamp) {
        if let Some(mut holder) = self.0.take() {
            holder.settle(actual, billed);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(mut holder) = self.0.take() {
            holder.release();
        }
    }
}

/// A reservation being made: at once, or after asking elsewhere.
pub enum Reserving {
    Done(Option<Result<Hold, BudgetError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Hold, BudgetError>> + Send>>),
}

impl Future for Reserving {
    type Output = Result<Hold, BudgetError>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Reserving::Done(result) => Poll::Ready(
                result
                    .take()
                    .expect("a future is not polled after it was ready"),
            ),
            Reserving::Waiting(future) => future.as_mut().poll(context),
        }
    }
}
