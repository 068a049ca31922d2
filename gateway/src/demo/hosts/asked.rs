//! A chat request as the emulated hosts read it, each with its own refusals and its own switch for
//! thinking.

use serde_json::Value;

use super::errors::Failure;
use super::fault::Fault;
use super::profile::EmulatedHost;
use super::rules::{
    check_messages, check_sampling, check_strictly, isolation, read_format, thinks, tool_to_call,
};
use super::tokens::Prefixes;

/// What the answer must look like.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Format {
    Text,
    JsonObject,
    JsonSchema(Value),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    pub name: String,
    pub parameters: Value,
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// As the caller wrote it.
    pub model: String,
    pub stream: bool,
    pub include_usage: bool,
    pub max_tokens: Option<u64>,
    pub stop: Vec<String>,
    pub thinking: bool,
    /// The tool to call now, if one is to be called.
    pub call: Option<Tool>,
    pub format: Format,
    pub prompt: Prefixes,
    pub last_user_text: String,
    pub last_tool_result: Option<String>,
    /// The beginning of an answer that is to be gone on with: the last message is the assistant's.
    pub begun: Option<String>,
    /// Exact number of output tokens, from a last line `answer in N words`.
    pub wanted: Option<u64>,
    /// The field by which the host separates caches of one account.
    pub isolation: String,
    pub fault: Option<Fault>,
}

/// No answer is longer, whatever is asked.
const MOST_OUTPUT: u64 = 393_216;
/// Tokens of a context window, the same at all hosts.
const CONTEXT: usize = 1_048_576;

impl Asked {
    pub(super) fn read(host: EmulatedHost, body: &[u8], strict: bool) -> Result<Self, Failure> {
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            Failure::new(
                400,
                format!("Failed to parse the request body as JSON: {error}"),
            )
        })?;
        Asked::of(host, &body, strict)
    }

    /// The same of a body that has been parsed.
    pub(super) fn of(host: EmulatedHost, body: &Value, strict: bool) -> Result<Self, Failure> {
        let Some(model) = body["model"].as_str() else {
            return Err(Failure::of_field(
                400,
                "model",
                "The field `model` is missing.",
            ));
        };
        let Some(messages) = body["messages"]
            .as_array()
            .filter(|messages| !messages.is_empty())
        else {
            return Err(Failure::of_field(
                400,
                "messages",
                "The field `messages` is missing or empty.",
            ));
        };
        check_messages(messages)?;
        check_sampling(host, body)?;
        let thinking = thinks(host, model, body)?;
        let call = tool_to_call(host, body, messages, thinking)?;
        let format = read_format(host, body)?;
        if strict {
            check_strictly(host, model, body, messages, thinking)?;
        }
        let prompt = render(body, messages);
        if prompt.len() > CONTEXT {
            return Err(Failure::of_field(
                400,
                "messages",
                format!(
                    "This model's maximum context length is {CONTEXT} tokens; the messages have {}.",
                    prompt.len()
                ),
            ));
        }
        let last_user_text = messages
            .iter()
            .rev()
            .find(|message| message["role"] == "user")
            .map(|message| text_of(&message["content"]))
            .unwrap_or_default();
        let last_tool_result = messages
            .last()
            .filter(|message| message["role"] == "tool")
            .map(|message| text_of(&message["content"]));
        let begun = messages
            .last()
            .filter(|message| message["role"] == "assistant")
            .map(|message| text_of(&message["content"]))
            .filter(|text| !text.is_empty());
        Ok(Asked {
            begun,
            model: model.to_owned(),
            stream: body["stream"].as_bool().unwrap_or(false),
            include_usage: body["stream_options"]["include_usage"]
                .as_bool()
                .unwrap_or(false),
            max_tokens: read_max_tokens(body)?,
            stop: read_stop(body),
            thinking,
            call,
            format,
            prompt,
            wanted: wanted_words(&last_user_text),
            fault: asked_fault(&last_user_text),
            last_user_text,
            last_tool_result,
            isolation: isolation(host, body),
        })
    }
}

pub(super) fn read_max_tokens(body: &Value) -> Result<Option<u64>, Failure> {
    for field in ["max_completion_tokens", "max_tokens"] {
        if body[field].is_null() {
            continue;
        }
        return match body[field].as_u64() {
            Some(most) if most > 0 => Ok(Some(most)),
            _ => Err(Failure::of_field(
                422,
                field,
                format!("`{field}` must be a whole number above 0."),
            )),
        };
    }
    Ok(None)
}

