//! A Messages request read completely. What steers only Anthropic's own service (cache marks, beta
//! switches, metadata) is passed over; what a model of this family cannot do is refused by the path
//! of its field.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use crate::chat::{
    Call, Conversation, Format, Image, Part, Refusal, Request, Said, Tool, ToolChoice, Turn,
};

#[derive(Deserialize)]
struct Body {
    messages: Vec<Message>,
    system: Option<Content>,
    tools: Option<Vec<ToolForm>>,
    tool_choice: Option<ToolChoiceForm>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    top_k: Option<Number>,
    stop_sequences: Option<Vec<String>>,
    output_config: Option<OutputConfig>,
    output_format: Option<FormatForm>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Content,
}

/// A string, or blocks; read in one pass, so that what blocks hold as raw JSON stays raw.
enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or blocks of content")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut blocks: A) -> Result<Content, A::Error> {
                let mut read = Vec::new();
                while let Some(block) = blocks.next_element()? {
                    read.push(block);
                }
                Ok(Content::Blocks(read))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[derive(Deserialize)]
struct Block {
    r#type: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Box<RawValue>>,
    tool_use_id: Option<String>,
    content: Option<Box<RawValue>>,
    #[serde(default)]
    is_error: Option<bool>,
    source: Option<Source>,
    title: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    r#type: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct ToolForm {
    r#type: Option<String>,
    name: Option<String>,
    description: Option<String>,
    input_schema: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct ToolChoiceForm {
    r#type: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
struct OutputConfig {
    format: Option<FormatForm>,
}

#[derive(Deserialize)]
struct FormatForm {
    r#type: String,
    schema: Option<Box<RawValue>>,
}

/// Reads all of a request that [`read`](super::read) has accepted.
///
/// # Errors
/// `invalid_request` with the path of the field at fault.
pub fn conversation(request: &Request) -> Result<Conversation, Refusal> {
    let frames = &request.original.frames;
    let body: Body = serde_json::from_slice(&frames.slice(0..frames.len())).map_err(|error| {
        Refusal::invalid("messages", format!("the request cannot be read: {error}"))
    })?;
    let mut turns = Vec::with_capacity(body.messages.len() + 1);
    if let Some(system) = body.system {
        let parts = system_parts(system)?;
        if !parts.is_empty() {
            turns.push(Turn::System(parts));
        }
    }
    for (index, message) in body.messages.into_iter().enumerate() {
        message.turns(&format!("messages.{index}"), &mut turns)?;
    }
    // A last turn of the assistant is the beginning of its answer.
    if let Some(Turn::Assistant(said)) = turns.last_mut()
        && said.calls.is_empty()
    {
        said.unfinished = true;
    }
    let format = body
        .output_config
        .and_then(|config| config.format)
        .or(body.output_format);
    let mut conversation = Conversation {
        turns,
        tools: tools(body.tools.unwrap_or_default())?,
        format: format.map(form).transpose()?.unwrap_or_default(),
        effort: request.effort,
        max_output: request.max_output,
        choices: 1,
        ..Conversation::default()
    };
    conversation.sampling.temperature = body.temperature;
    conversation.sampling.top_p = body.top_p;
    conversation.sampling.stop = body.stop_sequences.unwrap_or_default();
    if let Some(top_k) = body.top_k {
        conversation
            .rest
            .insert("top_k".to_owned(), Value::Number(top_k));
    }
    if let Some(choice) = body.tool_choice {
        if choice.disable_parallel_tool_use == Some(true) {
            conversation.parallel_calls = Some(false);
        }
        conversation.tool_choice = match choice.r#type.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "any" => ToolChoice::Required,
            "tool" => ToolChoice::Named(choice.name.ok_or_else(|| {
                Refusal::invalid("tool_choice.name", "tool_choice.name: Field required")
            })?),
            other => {
                return Err(Refusal::invalid(
                    "tool_choice.type",
                    format!(
                        "tool_choice.type must be auto, any, tool or none, not `{}`",
                        shown(other)
                    ),
                ));
            }
        };
    }
    Ok(conversation)
}

/// Claude Code heads its instructions with a line about itself, which older versions change with
/// each request: it says nothing to the model, and at the head of the prompt it would keep any two
/// requests from sharing a cached prefix.
const ATTRIBUTION: &str = "x-anthropic-billing-header:";

fn system_parts(content: Content) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::new();
    match content {
        Content::Text(text) => parts.push(Part::Text(text)),
        Content::Blocks(blocks) => {
            for (index, block) in blocks.into_iter().enumerate() {
                match (block.r#type.as_str(), block.text) {
                    ("text", Some(text)) => parts.push(Part::Text(text)),
                    _ => {
                        return Err(Refusal::invalid(
                            &format!("system.{index}"),
                            format!("system.{index} must be a text block"),
                        ));
                    }
                }
            }
        }
    }
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty() || text.starts_with(ATTRIBUTION)));
    Ok(parts)
}

