//! Taking up a spool folder after whatever happened to the process that wrote it. All segments are
//! read once: torn ends are cut off, damaged stretches kept beside the spool, and what was opened
//! but never settled is settled as its intent foresaw.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cursor::{self, Place};
use super::log::{Found, Log, Segment};
use super::record::{self, Kind, Texts};
use super::segment::{self, Frames, HEADER, Header, SegmentId, Stretch};
use super::sync::Syncer;
use super::tail::Tail;
use super::{Pending, Settings, SpoolError, disk};
use crate::id::EntryId;
use crate::ledger::Entry;

/// How many of the latest settled entries are shown to whoever refines an orphan: enough to say
/// what such requests use, without holding a whole spool in memory.
const SHOWN: usize = 10_000;

/// A look into the folder (`pending`) holds the lock for an instant: try again before giving up.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

impl Log {
    /// Takes up the folder. Orphans are shown to `refine`, then settled. Blocks while it reads.
    pub(in crate::ledger) fn start(
        settings: Settings,
        mut refine: impl FnMut(&mut Entry, &[Entry]),
    ) -> Result<(Arc<Log>, Syncer, Tail), SpoolError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&settings.folder)
            .map_err(|error| disk("cannot make", &settings.folder, &error))?;
        let lock = lock(&settings.folder)?;
        let cursor = cursor::read(&settings.folder);
        let mut scan = Scan::new(cursor);
        for id in segment::list(&settings.folder)? {
            scan.segment(&settings.folder, id)?;
        }
        let Scan {
            found,
            open,
            settled,
            ..
        } = scan;

        let log = Arc::new(Log::new(settings, lock, found)?);
        let syncer = Syncer::start(log.clone())?;
        let mut orphans: Vec<Entry> = open.into_values().collect();
        orphans.sort_by_key(|entry| entry.id);
        if !orphans.is_empty() {
            tracing::warn!(
                orphans = orphans.len(),
                "attempts were under way when the last process died: settled as estimated"
            );
        }
        let settled: Vec<Entry> = settled.into();
        for mut orphan in orphans {
            let id = orphan.id;
            refine(&mut orphan, &settled);
            // Its id is what makes it be counted once, whatever was refined.
            orphan.id = id;
            // Nobody waits for these; the store has them before the segment goes.
            drop(log.settle(&orphan)?);
        }
        let tail = Tail::new(cursor);
        Ok((log, syncer, tail))
    }
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join("lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| disk("cannot open", &path, &error))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(disk("cannot lock", &path, &error)),
        }
    }
    Err(SpoolError::InUse(folder.to_owned()))
}

/// What reading all segments adds up to.
struct Scan {
    cursor: Place,
    found: Found,
    open: HashMap<EntryId, Entry>,
    settled: VecDeque<Entry>,
    texts: Texts,
}

impl Scan {
    fn new(cursor: Place) -> Self {
        Scan {
            cursor,
            found: Found {
                segments: VecDeque::new(),
                next_segment: cursor.segment + 1,
                unshipped: 0,
                oldest_unshipped: None,
                settled_up_to: Place::default(),
                damaged: 0,
            },
            open: HashMap::new(),
            settled: VecDeque::new(),
            texts: Texts::default(),
        }
    }

    fn segment(&mut self, folder: &Path, id: SegmentId) -> Result<(), SpoolError> {
        let path = id.path(folder);
        let mut bytes = std::fs::read(&path).map_err(|error| disk("cannot read", &path, &error))?;
        match segment::check_header(&bytes, id) {
            Header::Ours => {}
            Header::Newer(version) => return Err(SpoolError::Newer { path, version }),
            Header::Damaged if bytes.len() <= HEADER => {
                // We died making it: there was nothing in it yet.
                tracing::warn!(segment = %path.display(), "an unfinished segment is cleared");
                bytes.clear();
            }
            Header::Damaged => {
                self.found.damaged += 1;
                quarantine(folder, id, 0, &bytes[..HEADER])?;
            }
        }

        let mut length = HEADER as u64;
        let mut frames = Frames::new(id, length, bytes.get(HEADER..).unwrap_or_default());
        while let Some(stretch) = frames.next() {
            match stretch {
                Stretch::Frame { payload } => {
                    length = frames.offset();
                    self.frame(folder, id, length, payload)?;
                }
                Stretch::Damaged { from, to } => {
                    self.found.damaged += 1;
                    quarantine(folder, id, from, slice(&bytes, from, to))?;
                }
            }
        }
        if (bytes.len() as u64) > length {
            cut(&path, length)?;
        }
        self.found.segments.push_back(Segment {
            id,
            length,
            open: 0,
        });
        self.found.next_segment = self.found.next_segment.max(id.number + 1);
        Ok(())
    }

