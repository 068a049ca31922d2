//! Changes to inputs: to their bytes, and, where an input has a form, to what stands in that form, so
//! that much of what comes of it is read rather than refused at its first byte.

use serde_json::Value;

use super::chances::Chances;

/// The form of a target's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Json,
    /// Server-sent events whose data is JSON.
    Events,
    /// Messages of `application/vnd.amazon.eventstream` whose payload is JSON.
    Frames,
    Bytes,
}

/// Pieces that readers of these dialects look for, or stumble over.
const WORDS: [&str; 40] = [
    "null",
    "[]",
    "{}",
    "\"\"",
    "0",
    "-1",
    "1e400",
    "18446744073709551615",
    "1e3",
    "\"\\ud800\"",
    "\\ud83d",
    "\\u0000",
    "\u{feff}",
    "\r",
    "\n",
    "\r\n\r\n",
    "\n\n",
    "data: ",
    "data:[",
    "event: x\n",
    ": \n\n",
    "[DONE]",
    "\"index\":63,",
    "\"index\":4294967295,",
    "\"finish_reason\":\"stop\"",
    "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"reasoning\":null}",
    "\"usage\":null,",
    "\"reasoning\":\"x\",",
    "\"error\":{\"message\":\"x\"},",
    "\"max_tokens\":null,",
    "\"type\":\"image\"",
    "\"image_url\":{\"url\":\"data:;base64,x\"}",
    "\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}],",
    "\"prefix\":true,",
    "\"role\":\"assistant\",",
    "\"role\":\"tool\",",
    "{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_01A\"},",
    "\\",
    "\"",
    "}",
];

/// A change of `input`; `others` lend their parts.
pub fn mutated(chances: &mut Chances, shape: Shape, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut data = input.to_vec();
    for _ in 0..=chances.below(4) {
        let formed = match shape {
            Shape::Bytes => None,
            Shape::Json if chances.one_in(4) => None,
            Shape::Json => changed_json(chances, &data, others),
            Shape::Events if chances.one_in(3) => None,
            Shape::Events => changed_events(chances, &data, others),
            // Bytes that are changed no checksum vouches for.
            Shape::Frames if chances.one_in(12) => None,
            Shape::Frames => changed_frames(chances, &data, others),
        };
        data = formed.unwrap_or_else(|| changed_bytes(chances, &data, others));
    }
    data
}

fn changed_bytes(chances: &mut Chances, data: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut data = data.to_vec();
    let at = chances.below(data.len() + 1);
    let end = (at + chances.below(24)).min(data.len());
    match chances.below(8) {
        0 if !data.is_empty() => {
            let at = at.min(data.len() - 1);
            data[at] ^= 1 << chances.below(8);
        }
        1 if !data.is_empty() => {
            let at = at.min(data.len() - 1);
            data[at] = *chances.one_of(b"\0\x7f\xff\xc3\"\\{}[]:, 09-.\r\n");
        }
        2 => data.truncate(at),
        3 => {
            data.drain(at..end);
        }
        4 => {
            let again = data[at..end].to_vec();
            data.splice(at..at, again);
        }
        5 if !others.is_empty() => {
            let other = chances.one_of(others);
            let from = chances.below(other.len() + 1);
            let to = (from + chances.below(200)).min(other.len());
            data.splice(at..end, other[from..to].iter().copied());
        }
        6 => {
            // Another number in place of one that stands there.
            if let Some(digit) = data[at..].iter().position(u8::is_ascii_digit) {
                let number =
                    chances.one_of(&["0", "1", "-1", "16777217", "2.5", "99999999999999999999"]);
                data.splice(at + digit..at + digit + 1, number.bytes());
            }
        }
        _ => {
            let word = *chances.one_of(&WORDS);
            data.splice(at..at, word.bytes());
        }
    }
    data
}

fn changed_json(chances: &mut Chances, data: &[u8], others: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(data).ok()?;
    let lent = lent(chances, others, &value);
    change(chances, &mut value, &lent);
    let text = if chances.one_in(4) {
        format!("{value:#}")
    } else {
        value.to_string()
    };
    Some(text.into_bytes())
}

