//! A conversation as the body of Converse and ConverseStream, which is the same for both. It relies
//! on `turns` for the messages and on `names` for names that fit.
//! Source: botocore 1.44's model of `bedrock-runtime`, whose validator the tests run.
//!
//! Two wishes have no words here and are left out, because a host may leave them unfulfilled
//! anyway: `seed`, and that calls come one at a time. What would change the answer's meaning is
//! refused instead, so that a host that can say it is asked.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Number, json};

use super::super::{Asked, CannotSay, Outgoing};
use super::names::fitting;
use super::turns::{Message, SystemBlock, cannot, turns};
use crate::catalog::{JsonObject, Quirks};
use crate::chat::{Conversation, Effort, Format, Frames, Sampling, Tool, ToolChoice, Turn};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Converse<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<SystemBlock<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference_config: Option<InferenceConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_request_fields: Option<&'a JsonObject>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    tools: Vec<ToolEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum ToolEntry<'a> {
    ToolSpec(ToolSpec<'a>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolSpec<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: InputSchema<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Debug, Serialize)]
struct InputSchema<'a> {
    json: Schema<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Schema<'a> {
    Written(&'a RawValue),
    Open(serde_json::Value),
}

/// Left out means that the model decides; there is no word for "none".
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Choice<'a> {
    Any {},
    Tool { name: Cow<'a, str> },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InferenceConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputConfig<'a> {
    text_format: TextFormat<'a>,
}

#[derive(Debug, Serialize)]
struct TextFormat<'a> {
    r#type: &'static str,
    structure: Structure<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Structure<'a> {
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        /// The schema as text, not as an object.
        schema: &'a str,
    },
}

/// The conversation in Bedrock's words.
///
/// # Errors
/// What Converse, or this host as the catalog knows it, has no words for.
pub fn body(conversation: &Conversation, asked: Asked<'_>) -> Result<Outgoing, CannotSay> {
    if conversation.choices > 1 {
        return cannot("more than one choice");
    }
    if conversation.logprobs.is_some() {
        return cannot("log probabilities");
    }
    let (system, messages) = turns(conversation, asked.quirks.converse_history_reasoning)?;
    let converse = Converse {
        system,
        messages,
        tool_config: tool_config(conversation)?,
        inference_config: inference_config(conversation, asked)?,
        output_config: output_config(&conversation.format)?,
        additional_model_request_fields: thinking(conversation.effort, asked.quirks)?,
    };
    let written = serde_json::to_vec(&converse)
        .map_err(|error| CannotSay(format!("the request cannot be written as JSON: {error}")))?;
    let mut frames = Frames::default();
    frames.push(Bytes::from(written));
    let mut headers = HeaderMap::new();
    let accept = if asked.stream {
        "application/vnd.amazon.eventstream"
    } else {
        "application/json"
    };
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    Ok(Outgoing {
        body: frames,
        headers,
    })
}

/// Tools, and whether one must be called. Converse refuses a history of calls without tools: where
/// the caller gives none, the names in the history stand for them.
fn tool_config(conversation: &Conversation) -> Result<Option<ToolConfig<'_>>, CannotSay> {
    let called: BTreeSet<&str> = conversation
        .turns
        .iter()
        .flat_map(|turn| match turn {
            Turn::Assistant(said) => said.calls.as_slice(),
            _ => &[],
        })
        .map(|call| call.name.as_str())
        .collect();
    if conversation.tools.is_empty() {
        let tools: Vec<ToolEntry<'_>> = called.into_iter().map(stand_in).collect();
        return Ok((!tools.is_empty()).then_some(ToolConfig {
            tools,
            tool_choice: None,
        }));
    }
    let tool_choice = match &conversation.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::Required => Some(Choice::Any {}),
        ToolChoice::Named(name) => Some(Choice::Tool {
            name: fitting(name),
        }),
        // Tools that must not be called are not mentioned, but those called before must be.
        ToolChoice::None if called.is_empty() => return Ok(None),
        ToolChoice::None => {
            return cannot("that no tool may be called (tool_choice none) after calls of tools");
        }
    };
    Ok(Some(ToolConfig {
        tools: conversation.tools.iter().map(tool_spec).collect(),
        tool_choice,
    }))
}

