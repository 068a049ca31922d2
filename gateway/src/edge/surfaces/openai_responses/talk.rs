//! An answer told in this dialect, as a stream of events or whole. Thinking and text are one open
//! item at a time; calls stay open side by side until the answer ends, since hosts may go on with
//! any of them, and each event names its item.
//!
//! Thinking is told as the raw text that it is (`reasoning_text`, in a content part that is added
//! first: openai-node refuses a delta of a part that it has not seen), or as the one part of a
//! summary where the caller asked for `reasoning.summary`, as Codex does: some clients show only
//! that. Both come back in a later request's input.

use bytes::{Bytes, BytesMut};

use super::body::{self, Body};
use super::custom;
use super::items::{Spoken, Status, What};
use super::logprobs::{self, Logprob};
use super::response::{self, Frame, Outcome, json};
use super::telling::{self, Telling};
use super::tools::{Kind, Toolset};
use crate::chat::{Conversation, Event, Finish, Refusal, Reply, Request, Speaker, Usage};
use crate::id::RequestId;

/// Calls beyond this are dropped, as [`Reply`] drops them.
const MOST_CALLS: usize = 512;

/// Makes thinking unreadable but to who opens it again.
pub type Seal = Box<dyn Fn(&str) -> String + Send + Sync>;

/// An answer being told.
pub struct Talk {
    frame: Frame,
    tools: Toolset,
    id: RequestId,
    summary: bool,
    wants_sealed: bool,
    wants_logprobs: bool,
    seal: Option<Seal>,
    sequence: u64,
    begun: bool,
    items: Vec<Spoken>,
    /// The thinking or text that is being said.
    open: Option<usize>,
    /// Where the calls stand among the items, by their index.
    calls: Vec<(u32, usize)>,
    /// Calls that began while another was being told, in order: clients take a piece of another
    /// call for the beginning of a new one.
    later: Vec<Later>,
    /// Log probabilities of text that has not begun.
    waiting: Vec<Logprob>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    outcome: Outcome,
}

/// A call that waits for its turn.
struct Later {
    number: u32,
    id: String,
    name: String,
    arguments: String,
}

/// A plain answer: the response object.
pub fn whole(
    request: &Request,
    conversation: &Conversation,
    id: RequestId,
    reply: &Reply,
) -> Bytes {
    Talk::new(request, conversation, id).whole(reply)
}

impl Talk {
    /// A teller of the answer to `request`, whose id makes the ids of all that it tells.
    pub fn new(request: &Request, conversation: &Conversation, id: RequestId) -> Talk {
        let bytes = body::joined(&request.original.frames);
        // The conversation was read from the same bytes: neither fails here.
        let body = Body::of(&bytes).unwrap_or_default();
        let tools = Toolset::read(body.tools).unwrap_or_default();
        Talk {
            frame: Frame::new(request, &body, &tools, id),
            id,
            summary: response::wants_summary(&body),
            wants_sealed: response::wants_sealed(&body),
            wants_logprobs: conversation.logprobs.is_some(),
            seal: None,
            tools,
            sequence: 0,
            begun: false,
            items: Vec::new(),
            open: None,
            calls: Vec::new(),
            later: Vec::new(),
            waiting: Vec::new(),
            finish: None,
            usage: None,
            outcome: Outcome::Going,
        }
    }

    /// With what seals thinking, for callers who keep their own history and ask for it.
    pub fn with_seal(mut self, seal: Seal) -> Talk {
        self.seal = Some(seal);
        self
    }

    /// The response object of a complete answer.
    pub fn whole(mut self, reply: &Reply) -> Bytes {
        let mut unheard = BytesMut::new();
        reply.events(&mut |event| {
            self.say(event, &mut unheard);
            unheard.clear();
        });
        self.close(&mut unheard);
        self.response()
    }

    /// The response object as it stands now; after the end, what the last event held.
    pub fn response(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.write_response(&mut out);
        out.freeze()
    }

    fn write_response(&self, out: &mut BytesMut) {
        let items = self.items.iter().map(Spoken::item);
        self.frame.write(&self.outcome, items, self.usage, out);
    }

    fn lifecycle(&mut self, kind: &'static str, out: &mut BytesMut) {
        telling::head(kind, out);
        out.extend_from_slice(b"{\"type\":");
        json(kind, out);
        out.extend_from_slice(b",\"sequence_number\":");
        json(&self.sequence, out);
        out.extend_from_slice(b",\"response\":");
        self.write_response(out);
        out.extend_from_slice(b"}\n\n");
        self.sequence += 1;
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if !self.begun {
            self.begun = true;
            self.lifecycle("response.created", out);
            self.lifecycle("response.in_progress", out);
        }
    }

