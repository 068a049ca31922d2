//! Answers read by the rules of each dialect. An error is what a client would stumble over.

use serde_json::Value;

use super::{Called, Refused, Said};
use crate::Answer;

type Read = Result<Said, String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn refused(error: &Value) -> Refused {
    Refused {
        code: text(&error["code"]),
        kind: text(&error["type"]),
        message: text(&error["message"]),
    }
}

/// Tokens of input and output, by the names of either family.
fn usage(usage: &Value) -> Option<(u64, u64)> {
    let count = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
    let cached = ["cache_read_input_tokens", "cache_creation_input_tokens"];
    let cached: u64 = cached.iter().filter_map(|name| usage[*name].as_u64()).sum();
    Some((
        count(["prompt_tokens", "input_tokens"])? + cached,
        count(["completion_tokens", "output_tokens"])?,
    ))
}

fn one(list: &Value) -> Result<&Value, String> {
    match list.as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one),
        other => Err(format!("not one, but {other:?}")),
    }
}

pub(super) fn chat(body: &Value) -> Read {
    ensure(body["object"] == "chat.completion", || body.to_string())?;
    let choice = one(&body["choices"])?;
    let message = &choice["message"];
    ensure(message["role"] == "assistant", || body.to_string())?;
    let calls = message["tool_calls"].as_array().cloned();
    Ok(Said {
        id: text(&body["id"]),
        thinking: text(&message["reasoning_content"]),
        text: text(&message["content"]),
        calls: calls.unwrap_or_default().iter().map(call_of_chat).collect(),
        finish: text(&choice["finish_reason"]),
        usage: usage(&body["usage"]),
        error: None,
    })
}

fn call_of_chat(call: &Value) -> Called {
    Called {
        id: text(&call["id"]),
        name: text(&call["function"]["name"]),
        arguments: text(&call["function"]["arguments"]),
    }
}

pub(super) fn completion(body: &Value) -> Read {
    ensure(body["object"] == "text_completion", || body.to_string())?;
    let choice = one(&body["choices"])?;
    Ok(Said {
        id: text(&body["id"]),
        text: text(&choice["text"]),
        finish: text(&choice["finish_reason"]),
        usage: usage(&body["usage"]),
        ..Said::default()
    })
}

pub(super) fn message(body: &Value) -> Read {
    ensure(
        body["type"] == "message" && body["role"] == "assistant",
        || body.to_string(),
    )?;
    let mut said = Said {
        id: text(&body["id"]),
        finish: text(&body["stop_reason"]),
        usage: usage(&body["usage"]),
        ..Said::default()
    };
    for block in body["content"].as_array().ok_or("no content")? {
        match block["type"].as_str() {
            Some("thinking") => {
                ensure(block["signature"].is_string(), || "no signature".to_owned())?;
                said.thinking += &text(&block["thinking"]);
            }
            Some("text") => said.text += &text(&block["text"]),
            Some("tool_use") => said.calls.push(Called {
                id: text(&block["id"]),
                name: text(&block["name"]),
                arguments: block["input"].to_string(),
            }),
            other => return Err(format!("a block of type {other:?}")),
        }
    }
    Ok(said)
}

pub(super) fn response(body: &Value) -> Read {
    ensure(body["object"] == "response", || body.to_string())?;
    let mut said = Said {
        id: text(&body["id"]),
        finish: text(&body["status"]),
        usage: usage(&body["usage"]),
        error: (!body["error"].is_null()).then(|| refused(&body["error"])),
        ..Said::default()
    };
    for item in body["output"].as_array().ok_or("no output")? {
        let parts = item["content"].as_array().cloned().unwrap_or_default();
        let joined: String = parts.iter().map(|part| text(&part["text"])).collect();
        match item["type"].as_str() {
            Some("reasoning") => said.thinking += &joined,
            Some("message") => said.text += &joined,
            Some("function_call") => said.calls.push(Called {
                id: text(&item["call_id"]),
                name: text(&item["name"]),
                arguments: text(&item["arguments"]),
            }),
            other => return Err(format!("an item of type {other:?}")),
        }
    }
    Ok(said)
}

