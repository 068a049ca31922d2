//! How far the spool has been shipped, kept in the file `cursor` beside the segments.
//!
//! ```text
//! cursor := "TOLLGCUR" segment number(u64) offset(u64) crc(u32)     little endian, CRC-32 of the rest
//! ```
//!
//! Written in place after each batch and never synced: a cursor that is lost, torn or behind only
//! means that some entries are shipped once more, which the store does not notice.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{SpoolError, disk};

const MAGIC: &[u8; 8] = b"TOLLGCUR";
const SIZE: usize = 28;

/// A place in the spool. Places of one folder are ordered as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ledger) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// The cursor's file, open for writing.
pub(super) struct CursorFile {
    path: PathBuf,
    file: File,
}

impl CursorFile {
    pub(super) fn open(folder: &Path) -> Result<Self, SpoolError> {
        let path = path(folder);
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| disk("cannot open", &path, &error))?;
        Ok(CursorFile { path, file })
    }

    pub(super) fn write(&self, place: Place) -> Result<(), SpoolError> {
        self.file
            .write_all_at(&encode(place), 0)
            .map_err(|error| disk("cannot write", &self.path, &error))
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("cursor")
}

/// The place up to which all is shipped; the very beginning if the file cannot be read.
pub(super) fn read(folder: &Path) -> Place {
    std::fs::read(path(folder))
        .ok()
        .and_then(|bytes| decode(&bytes))
        .unwrap_or_default()
}

fn encode(place: Place) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&place.segment.to_le_bytes());
    bytes[16..24].copy_from_slice(&place.offset.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Place> {
    let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
    let number = |from: usize| bytes[from..].first_chunk().map(|b| u64::from_le_bytes(*b));
    let place = Place {
        segment: number(8)?,
        offset: number(16)?,
    };
    (encode(place) == *bytes).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_or_not_at_all() {
        let place = Place {
            segment: 7,
            offset: 1 << 20,
        };
        let bytes = encode(place);
        assert_eq!(decode(&bytes), Some(place));
        for cut in 0..SIZE {
            assert_eq!(decode(&bytes[..cut]), None);
        }
        for bit in 0..SIZE * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None);
        }
    }
}
