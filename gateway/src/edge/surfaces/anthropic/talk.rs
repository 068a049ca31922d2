//! An answer told as the dialect's stream: blocks one after the other, each opened, filled and
//! closed, with a running index. Hosts interleave what they like; what cannot be said yet waits.
//! An event costs one copy of its text: no value is built for it.

mod arguments;

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use self::arguments::Arguments;
use super::errors::error_body;
use super::message::Seal;
use super::wording::{Told, message_id, only_stop, stop_reason};
use crate::chat::{Code, Conversation, Event, Finish, Refusal, Request, Speaker, Usage};
use crate::id::RequestId;

/// Calls beyond this are dropped, as `chat::Reply` drops them.
const MOST_CALLS: u32 = 512;

/// Tells one answer; only its first choice, since the dialect has no other.
pub struct Talk {
    id: RequestId,
    model: String,
    only_stop: Option<String>,
    seal: Option<Seal>,
    begun: bool,
    ended: bool,
    open: Option<Open>,
    /// The event of a piece of the open block, up to the piece itself.
    lead: String,
    /// The index of the next block.
    next: u32,
    /// What came while a call was open whose arguments were not at their end. Empty otherwise.
    waiting: VecDeque<Waiting>,
    /// The calls told or waiting, by the choice's numbers.
    calls: Vec<u32>,
    finish: Option<Finish>,
    usage: Usage,
}

/// A block begun and not ended.
enum Open {
    /// With its text so far where it will be sealed.
    Thinking(Option<String>),
    Text,
    Call(u32, Arguments),
}

enum Waiting {
    Thinking(String),
    Text(String),
    Call {
        number: u32,
        id: String,
        name: String,
        arguments: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prose {
    Thinking,
    Text,
}

impl Talk {
    pub fn new(request: &Request, conversation: &Conversation, id: RequestId) -> Talk {
        Talk {
            id,
            model: request.model.clone(),
            only_stop: only_stop(conversation).map(str::to_owned),
            seal: None,
            begun: false,
            ended: false,
            open: None,
            lead: String::new(),
            next: 0,
            waiting: VecDeque::new(),
            calls: Vec::new(),
            finish: None,
            usage: Usage::default(),
        }
    }

    /// Signs each thinking block with what `seal` makes of its text; without it signatures are
    /// empty.
    pub fn with_seal(mut self, seal: Seal) -> Talk {
        self.seal = Some(seal);
        self
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if self.begun {
            return;
        }
        self.begun = true;
        #[derive(Serialize)]
        struct Start<'a> {
            r#type: &'static str,
            message: Message<'a>,
        }
        #[derive(Serialize)]
        struct Message<'a> {
            id: String,
            r#type: &'static str,
            role: &'static str,
            model: &'a str,
            content: [(); 0],
            stop_reason: Option<()>,
            stop_sequence: Option<()>,
            /// Often nothing yet; the last event corrects it.
            usage: Told,
        }
        event(
            out,
            "message_start",
            &Start {
                r#type: "message_start",
                message: Message {
                    id: message_id(self.id),
                    r#type: "message",
                    role: "assistant",
                    model: &self.model,
                    content: [],
                    stop_reason: None,
                    stop_sequence: None,
                    usage: Told::from(self.usage),
                },
            },
        );
    }

    /// Whether a call is open whose arguments have not come to their end.
    fn mid_call(&self) -> bool {
        matches!(&self.open, Some(Open::Call(_, arguments)) if !arguments.complete())
    }

