//! An answer told as text completions, streamed and whole. The dialect has words for text alone:
//! thinking and calls are not told.
//! Source: openai-python 2.x `completion`, `completion_choice`; streams end as in chat.

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::super::openai_chat::{stream_error, words};
use crate::chat::{Conversation, Event, Finish, Refusal, Reply, Request, Speaker, Usage};
use crate::id::RequestId;

/// Beyond these an index is absurd, and what is said there is not told.
const MOST_CHOICES: usize = 64;

/// Tells one answer.
#[derive(Debug)]
pub struct Talk {
    /// A completion up to its choices.
    head: Box<str>,
    usage_wanted: bool,
    usage: Option<Usage>,
    voices: SmallVec<[Voice; 1]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Voice {
    #[default]
    Silent,
    Speaking,
    Finished,
}

impl Talk {
    pub fn new(request: &Request, _: &Conversation, id: RequestId) -> Talk {
        Talk {
            head: head(request, id),
            usage_wanted: request.usage_wanted,
            usage: None,
            voices: SmallVec::new(),
        }
    }

    fn voice(&mut self, choice: u32) -> Option<&mut Voice> {
        let index = usize::try_from(choice)
            .ok()
            .filter(|index| *index < MOST_CHOICES)?;
        if index >= self.voices.len() {
            self.voices.resize(index + 1, Voice::Silent);
        }
        self.voices.get_mut(index)
    }

    fn tell(&self, choice: u32, text: &str, finish: Option<&str>, out: &mut BytesMut) {
        out.put_slice(b"data: ");
        out.put_slice(self.head.as_bytes());
        one(choice.into(), text, finish, out);
        out.put_slice(if self.usage_wanted {
            b"],\"usage\":null}\n\n"
        } else {
            b"]}\n\n".as_slice()
        });
    }

    fn finish(&mut self, choice: u32, reason: Option<Finish>, out: &mut BytesMut) {
        if let Some(voice) = self.voice(choice)
            && *voice != Voice::Finished
        {
            *voice = Voice::Finished;
            self.tell(choice, "", Some(word(reason)), out);
        }
    }
}

impl Speaker for Talk {
    fn say(&mut self, event: Event<'_>, out: &mut BytesMut) {
        match event {
            Event::Text { text: "", .. } => {}
            Event::Text { choice, text } => {
                if let Some(voice) = self.voice(choice) {
                    *voice = Voice::Speaking;
                    self.tell(choice, text, None, out);
                }
            }
            Event::Finish { choice, reason } => self.finish(choice, Some(reason), out),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Alive => out.put_slice(b": keep-alive\n\n"),
            Event::Begin { .. }
            | Event::Reasoning { .. }
            | Event::Call { .. }
            | Event::Arguments { .. }
            | Event::Logprobs { .. } => {}
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        for choice in 0..self.voices.len() {
            if let Ok(index) = u32::try_from(choice)
                && self.voices[choice] == Voice::Speaking
            {
                self.finish(index, None, out);
            }
        }
        if let Some(usage) = self.usage.filter(|_| self.usage_wanted) {
            out.put_slice(b"data: ");
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

/// Tells a complete answer.
pub fn whole(request: &Request, _: &Conversation, id: RequestId, reply: &Reply) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(head(request, id).as_bytes());
    for (index, choice) in reply.choices.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        let finish = word(choice.finish);
        one(index as u64, &choice.said.text, Some(finish), &mut out);
    }
    out.put_u8(b']');
    if let Some(usage) = &reply.usage {
        out.put_slice(b",\"usage\":");
        words::usage(usage, &mut out);
    }
    out.put_u8(b'}');
    out.freeze()
}

fn one(index: u64, text: &str, finish: Option<&str>, out: &mut BytesMut) {
    out.put_slice(b"{\"index\":");
    words::number(index, out);
    out.put_slice(b",\"text\":");
    words::string(text, out);
    out.put_slice(b",\"logprobs\":null,\"finish_reason\":");
    match finish {
        Some(word) => words::string(word, out),
        None => out.put_slice(b"null"),
    }
    out.put_u8(b'}');
}

/// The dialect knows no calls: an answer that ends with one has stopped.
fn word(reason: Option<Finish>) -> &'static str {
    let reason = reason.filter(|reason| *reason != Finish::ToolCalls);
    words::finish(reason, false)
}

fn head(request: &Request, id: RequestId) -> Box<str> {
    format!(
        "{{\"id\":\"cmpl-{id}\",\"object\":\"text_completion\",\"created\":{},\"model\":{},\"choices\":[",
        words::created(id),
        serde_json::Value::from(request.model.as_str()),
    )
    .into()
}