/// The events of a stream: their names, where they have one, and their data.
fn events(answer: &Answer) -> Result<Vec<(String, String)>, String> {
    let mut events = Vec::new();
    for block in answer.text.replace("\r\n", "\n").split("\n\n") {
        let (mut name, mut data) = (String::new(), None);
        for line in block
            .lines()
            .map(|line| line.trim_start_matches('\u{feff}'))
        {
            if let Some(said) = line.strip_prefix("event:") {
                said.trim().clone_into(&mut name);
            } else if let Some(said) = line.strip_prefix("data:") {
                ensure(data.is_none(), || format!("two lines of data: {block}"))?;
                data = Some(said.trim().to_owned());
            } else {
                ensure(line.starts_with(':'), || format!("a stray line: {line}"))?;
            }
        }
        if let Some(data) = data {
            events.push((name, data));
        }
    }
    Ok(events)
}

fn json(data: &str) -> Result<Value, String> {
    serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))
}

pub(super) fn chat_stream(answer: &Answer) -> Read {
    openai_stream(answer, "chat.completion.chunk")
}

pub(super) fn completion_stream(answer: &Answer) -> Read {
    openai_stream(answer, "text_completion")
}

/// One answer in chunks: one id, the role once and first, nothing said after the finish, `[DONE]`
/// once and last, or an error last and no `[DONE]`.
fn openai_stream(answer: &Answer, object: &str) -> Read {
    let mut said = Said::default();
    let (mut roles, mut done) = (0, false);
    for (_, data) in events(answer)? {
        ensure(!done && said.error.is_none(), || {
            format!("after the end: {data}")
        })?;
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let chunk = json(&data)?;
        if !chunk["error"].is_null() {
            said.error = Some(refused(&chunk["error"]));
            continue;
        }
        ensure(chunk["object"] == object, || data.clone())?;
        let id = text(&chunk["id"]);
        ensure(said.id.is_empty() || said.id == id, || {
            format!("another id than {}: {data}", said.id)
        })?;
        said.id = id;
        said.usage = usage(&chunk["usage"]).or(said.usage);
        let choices = chunk["choices"].as_array().ok_or("no choices")?;
        let Some(choice) = choices.first() else {
            continue;
        };
        ensure(choices.len() == 1 && choice["index"] == 0, || data.clone())?;
        ensure(said.finish.is_empty(), || {
            format!("after its finish: {data}")
        })?;
        let delta = &choice["delta"];
        if delta["role"].is_string() {
            roles += 1;
            ensure(said.text.is_empty() && said.thinking.is_empty(), || {
                format!("the role comes late: {data}")
            })?;
        }
        said.thinking += &text(&delta["reasoning_content"]);
        said.text += &text(&delta["content"]);
        said.text += &text(&choice["text"]);
        for piece in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = piece["index"].as_u64().ok_or("a call without an index")?;
            let index = usize::try_from(index).map_err(|error| error.to_string())?;
            let new = call_of_chat(piece);
            if index == said.calls.len() {
                ensure(!new.id.is_empty() && !new.name.is_empty(), || data.clone())?;
                said.calls.push(new);
            } else {
                let call = said.calls.get_mut(index).ok_or("a call out of turn")?;
                call.name += &new.name;
                call.arguments += &new.arguments;
            }
        }
        said.finish = text(&choice["finish_reason"]);
    }
    if object == "chat.completion.chunk" {
        ensure(roles == 1, || format!("the role is told {roles} times"))?;
    }
    ensure(done == said.error.is_none(), || {
        "neither [DONE] nor an error, or both".to_owned()
    })?;
    ensure(!done || !said.finish.is_empty(), || {
        "[DONE] without a finish".to_owned()
    })?;
    Ok(said)
}

