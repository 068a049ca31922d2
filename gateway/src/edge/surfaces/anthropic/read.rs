//! The light reading: what routing needs of a Messages body, found by a scan over its frames.
//! What the other fields hold is looked at only where the request must be translated.

use std::ops::Range;

use serde::Deserialize;

use super::super::fields::{
    MAX_OUTPUT, first_byte, first_member, is_empty_array, model, no_model, scanned, value, wrong,
};
use super::pictures;
use crate::chat::scan::Member;
use crate::chat::{
    Dialect, Effort, Frames, MaxField, Needs, Original, Refusal, Request, Spans, Tokens,
};

/// A thinking budget above this asks for all the thinking there is. 32 K is what clients of this
/// dialect call their largest everyday budget (Claude Code's highest keyword asks for 31,999).
const HIGH_BUDGET: u64 = 32_768;

/// Reads the fields that routing needs.
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn read(frames: Frames) -> Result<Request, Refusal> {
    let request = count_tokens_read(frames)?;
    if request.max_output.is_none() {
        return Err(Refusal::invalid(
            "max_tokens",
            "`max_tokens` is missing; this dialect requires it: say how many tokens the answer may have",
        ));
    }
    Ok(request)
}

/// Reads a body whose tokens are to be counted: the same, but nothing is to be written, so that
/// `max_tokens` may be absent.
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn count_tokens_read(frames: Frames) -> Result<Request, Refusal> {
    let object = scanned(&frames)?;
    let mut reader = Reader::new(&frames);
    for member in &object.members {
        reader.field(member)?;
    }
    let Some(messages) = reader.messages.clone() else {
        return Err(Refusal::invalid(
            "messages",
            "`messages` is missing; send at least one message",
        ));
    };
    let needs = Needs {
        images: pictures::any(&frames, messages),
        ..reader.needs
    };
    let effort = reader.effort();
    let Some(model) = reader.model else {
        return Err(no_model());
    };
    Ok(Request {
        model,
        stream: reader.stream,
        // Each answer of this dialect says what it used.
        usage_wanted: true,
        max_output: reader.max_output,
        choices: 1,
        needs,
        effort,
        follows: None,
        keep: false,
        original: Original {
            dialect: Dialect::Anthropic,
            spans: reader.spans,
            frames: frames.clone(),
        },
    })
}

/// A conversation that the service is to hold (Anthropic's beta of message threads, which the
/// official clients' tool runners try first). Its refusal tells them to go on without.
pub(super) const THREAD: &str = "thread";

struct Reader<'a> {
    frames: &'a Frames,
    needs: Needs,
    model: Option<String>,
    stream: bool,
    max_output: Option<Tokens>,
    thinking: Option<Thinking>,
    /// `output_config.effort`.
    effort: Option<String>,
    messages: Option<Range<usize>>,
    spans: Spans,
}

