//! What a request is at each height of the line. Each type holds what has been established so far;
//! a layer can only be called with what the layers above it made.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::admit::Permit;
use super::meter::Shared;
use super::sites::{Site, Sites};
use super::surface::{Earlier, Surface, Telling};
use crate::access::Principal;
use crate::chat::{Conversation, Lack, Refusal, Reply, Request, Speaker, Tokens};
use crate::history::{History, Stored};
use crate::id::{BackendName, ModelName, RequestId, Tag};
use crate::ledger::budget::Hold;
use crate::money::Money;
use crate::routing::Plan;
use crate::time::Timestamp;

/// Header: demands, comma separated, added to the key's.
pub const TAGS: &str = "x-tollgate-tags";
/// Header: the most that the request may be expected to cost, dollars.
pub const MAX_COST: &str = "x-tollgate-max-cost";

/// A request as it comes in: its headers, and a body that nobody has read.
pub struct Arrival {
    pub id: RequestId,
    pub at: Timestamp,
    pub surface: &'static dyn Surface,
    pub headers: HeaderMap,
    pub body: Body,
    /// Whose it is, where it comes from within: its caller left it to us earlier.
    pub from_within: Option<Arc<Principal>>,
}

/// A request whose caller is known.
pub(super) struct Known {
    pub arrival: Arrival,
    pub principal: Arc<Principal>,
}

/// A request that may be worked on.
pub(super) struct Admitted {
    pub known: Known,
    pub permit: Permit,
}

/// A request that has been read.
pub(super) struct Asked {
    pub id: RequestId,
    pub at: Timestamp,
    pub surface: &'static dyn Surface,
    pub principal: Arc<Principal>,
    /// Held until the answer has been delivered.
    pub _permit: Permit,
    pub request: Request,
    /// What is known of the conversation beside it.
    pub earlier: Earlier,
    /// By which it is told from others, if its caller gave it a name.
    pub named: Option<Named>,
    /// Of the key and of the request, sorted, each once.
    pub tags: Vec<Tag>,
    pub max_cost: Option<Money>,
}

/// How a request names itself.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: Arc<str>,
    /// Of its body.
    pub fingerprint: [u8; 32],
}

/// A request with the backends that may serve it: none outside `allowed` will ever see it.
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
    /// The request read completely, once something needs it so.
    pub conversation: OnceLock<Result<Conversation, Refusal>>,
    pub history: Arc<History>,
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

    /// The request read completely, with the thinking behind earlier calls where it is known.
    pub(super) fn conversation(&self) -> Result<&Conversation, &Refusal> {
        let asked = &self.asked;
        self.conversation
            .get_or_init(|| {
                let mut conversation =
                    asked.surface.conversation(&asked.request, &asked.earlier)?;
                self.history.restore_reasoning(
                    &asked.principal.payer.organisation,
                    &mut conversation.turns,
                    asked.at,
                );
                Ok(conversation)
            })
            .as_ref()
    }

    /// The same, if something has needed it already.
    pub(super) fn conversation_if_read(&self) -> Option<&Conversation> {
        self.conversation.get()?.as_ref().ok()
    }

    pub(super) fn telling(&self) -> Result<Telling<'_>, &Refusal> {
        Ok(Telling {
            id: self.asked.id,
            request: &self.asked.request,
            conversation: self.conversation()?,
            seal: &self.asked.earlier.seal,
        })
    }

    /// Goes on telling an answer whose beginning passed through.
    pub(super) fn resume(&self, begun: &Reply) -> Option<Box<dyn Speaker>> {
        self.asked.surface.resume(&self.telling().ok()?, begun)
    }

    pub(super) fn stored(&self, reply: &Reply) -> Option<Stored> {
        self.asked.surface.stored(&self.telling().ok()?, reply)
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
    /// What the caller has of the answer already, where another host broke off.
    pub so_far: Option<Shared>,
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
    /// It was given before, to the same Idempotency-Key.
    pub again: bool,
    /// Set when a stream had to end in an error.
    pub broken: Arc<AtomicBool>,
}

#[derive(Debug)]
pub enum Content {
    Whole(Bytes),
    Stream(Body),
}