    fn frame(
        &mut self,
        folder: &Path,
        id: SegmentId,
        end: u64,
        payload: &[u8],
    ) -> Result<(), SpoolError> {
        let (kind, entry) = match record::decode(payload, &mut self.texts) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a frame of the spool holds no entry");
                self.found.damaged += 1;
                return quarantine(folder, id, end - payload.len() as u64, payload);
            }
        };
        match kind {
            Kind::Intent => {
                self.open.insert(entry.id, entry);
            }
            Kind::Settled => {
                self.open.remove(&entry.id);
                let place = Place {
                    segment: id.number,
                    offset: end,
                };
                self.found.settled_up_to = place;
                if place > self.cursor {
                    self.found.unshipped += 1;
                    self.found.oldest_unshipped.get_or_insert(entry.ended);
                }
                if self.settled.len() == SHOWN {
                    self.settled.pop_front();
                }
                self.settled.push_back(entry);
            }
        }
        Ok(())
    }
}

fn slice(bytes: &[u8], from: u64, to: u64) -> &[u8] {
    let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(index(from)..index(to)).unwrap_or_default()
}

fn cut(path: &Path, length: u64) -> Result<(), SpoolError> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|error| disk("cannot open", path, &error))?;
    if length == HEADER as u64 {
        // Not even its header is sure: an empty segment is all it can be.
        return file
            .set_len(0)
            .map_err(|error| disk("cannot cut", path, &error));
    }
    file.set_len(length)
        .and_then(|()| file.sync_data())
        .map_err(|error| disk("cannot cut", path, &error))
}

/// Keeps bytes that could not be read beside the spool, for whoever looks into it, and says so.
pub(super) fn quarantine(
    folder: &Path,
    id: SegmentId,
    from: u64,
    bytes: &[u8],
) -> Result<(), SpoolError> {
    let path: PathBuf = folder.join(format!("damaged-{:016x}-{from}", id.number));
    tracing::error!(
        segment = %id.path(folder).display(),
        from,
        bytes = bytes.len(),
        kept = %path.display(),
        "a stretch of the spool is damaged: entries in it are lost to the ledger"
    );
    std::fs::write(&path, bytes).map_err(|error| disk("cannot write", &path, &error))
}

/// Looks into a spool folder without disturbing the gateway that may run on it. A folder that does
/// not exist holds nothing.
pub fn pending(folder: &Path) -> Result<Pending, SpoolError> {
    let running = match File::open(folder.join("lock")) {
        Ok(lock) => matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    };
    if !folder.exists() {
        return Ok(Pending::default());
    }
    let cursor = cursor::read(folder);
    let mut open = std::collections::HashSet::new();
    let mut settled = 0;
    for id in segment::list(folder)? {
        // A segment that goes while we look was shipped.
        let Ok(bytes) = std::fs::read(id.path(folder)) else {
            continue;
        };
        let start = HEADER as u64;
        let mut frames = Frames::new(id, start, bytes.get(HEADER..).unwrap_or_default());
        while let Some(stretch) = frames.next() {
            let Stretch::Frame { payload } = stretch else {
                continue;
            };
            let end = Place {
                segment: id.number,
                offset: frames.offset(),
            };
            match record::peek(payload) {
                Ok((Kind::Intent, id)) => {
                    open.insert(id);
                }
                Ok((Kind::Settled, id)) => {
                    open.remove(&id);
                    settled += u64::from(end > cursor);
                }
                Err(_) => {}
            }
        }
    }
    Ok(Pending {
        settled,
        open: open.len() as u64,
        running,
    })
}
