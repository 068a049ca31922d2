//! Results of a batch's requests, and how it ends.

use super::holding::held;
use super::{BatchCounts, BatchUsage, Batches, Hold, Status};
use crate::history::HistoryError;
use crate::time::{self, Timestamp};

/// The result of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineResult {
    /// Of its line, from 1.
    pub number: u32,
    pub failed: bool,
    pub usage: BatchUsage,
    /// The line of the file that tells it, without its end.
    pub line: Vec<u8>,
}

/// What a batch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub status: Status,
    pub counts: BatchCounts,
    pub usage: BatchUsage,
    pub output_file: Option<String>,
    pub error_file: Option<String>,
}

impl Batches {
    /// Writes a result down; one that is there already stands. False if it was.
    ///
    /// # Errors
    /// A database that does not take it.
    pub async fn record(&self, id: &str, result: &LineResult) -> Result<bool, HistoryError> {
        const SQL: &str = "INSERT INTO batch_result (batch_id, number, failed, input_tokens, \
             cached_tokens, output_tokens, reasoning_tokens, sealed) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (batch_id, number) DO NOTHING";
        let place = result.number.to_string();
        let sealed = self.cipher.seal(&[id, &place], &result.line)?;
        let done = sqlx::query(SQL)
            .bind(id)
            .bind(i64::from(result.number))
            .bind(i64::from(result.failed))
            .bind(cell(result.usage.input))
            .bind(cell(result.usage.cached))
            .bind(cell(result.usage.output))
            .bind(cell(result.usage.reasoning))
            .bind(sealed)
            .execute(self.store.pool())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The lines of a batch's results by number, those after `after`: of requests that failed, or of
    /// those that did not.
    ///
    /// # Errors
    /// A result that cannot be opened, or a database that does not answer.
    pub async fn results(
        &self,
        id: &str,
        failed: bool,
        after: u32,
        limit: u32,
    ) -> Result<Vec<(u32, Vec<u8>)>, HistoryError> {
        const SQL: &str = "SELECT number, sealed FROM batch_result \
             WHERE batch_id = $1 AND failed = $2 AND number > $3 ORDER BY number LIMIT $4";
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(SQL)
            .bind(id)
            .bind(i64::from(failed))
            .bind(i64::from(after))
            .bind(i64::from(limit))
            .fetch_all(self.store.pool())
            .await?;
        rows.into_iter()
            .map(|(number, sealed)| {
                let line = self.cipher.open(&[id, &number.to_string()], &sealed);
                let line = line.ok_or_else(|| HistoryError::Unreadable {
                    what: "a result of batch",
                    id: id.to_owned(),
                })?;
                Ok((u32::try_from(number).unwrap_or(u32::MAX), line))
            })
            .collect()
    }

    /// Sums over a batch's results; `total` is of those alone.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn tally(&self, id: &str) -> Result<(BatchCounts, BatchUsage), HistoryError> {
        const SQL: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(failed), 0) AS BIGINT), \
             CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT), \
             CAST(COALESCE(SUM(cached_tokens), 0) AS BIGINT), \
             CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT), \
             CAST(COALESCE(SUM(reasoning_tokens), 0) AS BIGINT) \
             FROM batch_result WHERE batch_id = $1";
        let row: (i64, i64, i64, i64, i64, i64) = sqlx::query_as(SQL)
            .bind(id)
            .fetch_one(self.store.pool())
            .await?;
        let count = |cell: i64| u64::try_from(cell).unwrap_or(0);
        let counts = BatchCounts {
            total: count(row.0),
            completed: count(row.0 - row.1),
            failed: count(row.1),
        };
        let usage = BatchUsage {
            input: count(row.2),
            cached: count(row.3),
            output: count(row.4),
            reasoning: count(row.5),
        };
        Ok((counts, usage))
    }

    /// The end: the batch is told with its files from now on, and its results lie in those alone.
    ///
    /// # Errors
    /// [`HistoryError::NotHeld`], or a database that does not answer.
    pub async fn end(
        &self,
        hold: &Hold,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<(), HistoryError> {
        const SQL: &str = "UPDATE batch SET status = $1, ended_us = $2, completed = $3, \
             failed = $4, input_tokens = $5, cached_tokens = $6, output_tokens = $7, \
             reasoning_tokens = $8, output_file = $9, error_file = $10, held_by = '', \
             held_until_us = 0 WHERE id = $11 AND held_by = $12";
        const RESULTS: &str = "DELETE FROM batch_result WHERE batch_id = $1";
        let done = sqlx::query(SQL)
            .bind(ending.status.as_str())
            .bind(time::to_cell(now))
            .bind(cell(ending.counts.completed))
            .bind(cell(ending.counts.failed))
            .bind(cell(ending.usage.input))
            .bind(cell(ending.usage.cached))
            .bind(cell(ending.usage.output))
            .bind(cell(ending.usage.reasoning))
            .bind(ending.output_file.as_deref())
            .bind(ending.error_file.as_deref())
            .bind(&*hold.batch)
            .bind(&*hold.holder)
            .execute(self.store.pool())
            .await?;
        held(hold, done.rows_affected())?;
        // Cut off here, they go with the next purge.
        sqlx::query(RESULTS)
            .bind(&*hold.batch)
            .execute(self.store.pool())
            .await?;
        Ok(())
    }
}

fn cell(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