/// Blocks one after the other between `message_start` and `message_stop`, or an `error` at last.
pub(super) fn message_stream(answer: &Answer) -> Read {
    let mut said = Said::default();
    let (mut begun, mut stopped) = (false, false);
    let (mut open, mut next): (Option<String>, u64) = (None, 0);
    for (name, data) in events(answer)? {
        let event = json(&data)?;
        ensure(event["type"] == name.as_str(), || {
            format!("`event: {name}` around {data}")
        })?;
        ensure(!stopped && said.error.is_none(), || {
            format!("after the end: {data}")
        })?;
        ensure(
            begun || matches!(name.as_str(), "message_start" | "error"),
            || format!("before the start: {data}"),
        )?;
        let at = event["index"].as_u64();
        match name.as_str() {
            "ping" => {}
            "message_start" => {
                ensure(!begun, || "two starts".to_owned())?;
                begun = true;
                said.id = text(&event["message"]["id"]);
            }
            "content_block_start" => {
                ensure(open.is_none() && at == Some(next), || {
                    format!("a block out of turn: {data}")
                })?;
                let block = &event["content_block"];
                let kind = text(&block["type"]);
                if kind == "tool_use" {
                    said.calls.push(Called {
                        id: text(&block["id"]),
                        name: text(&block["name"]),
                        arguments: String::new(),
                    });
                }
                open = Some(kind);
            }
            "content_block_delta" => {
                let (kind, delta) = (open.as_deref().unwrap_or_default(), &event["delta"]);
                ensure(at == Some(next), || format!("a piece of no block: {data}"))?;
                match (kind, delta["type"].as_str().unwrap_or_default()) {
                    ("thinking", "thinking_delta") => said.thinking += &text(&delta["thinking"]),
                    ("thinking", "signature_delta") => {}
                    ("text", "text_delta") => said.text += &text(&delta["text"]),
                    ("tool_use", "input_json_delta") => {
                        let call = said.calls.last_mut().ok_or("no call")?;
                        call.arguments += &text(&delta["partial_json"]);
                    }
                    _ => return Err(format!("a piece of another kind: {data}")),
                }
            }
            "content_block_stop" => {
                ensure(open.take().is_some() && at == Some(next), || data.clone())?;
                next += 1;
            }
            "message_delta" => {
                ensure(open.is_none(), || format!("a block is open: {data}"))?;
                said.finish = text(&event["delta"]["stop_reason"]);
                said.usage = usage(&event["usage"]);
            }
            "message_stop" => {
                ensure(!said.finish.is_empty(), || "no reason to stop".to_owned())?;
                stopped = true;
            }
            "error" => said.error = Some(refused(&event["error"])),
            other => return Err(format!("an event of type {other}")),
        }
    }
    ensure(stopped == said.error.is_none(), || {
        "neither message_stop nor an error".to_owned()
    })?;
    Ok(said)
}

/// Numbered events about one response; what is said in pieces is what its last event holds.
pub(super) fn response_stream(answer: &Answer) -> Read {
    let (mut pieces, mut last) = (Said::default(), None);
    for (number, (name, data)) in events(answer)?.into_iter().enumerate() {
        let event = json(&data)?;
        ensure(event["type"] == name.as_str(), || {
            format!("`event: {name}` around {data}")
        })?;
        ensure(event["sequence_number"] == number, || {
            format!("not number {number}: {data}")
        })?;
        ensure(last.is_none(), || format!("after the end: {data}"))?;
        let first = ["response.created", "response.in_progress"].get(number);
        ensure(
            first.is_none_or(|first| name == *first || name == "error"),
            || format!("not the first event: {data}"),
        )?;
        match name.as_str() {
            "response.reasoning_text.delta" => pieces.thinking += &text(&event["delta"]),
            "response.output_text.delta" => pieces.text += &text(&event["delta"]),
            "response.output_text.done" => {
                ensure(pieces.text.ends_with(&text(&event["text"])), || {
                    format!("another text than was said: {data}")
                })?;
            }
            "response.output_item.added" if event["item"]["type"] == "function_call" => {
                pieces.calls.push(Called {
                    id: text(&event["item"]["call_id"]),
                    name: text(&event["item"]["name"]),
                    arguments: String::new(),
                });
            }
            "response.function_call_arguments.delta" => {
                let call = pieces.calls.last_mut().ok_or("no call")?;
                call.arguments += &text(&event["delta"]);
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                ensure(
                    name == format!("response.{}", text(&event["response"]["status"])),
                    || data.clone(),
                )?;
                last = Some(response(&event["response"])?);
            }
            "error" => {
                last = Some(Said {
                    error: Some(refused(&event)),
                    ..pieces.clone()
                });
            }
            _ => {}
        }
    }
    let mut last = last.ok_or("no last event")?;
    if last.error.is_some() {
        last.finish.clear();
    }
    ensure(
        (&last.thinking, &last.text, &last.calls)
            == (&pieces.thinking, &pieces.text, &pieces.calls),
        || format!("in pieces {pieces:?}, at last {last:?}"),
    )?;
    Ok(last)
}
