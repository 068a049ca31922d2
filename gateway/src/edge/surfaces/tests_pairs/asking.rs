//! Conversations written as callers write them. Source: the types of the official clients
//! (openai-python, `anthropic`).
//!
//! What dialects have no word for, and callers of them therefore cannot ask:
//! - chat: that a tool failed;
//! - Responses: that, several choices, penalties, seeds, stop strings, and to go on with an answer;
//! - Messages: several choices, log probabilities, penalties, seeds, JSON of any kind, a name for a
//!   schema, arguments that are no object, and that calls may be parallel (only that they may not);
//! - completions: all but the beginning of one answer.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::{anthropic, openai_chat, openai_completions, openai_responses};
use crate::chat::{
    Conversation, Effort, Format, Frames, Image, Part, Refusal, Request, Said, ToolChoice, Turn,
};

/// A dialect that callers speak.
pub(super) struct Dialect {
    pub name: &'static str,
    ask: fn(&Conversation) -> Option<Asked>,
    read: fn(Frames) -> Result<Request, Refusal>,
    conversation: fn(&Request) -> Result<Conversation, Refusal>,
}

/// A request, and what of the conversation it says.
pub(super) struct Asked {
    pub body: Value,
    pub meant: Conversation,
}

pub(super) const DIALECTS: [Dialect; 4] = [
    Dialect {
        name: "chat",
        ask: chat,
        read: openai_chat::read,
        conversation: openai_chat::conversation,
    },
    Dialect {
        name: "responses",
        ask: responses,
        read: openai_responses::read,
        conversation: openai_responses::conversation,
    },
    Dialect {
        name: "messages",
        ask: messages,
        read: anthropic::read,
        conversation: anthropic::conversation,
    },
    Dialect {
        name: "completions",
        ask: completions,
        read: openai_completions::read,
        conversation: openai_completions::conversation,
    },
];

impl Dialect {
    /// The conversation in this dialect, as far as it goes; `None` where nothing of it can be said.
    pub(super) fn ask(&self, conversation: &Conversation) -> Option<Asked> {
        (self.ask)(conversation)
    }

    pub(super) fn read(&self, body: &Value) -> Conversation {
        let request = (self.read)(Frames::from(Bytes::from(body.to_string())));
        let request = request.unwrap_or_else(|refusal| panic!("{refusal}: {body}"));
        (self.conversation)(&request).unwrap_or_else(|refusal| panic!("{refusal}: {body}"))
    }
}

/// Sets what is there.
fn put<T: serde::Serialize>(body: &mut Value, field: &str, value: Option<T>) {
    if let Some(value) = value {
        body[field] = json!(value);
    }
}

fn schema(raw: &serde_json::value::RawValue) -> Value {
    serde_json::from_str(raw.get()).expect("JSON")
}

/// The same schemas as a body that is written anew has them.
fn rewritten(meant: &mut Conversation) {
    let again = |raw: &mut std::sync::Arc<serde_json::value::RawValue>| {
        let text = schema(raw).to_string();
        *raw = serde_json::value::RawValue::from_string(text)
            .expect("JSON")
            .into();
    };
    for tool in &mut meant.tools {
        if let Some(raw) = &mut tool.parameters {
            again(raw);
        }
    }
    if let Format::JsonSchema { schema, .. } = &mut meant.format {
        again(schema);
    }
}

fn url(image: &Image) -> String {
    match image {
        Image::Url(url) => url.clone(),
        Image::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
    }
}

fn fail_no_tool(meant: &mut Conversation) {
    for turn in &mut meant.turns {
        if let Turn::Result { failed, .. } = turn {
            *failed = false;
        }
    }
}

fn each_said(meant: &mut Conversation, mut change: impl FnMut(&mut Said)) {
    for turn in &mut meant.turns {
        if let Turn::Assistant(said) = turn {
            if said.reasoning.as_deref() == Some("") {
                said.reasoning = None;
            }
            change(said);
        }
    }
}

