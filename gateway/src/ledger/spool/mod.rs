//! The spool: entries on local disk, on their way to the store.
//!
//! A folder of append-only segments (`segment.rs` says how their bytes stand, `record.rs` how an
//! entry does), a `cursor` that says how far they are shipped, a `lock` held by the process that
//! writes, and `damaged-*` files with what could not be read. An attempt is written twice: as an
//! intent when it is opened, as it is when it is settled. Segments go in the order in which they
//! came, once all in them is shipped and nothing in them is open.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

mod cursor;
mod log;
mod record;
mod recovery;
mod segment;
mod sync;
mod tail;

pub(super) use cursor::Place;
pub(super) use log::Log;
pub use recovery::pending;
pub(super) use sync::Syncer;
pub(super) use tail::{Batch, Tail};

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
    /// Size of one file of the spool; the shipper reads one into memory at a time.
    pub segment_bytes: u64,
}

impl Settings {
    /// The usual settings: 8 MiB a file, 1 GiB in all (some 700,000 attempts).
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
        "the spool is full ({bytes} of {limit_bytes} bytes): the database has taken too little for too long; bring it back or raise the spool's limit"
    )]
    Full { bytes: u64, limit_bytes: u64 },
    #[error(
        "the spool folder {0} is in use by another process: give each gateway a folder of its own"
    )]
    InUse(PathBuf),
    #[error(
        "{path} was written by a newer Tollgate (format {version}): start that one until its spool is shipped"
    )]
    Newer { path: PathBuf, version: u32 },
    #[error("an entry of {bytes} bytes is larger than the spool takes ({limit} bytes)")]
    TooLarge { bytes: usize, limit: usize },
    #[error("${0} is more than an entry can hold ($9.2 million)")]
    Amount(crate::money::Money),
    #[error("the spool is being closed")]
    Closed,
    #[error("{what} {path}: {message}")]
    Disk {
        what: &'static str,
        path: PathBuf,
        message: String,
    },
}

fn disk(what: &'static str, path: &Path, error: &std::io::Error) -> SpoolError {
    SpoolError::Disk {
        what,
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// A write on its way to durability: ready at once, or after the next sync.
#[must_use = "what is written counts only once this is ready"]
pub struct Written(Option<oneshot::Receiver<Result<(), SpoolError>>>);

impl Written {
    /// Whether awaiting it would return at once.
    pub fn is_ready(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|waiting| !waiting.is_empty() || waiting.is_terminated())
    }
}

impl Future for Written {
    type Output = Result<(), SpoolError>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            None => Poll::Ready(Ok(())),
            Some(waiting) => Pin::new(waiting)
                .poll(context)
                .map(|told| told.unwrap_or(Err(SpoolError::Closed))),
        }
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
