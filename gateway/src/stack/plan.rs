//! Plan: the allowed backends ranked by what this request is expected to cost there now. All the
//! thinking is in `routing`; here its inputs are gathered.

use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tower::Service;

use super::passage::{Planned, Reserved, Spending};
use super::Rooms;
use crate::chat::Refusal;
use crate::routing::{self, Candidate, Question};

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
        let request = &certified.asked.request;
        let candidates: SmallVec<[Candidate<'_>; 16]> = certified
            .allowed
            .iter()
            .map(|&index| {
                let site = &certified.sites.all[index];
                Candidate {
                    name: &site.backend.name,
                    offer: site.backend.offer(),
                    window: site.window(now),
                    health: site.health(now),
                    estimates: &site.estimates,
                }
            })
            .collect();
        let question = Question {
            needs: &request.needs,
            prompt_bytes: request.original.spans.prompt_bytes,
            bound,
            choices: request.choices,
            max_cost: certified.asked.max_cost,
        };
        let workload = certified.sites.workload(&certified.model);
        let plan = routing::plan(question, &candidates, &workload);
        drop(candidates);
        let spending = Spending::new(hold, certified.asked.at);
        self.inner.call(Planned {
            model: certified.model,
            sites: certified.sites,
            allowed: certified.allowed,
            rejected: certified.rejected,
            asked: certified.asked,
            bound,
            plan,
            spending,
        })
    }
}
