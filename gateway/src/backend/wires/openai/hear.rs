//! An answer in the OpenAI dialect, heard as canonical events: chunks of a stream cut anywhere, or a
//! plain answer. Hosts differ in the name of the reasoning field, in whether calls have ids, in
//! where usage stands and in how they say that they gave up; none of that is seen from here on.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::usage::RawUsage;
use super::{Report, error_text, finish};
use crate::backend::wires::Decoder;
use crate::backend::wires::sse::{Line, Lines};
use crate::chat::{Event, Finish, Reply};

/// Calls of one answer beyond these are not told.
const MOST_CALLS: usize = 512;

/// Hears a stream of `chat.completion.chunk`s.
#[derive(Debug, Default)]
pub struct Hearing {
    lines: Lines,
    ear: Ear,
}

impl Hearing {
    pub fn new() -> Self {
        Hearing::default()
    }
}

impl Decoder for Hearing {
    fn take(&mut self, chunk: Bytes, heard: &mut dyn FnMut(Event<'_>)) {
        let ear = &mut self.ear;
        self.lines.take(chunk, |line| ear.line(line, heard));
    }

    fn end(&mut self, heard: &mut dyn FnMut(Event<'_>)) {
        let ear = &mut self.ear;
        self.lines.end(|line| ear.line(line, heard));
    }

    fn report(&self) -> &Report {
        &self.ear.report
    }
}

/// A plain answer, whole; `None` if it is none.
pub fn heard(body: &[u8]) -> Option<Reply> {
    let answer: Chunk<'_> = serde_json::from_slice(body.trim_ascii()).ok()?;
    answer.choices.as_ref()?;
    let mut reply = Reply::default();
    let mut ear = Ear::default();
    ear.chunk(answer, &mut |event| reply.hear(event));
    Some(reply)
}

#[derive(Debug, Default)]
struct Ear {
    report: Report,
    /// What is known of each choice's calls.
    choices: Vec<Calls>,
    begun: bool,
}

#[derive(Debug, Default)]
struct Calls(Vec<Known>);

/// A call as far as it is known.
#[derive(Debug, Default)]
struct Known {
    /// As the host counts it.
    index: u64,
    host_id: String,
    /// It has been told, so that its arguments can follow.
    told: bool,
    /// Arguments that came before the name.
    early: String,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow)]
    choices: Option<Vec<ChunkChoice<'a>>>,
    usage: Option<RawUsage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    index: Option<u32>,
    /// `message` in a plain answer.
    #[serde(borrow, alias = "message")]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Text<'a>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(borrow, default)]
    reasoning_content: Text<'a>,
    #[serde(borrow, default)]
    reasoning: Text<'a>,
    #[serde(borrow)]
    reasoning_details: Option<Vec<Detail<'a>>>,
    #[serde(borrow, default)]
    refusal: Text<'a>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolDelta<'a>>>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
}

#[derive(Deserialize)]
struct ToolDelta<'a> {
    index: Option<u64>,
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow)]
    function: Option<FunctionDelta<'a>>,
}

#[derive(Deserialize)]
struct FunctionDelta<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    arguments: Text<'a>,
}

/// A string, borrowed where it has no escapes. What is no string (null, parts, an object) is none.
#[derive(Debug, Default)]
struct Text<'a>(Option<Cow<'a, str>>);

