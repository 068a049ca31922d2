//! One file of the spool: how its bytes stand, and how they are read after any accident.
//!
//! The file is named `NNNNNNNNNNNNNNNN-SSSSSSSS.log`: its number, rising by one, and its salt, both
//! in hexadecimal.
//!
//! ```text
//! segment := header frame*
//! header  := "TOLLGATE" version(u32) salt(u32) number(u64) zero(u32) crc(u32)     32 bytes
//! frame   := length(u32) crc(u32) payload(length bytes)                          payload: `record.rs`
//! ```
//!
//! All integers are little endian. A frame's `crc` is the CRC-32 (IEEE) of offset(u64) length(u32)
//! payload, started from the salt, where offset is the frame's own place in the file. So a frame
//! counts only where it was written: neither old blocks of the disk, nor zeros, nor text that
//! somebody shaped like a frame can pass for one. The salt stands in the name as well, so that a
//! damaged header costs nothing but a complaint.
//!
//! Frames follow each other without gaps. Where one does not check, all is damaged up to the next
//! place from which a frame does check; a damaged stretch at the end is what a torn write leaves.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::record::LARGEST;
use super::{SpoolError, disk};

pub(super) const HEADER: usize = 32;
pub(super) const FRAME: usize = 8;
const MAGIC: &[u8; 8] = b"TOLLGATE";
const VERSION: u32 = 1;

/// Which segment: what its file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentId {
    pub(super) number: u64,
    pub(super) salt: u32,
}

impl SegmentId {
    pub(super) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{:016x}-{:08x}.log", self.number, self.salt))
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, salt) = name.strip_suffix(".log")?.split_once('-')?;
        if number.len() != 16 || salt.len() != 8 {
            return None;
        }
        Some(SegmentId {
            number: u64::from_str_radix(number, 16).ok()?,
            salt: u32::from_str_radix(salt, 16).ok()?,
        })
    }
}

/// The segments in a folder, oldest first.
pub(super) fn list(folder: &Path) -> Result<Vec<SegmentId>, SpoolError> {
    let failed = |error| disk("cannot list", folder, &error);
    let mut found = Vec::new();
    for item in std::fs::read_dir(folder).map_err(failed)? {
        let name = item.map_err(failed)?.file_name();
        found.extend(name.to_str().and_then(SegmentId::parse));
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the file of a new segment with its header.
pub(super) fn create(folder: &Path, id: SegmentId) -> Result<File, SpoolError> {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    let path = id.path(folder);
    let file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| disk("cannot make", &path, &error))?;
    file.write_all_at(&header(id), 0)
        .map_err(|error| disk("cannot write", &path, &error))?;
    Ok(file)
}

fn header(id: SegmentId) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&id.salt.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.number.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Ours,
    /// Whole, but of this later version.
    Newer(u32),
    Damaged,
}

pub(super) fn check_header(bytes: &[u8], id: SegmentId) -> Header {
    let Some(bytes) = bytes.first_chunk::<HEADER>() else {
        return Header::Damaged;
    };
    if *bytes == header(id) {
        return Header::Ours;
    }
    let crc = crc32fast::hash(&bytes[..28]);
    let version = number(&bytes[8..]);
    if &bytes[..8] == MAGIC && bytes[28..] == crc.to_le_bytes() && version > VERSION {
        return Header::Newer(version);
    }
    Header::Damaged
}

/// Turns `frame`, which holds a payload behind [`FRAME`] bytes of room, into a frame for this place.
pub(super) fn seal(frame: &mut [u8], salt: u32, offset: u64) {
    let (head, payload) = frame.split_at_mut(FRAME);
    // A payload is at most LARGEST, far below 32 bits.
    #[allow(clippy::cast_possible_truncation)]
    let length = payload.len() as u32;
    head[..4].copy_from_slice(&length.to_le_bytes());
    let crc = crc(salt, offset, length, payload);
    head[4..].copy_from_slice(&crc.to_le_bytes());
}

fn crc(salt: u32, offset: u64, length: u32, payload: &[u8]) -> u32 {
    let mut place = [0; 12];
    place[..8].copy_from_slice(&offset.to_le_bytes());
    place[8..].copy_from_slice(&length.to_le_bytes());
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(&place);
    crc.update(payload);
    crc.finalize()
}

/// A stretch of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch<'a> {
    Frame { payload: &'a [u8] },
    Damaged { from: u64, to: u64 },
}