fn tool_spec(tool: &Tool) -> ToolEntry<'_> {
    let json = match &tool.parameters {
        Some(written) => Schema::Written(written),
        None => Schema::Open(json!({"type": "object", "properties": {}})),
    };
    ToolEntry::ToolSpec(ToolSpec {
        name: fitting(&tool.name),
        description: tool
            .description
            .as_deref()
            .filter(|text| !text.trim().is_empty()),
        input_schema: InputSchema { json },
        strict: tool.strict.filter(|strict| *strict),
    })
}

fn stand_in(name: &str) -> ToolEntry<'_> {
    ToolEntry::ToolSpec(ToolSpec {
        name: fitting(name),
        description: None,
        input_schema: InputSchema {
            json: Schema::Open(json!({"type": "object"})),
        },
        strict: None,
    })
}

fn inference_config<'a>(
    conversation: &'a Conversation,
    asked: Asked<'_>,
) -> Result<Option<InferenceConfig<'a>>, CannotSay> {
    let Sampling {
        temperature,
        top_p,
        presence_penalty,
        frequency_penalty,
        seed: _,
        stop,
    } = &conversation.sampling;
    let above_one = |number: &Option<Number>| {
        let number = number.as_ref().and_then(Number::as_f64);
        number.is_some_and(|number| number > 1.0)
    };
    if above_one(temperature) {
        return cannot("a temperature above 1");
    }
    let penalty = |number: &Option<Number>| {
        let number = number.as_ref().and_then(Number::as_f64);
        number.is_some_and(|number| number != 0.0)
    };
    if penalty(presence_penalty) || penalty(frequency_penalty) {
        return cannot("presence and frequency penalties");
    }
    let config = InferenceConfig {
        max_tokens: conversation
            .max_output
            .or(asked.bound)
            .map(crate::chat::Tokens::get),
        temperature: temperature.as_ref(),
        top_p: top_p.as_ref(),
        stop_sequences: stop
            .iter()
            .map(String::as_str)
            .filter(|stop| !stop.is_empty())
            .collect(),
    };
    let says_nothing = config.max_tokens.is_none()
        && config.temperature.is_none()
        && config.top_p.is_none()
        && config.stop_sequences.is_empty();
    Ok((!says_nothing).then_some(config))
}

fn output_config(format: &Format) -> Result<Option<OutputConfig<'_>>, CannotSay> {
    match format {
        Format::Text => Ok(None),
        Format::JsonObject => cannot("that the answer be JSON of any kind, only JSON by a schema"),
        Format::JsonSchema {
            name,
            description,
            schema,
            strict: _,
        } => Ok(Some(OutputConfig {
            text_format: TextFormat {
                r#type: "json_schema",
                structure: Structure::JsonSchema {
                    name,
                    description: description.as_deref(),
                    schema: schema.get(),
                },
            },
        })),
    }
}

/// The fields that switch thinking, as far as the catalog knows them. Not to think must be said; a
/// level of it is a wish, left to the model's default where there is no word for it.
fn thinking(effort: Effort, quirks: &Quirks) -> Result<Option<&JsonObject>, CannotSay> {
    let known = &quirks.converse_thinking;
    match effort {
        Effort::Unsaid => Ok(None),
        Effort::High => Ok(known.high.as_ref()),
        Effort::Max => Ok(known.max.as_ref().or(known.high.as_ref())),
        Effort::Off => match &known.off {
            Some(fields) => Ok(Some(fields)),
            None => cannot(
                "that the model must not think: the catalog has no field for it (quirks.converse_thinking.off)",
            ),
        },
    }
}
