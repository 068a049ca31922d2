//! OpenAI Responses as callers speak them: requests read for routing ([`read`]) and completely
//! ([`conversation_with`]), answers told as events ([`Talk`]) and whole ([`whole`]), and the
//! record of an answer that is kept ([`stored`]).
//! Source: the official clients' types (openai-python 3.57 `types.responses`, openai-node's
//! `ResponseAccumulator`) and Codex 0.169's requests, 2026-11-24.
//!
//! What this dialect has and we have not: background work, conversations as objects, prompt
//! templates, compaction and moderation are refused by name. Tools that OpenAI runs itself are
//! left out of what the model gets and named in the answer's metadata ([`LEFT_OUT`]), since
//! agents offer them by default; only a `tool_choice` that demands one is refused.

mod body;
mod content;
mod custom;
mod input;
mod items;
mod logprobs;
mod response;
mod stored;
mod talk;
mod telling;
mod tools;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fields::{
    FIELD_BYTES, MAX_OUTPUT, first_byte, is_empty_array, no_model, scanned, value_of, wrong,
};
use crate::chat::scan::Member;
use crate::chat::{
    Code, Dialect, Effort, Frames, Needs, Original, Refusal, Request, Spans, Tokens,
};

pub use super::openai_chat::error_body;
pub use input::{conversation, conversation_with};
pub use response::{LEFT_OUT, response_id};
pub use stored::{Listing, Stored, cancelled, deleted, input_items, retrieved, stored, unknown};
pub use talk::{Seal, Talk, whole};

/// The least that OpenAI allows is 16; hosts here take any.
const MIN_OUTPUT: u64 = 1;
/// Tools are read as values here; more of them than this is no request.
const TOOLS_BYTES: usize = 4 << 20;
/// What OpenAI allows.
const MOST_LOGPROBS: u64 = 20;

/// The HTTP status of a refusal.
pub fn error_status(code: Code) -> u16 {
    code.status()
}

/// The event that ends a stream of which nothing has been told.
pub fn stream_error(refusal: &Refusal) -> Bytes {
    let event = serde_json::json!({
        "type": "error",
        "sequence_number": 0,
        "code": refusal.code.as_str(),
        "message": refusal.message,
        "param": refusal.field,
    });
    Bytes::from(format!("event: error\ndata: {event}\n\n"))
}

/// Reads the fields that routing needs; the input itself is only measured.
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn read(frames: Frames) -> Result<Request, Refusal> {
    let object = scanned(&frames)?;
    let mut reader = Reader {
        frames: &frames,
        request: Request {
            model: String::new(),
            stream: false,
            usage_wanted: true,
            max_output: None,
            choices: 1,
            needs: Needs::default(),
            effort: Effort::Unsaid,
            follows: None,
            keep: true,
            original: Original {
                dialect: Dialect::OpenaiResponses,
                spans: Spans::default(),
                frames: Frames::default(),
            },
        },
        input: Input::Missing,
    };
    for member in &object.members {
        reader.field(member)?;
    }
    let Reader {
        mut request, input, ..
    } = reader;
    if request.model.is_empty() {
        return Err(no_model());
    }
    if request.follows.is_none() {
        match input {
            Input::Given => {}
            Input::Empty => {
                return Err(Refusal::invalid(
                    "input",
                    "`input` is empty; send at least one item",
                ));
            }
            Input::Missing => {
                return Err(Refusal::invalid(
                    "input",
                    "`input` is missing; send a text or a list of items",
                ));
            }
        }
    }
    request.original.frames = frames.clone();
    Ok(request)
}

enum Input {
    Missing,
    Empty,
    Given,
}

struct Reader<'a> {
    frames: &'a Frames,
    request: Request,
    input: Input,
}

#[derive(Deserialize)]
struct Typed {
    r#type: Option<String>,
}

