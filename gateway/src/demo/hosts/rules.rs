//! What each emulated host makes of a request's fields: what it refuses, how it is told not to
//! think, which tool it calls.

use serde_json::Value;

use super::asked::{Format, Tool};
use super::errors::Failure;
use super::profile::EmulatedHost;

pub(super) fn check_messages(messages: &[Value]) -> Result<(), Failure> {
    for message in messages {
        let role = message["role"].as_str().unwrap_or("");
        if !matches!(role, "system" | "developer" | "user" | "assistant" | "tool") {
            return Err(Failure::of_field(
                400,
                "messages",
                format!("Unknown role `{role}`."),
            ));
        }
        if role == "tool" && !message["tool_call_id"].is_string() {
            return Err(Failure::of_field(
                400,
                "messages",
                "A tool message needs `tool_call_id`.",
            ));
        }
    }
    Ok(())
}

/// Out of range: 422 at DeepSeek, 400 elsewhere.
pub(super) fn check_sampling(host: EmulatedHost, body: &Value) -> Result<(), Failure> {
    let status = if host == EmulatedHost::Deepseek {
        422
    } else {
        400
    };
    for (field, low, high) in [("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)] {
        match &body[field] {
            Value::Null => {}
            value => match value.as_f64() {
                Some(number) if (low..=high).contains(&number) => {}
                _ => {
                    return Err(Failure::of_field(
                        status,
                        field,
                        format!("`{field}` must be a number from {low} to {high}."),
                    ));
                }
            },
        }
    }
    Ok(())
}

/// Thinking is on by default everywhere but under the old name that meant "without".
pub(super) fn thinks(host: EmulatedHost, model: &str, body: &Value) -> Result<bool, Failure> {
    let disabled = body["thinking"]["type"] == "disabled";
    let effort_none = body["reasoning_effort"] == "none" || body["reasoning_effort"] == false;
    let own_switch = match host {
        EmulatedHost::Fireworks => {
            if !body["thinking"].is_null() && !body["reasoning_effort"].is_null() {
                return Err(Failure::of_field(
                    400,
                    "thinking",
                    "`thinking` and `reasoning_effort` cannot be given together.",
                ));
            }
            effort_none
        }
        EmulatedHost::Together => {
            body["reasoning"]["enabled"] == false
                || body["chat_template_kwargs"]["thinking"] == false
        }
        EmulatedHost::Novita | EmulatedHost::Siliconflow => body["enable_thinking"] == false,
        EmulatedHost::Deepseek => model == "deepseek-chat",
        _ => effort_none || body["chat_template_kwargs"]["thinking"] == false,
    };
    Ok(!(disabled || own_switch))
}

pub(super) fn tool_to_call(
    host: EmulatedHost,
    body: &Value,
    messages: &[Value],
    thinking: bool,
) -> Result<Option<Tool>, Failure> {
    let mut tools = Vec::new();
    for tool in body["tools"].as_array().into_iter().flatten() {
        if tool["type"] != "function" {
            return Err(Failure::of_field(
                400,
                "tools",
                "Only tools of type `function` are supported.",
            ));
        }
        let Some(name) = tool["function"]["name"].as_str() else {
            return Err(Failure::of_field(
                400,
                "tools",
                "A tool needs `function.name`.",
            ));
        };
        tools.push(Tool {
            name: name.to_owned(),
            parameters: tool["function"]["parameters"].clone(),
        });
    }
    let choice = &body["tool_choice"];
    let named = choice["function"]["name"].as_str();
    let forced = named.is_some() || choice == "required" || choice == "any";
    if forced && thinking && host == EmulatedHost::Deepseek {
        return Err(Failure::of_field(
            400,
            "tool_choice",
            "Thinking mode does not support this tool_choice.",
        ));
    }
    if let Some(named) = named {
        let Some(tool) = tools.iter().find(|tool| tool.name == named) else {
            return Err(Failure::of_field(
                400,
                "tool_choice",
                format!("No tool is named `{named}`."),
            ));
        };
        return Ok(Some(tool.clone()));
    }
    let from_user = messages
        .last()
        .is_some_and(|message| message["role"] == "user");
    if choice == "none" || !(from_user || forced) {
        return Ok(None);
    }
    Ok(tools.into_iter().next())
}

pub(super) fn read_format(host: EmulatedHost, body: &Value) -> Result<Format, Failure> {
    let format = &body["response_format"];
    match format["type"].as_str() {
        None | Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::JsonObject),
        Some("json_schema") if host == EmulatedHost::Deepseek => Err(Failure::of_field(
            400,
            "response_format",
            "This response_format type is unavailable now",
        )),
        Some("json_schema") => {
            let schema = &format["json_schema"]["schema"];
            Ok(Format::JsonSchema(if schema.is_null() {
                format["schema"].clone()
            } else {
                schema.clone()
            }))
        }
        Some(other) => Err(Failure::of_field(
            400,
            "response_format",
            format!("Unknown response_format type `{other}`."),
        )),
    }
}

/// What hosts refuse of an otherwise good conversation: only where the emulator is strict.
pub(super) fn check_strictly(
    host: EmulatedHost,
    model: &str,
    body: &Value,
    messages: &[Value],
    thinking: bool,
) -> Result<(), Failure> {
    match host {
        EmulatedHost::Deepseek if thinking => check_reasoning(body, messages),
        EmulatedHost::Azure if !model.to_lowercase().starts_with("fw-") => {
            check_message_fields(messages)
        }
        EmulatedHost::Deepinfra => check_tool_results(messages),
        _ => Ok(()),
    }
}

/// With tools and thinking, DeepSeek wants the reasoning of earlier tool calls back.
fn check_reasoning(body: &Value, messages: &[Value]) -> Result<(), Failure> {
    if body["tools"].as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let has_calls = |message: &&Value| {
        message["tool_calls"]
            .as_array()
            .is_some_and(|calls| !calls.is_empty())
    };
    let reasons = |message: &Value| {
        message["reasoning_content"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    };
    if messages
        .iter()
        .filter(has_calls)
        .any(|message| !reasons(message))
    {
        return Err(Failure::of_field(
            400,
            "messages",
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
        ));
    }
    Ok(())
}

/// Azure's own deployments refuse fields of a message that OpenAI does not know.
fn check_message_fields(messages: &[Value]) -> Result<(), Failure> {
    const FOREIGN: [&str; 4] = [
        "reasoning_content",
        "reasoning",
        "thinking_blocks",
        "cache_control",
    ];
    for message in messages {
        if let Some(field) = FOREIGN.iter().find(|field| message.get(**field).is_some()) {
            return Err(Failure::of_field(
                400,
                "messages",
                format!("Extra inputs are not permitted: `{field}`."),
            ));
        }
    }
    Ok(())
}

/// DeepInfra takes the content of a tool message as a string only.
fn check_tool_results(messages: &[Value]) -> Result<(), Failure> {
    let wrong = |message: &Value| message["role"] == "tool" && !message["content"].is_string();
    if messages.iter().any(wrong) {
        return Err(Failure::of_field(
            422,
            "messages",
            "The content of a tool message must be a string.",
        ));
    }
    Ok(())
}

pub(super) fn isolation(host: EmulatedHost, body: &Value) -> String {
    let field = match host {
        EmulatedHost::Deepseek => "user_id",
        EmulatedHost::Fireworks => "prompt_cache_isolation_key",
        _ => return String::new(),
    };
    body[field].as_str().unwrap_or("").to_owned()
}
