//! A host's answer heard as canonical events, from a stream whose bytes may be cut anywhere or from
//! a whole body. Relies on `sse` for the events, on `chunk` for their forms, on `calls` for the
//! calls in them.

use bytes::Bytes;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::super::Decoder;
use super::calls::{Calls, Mint};
use super::chunk::{Choice, Chunk, mended};
use super::sse::{Pending, Walk};
use super::usage::RawUsage;
use super::{Report, error_text, finish};
use crate::chat::{Event, Finish, Reply};

/// An absurd index is no reason to allocate: choices beyond this are dropped.
const MOST_CHOICES: u32 = 64;

/// Hears a stream of this wire.
#[derive(Debug)]
pub struct Hearing {
    pending: Pending,
    begun: bool,
    choices: SmallVec<[Heard; 1]>,
    mint: Mint,
    report: Report,
}

/// What a choice has said so far.
#[derive(Debug, Default)]
struct Heard {
    calls: Calls,
    finished: bool,
}

impl Default for Hearing {
    fn default() -> Self {
        Hearing::new()
    }
}

impl Hearing {
    pub fn new() -> Self {
        let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
        Hearing::seeded(random)
    }

    /// As `new`, with ids that follow from `seed` where the host gives none.
    pub fn seeded(seed: u64) -> Self {
        Hearing {
            pending: Pending::default(),
            begun: false,
            choices: SmallVec::new(),
            mint: Mint::new(seed),
            report: Report::default(),
        }
    }

    fn payload(&mut self, payload: &[u8], heard: &mut dyn FnMut(Event<'_>)) {
        match payload {
            b"" => return,
            b"[DONE]" => {
                self.report.done = true;
                return;
            }
            _ => self.report.events += 1,
        }
        if self.read(payload, heard) {
            return;
        }
        let mended = mended(payload);
        if !mended.is_some_and(|mended| self.read(&mended, heard)) && self.report.error.is_none() {
            // Going on would tell an answer with a hole in it as if it were whole.
            self.report.error =
                Some("a piece of its answer is no JSON of a chat completion".to_owned());
        }
    }

    /// Whether the payload could be read.
    fn read(&mut self, payload: &[u8], heard: &mut dyn FnMut(Event<'_>)) -> bool {
        // Google wraps errors on streams in an array.
        if payload.first() == Some(&b'[') {
            let Ok(chunks) = serde_json::from_slice::<Vec<Chunk<'_>>>(payload) else {
                return false;
            };
            for chunk in chunks {
                self.chunk(chunk, heard);
            }
            return true;
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(payload) else {
            return false;
        };
        self.chunk(chunk, heard);
        true
    }

    fn chunk(&mut self, chunk: Chunk<'_>, heard: &mut dyn FnMut(Event<'_>)) {
        if let Some(error) = chunk.error
            && !matches!(error.get(), "null" | "false" | "\"\"" | "{}")
        {
            self.report.error = Some(error_of(error));
            return;
        }
        let choices = chunk.choices.unwrap_or_default();
        if chunk.object.as_str() == "error" && choices.is_empty() {
            self.report.error = Some(chunk.message.as_str().chars().take(600).collect());
            return;
        }
        let id = Some(chunk.id.as_str()).filter(|id| !id.is_empty());
        if self.report.host_request.is_none() {
            self.report.host_request = id.map(|id| id.chars().take(128).collect());
        }
        // Azure's first frame has neither an id nor choices.
        if !self.begun && (id.is_some() || !choices.is_empty()) {
            self.begun = true;
            heard(Event::Begin { id });
        }
        for choice in &choices {
            self.choice(choice, heard);
        }
        if let Some(usage) = chunk.usage
            && usage.get() != "null"
        {
            match serde_json::from_str::<RawUsage>(usage.get()).map(RawUsage::normalise) {
                Ok(Ok(usage)) => {
                    self.report.usage = Some(usage);
                    heard(Event::Usage(usage));
                }
                _ => self.report.nonsense = true,
            }
        }
    }

    fn choice(&mut self, choice: &Choice<'_>, heard: &mut dyn FnMut(Event<'_>)) {
        let index = choice.index.0.unwrap_or(0);
        if index >= MOST_CHOICES {
            return;
        }
        let at = index as usize;
        if at >= self.choices.len() {
            self.choices.resize_with(at + 1, Heard::default);
        }
        let known = &mut self.choices[at];
        if known.finished {
            // Its caller may have been told that it is complete.
            return;
        }
        if let Some(delta) = choice.delta.as_ref().or(choice.message.as_ref()) {
            let text = delta.reasoning();
            if !text.is_empty() {
                self.report.reasoning_bytes += text.len() as u64;
                heard(Event::Reasoning {
                    choice: index,
                    text,
                });
            }
            let text = delta.content.as_str();
            if !text.is_empty() {
                self.report.visible_bytes += text.len() as u64;
                heard(Event::Text {
                    choice: index,
                    text,
                });
            }
            for piece in delta.tool_calls.iter().flatten() {
                self.report.visible_bytes += known.calls.take(index, piece, &mut self.mint, heard);
            }
        }
        if let Some(logprobs) = choice.logprobs.and_then(super::logprobs::read) {
            heard(Event::Logprobs {
                choice: index,
                json: &logprobs,
            });
        }
        let word = choice.finish_reason.as_str();
        if word.is_empty() {
            return;
        }
        known.finished = true;
        let reason = match finish(word) {
            // Some hosts end tool calls with `stop`: that there are calls decides.
            Finish::Stop if known.calls.any() => Finish::ToolCalls,
            reason => reason,
        };
        if known.calls.nameless() {
            self.report.error = Some("it called a tool without naming it".to_owned());
        }
        self.report.finished(reason);
        heard(Event::Finish {
            choice: index,
            reason,
        });
    }
}

impl Decoder for Hearing {
    fn take(&mut self, chunk: Bytes, heard: &mut dyn FnMut(Event<'_>)) {
        let buffer = self.pending.join(chunk);
        let mut walk = Walk::new(&buffer);
        for event in &mut walk {
            if self.pending.was_oversize() {
                continue;
            }
            if event.comment {
                heard(Event::Alive);
            }
            for data in event.data {
                self.payload(&buffer[data], heard);
            }
        }
        if !self.pending.keep(&buffer, walk.event) {
            self.report.error = Some("a piece of its answer is larger than 4 MiB".to_owned());
        }
    }

    fn end(&mut self, heard: &mut dyn FnMut(Event<'_>)) {
        if let Some(rest) = self.pending.end() {
            self.take(rest, heard);
        }
    }

    fn report(&self) -> &Report {
        &self.report
    }
}

fn error_of(error: &RawValue) -> String {
    serde_json::from_str(error.get()).map_or_else(
        |_| error.get().chars().take(600).collect(),
        |error| error_text(&error),
    )
}

/// Reads a plain answer completely; `None` where it is none, or an error. What it is instead,
/// [`plain`](super::plain) says.
pub fn heard(body: &[u8]) -> Option<Reply> {
    let mut hearing = Hearing::new();
    let mut reply = Reply::default();
    hearing.payload(body.trim_ascii(), &mut |event| reply.hear(event));
    (hearing.report.error.is_none() && !reply.choices.is_empty()).then_some(reply)
}
