//! The line that every request walks, from its headers to the ledger. [`compose`] reads top to
//! bottom; each layer takes what the one above it learnt and adds its own, so that a request
//! that skipped a layer does not compile.

mod admit;
mod attempt;
mod authenticate;
mod certify;
mod explain;
mod meter;
mod observed;
mod once;
mod passage;
mod plan;
mod read;
mod reserve;
mod sites;
mod surface;
mod trace;

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tower::retry::budget::TpsBudget;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder};

use passage::Planned;

pub use admit::Admission;
pub use authenticate::authenticated;
pub use explain::{Route, route_offline};
pub use observed::Metrics;
pub use once::{Answered, IDEMPOTENCY_KEY};
pub use passage::{Answer, Arrival, Content, MAX_COST, TAGS};
pub use read::{body, unavailable};
pub use sites::{Site, Sites};
pub use surface::{Earlier, Surface, Telling};

use crate::access::{Directory, Tenants};
use crate::backend::Transport;
use crate::chat::Refusal;
use crate::history::History;
use crate::ledger::Ledger;
use crate::ledger::budget::Budgets;
use crate::settings::Limits;
use crate::time::Clock;

/// What every layer answers: an answer for the caller, or why there is none.
type Outcome<T = Answer> = BoxFuture<'static, Result<T, Refusal>>;

/// The rooms that the layers work in. One for the process.
pub struct Rooms {
    pub clock: Clock,
    pub limits: Limits,
    pub directory: Directory,
    pub budgets: Arc<dyn Budgets>,
    pub ledger: Ledger,
    pub sites: ArcSwap<Sites>,
    pub transport: Transport,
    pub retries: TpsBudget,
    pub metrics: Metrics,
    pub admission: Admission,
    pub answered: Arc<Answered>,
    pub history: Arc<History>,
    pub tenants: Tenants,
}

/// A line from a request's arrival to `T`: an answer, or the plan of one.
pub type LineTo<T> = BoxCloneSyncService<Arrival, T, Refusal>;
/// The line of requests that are answered by a model.
pub type Line = LineTo<Answer>;

/// Composes the stack around what becomes of a plan. The order is the design: what is cheaper to
/// check, and what protects more, stands further out.
fn compose<S, T>(rooms: &Arc<Rooms>, follow: S) -> LineTo<T>
where
    S: Service<Planned, Response = T, Error = Refusal, Future = Outcome<T>>
        + Clone
        + Send
        + Sync
        + 'static,
    T: Send + 'static,
{
    let line = ServiceBuilder::new()
        // Request id, metrics and the log line, around everything.
        .layer_fn(|inner| trace::Trace::new(inner, rooms.clone()))
        // The key, from the headers alone: a stranger's body is never read.
        .layer_fn(|inner| authenticate::Authenticate::new(inner, rooms.clone()))
        // Rate limits, concurrency and load shedding, still from the headers alone.
        .layer_fn(|inner| admit::Admit::new(inner, rooms.clone()))
        // The body once, as the frames it came in, and what routing needs of it.
        .layer_fn(|inner| read::Read::new(inner, rooms.clone()))
        // Tags of key and request: who may serve it. Nothing below can widen this.
        .layer_fn(|inner| certify::Certify::new(inner, rooms.clone()))
        // The worst case against the budgets that it touches.
        .layer_fn(|inner| reserve::Reserve::new(inner, rooms.clone()))
        // Expected cost at this instant, capability and health: the ranked plan.
        .layer_fn(|inner| plan::PlanLayer::new(inner, rooms.clone()))
        .service(follow);
    BoxCloneSyncService::new(line)
}

/// From the edge to the backend and back to the ledger.
pub fn line(rooms: &Arc<Rooms>) -> Line {
    let followed = ServiceBuilder::new()
        // A request that names itself is answered once.
        .layer_fn(|inner| once::Once::new(inner, rooms.clone()))
        // Walks the plan: timeouts, retry budget, breaker, fail-over until the first byte.
        .layer_fn(|inner| attempt::Attempt::new(inner, rooms.clone()))
        // Writes each attempt down before it leaves and settles it, whatever becomes of it.
        .layer_fn(|inner| meter::Meter::new(inner, rooms.clone()))
        // The host.
        .service(rooms.transport.clone());
    compose(rooms, followed)
}

/// The same line up to the plan, which is then told instead of followed: `/v1/route`.
pub fn route(rooms: &Arc<Rooms>) -> LineTo<Route> {
    compose(rooms, explain::Explain)
}
