//! The reading side of the spool: settled entries in the order in which they were written, read
//! back from the segments so that memory stays bounded however long the store is away; and the end
//! of segments that are no longer needed.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use super::cursor::Place;
use super::log::Log;
use super::record::{self, Kind, Texts};
use super::recovery::quarantine;
use super::segment::{FRAME, Frames, HEADER, SegmentId, Stretch};
use super::{SpoolError, disk};
use crate::ledger::Entry;
use crate::time::Timestamp;

/// Segments that may lie behind the current one for the sake of attempts that take long. Beyond,
/// their intents are written anew at the end, so that one endless stream does not fill the disk.
const HELD_BY_OPEN: usize = 8;

/// A reader's place, and what it has read of the segment there.
#[derive(Default)]
pub(in crate::ledger) struct Tail {
    place: Place,
    segment: Option<SegmentId>,
    /// Bytes of the segment that begin at `place`, from `used` on.
    bytes: Vec<u8>,
    used: usize,
    texts: Texts,
}

/// Settled entries, and the place behind them.
#[derive(Default)]
pub(in crate::ledger) struct Batch {
    pub(in crate::ledger) entries: Vec<Entry>,
    pub(in crate::ledger) up_to: Place,
    /// There is nothing more to read at the moment.
    pub(in crate::ledger) last: bool,
}

impl Tail {
    pub(super) fn new(place: Place) -> Self {
        Tail {
            place,
            ..Tail::default()
        }
    }

    /// The next settled entries, at most so many. Blocks while it reads.
    pub(in crate::ledger) fn read(
        &mut self,
        log: &Log,
        at_most: usize,
    ) -> Result<Batch, SpoolError> {
        let mut entries = Vec::new();
        let mut last = false;
        while entries.len() < at_most {
            if self.used == self.bytes.len() {
                match self.fill(log) {
                    Ok(true) => {}
                    Ok(false) => {
                        last = true;
                        break;
                    }
                    // What was read is good; the error comes again.
                    Err(_) if !entries.is_empty() => break,
                    Err(error) => return Err(error),
                }
            }
            self.take(log, &mut entries, at_most);
        }
        Ok(Batch {
            entries,
            up_to: self.place,
            last,
        })
    }

    /// Reads what is written behind the place; false if there is nothing.
    fn fill(&mut self, log: &Log) -> Result<bool, SpoolError> {
        let Some((id, length)) = log.segment_with_more(&mut self.place) else {
            return Ok(false);
        };
        let path = id.path(&log.settings.folder);
        let size = usize::try_from(length - self.place.offset).unwrap_or(usize::MAX);
        self.used = 0;
        self.bytes.clear();
        self.bytes.resize(size, 0);
        self.segment = Some(id);
        let read = File::open(&path)
            .and_then(|file| file.read_exact_at(&mut self.bytes, self.place.offset));
        match read {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tracing::error!(segment = %path.display(), "a segment of the spool is gone: its entries are lost to the ledger");
                log.damaged.fetch_add(1, Ordering::Relaxed);
                self.bytes.clear();
                self.place.offset = length;
                Ok(true)
            }
            Err(error) => {
                self.bytes.clear();
                Err(disk("cannot read", &path, &error))
            }
        }
    }

    fn take(&mut self, log: &Log, entries: &mut Vec<Entry>, at_most: usize) {
        let Some(id) = self.segment else {
            return;
        };
        let begin = self.place.offset;
        let bytes = &self.bytes[self.used..];
        let mut frames = Frames::new(id, begin, bytes);
        while entries.len() < at_most {
            let at = frames.offset();
            let Some(stretch) = frames.next() else {
                break;
            };
            let damaged = match stretch {
                Stretch::Frame { payload } if payload.first() == Some(&1) => None,
                Stretch::Frame { payload } => match record::decode(payload, &mut self.texts) {
                    Ok((Kind::Settled, entry)) => {
                        entries.push(entry);
                        None
                    }
                    Ok((Kind::Intent, _)) => None,
                    Err(_) => Some(payload),
                },
                Stretch::Damaged { from, to } => {
                    let index = |offset: u64| usize::try_from(offset - begin).unwrap_or(usize::MAX);
                    bytes.get(index(from)..index(to))
                }
            };
            if let Some(damaged) = damaged {
                log.damaged.fetch_add(1, Ordering::Relaxed);
                // The entry is lost either way; not to keep its bytes must not hold up the others.
                if let Err(error) = quarantine(&log.settings.folder, id, at, damaged) {
                    tracing::error!(%error, "damaged bytes of the spool could not be kept");
                }
            }
        }
        let taken = frames.offset() - begin;
        self.used += usize::try_from(taken).unwrap_or(usize::MAX);
        self.place.offset += taken;
    }
}

