//! An answer told as a stream of chat completion chunks, in the order that the official clients
//! expect: role, deltas, finish, usage where it was asked for, `[DONE]`. Each chunk is written
//! straight into the buffer around a head that never changes.
//! Source: openai-python 2.x, `chat.chat_completion_chunk` and its stream accumulator.

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use super::{stream_error, words};
use crate::chat::{Conversation, Event, Finish, Refusal, Request, Speaker, Usage};
use crate::id::RequestId;

/// Beyond these an index is absurd, and what is said there is not told.
const MOST_CHOICES: usize = 64;

/// Tells one answer.
#[derive(Debug)]
pub struct Talk {
    /// `data: ` and a chunk up to its choices.
    head: Box<str>,
    usage_wanted: bool,
    usage: Option<Usage>,
    voices: SmallVec<[Voice; 1]>,
}

/// How far a choice has come.
#[derive(Clone, Copy, Debug, Default)]
struct Voice {
    /// Its role has been told.
    begun: bool,
    has_calls: bool,
    finished: bool,
}

impl Talk {
    pub fn new(request: &Request, _: &Conversation, id: RequestId) -> Talk {
        Talk {
            head: head(
                &format!("chatcmpl-{id}"),
                words::created(id),
                &request.model,
            ),
            usage_wanted: request.usage_wanted,
            usage: None,
            voices: SmallVec::new(),
        }
    }

    /// Goes on with a stream whose first part came from another host as it was: under that host's
    /// id and instant (seconds since 1970), and without a second role.
    pub fn resume(
        request: &Request,
        conversation: &Conversation,
        id: RequestId,
        host_id: Option<String>,
        created: Option<u64>,
    ) -> Talk {
        let begun = Voice {
            begun: true,
            ..Voice::default()
        };
        let choices = usize::try_from(conversation.choices)
            .unwrap_or(MOST_CHOICES)
            .clamp(1, MOST_CHOICES);
        Talk {
            head: head(
                &host_id.unwrap_or_else(|| format!("chatcmpl-{id}")),
                created.unwrap_or_else(|| words::created(id)),
                &request.model,
            ),
            usage_wanted: request.usage_wanted,
            usage: None,
            voices: SmallVec::from_elem(begun, choices),
        }
    }

    /// The voice of a choice, its role told.
    fn voice(&mut self, choice: u32, opening: &[u8], out: &mut BytesMut) -> Option<&mut Voice> {
        let index = usize::try_from(choice)
            .ok()
            .filter(|index| *index < MOST_CHOICES)?;
        if index >= self.voices.len() {
            self.voices.resize(index + 1, Voice::default());
        }
        if !self.voices[index].begun {
            self.voices[index].begun = true;
            self.open(choice, out);
            out.put_slice(b"{\"role\":\"assistant\",");
            out.put_slice(opening);
            out.put_slice(b"},\"finish_reason\":null}");
            self.end(out);
        }
        self.voices.get_mut(index)
    }

    /// A delta of one choice.
    fn delta(
        &mut self,
        choice: u32,
        opening: &[u8],
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) {
        if self.voice(choice, opening, out).is_none() {
            return;
        }
        self.open(choice, out);
        out.put_u8(b'{');
        write(out);
        out.put_slice(b"},\"finish_reason\":null}");
        self.end(out);
    }

    fn open(&self, choice: u32, out: &mut BytesMut) {
        out.put_slice(self.head.as_bytes());
        out.put_slice(b"{\"index\":");
        words::number(choice.into(), out);
        out.put_slice(b",\"delta\":");
    }

    fn end(&self, out: &mut BytesMut) {
        // Whoever asks for usage is told on every chunk that it is still to come.
        out.put_slice(if self.usage_wanted {
            b"],\"usage\":null}\n\n"
        } else {
            b"]}\n\n".as_slice()
        });
    }

    fn finish(&mut self, choice: u32, reason: Option<Finish>, out: &mut BytesMut) {
        let Some(voice) = self.voice(choice, NO_TEXT_YET, out) else {
            return;
        };
        if voice.finished {
            return;
        }
        voice.finished = true;
        let word = words::finish(reason, voice.has_calls);
        self.open(choice, out);
        out.put_slice(b"{},\"finish_reason\":\"");
        out.put_slice(word.as_bytes());
        out.put_slice(b"\"}");
        self.end(out);
    }
}

/// What stands beside the role: clients take the first content for the kind of answer.
const NO_TEXT_YET: &[u8] = b"\"content\":\"\"";
const NO_TEXT: &[u8] = b"\"content\":null";

impl Speaker for Talk {
    fn say(&mut self, event: Event<'_>, out: &mut BytesMut) {
        match event {
            Event::Begin { .. } => {}
            Event::Reasoning { text: "", .. } | Event::Text { text: "", .. } => {}
            Event::Arguments { piece: "", .. } => {}
            Event::Reasoning { choice, text } => self.delta(choice, NO_TEXT, out, |out| {
                out.put_slice(b"\"reasoning_content\":");
                words::string(text, out);
            }),
            Event::Text { choice, text } => self.delta(choice, NO_TEXT_YET, out, |out| {
                out.put_slice(b"\"content\":");
                words::string(text, out);
            }),
            Event::Call {
                choice,
                index,
                id,
                name,
            } => {
                self.delta(choice, NO_TEXT, out, |out| {
                    out.put_slice(b"\"tool_calls\":[{\"index\":");
                    words::number(index.into(), out);
                    out.put_slice(b",\"id\":");
                    words::string(id, out);
                    out.put_slice(b",\"type\":\"function\",\"function\":{\"name\":");
                    words::string(name, out);
                    out.put_slice(b",\"arguments\":\"\"}}]");
                });
                if let Some(voice) = self.voice(choice, NO_TEXT, out) {
                    voice.has_calls = true;
                }
            }
            Event::Arguments {
                choice,
                index,
                piece,
            } => self.delta(choice, NO_TEXT, out, |out| {
                out.put_slice(b"\"tool_calls\":[{\"index\":");
                words::number(index.into(), out);
                out.put_slice(b",\"function\":{\"arguments\":");
                words::string(piece, out);
                out.put_slice(b"}}]");
            }),
            Event::Logprobs { choice, json } => {
                if self.voice(choice, NO_TEXT_YET, out).is_none() {
                    return;
                }
                self.open(choice, out);
                out.put_slice(b"{},\"logprobs\":");
                words::foreign(json, out);
                out.put_slice(b",\"finish_reason\":null}");
                self.end(out);
            }
            Event::Finish { choice, reason } => self.finish(choice, Some(reason), out),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Alive => out.put_slice(b": keep-alive\n\n"),
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        // A host may end without a reason; the official clients want one of every choice.
        for choice in 0..self.voices.len() {
            if let Ok(index) = u32::try_from(choice)
                && self.voices[choice].begun
            {
                self.finish(index, None, out);
            }
        }
        if let Some(usage) = self.usage.filter(|_| self.usage_wanted) {
            out.put_slice(self.head.as_bytes());
            out.put_slice(b"],\"usage\":");
            words::usage(&usage, out);
            out.put_slice(b"}\n\n");
        }
        out.put_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        out.put_slice(&stream_error(refusal));
    }
}

fn head(id: &str, created: u64, model: &str) -> Box<str> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "data: {{\"id\":{},\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":{},\"choices\":[",
        quoted(id),
        quoted(model),
    )
    .into()
}
