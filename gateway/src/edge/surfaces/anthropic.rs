//! Anthropic's Messages as callers speak them: which fields matter to routing, and how an error looks.
//! `conversation` reads a request completely, `talk` tells a stream, `whole` a plain answer.
//! Source: the official clients' types (anthropic-python 2.x, `message_create_params`).

mod conversation;
mod talk;
mod whole;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::chat::scan::{self, Member};
use crate::chat::{
    Code, Dialect, Effort, Frames, Needs, Original, Refusal, Request, Spans, Tokens,
};

pub use conversation::conversation;
pub use talk::Talk;
pub use whole::whole;

/// No model of this family writes more; beyond it a number is absurd rather than generous.
const MAX_OUTPUT: u64 = 1 << 24;
/// Fields read as values are small; a schema is the largest of them.
const FIELD_BYTES: usize = 1 << 20;
/// A budget of thinking from here on is meant as the most that a model can do: clients give 1,024 to
/// 31,999 for what they call thinking, and more only for what they call the most of it.
const MAX_EFFORT_BUDGET: u64 = 32_000;

/// Reads the fields that routing needs.
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn read(frames: Frames) -> Result<Request, Refusal> {
    let request = read_any(frames)?;
    if request.max_output.is_none() {
        return Err(Refusal::invalid("max_tokens", "max_tokens: Field required"));
    }
    Ok(request)
}

/// Reads a request whose tokens are to be counted: it needs no `max_tokens`.
///
/// # Errors
/// As [`read`].
pub fn read_to_count(frames: Frames) -> Result<Request, Refusal> {
    read_any(frames)
}

fn read_any(frames: Frames) -> Result<Request, Refusal> {
    let object = scan::object(&frames)
        .map_err(|malformed| Refusal::new(Code::InvalidRequest, malformed.to_string()))?;
    let mut reader = Reader {
        frames: &frames,
        needs: Needs::default(),
        model: None,
        stream: false,
        max_output: None,
        effort: Effort::Unsaid,
        messages: false,
        prompt_bytes: 0,
    };
    for (index, member) in object.members.iter().enumerate() {
        if object.members[..index]
            .iter()
            .any(|other| other.key == member.key)
        {
            return Err(Refusal::invalid(
                &member.key,
                format!("`{}` is given twice; give it once", member.key),
            ));
        }
        reader.field(member)?;
    }
    let Some(model) = reader.model else {
        return Err(Refusal::invalid("model", "model: Field required"));
    };
    if !reader.messages {
        return Err(Refusal::invalid("messages", "messages: Field required"));
    }
    Ok(Request {
        model,
        stream: reader.stream,
        usage_wanted: true,
        max_output: reader.max_output,
        choices: 1,
        needs: Needs {
            images: object.seen.image_block,
            ..reader.needs
        },
        effort: reader.effort,
        follows: None,
        keep: false,
        original: Original {
            dialect: Dialect::Anthropic,
            spans: Spans {
                prompt_bytes: reader.prompt_bytes,
                members: object.members,
                ..Spans::default()
            },
            frames: frames.clone(),
        },
    })
}

struct Reader<'a> {
    frames: &'a Frames,
    needs: Needs,
    model: Option<String>,
    stream: bool,
    max_output: Option<Tokens>,
    effort: Effort,
    messages: bool,
    prompt_bytes: usize,
}