impl Log {
    /// The segment in which something stands behind `place`, which is moved to its beginning if
    /// that is another one.
    fn segment_with_more(&self, place: &mut Place) -> Option<(SegmentId, u64)> {
        let state = self.state.lock();
        for segment in &state.segments {
            let number = segment.id.number;
            if number < place.segment {
                continue;
            }
            let start = Place {
                segment: number,
                offset: HEADER as u64,
            };
            *place = start.max(*place);
            if segment.length > place.offset {
                return Some((segment.id, segment.length));
            }
        }
        None
    }

    /// All up to this place is in the store: remembers it, and lets go of what is not needed any
    /// more. Blocks while it does.
    pub(in crate::ledger) fn shipped(
        &self,
        up_to: Place,
        entries: u64,
        last_ended: Option<Timestamp>,
    ) -> Result<(), SpoolError> {
        {
            let mut state = self.state.lock();
            state.unshipped = state.unshipped.saturating_sub(entries);
            if up_to >= state.settled_up_to {
                // Also true where damage swallowed some of those counted.
                state.unshipped = 0;
            }
            state.oldest_unshipped = match last_ended {
                _ if state.unshipped == 0 => None,
                Some(instant) => Some(instant),
                None => state.oldest_unshipped,
            };
        }
        self.cursor.write(up_to)?;
        self.let_go(up_to)
    }

    fn let_go(&self, up_to: Place) -> Result<(), SpoolError> {
        loop {
            let (id, open, behind) = {
                let state = self.state.lock();
                let Some(oldest) = state.segments.front() else {
                    return Ok(());
                };
                if oldest.id.number >= up_to.segment {
                    return Ok(());
                }
                (oldest.id, oldest.open, state.segments.len() - 1)
            };
            if open > 0 {
                if behind <= HELD_BY_OPEN {
                    return Ok(());
                }
                self.carry(id)?;
            }
            if !self.wait_until_synced() {
                return Ok(());
            }
            let path = id.path(&self.settings.folder);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(disk("cannot remove", &path, &error));
                }
                _ => {}
            }
            let mut state = self.state.lock();
            if let Some(gone) = state.segments.pop_front() {
                state.bytes -= gone.length;
            }
        }
    }

    /// A segment may hold intents whose settlements were written only just now: it must outlast
    /// them until they are on the disk. False if the sync thread stops before.
    fn wait_until_synced(&self) -> bool {
        let mut state = self.state.lock();
        let end = state.end();
        while state.synced_up_to < end {
            if state.sync.stop {
                return false;
            }
            self.synced.wait(&mut state);
        }
        true
    }

    /// Writes the intents of a segment that are still open anew at the end of the spool.
    fn carry(&self, id: SegmentId) -> Result<(), SpoolError> {
        let path = id.path(&self.settings.folder);
        let bytes = std::fs::read(&path).map_err(|error| disk("cannot read", &path, &error))?;
        let mut frame = Vec::new();
        for stretch in Frames::new(id, HEADER as u64, bytes.get(HEADER..).unwrap_or_default()) {
            let Stretch::Frame { payload } = stretch else {
                continue;
            };
            let Ok((Kind::Intent, entry)) = record::peek(payload) else {
                continue;
            };
            frame.clear();
            frame.extend_from_slice(&[0; FRAME]);
            frame.extend_from_slice(payload);
            // Under one lock: an intent written behind its own settlement would count as open.
            let mut state = self.state.lock();
            if state.open.get(&entry) == Some(&id.number) {
                let place = self.write(&mut state, &mut frame)?;
                state.opened(entry, place.segment);
            }
        }
        Ok(())
    }
}
