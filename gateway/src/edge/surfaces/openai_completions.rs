//! OpenAI's text completions as callers speak them: a bare prompt is continued, or the gap before a
//! `suffix` filled, as editors ask for it. Only hosts with an address for completions can do that:
//! elsewhere a prompt would become a message and get an answer instead of its continuation, so
//! routing rejects them by name. What passes there is edited by the wire
//! (`backend/wires/openai/completions`). Errors look as in chat.
//! Source: openai-python 2.x `completion_create_params`, DeepSeek's "Create FIM Completion".

mod conversation;
mod talk;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use smallvec::smallvec;

pub use super::openai_chat::{error_body, error_status, stream_error};
pub use conversation::conversation;
pub use talk::{Talk, whole};

use super::fields::{
    MAX_CHOICES, MAX_OUTPUT, first_byte, first_member, model, no_model, scanned, wrong,
};
use super::openai_chat::conversation::{json, stop};
use crate::chat::scan::Member;
use crate::chat::{
    Dialect, Edit, Effort, Frames, MaxField, Needs, Original, Refusal, Request, Spans, Tokens,
};

/// DeepSeek's limit on alternatives beside each token; OpenAI's own is 5.
const MOST_ALTERNATIVES: u64 = 20;

/// Reads the fields that routing needs. A prompt in an array of one becomes that prompt, which is
/// the only form that every host takes.
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn read(frames: Frames) -> Result<Request, Refusal> {
    let object = scanned(&frames)?;
    if let Some(prompt) = object.members.iter().find(|member| member.key == "prompt")
        && first_byte(&frames, prompt) == Some(b'[')
    {
        return read(only_prompt(&frames, prompt.value.clone())?);
    }
    let mut reader = Reader {
        request: Request {
            model: String::new(),
            stream: false,
            usage_wanted: false,
            max_output: None,
            choices: 1,
            needs: Needs {
                completions: true,
                ..Needs::default()
            },
            // Nobody thinks before completing a bare prompt.
            effort: Effort::Off,
            follows: None,
            keep: false,
            original: Original {
                dialect: Dialect::OpenaiCompletions,
                spans: Spans {
                    first_member: first_member(&frames),
                    ..Spans::default()
                },
                frames: frames.clone(),
            },
        },
        best_of: None,
    };
    let mut prompt = false;
    for member in &object.members {
        prompt |= member.key == "prompt";
        reader.field(member, &frames)?;
    }
    let Reader {
        mut request,
        best_of,
    } = reader;
    request.original.spans.members = object.members;
    if request.model.is_empty() {
        return Err(no_model());
    }
    if !prompt {
        return Err(Refusal::invalid(
            "prompt",
            "`prompt` is missing; send the text to be continued",
        ));
    }
    if best_of.is_some_and(|best_of| best_of != u64::from(request.choices)) {
        return Err(Refusal::invalid(
            "best_of",
            "`best_of` must be `n`: answers that are thrown away cost as much as the others, so \
             none are asked for; leave it out",
        ));
    }
    Ok(request)
}

struct Reader {
    request: Request,
    best_of: Option<u64>,
}

impl Reader {
    fn field(&mut self, member: &Member, frames: &Frames) -> Result<(), Refusal> {
        let (key, range) = (member.key.as_str(), member.value.clone());
        let request = &mut self.request;
        let spans = &mut request.original.spans;
        if matches!(key, "prompt" | "suffix") {
            // Long texts stay unread: their quotes tell what they are.
            spans.prompt_bytes += range.len();
            return match (key, first_byte(frames, member)) {
                ("suffix", Some(b'"')) => {
                    request.needs.fim |= range.len() > 2;
                    Ok(())
                }
                ("suffix", Some(b'n')) | ("prompt", Some(b'"')) => Ok(()),
                _ => Err(wrong(key, "a string")),
            };
        }
        let value = frames.slice(range.clone());
        let value = value.as_ref();
        match key {
            "model" => {
                request.model = model(frames, member)?;
                spans.model = range;
            }
            "stream" => {
                let stream: Option<bool> = json(key, value, "true or false")?;
                request.stream = stream.unwrap_or(false);
            }
            "stream_options" => {
                #[derive(Deserialize)]
                struct StreamOptions {
                    include_usage: Option<bool>,
                }
                let options: Option<StreamOptions> = json(key, value, "an object")?;
                request.usage_wanted =
                    options.and_then(|options| options.include_usage) == Some(true);
                spans.stream_options = Some(range);
            }
            "max_tokens" => {
                let what = "a whole number of tokens that a model can write, at least 1";
                let bound: Option<u64> = json(key, value, what)?;
                if bound.is_some_and(|bound| !(1..=MAX_OUTPUT).contains(&bound)) {
                    return Err(wrong(key, what));
                }
                request.max_output = bound.map(Tokens::new);
                spans.max_output = Some((MaxField::MaxTokens, range));
            }
            "n" => {
                let what = "a whole number from 1 to 16";
                let count: Option<u64> = json(key, value, what)?;
                let count = count.unwrap_or(1);
                request.choices = u32::try_from(count)
                    .ok()
                    .filter(|_| (1..=MAX_CHOICES).contains(&count))
                    .ok_or_else(|| wrong(key, what))?;
            }
            "best_of" => self.best_of = json(key, value, "a whole number")?,
            "logprobs" => {
                let what = "a whole number from 0 to 20";
                let count: Option<u64> = json(key, value, what)?;
                if count.is_some_and(|count| count > MOST_ALTERNATIVES) {
                    return Err(wrong(key, what));
                }
            }
            "echo" => {
                let _: Option<bool> = json(key, value, "true or false")?;
            }
            "stop" => {
                stop(value)?;
            }
            "temperature" | "top_p" | "presence_penalty" | "frequency_penalty" => {
                let _: Option<f64> = json(key, value, "a number")?;
            }
            "messages" => {
                return Err(Refusal::invalid(
                    key,
                    "`messages` is a conversation; send it to /v1/chat/completions",
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The body with its array of one prompt replaced by the prompt.
fn only_prompt(frames: &Frames, range: Range<usize>) -> Result<Frames, Refusal> {
    let bytes = frames.slice(range.clone());
    let prompts: Vec<Value> = json("prompt", &bytes, "a string")?;
    match prompts.as_slice() {
        [prompt @ Value::String(_)] => Ok(frames.edited(smallvec![Edit {
            range,
            with: Bytes::from(prompt.to_string()),
        }])),
        [Value::Number(_) | Value::Array(_), ..] => Err(Refusal::invalid(
            "prompt",
            "`prompt` is given as token ids, which mean something else at every host; send text",
        )),
        [] => Err(wrong("prompt", "a string")),
        _ => Err(Refusal::invalid(
            "prompt",
            "`prompt` holds several prompts; send one a request",
        )),
    }
}
