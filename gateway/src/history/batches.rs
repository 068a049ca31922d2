//! Batches: what was asked, how far it is, and the result of each request until they are files.
//!
//! A batch is worked on by the gateway that holds it, for a time that it renews; whoever finds a
//! hold past its time takes over. Each write of a holder checks that it still holds. A request's
//! first result stands, so what has one is never asked again; what was in flight when its gateway
//! died has none and is asked again, so a death can bill a few requests twice and lose none.

mod ending;
mod holding;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use ending::{Ending, LineResult};
pub use holding::Hold;
pub use row::Status;

use super::HistoryError;
use super::cipher::Cipher;
use crate::access::Pepper;
use crate::id::{KeyId, OrganisationName};
use crate::ledger::Store;
use crate::settings::BatchSettings;
use crate::time::{self, Timestamp};

/// How long an ended batch is told of: as long as its files by default.
const REMEMBERED: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 30);

/// Cloning it is cheap.
#[derive(Clone)]
pub struct Batches {
    store: Store,
    cipher: Cipher,
    open: u32,
}

/// A batch to be made.
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub organisation: OrganisationName,
    /// Whose key its requests are made with; it must count when they are.
    pub key: KeyId,
    /// The path of all its requests.
    pub endpoint: String,
    pub input_file: String,
    /// As the caller wrote it: `24h`.
    pub completion: String,
    pub window: Duration,
    pub metadata: Option<BTreeMap<String, String>>,
    /// Headers that each request carries: demands and bounds on cost.
    pub headers: Vec<(String, String)>,
    /// Of the files that it makes.
    pub output_lifetime: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// `batch_` and 32 hexadecimal digits that sort by time.
    pub id: String,
    pub organisation: OrganisationName,
    pub key: KeyId,
    pub endpoint: String,
    pub input_file: String,
    pub completion: String,
    pub metadata: Option<BTreeMap<String, String>>,
    pub headers: Vec<(String, String)>,
    pub output_lifetime: Option<Duration>,
    pub status: Status,
    pub created: Timestamp,
    pub expires: Timestamp,
    pub in_progress: Option<Timestamp>,
    pub finalizing: Option<Timestamp>,
    pub cancelling: Option<Timestamp>,
    /// When it came to whichever end its status says.
    pub ended: Option<Timestamp>,
    pub faults: Vec<Fault>,
    pub counts: BatchCounts,
    pub usage: BatchUsage,
    pub output_file: Option<String>,
    pub error_file: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}

/// Tokens of all answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchUsage {
    /// `cached` of them from a cache.
    pub input: u64,
    pub cached: u64,
    /// `reasoning` of them thinking.
    pub output: u64,
    pub reasoning: u64,
}

/// What is wrong with a batch's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub code: String,
    /// From 1.
    pub line: Option<u32>,
    pub message: String,
    pub param: Option<String>,
}

impl Batches {
    pub fn new(store: Store, pepper: &Pepper, settings: &BatchSettings) -> Self {
        Batches {
            store,
            cipher: Cipher::new(pepper, "tollgate 2026-11 results of batches"),
            open: settings.open,
        }
    }

