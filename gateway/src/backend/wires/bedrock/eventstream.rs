//! The framing of `application/vnd.amazon.eventstream`, read, and for tests written. It relies on
//! nothing but bytes: what the messages mean is the wire's to say.
//!
//! A message is: u32 its whole length, u32 the length of its headers, u32 CRC-32 of those eight
//! bytes, headers, payload, u32 CRC-32 of all before. A header is: u8 length of its name, name, u8
//! type, value. All numbers are big-endian. Source: AWS's description of the encoding and botocore
//! 1.44 (`botocore/eventstream.py`), which the tests read the encoder's bytes with.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

/// Lengths and their checksum.
const PRELUDE: usize = 12;
/// The checksum at the end.
const TRAILER: usize = 4;
/// As botocore has it; real headers are three, of some 80 bytes together.
const MOST_HEADER_BYTES: usize = 128 << 10;
/// AWS allows 24 MiB; an event of an answer is some hundred bytes. What a host can make us hold.
const MOST_PAYLOAD_BYTES: usize = 4 << 20;

/// Why bytes are no event stream. Nothing after such bytes can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the lengths of an event do not match their checksum")]
    Prelude,
    #[error("an event does not match its checksum")]
    Message,
    #[error("an event is shorter than its own frame: {0} bytes")]
    TooShort(usize),
    #[error("an event's headers are {0} bytes, more than the limit of {MOST_HEADER_BYTES}")]
    Headers(usize),
    #[error("an event is {0} bytes, more than the limit of {MOST_PAYLOAD_BYTES}")]
    Payload(usize),
    #[error("an event's headers cannot be read")]
    Header,
}

/// Where names and values of text headers lie.
type Texts = SmallVec<[(Range<usize>, Range<usize>); 4]>;

/// One message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Headers and payload as they came.
    bytes: Bytes,
    /// In `bytes`.
    texts: Texts,
    payload: usize,
}

impl Message {
    /// The value of a header of type text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .texts
            .iter()
            .find(|(at, _)| &self.bytes[at.clone()] == name.as_bytes())?;
        std::str::from_utf8(&self.bytes[value.clone()]).ok()
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.payload..]
    }
}

/// Finds messages in bytes that are cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pending: BytesMut,
    broken: Option<Broken>,
}

impl Parser {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        if self.broken.is_none() {
            self.pending.extend_from_slice(chunk);
        }
    }

    /// The next whole message, `None` until more bytes come.
    ///
    /// # Errors
    /// What is wrong with the bytes, and the same again ever after.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        self.parse().inspect_err(|broken| {
            self.broken = Some(*broken);
            self.pending.clear();
        })
    }

    /// Bytes of a message whose end has not come.
    #[cfg(test)]
    fn left_over(&self) -> usize {
        self.pending.len()
    }

    fn parse(&mut self) -> Result<Option<Message>, Broken> {
        let Some(mut prelude) = self.pending.get(..PRELUDE) else {
            return Ok(None);
        };
        let sum = crc32fast::hash(&prelude[..8]);
        let (total, headers) = (length(&mut prelude), length(&mut prelude));
        if prelude.get_u32() != sum {
            return Err(Broken::Prelude);
        }
        if headers > MOST_HEADER_BYTES {
            return Err(Broken::Headers(headers));
        }
        let Some(payload) = total.checked_sub(PRELUDE + headers + TRAILER) else {
            return Err(Broken::TooShort(total));
        };
        if payload > MOST_PAYLOAD_BYTES {
            return Err(Broken::Payload(payload));
        }
        if self.pending.len() < total {
            return Ok(None);
        }
        let mut bytes = self.pending.split_to(total).freeze();
        let (body, mut trailer) = bytes.split_at(total - TRAILER);
        if crc32fast::hash(body) != trailer.get_u32() {
            return Err(Broken::Message);
        }
        bytes.truncate(total - TRAILER);
        bytes.advance(PRELUDE);
        let texts = text_headers(&bytes[..headers]).ok_or(Broken::Header)?;
        Ok(Some(Message {
            bytes,
            texts,
            payload: headers,
        }))
    }
}

