//! The writing side of the spool. An append is encoded on the calling thread and handed to the
//! operating system with one `write` under a short lock; `sync.rs` brings it to the disk.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::cursor::{CursorFile, Place};
use super::record::{self, Kind};
use super::segment::{self, FRAME, HEADER, SegmentId};
use super::{Durability, Settings, SpoolError, Written, disk};
use crate::id::EntryId;
use crate::ledger::Entry;
use crate::time::{self, Timestamp};

/// The spool of this process.
pub(in crate::ledger) struct Log {
    pub(super) settings: Settings,
    pub(super) state: Mutex<State>,
    /// Tells the sync thread that there is something to sync, or that it shall stop.
    pub(super) unsynced: Condvar,
    /// Tells who waits for it that `synced_up_to` has moved.
    pub(super) synced: Condvar,
    pub(super) cursor: CursorFile,
    pub(super) damaged: AtomicU64,
    /// Why the disk last failed us, until it no longer does.
    pub(super) trouble: Mutex<Option<String>>,
    /// The shipper waits for `settled`.
    pub(in crate::ledger) shipper_idle: AtomicBool,
    pub(in crate::ledger) settled: Notify,
    /// Held as long as the log lives.
    _lock: File,
}

pub(super) struct State {
    /// Oldest first; the last is written to.
    pub(super) segments: VecDeque<Segment>,
    pub(super) file: Arc<File>,
    /// The current file can no longer be trusted: the next append begins another.
    pub(super) spoilt: bool,
    /// Where the intent of each open attempt stands.
    pub(super) open: HashMap<EntryId, u64, BuildHasherDefault<IdHasher>>,
    pub(super) bytes: u64,
    pub(super) unshipped: u64,
    pub(super) oldest_unshipped: Option<Timestamp>,
    /// Just behind the last settlement.
    pub(super) settled_up_to: Place,
    /// All before it is on the disk.
    pub(super) synced_up_to: Place,
    pub(super) sync: Unsynced,
}

/// What the sync thread is to do next.
#[derive(Default)]
pub(super) struct Unsynced {
    pub(super) dirty: bool,
    pub(super) stop: bool,
    /// Full segments that were not synced to their end.
    pub(super) files: Vec<Arc<File>>,
    /// The folder has a new name in it.
    pub(super) folder: bool,
    pub(super) waiting: Vec<oneshot::Sender<Result<(), SpoolError>>>,
}

pub(super) struct Segment {
    pub(super) id: SegmentId,
    /// Bytes written.
    pub(super) length: u64,
    /// Attempts whose latest intent is here and that are not settled.
    pub(super) open: u64,
}

/// What recovery hands over.
pub(super) struct Found {
    pub(super) segments: VecDeque<Segment>,
    pub(super) next_segment: u64,
    pub(super) unshipped: u64,
    pub(super) oldest_unshipped: Option<Timestamp>,
    pub(super) settled_up_to: Place,
    pub(super) damaged: u64,
}