/// Reads frames from bytes that stand in the segment from `offset` on. The bytes must begin where a
/// frame begins (or begin damaged) and end where the written part ends.
pub(super) struct Frames<'a> {
    salt: u32,
    offset: u64,
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    pub(super) fn new(id: SegmentId, offset: u64, bytes: &'a [u8]) -> Self {
        Frames {
            salt: id.salt,
            offset,
            rest: bytes,
        }
    }

    /// Where the next stretch begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
        self.offset += bytes as u64;
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Stretch<'a>;

    fn next(&mut self) -> Option<Stretch<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(payload) = frame_at(self.salt, self.offset, self.rest) {
            self.skip(FRAME + payload.len());
            return Some(Stretch::Frame { payload });
        }
        let from = self.offset;
        let damaged = (1..self.rest.len())
            .find(|skip| frame_at(self.salt, from + *skip as u64, &self.rest[*skip..]).is_some())
            .unwrap_or(self.rest.len());
        self.skip(damaged);
        Some(Stretch::Damaged {
            from,
            to: self.offset,
        })
    }
}

/// The payload of a frame that begins these bytes and checks.
fn frame_at(salt: u32, offset: u64, bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk::<FRAME>()?;
    let length = number(head);
    let size = usize::try_from(length).ok()?;
    if size == 0 || size > LARGEST {
        return None;
    }
    let payload = rest.get(..size)?;
    (crc(salt, offset, length, payload) == number(&head[4..])).then_some(payload)
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: SegmentId = SegmentId {
        number: 3,
        salt: 0x9e37_79b9,
    };

    /// A segment's bytes after its header, and where each frame ends.
    fn written(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for payload in payloads {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; FRAME]);
            bytes.extend_from_slice(payload);
            seal(&mut bytes[start..], ID.salt, (HEADER + start) as u64);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<(u64, u64)>) {
        let mut whole = Vec::new();
        let mut damaged = Vec::new();
        for stretch in Frames::new(ID, HEADER as u64, bytes) {
            match stretch {
                Stretch::Frame { payload } => whole.push(payload.to_vec()),
                Stretch::Damaged { from, to } => damaged.push((from, to)),
            }
        }
        (whole, damaged)
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 1..8)
    }

    proptest! {
        #[test]
        fn cut_anywhere_a_segment_yields_exactly_the_frames_that_are_whole(payloads in payloads()) {
            let (bytes, ends) = written(&payloads);
            for cut in 0..=bytes.len() {
                let whole = ends.iter().filter(|end| **end <= cut).count();
                let (read, damaged) = read(&bytes[..cut]);
                prop_assert_eq!(&read, &payloads[..whole]);
                let clean = whole.checked_sub(1).map_or(0, |last| ends[last]);
                prop_assert_eq!(damaged.is_empty(), clean == cut);
            }
        }

        #[test]
        fn a_flipped_bit_costs_the_frame_it_lies_in_and_no_other(
            payloads in payloads(), place in any::<proptest::sample::Index>(), bit in 0..8_u32,
        ) {
            let (mut bytes, ends) = written(&payloads);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let hit = ends.iter().filter(|end| **end <= place).count();
            let mut kept = payloads;
            kept.remove(hit);
            let (read, damaged) = read(&bytes);
            prop_assert_eq!(read, kept);
            prop_assert_eq!(damaged.len(), 1);
        }

        #[test]
        fn zeros_and_noise_after_the_last_frame_are_never_read(
            payloads in payloads(), zeros in 1..200_usize, noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (mut bytes, _) = written(&payloads);
            bytes.resize(bytes.len() + zeros, 0);
            bytes.extend_from_slice(&noise);
            prop_assert_eq!(read(&bytes).0, payloads);
        }

        #[test]
        fn a_frame_counts_only_where_it_was_written(payloads in payloads()) {
            let (bytes, _) = written(&payloads);
            let mut twice = bytes.clone();
            twice.extend_from_slice(&bytes);
            prop_assert_eq!(read(&twice).0, payloads);
        }

        #[test]
        fn a_flipped_bit_in_the_header_is_noticed(place in 0..HEADER, bit in 0..8_u32) {
            let mut bytes = header(ID);
            prop_assert_eq!(check_header(&bytes, ID), Header::Ours);
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(check_header(&bytes, ID), Header::Damaged);
        }
    }

    #[test]
    fn a_segment_of_a_later_version_is_known_as_such() {
        let mut bytes = header(ID);
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_header(&bytes, ID), Header::Newer(2));
    }

    #[test]
    fn names_say_number_and_salt() {
        let path = ID.path(Path::new(""));
        let name = path.to_str().expect("a name");
        assert_eq!(name, "0000000000000003-9e3779b9.log");
        assert_eq!(SegmentId::parse(name), Some(ID));
        assert_eq!(SegmentId::parse("3-9.log"), None);
    }
}
