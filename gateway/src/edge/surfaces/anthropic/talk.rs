//! An answer told as the events of a Messages stream: one block after the other, each opened, filled
//! and closed. Calls that a host lets interleave wait until the block before them is closed. Each
//! event is written straight into the buffer.
//! Source: anthropic-python 2.x, `raw_message_stream_event` and its stream accumulator.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::super::openai_chat::words::{number, string};
use super::stream_error;
use super::whole::{stop_reason, usage};
use crate::chat::{Conversation, Event, Finish, Refusal, Request, Speaker, Usage};
use crate::history::OwnSeal;
use crate::id::RequestId;

/// Tells one answer.
pub struct Talk {
    id: RequestId,
    model: Box<str>,
    seal: Option<OwnSeal>,
    begun: bool,
    /// Blocks opened so far.
    blocks: u64,
    open: Open,
    /// Thinking of the open block, to be signed when it closes.
    thinking: String,
    /// Calls in the order of their index: what waits of each.
    calls: Vec<Waiting>,
    /// The call whose block is open, or is the next to be.
    current: usize,
    finish: Option<Finish>,
    usage: Usage,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Thinking,
    Text,
    Call,
}

/// A call that cannot be told yet, or the one that is.
#[derive(Debug, Default)]
struct Waiting {
    id: String,
    name: String,
    known: bool,
    arguments: String,
}

/// An absurd index is not told.
const MOST_CALLS: usize = 512;

impl Talk {
    pub fn new(request: &Request, _: &Conversation, id: RequestId) -> Talk {
        Talk {
            id,
            model: request.model.as_str().into(),
            seal: None,
            begun: false,
            blocks: 0,
            open: Open::Nothing,
            thinking: String::new(),
            calls: Vec::new(),
            current: 0,
            finish: None,
            usage: Usage::default(),
        }
    }

    /// With thinking signed, so that it is known again when it comes back.
    #[must_use]
    pub fn sealed(mut self, seal: OwnSeal) -> Talk {
        self.seal = Some(seal);
        self
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        out.put_slice(
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":",
        );
        string(&format!("msg_{}", self.id), out);
        out.put_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
        string(&self.model, out);
        out.put_slice(b",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        usage(&self.usage, out);
        out.put_slice(b"}}\n\n");
    }

    fn open(&mut self, kind: Open, block: &[u8], out: &mut BytesMut) {
        self.begin(out);
        self.shut(out);
        self.open = kind;
        out.put_slice(
            b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":",
        );
        number(self.blocks, out);
        out.put_slice(b",\"content_block\":");
        out.put_slice(block);
        out.put_slice(b"}\n\n");
        self.blocks += 1;
    }

    /// A piece of the open block.
    fn delta(&self, kind: &[u8], text: &str, out: &mut BytesMut) {
        out.put_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
        );
        number(self.blocks - 1, out);
        out.put_slice(b",\"delta\":{\"type\":\"");
        out.put_slice(kind);
        string(text, out);
        out.put_slice(b"}}\n\n");
    }

    /// Closes the open block.
    fn shut(&mut self, out: &mut BytesMut) {
        match self.open {
            Open::Nothing => return,
            Open::Thinking => {
                let text = std::mem::take(&mut self.thinking);
                let signature = self
                    .seal
                    .as_ref()
                    .map_or_else(String::new, |seal| seal.close_text(&text));
                self.delta(b"signature_delta\",\"signature\":", &signature, out);
            }
            Open::Text => {}
            Open::Call => self.current += 1,
        }
        self.open = Open::Nothing;
        out.put_slice(
            b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
        );
        number(self.blocks - 1, out);
        out.put_slice(b"}\n\n");
    }

    fn open_call(&mut self, out: &mut BytesMut) {
        let call = &mut self.calls[self.current];
        let mut block = BytesMut::from(&b"{\"type\":\"tool_use\",\"id\":"[..]);
        string(&call.id, &mut block);
        block.put_slice(b",\"name\":");
        string(&call.name, &mut block);
        block.put_slice(b",\"input\":{}}");
        let early = std::mem::take(&mut call.arguments);
        self.open(Open::Call, &block, out);
        if !early.is_empty() {
            self.delta(b"input_json_delta\",\"partial_json\":", &early, out);
        }
    }

    /// Opens and fills the blocks of calls that waited for the one before them.
    fn catch_up(&mut self, out: &mut BytesMut) {
        if self.open == Open::Call {
            self.shut(out);
        }
        while self.calls.get(self.current).is_some_and(|call| call.known) {
            self.open_call(out);
            self.shut(out);
        }
    }

    fn waiting(&mut self, index: u32) -> Option<(usize, &mut Waiting)> {
        let index = usize::try_from(index)
            .ok()
            .filter(|index| *index < MOST_CALLS)?;
        if index >= self.calls.len() {
            self.calls.resize_with(index + 1, Waiting::default);
        }
        Some((index, &mut self.calls[index]))
    }
}

impl Speaker for Talk {
    fn say(&mut self, event: Event<'_>, out: &mut BytesMut) {
        match event {
            Event::Begin { .. } => self.begin(out),
            Event::Reasoning { choice: 0, text } => {
                if self.open != Open::Thinking {
                    self.open(
                        Open::Thinking,
                        b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}",
                        out,
                    );
                }
                if self.seal.is_some() {
                    self.thinking.push_str(text);
                }
                self.delta(b"thinking_delta\",\"thinking\":", text, out);
            }
            Event::Text { choice: 0, text } => {
                if self.open != Open::Text {
                    self.open(Open::Text, b"{\"type\":\"text\",\"text\":\"\"}", out);
                }
                self.delta(b"text_delta\",\"text\":", text, out);
            }
            Event::Call {
                choice: 0,
                index,
                id,
                name,
            } => {
                let Some((index, call)) = self.waiting(index) else {
                    return;
                };
                call.id = id.to_owned();
                call.name = name.to_owned();
                call.known = true;
                if index == self.current && self.open != Open::Call {
                    self.open_call(out);
                }
            }
            Event::Arguments {
                choice: 0,
                index,
                piece,
            } => {
                let is_open = self.open == Open::Call && usize::try_from(index) == Ok(self.current);
                if is_open {
                    self.delta(b"input_json_delta\",\"partial_json\":", piece, out);
                } else if let Some((_, call)) = self.waiting(index) {
                    call.arguments.push_str(piece);
                }
            }
            Event::Finish { choice: 0, reason } => self.finish = Some(reason),
            Event::Usage(counts) => self.usage = counts,
            Event::Alive => {
                self.begin(out);
                out.put_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
            }
            // Messages has one answer, and no log probabilities.
            _ => {}
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        self.begin(out);
        self.catch_up(out);
        self.shut(out);
        out.put_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"");
        out.put_slice(stop_reason(self.finish, !self.calls.is_empty()).as_bytes());
        out.put_slice(b"\",\"stop_sequence\":null},\"usage\":");
        usage(&self.usage, out);
        out.put_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        out.put_slice(&stream_error(refusal));
    }
}