impl Text<'_> {
    /// Unless it is empty, which says nothing.
    fn said(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(text))))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
                Ok(Text(None))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Text<'de>, A::Error> {
                // Arguments as an object instead of a string: written as one.
                let value =
                    serde_json::Value::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Text(Some(Cow::Owned(value.to_string()))))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Text<'de>, A::Error> {
                let mut joined = String::new();
                while let Some(part) = parts.next_element::<serde_json::Value>()? {
                    joined.push_str(
                        part.get("text")
                            .and_then(|text| text.as_str())
                            .unwrap_or(""),
                    );
                }
                Ok(Text(Some(Cow::Owned(joined))))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl Ear {
    fn line(&mut self, line: Line<'_>, heard: &mut dyn FnMut(Event<'_>)) {
        let data = match line {
            Line::Comment => return heard(Event::Alive),
            Line::Data(b"[DONE]") => {
                self.report.done = true;
                return;
            }
            Line::Data(data) => data,
        };
        if self.report.error.is_some() || data.is_empty() {
            return;
        }
        self.report.events += 1;
        // What is no JSON object is no event of this wire.
        if let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) {
            self.chunk(chunk, heard);
        }
    }

    fn chunk(&mut self, chunk: Chunk<'_>, heard: &mut dyn FnMut(Event<'_>)) {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            self.report.error = Some(error_text(&error));
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            let id = chunk.id.said();
            self.report.host_request = id.map(|id| id.chars().take(128).collect());
            heard(Event::Begin { id });
        }
        for (choice, position) in chunk.choices.iter().flatten().zip(0_u32..) {
            self.choice(choice, choice.index.unwrap_or(position), heard);
        }
        if let Some(usage) = chunk.usage {
            match usage.normalise() {
                Ok(usage) => {
                    self.report.usage = Some(usage);
                    heard(Event::Usage(usage));
                }
                Err(_) => self.report.nonsense = true,
            }
        }
    }

    fn choice(&mut self, choice: &ChunkChoice<'_>, number: u32, heard: &mut dyn FnMut(Event<'_>)) {
        if let Some(delta) = &choice.delta {
            let details = delta
                .reasoning_details
                .iter()
                .flatten()
                .find_map(|detail| detail.text.said());
            // Hosts that say it twice say the same.
            let reasoning = delta
                .reasoning_content
                .said()
                .or(delta.reasoning.said())
                .or(details);
            if let Some(text) = reasoning {
                self.report.reasoning_bytes += text.len() as u64;
                heard(Event::Reasoning {
                    choice: number,
                    text,
                });
            }
            for text in [delta.content.said(), delta.refusal.said()]
                .into_iter()
                .flatten()
            {
                self.report.visible_bytes += text.len() as u64;
                heard(Event::Text {
                    choice: number,
                    text,
                });
            }
            for (call, position) in delta.tool_calls.iter().flatten().zip(0_u64..) {
                self.call(number, call, position, heard);
            }
        }
        if let Some(json) = choice.logprobs.filter(|json| json.get() != "null") {
            heard(Event::Logprobs {
                choice: number,
                json: json.get(),
            });
        }
        if let Some(word) = choice.finish_reason.said() {
            let reason = match finish(word) {
                // Some hosts end calls with `stop`.
                Finish::Stop if self.has_called(number) => Finish::ToolCalls,
                reason => reason,
            };
            self.report.finish = Some(reason);
            if reason != Finish::HostGaveUp {
                self.tell_nameless(number, heard);
                heard(Event::Finish {
                    choice: number,
                    reason,
                });
            }
        }
    }

    fn calls(&mut self, choice: u32) -> Option<&mut Calls> {
        let at = usize::try_from(choice).ok().filter(|at| *at < 64)?;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Calls::default);
        }
        self.choices.get_mut(at)
    }

    fn has_called(&mut self, choice: u32) -> bool {
        self.calls(choice).is_some_and(|calls| !calls.0.is_empty())
    }

    fn call(
        &mut self,
        choice: u32,
        delta: &ToolDelta<'_>,
        position: u64,
        heard: &mut dyn FnMut(Event<'_>),
    ) {
        let Some(calls) = self.calls(choice) else {
            return;
        };
        let Some(at) = calls.place(delta, position) else {
            return;
        };
        let function = delta.function.as_ref();
        let name = function.and_then(|function| function.name.said());
        let arguments = function
            .and_then(|function| function.arguments.said())
            .unwrap_or("");
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        if !calls.0[at].told {
            let Some(name) = name else {
                calls.0[at].early.push_str(arguments);
                return;
            };
            let minted;
            let id = match delta
                .id
                .said()
                .or(Some(calls.0[at].host_id.as_str()).filter(|id| !id.is_empty()))
            {
                Some(id) if !calls.has_id(id, at) => id,
                // Missing, or the same as another's: results could not be told apart.
                _ => {
                    minted = format!("call_{}", Uuid::now_v7().simple());
                    &minted
                }
            };
            heard(Event::Call {
                choice,
                index,
                id,
                name,
            });
            let id = id.to_owned();
            let known = &mut calls.0[at];
            known.told = true;
            known.host_id = id;
            let early = std::mem::take(&mut known.early);
            if !early.is_empty() {
                heard(Event::Arguments {
                    choice,
                    index,
                    piece: &early,
                });
            }
        }
        if !arguments.is_empty() {
            heard(Event::Arguments {
                choice,
                index,
                piece: arguments,
            });
        }
        self.report.visible_bytes += arguments.len() as u64;
    }

    /// Calls that never got a name: told all the same, so that nothing is lost silently.
    fn tell_nameless(&mut self, choice: u32, heard: &mut dyn FnMut(Event<'_>)) {
        let Some(calls) = self.calls(choice) else {
            return;
        };
        for (known, index) in calls.0.iter_mut().zip(0_u32..) {
            if !std::mem::replace(&mut known.told, true) {
                let id = format!("call_{}", Uuid::now_v7().simple());
                heard(Event::Call {
                    choice,
                    index,
                    id: &id,
                    name: "",
                });
                heard(Event::Arguments {
                    choice,
                    index,
                    piece: &known.early,
                });
            }
        }
    }
}

impl Calls {
    /// Which call a delta belongs to: by the host's index, or else by its id, or else the last one.
    fn place(&mut self, delta: &ToolDelta<'_>, position: u64) -> Option<usize> {
        let found = match (delta.index, delta.id.said()) {
            (Some(index), _) => self.0.iter().position(|known| known.index == index),
            (None, Some(id)) => self.0.iter().position(|known| known.host_id == id),
            (None, None) => {
                let named = delta
                    .function
                    .as_ref()
                    .is_some_and(|function| function.name.said().is_some());
                if named {
                    None
                } else {
                    self.0.len().checked_sub(1)
                }
            }
        };
        if found.is_some() {
            return found;
        }
        if self.0.len() >= MOST_CALLS {
            return None;
        }
        let next = self.0.len() as u64;
        self.0.push(Known {
            index: delta.index.unwrap_or(next.max(position)),
            host_id: delta.id.said().unwrap_or("").to_owned(),
            ..Known::default()
        });
        Some(self.0.len() - 1)
    }

    fn has_id(&self, id: &str, but: usize) -> bool {
        self.0
            .iter()
            .enumerate()
            .any(|(at, known)| at != but && known.told && known.host_id == id)
    }
}

#[cfg(test)]
mod tests;
