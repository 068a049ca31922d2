//! A Converse request, checked by the rules of its model and of the service, and rewritten as the
//! chat request that asks the same.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::asked::Asked;
use super::super::errors::Failure;
use super::super::profile::EmulatedHost;
use super::Target;

pub(in super::super) fn read(target: &Target, body: &[u8], strict: bool) -> Result<Asked, Failure> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The request body is not valid JSON: {error}")))?;
    let chat = as_chat(target, &body)?;
    Asked::of(EmulatedHost::Bedrock, &chat, strict)
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(400, message)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn as_chat(target: &Target, body: &Value) -> Result<Value, Failure> {
    check(body)?;
    let mut messages = Vec::new();
    for block in list(&body["system"]) {
        if let Some(text) = block["text"].as_str() {
            messages.push(json!({"role": "system", "content": text}));
        }
    }
    for message in list(&body["messages"]) {
        if message["role"] == "assistant" {
            messages.push(assistant(message));
        } else {
            user(message, &mut messages);
        }
    }
    let mut chat = json!({"model": target.model, "stream": target.stream, "messages": messages});
    let config = &body["inferenceConfig"];
    for (theirs, ours) in [
        ("maxTokens", "max_tokens"),
        ("temperature", "temperature"),
        ("topP", "top_p"),
        ("stopSequences", "stop"),
    ] {
        if !config[theirs].is_null() {
            chat[ours] = config[theirs].clone();
        }
    }
    tools(&body["toolConfig"], &mut chat)?;
    let format = &body["outputConfig"]["textFormat"];
    if format["type"] == "json_schema" {
        let schema = format["structure"]["jsonSchema"]["schema"].as_str();
        let schema: Value = schema
            .and_then(|schema| serde_json::from_str(schema).ok())
            .ok_or_else(|| invalid("The JSON schema of outputConfig must be a string of JSON."))?;
        chat["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
    }
    for (name, value) in body["additionalModelRequestFields"]
        .as_object()
        .into_iter()
        .flatten()
    {
        if chat.get(name).is_none() {
            chat[name] = value.clone();
        }
    }
    Ok(chat)
}

fn assistant(message: &Value) -> Value {
    let mut text = String::new();
    let mut reasoning = String::new();
    let mut calls = Vec::new();
    for block in list(&message["content"]) {
        text.push_str(block["text"].as_str().unwrap_or(""));
        let thought = &block["reasoningContent"]["reasoningText"]["text"];
        reasoning.push_str(thought.as_str().unwrap_or(""));
        if let Some(call) = block.get("toolUse") {
            calls.push(json!({
                "id": call["toolUseId"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["input"].to_string()},
            }));
        }
    }
    let mut said = json!({"role": "assistant", "content": text});
    if !reasoning.is_empty() {
        said["reasoning_content"] = json!(reasoning);
    }
    if !calls.is_empty() {
        said["tool_calls"] = json!(calls);
    }
    said
}

fn user(message: &Value, messages: &mut Vec<Value>) {
    let mut parts = Vec::new();
    for block in list(&message["content"]) {
        if let Some(result) = block.get("toolResult") {
            let text: Vec<String> = list(&result["content"]).iter().map(result_text).collect();
            messages.push(json!({
                "role": "tool",
                "tool_call_id": result["toolUseId"],
                "content": text.join("\n"),
            }));
        } else if let Some(text) = block["text"].as_str() {
            parts.push(json!({"type": "text", "text": text}));
        } else {
            parts.push(json!({"type": "image_url"}));
        }
    }
    if !parts.is_empty() {
        messages.push(json!({"role": "user", "content": parts}));
    }
}

fn result_text(block: &Value) -> String {
    match (block["text"].as_str(), block.get("json")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(json)) => json.to_string(),
        (None, None) => String::new(),
    }
}

fn tools(config: &Value, chat: &mut Value) -> Result<(), Failure> {
    if config.is_null() {
        return Ok(());
    }
    let tools: Vec<Value> = list(&config["tools"])
        .iter()
        .filter_map(|tool| tool.get("toolSpec"))
        .map(|tool| {
            json!({"type": "function", "function": {
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool["inputSchema"]["json"],
            }})
        })
        .collect();
    if tools.is_empty() {
        return Err(invalid(
            "toolConfig.tools must have length greater than or equal to 1.",
        ));
    }
    for tool in &tools {
        check_name(&tool["function"]["name"])?;
    }
    chat["tools"] = json!(tools);
    let choice = &config["toolChoice"];
    if !choice["any"].is_null() {
        chat["tool_choice"] = json!("required");
    } else if !choice["tool"].is_null() {
        let name = &choice["tool"]["name"];
        chat["tool_choice"] = json!({"type": "function", "function": {"name": name}});
    }
    Ok(())
}

