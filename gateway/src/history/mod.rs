//! What the gateway keeps of conversations: the thinking that hosts want back and callers drop
//! ([`Reasoning`], in memory), what callers carry for us without being able to read or change it
//! ([`Seal`]), and what they ask us to store ([`Responses`], [`Files`], [`Batches`], in the ledger's
//! database). Everything is sealed under keys derived from the pepper, so gateways with the same
//! pepper read each other's; everything belongs to one organisation and does not exist for others;
//! everything has a size and an end.

mod batches;
mod cipher;
mod files;
mod kept;
mod purge;
mod reasoning;
mod responses;
mod seal;
mod turn_keys;

pub use batches::{
    Batch, BatchCounts, BatchUsage, Batches, Ending, Fault, Hold, LineResult, NewBatch, Status,
};
pub use files::{Arriving, FilePage, Files, Removal, StoredFile};
pub use kept::{History, OwnSeal, Stored};
pub use purge::purge_hourly;
pub use reasoning::{Held, Reasoning, Restored};
pub use responses::{Responses, StoredResponse};
pub use seal::Seal;
pub use turn_keys::Opening;

use crate::ledger::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the operating system gives no randomness: {0}")]
    Randomness(String),
    #[error(
        "{what} takes {bytes} bytes, and may take {limit}: send less, or delete what is not needed"
    )]
    TooLarge {
        what: &'static str,
        bytes: u64,
        limit: u64,
    },
    #[error(
        "{what} {id} cannot be opened: it was damaged, or written under another pepper; gateways \
         on one database need the same TOLLGATE_PEPPER"
    )]
    Unreadable { what: &'static str, id: String },
    #[error("file {0} is gone")]
    FileGone(String),
    #[error("work on batch {0} broke off; it is tried again")]
    BrokeOff(String),
    #[error("batch {0} is held by another gateway now")]
    NotHeld(String),
    #[error(
        "the organisation has {0} batches that are not done, all that it may have; wait for one to end"
    )]
    TooManyBatches(u32),
}

impl From<sqlx::Error> for HistoryError {
    fn from(error: sqlx::Error) -> Self {
        HistoryError::Store(error.into())
    }
}
