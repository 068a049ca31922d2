//! OpenAI chat completions as callers speak them: which fields matter to routing, and how an error
//! looks. Everything else in the body is the host's business and passes through.
//! Source: the official clients' types (openai-python 2.x `chat.completion_create_params`).

pub(super) mod conversation;
mod talk;
mod whole;
pub(super) mod words;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

pub use conversation::conversation;
pub use talk::Talk;
pub use whole::whole;

use super::fields::{
    MAX_CHOICES, MAX_OUTPUT, first_byte, first_member, is_empty_array, model, no_model, scanned,
    value, wrong,
};
use crate::chat::scan::Member;
use crate::chat::{
    Code, Dialect, Effort, Frames, MaxField, Needs, Original, Refusal, Request, Spans, Tokens,
};

/// Reads the fields that routing needs.
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn read(frames: Frames) -> Result<Request, Refusal> {
    let object = scanned(&frames)?;
    let mut reader = Reader {
        frames: &frames,
        needs: Needs::default(),
        model: None,
        stream: false,
        usage_wanted: false,
        max_output: None,
        choices: 1,
        effort: Effort::Unsaid,
        messages: false,
        spans: Spans::default(),
    };
    reader.spans.first_member = first_member(&frames);
    for member in &object.members {
        reader.field(member)?;
    }
    let Some(model) = reader.model else {
        return Err(no_model());
    };
    if !reader.messages {
        return Err(Refusal::invalid(
            "messages",
            "`messages` is missing; send at least one message",
        ));
    }
    reader.spans.members = object.members;
    reader.spans.seen = object.seen;
    Ok(Request {
        model,
        stream: reader.stream,
        usage_wanted: reader.usage_wanted,
        max_output: reader.max_output,
        choices: reader.choices,
        needs: reader.needs,
        effort: reader.effort,
        follows: None,
        keep: false,
        original: Original {
            dialect: Dialect::OpenaiChat,
            spans: reader.spans,
            frames: frames.clone(),
        },
    })
}

struct Reader<'a> {
    frames: &'a Frames,
    needs: Needs,
    model: Option<String>,
    stream: bool,
    usage_wanted: bool,
    max_output: Option<Tokens>,
    choices: u32,
    effort: Effort,
    messages: bool,
    spans: Spans,
}

