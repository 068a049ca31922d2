//! What a request is at each height of the line. Each type holds what has been established so far;
//! a layer can only be called with what the layers above it made.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::admit::Permit;
use super::meter::MeteredStream;
use super::sites::{Site, Sites};
use crate::access::Principal;
use crate::chat::{Frames, Lack, Refusal, Request, Tokens};
use crate::id::{BackendName, ModelName, RequestId, Tag};
use crate::ledger::budget::Hold;
use crate::money::Money;
use crate::routing::Plan;
use crate::time::Timestamp;

/// Header: demands, comma separated, added to the key's.
pub const TAGS: &str = "x-tollgate-tags";
/// Header: the most that the request may be expected to cost, dollars.
pub const MAX_COST: &str = "x-tollgate-max-cost";

/// A dialect, as the line needs it: how a body is read and how a broken stream ends.
#[derive(Debug)]
pub struct Surface {
    /// As the ledger names it.
    pub name: &'static str,
    pub read: fn(Frames) -> Result<Request, Refusal>,
    /// The event that ends a stream which cannot be completed.
    pub stream_error: fn(&Refusal) -> Bytes,
}

/// A request as it comes in: its headers, and a body that nobody has read.
#[derive(Debug)]
pub struct Arrival {
    pub id: RequestId,
    pub at: Timestamp,
    pub surface: &'static Surface,
    pub headers: HeaderMap,
    pub body: Body,
}

/// A request whose caller is known.
#[derive(Debug)]
pub(super) struct Known {
    pub arrival: Arrival,
    pub principal: Arc<Principal>,
}

/// A request that may be worked on.
#[derive(Debug)]
pub(super) struct Admitted {
    pub known: Known,
    pub permit: Permit,
}

/// A request that has been read.
#[derive(Debug)]
pub(super) struct Asked {
    pub id: RequestId,
    pub at: Timestamp,
    pub surface: &'static Surface,
    pub principal: Arc<Principal>,
    /// Held until the answer has been delivered.
    pub _permit: Permit,
    pub request: Request,
    /// Of the key and of the request, sorted, each once.
    pub tags: Vec<Tag>,
    pub max_cost: Option<Money>,
}

/// A request with the backends that may serve it: none outside `allowed` will ever see it.
#[derive(Debug)]
pub(super) struct Certified {
    pub asked: Asked,
    pub model: ModelName,
    pub sites: Arc<Sites>,
    /// Positions in `sites`, never empty.
    pub allowed: SmallVec<[usize; 16]>,
    pub rejected: Vec<Lack>,
}

/// A request whose worst case is covered.
pub(super) struct Reserved {
    pub certified: Certified,
    /// The bound on its output: the caller's, or ours where a hard budget needs one.
    pub bound: Option<Tokens>,
    pub hold: Option<Hold>,
}

/// A request with its plan, shared by its attempts and what outlives them.
pub(super) struct Planned {
    pub asked: Asked,
    pub model: ModelName,
    pub sites: Arc<Sites>,
    pub allowed: SmallVec<[usize; 16]>,
    pub rejected: Vec<Lack>,
    pub bound: Option<Tokens>,
    pub plan: Plan,
    /// What its attempts have cost so far, against what is held for it.
    pub spending: Spending,
}

/// The hold of a request and what it has spent; settles when the last attempt is done with.
pub(super) struct Spending(Mutex<(Option<Hold>, Money, Timestamp)>);

impl Spending {
    pub(super) fn new(hold: Option<Hold>, at: Timestamp) -> Self {
        Spending(Mutex::new((hold, Money::ZERO, at)))
    }

    pub(super) fn add(&self, cost: Money, billed: Timestamp) {
        let mut spending = self.0.lock();
        spending.1 += cost;
        spending.2 = billed;
    }

    pub(super) fn total(&self) -> Money {
        self.0.lock().1
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        let (hold, spent, billed) = self.0.get_mut();
        if let Some(hold) = hold.take() {
            hold.settle(*spent, *billed);
        }
    }
}

impl Planned {
    /// The site of a rank in the plan.
    pub(super) fn site(&self, rank: usize) -> &Site {
        &self.sites.all[self.allowed[self.plan.ranked[rank].candidate]]
    }
}

/// One attempt to be made.
#[derive(Clone)]
pub(super) struct Dispatch {
    pub planned: Arc<Planned>,
    /// Which of the plan's ranked backends.
    pub rank: usize,
    /// 1 for the first.
    pub attempt: u16,
    /// Set when its caller has gone.
    pub left: Arc<AtomicBool>,
}

impl Dispatch {
    /// What the expected output will cost: what is at stake when its caller leaves.
    pub(super) fn cost_of_output(&self) -> Money {
        let ranked = &self.planned.plan.ranked[self.rank];
        ranked.window.rates.output * ranked.expected.output()
    }
}

/// What the caller gets.
#[derive(Debug)]
pub struct Answer {
    pub backend: BackendName,
    pub attempts: u16,
    /// Of all attempts, where it is known before the body.
    pub cost: Option<Money>,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Whole(Bytes),
    Stream(Box<MeteredStream>),
}
