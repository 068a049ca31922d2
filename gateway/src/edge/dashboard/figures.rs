//! What the pages ask of the rest of the house: spend, entries, prices of the moment, and who a
//! caller is. One trait, so that a page can be built and tested without a database; the types here
//! say only what a page shows, and rest on the ledger's [`Entry`] and the catalog's [`Rates`].

use std::pin::Pin;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::access::Principal;
use crate::catalog::{Rates, Source};
use crate::chat::Usage;
use crate::id::{EntryId, HostName, KeyId, ModelName, OrganisationName, WindowId};
use crate::ledger::Entry;
use crate::money::Money;
use crate::time::Timestamp;

/// A figure that has to be waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, FiguresError>> + Send + 'a>>;

/// Why there is no figure. The page shows the sentence; the cause belongs into the log.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    #[error("the ledger's database does not answer: {0}")]
    Store(String),
}

/// What the pages read. Each method is one query, made once for each page.
///
/// Everything is scoped to the reader's organisation; what belongs to another one does not exist.
pub trait Figures: Send + Sync {
    /// Sums of all entries billed within `span`, one row for each combination of `by`, in no order.
    /// By nothing: one row of all, or none.
    fn spend<'a>(
        &'a self,
        organisation: &'a OrganisationName,
        span: Span,
        by: &'a [Dimension],
    ) -> Answer<'a, Vec<Spend>>;

    /// The last entries, newest first, at most `limit`.
    fn recent<'a>(
        &'a self,
        organisation: &'a OrganisationName,
        limit: u32,
    ) -> Answer<'a, Vec<Entry>>;

    /// One entry, with the prices that it was charged by.
    fn entry<'a>(
        &'a self,
        organisation: &'a OrganisationName,
        id: EntryId,
    ) -> Answer<'a, Option<EntryInFull>>;

    /// What each host charges for each model at `now`, in the catalog's order.
    fn windows_now(&self, now: Timestamp) -> Vec<WindowNow>;

    /// How far the figures reach.
    fn status(&self) -> Answer<'_, Status>;

    /// Whom a key stands for; `None` for one that is unknown, expired or revoked.
    fn sign_in<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Principal>>;

    /// Whom a key's id stands for now: asked on every page, so that a revoked key is out at once.
    fn holder(&self, key: KeyId) -> Answer<'_, Option<Principal>>;
}

/// From an instant, inclusive, to another, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Span {
    /// The whole days in UTC from `first` to `last`, both included; `None` beyond the calendar.
    pub fn of_days(first: Date, last: Date) -> Option<Self> {
        let start = |day: Date| {
            day.to_zoned_datetime(TimeZone::UTC)
                .ok()
                .map(|zoned| zoned.timestamp())
        };
        Some(Span {
            from: start(first)?,
            until: start(last.tomorrow().ok()?)?,
        })
    }
}

/// What spend can be grouped by. A row's key has the dimension's value as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The day in UTC, `2026-11-24`.
    Day,
    Host,
    /// Empty for entries that no team answers for.
    Team,
}

/// The sums of one group of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// One value for each dimension asked for, in that order.
    pub key: Vec<String>,
    /// Distinct requests with an attempt in this group: one whose attempts lie in several groups
    /// counts in each, so that these do not add up.
    pub requests: u64,
    pub attempts: u64,
    pub usage: Usage,
    /// Sums over priced entries alone.
    pub cost: Money,
    pub list: Money,
    pub spread: Money,
    /// Entries without a price: their cost is in none of the sums.
    pub unpriced: u64,
}

/// What one host charges for one model now, and what comes next.
#[derive(Clone, Debug)]
pub struct WindowNow {
    pub host: HostName,
    /// For people: `DeepSeek API`.
    pub title: Arc<str>,
    pub model: ModelName,
    /// `None` where no price is known.
    pub price: Option<WindowPrice>,
    /// `None` where no change is known.
    pub next: Option<NextChange>,
}

/// A window's prices and where they were read.
#[derive(Clone, Debug)]
pub struct WindowPrice {
    pub window: WindowId,
    /// `flat`, `peak`, `off-peak`.
    pub band: Arc<str>,
    pub rates: Rates,
    /// Rests on a calendar not yet published.
    pub provisional: bool,
    pub source: Source,
}

/// The next change of a price.
#[derive(Clone, Debug)]
pub struct NextChange {
    pub at: Timestamp,
    pub band: Arc<str>,
    /// `None` where the price ends and no next one is known.
    pub rates: Option<Rates>,
}

/// One entry and the prices it was charged by.
#[derive(Clone, Debug)]
pub struct EntryInFull {
    pub entry: Entry,
    /// As in the catalog version that the entry names; `None` if it has no price.
    pub price: Option<WindowPrice>,
}

/// How far the figures reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The instant up to which the store has everything that had been spooled.
    pub as_of: Timestamp,
    /// Entries in the spool that the store does not have yet.
    pub in_spool: u64,
}
