//! Brings what was appended to the disk: a thread of its own, since an fdatasync takes milliseconds.
//! Under [`Durability::Written`] it syncs just behind the writes, under [`Durability::Synced`] at
//! once, all waiting writes together.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::log::Log;
use super::{Durability, SpoolError, disk};

/// From the first unsynced write to the start of its sync. With the sync itself (some 4 ms) the
/// disk stays at most 10 ms behind.
const BEHIND: Duration = Duration::from_millis(5);

/// The sync thread; dropping it syncs what is left and ends it.
pub(in crate::ledger) struct Syncer {
    log: Arc<Log>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(log: Arc<Log>) -> Result<Self, SpoolError> {
        let of_thread = log.clone();
        let thread = std::thread::Builder::new()
            .name("spool-sync".to_owned())
            .spawn(move || while of_thread.sync_once() {})
            .map_err(|error| disk("no thread to sync", &log.settings.folder, &error))?;
        Ok(Syncer {
            log,
            thread: Some(thread),
        })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.log.state.lock().sync.stop = true;
        self.log.unsynced.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the spool's sync thread had panicked");
        }
    }
}

impl Log {
    /// Waits for something to sync and syncs it; false when it is time to stop.
    fn sync_once(&self) -> bool {
        let mut state = self.state.lock();
        while !state.sync.dirty && !state.sync.stop {
            self.unsynced.wait(&mut state);
        }
        if self.settings.durability == Durability::Written && !state.sync.stop {
            // Others write meanwhile; only a stop wakes us early.
            self.unsynced.wait_for(&mut state, BEHIND);
        }
        let work = std::mem::take(&mut state.sync);
        state.sync.stop = work.stop;
        let current = state.file.clone();
        let end = state.end();
        drop(state);

        let mut done = Ok(());
        for file in work.files.iter().chain([&current]) {
            let synced = file.sync_data();
            done = done
                .and(synced.map_err(|error| disk("cannot sync", &self.settings.folder, &error)));
        }
        if work.folder {
            done = done.and(self.sync_folder());
        }
        let mut state = self.state.lock();
        if let Err(error) = &done {
            // What a failed sync leaves in the page cache counts as clean although it is not on the
            // disk, so a second sync would lie: go on in another file.
            tracing::error!(%error, "the spool could not be synced");
            state.spoilt = true;
            *self.trouble.lock() = Some(error.to_string());
        } else {
            state.synced_up_to = end;
            self.trouble.lock().take();
        }
        drop(state);
        self.synced.notify_all();
        for waiting in work.waiting {
            // Whoever no longer waits does not need to know.
            let _ = waiting.send(done.clone());
        }
        !work.stop
    }

    pub(super) fn sync_folder(&self) -> Result<(), SpoolError> {
        std::fs::File::open(&self.settings.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| disk("cannot sync", &self.settings.folder, &error))
    }
}
