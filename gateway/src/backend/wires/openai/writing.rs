//! A request written from the canonical conversation, with everything that a host wants otherwise:
//! which fields there are, and what must be refused rather than bent. The messages are `turns`'.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;
use serde_json::Value;

use super::super::{Asked, CannotSay, Outgoing};
use super::json::Json;
use super::thinking::{self, SWITCHES};
use super::turns;
use crate::catalog::{Continues, Quirks, SchemaFallback, ToolChoiceForm};
use crate::chat::{Conversation, Format, Frames, Part, Said, Tool, ToolChoice, Turn};

/// Fields that are written here; a caller's own of the same name never come beside them.
const WRITTEN: [&str; 23] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "functions",
    "function_call",
    "continue_final_message",
    "add_generation_prompt",
];

/// The whole request for a host of this wire.
///
/// # Errors
/// What the host cannot be asked, in words for the caller.
pub fn body(conversation: &Conversation, asked: Asked<'_>) -> Result<Outgoing, CannotSay> {
    let quirks = asked.quirks;
    let choice = choice(conversation, quirks)?;
    let forced = matches!(choice, Choice::Required | Choice::Named(_));
    let effort = thinking::settled(quirks, conversation.effort, forced)?;
    let history = turns::history(conversation, quirks, effort)?;
    let unfinished = unfinished(conversation, quirks)?;
    check(conversation, quirks)?;
    let hint = hint(conversation, quirks);

    let mut json = Json::with_capacity(size(conversation));
    json.open(b'{');
    json.member("model", asked.model);
    turns::write(&mut json, conversation, history, hint.as_deref(), quirks);
    if unfinished && quirks.continues == Continues::ContinueFinalMessage {
        json.raw(",\"continue_final_message\":true,\"add_generation_prompt\":false");
    }
    if asked.stream {
        json.raw(",\"stream\":true");
        if !quirks.no_stream_options {
            json.raw(",\"stream_options\":{\"include_usage\":true}");
        }
    }
    if let Some(limit) = conversation.max_output.or(asked.bound) {
        let field = quirks.max_tokens_field.as_deref().unwrap_or("max_tokens");
        json.member(field, &limit);
    }
    if conversation.choices > 1 {
        json.member("n", &conversation.choices);
    }
    write_tools(&mut json, conversation, &choice);
    write_format(&mut json, &conversation.format, quirks);
    write_sampling(&mut json, conversation, quirks);
    let kwargs = match conversation.rest.get(thinking::KWARGS) {
        Some(Value::Object(kwargs)) => Some(kwargs.clone()),
        _ => None,
    };
    json.members(&thinking::members(quirks, effort, kwargs)?);
    write_rest(&mut json, conversation, asked);
    json.close(b'}');
    Ok(Outgoing {
        body: Frames::from(Bytes::from(json.into_bytes())),
        headers: headers(quirks),
    })
}

/// The headers that this host wants with every request.
pub(super) fn headers(quirks: &Quirks) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &quirks.headers {
        // Both were checked when the catalog was read.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.insert(name, value);
        }
    }
    headers
}

/// What is said of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    /// Nothing: the model decides.
    Unsaid,
    None,
    /// The host has no word for `none`: the tools themselves are left out.
    NoTools,
    Required,
    Named(&'a str),
}

fn choice<'a>(conversation: &'a Conversation, quirks: &Quirks) -> Result<Choice<'a>, CannotSay> {
    let takes =
        |form: ToolChoiceForm| quirks.tool_choice.is_empty() || quirks.tool_choice.contains(&form);
    let only = match conversation.tools.as_slice() {
        [] => return Ok(Choice::Unsaid),
        [Tool { name, .. }] => Some(name.as_str()),
        _ => None,
    };
    let choice = match &conversation.tool_choice {
        ToolChoice::Auto => Choice::Unsaid,
        ToolChoice::None if takes(ToolChoiceForm::None) => Choice::None,
        ToolChoice::None => Choice::NoTools,
        ToolChoice::Required if takes(ToolChoiceForm::Required) => Choice::Required,
        ToolChoice::Named(name) if takes(ToolChoiceForm::Named) => Choice::Named(name),
        // One tool: that it must be called and that some tool must be are the same.
        ToolChoice::Required => match only.filter(|_| takes(ToolChoiceForm::Named)) {
            Some(only) => Choice::Named(only),
            None => return Err(no_choice("required")),
        },
        ToolChoice::Named(name) => {
            if only == Some(name) && takes(ToolChoiceForm::Required) {
                Choice::Required
            } else {
                return Err(no_choice("a named tool"));
            }
        }
    };
    Ok(choice)
}