impl Message {
    fn turns(self, path: &str, turns: &mut Vec<Turn>) -> Result<(), Refusal> {
        match self.role.as_str() {
            "user" => user(self.content, path, turns),
            "assistant" => assistant(self.content, path, turns),
            // In the middle of a conversation, as Claude Code sends it.
            "system" => {
                turns.push(Turn::System(system_parts(self.content)?));
                Ok(())
            }
            other => Err(Refusal::invalid(
                &format!("{path}.role"),
                format!(
                    "{path}.role must be user or assistant, not `{}`",
                    shown(other)
                ),
            )),
        }
    }
}

fn user(content: Content, path: &str, turns: &mut Vec<Turn>) -> Result<(), Refusal> {
    let blocks = match content {
        Content::Text(text) => {
            turns.push(Turn::user(text));
            return Ok(());
        }
        Content::Blocks(blocks) => blocks,
    };
    let mut parts = Vec::new();
    for (index, block) in blocks.into_iter().enumerate() {
        let path = format!("{path}.content.{index}");
        if block.r#type == "tool_result" {
            // Results stand before what is said beside them, wherever the caller put them.
            turns.push(result(block, &path)?);
        } else if let Some(part) = part(block, &path)? {
            parts.push(part);
        }
    }
    if !parts.is_empty() {
        turns.push(Turn::User(parts));
    }
    Ok(())
}

fn result(block: Block, path: &str) -> Result<Turn, Refusal> {
    let call = block.tool_use_id.ok_or_else(|| {
        Refusal::invalid(
            &format!("{path}.tool_use_id"),
            format!("{path}.tool_use_id: Field required"),
        )
    })?;
    let content: Option<Content> = match block.content {
        None => None,
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| {
            Refusal::invalid(
                &format!("{path}.content"),
                format!("{path}.content must be text or blocks"),
            )
        })?,
    };
    let parts = match content {
        None => Vec::new(),
        Some(Content::Text(text)) => vec![Part::Text(text)],
        Some(Content::Blocks(blocks)) => {
            let mut parts = Vec::with_capacity(blocks.len());
            for (index, block) in blocks.into_iter().enumerate() {
                parts.extend(part(block, &format!("{path}.content.{index}"))?);
            }
            parts
        }
    };
    Ok(Turn::Result {
        call,
        parts,
        failed: block.is_error == Some(true),
    })
}

