//! A conversation in the OpenAI dialect, as one host wants it: its own switch for thinking, its own
//! rule for earlier reasoning, its own names. What differs between hosts is data of the catalog
//! ([`Quirks`]); here it is only followed.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value};

use crate::backend::wires::{Asked, CannotSay, Outgoing};
use crate::catalog::{Continues, HistoryReasoning, Quirks};
use crate::chat::{
    Call, Conversation, Effort, Format, Frames, Image, Part, Said, Tool, ToolChoice, Turn, text_of,
};

/// The request that asks this of this host.
///
/// # Errors
/// What the host cannot be asked.
pub fn body(conversation: &Conversation, asked: Asked<'_>) -> Result<Outgoing, CannotSay> {
    let quirks = asked.quirks;
    let effort = effort(conversation, quirks)?;
    let unfinished =
        matches!(conversation.turns.last(), Some(Turn::Assistant(said)) if said.unfinished);
    if unfinished && quirks.continues == Continues::No {
        return Err(cannot("it cannot go on from the middle of an answer"));
    }
    let says = Says {
        conversation,
        asked,
        effort,
        unfinished,
    };
    says.check()?;
    let mut bytes = Vec::with_capacity(4096);
    serde_json::to_writer(&mut bytes, &says)
        .map_err(|error| CannotSay(format!("the request cannot be written: {error}")))?;
    Ok(Outgoing {
        body: Frames::from(Bytes::from(bytes)),
        headers: headers(quirks),
        continues: unfinished,
    })
}

pub(super) fn headers(quirks: &Quirks) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &quirks.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.insert(name, value);
        }
    }
    headers
}

fn cannot(why: &str) -> CannotSay {
    CannotSay(why.to_owned())
}

/// How much the host is to think: what was asked, but for calls that it can only be forced to make
/// without thinking.
fn effort(conversation: &Conversation, quirks: &Quirks) -> Result<Effort, CannotSay> {
    let forced = matches!(
        conversation.tool_choice,
        ToolChoice::Required | ToolChoice::Named(_)
    );
    if !(forced && quirks.forced_tools_need_thinking_off) {
        return Ok(conversation.effort);
    }
    match conversation.effort {
        Effort::Unsaid | Effort::Off => Ok(Effort::Off),
        Effort::High | Effort::Max => Err(cannot(
            "it cannot be forced to call a tool while it thinks; ask for no thinking, or leave the choice to it",
        )),
    }
}

/// The words that switch thinking at this host.
///
/// # Errors
/// Where nobody has said how.
pub(super) fn thinking(
    effort: Effort,
    quirks: &Quirks,
) -> Result<Option<&Map<String, Value>>, CannotSay> {
    let words = match effort {
        Effort::Unsaid => return Ok(None),
        Effort::Off => &quirks.thinking.off,
        Effort::High => &quirks.thinking.high,
        Effort::Max => &quirks.thinking.max,
    };
    match words {
        Some(words) => Ok(Some(words)),
        // These models think so by default.
        None if effort == Effort::High => Ok(None),
        None => Err(cannot(
            "how thinking is switched there is not documented; set [quirks.thinking] for it in the deployments",
        )),
    }
}

struct Says<'a> {
    conversation: &'a Conversation,
    asked: Asked<'a>,
    effort: Effort,
    unfinished: bool,
}

impl Says<'_> {
    fn check(&self) -> Result<(), CannotSay> {
        let (conversation, quirks) = (self.conversation, self.asked.quirks);
        thinking(self.effort, quirks)?;
        if let Some(most) = quirks.most_stops
            && conversation.sampling.stop.len() > usize::from(most)
        {
            return Err(CannotSay(format!("it takes at most {most} stop strings")));
        }
        let owes = quirks.history_reasoning == HistoryReasoning::Required
            && self.effort != Effort::Off
            && conversation
                .turns
                .iter()
                .any(|turn| matches!(turn, Turn::Assistant(said) if owes(said)));
        if owes && quirks.lost_reasoning.is_empty() {
            return Err(cannot(
                "it wants the thinking behind earlier calls back, and that is not known here any more",
            ));
        }
        Ok(())
    }
}

/// A turn that called something without the thinking that led there.
fn owes(said: &Said) -> bool {
    !said.calls.is_empty() && said.reasoning.as_deref().is_none_or(str::is_empty)
}