fn check(body: &Value) -> Result<(), Failure> {
    let messages = list(&body["messages"]);
    if messages.is_empty() {
        return Err(invalid("The messages of the conversation are missing."));
    }
    let mut role = "assistant";
    let mut awaited: BTreeSet<&str> = BTreeSet::new();
    let mut tools_used = false;
    for (at, message) in messages.iter().enumerate() {
        let next = match message["role"].as_str() {
            Some("user") => "user",
            Some("assistant") => "assistant",
            _ => {
                return Err(invalid(format!(
                    "messages.{at}.role must be user or assistant."
                )));
            }
        };
        if at == 0 && next != "user" {
            return Err(invalid("A conversation must start with a user message."));
        }
        if next == role {
            return Err(invalid(
                "A conversation must alternate between user and assistant roles.",
            ));
        }
        role = next;
        let content = list(&message["content"]);
        if content.is_empty() {
            return Err(invalid(format!(
                "The content field in the Message object at messages.{at} is empty."
            )));
        }
        let mut calls = BTreeSet::new();
        let mut results = BTreeSet::new();
        for block in content {
            check_block(block, at, role)?;
            calls.extend(block["toolUse"]["toolUseId"].as_str());
            results.extend(block["toolResult"]["toolUseId"].as_str());
        }
        if role == "user" && results != awaited {
            return Err(invalid(format!(
                "The toolResult blocks at messages.{at}.content do not answer exactly the toolUse blocks of the previous turn."
            )));
        }
        tools_used |= !calls.is_empty() || !results.is_empty();
        awaited = calls;
    }
    if tools_used && body["toolConfig"].is_null() {
        return Err(invalid(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        ));
    }
    check_numbers(&body["inferenceConfig"])
}

/// A union has exactly one member; no text is blank; calls are the assistant's, results the user's.
fn check_block(block: &Value, at: usize, role: &str) -> Result<(), Failure> {
    let members: Vec<&String> = block
        .as_object()
        .map(|block| block.keys().collect())
        .unwrap_or_default();
    let [member] = members.as_slice() else {
        return Err(invalid(format!(
            "A content block at messages.{at} must set exactly one member."
        )));
    };
    match (member.as_str(), role) {
        ("text", _) => {
            let text = block["text"].as_str().unwrap_or("");
            if text.trim().is_empty() {
                return Err(invalid(format!(
                    "The text field in the ContentBlock object at messages.{at} is blank."
                )));
            }
        }
        ("image", "user") => {
            let image = &block["image"];
            if !image["format"].is_string() || !image["source"]["bytes"].is_string() {
                return Err(invalid(format!(
                    "The image at messages.{at} needs format and source.bytes."
                )));
            }
        }
        ("toolUse", "assistant") => {
            check_name(&block["toolUse"]["toolUseId"])?;
            check_name(&block["toolUse"]["name"])?;
            if !block["toolUse"]["input"].is_object() {
                return Err(invalid(format!(
                    "The input of the toolUse at messages.{at} must be an object."
                )));
            }
        }
        ("toolResult", "user") => {
            check_name(&block["toolResult"]["toolUseId"])?;
            let blank = |part: &Value| {
                part["text"]
                    .as_str()
                    .is_some_and(|text| text.trim().is_empty())
            };
            if list(&block["toolResult"]["content"]).iter().any(blank) {
                return Err(invalid(format!(
                    "The text of a toolResult at messages.{at} is blank."
                )));
            }
        }
        ("reasoningContent", "assistant") | ("cachePoint", _) => {}
        (other, role) => {
            return Err(invalid(format!(
                "A {role} message cannot hold {other} (messages.{at})."
            )));
        }
    }
    Ok(())
}

fn check_name(name: &Value) -> Result<(), Failure> {
    let text = name.as_str().unwrap_or("");
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    Err(invalid(format!(
        "Value '{text}' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+ with at most 64 letters."
    )))
}

fn check_numbers(config: &Value) -> Result<(), Failure> {
    for field in ["temperature", "topP"] {
        let number = &config[field];
        if !number.is_null()
            && !number
                .as_f64()
                .is_some_and(|number| (0.0..=1.0).contains(&number))
        {
            return Err(invalid(format!(
                "inferenceConfig.{field} must be a number from 0 to 1."
            )));
        }
    }
    let most = &config["maxTokens"];
    if most.is_null() || most.as_u64().is_some_and(|most| most > 0) {
        return Ok(());
    }
    Err(invalid(
        "inferenceConfig.maxTokens must have value greater than or equal to 1.",
    ))
}