    fn prose(&mut self, kind: Prose, text: &str, out: &mut BytesMut) {
        if text.is_empty() {
            return;
        }
        self.begin(out);
        if self.mid_call() {
            match (kind, self.waiting.back_mut()) {
                (Prose::Thinking, Some(Waiting::Thinking(before)))
                | (Prose::Text, Some(Waiting::Text(before))) => before.push_str(text),
                (Prose::Thinking, _) => self.waiting.push_back(Waiting::Thinking(text.to_owned())),
                (Prose::Text, _) => self.waiting.push_back(Waiting::Text(text.to_owned())),
            }
            return;
        }
        match (kind, &mut self.open) {
            (Prose::Text, Some(Open::Text)) => {}
            (Prose::Thinking, Some(Open::Thinking(kept))) => {
                if let Some(kept) = kept {
                    kept.push_str(text);
                }
            }
            _ => self.open_prose(kind, text, out),
        }
        self.piece(text, out);
    }

    fn open_prose(&mut self, kind: Prose, text: &str, out: &mut BytesMut) {
        self.end_block(out);
        let (block, delta) = match kind {
            Prose::Thinking => (
                "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}",
                "\"thinking_delta\",\"thinking\"",
            ),
            Prose::Text => (
                "{\"type\":\"text\",\"text\":\"\"}",
                "\"text_delta\",\"text\"",
            ),
        };
        self.start_block(delta, out);
        out.extend_from_slice(block.as_bytes());
        out.extend_from_slice(b"}\n\n");
        self.open = Some(match kind {
            Prose::Thinking => Open::Thinking(self.seal.is_some().then(|| text.to_owned())),
            Prose::Text => Open::Text,
        });
    }

    fn open_call(&mut self, number: u32, id: &str, name: &str, out: &mut BytesMut) {
        self.end_block(out);
        self.start_block("\"input_json_delta\",\"partial_json\"", out);
        out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
        json(out, id);
        out.extend_from_slice(b",\"name\":");
        json(out, name);
        out.extend_from_slice(b",\"input\":{}}}\n\n");
        self.open = Some(Open::Call(number, Arguments::default()));
    }

    /// Writes the start of a block up to its content, and sets the lead of its pieces.
    fn start_block(&mut self, delta: &str, out: &mut BytesMut) {
        let index = self.next;
        self.next += 1;
        self.lead.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            self.lead,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\
             \"delta\":{{\"type\":{delta}:"
        );
        let _ = write!(
            out,
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":{index},\
             \"content_block\":"
        );
    }

    fn piece(&self, text: &str, out: &mut BytesMut) {
        out.reserve(self.lead.len() + text.len() + 8);
        out.extend_from_slice(self.lead.as_bytes());
        json(out, text);
        out.extend_from_slice(b"}}\n\n");
    }

    fn end_block(&mut self, out: &mut BytesMut) {
        let Some(open) = self.open.take() else { return };
        let index = self.next.saturating_sub(1);
        match open {
            Open::Thinking(kept) => {
                let signature = match (&self.seal, kept) {
                    (Some(seal), Some(text)) => seal(&text),
                    _ => String::new(),
                };
                let _ = write!(
                    out,
                    "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\
                     \"index\":{index},\"delta\":{{\"type\":\"signature_delta\",\"signature\":"
                );
                json(out, &signature);
                out.extend_from_slice(b"}}\n\n");
            }
            Open::Text => {}
            Open::Call(_, arguments) => {
                if let Some(rest) = arguments.end() {
                    self.piece(rest.get(), out);
                }
            }
        }
        let _ = write!(
            out,
            "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        );
    }

    fn call(&mut self, number: u32, id: &str, name: &str, out: &mut BytesMut) {
        // A call announced twice is one call.
        if number >= MOST_CALLS || self.calls.contains(&number) {
            return;
        }
        self.begin(out);
        self.calls.push(number);
        if self.mid_call() {
            self.waiting.push_back(Waiting::Call {
                number,
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: String::new(),
            });
        } else {
            self.open_call(number, id, name, out);
        }
    }

    fn arguments(&mut self, number: u32, piece: &str, out: &mut BytesMut) {
        if matches!(&self.open, Some(Open::Call(open, _)) if *open == number) {
            self.fill(piece, out);
            self.catch_up(out);
            return;
        }
        let waiting = self.waiting.iter_mut().find_map(|waiting| match waiting {
            Waiting::Call {
                number: waits,
                arguments,
                ..
            } if *waits == number => Some(arguments),
            _ => None,
        });
        if let Some(arguments) = waiting {
            arguments.push_str(piece);
        }
    }

    /// Adds to the open call what can be told of its arguments.
    fn fill(&mut self, piece: &str, out: &mut BytesMut) {
        if let Some(Open::Call(_, arguments)) = &mut self.open {
            let tellable = arguments.take(piece);
            if !tellable.is_empty() {
                self.piece(tellable, out);
            }
        }
    }

    /// Tells what waited, as far as the open call lets it.
    fn catch_up(&mut self, out: &mut BytesMut) {
        while !self.mid_call()
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.tell(waiting, out);
        }
    }

    fn tell(&mut self, waiting: Waiting, out: &mut BytesMut) {
        let (kind, text) = match waiting {
            Waiting::Thinking(text) => (Prose::Thinking, text),
            Waiting::Text(text) => (Prose::Text, text),
            Waiting::Call {
                number,
                id,
                name,
                arguments,
            } => {
                self.open_call(number, &id, &name, out);
                self.fill(&arguments, out);
                return;
            }
        };
        self.open_prose(kind, &text, out);
        self.piece(&text, out);
    }

    /// The host says no more: all that waits is told, and the last block ends.
    fn end_blocks(&mut self, out: &mut BytesMut) {
        while let Some(waiting) = self.waiting.pop_front() {
            self.tell(waiting, out);
        }
        self.end_block(out);
    }
}

