//! A body as the frames it came in, never joined: long prompts are passed on without a copy, and
//! an edit touches only the bytes that it replaces.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

/// Byte strings in order. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    parts: SmallVec<[Bytes; 4]>,
    len: usize,
}

/// Replace the bytes of `range` (empty: insert) with `with`.
#[derive(Clone, Debug)]
pub struct Edit {
    pub range: Range<usize>,
    pub with: Bytes,
}

impl Frames {
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.len += part.len();
            self.parts.push(part);
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    pub fn into_parts(self) -> SmallVec<[Bytes; 4]> {
        self.parts
    }

    /// The bytes of `range`, borrowed where one frame holds them all.
    pub fn slice(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let mut start = 0;
        let mut copied = Vec::new();
        for part in &self.parts {
            let end = start + part.len();
            if range.start < end && range.end > start {
                let from = range.start.max(start) - start;
                let to = range.end.min(end) - start;
                if range.start >= start && range.end <= end {
                    return Cow::Borrowed(&part[from..to]);
                }
                copied.extend_from_slice(&part[from..to]);
            }
            start = end;
        }
        Cow::Owned(copied)
    }

    /// These frames with all edits applied; the untouched bytes stay shared.
    ///
    /// Edits must not overlap; two that start at the same byte keep
    /// their order.
    pub fn edited(&self, mut edits: SmallVec<[Edit; 4]>) -> Frames {
        edits.sort_by_key(|edit| edit.range.start);
        let mut result = Frames::default();
        let mut done = 0;
        for edit in edits {
            debug_assert!(edit.range.start >= done, "edits overlap");
            self.copy_range(done..edit.range.start, &mut result);
            result.push(edit.with);
            done = edit.range.end;
        }
        self.copy_range(done..self.len, &mut result);
        result
    }

    fn copy_range(&self, range: Range<usize>, into: &mut Frames) {
        let mut start = 0;
        for part in &self.parts {
            let end = start + part.len();
            if range.start < end && range.end > start {
                let from = range.start.max(start) - start;
                let to = range.end.min(end) - start;
                into.push(part.slice(from..to));
            }
            start = end;
        }
    }

    /// All bytes in one piece: for tests and small bodies.
    #[cfg(test)]
    pub(crate) fn joined(&self) -> Vec<u8> {
        self.slice(0..self.len).into_owned()
    }
}

impl From<Bytes> for Frames {
    fn from(part: Bytes) -> Self {
        let mut frames = Frames::default();
        frames.push(part);
        frames
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    fn cut(bytes: &[u8], at: &[usize]) -> Frames {
        let mut frames = Frames::default();
        let mut start = 0;
        for &end in at {
            let end = end.min(bytes.len()).max(start);
            frames.push(Bytes::copy_from_slice(&bytes[start..end]));
            start = end;
        }
        frames.push(Bytes::copy_from_slice(&bytes[start..]));
        frames
    }

    proptest! {
        #[test]
        fn an_edit_gives_the_same_bytes_wherever_the_body_was_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            cuts in proptest::collection::vec(0_usize..60, 0..6),
            a in 0_usize..60, b in 0_usize..60, c in 0_usize..60,
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut points = [a.min(bytes.len()), b.min(bytes.len()), c.min(bytes.len())];
            points.sort_unstable();
            let frames = cut(&bytes, &cuts);
            let edited = frames.edited(smallvec![
                Edit { range: points[0]..points[1], with: Bytes::from_static(b"x") },
                Edit { range: points[2]..points[2], with: Bytes::from_static(b"new") },
            ]);
            let mut expected = bytes[..points[0]].to_vec();
            expected.extend_from_slice(b"x");
            expected.extend_from_slice(&bytes[points[1]..points[2]]);
            expected.extend_from_slice(b"new");
            expected.extend_from_slice(&bytes[points[2]..]);
            prop_assert_eq!(edited.len(), expected.len());
            prop_assert_eq!(edited.joined(), expected);
        }
    }
}
