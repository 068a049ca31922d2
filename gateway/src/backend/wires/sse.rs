//! Server-sent events, cut anywhere, into their data lines (WHATWG HTML, section 9.2). Lines end with
//! LF, CRLF or CR; a byte order mark may stand first. An event of several data lines does not occur
//! on the wires spoken here: each line is taken by itself.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// A longer line is no event.
const LINE_LIMIT: usize = 16 << 20;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Data(&'a [u8]),
    /// Something for the reader's patience.
    Comment,
}

#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come.
    pending: BytesMut,
    /// The rest of a line too long to be kept is skipped.
    skipping: bool,
    begun: bool,
}

impl Lines {
    pub fn take(&mut self, chunk: Bytes, mut found: impl FnMut(Line<'_>)) {
        let buffer = if self.pending.is_empty() {
            chunk
        } else {
            self.pending.extend_from_slice(&chunk);
            self.pending.split().freeze()
        };
        let mut start = 0;
        while let Some(at) = memchr2(b'\n', b'\r', &buffer[start..]) {
            let end = start + at;
            if !std::mem::take(&mut self.skipping) {
                self.line(&buffer[start..end], &mut found);
            }
            // Of CRLF the LF makes one more empty line, which says nothing.
            start = end + 1;
        }
        if buffer.len() - start > LINE_LIMIT {
            self.skipping = true;
        } else if !self.skipping && start < buffer.len() {
            self.pending.extend_from_slice(&buffer[start..]);
        }
    }

    /// The stream has ended: a last line without its end counts.
    pub fn end(&mut self, mut found: impl FnMut(Line<'_>)) {
        let rest = self.pending.split();
        if !std::mem::take(&mut self.skipping) {
            self.line(&rest, &mut found);
        }
    }

    fn line(&mut self, line: &[u8], found: &mut impl FnMut(Line<'_>)) {
        let line = if std::mem::replace(&mut self.begun, true) {
            line
        } else {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        };
        if let Some(data) = line.strip_prefix(b"data:") {
            found(Line::Data(data.trim_ascii()));
        } else if line.first() == Some(&b':') {
            found(Line::Comment);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(stream: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut read = Vec::new();
        let mut take = |line: Line<'_>| {
            read.push(match line {
                Line::Data(data) => String::from_utf8_lossy(data).into_owned(),
                Line::Comment => ":".to_owned(),
            });
        };
        let mut start = 0;
        for &cut in cuts.iter().chain([&stream.len()]) {
            let cut = cut.clamp(start, stream.len());
            lines.take(Bytes::copy_from_slice(&stream[start..cut]), &mut take);
            start = cut;
        }
        lines.end(&mut take);
        read
    }

    proptest! {
        #[test]
        fn any_split_and_any_line_end_reads_the_same(
            cuts in proptest::collection::vec(0_usize..80, 0..8),
            ends in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
            closed in any::<bool>(),
        ) {
            let mut stream = "\u{feff}data: {\"a\":1}\n\n: alive\n\nevent: x\ndata:b\n\ndata: \u{e9}".replace('\n', ends);
            if closed {
                stream.push_str(ends);
            }
            let mut cuts = cuts;
            cuts.sort_unstable();
            prop_assert_eq!(read(stream.as_bytes(), &cuts), ["{\"a\":1}", ":", "b", "\u{e9}"]);
        }
    }
}