/// A piece of content; `None` for what says nothing to a model.
fn part(block: Block, path: &str) -> Result<Option<Part>, Refusal> {
    match block.r#type.as_str() {
        "text" => Ok(block.text.filter(|text| !text.is_empty()).map(Part::Text)),
        "image" => {
            let source = block.source.ok_or_else(|| missing(path, "source"))?;
            let image = match source.r#type.as_str() {
                "base64" => Image::Inline {
                    media_type: source
                        .media_type
                        .ok_or_else(|| missing(path, "source.media_type"))?,
                    data: source.data.ok_or_else(|| missing(path, "source.data"))?,
                },
                "url" => Image::Url(source.url.ok_or_else(|| missing(path, "source.url"))?),
                other => return Err(unable(path, &format!("images by `{}`", shown(other)))),
            };
            Ok(Some(Part::Image(image)))
        }
        "document" => {
            let source = block.source.ok_or_else(|| missing(path, "source"))?;
            match (source.r#type.as_str(), source.data) {
                ("text", Some(text)) => {
                    let title = block
                        .title
                        .map(|title| format!("{title}\n\n"))
                        .unwrap_or_default();
                    Ok(Some(Part::Text(format!("{title}{text}"))))
                }
                (other, _) => Err(unable(
                    path,
                    &format!("documents by `{}`; send their text", shown(other)),
                )),
            }
        }
        // A tool that was named to be looked at later: the model has it already.
        "tool_reference" => Ok(None),
        other => Err(unable(
            path,
            &format!("blocks of the type `{}`", shown(other)),
        )),
    }
}

fn assistant(content: Content, path: &str, turns: &mut Vec<Turn>) -> Result<(), Refusal> {
    let mut said = Said::default();
    match content {
        Content::Text(text) => said.text = text,
        Content::Blocks(blocks) => {
            for (index, block) in blocks.into_iter().enumerate() {
                let path = format!("{path}.content.{index}");
                match block.r#type.as_str() {
                    "text" => said.text.push_str(block.text.as_deref().unwrap_or("")),
                    // The signature is Anthropic's or ours; the text is what counts.
                    "thinking" => said
                        .reasoning
                        .get_or_insert_default()
                        .push_str(block.thinking.as_deref().unwrap_or("")),
                    "redacted_thinking" => {}
                    "tool_use" => said.calls.push(Call {
                        id: block.id.ok_or_else(|| missing(&path, "id"))?,
                        name: block.name.ok_or_else(|| missing(&path, "name"))?,
                        arguments: block
                            .input
                            .map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
                    }),
                    other => {
                        return Err(unable(
                            &path,
                            &format!("blocks of the type `{}`", shown(other)),
                        ));
                    }
                }
            }
        }
    }
    if said.reasoning.as_deref() == Some("") {
        said.reasoning = None;
    }
    turns.push(Turn::Assistant(said));
    Ok(())
}

fn tools(forms: Vec<ToolForm>) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::with_capacity(forms.len());
    for (index, form) in forms.into_iter().enumerate() {
        let path = format!("tools.{index}");
        match form.r#type.as_deref() {
            None | Some("custom") => {}
            Some(other) => {
                return Err(unable(
                    &path,
                    &format!(
                        "Anthropic's own tool `{}`; offer a tool with an input_schema",
                        shown(other)
                    ),
                ));
            }
        }
        tools.push(Tool {
            name: form.name.ok_or_else(|| missing(&path, "name"))?,
            description: form.description,
            parameters: form.input_schema.map(Arc::from),
            strict: form.strict,
        });
    }
    Ok(tools)
}

fn form(form: FormatForm) -> Result<Format, Refusal> {
    match (form.r#type.as_str(), form.schema) {
        ("json_schema", Some(schema)) => Ok(Format::JsonSchema {
            name: "answer".to_owned(),
            description: None,
            schema: Arc::from(schema),
            strict: Some(true),
        }),
        (other, _) => Err(Refusal::invalid(
            "output_config.format",
            format!(
                "output_config.format must be a json_schema with its schema, not `{}`",
                shown(other)
            ),
        )),
    }
}

fn missing(path: &str, field: &str) -> Refusal {
    let path = format!("{path}.{field}");
    let message = format!("{path}: Field required");
    Refusal::invalid(&path, message)
}

fn unable(path: &str, what: &str) -> Refusal {
    Refusal::invalid(path, format!("{path}: these models do not take {what}"))
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