/// A value of another input, or of this one.
fn lent(chances: &mut Chances, others: &[Vec<u8>], value: &Value) -> Value {
    let mut source = value.clone();
    if !others.is_empty() && chances.one_in(2) {
        let other: &Vec<u8> = chances.one_of(others);
        source = serde_json::from_slice(other).unwrap_or(source);
    }
    let nodes = count(&source);
    let mut at = chances.below(nodes);
    node(&mut source, &mut at).map_or(Value::Null, |found| found.clone())
}

fn change(chances: &mut Chances, value: &mut Value, lent: &Value) {
    let nodes = count(value);
    let mut at = chances.below(nodes);
    let Some(found) = node(value, &mut at) else {
        return;
    };
    match (chances.below(8), &mut *found) {
        (0, _) => *found = plain(chances),
        (1, _) => *found = lent.clone(),
        (2 | 3, Value::Array(list)) if !list.is_empty() => {
            let one = chances.below(list.len());
            let other = chances.below(list.len());
            match chances.below(4) {
                0 => {
                    list.remove(one);
                }
                1 => list.insert(other, list[one].clone()),
                2 => list.swap(one, other),
                _ => list.insert(one, lent.clone()),
            }
        }
        (2..=5, Value::Object(map)) if !map.is_empty() => {
            let one = chances.below(map.len());
            let key = map.keys().nth(one).cloned().unwrap_or_default();
            match chances.below(4) {
                0 => {
                    map.remove(&key);
                }
                1 => {
                    let other = chances.below(map.len());
                    let other = map.values().nth(other).cloned().unwrap_or_default();
                    map.insert(key, other);
                }
                2 => {
                    let value = map.remove(&key).unwrap_or_default();
                    map.insert((*chances.one_of(&KEYS)).to_owned(), value);
                }
                _ => {
                    let value = plain(chances);
                    map.insert((*chances.one_of(&KEYS)).to_owned(), value);
                }
            }
        }
        (2..=5, Value::String(text)) => {
            let at = (0..=chances.below(text.len() + 1))
                .rev()
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            match chances.below(4) {
                0 => text.truncate(at),
                1 => {
                    let word = *chances.one_of(&TEXTS);
                    text.insert_str(at, word);
                }
                2 => text.push_str(&text.clone()),
                _ => *text = (*chances.one_of(&TEXTS)).to_owned(),
            }
        }
        (6, _) => *found = Value::Array(vec![found.take()]),
        _ => *found = plain(chances),
    }
}

const KEYS: [&str; 44] = [
    "content",
    "role",
    "type",
    "text",
    "messages",
    "model",
    "input",
    "tools",
    "tool_choice",
    "name",
    "id",
    "call_id",
    "tool_calls",
    "tool_call_id",
    "function",
    "arguments",
    "reasoning",
    "reasoning_content",
    "index",
    "delta",
    "message",
    "choices",
    "usage",
    "error",
    "finish_reason",
    "logprobs",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "stop",
    "thinking",
    "system",
    "source",
    "is_error",
    "namespace",
    "output",
    "toolUse",
    "contentBlockIndex",
    "stopReason",
    "instructions",
    "encrypted_content",
    "metadata",
    "user_id",
];

const TEXTS: [&str; 28] = [
    "",
    " ",
    "\n",
    "\r\n\r\n",
    "{}",
    "{\"a\":1}",
    "{\"a\":",
    "[1]",
    "null",
    "\u{0}",
    "\u{1f600}",
    "\u{2028}",
    "\"\\",
    "json",
    "tool",
    "assistant",
    "user",
    "system",
    "function",
    "custom",
    "namespace",
    "image",
    "none",
    "max",
    "data:image/png;base64,aGk=",
    "data: ;base64,x",
    "mcp.files/read",
    "x-anthropic-billing-header: a",
];