fn chat(conversation: &Conversation) -> Option<Asked> {
    let parts = |parts: &[Part]| -> Value {
        let parts = parts.iter().map(|part| match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Image(image) => json!({"type": "image_url", "image_url": {"url": url(image)}}),
        });
        parts.collect()
    };
    let messages: Vec<Value> = conversation
        .turns
        .iter()
        .map(|turn| match turn {
            Turn::System(said) => json!({"role": "system", "content": parts(said)}),
            Turn::User(said) => json!({"role": "user", "content": parts(said)}),
            Turn::Result {
                call, parts: said, ..
            } => {
                json!({"role": "tool", "tool_call_id": call, "content": parts(said)})
            }
            Turn::Assistant(said) => {
                let mut message = json!({"role": "assistant", "content": said.text,
                    "reasoning_content": said.reasoning});
                if !said.calls.is_empty() {
                    message["tool_calls"] = said
                        .calls
                        .iter()
                        .map(|call| {
                            json!({
                        "id": call.id, "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments}})
                        })
                        .collect();
                }
                if said.unfinished {
                    message["prefix"] = json!(true);
                }
                message
            }
        })
        .collect();
    let mut body = json!({"model": "m", "messages": messages, "n": conversation.choices});
    if !conversation.tools.is_empty() {
        let tools = conversation.tools.iter().map(|tool| {
            let mut function = json!({"name": tool.name});
            put(&mut function, "description", tool.description.as_ref());
            put(
                &mut function,
                "parameters",
                tool.parameters.as_deref().map(schema),
            );
            put(&mut function, "strict", tool.strict);
            json!({"type": "function", "function": function})
        });
        body["tools"] = tools.collect();
    }
    match &conversation.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => body["tool_choice"] = json!("none"),
        ToolChoice::Required => body["tool_choice"] = json!("required"),
        ToolChoice::Named(name) => {
            body["tool_choice"] = json!({"type": "function", "function": {"name": name}});
        }
    }
    put(
        &mut body,
        "parallel_tool_calls",
        conversation.parallel_calls,
    );
    match &conversation.format {
        Format::Text => {}
        Format::JsonObject => body["response_format"] = json!({"type": "json_object"}),
        Format::JsonSchema {
            name,
            description,
            schema: raw,
            strict,
        } => {
            let mut asked = json!({"name": name, "schema": schema(raw)});
            put(&mut asked, "description", description.as_ref());
            put(&mut asked, "strict", *strict);
            body["response_format"] = json!({"type": "json_schema", "json_schema": asked});
        }
    }
    let sampling = &conversation.sampling;
    put(&mut body, "temperature", sampling.temperature.as_ref());
    put(&mut body, "top_p", sampling.top_p.as_ref());
    put(
        &mut body,
        "presence_penalty",
        sampling.presence_penalty.as_ref(),
    );
    put(
        &mut body,
        "frequency_penalty",
        sampling.frequency_penalty.as_ref(),
    );
    put(&mut body, "seed", sampling.seed);
    if !sampling.stop.is_empty() {
        body["stop"] = json!(sampling.stop);
    }
    put(&mut body, "max_completion_tokens", conversation.max_output);
    if let Some(alternatives) = conversation.logprobs {
        body["logprobs"] = json!(true);
        body["top_logprobs"] = json!(alternatives);
    }
    let effort = match conversation.effort {
        Effort::Unsaid => None,
        Effort::Off => Some("none"),
        Effort::High => Some("medium"),
        Effort::Max => Some("max"),
    };
    put(&mut body, "reasoning_effort", effort);
    let mut meant = conversation.clone();
    rewritten(&mut meant);
    fail_no_tool(&mut meant);
    each_said(&mut meant, |_| {});
    Some(Asked { body, meant })
}

