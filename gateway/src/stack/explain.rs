//! Explain: the plan told instead of followed. The innermost service of `/v1/route`.

use std::task::{Context, Poll};

use serde::Serialize;
use tower::Service;

use super::Outcome;
use super::certify::{Allowed, allowed};
use super::passage::Planned;
use super::plan::{question, rank};
use super::sites::Sites;
use crate::chat::{Lack, Refusal, Request};
use crate::id::{ModelName, Tag};
use crate::routing::{Decision, Plan, RankedLine, Rejection};
use crate::time::Timestamp;

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
        let route = Route::of(
            &planned.model,
            &planned.asked.tags,
            decision(
                &planned.sites,
                &planned.allowed,
                &planned.plan,
                &planned.rejected,
            ),
        );
        Box::pin(std::future::ready(Ok(route)))
    }
}

impl Route {
    fn of(model: &ModelName, tags: &[Tag], mut decision: Decision) -> Route {
        decision.chosen = decision.ranked.first().map(|line| line.backend.clone());
        Route {
            model: model.to_string(),
            tags: tags.iter().map(ToString::to_string).collect(),
            decision,
        }
    }
}

/// The plan of a request that nobody sends, as `tollgate route` tells it: by the book and the
/// accounts alone, as if nothing had been learnt yet.
///
/// # Errors
/// As the line would refuse it.
pub fn route_offline(
    sites: &Sites,
    request: &Request,
    tags: &[Tag],
    at: Timestamp,
) -> Result<Route, Refusal> {
    let Allowed {
        model,
        allowed,
        rejected,
    } = allowed(sites, &request.model, tags, at)?;
    let plan = rank(sites, &allowed, &model, question(request), at);
    Ok(Route::of(
        &model,
        tags,
        decision(sites, &allowed, &plan, &rejected),
    ))
}

/// The record of a plan, for the ledger or for a caller who asks.
pub(super) fn decision(
    sites: &Sites,
    allowed: &[usize],
    plan: &Plan,
    rejected: &[Lack],
) -> Decision {
    let ranked = plan
        .ranked
        .iter()
        .map(|ranked| RankedLine {
            backend: sites.all[allowed[ranked.candidate]]
                .backend
                .name
                .to_string(),
            cost: ranked.cost,
            window: ranked.window.id.to_string(),
            provisional: ranked.window.provisional,
            ttft_ms: ranked.ttft_ms,
        })
        .collect();
    Decision {
        chosen: None,
        policy: "cheapest".to_owned(),
        ranked,
        rejected: rejected
            .iter()
            .chain(&plan.rejected)
            .map(Rejection::from)
            .collect(),
        attempt: 0,
    }
}