    /// Makes a batch, to be worked on by whoever is free.
    ///
    /// # Errors
    /// Too many open ones, or a database that does not answer.
    pub async fn create(&self, new: NewBatch, now: Timestamp) -> Result<Batch, HistoryError> {
        const COUNT: &str = "SELECT COUNT(*) FROM batch WHERE organisation = $1 \
             AND status IN ('validating', 'in_progress', 'finalizing', 'cancelling')";
        const SQL: &str = "INSERT INTO batch (id, organisation, key_id, endpoint, input_file, \
             completion, metadata, headers, status, created_us, expires_us, total, completed, \
             failed, input_tokens, cached_tokens, output_tokens, reasoning_tokens, \
             output_lifetime_s, held_by, held_until_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, \
             'validating', $9, $10, 0, 0, 0, 0, 0, 0, 0, $11, '', 0)";
        let (open,): (i64,) = sqlx::query_as(COUNT)
            .bind(new.organisation.as_str())
            .fetch_one(self.store.pool())
            .await?;
        if open >= i64::from(self.open) {
            return Err(HistoryError::TooManyBatches(self.open));
        }
        let id = format!("batch_{}", Uuid::now_v7().simple());
        let expires = now.checked_add(new.window).unwrap_or(Timestamp::MAX);
        let lifetime = new.output_lifetime.map(|lifetime| lifetime.as_secs());
        sqlx::query(SQL)
            .bind(&*id)
            .bind(new.organisation.as_str())
            .bind(new.key.to_string())
            .bind(&*new.endpoint)
            .bind(&*new.input_file)
            .bind(&*new.completion)
            .bind(new.metadata.as_ref().map(row::json))
            .bind(row::json(&new.headers))
            .bind(time::to_cell(now))
            .bind(time::to_cell(expires))
            .bind(lifetime.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
            .execute(self.store.pool())
            .await?;
        Ok(Batch {
            id,
            organisation: new.organisation,
            key: new.key,
            endpoint: new.endpoint,
            input_file: new.input_file,
            completion: new.completion,
            metadata: new.metadata,
            headers: new.headers,
            output_lifetime: new.output_lifetime,
            status: Status::Validating,
            created: now,
            expires,
            in_progress: None,
            finalizing: None,
            cancelling: None,
            ended: None,
            faults: Vec::new(),
            counts: BatchCounts::default(),
            usage: BatchUsage::default(),
            output_file: None,
            error_file: None,
        })
    }

    /// A batch of this organisation, as far as it is.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn get(
        &self,
        organisation: &OrganisationName,
        id: &str,
    ) -> Result<Option<Batch>, HistoryError> {
        match self.find(id).await? {
            Some(batch) if batch.organisation == *organisation => {
                Ok(Some(self.counted(batch).await?))
            }
            _ => Ok(None),
        }
    }

    async fn find(&self, id: &str) -> Result<Option<Batch>, HistoryError> {
        let sql = format!("SELECT {} FROM batch WHERE id = $1", row::COLUMNS);
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(self.store.pool())
            .await?
            .as_ref()
            .map(row::read)
            .transpose()
    }

    /// The organisation's batches, newest first, those behind `after` if given.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn list(
        &self,
        organisation: &OrganisationName,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Batch>, HistoryError> {
        let sql = format!(
            "SELECT {} FROM batch WHERE organisation = $1 AND ($2 = '' OR id < $2) \
             ORDER BY id DESC LIMIT $3",
            row::COLUMNS
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(organisation.as_str())
            .bind(after.unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(self.store.pool())
            .await?;
        let mut batches = Vec::with_capacity(rows.len());
        for row in &rows {
            batches.push(self.counted(row::read(row)?).await?);
        }
        Ok(batches)
    }

    /// What has been done of a batch that is not done yet.
    async fn counted(&self, mut batch: Batch) -> Result<Batch, HistoryError> {
        if batch.status.is_open() {
            let (counts, usage) = self.tally(&batch.id).await?;
            batch.counts.completed = counts.completed;
            batch.counts.failed = counts.failed;
            batch.usage = usage;
        }
        Ok(batch)
    }

    /// Asks that no more of a batch's requests be made; the batch as it is then. One that is ending
    /// or has ended stays as it is.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn cancel(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Batch>, HistoryError> {
        const SQL: &str = "UPDATE batch SET status = 'cancelling', cancelling_us = $1 \
             WHERE id = $2 AND organisation = $3 AND status IN ('validating', 'in_progress')";
        sqlx::query(SQL)
            .bind(time::to_cell(now))
            .bind(id)
            .bind(organisation.as_str())
            .execute(self.store.pool())
            .await?;
        self.get(organisation, id).await
    }

    /// The numbers of the requests that have a result.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn done(&self, id: &str) -> Result<HashSet<u32>, HistoryError> {
        const SQL: &str = "SELECT number FROM batch_result WHERE batch_id = $1";
        let rows: Vec<(i64,)> = sqlx::query_as(SQL)
            .bind(id)
            .fetch_all(self.store.pool())
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(number,)| u32::try_from(number).ok())
            .collect())
    }

    /// Forgets batches that ended long ago, and results that belong to none; how many batches.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn purge(&self, now: Timestamp) -> Result<u64, HistoryError> {
        const BATCHES: &str = "DELETE FROM batch WHERE ended_us <= $1";
        const RESULTS: &str = "DELETE FROM batch_result WHERE NOT EXISTS (SELECT 1 FROM batch \
             WHERE batch.id = batch_result.batch_id AND batch.ended_us IS NULL)";
        let before = now.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        let done = sqlx::query(BATCHES)
            .bind(time::to_cell(before))
            .execute(self.store.pool())
            .await?;
        sqlx::query(RESULTS).execute(self.store.pool()).await?;
        Ok(done.rows_affected())
    }
}