impl Serialize for Says<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Says {
            conversation,
            asked,
            effort,
            ..
        } = self;
        let quirks = asked.quirks;
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("model", asked.model)?;
        body.serialize_entry("messages", &Messages(self))?;
        if asked.stream {
            body.serialize_entry("stream", &true)?;
            if !quirks.no_stream_options {
                body.serialize_entry(
                    "stream_options",
                    &StreamOptions {
                        include_usage: true,
                    },
                )?;
            }
        }
        if let Some(bound) = conversation.max_output.or(asked.bound) {
            let field = quirks.max_tokens_field.as_deref().unwrap_or("max_tokens");
            body.serialize_entry(field, &bound)?;
        }
        if conversation.choices > 1 {
            body.serialize_entry("n", &conversation.choices)?;
        }
        if !conversation.tools.is_empty() {
            body.serialize_entry("tools", &Tools(&conversation.tools))?;
            match &conversation.tool_choice {
                ToolChoice::Auto => {}
                ToolChoice::None => body.serialize_entry("tool_choice", "none")?,
                ToolChoice::Required => body.serialize_entry("tool_choice", "required")?,
                ToolChoice::Named(name) => body.serialize_entry(
                    "tool_choice",
                    &serde_json::json!({"type": "function", "function": {"name": name}}),
                )?,
            }
            if let Some(parallel) = conversation.parallel_calls {
                body.serialize_entry("parallel_tool_calls", &parallel)?;
            }
        }
        match &conversation.format {
            Format::Text => {}
            Format::JsonObject => body.serialize_entry(
                "response_format",
                &serde_json::json!({"type": "json_object"}),
            )?,
            Format::JsonSchema {
                name,
                description,
                schema,
                strict,
            } => body.serialize_entry(
                "response_format",
                &JsonSchema {
                    r#type: "json_schema",
                    json_schema: Schema {
                        name,
                        description: description.as_deref(),
                        schema,
                        strict: *strict,
                    },
                },
            )?,
        }
        let sampling = &conversation.sampling;
        for (name, number) in [
            ("temperature", &sampling.temperature),
            ("top_p", &sampling.top_p),
            ("presence_penalty", &sampling.presence_penalty),
            ("frequency_penalty", &sampling.frequency_penalty),
        ] {
            if let Some(number) = number {
                body.serialize_entry(name, number)?;
            }
        }
        if let Some(seed) = sampling.seed {
            body.serialize_entry("seed", &seed)?;
        }
        if !sampling.stop.is_empty() {
            body.serialize_entry("stop", &sampling.stop)?;
        }
        if let Some(alternatives) = conversation.logprobs {
            body.serialize_entry("logprobs", &true)?;
            if alternatives > 0 {
                body.serialize_entry("top_logprobs", &alternatives)?;
            }
        }
        // Checked before: an error here cannot be told.
        for (name, value) in thinking(*effort, quirks)
            .ok()
            .flatten()
            .into_iter()
            .flatten()
        {
            body.serialize_entry(name, value)?;
        }
        for (name, value) in &quirks.fields {
            body.serialize_entry(name, value)?;
        }
        if let Some(field) = &quirks.tenant_field {
            body.serialize_entry(&**field, asked.tenant)?;
        }
        if self.unfinished && quirks.continues == Continues::FinalMessage {
            body.serialize_entry("continue_final_message", &true)?;
            body.serialize_entry("add_generation_prompt", &false)?;
        }
        for (name, value) in &conversation.rest {
            let ours =
                quirks.tenant_field.as_deref() == Some(name) || quirks.fields.contains_key(name);
            if !ours && !quirks.refused_fields.iter().any(|field| **field == **name) {
                body.serialize_entry(name, value)?;
            }
        }
        body.end()
    }
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    r#type: &'static str,
    json_schema: Schema<'a>,
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: &'a serde_json::value::RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

struct Tools<'a>(&'a [Tool]);

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            r#type: &'static str,
            function: Function<'a>,
        }
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            parameters: Option<&'a serde_json::value::RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            strict: Option<bool>,
        }
        serializer.collect_seq(self.0.iter().map(|tool| Written {
            r#type: "function",
            function: Function {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters: tool.parameters.as_deref(),
                strict: tool.strict,
            },
        }))
    }
}