impl Speaker for Talk {
    fn say(&mut self, heard: Event<'_>, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        match heard {
            Event::Begin { .. } => self.begin(out),
            Event::Reasoning { choice: 0, text } => self.prose(Prose::Thinking, text, out),
            Event::Text { choice: 0, text } => self.prose(Prose::Text, text, out),
            Event::Call {
                choice: 0,
                index,
                id,
                name,
            } => self.call(index, id, name, out),
            Event::Arguments {
                choice: 0,
                index,
                piece,
            } => self.arguments(index, piece, out),
            Event::Finish { choice: 0, reason } => {
                self.begin(out);
                self.end_blocks(out);
                self.finish = Some(reason);
            }
            Event::Usage(usage) => self.usage = usage,
            Event::Alive => {
                self.begin(out);
                out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
            }
            // Other choices, and log probabilities: the dialect has neither.
            _ => {}
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        if self.finish == Some(Finish::HostGaveUp) {
            let why = "the host gave up before the answer was complete; send the request again";
            self.fail(&Refusal::new(Code::HostFailed, why), out);
            return;
        }
        self.begin(out);
        self.end_blocks(out);
        self.ended = true;
        #[derive(Serialize)]
        struct Delta<'a> {
            r#type: &'static str,
            delta: Stop<'a>,
            usage: Told,
        }
        #[derive(Serialize)]
        struct Stop<'a> {
            stop_reason: &'static str,
            stop_sequence: Option<&'a str>,
        }
        let stop_reason = stop_reason(self.finish, !self.calls.is_empty());
        event(
            out,
            "message_delta",
            &Delta {
                r#type: "message_delta",
                delta: Stop {
                    stop_reason,
                    stop_sequence: self
                        .only_stop
                        .as_deref()
                        .filter(|_| stop_reason == "stop_sequence"),
                },
                usage: Told::from(self.usage),
            },
        );
        out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        self.ended = true;
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(&error_body(refusal));
        out.extend_from_slice(b"\n\n");
    }
}

/// Each event has its `event:` line: the official clients skip those without.
fn event(out: &mut BytesMut, name: &str, data: &impl Serialize) {
    let _ = write!(out, "event: {name}\ndata: ");
    json(out, data);
    out.extend_from_slice(b"\n\n");
}

fn json(out: &mut BytesMut, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out.writer(), value).expect("memory takes what strings and numbers are");
}
