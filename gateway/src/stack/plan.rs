//! Plan: the allowed backends ranked by what this request is expected to cost there now. All the
//! thinking is in `routing`; here its inputs are gathered.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tower::Service;

use super::Rooms;
use super::passage::{Planned, Reserved, Spending};
use super::sites::Sites;
use crate::chat::{Refusal, Request};
use crate::id::ModelName;
use crate::routing::{self, Candidate, Plan, Question};
use crate::time::Timestamp;

#[derive(Clone)]
pub(super) struct PlanLayer<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> PlanLayer<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        PlanLayer { inner, rooms }
    }
}

impl<S, T> Service<Reserved> for PlanLayer<S>
where
    S: Service<Planned, Response = T, Error = Refusal>,
    S::Future: Send + 'static,
{
    type Response = T;
    type Error = Refusal;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, reserved: Reserved) -> Self::Future {
        let now = self.rooms.clock.now();
        let Reserved {
            certified,
            bound,
            hold,
        } = reserved;
        let question = Question {
            bound,
            max_cost: certified.asked.max_cost,
            ..question(&certified.asked.request)
        };
        let plan = rank(
            &certified.sites,
            &certified.allowed,
            &certified.model,
            question,
            now,
        );
        let spending = Spending::new(hold, certified.asked.at);
        self.inner.call(Planned {
            model: certified.model,
            sites: certified.sites,
            allowed: certified.allowed,
            rejected: certified.rejected,
            asked: certified.asked,
            bound,
            plan,
            conversation: OnceLock::new(),
            history: self.rooms.history.clone(),
            spending,
        })
    }
}

/// What a request asks of a place, by itself.
pub(super) fn question(request: &Request) -> Question<'_> {
    Question {
        needs: &request.needs,
        prompt_bytes: request.original.spans.prompt_bytes,
        bound: request.max_output,
        choices: request.choices,
        effort: request.effort,
        max_cost: None,
    }
}

/// Gathers what the ranking depends on, and ranks.
pub(super) fn rank(
    sites: &Sites,
    allowed: &[usize],
    model: &ModelName,
    question: Question<'_>,
    now: Timestamp,
) -> Plan {
    let candidates: SmallVec<[Candidate<'_>; 16]> = allowed
        .iter()
        .map(|&index| {
            let site = &sites.all[index];
            Candidate {
                name: &site.backend.name,
                offer: site.backend.offer(),
                quirks: &site.backend.host().quirks,
                window: site.window(now),
                health: site.health(now),
                estimates: &site.estimates,
            }
        })
        .collect();
    routing::plan(question, &candidates, &sites.workload(model))
}
