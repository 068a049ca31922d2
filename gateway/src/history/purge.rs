//! Clearing away what is past its end. Nothing past its end is told in any case; this gives the room
//! back.

use std::sync::Arc;
use std::time::Duration;

use super::{Batches, Files, History};
use crate::time::Clock;

/// How often. What waits for it is at most an hour of the past.
const EVERY: Duration = Duration::from_secs(3600);

/// Clears away each hour, until dropped. Gateways on one database may all do it.
pub async fn purge_hourly(history: Arc<History>, files: Files, batches: Batches, clock: Clock) {
    loop {
        let now = clock.now();
        let purged = async {
            let responses = history.purge(now).await?;
            let batches = batches.purge(now).await?;
            Ok::<_, super::HistoryError>((responses, batches, files.purge(now).await?))
        };
        match purged.await {
            Ok((0, 0, 0)) => {}
            Ok((responses, batches, files)) => {
                tracing::info!(
                    responses,
                    batches,
                    files,
                    "cleared away what was past its end"
                );
            }
            Err(error) => tracing::warn!(%error, "what is past its end stays for another hour"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
