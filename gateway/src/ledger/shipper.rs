//! Ships settled entries from the spool to the store: one task, which reads them back from disk, so
//! that its memory does not grow while the store is away, and tries again until the store has them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::spool::{Batch, Log, Place, SpoolError, Tail};
use super::{Entry, Store, StoreError};

/// Entries in one write to the store.
const BATCH: usize = 512;
/// How long settlements gather before a write, when there are few.
const GATHER: Duration = Duration::from_millis(50);
/// A store that has not answered for so long is as good as down.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the shipper shares with the ledger.
pub(super) struct Shipping {
    /// All before this place is in the store.
    pub(super) shipped: watch::Sender<Place>,
    /// Do not gather, do not pause: somebody waits.
    pub(super) hurry: Notify,
    pub(super) stop: AtomicBool,
    pub(super) refused: AtomicU64,
    pub(super) last_error: Mutex<Option<String>>,
}

impl Shipping {
    pub(super) fn new() -> Self {
        Shipping {
            shipped: watch::Sender::new(Place::default()),
            hurry: Notify::new(),
            stop: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ShipError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database has not answered for {} s", PATIENCE.as_secs())]
    Slow,
    #[error("cannot keep a refused entry in {0}: {1}")]
    Keep(std::path::PathBuf, String),
    #[error("a task of the shipper broke off: {0}")]
    Task(String),
}

/// Runs until told to stop. Dropped at any await it leaves nothing undone that the next start would
/// not do again.
pub(super) async fn ship(log: Arc<Log>, store: Store, tail: Tail, shipping: Arc<Shipping>) {
    let mut shipper = Shipper {
        log,
        store,
        tail: Some(tail),
        shipping,
    };
    while !shipper.shipping.stop.load(Ordering::SeqCst) {
        let Some(batch) = shipper.next().await else {
            continue;
        };
        if batch.entries.is_empty() {
            shipper.confirm(&batch).await;
            shipper.wait_for_settlements(&batch).await;
        } else {
            if !shipper.deliver(&batch).await {
                return;
            }
            shipper.confirm(&batch).await;
            if batch.last {
                shipper.gather().await;
            }
        }
    }
}

struct Shipper {
    log: Arc<Log>,
    store: Store,
    /// Here but while it reads.
    tail: Option<Tail>,
    shipping: Arc<Shipping>,
}

impl Shipper {
    async fn next(&mut self) -> Option<Batch> {
        let mut tail = self.tail.take()?;
        let log = self.log.clone();
        let read = tokio::task::spawn_blocking(move || {
            let batch = tail.read(&log, BATCH);
            (tail, batch)
        })
        .await;
        let failed = match read {
            Ok((tail, batch)) => {
                self.tail = Some(tail);
                match batch {
                    Ok(batch) => return Some(batch),
                    Err(error) => ShipError::from(error),
                }
            }
            Err(error) => ShipError::Task(error.to_string()),
        };
        self.note(&failed);
        self.pause(LONGEST_PAUSE).await;
        None
    }

    /// Until the store has the batch, however often it fails; false if told to stop before.
    async fn deliver(&self, batch: &Batch) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.insert(&batch.entries).await {
                Ok(()) => {
                    if self.shipping.last_error.lock().take().is_some() {
                        tracing::info!("the database takes entries again");
                    }
                    return true;
                }
                Err(error) => self.note(&error),
            }
            if self.shipping.stop.load(Ordering::SeqCst) {
                return false;
            }
            self.pause(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn insert(&self, entries: &[Entry]) -> Result<(), ShipError> {
        match self.try_insert(entries).await {
            Err(ShipError::Store(error)) if error.is_about_the_entry() => {
                // One of them cannot be kept by the database. The others must not wait for it.
                for entry in entries {
                    match self.try_insert(std::slice::from_ref(entry)).await {
                        Err(ShipError::Store(error)) if error.is_about_the_entry() => {
                            self.keep_aside(entry, &error)?;
                        }
                        done => done?,
                    }
                }
                Ok(())
            }
            done => done,
        }
    }

    async fn try_insert(&self, entries: &[Entry]) -> Result<(), ShipError> {
        tokio::time::timeout(PATIENCE, self.store.insert(entries))
            .await
            .map_err(|_| ShipError::Slow)?
            .map_err(ShipError::from)
    }

    /// Keeps an entry that the database refuses beside the spool, for a person to look at.
    fn keep_aside(&self, entry: &Entry, why: &StoreError) -> Result<(), ShipError> {
        let path = self.log.folder().join(format!("refused-{}.json", entry.id));
        tracing::error!(entry = %entry.id, error = %why, kept = %path.display(), "the database refuses an entry for what it holds");
        write_json(&path, entry).map_err(|error| ShipError::Keep(path, error))?;
        self.shipping.refused.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn confirm(&self, batch: &Batch) {
        let log = self.log.clone();
        let up_to = batch.up_to;
        let entries = batch.entries.len() as u64;
        let last_ended = batch.entries.last().map(|entry| entry.ended);
        let confirmed =
            tokio::task::spawn_blocking(move || log.shipped(up_to, entries, last_ended)).await;
        match confirmed {
            Ok(Ok(())) => {}
            // The entries are in the store; a cursor or a segment that stays behind does no harm.
            Ok(Err(error)) => self.note(&error.into()),
            Err(error) => self.note(&ShipError::Task(error.to_string())),
        }
        self.shipping.shipped.send_replace(up_to);
    }

    async fn wait_for_settlements(&self, batch: &Batch) {
        self.log.shipper_idle.store(true, Ordering::SeqCst);
        if self.log.settled_up_to() > batch.up_to {
            self.log.shipper_idle.store(false, Ordering::SeqCst);
            return;
        }
        tokio::select! {
            () = self.log.settled.notified() => self.gather().await,
            () = self.shipping.hurry.notified() => {}
        }
        self.log.shipper_idle.store(false, Ordering::SeqCst);
    }

    async fn gather(&self) {
        self.pause(GATHER).await;
    }

    async fn pause(&self, pause: Duration) {
        // Between half of it and all of it, so that replicas do not come back in step.
        let half = pause / 2;
        let pause = half + half * (getrandom::u32().unwrap_or(u32::MAX) >> 24) / 256;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shipping.hurry.notified() => {}
        }
    }

    fn note(&self, error: &ShipError) {
        let mut last = self.shipping.last_error.lock();
        let text = error.to_string();
        if last.as_ref() != Some(&text) {
            tracing::warn!(error = %text, "entries wait in the spool");
        }
        *last = Some(text);
    }
}

fn write_json(path: &Path, entry: &Entry) -> Result<(), String> {
    let json = serde_json::to_vec_pretty(entry).map_err(|error| error.to_string())?;
    std::fs::write(path, json).map_err(|error| error.to_string())
}