struct Messages<'a>(&'a Says<'a>);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let says = self.0;
        let quirks = says.asked.quirks;
        let mut messages = serializer.serialize_seq(None)?;
        // Pictures among the results of calls: shown in a turn of the user's after all results.
        let mut shown: Vec<&Part> = Vec::new();
        for turn in &says.conversation.turns {
            if !matches!(turn, Turn::Result { .. }) && !shown.is_empty() {
                messages.serialize_element(&Message::Parts("user", &std::mem::take(&mut shown)))?;
            }
            match turn {
                Turn::System(parts) => {
                    messages.serialize_element(&Message::Text("system", &text_of(parts)))?
                }
                Turn::User(parts) => {
                    if let [Part::Text(text)] = &parts[..] {
                        messages.serialize_element(&Message::Text("user", text))?;
                    } else if parts.iter().all(|part| matches!(part, Part::Text(_)))
                        && quirks.string_content
                    {
                        messages.serialize_element(&Message::Text("user", &text_of(parts)))?;
                    } else {
                        messages.serialize_element(&Message::Parts(
                            "user",
                            &parts.iter().collect::<Vec<_>>(),
                        ))?;
                    }
                }
                Turn::Assistant(said) => messages.serialize_element(&Assistant { said, says })?,
                Turn::Result {
                    call,
                    parts,
                    failed,
                } => {
                    shown.extend(parts.iter().filter(|part| matches!(part, Part::Image(_))));
                    messages.serialize_element(&ToolResult {
                        call,
                        text: &text_of(parts),
                        failed: *failed,
                    })?;
                }
            }
        }
        if !shown.is_empty() {
            messages.serialize_element(&Message::Parts("user", &shown))?;
        }
        messages.end()
    }
}

enum Message<'a> {
    Text(&'static str, &'a str),
    Parts(&'static str, &'a [&'a Part]),
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = serializer.serialize_map(Some(2))?;
        match self {
            Message::Text(role, text) => {
                message.serialize_entry("role", role)?;
                message.serialize_entry("content", text)?;
            }
            Message::Parts(role, parts) => {
                message.serialize_entry("role", role)?;
                message.serialize_entry(
                    "content",
                    &parts.iter().map(|part| Content(part)).collect::<Vec<_>>(),
                )?;
            }
        }
        message.end()
    }
}

struct Content<'a>(&'a Part);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Address<'a> {
            url: &'a str,
        }
        let mut content = serializer.serialize_map(Some(2))?;
        match self.0 {
            Part::Text(text) => {
                content.serialize_entry("type", "text")?;
                content.serialize_entry("text", text)?;
            }
            Part::Image(image) => {
                content.serialize_entry("type", "image_url")?;
                match image {
                    Image::Url(url) => content.serialize_entry("image_url", &Address { url })?,
                    Image::Inline { media_type, data } => {
                        let url = format!("data:{media_type};base64,{data}");
                        content.serialize_entry("image_url", &Address { url: &url })?;
                    }
                }
            }
        }
        content.end()
    }
}

struct Assistant<'a> {
    said: &'a Said,
    says: &'a Says<'a>,
}

impl Serialize for Assistant<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let said = self.said;
        let quirks = self.says.asked.quirks;
        let mut message = serializer.serialize_map(None)?;
        message.serialize_entry("role", "assistant")?;
        let known = said.reasoning.as_deref().filter(|text| !text.is_empty());
        let reasoning = match quirks.history_reasoning {
            HistoryReasoning::Refused => None,
            HistoryReasoning::Accepted => known,
            // All or nothing: a turn whose thinking is lost gets words that say so.
            HistoryReasoning::Required => known.or_else(|| {
                (owes(said) && self.says.effort != Effort::Off).then_some(&*quirks.lost_reasoning)
            }),
        };
        if let Some(reasoning) = reasoning {
            message.serialize_entry(quirks.reasoning_field(), reasoning)?;
        }
        if said.text.is_empty() && !said.calls.is_empty() {
            message.serialize_entry("content", &())?;
        } else {
            message.serialize_entry("content", &said.text)?;
        }
        if !said.calls.is_empty() {
            message.serialize_entry("tool_calls", &Calls(&said.calls))?;
        }
        if said.unfinished && quirks.continues == Continues::Prefix {
            message.serialize_entry("prefix", &true)?;
        }
        message.end()
    }
}

struct Calls<'a>(&'a [Call]);

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            id: &'a str,
            r#type: &'static str,
            function: Function<'a>,
        }
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        serializer.collect_seq(self.0.iter().map(|call| Written {
            id: &call.id,
            r#type: "function",
            function: Function {
                name: &call.name,
                // A call without arguments is one with none of them.
                arguments: if call.arguments.is_empty() {
                    "{}"
                } else {
                    &call.arguments
                },
            },
        }))
    }
}

struct ToolResult<'a> {
    call: &'a str,
    text: &'a str,
    failed: bool,
}

impl Serialize for ToolResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = serializer.serialize_map(Some(3))?;
        message.serialize_entry("role", "tool")?;
        message.serialize_entry("tool_call_id", self.call)?;
        if self.failed {
            // This dialect has no field for it.
            message.serialize_entry("content", &format!("Error: {}", self.text))?;
        } else {
            message.serialize_entry("content", self.text)?;
        }
        message.end()
    }
}

#[cfg(test)]
mod tests;
