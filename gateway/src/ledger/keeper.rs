//! The ledger as the rest of the gateway holds it.

use std::time::Duration;

use super::spool::{Settings, SpoolError, Written};
use super::{Entry, Store};
use crate::time::Timestamp;

/// The ledger of one process: the spool it writes to and the task that ships it to the store.
/// Cloning it is cheap; all clones are the same ledger.
#[derive(Clone)]
pub struct Ledger {}

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
        let _ = (settings, store, refine);
        unimplemented!()
    }

    /// Writes an attempt down as it would stand if we died now. Nothing may leave for the host
    /// before the returned [`Written`] is ready.
    pub fn open(&self, entry: &Entry) -> Result<Written, SpoolError> {
        let _ = entry;
        unimplemented!()
    }

    /// Writes down how an attempt ended. Never refused for want of room: its intent held it.
    pub fn settle(&self, entry: &Entry) -> Result<Written, SpoolError> {
        let _ = entry;
        unimplemented!()
    }

    pub fn status(&self) -> Status {
        unimplemented!()
    }

    /// Waits until all that was settled before this call is in the store.
    pub async fn drain(&self, within: Duration) -> Result<(), NotDrained> {
        let _ = within;
        unimplemented!()
    }

    /// Stops shipping, syncs the spool and lets go of its folder.
    pub async fn close(self) {}
}