pub(super) fn read_stop(body: &Value) -> Vec<String> {
    match &body["stop"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
    .into_iter()
    .filter(|stop| !stop.is_empty())
    .collect()
}

/// Text of a message's content: a string, or the text parts of an array; images count nothing.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// The prompt's tokens: the tools, then each message with one token for its role.
fn render(body: &Value, messages: &[Value]) -> Prefixes {
    let mut prompt = Prefixes::default();
    if let Some(tools) = body["tools"].as_array().filter(|tools| !tools.is_empty()) {
        prompt.push_role("tools");
        for tool in tools {
            prompt.push_text(&tool.to_string());
        }
    }
    for message in messages {
        prompt.push_role(message["role"].as_str().unwrap_or(""));
        prompt.push_text(&text_of(&message["content"]));
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            prompt.push_text(call["function"]["name"].as_str().unwrap_or(""));
            prompt.push_text(call["function"]["arguments"].as_str().unwrap_or(""));
        }
    }
    prompt
}

/// `answer in N words` as the last line of the last user message.
pub(super) fn wanted_words(text: &str) -> Option<u64> {
    let line = text.trim_end().rsplit('\n').next()?;
    let number = line
        .trim()
        .strip_prefix("answer in ")?
        .strip_suffix(" words")?;
    number
        .parse()
        .ok()
        .map(|wanted: u64| wanted.clamp(1, MOST_OUTPUT))
}

pub(super) fn asked_fault(text: &str) -> Option<Fault> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("x-emulate: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(host: EmulatedHost, body: &Value) -> Result<Asked, Failure> {
        Asked::read(host, body.to_string().as_bytes(), true)
    }

    fn with(fields: &Value) -> Value {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        for (name, value) in fields.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    }

    #[test]
    fn each_host_has_its_own_switch_for_thinking() {
        let thinks = |host, fields: &Value| read(host, &with(fields)).expect("readable").thinking;
        assert!(thinks(EmulatedHost::Deepseek, &json!({})));
        assert!(!thinks(
            EmulatedHost::Deepseek,
            &json!({"thinking": {"type": "disabled"}})
        ));
        assert!(!thinks(
            EmulatedHost::Fireworks,
            &json!({"reasoning_effort": "none"})
        ));
        assert!(!thinks(
            EmulatedHost::Together,
            &json!({"reasoning": {"enabled": false}})
        ));
        assert!(!thinks(
            EmulatedHost::Siliconflow,
            &json!({"enable_thinking": false})
        ));
        assert!(thinks(
            EmulatedHost::Siliconflow,
            &json!({"reasoning_effort": "high"})
        ));
    }

    #[test]
    fn the_documented_refusals_come() {
        let status = |host, fields: &Value| {
            read(host, &with(fields))
                .err()
                .map(|failure| failure.status)
        };
        let schema =
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}});
        assert_eq!(status(EmulatedHost::Deepseek, &schema), Some(400));
        assert_eq!(status(EmulatedHost::Together, &schema), None);
        assert_eq!(
            status(EmulatedHost::Deepseek, &json!({"temperature": 3})),
            Some(422)
        );
        assert_eq!(
            status(EmulatedHost::Together, &json!({"temperature": 3})),
            Some(400)
        );
        let both = json!({"thinking": {"type": "enabled"}, "reasoning_effort": "high"});
        assert_eq!(status(EmulatedHost::Fireworks, &both), Some(400));
        let forced = json!({
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "tool_choice": "required",
        });
        assert_eq!(status(EmulatedHost::Deepseek, &forced), Some(400));
        assert_eq!(status(EmulatedHost::Fireworks, &forced), None);
    }

    #[test]
    fn a_tool_is_called_on_a_users_turn_and_not_after_its_result() {
        let mut body = with(&json!({"tools": [{"type": "function", "function": {"name": "f"}}]}));
        assert!(
            read(EmulatedHost::Together, &body)
                .expect("readable")
                .call
                .is_some()
        );
        body["messages"] = json!([
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": null, "reasoning_content": "so",
             "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "done"},
        ]);
        let asked = read(EmulatedHost::Deepseek, &body).expect("readable");
        assert!(asked.call.is_none());
        assert_eq!(asked.last_tool_result.as_deref(), Some("done"));
        assert_eq!(
            read(EmulatedHost::Azure, &body)
                .expect_err("a refusal")
                .status,
            400
        );
        body["messages"][1]["reasoning_content"] = Value::Null;
        assert_eq!(
            read(EmulatedHost::Deepseek, &body)
                .expect_err("a refusal")
                .status,
            400
        );
        assert!(read(EmulatedHost::Together, &body).is_ok());
    }

    #[test]
    fn a_prompt_counts_its_words_and_one_token_a_message() {
        let asked = read(EmulatedHost::Novita, &with(&json!({
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "go\nanswer in 30 words"},
                                             {"type": "image_url", "image_url": {"url": "data:,"}}]},
            ],
        })))
        .expect("readable");
        assert_eq!(asked.prompt.len(), 1 + 2 + 1 + 5);
        assert_eq!(asked.wanted, Some(30));
    }
}
