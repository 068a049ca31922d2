//! A server-sent event stream cut into its events, wherever the bytes were cut: lines may end with
//! LF, CRLF or CR (WHATWG HTML, section 9.2).

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use smallvec::SmallVec;

/// An event larger than this passes unread.
pub(super) const EVENT_LIMIT: usize = 4 << 20;

/// What has come of an event whose end has not.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: BytesMut,
    /// Inside an event too large to be kept: its rest is not read.
    oversize: bool,
}

impl Pending {
    /// What was kept, and what has come now.
    pub(super) fn join(&mut self, chunk: Bytes) -> Bytes {
        if self.bytes.is_empty() {
            return chunk;
        }
        self.bytes.extend_from_slice(&chunk);
        self.bytes.split().freeze()
    }

    /// Keeps the beginning of an event, unless it is too large: then its rest is not read.
    pub(super) fn keep(&mut self, buffer: &[u8], from: usize) -> bool {
        if self.oversize || buffer.len() - from > EVENT_LIMIT {
            self.oversize = true;
            return false;
        }
        self.bytes.extend_from_slice(&buffer[from..]);
        true
    }

    /// Whether the event that ends now was too large to be read.
    pub(super) fn was_oversize(&mut self) -> bool {
        std::mem::take(&mut self.oversize)
    }

    /// The stream has ended: an event without its blank line, closed.
    pub(super) fn end(&mut self) -> Option<Bytes> {
        let mut rest = self.bytes.split();
        if rest.is_empty() {
            return None;
        }
        rest.extend_from_slice(b"\n\n");
        Some(rest.freeze())
    }
}

/// A whole event.
pub(super) struct Event {
    /// With its blank line.
    pub span: Range<usize>,
    /// The data of its `data:` lines: one on this wire.
    pub data: SmallVec<[Range<usize>; 2]>,
    /// It has lines, but none of data.
    pub comment: bool,
}

/// Goes through the whole events of a buffer.
pub(super) struct Walk<'a> {
    buffer: &'a [u8],
    /// Where the next event begins.
    pub event: usize,
    line: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(buffer: &'a [u8]) -> Self {
        Walk {
            buffer,
            event: 0,
            line: 0,
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let buffer = self.buffer;
        let mut data = SmallVec::new();
        while let Some(found) = memchr2(b'\n', b'\r', &buffer[self.line..]) {
            let end = self.line + found;
            let mut next = end + 1;
            if buffer[end] == b'\r' {
                match buffer.get(next) {
                    Some(b'\n') => next += 1,
                    Some(_) => {}
                    // The line feed may follow in the next bytes.
                    None => break,
                }
            }
            let line = self.line..end;
            self.line = next;
            if !line.is_empty() {
                data.extend(payload(buffer, line));
                continue;
            }
            let start = std::mem::replace(&mut self.event, next);
            return Some(Event {
                comment: data.is_empty() && start < end,
                span: start..next,
                data,
            });
        }
        None
    }
}

/// The data of a `data:` line.
fn payload(buffer: &[u8], line: Range<usize>) -> Option<Range<usize>> {
    let text = &buffer[line.clone()];
    // A byte order mark may stand before the first line.
    let mark = if text.starts_with(b"\xEF\xBB\xBF") {
        3
    } else {
        0
    };
    let rest = text[mark..].strip_prefix(b"data:")?;
    let blank = rest.len() - rest.trim_ascii_start().len();
    let start = line.start + mark + 5 + blank;
    let end = start + buffer[start..line.end].trim_ascii_end().len();
    Some(start..end)
}
