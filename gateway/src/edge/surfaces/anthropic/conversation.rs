//! The complete reading of a Messages body, for wires of another dialect. One pass builds the turns;
//! only a body that cannot be read is looked at again, to say where.
//! What has no counterpart and no weight (`cache_control`, `context_management`, `metadata`,
//! `service_tier`) is left out; what would change the answer is refused by name.

mod turns;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use self::turns::{Content, Message};
use crate::chat::{Code, Conversation, Format, Refusal, Request, Sampling, Tool, ToolChoice, Turn};

#[derive(Deserialize)]
struct Body<'a> {
    system: Option<Content<'a>>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    tools: Option<Vec<ToolIn>>,
    tool_choice: Option<ChoiceIn>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    top_k: Option<Number>,
    stop_sequences: Option<Vec<String>>,
    output_config: Option<OutputConfig>,
    output_format: Option<FormatIn>,
}

#[derive(Deserialize)]
#[serde(expecting = "a tool: an object with a `name` and an `input_schema`")]
struct ToolIn {
    /// Absent or `custom` for a tool of the caller's own.
    r#type: Option<String>,
    name: Option<String>,
    description: Option<String>,
    input_schema: Option<Arc<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct ChoiceIn {
    r#type: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
struct OutputConfig {
    format: Option<FormatIn>,
}

#[derive(Deserialize)]
struct FormatIn {
    r#type: String,
    schema: Option<Arc<RawValue>>,
}

/// Reads the request's body wholly.
///
/// # Errors
/// `invalid_request` with the place at fault, such as `messages.3.content.0`.
pub fn conversation(request: &Request) -> Result<Conversation, Refusal> {
    let frames = &request.original.frames;
    let bytes = frames.slice(0..frames.len());
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        Refusal::new(
            Code::InvalidRequest,
            format!(
                "the body is not UTF-8 at byte {}; send JSON in UTF-8",
                error.valid_up_to()
            ),
        )
    })?;
    let body: Body<'_> = serde_json::from_str(text).map_err(|error| misread(text, &error))?;

    let mut turns = Vec::with_capacity(body.messages.len() + 1);
    if let Some(system) = body.system {
        let parts = turns::system(system, "system")?;
        if !parts.is_empty() {
            turns.push(Turn::System(parts));
        }
    }
    let before = turns.len();
    turns::read(body.messages, &mut turns)?;
    if turns.len() == before {
        return Err(Refusal::invalid(
            "messages",
            "`messages` hold nothing that a model could answer; send a text",
        ));
    }

    let tools = tools(body.tools.unwrap_or_default())?;
    let (tool_choice, parallel_calls) = choice(body.tool_choice)?;
    let offered = match &tool_choice {
        ToolChoice::Auto | ToolChoice::None => true,
        ToolChoice::Required => !tools.is_empty(),
        ToolChoice::Named(name) => tools.iter().any(|tool| tool.name == *name),
    };
    if !offered {
        return Err(Refusal::invalid(
            "tool_choice",
            "`tool_choice` demands a tool that is not among the `tools`; declare it",
        ));
    }
    let mut rest = Map::new();
    if let Some(top_k) = body.top_k {
        rest.insert("top_k".to_owned(), Value::Number(top_k));
    }
    let format = body
        .output_config
        .and_then(|config| config.format)
        .or(body.output_format);
    Ok(Conversation {
        turns,
        tools,
        tool_choice,
        parallel_calls,
        format: answer_format(format)?,
        sampling: Sampling {
            temperature: body.temperature,
            top_p: body.top_p,
            stop: body.stop_sequences.unwrap_or_default(),
            ..Sampling::default()
        },
        effort: request.effort,
        max_output: request.max_output,
        choices: 1,
        logprobs: None,
        rest,
    })
}

fn tools(tools: Vec<ToolIn>) -> Result<Vec<Tool>, Refusal> {
    tools
        .into_iter()
        .enumerate()
        .map(|(index, tool)| {
            let at = format!("tools.{index}");
            if let Some(kind) = tool.r#type.as_deref().filter(|kind| *kind != "custom") {
                return Err(Refusal::invalid(
                    &at,
                    format!(
                        "{at}: the built-in tool `{kind}` is Anthropic's own, and these models and their \
                         hosts do not have it; leave it out, or declare a tool with an `input_schema`"
                    ),
                ));
            }
            let Some(name) = tool.name.filter(|name| !name.is_empty()) else {
                return Err(Refusal::invalid(&at, format!("{at}: `name` is missing")));
            };
            if tool.input_schema.as_deref().is_some_and(is_no_schema) {
                return Err(Refusal::invalid(
                    &at,
                    format!("{at}: `input_schema` must be a JSON schema"),
                ));
            }
            Ok(Tool {
                name,
                description: tool.description,
                parameters: tool.input_schema,
                strict: tool.strict,
            })
        })
        .collect()
}

fn choice(choice: Option<ChoiceIn>) -> Result<(ToolChoice, Option<bool>), Refusal> {
    let Some(choice) = choice else {
        return Ok((ToolChoice::Auto, None));
    };
    let read = match (choice.r#type.as_str(), choice.name) {
        ("auto", _) => ToolChoice::Auto,
        ("any", _) => ToolChoice::Required,
        ("none", _) => ToolChoice::None,
        ("tool", Some(name)) => ToolChoice::Named(name),
        _ => {
            return Err(Refusal::invalid(
                "tool_choice",
                "`tool_choice` must be of type auto, any, none, or tool with a `name`",
            ));
        }
    };
    let one_only = choice.disable_parallel_tool_use == Some(true);
    Ok((read, one_only.then_some(false)))
}