    /// Tells of the item at `index`.
    fn tell(&mut self, kind: &'static str, index: usize, out: &mut BytesMut, of: Telling<'_>) {
        if let Some(spoken) = self.items.get(index) {
            telling::write(kind, self.sequence, (index, spoken), of, out);
            self.sequence += 1;
        }
    }

    /// Ids follow from the answer's, so that the stream and the kept answer agree.
    fn add(&mut self, prefix: &str, said: What, out: &mut BytesMut) -> usize {
        self.begin(out);
        let index = self.items.len();
        self.items.push(Spoken {
            id: format!("{prefix}_{}{index:04x}", self.id.uuid().simple()),
            status: Status::InProgress,
            said,
        });
        self.tell("response.output_item.added", index, out, Telling::Begun);
        index
    }

    fn think(&mut self, text: &str, out: &mut BytesMut) {
        let open = self.open.filter(|&index| self.is_thinking(index));
        let index = match open {
            Some(index) => index,
            None => {
                self.end_open(Status::Completed, out);
                let said = What::Thinking {
                    text: String::new(),
                    summary: self.summary,
                    sealed: None,
                };
                let index = self.add("rs", said, out);
                let kind = if self.summary {
                    "response.reasoning_summary_part.added"
                } else {
                    "response.content_part.added"
                };
                self.tell(kind, index, out, Telling::Part(""));
                self.open = Some(index);
                index
            }
        };
        if let What::Thinking { text: all, .. } = &mut self.items[index].said {
            all.push_str(text);
        }
        let kind = if self.summary {
            "response.reasoning_summary_text.delta"
        } else {
            "response.reasoning_text.delta"
        };
        self.tell(kind, index, out, Telling::Delta(text));
    }

    fn text(&mut self, delta: &str, more: Vec<Logprob>, out: &mut BytesMut) {
        let open = self.open.filter(|&index| !self.is_thinking(index));
        let index = match open {
            Some(index) => index,
            None => {
                self.end_open(Status::Completed, out);
                let said = What::Text {
                    text: String::new(),
                    logprobs: Vec::new(),
                };
                let index = self.add("msg", said, out);
                self.tell("response.content_part.added", index, out, Telling::Part(""));
                self.open = Some(index);
                index
            }
        };
        self.tell(
            "response.output_text.delta",
            index,
            out,
            Telling::TextDelta(delta, &more),
        );
        if let What::Text { text, logprobs } = &mut self.items[index].said {
            text.push_str(delta);
            logprobs.extend(more);
        }
    }

    fn is_thinking(&self, index: usize) -> bool {
        matches!(
            self.items.get(index).map(|spoken| &spoken.said),
            Some(What::Thinking { .. })
        )
    }

    fn call(&mut self, number: u32, id: &str, name: &str, out: &mut BytesMut) {
        let known = self.later.iter().any(|later| later.number == number);
        if self.calls.len() + self.later.len() >= MOST_CALLS
            || known
            || self.called(number).is_some()
        {
            return;
        }
        if self.calls.is_empty() {
            self.begin_call(number, id, name, out);
        } else {
            self.later.push(Later {
                number,
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: String::new(),
            });
        }
    }

    fn begin_call(&mut self, number: u32, id: &str, name: &str, out: &mut BytesMut) {
        self.end_open(Status::Completed, out);
        let given = self.tools.called(name);
        let kind = given.map_or(Kind::Function, |given| given.kind);
        let said = What::Call {
            call_id: if id.is_empty() {
                format!("call_{}{number:04x}", self.id.uuid().simple())
            } else {
                id.to_owned()
            },
            name: given.map_or(name, |given| &given.name).to_owned(),
            namespace: given.and_then(|given| given.namespace.clone()),
            kind,
            arguments: String::new(),
        };
        let prefix = match kind {
            Kind::Function => "fc",
            Kind::Custom => "ctc",
        };
        let index = self.add(prefix, said, out);
        self.calls.push((number, index));
    }

    fn called(&self, number: u32) -> Option<usize> {
        let found = self.calls.iter().rev().find(|(other, _)| *other == number);
        found.map(|(_, index)| *index)
    }

    fn arguments(&mut self, number: u32, piece: &str, out: &mut BytesMut) {
        let Some(index) = self.called(number) else {
            if let Some(later) = self.later.iter_mut().find(|later| later.number == number) {
                later.arguments.push_str(piece);
            }
            return;
        };
        let What::Call {
            arguments, kind, ..
        } = &mut self.items[index].said
        else {
            return;
        };
        arguments.push_str(piece);
        // A custom tool's input is unwrapped when it is complete: half a wrapping says nothing.
        if *kind == Kind::Function && !piece.is_empty() {
            self.tell(
                "response.function_call_arguments.delta",
                index,
                out,
                Telling::Delta(piece),
            );
        }
    }