#[derive(Deserialize)]
struct Thinking {
    r#type: String,
    budget_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
struct OutputConfig {
    effort: Option<String>,
    format: Option<Typed>,
}

impl<'a> Reader<'a> {
    fn new(frames: &'a Frames) -> Self {
        Reader {
            frames,
            needs: Needs::default(),
            model: None,
            stream: false,
            max_output: None,
            thinking: None,
            effort: None,
            messages: None,
            spans: Spans {
                first_member: first_member(frames),
                ..Spans::default()
            },
        }
    }

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
                self.messages = Some(member.value.clone());
                self.spans.prompt_bytes += member.value.len();
            }
            "system" => self.spans.prompt_bytes += member.value.len(),
            "model" => {
                self.model = Some(model(self.frames, member)?);
                self.spans.model = member.value.clone();
            }
            "stream" => {
                let stream: Option<bool> = value(self.frames, member, "true or false")?;
                self.stream = stream.unwrap_or(false);
            }
            "max_tokens" => {
                let what = "a whole number of tokens that a model can write, at least 1";
                let bound: Option<u64> = value(self.frames, member, what)?;
                if let Some(bound) = bound {
                    if !(1..=MAX_OUTPUT).contains(&bound) {
                        return Err(wrong(key, what));
                    }
                    self.max_output = Some(Tokens::new(bound));
                    self.spans.max_output = Some((MaxField::MaxTokens, member.value.clone()));
                }
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
                let choice: Option<Typed> = value(self.frames, member, "an object with a `type`")?;
                self.needs.forced_tools =
                    choice.is_some_and(|choice| matches!(choice.r#type.as_str(), "any" | "tool"));
            }
            THREAD if first_byte(self.frames, member) != Some(b'n') => {
                return Err(Refusal::invalid(
                    THREAD,
                    "`thread`: conversations are not held here between requests; leave it out and send all messages",
                ));
            }
            "thinking" => {
                self.thinking = value(self.frames, member, "an object with a `type`")?;
            }
            "output_config" => {
                let what = "an object with an `effort` or a `format`";
                let config: Option<OutputConfig> = value(self.frames, member, what)?;
                if let Some(config) = config {
                    self.effort = config.effort;
                    self.format(config.format.as_ref());
                }
            }
            // The same before it was moved into `output_config`.
            "output_format" => {
                let format: Option<Typed> = value(self.frames, member, "an object with a `type`")?;
                self.format(format.as_ref());
            }
            "temperature" | "top_p" => {
                let _: Option<f64> = value(self.frames, member, "a number")?;
            }
            "stop_sequences" => {
                let _: Option<Vec<String>> = value(self.frames, member, "an array of strings")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn format(&mut self, format: Option<&Typed>) {
        if format.is_some_and(|format| format.r#type == "json_schema") {
            self.needs.json_schema = true;
        }
    }

    /// How much thinking is asked for: `thinking: disabled` forbids it; otherwise the effort's word
    /// counts, then the budget, then that thinking was asked for at all. The dialect's low, medium,
    /// high and xhigh are this family's high, as DeepSeek's own endpoint of this dialect has it.
    fn effort(&self) -> Effort {
        let thinking = self.thinking.as_ref();
        if thinking.is_some_and(|thinking| thinking.r#type == "disabled") {
            return Effort::Off;
        }
        match (self.effort.as_deref(), thinking) {
            (Some("max"), _) => Effort::Max,
            (Some(_), _) => Effort::High,
            (None, Some(thinking))
                if thinking
                    .budget_tokens
                    .is_some_and(|budget| budget > HIGH_BUDGET) =>
            {
                Effort::Max
            }
            (None, Some(_)) => Effort::High,
            (None, None) => Effort::Unsaid,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::chat::Code;

    fn read_value(value: &Value) -> Result<Request, Refusal> {
        read(Frames::from(Bytes::from(value.to_string())))
    }

    fn with(key: &str, value: Value) -> Value {
        let mut body = json!({"model": "m", "max_tokens": 10,
            "messages": [{"role": "user", "content": "hi"}]});
        body[key] = value;
        body
    }

    #[test]
    fn the_fields_that_routing_needs_are_found() {
        let text = r#" {"model":"deepseek-v4-pro","max_tokens":50,"stream":true,
            "system":"be kind","messages":[{"role":"user","content":"hi"}],
            "tools":[{"name":"t","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},
            "output_config":{"effort":"max","format":{"type":"json_schema","schema":{}}},
            "metadata":{"user_id":"u"},"context_management":{"edits":[]}}"#;
        let request = read(Frames::from(Bytes::from(text))).expect("a request");
        assert_eq!(request.model, "deepseek-v4-pro");
        assert!(request.stream && request.usage_wanted);
        assert_eq!(request.max_output, Some(Tokens::new(50)));
        assert_eq!(request.choices, 1);
        assert_eq!(
            request.needs,
            Needs {
                tools: true,
                forced_tools: true,
                json_schema: true,
                ..Needs::default()
            }
        );
        assert_eq!(request.effort, Effort::Max);
        assert_eq!(request.original.dialect, Dialect::Anthropic);
        let spans = &request.original.spans;
        assert_eq!(&text[spans.model.clone()], "\"deepseek-v4-pro\"");
        assert_eq!(spans.first_member, 2);
        let of = |part: &str| part.len();
        assert_eq!(
            spans.prompt_bytes,
            of("\"be kind\"")
                + of(r#"[{"role":"user","content":"hi"}]"#)
                + of(r#"[{"name":"t","input_schema":{"type":"object"}}]"#)
        );
    }

    #[test]
    fn thinking_is_off_high_or_max_by_a_stated_rule() {
        let effort = |fields: Value| {
            let mut body = with("stream", json!(false));
            for (key, value) in fields.as_object().expect("fields") {
                body[key] = value.clone();
            }
            read_value(&body).expect("a request").effort
        };
        for (fields, expected) in [
            (json!({}), Effort::Unsaid),
            (json!({"thinking": null}), Effort::Unsaid),
            (json!({"thinking": {"type": "disabled"}}), Effort::Off),
            (
                json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}),
                Effort::Off,
            ),
            (json!({"thinking": {"type": "adaptive"}}), Effort::High),
            (json!({"thinking": {"type": "between_tools"}}), Effort::High),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
                Effort::High,
            ),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 31_999}}),
                Effort::High,
            ),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 32_769}}),
                Effort::Max,
            ),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 64_000},
                "output_config": {"effort": "low"}}),
                Effort::High,
            ),
            (json!({"output_config": {"effort": "medium"}}), Effort::High),
            (json!({"output_config": {"effort": "xhigh"}}), Effort::High),
            (json!({"output_config": {"effort": "max"}}), Effort::Max),
            (
                json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
                Effort::Max,
            ),
        ] {
            assert_eq!(effort(fields.clone()), expected, "{fields}");
        }
    }

    #[test]
    fn null_means_absent() {
        let mut body = with("stream", Value::Null);
        for key in [
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
            "output_format",
            "temperature",
            "stop_sequences",
        ] {
            body[key] = Value::Null;
        }
        let request = read_value(&body).expect("a request");
        assert!(!request.stream);
        assert_eq!(request.needs, Needs::default());
    }

    #[test]
    fn the_schema_is_noticed_under_its_older_name_too() {
        let body = with(
            "output_format",
            json!({"type": "json_schema", "schema": {}}),
        );
        assert!(read_value(&body).expect("a request").needs.json_schema);
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (body, field) in [
            (json!({"max_tokens": 1, "messages": [{}]}), "model"),
            (json!({"model": "m", "max_tokens": 1}), "messages"),
            (json!({"model": "m", "messages": [{}]}), "max_tokens"),
            (with("max_tokens", Value::Null), "max_tokens"),
            (with("max_tokens", json!(0)), "max_tokens"),
            (with("max_tokens", json!(1.5)), "max_tokens"),
            (with("model", json!(5)), "model"),
            (with("model", json!("")), "model"),
            (with("messages", json!([])), "messages"),
            (with("messages", json!("hi")), "messages"),
            (with("stream", json!("yes")), "stream"),
            (with("tools", json!({})), "tools"),
            (with("tool_choice", json!("auto")), "tool_choice"),
            (with("thinking", json!(true)), "thinking"),
            (with("output_config", json!("high")), "output_config"),
            (with("temperature", json!("hot")), "temperature"),
            (with("stop_sequences", json!("END")), "stop_sequences"),
        ] {
            let refusal = read_value(&body).expect_err(field);
            assert_eq!(refusal.code, Code::InvalidRequest);
            assert_eq!(
                refusal.field.as_deref(),
                Some(field),
                "{body}: {}",
                refusal.message
            );
        }
        let twice = r#"{"model":"m","mod\u0065l":"n","max_tokens":1,"messages":[{}]}"#;
        let refusal = read(Frames::from(Bytes::from(twice))).expect_err("twice");
        assert_eq!(refusal.field.as_deref(), Some("model"));
    }

    #[test]
    fn tokens_can_be_counted_without_a_bound_on_the_output() {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let frames = Frames::from(Bytes::from(body.to_string()));
        let request = count_tokens_read(frames).expect("a request");
        assert_eq!(request.max_output, None);
    }
}