thread_local! {
    /// The frame being put together: kept, so that an append allocates nothing.
    static FRAME_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Log {
    pub(super) fn new(settings: Settings, lock: File, found: Found) -> Result<Self, SpoolError> {
        let cursor = CursorFile::open(&settings.folder)?;
        let (id, file) = new_segment(&settings, found.next_segment)?;
        let mut segments = found.segments;
        segments.push_back(Segment {
            id,
            length: HEADER as u64,
            open: 0,
        });
        Ok(Log {
            state: Mutex::new(State {
                bytes: segments.iter().map(|segment| segment.length).sum(),
                segments,
                file: Arc::new(file),
                spoilt: false,
                open: HashMap::default(),
                unshipped: found.unshipped,
                oldest_unshipped: found.oldest_unshipped,
                settled_up_to: found.settled_up_to,
                synced_up_to: Place::default(),
                sync: Unsynced {
                    dirty: true,
                    folder: true,
                    ..Unsynced::default()
                },
            }),
            settings,
            unsynced: Condvar::new(),
            synced: Condvar::new(),
            cursor,
            damaged: AtomicU64::new(found.damaged),
            trouble: Mutex::new(None),
            shipper_idle: AtomicBool::new(false),
            settled: Notify::new(),
            _lock: lock,
        })
    }

    /// Writes the intent of an attempt, unless the spool is full.
    pub(in crate::ledger) fn open(&self, entry: &Entry) -> Result<Written, SpoolError> {
        self.append(Kind::Intent, entry)
    }

    /// Writes a settlement.
    pub(in crate::ledger) fn settle(&self, entry: &Entry) -> Result<Written, SpoolError> {
        let written = self.append(Kind::Settled, entry)?;
        // Reading first keeps the cache line shared while the shipper is busy anyway.
        if self.shipper_idle.load(Ordering::Relaxed)
            && self.shipper_idle.swap(false, Ordering::SeqCst)
        {
            self.settled.notify_one();
        }
        Ok(written)
    }

    fn append(&self, kind: Kind, entry: &Entry) -> Result<Written, SpoolError> {
        FRAME_BUFFER.with_borrow_mut(|frame| {
            frame.clear();
            frame.extend_from_slice(&[0; FRAME]);
            record::encode(kind, entry, frame)?;

            let mut state = self.state.lock();
            if kind == Kind::Intent {
                self.refuse_if_full(&state, frame.len())?;
            }
            let place = self.write(&mut state, frame)?;
            match kind {
                Kind::Intent => state.opened(entry.id, place.segment),
                Kind::Settled => {
                    state.closed(entry.id);
                    if state.unshipped == 0 {
                        state.oldest_unshipped = Some(entry.ended);
                    }
                    state.unshipped += 1;
                    state.settled_up_to = place;
                }
            }
            Ok(self.written(&mut state))
        })
    }

    fn refuse_if_full(&self, state: &State, more: usize) -> Result<(), SpoolError> {
        let limit_bytes = self.settings.limit_bytes;
        if state.bytes + more as u64 > limit_bytes {
            return Err(SpoolError::Full {
                bytes: state.bytes,
                limit_bytes,
            });
        }
        Ok(())
    }

    /// Appends a frame, which has its payload behind [`FRAME`] bytes of room; returns where it ends.
    pub(super) fn write(&self, state: &mut State, frame: &mut [u8]) -> Result<Place, SpoolError> {
        let size = frame.len() as u64;
        let length = state.current().length;
        let full = length + size > self.settings.segment_bytes && length > HEADER as u64;
        if state.spoilt || full {
            self.rotate(state)?;
        }
        let current = state.current();
        let (id, offset) = (current.id, current.length);
        segment::seal(frame, id.salt, offset);
        if let Err(error) = state.file.write_all_at(frame, offset) {
            // Whatever part of it was written goes, or else nothing is written here any more.
            state.spoilt = state.file.set_len(offset).is_err();
            let error = disk("cannot write", &id.path(&self.settings.folder), &error);
            *self.trouble.lock() = Some(error.to_string());
            return Err(error);
        }
        state.current().length += size;
        state.bytes += size;
        if !state.sync.dirty {
            state.sync.dirty = true;
            self.unsynced.notify_one();
        }
        Ok(Place {
            segment: id.number,
            offset: offset + size,
        })
    }

    fn rotate(&self, state: &mut State) -> Result<(), SpoolError> {
        let (id, file) = new_segment(&self.settings, state.current().id.number + 1)?;
        let full = std::mem::replace(&mut state.file, Arc::new(file));
        state.spoilt = false;
        state.sync.files.push(full);
        state.sync.folder = true;
        state.bytes += HEADER as u64;
        state.segments.push_back(Segment {
            id,
            length: HEADER as u64,
            open: 0,
        });
        Ok(())
    }

    fn written(&self, state: &mut State) -> Written {
        match self.settings.durability {
            Durability::Written => Written(None),
            Durability::Synced => {
                let (tell, told) = oneshot::channel();
                state.sync.waiting.push(tell);
                Written(Some(told))
            }
        }
    }

    pub(in crate::ledger) fn folder(&self) -> &Path {
        &self.settings.folder
    }

    /// Just behind the last settlement written so far.
    pub(in crate::ledger) fn settled_up_to(&self) -> Place {
        self.state.lock().settled_up_to
    }
}

impl State {
    pub(super) fn current(&mut self) -> &mut Segment {
        self.segments
            .back_mut()
            .expect("there is always a segment to write to")
    }

    /// Just behind all that is written.
    pub(super) fn end(&self) -> Place {
        self.segments
            .back()
            .map_or(Place::default(), |current| Place {
                segment: current.id.number,
                offset: current.length,
            })
    }

    pub(super) fn opened(&mut self, id: EntryId, segment: u64) {
        self.current().open += 1;
        if let Some(before) = self.open.insert(id, segment) {
            self.one_less_open_in(before);
        }
    }

    fn closed(&mut self, id: EntryId) {
        if let Some(segment) = self.open.remove(&id) {
            self.one_less_open_in(segment);
        }
    }

    fn one_less_open_in(&mut self, segment: u64) {
        if let Some(index) = position(&self.segments, segment) {
            self.segments[index].open -= 1;
        }
    }
}

fn position(segments: &VecDeque<Segment>, number: u64) -> Option<usize> {
    segments
        .binary_search_by_key(&number, |segment| segment.id.number)
        .ok()
}

fn new_segment(settings: &Settings, number: u64) -> Result<(SegmentId, File), SpoolError> {
    let salt = getrandom::u32().map_err(|error| SpoolError::Disk {
        what: "no randomness for",
        path: settings.folder.clone(),
        message: error.to_string(),
    })?;
    let id = SegmentId { number, salt };
    Ok((id, segment::create(&settings.folder, id)?))
}

/// Ids are UUIDv7: their last bytes are random already, hashing them again would be waste.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            // The multiplication spreads the random bits to the top, where the table looks too.
            self.0 = (self.0.rotate_left(23) ^ u64::from_le_bytes(word))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
}

/// How full the spool is, for `Status`.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Level {
    pub(in crate::ledger) unshipped: u64,
    pub(in crate::ledger) open: u64,
    pub(in crate::ledger) bytes: u64,
    pub(in crate::ledger) limit_bytes: u64,
    pub(in crate::ledger) oldest_unshipped: Option<Timestamp>,
    pub(in crate::ledger) damaged: u64,
    pub(in crate::ledger) trouble: Option<String>,
}

impl Log {
    pub(in crate::ledger) fn level(&self) -> Level {
        let state = self.state.lock();
        Level {
            unshipped: state.unshipped,
            open: state.open.len() as u64,
            bytes: state.bytes,
            limit_bytes: self.settings.limit_bytes,
            oldest_unshipped: state
                .oldest_unshipped
                .map(|instant| time::from_cell(time::to_cell(instant))),
            damaged: self.damaged.load(Ordering::Relaxed),
            trouble: self.trouble.lock().clone(),
        }
    }
}
