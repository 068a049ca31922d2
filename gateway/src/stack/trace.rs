//! Trace: metrics and the log line, around everything. What a request was and what became of it is
//! in the ledger; the log tells of refusals, at a level that an operator chooses.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tower::Service;
use tracing::debug;

use super::passage::Arrival;
use super::{Outcome, Rooms};
use crate::chat::Refusal;

#[derive(Clone)]
pub(super) struct Trace<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Trace<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Trace { inner, rooms }
    }
}

impl<S, T> Service<Arrival> for Trace<S>
where
    S: Service<Arrival, Response = T, Error = Refusal>,
    S::Future: Send + 'static,
    T: 'static,
{
    type Response = T;
    type Error = Refusal;
    type Future = Outcome<T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let (id, surface, begun) = (arrival.id, arrival.surface.name(), Instant::now());
        let rooms = self.rooms.clone();
        let answered = self.inner.call(arrival);
        Box::pin(async move {
            let result = answered.await;
            rooms
                .metrics
                .answered(result.as_ref().err(), begun.elapsed());
            if let Err(refusal) = &result {
                debug!(request = %id, surface, code = refusal.code.as_str(), message = refusal.message, "refused");
            }
            result
        })
    }
}