impl Reader<'_> {
    fn field(&mut self, member: &Member) -> Result<(), Refusal> {
        let key = member.key.as_str();
        match key {
            "model" => {
                let name: String = self.value(member, "a string")?;
                if name.is_empty() || name.len() > 200 {
                    return Err(wrong(key, "the name of a model"));
                }
                self.model = Some(name);
            }
            "messages" => {
                if self.first_byte(member) != Some(b'[') || self.is_empty_array(member) {
                    return Err(wrong(key, "an array of at least one message"));
                }
                self.messages = true;
                self.prompt_bytes += member.value.len();
            }
            "system" => self.prompt_bytes += member.value.len(),
            "tools" => {
                self.needs.tools = match self.first_byte(member) {
                    Some(b'[') => !self.is_empty_array(member),
                    Some(b'n') => false,
                    _ => return Err(wrong(key, "an array of tools")),
                };
                self.prompt_bytes += member.value.len();
            }
            "tool_choice" => {
                let choice: Option<Kind> = self.value(member, "an object with a `type`")?;
                self.needs.forced_tools =
                    choice.is_some_and(|choice| matches!(choice.r#type.as_str(), "any" | "tool"));
            }
            "stream" => {
                let stream: Option<bool> = self.value(member, "true or false")?;
                self.stream = stream.unwrap_or(false);
            }
            "max_tokens" => {
                let bound: u64 = self.value(member, "a whole number of tokens, at least 1")?;
                if !(1..=MAX_OUTPUT).contains(&bound) {
                    return Err(wrong(
                        key,
                        "a whole number of tokens that a model can write, at least 1",
                    ));
                }
                self.max_output = Some(Tokens::new(bound));
            }
            "thinking" => {
                #[derive(Deserialize)]
                struct Thinking {
                    r#type: String,
                    budget_tokens: Option<u64>,
                }
                let thinking: Option<Thinking> = self.value(member, "an object with a `type`")?;
                match thinking.as_ref().map(|thinking| thinking.r#type.as_str()) {
                    Some("disabled") => self.effort = Effort::Off,
                    // `output_config.effort` says more where it is given.
                    Some(_) if self.effort == Effort::Unsaid => {
                        let budget = thinking.and_then(|thinking| thinking.budget_tokens);
                        self.effort = if budget.is_some_and(|budget| budget >= MAX_EFFORT_BUDGET) {
                            Effort::Max
                        } else {
                            Effort::High
                        };
                    }
                    _ => {}
                }
            }
            "output_config" => {
                #[derive(Deserialize)]
                struct Config {
                    effort: Option<String>,
                    format: Option<Kind>,
                }
                let config: Option<Config> = self.value(member, "an object")?;
                let Some(config) = config else { return Ok(()) };
                if let Some(word) = config.effort
                    && self.effort != Effort::Off
                {
                    self.effort = super::openai_chat::effort(&word);
                }
                self.needs.json_schema |= config
                    .format
                    .is_some_and(|format| format.r#type == "json_schema");
            }
            "output_format" => {
                let format: Option<Kind> = self.value(member, "an object with a `type`")?;
                self.needs.json_schema |=
                    format.is_some_and(|format| format.r#type == "json_schema");
            }
            _ => {}
        }
        Ok(())
    }

    fn first_byte(&self, member: &Member) -> Option<u8> {
        let start = member.value.start;
        self.frames.slice(start..start + 1).first().copied()
    }

    fn is_empty_array(&self, member: &Member) -> bool {
        member.value.len() < 64
            && self
                .frames
                .slice(member.value.clone())
                .iter()
                .all(|byte| matches!(byte, b'[' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
    }

    fn value<T: DeserializeOwned>(&self, member: &Member, what: &str) -> Result<T, Refusal> {
        if member.value.len() > FIELD_BYTES {
            return Err(Refusal::invalid(
                &member.key,
                format!("`{}` is larger than 1 MiB", member.key),
            ));
        }
        serde_json::from_slice(&self.frames.slice(member.value.clone()))
            .map_err(|_| wrong(&member.key, what))
    }
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

fn wrong(field: &str, what: &str) -> Refusal {
    Refusal::invalid(field, format!("`{field}` must be {what}"))
}

/// A refusal as Anthropic's clients expect it: `{"type":"error","error":{"type","message"}}`, with
/// the stable code and the backends considered beside them. A host's own words stay as they were:
/// clients that mend their requests go by them.
pub fn error_body(refusal: &Refusal) -> Bytes {
    let kind = match refusal.code {
        Code::InvalidRequest | Code::Conflict => "invalid_request_error",
        Code::InvalidKey => "authentication_error",
        Code::BudgetExceeded => "billing_error",
        Code::NoCertifiedBackend | Code::NotAllowed => "permission_error",
        Code::NotFound => "not_found_error",
        Code::TooLarge => "request_too_large",
        Code::RateLimited => "rate_limit_error",
        Code::HostFailed => "api_error",
        Code::Overloaded | Code::NoBackend => "overloaded_error",
        Code::TimedOut => "timeout_error",
    };
    let mut error = json!({
        "type": kind,
        "message": refusal.message,
        "code": refusal.code.as_str(),
    });
    if let Some(field) = &refusal.field {
        error["param"] = Value::from(field.as_str());
    }
    if !refusal.backends.is_empty() {
        error["backends"] = json!(refusal.backends);
    }
    Bytes::from(json!({"type": "error", "error": error}).to_string())
}

/// Anthropic's clients wait and try again on 529 as they do on 503.
pub fn error_status(code: Code) -> u16 {
    match code {
        Code::Overloaded | Code::NoBackend => 529,
        other => other.status(),
    }
}

/// The event that ends a stream which cannot be completed.
pub fn stream_error(refusal: &Refusal) -> Bytes {
    let mut event = b"event: error\ndata: ".to_vec();
    event.extend_from_slice(&error_body(refusal));
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}

/// The answer of `count_tokens`.
pub fn count_body(tokens: Tokens) -> Bytes {
    Bytes::from(json!({"input_tokens": tokens}).to_string())
}

#[cfg(test)]
mod tests;