fn no_choice(what: &str) -> CannotSay {
    CannotSay(format!("it does not take {what} as tool_choice"))
}

/// Whether the last turn is to be gone on with.
fn unfinished(conversation: &Conversation, quirks: &Quirks) -> Result<bool, CannotSay> {
    let Some(Turn::Assistant(
        said @ Said {
            unfinished: true, ..
        },
    )) = conversation.turns.last()
    else {
        return Ok(false);
    };
    let why = if quirks.continues == Continues::None {
        "it does not go on with an answer that broke off"
    } else if !said.calls.is_empty() {
        "an answer that broke off in a tool call cannot be gone on with"
    } else if said.text.is_empty() && said.reasoning.as_deref().is_some_and(|r| !r.is_empty()) {
        "an answer that broke off while thinking cannot be gone on with"
    } else {
        return Ok(true);
    };
    Err(CannotSay(why.to_owned()))
}

fn check(conversation: &Conversation, quirks: &Quirks) -> Result<(), CannotSay> {
    check_stop(conversation.sampling.stop.len(), quirks)?;
    check_format(
        !conversation.tools.is_empty(),
        !matches!(conversation.format, Format::Text),
        quirks,
    )
}

pub(super) fn check_stop(given: usize, quirks: &Quirks) -> Result<(), CannotSay> {
    match quirks.max_stop {
        Some(most) if given > most as usize => Err(CannotSay(format!(
            "it takes at most {most} stop strings, not {given}"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn check_format(tools: bool, format: bool, quirks: &Quirks) -> Result<(), CannotSay> {
    if quirks.no_tools_with_format && tools && format {
        return Err(CannotSay(
            "it does not take tools and a response format together".to_owned(),
        ));
    }
    Ok(())
}

/// What must be added to the prompt for JSON to come out.
fn hint(conversation: &Conversation, quirks: &Quirks) -> Option<String> {
    const HINT: &str = "Answer with one JSON object and nothing else.";
    match &conversation.format {
        Format::JsonSchema { schema, .. }
            if quirks.json_schema_fallback == SchemaFallback::JsonObject =>
        {
            Some(format!(
                "{HINT} It must follow this JSON schema:\n{}",
                schema.get()
            ))
        }
        Format::JsonObject if quirks.json_prompt && !speaks_of_json(conversation) => {
            Some(HINT.to_owned())
        }
        _ => None,
    }
}

fn speaks_of_json(conversation: &Conversation) -> bool {
    conversation.turns.iter().any(|turn| match turn {
        Turn::System(parts) | Turn::User(parts) => parts.iter().any(|part| match part {
            Part::Text(text) => mentions_json(text.as_bytes()),
            Part::Image(_) => false,
        }),
        Turn::Assistant(_) | Turn::Result { .. } => false,
    })
}

pub(super) fn mentions_json(text: &[u8]) -> bool {
    ["JSON", "json", "Json"]
        .iter()
        .any(|word| memmem::find(text, word.as_bytes()).is_some())
}

fn write_tools(json: &mut Json, conversation: &Conversation, choice: &Choice<'_>) {
    if conversation.tools.is_empty() || *choice == Choice::NoTools {
        return;
    }
    json.key("tools");
    json.open(b'[');
    for tool in &conversation.tools {
        json.item();
        json.raw("{\"type\":\"function\",\"function\":{");
        json.member("name", &tool.name);
        if let Some(description) = &tool.description {
            json.member("description", description);
        }
        if let Some(parameters) = &tool.parameters {
            json.key("parameters");
            json.raw(parameters.get());
        }
        if let Some(strict) = tool.strict {
            json.member("strict", &strict);
        }
        json.raw("}}");
    }
    json.close(b']');
    match choice {
        Choice::Unsaid | Choice::NoTools => {}
        Choice::None => json.member("tool_choice", "none"),
        Choice::Required => json.member("tool_choice", "required"),
        Choice::Named(name) => {
            json.key("tool_choice");
            json.raw("{\"type\":\"function\",\"function\":{");
            json.member("name", *name);
            json.raw("}}");
        }
    }
    if let Some(parallel) = conversation.parallel_calls {
        json.member("parallel_tool_calls", &parallel);
    }
}

fn write_format(json: &mut Json, format: &Format, quirks: &Quirks) {
    match format {
        Format::Text => {}
        Format::JsonObject => json.raw(",\"response_format\":{\"type\":\"json_object\"}"),
        Format::JsonSchema { .. } if quirks.json_schema_fallback == SchemaFallback::JsonObject => {
            json.raw(",\"response_format\":{\"type\":\"json_object\"}");
        }
        Format::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => {
            json.raw(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{");
            json.member("name", name);
            if let Some(description) = description {
                json.member("description", description);
            }
            json.key("schema");
            json.raw(schema.get());
            if let Some(strict) = strict {
                json.member("strict", strict);
            }
            json.raw("}}");
        }
    }
}

fn write_sampling(json: &mut Json, conversation: &Conversation, quirks: &Quirks) {
    let sampling = &conversation.sampling;
    for (field, number) in [
        ("temperature", &sampling.temperature),
        ("top_p", &sampling.top_p),
        ("presence_penalty", &sampling.presence_penalty),
        ("frequency_penalty", &sampling.frequency_penalty),
    ] {
        if let Some(number) = number {
            json.member(field, number);
        }
    }
    if let Some(seed) = sampling.seed {
        json.member("seed", &seed);
    }
    if !sampling.stop.is_empty() {
        json.member("stop", &sampling.stop);
    }
    match conversation.logprobs {
        None => {}
        Some(alternatives) if quirks.logprobs_count => {
            json.member("logprobs", &alternatives.max(1));
        }
        Some(alternatives) => {
            json.raw(",\"logprobs\":true");
            if alternatives > 0 {
                json.member("top_logprobs", &alternatives);
            }
        }
    }
}

/// What this wire has no counterpart for passes under its own name; then what the host wants of
/// every request.
fn write_rest(json: &mut Json, conversation: &Conversation, asked: Asked<'_>) {
    let quirks = asked.quirks;
    for (field, value) in &conversation.rest {
        let field = field.as_str();
        let ours = WRITTEN.contains(&field)
            || SWITCHES.contains(&field)
            || quirks.tenant_field.as_deref() == Some(field)
            || quirks
                .refused_fields
                .iter()
                .any(|refused| **refused == *field);
        if !ours {
            json.member(field, value);
        }
    }
    for (field, value) in &quirks.fields {
        if !conversation.rest.contains_key(&**field) {
            json.key(field);
            json.raw(value);
        }
    }
    if let Some(field) = quirks.tenant_field.as_deref()
        && !asked.tenant.is_empty()
    {
        json.member(field, asked.tenant);
    }
}

/// About how long the body will be: a prompt of megabytes should not be moved while it grows.
fn size(conversation: &Conversation) -> usize {
    let parts = |parts: &[Part]| -> usize {
        parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.len() + text.len() / 16 + 32,
                Part::Image(crate::chat::Image::Url(url)) => url.len() + 64,
                Part::Image(crate::chat::Image::Inline { data, .. }) => data.len() + 96,
            })
            .sum()
    };
    let turns: usize = conversation
        .turns
        .iter()
        .map(|turn| match turn {
            Turn::System(said) | Turn::User(said) => parts(said) + 48,
            Turn::Result {
                call, parts: said, ..
            } => parts(said) + call.len() + 96,
            Turn::Assistant(said) => {
                let calls: usize = said
                    .calls
                    .iter()
                    .map(|call| call.arguments.len() * 9 / 8 + call.name.len() + 96)
                    .sum();
                let reasoning = said.reasoning.as_ref().map_or(0, String::len);
                (said.text.len() + reasoning) * 17 / 16 + calls + 96
            }
        })
        .sum();
    let tools: usize = conversation
        .tools
        .iter()
        .map(|tool| {
            tool.parameters
                .as_ref()
                .map_or(0, |schema| schema.get().len())
                + tool.description.as_ref().map_or(0, String::len)
                + 128
        })
        .sum();
    turns + tools + 1024
}
