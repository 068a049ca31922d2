//! The ledger as the rest of the gateway holds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::shipper::{self, Shipping};
use super::spool::{Log, Settings, SpoolError, Syncer, Written};
use super::{Entry, Store};
use crate::time::Timestamp;

/// The ledger of one process: the spool it writes to and the task that ships it to the store.
/// Cloning it is cheap; all clones are the same ledger.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    log: Arc<Log>,
    shipping: Arc<Shipping>,
    shipper: Mutex<Option<JoinHandle<()>>>,
    /// Dropped last: it syncs what is left.
    syncer: Mutex<Option<Syncer>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shipping.stop.store(true, Ordering::SeqCst);
        if let Some(shipper) = self.shipper.lock().take() {
            shipper.abort();
        }
    }
}

/// How far behind the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Settled entries that the store does not have yet.
    pub unshipped: u64,
    /// Attempts under way: opened, not settled.
    pub open: u64,
    /// What the spool takes on disk.
    pub bytes: u64,
    pub limit_bytes: u64,
    /// No unshipped entry ended before this instant.
    pub oldest_unshipped: Option<Timestamp>,
    /// Entries that the database refused for what they hold, kept beside the spool.
    pub refused: u64,
    /// Damaged stretches found in the spool, kept beside it.
    pub damaged: u64,
    /// Why the last try failed, until one succeeds.
    pub last_error: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("taking up the spool broke off: {0}")]
    Broken(String),
}

/// [`Ledger::drain`] ran out of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unshipped} settled entries are still in the spool{}: they will be shipped at the next start", .last_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default())]
pub struct NotDrained {
    pub unshipped: u64,
    pub last_error: Option<String>,
}

impl Ledger {
    /// Takes up the spool in `settings.folder`, settles what a dead process left open (each such
    /// entry is first shown to `refine`, with the latest settled ones of the spool), and starts
    /// shipping to the store, which may be down. Runs on the current tokio runtime.
    pub async fn start(
        settings: Settings,
        store: Store,
        refine: impl FnMut(&mut Entry, &[Entry]) + Send + 'static,
    ) -> Result<Ledger, LedgerError> {
        let (log, syncer, tail) = tokio::task::spawn_blocking(move || Log::start(settings, refine))
            .await
            .map_err(|error| LedgerError::Broken(error.to_string()))??;
        let shipping = Arc::new(Shipping::new());
        let shipper = shipper::ship(log.clone(), store, tail, shipping.clone());
        Ok(Ledger {
            inner: Arc::new(Inner {
                log,
                shipping,
                shipper: Mutex::new(Some(tokio::spawn(shipper))),
                syncer: Mutex::new(Some(syncer)),
            }),
        })
    }

    /// Writes an attempt down as it would stand if we died now. Nothing may leave for the host
    /// before the returned [`Written`] is ready.
    pub fn open(&self, entry: &Entry) -> Result<Written, SpoolError> {
        self.inner.log.open(entry)
    }

    /// Writes down how an attempt ended. Never refused for want of room in the spool's limit.
    pub fn settle(&self, entry: &Entry) -> Result<Written, SpoolError> {
        self.inner.log.settle(entry)
    }

    pub fn status(&self) -> Status {
        let level = self.inner.log.level();
        let shipping = &self.inner.shipping;
        Status {
            unshipped: level.unshipped,
            open: level.open,
            bytes: level.bytes,
            limit_bytes: level.limit_bytes,
            oldest_unshipped: level.oldest_unshipped,
            refused: shipping.refused.load(Ordering::Relaxed),
            damaged: level.damaged,
            last_error: level.trouble.or_else(|| shipping.last_error.lock().clone()),
        }
    }

    /// Waits until all that was settled before this call is in the store, however long it takes.
    pub async fn shipped(&self) {
        let shipping = &self.inner.shipping;
        let target = self.inner.log.settled_up_to();
        let mut shipped = shipping.shipped.subscribe();
        while *shipped.borrow_and_update() < target {
            shipping.hurry.notify_one();
            if shipped.changed().await.is_err() {
                // Only with the ledger itself, which we hold.
                return;
            }
        }
    }

    /// Waits until all that was settled before this call is in the store.
    pub async fn drain(&self, within: Duration) -> Result<(), NotDrained> {
        tokio::time::timeout(within, self.shipped())
            .await
            .map_err(|_| {
                let status = self.status();
                NotDrained {
                    unshipped: status.unshipped,
                    last_error: status.last_error,
                }
            })
    }

    /// Ends as a process that is killed does: nothing drained, nothing told.
    #[cfg(test)]
    pub(super) async fn die(self) {
        let shipper = self.inner.shipper.lock().take().expect("it lives");
        shipper.abort();
        // Cancelled, as it should be.
        let _ = shipper.await;
    }

    /// Stops shipping, syncs the spool and lets go of its folder. To be called last: what any clone
    /// writes afterwards is shipped only at the next start.
    pub async fn close(self) {
        let shipping = &self.inner.shipping;
        shipping.stop.store(true, Ordering::SeqCst);
        shipping.hurry.notify_one();
        let shipper = self.inner.shipper.lock().take();
        if let Some(shipper) = shipper
            && let Err(error) = shipper.await
        {
            tracing::error!(%error, "the shipper had broken off");
        }
        let syncer = self.inner.syncer.lock().take();
        // It waits for the disk.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(syncer)).await {
            tracing::error!(%error, "the last sync of the spool broke off");
        }
    }
}