fn length(bytes: &mut &[u8]) -> usize {
    usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX)
}

/// Names and values of the text headers; `None` where the headers do not add up.
fn text_headers(headers: &[u8]) -> Option<Texts> {
    let mut texts = Texts::new();
    let mut at = 0;
    while at < headers.len() {
        let name_end = at + 1 + usize::from(headers[at]);
        let name = at + 1..name_end;
        let kind = *headers.get(name_end)?;
        let mut value = name_end + 1;
        let length = match kind {
            // True and false are types of their own.
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            // A 64-bit number, and an instant.
            5 | 8 => 8,
            9 => 16,
            // Bytes and text say their length.
            6 | 7 => {
                let mut two = headers.get(value..value + 2)?;
                value += 2;
                usize::from(two.get_u16())
            }
            _ => return None,
        };
        at = value + length;
        if at > headers.len() {
            return None;
        }
        if kind == 7 {
            texts.push((name, value..at));
        }
    }
    Some(texts)
}

/// A message with text headers, for tests: a host's side of it.
#[cfg(test)]
pub(super) fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    use bytes::BufMut;

    let number = |length: usize| u32::try_from(length).expect("short");
    let mut head = BytesMut::new();
    for (name, value) in headers {
        head.put_u8(u8::try_from(name.len()).expect("a short name"));
        head.put_slice(name.as_bytes());
        head.put_u8(7);
        head.put_u16(u16::try_from(value.len()).expect("a short value"));
        head.put_slice(value.as_bytes());
    }
    let mut message = BytesMut::new();
    message.put_u32(number(PRELUDE + head.len() + payload.len() + TRAILER));
    message.put_u32(number(head.len()));
    message.put_u32(crc32fast::hash(&message));
    message.put_slice(&head);
    message.put_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    message.freeze()
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    fn three() -> Vec<u8> {
        [
            encode(
                &[(":message-type", "event"), (":event-type", "messageStart")],
                b"{}",
            ),
            encode(&[], b""),
            encode(&[(":event-type", "metadata")], "{\"p\":\"äö\"}".as_bytes()),
        ]
        .concat()
    }

    fn parsed(bytes: &[u8], cuts: &[usize]) -> (Vec<Message>, Option<Broken>, usize) {
        let mut parser = Parser::default();
        let mut messages = Vec::new();
        let mut start = 0;
        let ends = cuts.iter().copied().chain([bytes.len()]);
        for end in ends {
            let end = end.clamp(start, bytes.len());
            parser.push(&bytes[start..end]);
            start = end;
            loop {
                match parser.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(broken) => return (messages, Some(broken), parser.left_over()),
                }
            }
        }
        (messages, None, parser.left_over())
    }

    #[test]
    fn what_was_written_is_read_again() {
        let (messages, broken, left) = parsed(&three(), &[]);
        assert_eq!((messages.len(), broken, left), (3, None, 0));
        assert_eq!(messages[0].header(":event-type"), Some("messageStart"));
        assert_eq!(messages[0].header(":message-type"), Some("event"));
        assert_eq!(messages[0].header("absent"), None);
        assert_eq!(messages[0].payload(), b"{}");
        assert_eq!(messages[1].payload(), b"");
        assert_eq!(messages[2].payload(), "{\"p\":\"äö\"}".as_bytes());
    }

    #[test]
    fn headers_of_every_type_are_stepped_over() {
        let mut headers = Vec::new();
        let lengths = [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 4),
            (5, 8),
            (8, 8),
            (9, 16),
        ];
        for (kind, length) in lengths {
            headers.extend_from_slice(&[1, b'x', kind]);
            headers.extend(std::iter::repeat_n(0xFF, length));
        }
        headers.extend_from_slice(&[1, b'b', 6, 0, 2, 7, 7]);
        headers.extend_from_slice(&[1, b't', 7, 0, 2, b'o', b'k']);
        let message = framed(&headers, b"!");
        let (messages, broken, _) = parsed(&message, &[]);
        assert_eq!(broken, None);
        assert_eq!(messages[0].header("t"), Some("ok"));
        assert_eq!(messages[0].header("b"), None);
        assert_eq!(messages[0].payload(), b"!");
    }

    /// A message around headers that may make no sense.
    fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut message = BytesMut::new();
        let total = PRELUDE + headers.len() + payload.len() + TRAILER;
        message.put_u32(u32::try_from(total).expect("short"));
        message.put_u32(u32::try_from(headers.len()).expect("short"));
        message.put_u32(crc32fast::hash(&message));
        message.put_slice(headers);
        message.put_slice(payload);
        message.put_u32(crc32fast::hash(&message));
        message.to_vec()
    }

    #[test]
    fn headers_that_do_not_add_up_are_refused() {
        for headers in [
            &[200, b'x'][..],
            &[1, b'x', 7, 0, 9, b'y'],
            &[1, b'x', 7, 0],
            &[1, b'x', 42],
            &[1, b'x', 5, 0],
        ] {
            assert_eq!(parsed(&framed(headers, b""), &[]).1, Some(Broken::Header));
        }
    }

    #[test]
    fn absurd_lengths_are_refused_before_anything_is_kept() {
        let prelude = |total: u32, headers: u32| {
            let mut bytes = BytesMut::new();
            bytes.put_u32(total);
            bytes.put_u32(headers);
            bytes.put_u32(crc32fast::hash(&bytes));
            bytes.to_vec()
        };
        let refused = |total, headers| parsed(&prelude(total, headers), &[]).1;
        assert_eq!(refused(15, 0), Some(Broken::TooShort(15)));
        assert_eq!(refused(100, 85), Some(Broken::TooShort(100)));
        assert!(matches!(refused(u32::MAX, 0), Some(Broken::Payload(_))));
        assert!(matches!(
            refused(u32::MAX, u32::MAX),
            Some(Broken::Headers(_))
        ));
    }

    #[test]
    fn nothing_is_read_after_broken_bytes() {
        let mut bytes = three();
        bytes[9] ^= 1;
        let mut parser = Parser::default();
        parser.push(&bytes);
        assert_eq!(parser.next(), Err(Broken::Prelude));
        parser.push(&three());
        assert_eq!(parser.next(), Err(Broken::Prelude));
        assert_eq!(parser.left_over(), 0);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            mut cuts in proptest::collection::vec(0..260_usize, 0..16),
        ) {
            cuts.sort_unstable();
            let bytes = three();
            prop_assert_eq!(parsed(&bytes, &cuts), parsed(&bytes, &[]));
        }

        #[test]
        fn any_flipped_bit_is_caught(at in any::<proptest::sample::Index>(), bit in 0..8_u32) {
            let mut bytes = three();
            let whole = parsed(&bytes, &[]).0;
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (messages, broken, _) = parsed(&bytes, &[]);
            prop_assert!(broken.is_some());
            prop_assert!(messages.len() < whole.len());
            prop_assert_eq!(&messages[..], &whole[..messages.len()]);
        }

        #[test]
        fn bytes_of_any_kind_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            headers in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            parsed(&bytes, &[]);
            parsed(&framed(&headers, &bytes), &[]);
        }

        #[test]
        fn any_headers_and_payload_survive(
            name in "[a-z:-]{1,30}", value in "\\PC{0,60}", payload in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let (messages, _, left) = parsed(&encode(&[(&name, &value)], &payload), &[]);
            prop_assert_eq!(left, 0);
            prop_assert_eq!(messages[0].header(&name), Some(value.as_str()));
            prop_assert_eq!(messages[0].payload(), &payload[..]);
        }
    }
}