    fn end_open(&mut self, status: Status, out: &mut BytesMut) {
        if let Some(index) = self.open.take() {
            self.end(index, status, out);
        }
    }

    fn end(&mut self, index: usize, status: Status, out: &mut BytesMut) {
        let seal = self.seal.as_ref().filter(|_| self.wants_sealed);
        let spoken = &mut self.items[index];
        spoken.status = status;
        let (done, part) = match &mut spoken.said {
            What::Thinking {
                text,
                summary,
                sealed,
            } => {
                *sealed = seal.map(|seal| seal(text));
                if *summary {
                    (
                        "response.reasoning_summary_text.done",
                        Some("response.reasoning_summary_part.done"),
                    )
                } else {
                    (
                        "response.reasoning_text.done",
                        Some("response.content_part.done"),
                    )
                }
            }
            What::Text { .. } => (
                "response.output_text.done",
                Some("response.content_part.done"),
            ),
            What::Call {
                kind: Kind::Function,
                ..
            } => ("response.function_call_arguments.done", None),
            What::Call { arguments, .. } => {
                let input = custom::unwrapped(arguments).into_owned();
                self.tell(
                    "response.custom_tool_call_input.delta",
                    index,
                    out,
                    Telling::Delta(&input),
                );
                ("response.custom_tool_call_input.done", None)
            }
        };
        self.tell(done, index, out, Telling::Whole);
        if let Some(part) = part {
            self.tell(part, index, out, Telling::WholePart);
        }
        self.tell("response.output_item.done", index, out, Telling::Ended);
    }

    /// Ends what is open. Where the answer was cut short, so was the text that was being said, and
    /// each call whose arguments are not complete JSON.
    fn end_all(&mut self, out: &mut BytesMut) {
        let cut = matches!(self.outcome, Outcome::Incomplete(_));
        let status = if cut {
            Status::Incomplete
        } else {
            Status::Completed
        };
        self.end_open(status, out);
        self.end_calls(cut, out);
        for later in std::mem::take(&mut self.later) {
            self.begin_call(later.number, &later.id, &later.name, out);
            self.arguments(later.number, &later.arguments, out);
            self.end_calls(cut, out);
        }
    }

    fn end_calls(&mut self, cut: bool, out: &mut BytesMut) {
        for (_, index) in std::mem::take(&mut self.calls) {
            let complete = !cut || self.items[index].is_valid_call();
            let status = if complete {
                Status::Completed
            } else {
                Status::Incomplete
            };
            self.end(index, status, out);
        }
    }

    fn logprobs(&mut self, json: &str, out: &mut BytesMut) {
        let tokens = logprobs::of_chat(json);
        if tokens.is_empty() {
            return;
        }
        // They come beside the text, before or after it: an empty delta keeps their order.
        match self.open {
            Some(index) if !self.is_thinking(index) => self.text("", tokens, out),
            _ => self.waiting.extend(tokens),
        }
    }
}

impl Speaker for Talk {
    fn say(&mut self, event: Event<'_>, out: &mut BytesMut) {
        if self.outcome != Outcome::Going {
            return;
        }
        match event {
            Event::Begin { .. } => self.begin(out),
            Event::Reasoning { choice: 0, text } if !text.is_empty() => self.think(text, out),
            Event::Text { choice: 0, text } if !text.is_empty() => {
                let logprobs = std::mem::take(&mut self.waiting);
                self.text(text, logprobs, out);
            }
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
            Event::Logprobs { choice: 0, json } if self.wants_logprobs => self.logprobs(json, out),
            Event::Finish { choice: 0, reason } => self.finish = Some(reason),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Alive => out.extend_from_slice(b": alive\n\n"),
            // One answer is asked for, so another choice's pieces are none of its.
            _ => {}
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.outcome != Outcome::Going {
            return;
        }
        self.begin(out);
        // What is open ends before the response does, but in the light of how it does.
        let outcome = Outcome::of(self.finish);
        self.outcome = outcome;
        if matches!(self.outcome, Outcome::Failed(_)) {
            self.abandon();
        } else {
            self.end_all(out);
        }
        self.lifecycle(self.outcome.event(), out);
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        if self.outcome != Outcome::Going {
            return;
        }
        self.begin(out);
        self.outcome = Outcome::refused(refusal);
        self.abandon();
        self.lifecycle(self.outcome.event(), out);
    }
}

impl Talk {
    /// Leaves what is open as it is: no event ends it, or agents would run a call cut short.
    fn abandon(&mut self) {
        self.open = None;
        self.calls.clear();
        self.later.clear();
        for spoken in &mut self.items {
            if spoken.status == Status::InProgress {
                spoken.status = Status::Incomplete;
            }
        }
    }
}
