//! The spool: entries on local disk, on their way to the store.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

/// When a write counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the operating system: survives any death of the process. Synced 10 ms behind.
    #[default]
    Written,
    /// Synced to the disk: survives power loss too.
    Synced,
}

/// Where and how the spool is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    pub folder: PathBuf,
    pub durability: Durability,
    /// Beyond this no attempt is opened any more; settlements still are written.
    pub limit_bytes: u64,
    /// Size of one file of the spool.
    pub segment_bytes: u64,
}

impl Settings {
    /// The usual settings: 8 MiB a file, 1 GiB in all.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Settings {
            folder: folder.into(),
            durability: Durability::Written,
            limit_bytes: 1 << 30,
            segment_bytes: 8 << 20,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    #[error(
        "the spool is full ({bytes} of {limit_bytes} bytes): the database has taken nothing for too long, bring it back or raise ledger.spool_limit"
    )]
    Full { bytes: u64, limit_bytes: u64 },
    #[error(
        "the spool folder {0} is in use by another process: give each gateway a folder of its own"
    )]
    InUse(PathBuf),
    #[error(
        "{0} was written by a newer Tollgate (format {1}): start that version to ship it first"
    )]
    Newer(PathBuf, u32),
    #[error("an entry of {bytes} bytes is larger than the spool takes ({limit})")]
    TooLarge { bytes: usize, limit: usize },
    #[error("an amount of the entry is beyond $9.2 million: {0}")]
    Amount(crate::money::Money),
    #[error("{what} {path}: {message}")]
    Disk {
        what: &'static str,
        path: PathBuf,
        message: String,
    },
}

/// A write on its way to durability: ready at once, or after the next sync.
pub struct Written(());

impl Written {
    /// Whether awaiting it would return at once.
    pub fn is_ready(&self) -> bool {
        true
    }
}

impl Future for Written {
    type Output = Result<(), SpoolError>;
    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

/// What a spool folder holds that its store does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Settled, not shipped.
    pub settled: u64,
    /// Opened, not settled: under way if a gateway runs, else lost.
    pub open: u64,
    /// A process holds the folder.
    pub running: bool,
}

impl Pending {
    /// Entries that are still to reach the store.
    pub fn entries(&self) -> u64 {
        if self.running {
            self.settled
        } else {
            self.settled + self.open
        }
    }
}

/// Looks into a spool folder without disturbing the gateway that may run on it. A folder that does
/// not exist holds nothing.
pub fn pending(folder: &Path) -> Result<Pending, SpoolError> {
    let _ = folder;
    unimplemented!()
}
