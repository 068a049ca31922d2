//! One message of `application/vnd.amazon.eventstream`, written as AWS describes the encoding:
//! lengths and their CRC-32, headers of type text, payload, CRC-32 of it all. Written here anew:
//! an emulated host shares no code with what it is a check on.

use bytes::Bytes;

/// Marks a header's value as text.
const TEXT: u8 = 7;

pub(super) fn message(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let mut head = Vec::new();
    for (name, value) in headers {
        // Names and values are ours, and short.
        head.extend(u8::try_from(name.len()).ok());
        head.extend_from_slice(name.as_bytes());
        head.push(TEXT);
        head.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(0).to_be_bytes();
    let mut message = Vec::new();
    message.extend(length(16 + head.len() + payload.len()));
    message.extend(length(head.len()));
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(head);
    message.extend_from_slice(payload);
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.into()
}