fn responses(conversation: &Conversation) -> Option<Asked> {
    let pieces = |parts: &[Part]| -> Value {
        let pieces = parts.iter().map(|part| match part {
            Part::Text(text) => json!({"type": "input_text", "text": text}),
            Part::Image(image) => {
                json!({"type": "input_image", "image_url": url(image), "detail": "auto"})
            }
        });
        pieces.collect()
    };
    let mut meant = conversation.clone();
    rewritten(&mut meant);
    fail_no_tool(&mut meant);
    each_said(&mut meant, |said| said.unfinished = false);
    // Silence is no turn.
    meant.turns.retain(|turn| {
        !matches!(turn, Turn::Assistant(said) if said.text.is_empty() && said.calls.is_empty())
    });
    if meant.turns.is_empty() {
        return None;
    }
    meant.choices = 1;
    meant.sampling = crate::chat::Sampling {
        temperature: conversation.sampling.temperature.clone(),
        top_p: conversation.sampling.top_p.clone(),
        ..Default::default()
    };
    let mut input = Vec::new();
    for turn in &meant.turns {
        match turn {
            Turn::System(parts) => input
                .push(json!({"type": "message", "role": "developer", "content": pieces(parts)})),
            Turn::User(parts) => input.push(json!({"role": "user", "content": pieces(parts)})),
            Turn::Assistant(said) => {
                if let Some(thought) = &said.reasoning {
                    input.push(json!({"type": "reasoning", "summary": [],
                        "content": [{"type": "reasoning_text", "text": thought}]}));
                }
                if !said.text.is_empty() {
                    input.push(json!({"type": "message", "role": "assistant",
                        "content": [{"type": "output_text", "text": said.text, "annotations": []}]}));
                }
                input.extend(said.calls.iter().map(|call| {
                    json!({"type": "function_call", "call_id": call.id, "name": call.name,
                        "arguments": call.arguments})
                }));
            }
            Turn::Result { call, parts, .. } => input.push(
                json!({"type": "function_call_output", "call_id": call, "output": pieces(parts)}),
            ),
        }
    }
    let mut body = json!({"model": "m", "input": input, "store": false});
    if !conversation.tools.is_empty() {
        let tools = conversation.tools.iter().map(|tool| {
            let mut offered = json!({"type": "function", "name": tool.name});
            put(&mut offered, "description", tool.description.as_ref());
            put(
                &mut offered,
                "parameters",
                tool.parameters.as_deref().map(schema),
            );
            put(&mut offered, "strict", tool.strict);
            offered
        });
        body["tools"] = tools.collect();
    }
    match &conversation.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => body["tool_choice"] = json!("none"),
        ToolChoice::Required => body["tool_choice"] = json!("required"),
        ToolChoice::Named(name) => {
            body["tool_choice"] = json!({"type": "function", "name": name});
        }
    }
    put(
        &mut body,
        "parallel_tool_calls",
        conversation.parallel_calls,
    );
    match &conversation.format {
        Format::Text => {}
        Format::JsonObject => body["text"] = json!({"format": {"type": "json_object"}}),
        Format::JsonSchema {
            name,
            description,
            schema: raw,
            strict,
        } => {
            let mut asked = json!({"type": "json_schema", "name": name, "schema": schema(raw)});
            put(&mut asked, "description", description.as_ref());
            put(&mut asked, "strict", *strict);
            body["text"] = json!({"format": asked});
        }
    }
    put(
        &mut body,
        "temperature",
        conversation.sampling.temperature.as_ref(),
    );
    put(&mut body, "top_p", conversation.sampling.top_p.as_ref());
    put(&mut body, "max_output_tokens", conversation.max_output);
    if let Some(alternatives) = conversation.logprobs {
        body["include"] = json!(["message.output_text.logprobs"]);
        body["top_logprobs"] = json!(alternatives);
    }
    let effort = match conversation.effort {
        Effort::Unsaid => None,
        Effort::Off => Some("none"),
        Effort::High => Some("high"),
        Effort::Max => Some("max"),
    };
    if let Some(effort) = effort {
        body["reasoning"] = json!({"effort": effort});
    }
    Some(Asked { body, meant })
}

