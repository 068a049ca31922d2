//! One immutable line of the ledger: one attempt of one request, with all that is needed to say
//! what it cost, why it went there and how each count was obtained.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chat::{CountedBy, Usage};
use crate::id::{
    AccountName, CatalogVersion, EntryId, HostName, KeyId, ModelName, OrganisationName,
    ProjectName, RegionName, RequestId, TeamName, WindowId,
};
use crate::money::Money;
use crate::time::Timestamp;

/// Who pays: copied from the key at the time of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    pub organisation: OrganisationName,
    pub team: TeamName,
    pub project: ProjectName,
    pub key: KeyId,
}

/// Where an attempt went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub host: HostName,
    pub account: AccountName,
    pub region: RegionName,
    pub model: ModelName,
    /// The host's own id of the model.
    pub host_model: Arc<str>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Whole, to its end.
    Answered,
    /// The caller went away before the end.
    Left,
    /// The host broke off after its first byte.
    Cut,
    /// The host answered with an error before any token.
    Refused,
    /// The host could not be reached, or answered with something that is no answer.
    Failed,
    TimedOut,
    /// We died before we knew.
    Lost,
}

impl Outcome {
    pub const ALL: [Outcome; 7] = [
        Outcome::Answered,
        Outcome::Left,
        Outcome::Cut,
        Outcome::Refused,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Lost,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Left => "left",
            Outcome::Cut => "cut",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed_out",
            Outcome::Lost => "lost",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// What an entry costs. An unknown price is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    Priced {
        cost: Money,
        /// The same usage at the host's list price of that instant (no promotion, dearest band).
        list: Money,
        /// The mean of the same usage's cost over all backends that this request was allowed to
        /// use: what a router that does not look at prices would have paid.
        spread: Money,
        /// The window rests on a calendar not yet published.
        provisional: bool,
    },
    Unpriced,
}

impl Price {
    pub fn cost(&self) -> Option<Money> {
        match self {
            Price::Priced { cost, .. } => Some(*cost),
            Price::Unpriced => None,
        }
    }
}

/// An attempt as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: EntryId,
    pub request: RequestId,
    /// 1 for a request's first attempt.
    pub attempt: u16,
    pub payer: Payer,
    /// Demands in force, sorted, comma separated; empty for none.
    pub tags: Arc<str>,
    /// The dialect that the caller spoke: `openai_chat`.
    pub surface: Arc<str>,
    pub place: Place,
    pub started: Timestamp,
    pub first_byte: Option<Timestamp>,
    pub ended: Timestamp,
    /// The instant by which the host prices it; reports group by this one.
    pub billed: Timestamp,
    /// The host's own id of the call.
    pub host_request: Option<Arc<str>>,
    pub usage: Usage,
    pub counted_by: CountedBy,
    pub outcome: Outcome,
    pub catalog: CatalogVersion,
    pub window: Option<WindowId>,
    pub price: Price,
    /// The decision, as JSON: ranked candidates with expected costs, and what ruled out the others.
    pub decision: Arc<str>,
}
