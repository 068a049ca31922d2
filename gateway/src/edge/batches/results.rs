//! How a batch ends: one file of the requests that were answered, one of those that failed and of
//! those that were never made. Cut off half way it is done over; a file that was complete already
//! stays beside the new one until its own end.

use std::collections::HashSet;

use super::asking;
use super::lines::{self, Lines, Next};
use super::runner::Runner;
use crate::history::{Arriving, Batch, Ending, HistoryError, Hold, Status, StoredFile};

/// Results read back at once: a few answers, not all.
const PAGE: u32 = 16;

impl Runner {
    /// Makes the files of results, and ends the batch with them.
    pub(super) async fn finish(
        &self,
        hold: &Hold,
        batch: &Batch,
        file: &StoredFile,
        begun: bool,
    ) -> Result<(), HistoryError> {
        // After `finalize` it can be cancelled no more: this is what it will be.
        let status = self
            .batches
            .renew(hold, self.pace.hold, self.clock.now())
            .await?
            .ok_or_else(|| HistoryError::NotHeld(batch.id.clone()))?;
        let cancelled = status == Status::Cancelling;
        let (mut counts, usage) = self.batches.tally(&batch.id).await?;
        let output_file = self.write_results(batch).await?;
        let done = self.batches.done(&batch.id).await?;
        let error = if cancelled {
            (
                "batch_cancelled",
                "the batch was cancelled before this request was made",
            )
        } else {
            (
                "batch_expired",
                "the batch's time was over before this request was made",
            )
        };
        let (error_file, unasked) = self
            .write_errors(batch, begun.then_some(file), &done, error)
            .await?;
        counts.failed += unasked;
        let ending = Ending {
            status: match (cancelled, unasked) {
                (true, _) => Status::Cancelled,
                (false, 0) => Status::Completed,
                (false, _) => Status::Expired,
            },
            counts,
            usage,
            output_file,
            error_file,
        };
        let now = self.clock.now();
        let ended = self.batches.end(hold, &ending, now).await;
        if let Err(HistoryError::NotHeld(_)) = &ended {
            // Whoever goes on makes its own.
            for id in [&ending.output_file, &ending.error_file]
                .into_iter()
                .flatten()
            {
                self.files.delete(&batch.organisation, id, now).await?;
            }
        }
        ended
    }

    /// The file of requests that were answered; none if there are none.
    async fn write_results(&self, batch: &Batch) -> Result<Option<String>, HistoryError> {
        let mut output = None;
        self.copy_results(batch, false, &mut output).await?;
        self.closed(batch, output, "output").await
    }

    /// The file of requests that failed and of those that were never made, and how many of those.
    async fn write_errors(
        &self,
        batch: &Batch,
        file: Option<&StoredFile>,
        done: &HashSet<u32>,
        (code, message): (&str, &str),
    ) -> Result<(Option<String>, u64), HistoryError> {
        let mut output = None;
        self.copy_results(batch, true, &mut output).await?;
        let mut unasked = 0;
        if let Some(file) = file {
            let mut lines = Lines::new(&self.files, file, self.settings.line_bytes);
            while let Next::Line(number, line) = lines.next().await? {
                if done.contains(&number) {
                    continue;
                }
                let Ok(line) = lines::read(&line, number, &batch.endpoint) else {
                    continue;
                };
                unasked += 1;
                let line = asking::unasked(&line.custom_id, code, message);
                self.append(batch, &mut output, &line).await?;
            }
        }
        Ok((self.closed(batch, output, "error").await?, unasked))
    }

    async fn copy_results(
        &self,
        batch: &Batch,
        failed: bool,
        output: &mut Option<Arriving>,
    ) -> Result<(), HistoryError> {
        let mut after = 0;
        loop {
            let page = self.batches.results(&batch.id, failed, after, PAGE).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = *last;
            for (_, line) in &page {
                self.append(batch, output, line).await?;
            }
        }
    }

    async fn append(
        &self,
        batch: &Batch,
        output: &mut Option<Arriving>,
        line: &[u8],
    ) -> Result<(), HistoryError> {
        let arriving = match output {
            Some(arriving) => arriving,
            None => {
                let now = self.clock.now();
                output.insert(self.files.begin_output(&batch.organisation, now).await?)
            }
        };
        arriving.write(line).await?;
        arriving.write(b"\n").await
    }

    async fn closed(
        &self,
        batch: &Batch,
        output: Option<Arriving>,
        kind: &str,
    ) -> Result<Option<String>, HistoryError> {
        let Some(arriving) = output else {
            return Ok(None);
        };
        let name = format!("{}_{kind}.jsonl", batch.id);
        let now = self.clock.now();
        let file = arriving
            .finish(&name, "batch_output", batch.output_lifetime, now)
            .await?;
        Ok(Some(file.id))
    }
}
