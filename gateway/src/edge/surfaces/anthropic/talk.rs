//! An answer told as the dialect's stream: blocks one after the other, each opened, filled and
//! closed. Hosts interleave what they like; what cannot be said yet waits. An event costs one copy
//! of its text: no value is built for it.

mod arguments;
mod blocks;

use std::collections::VecDeque;

use bytes::BytesMut;
use serde::Serialize;

use self::blocks::{Blocks, Prose, event};
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
    begun: bool,
    ended: bool,
    blocks: Blocks,
    /// What came while a call was open whose arguments were not at their end. Empty otherwise.
    waiting: VecDeque<Waiting>,
    /// The calls told or waiting, by the choice's numbers.
    calls: Vec<u32>,
    finish: Option<Finish>,
    usage: Usage,
}

enum Waiting {
    Prose(Prose, String),
    Call {
        number: u32,
        id: String,
        name: String,
        arguments: String,
    },
}

impl Talk {
    pub fn new(request: &Request, conversation: &Conversation, id: RequestId) -> Talk {
        Talk {
            id,
            model: request.model.clone(),
            only_stop: only_stop(conversation).map(str::to_owned),
            begun: false,
            ended: false,
            blocks: Blocks::default(),
            waiting: VecDeque::new(),
            calls: Vec::new(),
            finish: None,
            usage: Usage::default(),
        }
    }

    /// Signs each thinking block with what `seal` makes of its text; without it signatures are
    /// empty.
    pub fn with_seal(mut self, seal: Seal) -> Talk {
        self.blocks.seal = Some(seal);
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
        let start = Start {
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
        };
        event(out, "message_start", &start);
    }

    fn prose(&mut self, kind: Prose, text: &str, out: &mut BytesMut) {
        if text.is_empty() {
            return;
        }
        self.begin(out);
        if !self.blocks.mid_call() {
            self.blocks.prose(kind, text, out);
            return;
        }
        match self.waiting.back_mut() {
            Some(Waiting::Prose(of, before)) if *of == kind => before.push_str(text),
            _ => self
                .waiting
                .push_back(Waiting::Prose(kind, text.to_owned())),
        }
    }

    fn call(&mut self, number: u32, id: &str, name: &str, out: &mut BytesMut) {
        // A call announced twice is one call.
        if number >= MOST_CALLS || self.calls.contains(&number) {
            return;
        }
        self.begin(out);
        self.calls.push(number);
        if self.blocks.mid_call() {
            self.waiting.push_back(Waiting::Call {
                number,
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: String::new(),
            });
        } else {
            self.blocks.start_call(number, id, name, out);
        }
    }

    fn arguments(&mut self, number: u32, piece: &str, out: &mut BytesMut) {
        if self.blocks.in_call(number) {
            self.blocks.fill_call(piece, out);
            while !self.blocks.mid_call()
                && let Some(waiting) = self.waiting.pop_front()
            {
                self.tell(waiting, out);
            }
            return;
        }
        for waiting in &mut self.waiting {
            if let Waiting::Call {
                number: waits,
                arguments,
                ..
            } = waiting
                && *waits == number
            {
                arguments.push_str(piece);
                return;
            }
        }
    }

    fn tell(&mut self, waiting: Waiting, out: &mut BytesMut) {
        match waiting {
            Waiting::Prose(kind, text) => self.blocks.prose(kind, &text, out),
            Waiting::Call {
                number,
                id,
                name,
                arguments,
            } => {
                self.blocks.start_call(number, &id, &name, out);
                self.blocks.fill_call(&arguments, out);
            }
        }
    }

    /// The host says no more: all that waits is told, and the last block ends.
    fn end_blocks(&mut self, out: &mut BytesMut) {
        while let Some(waiting) = self.waiting.pop_front() {
            self.tell(waiting, out);
        }
        self.blocks.end(out);
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
        let known = self.only_stop.as_deref();
        let delta = Delta {
            r#type: "message_delta",
            delta: Stop {
                stop_reason,
                stop_sequence: known.filter(|_| stop_reason == "stop_sequence"),
            },
            usage: Told::from(self.usage),
        };
        event(out, "message_delta", &delta);
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