fn messages(conversation: &Conversation) -> Option<Asked> {
    let blocks = |parts: &[Part]| -> Vec<Value> {
        let blocks = parts.iter().map(|part| match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Image(Image::Url(url)) => {
                json!({"type": "image", "source": {"type": "url", "url": url}})
            }
            Part::Image(Image::Inline { media_type, data }) => json!({"type": "image",
                "source": {"type": "base64", "media_type": media_type, "data": data}}),
        });
        blocks.collect()
    };
    let mut meant = conversation.clone();
    rewritten(&mut meant);
    each_said(&mut meant, |said| {
        for call in &mut said.calls {
            let object = serde_json::from_str::<Map<String, Value>>(&call.arguments);
            call.arguments = Value::Object(object.unwrap_or_default()).to_string();
        }
    });
    // Instructions of no text are none.
    for turn in &mut meant.turns {
        if let Turn::System(parts) = turn {
            parts.retain(|part| *part != Part::Text(String::new()));
        }
    }
    meant.turns.retain(|turn| *turn != Turn::System(Vec::new()));
    meant.choices = 1;
    meant.logprobs = None;
    meant.parallel_calls = conversation.parallel_calls.filter(|parallel| !parallel);
    if conversation.tool_choice == ToolChoice::Auto && conversation.parallel_calls == Some(false) {
        meant.parallel_calls = Some(false);
    }
    meant.sampling.presence_penalty = None;
    meant.sampling.frequency_penalty = None;
    meant.sampling.seed = None;
    match &mut meant.format {
        Format::Text => {}
        Format::JsonObject => return None,
        Format::JsonSchema {
            name,
            description,
            strict,
            ..
        } => {
            *name = "answer".to_owned();
            *description = None;
            *strict = Some(true);
        }
    }
    let most = meant.max_output.get_or_insert(crate::chat::Tokens::new(9));
    let mut body = json!({"model": "m", "max_tokens": most});
    let (system, rest) = match meant.turns.split_first() {
        Some((Turn::System(parts), rest)) => (Some(blocks(parts)), rest),
        _ => (None, &meant.turns[..]),
    };
    put(&mut body, "system", system);
    let mut written: Vec<Value> = Vec::new();
    for turn in rest {
        match turn {
            Turn::System(parts) => {
                written.push(json!({"role": "system", "content": blocks(parts)}));
            }
            Turn::User(parts) => written.push(json!({"role": "user", "content": blocks(parts)})),
            Turn::Assistant(said) => {
                let mut content = Vec::new();
                if let Some(thought) = &said.reasoning {
                    content.push(json!({"type": "thinking", "thinking": thought, "signature": ""}));
                }
                if !said.text.is_empty() {
                    content.push(json!({"type": "text", "text": said.text}));
                }
                content.extend(said.calls.iter().map(|call| {
                    let input: Value = serde_json::from_str(&call.arguments).expect("an object");
                    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
                }));
                written.push(json!({"role": "assistant", "content": content}));
            }
            Turn::Result {
                call,
                parts,
                failed,
            } => {
                let block = json!({"type": "tool_result", "tool_use_id": call,
                    "content": blocks(parts), "is_error": failed});
                // Results of one turn stand in one message.
                match written.last_mut() {
                    Some(last) if last["content"][0]["type"] == "tool_result" => {
                        last["content"].as_array_mut().expect("blocks").push(block);
                    }
                    _ => written.push(json!({"role": "user", "content": [block]})),
                }
            }
        }
    }
    if written.is_empty() {
        return None;
    }
    body["messages"] = json!(written);
    if !conversation.tools.is_empty() {
        let tools = conversation.tools.iter().map(|tool| {
            let mut offered = json!({"name": tool.name});
            put(&mut offered, "description", tool.description.as_ref());
            put(
                &mut offered,
                "input_schema",
                tool.parameters.as_deref().map(schema),
            );
            put(&mut offered, "strict", tool.strict);
            offered
        });
        body["tools"] = tools.collect();
    }
    let mut choice = match &conversation.tool_choice {
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
    };
    if meant.parallel_calls == Some(false) {
        choice["disable_parallel_tool_use"] = json!(true);
    }
    body["tool_choice"] = choice;
    if let Format::JsonSchema { schema: raw, .. } = &meant.format {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema(raw)}});
    }
    put(
        &mut body,
        "temperature",
        conversation.sampling.temperature.as_ref(),
    );
    put(&mut body, "top_p", conversation.sampling.top_p.as_ref());
    if !conversation.sampling.stop.is_empty() {
        body["stop_sequences"] = json!(conversation.sampling.stop);
    }
    match conversation.effort {
        Effort::Unsaid => {}
        Effort::Off => body["thinking"] = json!({"type": "disabled"}),
        Effort::High => body["thinking"] = json!({"type": "enabled", "budget_tokens": 2048}),
        Effort::Max => body["output_config"]["effort"] = json!("max"),
    }
    // An answer that the caller began is to go on from there.
    let last = meant.turns.len() - 1;
    if let Some(Turn::Assistant(said)) = meant.turns.get_mut(last) {
        said.unfinished = said.calls.is_empty();
    }
    Some(Asked { body, meant })
}

fn completions(conversation: &Conversation) -> Option<Asked> {
    let Some(Turn::Assistant(said)) = conversation.turns.last() else {
        return None;
    };
    let sampling = conversation.sampling.clone();
    let mut body = json!({"model": "m", "prompt": said.text, "n": conversation.choices});
    put(&mut body, "temperature", sampling.temperature.as_ref());
    put(&mut body, "top_p", sampling.top_p.as_ref());
    put(
        &mut body,
        "presence_penalty",
        sampling.presence_penalty.as_ref(),
    );
    put(
        &mut body,
        "frequency_penalty",
        sampling.frequency_penalty.as_ref(),
    );
    put(&mut body, "seed", sampling.seed);
    put(&mut body, "max_tokens", conversation.max_output);
    if !sampling.stop.is_empty() {
        body["stop"] = json!(sampling.stop);
    }
    let meant = Conversation {
        turns: vec![Turn::Assistant(Said {
            text: said.text.clone(),
            unfinished: true,
            ..Said::default()
        })],
        sampling,
        effort: Effort::Off,
        max_output: conversation.max_output,
        choices: conversation.choices,
        ..Conversation::default()
    };
    Some(Asked { body, meant })
}
