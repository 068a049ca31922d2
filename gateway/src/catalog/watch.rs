//! The catalog that a running gateway uses: swapped whole when its files change, kept when the new
//! files are wrong. Relies on the operating system's file notices; folders are watched, not files,
//! since editors write by renaming.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use super::Catalog;
use super::error::CatalogError;
use crate::id::CatalogVersion;

/// Files are read this long after the last notice: an editor's save comes as several.
const SETTLE: Duration = Duration::from_millis(100);
/// A folder that never comes to rest is read all the same after so many notices.
const MOST_NOTICES: usize = 64;

/// The current catalog. Dropping it ends the watching.
#[derive(Debug)]
pub struct Watch {
    shelf: Arc<Shelf>,
    /// Holds the operating system's watch open; its callback feeds the reading thread.
    _watcher: RecommendedWatcher,
}

#[derive(Debug)]
struct Shelf {
    folders: Vec<PathBuf>,
    current: ArcSwap<Catalog>,
    last_error: ArcSwapOption<String>,
    changes: watch::Sender<CatalogVersion>,
}

impl Watch {
    /// Loads the folders and keeps watching them.
    pub fn start(folders: Vec<PathBuf>) -> Result<Watch, CatalogError> {
        let (notices, noticed) = channel();
        let mut watcher = watcher(notices).map_err(|error| CatalogError::Unwatchable {
            path: folders.first().cloned().unwrap_or_default(),
            error,
        })?;
        // Watching begins before reading, so that no change falls between the two.
        for folder in &folders {
            watcher
                .watch(folder, RecursiveMode::Recursive)
                .map_err(|error| CatalogError::Unwatchable {
                    path: folder.clone(),
                    error,
                })?;
        }
        let catalog = Catalog::load(&folders)?;
        let shelf = Arc::new(Shelf {
            changes: watch::Sender::new(catalog.version.clone()),
            current: ArcSwap::from_pointee(catalog),
            last_error: ArcSwapOption::empty(),
            folders,
        });
        let reader = shelf.clone();
        std::thread::Builder::new()
            .name("catalog-watch".to_owned())
            .spawn(move || read_on_notice(&reader, &noticed))
            .map_err(|error| CatalogError::Unreadable {
                path: shelf.folders.first().cloned().unwrap_or_default(),
                error,
            })?;
        Ok(Watch {
            shelf,
            _watcher: watcher,
        })
    }

    /// The catalog in force. Hold it for one request, not longer.
    pub fn current(&self) -> Arc<Catalog> {
        self.shelf.current.load_full()
    }

    /// Why the newest files were not taken up, until good ones are.
    pub fn last_error(&self) -> Option<Arc<String>> {
        self.shelf.last_error.load_full()
    }

    /// Tells of each version taken up; the first is seen already.
    pub fn changes(&self) -> watch::Receiver<CatalogVersion> {
        self.shelf.changes.subscribe()
    }

    /// Reads the files now. True if another version was taken up; wrong files change nothing.
    pub fn reload(&self) -> Result<bool, CatalogError> {
        self.shelf.reload()
    }
}

impl Shelf {
    fn reload(&self) -> Result<bool, CatalogError> {
        let catalog = match Catalog::load(&self.folders) {
            Ok(catalog) => catalog,
            Err(error) => {
                self.last_error.store(Some(Arc::new(error.to_string())));
                return Err(error);
            }
        };
        self.last_error.store(None);
        if catalog.version == self.current.load().version {
            return Ok(false);
        }
        let version = catalog.version.clone();
        self.current.store(Arc::new(catalog));
        self.changes.send_replace(version);
        Ok(true)
    }
}

fn watcher(notices: Sender<()>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading files is an event too: without this, each reading would cause the next.
        let concerns_content = event.map_or(true, |event| !event.kind.is_access());
        if concerns_content {
            // The reader is gone only while everything is being dropped.
            let _ = notices.send(());
        }
    })
}

/// Runs on a thread of its own until the watcher is dropped.
fn read_on_notice(shelf: &Shelf, noticed: &Receiver<()>) {
    while noticed.recv().is_ok() {
        for _ in 0..MOST_NOTICES {
            match noticed.recv_timeout(SETTLE) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        match shelf.reload() {
            Ok(true) => tracing::info!(version = %shelf.current.load().version, "catalog taken up"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "catalog files are wrong; the old ones stay in force")
            }
        }
    }
}
