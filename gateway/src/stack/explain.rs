//! Explain: the plan told instead of followed. The innermost service of `/v1/route`.

use std::task::{Context, Poll};

use serde::Serialize;
use tower::Service;

use super::Outcome;
use super::passage::Planned;
use crate::chat::Refusal;
use crate::routing::{Decision, RankedLine, Rejection};

/// What `/v1/route` answers.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    pub model: String,
    pub tags: Vec<String>,
    #[serde(flatten)]
    pub decision: Decision,
}

#[derive(Clone, Debug)]
pub(super) struct Explain;

impl Service<Planned> for Explain {
    type Response = Route;
    type Error = Refusal;
    type Future = Outcome<Route>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, planned: Planned) -> Self::Future {
        let mut decision = decision(&planned, None, 0);
        decision.chosen = decision.ranked.first().map(|line| line.backend.clone());
        let route = Route {
            model: planned.model.to_string(),
            tags: planned.asked.tags.iter().map(ToString::to_string).collect(),
            decision,
        };
        Box::pin(std::future::ready(Ok(route)))
    }
}

/// The record of a plan, for the ledger or for a caller who asks.
pub(super) fn decision(planned: &Planned, chosen: Option<usize>, attempt: u16) -> Decision {
    let name = |candidate: usize| planned.sites.all[planned.allowed[candidate]].backend.name.to_string();
    let ranked = planned
        .plan
        .ranked
        .iter()
        .map(|ranked| RankedLine {
            backend: name(ranked.candidate),
            cost: ranked.cost,
            window: ranked.window.id.to_string(),
            provisional: ranked.window.provisional,
            ttft_ms: ranked.ttft_ms,
        })
        .collect();
    let rejected = planned.rejected.iter().chain(&planned.plan.rejected);
    Decision {
        chosen: chosen.map(|rank| name(planned.plan.ranked[rank].candidate)),
        policy: "cheapest".to_owned(),
        ranked,
        rejected: rejected.map(Rejection::from).collect(),
        attempt,
    }
}