/// The dialect guarantees the schema, hence `strict`; it gives the format no name, so it gets one.
fn answer_format(format: Option<FormatIn>) -> Result<Format, Refusal> {
    let Some(format) = format else {
        return Ok(Format::Text);
    };
    match (format.r#type.as_str(), format.schema) {
        ("json_schema", Some(schema)) if !is_no_schema(&schema) => Ok(Format::JsonSchema {
            name: "answer".to_owned(),
            description: None,
            schema,
            strict: Some(true),
        }),
        _ => Err(Refusal::invalid(
            "output_config.format",
            "`output_config.format` must be of type json_schema, with a `schema`",
        )),
    }
}

/// Schemas of arguments and of answers are objects.
fn is_no_schema(written: &RawValue) -> bool {
    !written.get().starts_with('{')
}

/// Says where a body departs from the dialect: the first message, or the first field, that cannot
/// be read.
fn misread(text: &str, error: &serde_json::Error) -> Refusal {
    #[derive(Deserialize)]
    struct Pieces<'a> {
        #[serde(borrow)]
        messages: Option<Vec<&'a RawValue>>,
        #[serde(borrow)]
        tools: Option<Vec<&'a RawValue>>,
    }
    let place = serde_json::from_str::<Pieces<'_>>(text)
        .ok()
        .and_then(|pieces| {
            first_wrong::<Message<'_>>("messages", &pieces.messages?)
                .or_else(|| first_wrong::<ToolIn>("tools", &pieces.tools?))
        });
    match place {
        Some((at, error)) => Refusal::invalid(&at, format!("{at}: {}", without_position(&error))),
        None => Refusal::new(
            Code::InvalidRequest,
            format!("the body is no Messages request: {error}"),
        ),
    }
}

fn first_wrong<'a, T: Deserialize<'a>>(
    field: &str,
    values: &[&'a RawValue],
) -> Option<(String, serde_json::Error)> {
    values.iter().enumerate().find_map(|(index, value)| {
        let error = serde_json::from_str::<T>(value.get()).err()?;
        Some((format!("{field}.{index}"), error))
    })
}

/// The position within one message says nothing to somebody who sees the whole body.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::chat::Frames;

    #[test]
    fn a_picture_is_the_same_in_its_address_and_in_itself() {
        let read = |source: Value| {
            let body = json!({"model": "m", "max_tokens": 9, "messages": [
                {"role": "user", "content": [{"type": "image", "source": source}]}]});
            let request = super::super::read(Frames::from(Bytes::from(body.to_string())));
            conversation(&request.expect("a request"))
        };
        let inline = json!({"type": "base64", "media_type": "image/PNG", "data": "aGk="});
        let address = json!({"type": "url", "url": "data:image/png;base64,aGk="});
        let turns = |source| read(source).expect("a conversation").turns;
        assert_eq!(turns(inline), turns(address));
        let broken = json!({"type": "base64", "media_type": " ", "data": "aGk="});
        assert!(read(broken).is_err());
    }

    /// Putting each result in its place by moving what follows would cost the square of their number.
    #[test]
    fn very_many_results_behind_one_turn_are_read_in_their_order() {
        const MANY: usize = 40_000;
        let calls: Vec<Value> = (0..MANY)
            .map(|at| json!({"type": "tool_use", "id": format!("t{at}"), "name": "f", "input": {}}))
            .collect();
        let mut messages = vec![
            json!({"role": "user", "content": "x"}),
            json!({"role": "assistant", "content": calls}),
        ];
        messages.extend((0..MANY).map(|at| {
            json!({"role": "user", "content": [{"type": "text", "text": "and"},
                {"type": "tool_result", "tool_use_id": format!("t{at}"), "content": "1"}]})
        }));
        let body = json!({"model": "m", "max_tokens": 9, "messages": messages});
        let request = super::super::read(Frames::from(Bytes::from(body.to_string())));
        let turns = conversation(&request.expect("a request"))
            .expect("a conversation")
            .turns;
        assert_eq!(turns.len(), 2 + 2 * MANY);
        for (at, turn) in turns[2..2 + MANY].iter().enumerate() {
            assert!(matches!(turn, Turn::Result { call, .. } if *call == format!("t{at}")));
        }
        assert_eq!(turns.last(), Some(&Turn::user("and")));
    }

    #[test]
    fn what_no_host_could_be_asked_is_refused_by_its_place() {
        for (fields, field) in [
            (
                json!({"messages": [{"role": "user", "content": []}]}),
                "messages",
            ),
            (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
            (
                json!({"tool_choice": {"type": "tool", "name": "g"}, "tools": [{"name": "f"}]}),
                "tool_choice",
            ),
            (
                json!({"tools": [{"name": "f", "input_schema": []}]}),
                "tools.0",
            ),
            (
                json!({"output_config": {"format": {"type": "json_schema", "schema": 1}}}),
                "output_config.format",
            ),
        ] {
            let mut body = json!({"model": "m", "max_tokens": 9, "system": "s",
                "messages": [{"role": "user", "content": "x"}]});
            for (key, value) in fields.as_object().expect("fields") {
                body[key] = value.clone();
            }
            let request = super::super::read(Frames::from(Bytes::from(body.to_string())));
            let refusal = conversation(&request.expect("a request")).expect_err(field);
            assert_eq!(refusal.field.as_deref(), Some(field), "{refusal}");
        }
    }
}