impl Reader<'_> {
    fn field(&mut self, member: &Member) -> Result<(), Refusal> {
        let key = member.key.as_str();
        let given = first_byte(self.frames, member) != Some(b'n');
        match key {
            "model" => self.model(member)?,
            "input" => self.measure_input(member)?,
            "instructions" => self.request.original.spans.prompt_bytes += member.value.len(),
            "stream" => self.request.stream = self.or_default(member, "true or false")?,
            "store" => self.request.keep = self.value(member, "true or false")?.unwrap_or(true),
            "previous_response_id" => {
                self.request.follows = self.value(member, "the id of a response")?;
            }
            "max_output_tokens" => {
                let what = "a whole number of tokens that a model can write, at least 1";
                let bound: Option<u64> = self.value(member, what)?;
                if bound.is_some_and(|bound| !(MIN_OUTPUT..=MAX_OUTPUT).contains(&bound)) {
                    return Err(wrong(key, what));
                }
                self.request.max_output = bound.map(Tokens::new);
            }
            "tools" => {
                if !matches!(first_byte(self.frames, member), Some(b'[' | b'n')) {
                    return Err(wrong(key, "an array of tools"));
                }
                let tools: Vec<Typed> = self.or_default(member, "an array of tools")?;
                self.request.needs.tools = tools.iter().any(|tool| {
                    let kind = tool.r#type.as_deref().unwrap_or("function");
                    !tools::is_hosted(kind)
                });
                self.request.original.spans.prompt_bytes += member.value.len();
            }
            "tool_choice" => {
                let choice: Option<Value> = self.value(member, "a word or an object")?;
                self.request.needs.forced_tools = match &choice {
                    None => false,
                    Some(Value::String(word)) => word == "required",
                    Some(Value::Object(choice)) => {
                        choice.get("type").and_then(Value::as_str) != Some("allowed_tools")
                            || choice.get("mode").and_then(Value::as_str) == Some("required")
                    }
                    Some(_) => return Err(wrong(key, "auto, none, required or a tool")),
                };
            }
            "text" => self.format(member)?,
            "reasoning" => self.effort(member)?,
            "include" => {
                let asked: Vec<String> = self.or_default(member, "an array of words")?;
                self.request.needs.logprobs |=
                    asked.iter().any(|word| word == body::INCLUDE_LOGPROBS);
            }
            "top_logprobs" => {
                let most: Option<u64> = self.value(member, "a whole number from 0 to 20")?;
                if most.is_some_and(|most| most > MOST_LOGPROBS) {
                    return Err(wrong(key, "a whole number from 0 to 20"));
                }
                self.request.needs.logprobs |= most.is_some_and(|most| most > 0);
            }
            "temperature" | "top_p" => {
                let _: Option<f64> = self.value(member, "a number")?;
            }
            "parallel_tool_calls" => {
                let _: Option<bool> = self.value(member, "true or false")?;
            }
            "background" if self.or_default(member, "true or false")? => {
                return Err(Refusal::invalid(
                    key,
                    "`background` work is not offered; send the request without it and wait for the answer, or use /v1/batches",
                ));
            }
            "conversation" if given => {
                return Err(Refusal::invalid(
                    key,
                    "`conversation` objects are not kept here; go on from an answer by `previous_response_id`, or send the items",
                ));
            }
            "prompt" if given => {
                return Err(Refusal::invalid(
                    key,
                    "`prompt` names a template that is not kept here; send its text as `instructions` and `input`",
                ));
            }
            "context_management" if given && !is_empty_array(self.frames, member) => {
                return Err(Refusal::invalid(
                    key,
                    "`context_management` is not offered; shorten the `input` before sending it",
                ));
            }
            "moderation" if given => {
                return Err(Refusal::invalid(
                    key,
                    "`moderation` is not offered; leave it out",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn model(&mut self, member: &Member) -> Result<(), Refusal> {
        let name: Option<String> = self.value(member, "a string")?;
        let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= 200) else {
            return Err(wrong("model", "the name of a model"));
        };
        self.request.model = name;
        self.request.original.spans.model = member.value.clone();
        Ok(())
    }

    fn measure_input(&mut self, member: &Member) -> Result<(), Refusal> {
        self.input = match first_byte(self.frames, member) {
            Some(b'[') if is_empty_array(self.frames, member) => Input::Empty,
            Some(b'[') => Input::Given,
            Some(b'"') if member.value.len() == 2 => Input::Empty,
            Some(b'"') => Input::Given,
            Some(b'n') => Input::Missing,
            _ => return Err(wrong("input", "a text or an array of items")),
        };
        self.request.needs.images |= member.has_image;
        self.request.original.spans.prompt_bytes += member.value.len();
        Ok(())
    }

    fn format(&mut self, member: &Member) -> Result<(), Refusal> {
        #[derive(Deserialize)]
        struct Text {
            format: Option<Typed>,
        }
        let text: Option<Text> = self.value(member, "an object with a `format`")?;
        let format = text.and_then(|text| text.format);
        match format.and_then(|format| format.r#type).as_deref() {
            None | Some("text") => {}
            Some("json_object") => self.request.needs.json_object = true,
            Some("json_schema") => self.request.needs.json_schema = true,
            Some(_) => return Err(wrong("text.format", "text, json_object or json_schema")),
        }
        self.request.original.spans.prompt_bytes += member.value.len();
        Ok(())
    }

    /// Hosts of this family know thinking off, on and at its most.
    fn effort(&mut self, member: &Member) -> Result<(), Refusal> {
        #[derive(Deserialize)]
        struct Reasoning {
            effort: Option<String>,
        }
        let reasoning: Option<Reasoning> = self.value(member, "an object with an `effort`")?;
        let effort = reasoning.and_then(|reasoning| reasoning.effort);
        self.request.effort = match effort.as_deref() {
            None => Effort::Unsaid,
            Some("none" | "off") => Effort::Off,
            Some("minimal" | "low" | "medium" | "high" | "xhigh") => Effort::High,
            Some("max" | "ultra") => Effort::Max,
            Some(_) => {
                return Err(wrong(
                    "reasoning.effort",
                    "none, minimal, low, medium, high, xhigh or max",
                ));
            }
        };
        Ok(())
    }

    /// The member's value; `None` where it is null.
    fn value<T: DeserializeOwned>(
        &self,
        member: &Member,
        what: &str,
    ) -> Result<Option<T>, Refusal> {
        let most = match member.key.as_str() {
            "tools" => TOOLS_BYTES,
            _ => FIELD_BYTES,
        };
        value_of(most, self.frames, member, what)
    }

    fn or_default<T: DeserializeOwned + Default>(
        &self,
        member: &Member,
        what: &str,
    ) -> Result<T, Refusal> {
        Ok(self.value(member, what)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
