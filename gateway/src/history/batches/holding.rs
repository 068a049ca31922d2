//! Holding a batch: taking one, holding on, letting go, and how far a holder brings it.

use std::time::Duration;

use uuid::Uuid;

use super::{Batch, Batches, Fault, Status, row};
use crate::history::HistoryError;
use crate::time::{self, Timestamp};

/// Who holds a batch, and until when.
#[derive(Clone, Debug)]
pub struct Hold {
    pub batch: String,
    /// Made anew for each hold.
    pub(super) holder: String,
}

impl Batches {
    /// Takes an open batch that nobody holds: the oldest of the organisation of which the fewest
    /// are held.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn claim(
        &self,
        lasting: Duration,
        now: Timestamp,
    ) -> Result<Option<(Hold, Batch)>, HistoryError> {
        // Whoever is second to the same row finds it held, and comes again.
        const SQL: &str = "UPDATE batch SET held_by = $1, held_until_us = $2 \
             WHERE held_until_us < $3 AND id = (SELECT b.id FROM batch b \
             WHERE b.status IN ('validating', 'in_progress', 'finalizing', 'cancelling') \
             AND b.held_until_us < $3 ORDER BY (SELECT COUNT(*) FROM batch o \
             WHERE o.organisation = b.organisation AND o.held_until_us >= $3), \
             b.created_us, b.id LIMIT 1) RETURNING id";
        let holder = Uuid::now_v7().to_string();
        let until = now.checked_add(lasting).unwrap_or(Timestamp::MAX);
        let row: Option<(String,)> = sqlx::query_as(SQL)
            .bind(&*holder)
            .bind(time::to_cell(until))
            .bind(time::to_cell(now))
            .fetch_optional(self.store.pool())
            .await?;
        let Some((id,)) = row else { return Ok(None) };
        let batch = self.find(&id).await?;
        Ok(batch.map(|batch| (Hold { batch: id, holder }, batch)))
    }

    /// Holds on; the status as it is now, which tells of a cancellation. `None`: another gateway
    /// has taken over, or the batch has ended.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn renew(
        &self,
        hold: &Hold,
        lasting: Duration,
        now: Timestamp,
    ) -> Result<Option<Status>, HistoryError> {
        const SQL: &str = "UPDATE batch SET held_until_us = $1 \
             WHERE id = $2 AND held_by = $3 RETURNING status";
        let until = now.checked_add(lasting).unwrap_or(Timestamp::MAX);
        let row: Option<(String,)> = sqlx::query_as(SQL)
            .bind(time::to_cell(until))
            .bind(&*hold.batch)
            .bind(&*hold.holder)
            .fetch_optional(self.store.pool())
            .await?;
        Ok(row.and_then(|(status,)| status.parse().ok()))
    }

    /// Lets go, so that another may go on at once.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn release(&self, hold: &Hold) -> Result<(), HistoryError> {
        const SQL: &str =
            "UPDATE batch SET held_by = '', held_until_us = 0 WHERE id = $1 AND held_by = $2";
        sqlx::query(SQL)
            .bind(&*hold.batch)
            .bind(&*hold.holder)
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Its file was found right: its requests are made from now on.
    ///
    /// # Errors
    /// [`HistoryError::NotHeld`], or a database that does not answer.
    pub async fn begin(&self, hold: &Hold, total: u32, now: Timestamp) -> Result<(), HistoryError> {
        // One that was cancelled meanwhile learns its total and stays cancelled.
        const SQL: &str = "UPDATE batch SET total = $1, in_progress_us = $2, status = \
             CASE WHEN status = 'validating' THEN 'in_progress' ELSE status END \
             WHERE id = $3 AND held_by = $4";
        let done = sqlx::query(SQL)
            .bind(i64::from(total))
            .bind(time::to_cell(now))
            .bind(&*hold.batch)
            .bind(&*hold.holder)
            .execute(self.store.pool())
            .await?;
        held(hold, done.rows_affected())
    }

    /// Its file was found wrong: it ends here.
    ///
    /// # Errors
    /// As for [`Batches::begin`].
    pub async fn reject(
        &self,
        hold: &Hold,
        faults: &[Fault],
        now: Timestamp,
    ) -> Result<(), HistoryError> {
        const SQL: &str = "UPDATE batch SET status = 'failed', errors = $1, ended_us = $2, \
             held_by = '', held_until_us = 0 WHERE id = $3 AND held_by = $4";
        let done = sqlx::query(SQL)
            .bind(row::json(&faults))
            .bind(time::to_cell(now))
            .bind(&*hold.batch)
            .bind(&*hold.holder)
            .execute(self.store.pool())
            .await?;
        held(hold, done.rows_affected())
    }

    /// No more requests are made: its files are written from now on.
    ///
    /// # Errors
    /// As for [`Batches::begin`].
    pub async fn finalize(&self, hold: &Hold, now: Timestamp) -> Result<(), HistoryError> {
        const SQL: &str = "UPDATE batch SET finalizing_us = COALESCE(finalizing_us, $1), status = \
             CASE WHEN status = 'in_progress' THEN 'finalizing' ELSE status END \
             WHERE id = $2 AND held_by = $3";
        let done = sqlx::query(SQL)
            .bind(time::to_cell(now))
            .bind(&*hold.batch)
            .bind(&*hold.holder)
            .execute(self.store.pool())
            .await?;
        held(hold, done.rows_affected())
    }
}

/// Whether a holder's write found its row.
pub(super) fn held(hold: &Hold, rows: u64) -> Result<(), HistoryError> {
    if rows == 0 {
        return Err(HistoryError::NotHeld(hold.batch.clone()));
    }
    Ok(())
}