impl Reader<'_> {
    fn field(&mut self, member: &Member) -> Result<(), Refusal> {
        let key = member.key.as_str();
        match key {
            "messages" => {
                if first_byte(self.frames, member) != Some(b'[') {
                    return Err(wrong(key, "an array of messages"));
                }
                if is_empty_array(self.frames, member) {
                    return Err(Refusal::invalid(
                        key,
                        "`messages` is empty; send at least one message",
                    ));
                }
                self.messages = true;
                self.needs.images = member.has_image;
                self.spans.prompt_bytes += member.value.len();
            }
            "model" => {
                self.model = Some(model(self.frames, member)?);
                self.spans.model = member.value.clone();
            }
            "stream" => {
                let stream: Option<bool> = value(self.frames, member, "true or false")?;
                self.stream = stream.unwrap_or(false);
            }
            "stream_options" => {
                #[derive(Deserialize)]
                struct StreamOptions {
                    include_usage: Option<bool>,
                }
                let options: Option<StreamOptions> = value(self.frames, member, "an object")?;
                self.usage_wanted = options.and_then(|options| options.include_usage) == Some(true);
                self.spans.stream_options = Some(member.value.clone());
            }
            "max_tokens" | "max_completion_tokens" => self.bound_output(member)?,
            "n" => {
                let count: Option<u64> = value(self.frames, member, "a whole number")?;
                let count = count.unwrap_or(1);
                if !(1..=MAX_CHOICES).contains(&count) {
                    return Err(wrong(key, "a whole number from 1 to 16"));
                }
                self.choices = u32::try_from(count).unwrap_or(1);
            }
            "tools" => {
                self.needs.tools = match first_byte(self.frames, member) {
                    Some(b'[') => !is_empty_array(self.frames, member),
                    Some(b'n') => false,
                    _ => return Err(wrong(key, "an array of tools")),
                };
                self.spans.prompt_bytes += member.value.len();
            }
            "tool_choice" => {
                let choice: Option<Value> = value(self.frames, member, "a string or an object")?;
                self.needs.forced_tools = match choice {
                    None => false,
                    Some(Value::String(word)) => word == "required",
                    Some(Value::Object(_)) => true,
                    Some(_) => return Err(wrong(key, "auto, none, required or a tool")),
                };
            }
            "response_format" => {
                #[derive(Deserialize)]
                struct Format {
                    r#type: String,
                }
                let format: Option<Format> = value(self.frames, member, "an object with a `type`")?;
                match format.as_ref().map(|format| format.r#type.as_str()) {
                    Some("json_object") => self.needs.json_object = true,
                    Some("json_schema") => self.needs.json_schema = true,
                    _ => {}
                }
                self.spans.prompt_bytes += member.value.len();
            }
            "logprobs" => {
                let asked: Option<Value> = value(self.frames, member, "true or false")?;
                self.needs.logprobs = !matches!(asked, None | Some(Value::Bool(false)));
            }
            "thinking" => {
                #[derive(Deserialize)]
                struct Thinking {
                    r#type: Option<String>,
                }
                let thinking: Option<Thinking> =
                    value(self.frames, member, "an object with a `type`")?;
                match thinking.and_then(|thinking| thinking.r#type).as_deref() {
                    Some("disabled") => self.think(Effort::Off),
                    Some("enabled" | "adaptive") => self.think(Effort::High),
                    _ => {}
                }
            }
            "reasoning_effort" => {
                let effort: Option<Value> = value(self.frames, member, "a word such as high")?;
                self.think_so_much(effort.as_ref());
            }
            "enable_thinking" => {
                let on: Option<Value> = value(self.frames, member, "true or false")?;
                self.switch(on.as_ref());
            }
            "reasoning" => {
                let reasoning: Option<Value> = value(self.frames, member, "an object")?;
                if let Some(Value::Object(reasoning)) = reasoning {
                    self.switch(reasoning.get("enabled"));
                    self.think_so_much(reasoning.get("effort"));
                }
            }
            "chat_template_kwargs" => {
                let kwargs: Option<Value> = value(self.frames, member, "an object")?;
                if let Some(Value::Object(kwargs)) = kwargs {
                    self.switch(kwargs.get("thinking"));
                    self.switch(kwargs.get("enable_thinking"));
                    self.think_so_much(kwargs.get("reasoning_effort"));
                }
            }
            "temperature" | "top_p" | "presence_penalty" | "frequency_penalty" => {
                let _: Option<f64> = value(self.frames, member, "a number")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Of several fields that speak of thinking, in any order: off stands, then the most.
    fn think(&mut self, effort: Effort) {
        let rank = |effort| match effort {
            Effort::Unsaid => 0,
            Effort::High => 1,
            Effort::Max => 2,
            Effort::Off => 3,
        };
        if rank(effort) > rank(self.effort) {
            self.effort = effort;
        }
    }

    fn switch(&mut self, on: Option<&Value>) {
        match on {
            Some(Value::Bool(true)) => self.think(Effort::High),
            Some(Value::Bool(false)) => self.think(Effort::Off),
            _ => {}
        }
    }

    fn think_so_much(&mut self, effort: Option<&Value>) {
        match effort {
            Some(Value::String(word)) => self.think(self::effort(word)),
            other => self.switch(other),
        }
    }

    fn bound_output(&mut self, member: &Member) -> Result<(), Refusal> {
        let bound: Option<u64> =
            value(self.frames, member, "a whole number of tokens, at least 1")?;
        let Some(bound) = bound else { return Ok(()) };
        if !(1..=MAX_OUTPUT).contains(&bound) {
            return Err(wrong(
                &member.key,
                "a whole number of tokens that a model can write, at least 1",
            ));
        }
        if self.max_output.is_some() {
            return Err(Refusal::invalid(
                &member.key,
                "`max_tokens` and `max_completion_tokens` are both given; give one",
            ));
        }
        let field = if member.key == "max_tokens" {
            MaxField::MaxTokens
        } else {
            MaxField::MaxCompletionTokens
        };
        self.max_output = Some(Tokens::new(bound));
        self.spans.max_output = Some((field, member.value.clone()));
        Ok(())
    }
}

/// The words of all dialects, as DeepSeek maps them: low and medium are high to it.
pub fn effort(word: &str) -> Effort {
    match word {
        "none" | "off" => Effort::Off,
        "max" | "ultra" => Effort::Max,
        _ => Effort::High,
    }
}

/// A refusal as OpenAI clients expect it: `{"error": {"message", "type", "param", "code"}}`, with
/// the backends considered beside them.
pub fn error_body(refusal: &Refusal) -> Bytes {
    let kind = match refusal.code {
        Code::InvalidRequest | Code::TooLarge | Code::NotFound | Code::Conflict => {
            "invalid_request_error"
        }
        Code::InvalidKey => "authentication_error",
        Code::NoCertifiedBackend | Code::NotAllowed => "permission_error",
        Code::BudgetExceeded => "insufficient_quota",
        Code::RateLimited => "rate_limit_error",
        Code::HostFailed | Code::Overloaded | Code::NoBackend | Code::TimedOut => "server_error",
    };
    let mut error = json!({
        "message": refusal.message,
        "type": kind,
        "param": refusal.field,
        "code": refusal.code.as_str(),
    });
    if !refusal.backends.is_empty() {
        error["backends"] = json!(refusal.backends);
    }
    if let Some(wait) = refusal.retry_after {
        error["retry_after_seconds"] = json!(seconds(wait));
    }
    Bytes::from(json!({ "error": error }).to_string())
}

/// The status of a refusal: the contract's own, which OpenAI's clients understand as theirs.
pub fn error_status(code: Code) -> u16 {
    code.status()
}

/// The event that ends a stream which cannot be completed: clients raise on an `error` in it, and
/// no `[DONE]` follows.
pub fn stream_error(refusal: &Refusal) -> Bytes {
    let mut event = b"data: ".to_vec();
    event.extend_from_slice(&error_body(refusal));
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}

/// Whole seconds, rounded up, as `Retry-After` wants them.
pub fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod passing;
#[cfg(test)]
mod telling_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Request, Refusal> {
        read(Frames::from(Bytes::from(text.to_owned())))
    }

    #[test]
    fn the_fields_that_routing_needs_are_found() {
        let request = read_text(
            r#"{"model":"deepseek-v4-pro","messages":[{"role":"user","content":"hi"}],
                "stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":50,
                "n":2,"tools":[{"type":"function"}],"tool_choice":"required",
                "response_format":{"type":"json_schema"},"reasoning_effort":"max","x_unknown":{"a":1}}"#,
        )
        .expect("a request");
        assert_eq!(request.model, "deepseek-v4-pro");
        assert!(request.stream && request.usage_wanted);
        assert_eq!(request.max_output, Some(Tokens::new(50)));
        assert_eq!(request.choices, 2);
        assert!(request.needs.tools && request.needs.forced_tools && request.needs.json_schema);
        assert_eq!(request.effort, Effort::Max);
    }

    #[test]
    fn null_means_absent() {
        let request = read_text(
            r#"{"model":"m","messages":[{}],"stream":null,"stream_options":null,"max_tokens":null,
                "n":null,"tools":null,"tool_choice":null,"response_format":null,"temperature":null}"#,
        )
        .expect("a request");
        assert!(!request.stream && !request.needs.tools);
        assert_eq!(request.max_output, None);
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (text, field) in [
            (r#"{"messages":[{}]}"#, "model"),
            (r#"{"model":5,"messages":[{}]}"#, "model"),
            (r#"{"model":"m"}"#, "messages"),
            (r#"{"model":"m","messages":[ ]}"#, "messages"),
            (r#"{"model":"m","messages":"hi"}"#, "messages"),
            (r#"{"model":"m","messages":[{}],"stream":"yes"}"#, "stream"),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":-1}"#,
                "max_tokens",
            ),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":9223372036854775808}"#,
                "max_tokens",
            ),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":1e308}"#,
                "max_tokens",
            ),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":0}"#,
                "max_tokens",
            ),
            (r#"{"model":"m","messages":[{}],"n":1000}"#, "n"),
            (
                r#"{"model":"m","messages":[{}],"temperature":"hot"}"#,
                "temperature",
            ),
            (r#"{"model":"m","messages":[{}],"tools":{}}"#, "tools"),
            (r#"{"model":"m","model":"n","messages":[{}]}"#, "model"),
            (r#"{"model":"m","mod\u0065l":"n","messages":[{}]}"#, "model"),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":1,"max_completion_tokens":2}"#,
                "max_completion_tokens",
            ),
        ] {
            let refusal = read_text(text).expect_err(text);
            assert_eq!(refusal.code, Code::InvalidRequest, "{text}");
            assert_eq!(
                refusal.field.as_deref(),
                Some(field),
                "{text}: {}",
                refusal.message
            );
        }
    }

    #[test]
    fn an_error_has_the_envelope_that_clients_parse() {
        let refusal = Refusal::invalid("model", "no such model");
        let body: Value = serde_json::from_slice(&error_body(&refusal)).expect("JSON");
        assert_eq!(body["error"]["code"], "invalid_request");
        assert_eq!(body["error"]["param"], "model");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }
}
