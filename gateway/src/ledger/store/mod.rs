//! The store: the ledger in PostgreSQL or SQLite.

use std::collections::BTreeMap;

use super::Entry;
use crate::chat::Usage;
use crate::id::{CatalogVersion, EntryId};
use crate::money::Money;
use crate::time::Timestamp;

/// The ledger's database. Cloning it is cheap.
#[derive(Clone)]
pub struct Store {}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{0}` is no database: write postgres://user@host/name or sqlite:/path/to/file")]
    Url(String),
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("the row of entry {id} holds a {column} that this version does not know: {value}")]
    Unknown {
        id: String,
        column: &'static str,
        value: String,
    },
}

/// What to group spend by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    Organisation,
    Team,
    Project,
    Key,
    Host,
    Account,
    Region,
    Model,
    Window,
    Outcome,
    CountedBy,
    Surface,
    Tags,
    /// Of the instant by which the host prices it, in UTC; so are day and month.
    Hour,
    Day,
    Month,
}

/// Spend of the half-open span [from, to), by the instant billed.
#[derive(Clone, Debug)]
pub struct SpendQuery {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Empty: one row of all.
    pub by: Vec<Dim>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpendRow {
    /// One value for each dimension asked for.
    pub key: Vec<String>,
    /// Distinct requests with an attempt in this row.
    pub requests: u64,
    pub attempts: u64,
    pub usage: Usage,
    pub cost: Money,
    pub list: Money,
    pub spread: Money,
    /// Attempts whose price is unknown; their cost is in no sum.
    pub unpriced: u64,
}

impl Store {
    /// Connects and brings the tables up to date.
    pub async fn open(url: &str) -> Result<Store, StoreError> {
        let _ = url;
        unimplemented!()
    }

    /// Writes entries; one that is there already stays as it is.
    pub async fn insert(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let _ = entries;
        unimplemented!()
    }

    pub async fn spend(&self, query: &SpendQuery) -> Result<Vec<SpendRow>, StoreError> {
        let _ = query;
        unimplemented!()
    }

    /// The latest entries by (billed, id), newest first, before that point.
    pub async fn recent(
        &self,
        limit: u32,
        before: Option<(Timestamp, EntryId)>,
    ) -> Result<Vec<Entry>, StoreError> {
        let _ = (limit, before);
        unimplemented!()
    }

    pub async fn entry(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        let _ = id;
        unimplemented!()
    }

    /// A page of the entries billed in [from, to), oldest first, after that point.
    pub async fn entries(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<(Timestamp, EntryId)>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let _ = (from, to, after, limit);
        unimplemented!()
    }

    /// Keeps a catalog's files under its version; a version that is there already stays.
    pub async fn record_catalog(
        &self,
        version: &CatalogVersion,
        files: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let _ = (version, files, now);
        unimplemented!()
    }

    pub async fn catalog(
        &self,
        version: &CatalogVersion,
    ) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        let _ = version;
        unimplemented!()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}