fn plain(chances: &mut Chances) -> Value {
    match chances.below(10) {
        0 | 1 => Value::Null,
        2 => Value::Bool(chances.one_in(2)),
        3 => Value::from(chances.below(4)),
        4 => Value::from(-1),
        5 => Value::from(u64::MAX),
        6 => Value::from(0.5),
        7 => Value::Array(Vec::new()),
        8 => Value::Object(serde_json::Map::new()),
        _ => Value::from(*chances.one_of(&TEXTS)),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The value with this number, the outermost first.
fn node<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|inner| node(inner, at)),
        Value::Object(map) => map.values_mut().find_map(|inner| node(inner, at)),
        _ => None,
    }
}

fn changed_events(chances: &mut Chances, data: &[u8], others: &[Vec<u8>]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(data).ok()?;
    let end = ["\r\n\r\n", "\r\r", "\n\n"]
        .into_iter()
        .find(|end| text.contains(end))?;
    let mut events: Vec<String> = text.split(end).map(str::to_owned).collect();
    let at = chances.below(events.len());
    if chances.one_in(4) {
        let other = chances.below(events.len());
        match chances.below(3) {
            0 => {
                events.remove(at);
            }
            1 => events.insert(other, events[at].clone()),
            _ => events.swap(at, other),
        }
    } else if let Some((head, json)) = events[at].split_once("data:") {
        let theirs: Vec<Vec<u8>> = others
            .iter()
            .flat_map(|other| other.split(|byte| *byte == b'\n'))
            .filter_map(|line| line.strip_prefix(b"data:").map(<[u8]>::to_vec))
            .collect();
        let changed = changed_json(chances, json.trim().as_bytes(), &theirs)?;
        let changed = String::from_utf8(changed).ok()?;
        // An event's data stands on one line.
        events[at] = format!("{head}data: {}", changed.replace('\n', " "));
    }
    Some(events.join(end).into_bytes())
}

/// Headers and payload of one message.
type Message = (Vec<u8>, Vec<u8>);

/// The messages of an event stream by the lengths that it gives, checksums unread; what does not add
/// up is the payload of a last one.
pub fn messages(mut data: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(lengths) = data.get(..8) {
        let number = |at: usize| {
            let bytes = [
                lengths[at],
                lengths[at + 1],
                lengths[at + 2],
                lengths[at + 3],
            ];
            usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (total, headers) = (number(0), number(4));
        if total > data.len() || headers > total || total - headers < 16 {
            break;
        }
        messages.push((
            data[12..12 + headers].to_vec(),
            data[12 + headers..total - 4].to_vec(),
        ));
        data = &data[total..];
    }
    if !data.is_empty() {
        messages.push((DELTA.to_vec(), data.to_vec()));
    }
    messages
}

const DELTA: &[u8] =
    b"\x0b:event-type\x07\x00\x11contentBlockDelta\x0d:message-type\x07\x00\x05event";

/// The messages with checksums that are right.
pub fn framed(messages: &[Message]) -> Vec<u8> {
    let mut data = Vec::new();
    for (headers, payload) in messages {
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let mut message = Vec::with_capacity(16 + headers.len() + payload.len());
        message.extend_from_slice(&length(16 + headers.len() + payload.len()));
        message.extend_from_slice(&length(headers.len()));
        message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
        message.extend_from_slice(headers);
        message.extend_from_slice(payload);
        message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
        data.extend_from_slice(&message);
    }
    data
}

fn changed_frames(chances: &mut Chances, data: &[u8], others: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut all = messages(data);
    if all.is_empty() {
        return None;
    }
    let at = chances.below(all.len());
    let other = chances.below(all.len());
    match chances.below(8) {
        0 => {
            all.remove(at);
        }
        1 => all.insert(other, all[at].clone()),
        2 => all.swap(at, other),
        3 => all[at].0 = changed_bytes(chances, &all[at].0, &[]),
        4 => all[at].1 = changed_bytes(chances, &all[at].1, others),
        _ => {
            let theirs: Vec<Vec<u8>> = others
                .iter()
                .flat_map(|other| messages(other))
                .map(|(_, payload)| payload)
                .collect();
            all[at].1 = changed_json(chances, &all[at].1, &theirs)?;
        }
    }
    Some(framed(&all))
}
