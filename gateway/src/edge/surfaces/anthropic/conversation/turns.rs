//! Messages into turns. One message of this dialect may hold what others say in several: each
//! tool's result becomes a turn of its own, before the text beside it.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde_json::value::RawValue;

use super::super::super::openai_chat::conversation::messages::image as picture;
use crate::chat::{Call, Image, Part, Refusal, Said, Turn};

/// How Claude Code heads its system prompt for Anthropic's own books: version, entry point and, in
/// older versions, a value that changes with each request. At other hosts it would head the prompt,
/// and no two conversations would share a cached prefix: it is left out.
const ATTRIBUTION: &str = "x-anthropic-billing-header:";

#[derive(Deserialize)]
#[serde(expecting = "a message: an object with a `role` and `content`")]
pub(super) struct Message<'a> {
    role: Role,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    User,
    Assistant,
    /// Claude Code adds instructions in the middle of a conversation so.
    System,
}

/// A string is short for one block of text.
pub(super) enum Content<'a> {
    Text(String),
    Blocks(Vec<Block<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("content: a string or an array of blocks")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, blocks: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(blocks)).map(Content::Blocks)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Any block: which fields count follows from its type.
#[derive(Deserialize)]
#[serde(expecting = "a block: an object with a `type`")]
pub(super) struct Block<'a> {
    r#type: String,
    text: Option<String>,
    thinking: Option<String>,
    /// A picture's or a document's; a search result has a mere string here.
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    title: Option<String>,
    context: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    tool_use_id: Option<String>,
    /// A tool's result; server tools put other things here.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    is_error: Option<bool>,
}

/// What a picture or a document is taken from.
#[derive(Deserialize)]
#[serde(expecting = "a source: an object with a `type`")]
struct Source<'a> {
    r#type: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

/// Reads messages into turns.
pub(super) fn read(messages: Vec<Message<'_>>, turns: &mut Vec<Turn>) -> Result<(), Refusal> {
    let mut told = Told {
        turns,
        since: Vec::new(),
        called: HashSet::new(),
    };
    let last = messages.len().saturating_sub(1);
    for (index, message) in messages.into_iter().enumerate() {
        let at = format!("messages.{index}.content");
        match message.role {
            Role::System => {
                let parts = system(message.content, &at)?;
                if !parts.is_empty() {
                    told.since.push(Turn::System(parts));
                }
            }
            Role::User => user(message.content, &at, &mut told)?,
            Role::Assistant => {
                let mut said = assistant(message.content, &at)?;
                // An answer that the caller began is to go on from there.
                said.unfinished = index == last && said.calls.is_empty();
                told.add_said(said);
            }
        }
    }
    told.turns.append(&mut told.since);
    Ok(())
}

/// Instructions: texts only.
pub(super) fn system(content: Content<'_>, at: &str) -> Result<Vec<Part>, Refusal> {
    let texts = match content {
        Content::Text(text) => vec![text],
        Content::Blocks(blocks) => blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| match (block.r#type.as_str(), block.text) {
                ("text", Some(text)) => Ok(text),
                (other, _) => Err(refused(
                    &format!("{at}.{index}"),
                    &format!("instructions are blocks of text, and this is `{other}`"),
                )),
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(texts
        .into_iter()
        .map(without_attribution)
        .filter(|text| !text.is_empty())
        .map(Part::Text)
        .collect())
}

fn without_attribution(text: String) -> String {
    if !text.starts_with(ATTRIBUTION) {
        return text;
    }
    text.split_once('\n')
        .map_or_else(String::new, |(_, rest)| rest.to_owned())
}

fn user(content: Content<'_>, at: &str, told: &mut Told<'_>) -> Result<(), Refusal> {
    let blocks = match content {
        Content::Text(text) => {
            told.since.push(Turn::user(text));
            return Ok(());
        }
        Content::Blocks(blocks) => blocks,
    };
    let mut parts = Vec::new();
    for (index, block) in blocks.into_iter().enumerate() {
        let at = format!("{at}.{index}");
        if block.r#type == "tool_result" {
            let result = result(block, &at, told)?;
            told.turns.push(result);
        } else {
            part(block, &at, &mut parts)?;
        }
    }
    if !parts.is_empty() {
        told.since.push(Turn::User(parts));
    }
    Ok(())
}

fn result(block: Block<'_>, at: &str, told: &Told<'_>) -> Result<Turn, Refusal> {
    let Some(call) = block.tool_use_id else {
        return Err(refused(at, "`tool_use_id` is missing"));
    };
    let mut parts = Vec::new();
    if let Some(content) = block.content.filter(|content| content.get() != "null") {
        add_content(reread(content, at)?, at, &mut parts)?;
    }
    if !told.called.contains(&call) {
        return Err(refused(
            at,
            &format!("`tool_use_id` {call} answers no earlier `tool_use` block"),
        ));
    }
    Ok(Turn::Result {
        call,
        parts,
        failed: block.is_error == Some(true),
    })
}

fn add_content(content: Content<'_>, at: &str, parts: &mut Vec<Part>) -> Result<(), Refusal> {
    match content {
        Content::Text(text) => parts.push(Part::Text(text)),
        Content::Blocks(blocks) => {
            for (index, block) in blocks.into_iter().enumerate() {
                part(block, &format!("{at}.content.{index}"), parts)?;
            }
        }
    }
    Ok(())
}

/// What a caller shows: text, a picture, or a document that is text.
fn part(block: Block<'_>, at: &str, parts: &mut Vec<Part>) -> Result<(), Refusal> {
    match block.r#type.as_str() {
        "text" => match block.text {
            Some(text) => parts.push(Part::Text(text)),
            None => return Err(refused(at, "`text` is missing")),
        },
        "image" => parts.push(Part::Image(image(source(block.source, at)?, at)?)),
        "document" => {
            let source = source(block.source, at)?;
            document(source, [block.title, block.context], at, parts)?;
        }
        other => return Err(no_counterpart(other, at)),
    }
    Ok(())
}

fn source<'a>(source: Option<&'a RawValue>, at: &str) -> Result<Source<'a>, Refusal> {
    let Some(source) = source else {
        return Err(refused(at, "`source` is missing"));
    };
    reread(source, &format!("{at}.source"))
}

fn image(source: Source<'_>, at: &str) -> Result<Image, Refusal> {
    match (
        source.r#type.as_str(),
        source.url,
        source.media_type,
        source.data,
    ) {
        // A picture's address may hold the picture itself.
        ("url", Some(url), _, _) => picture(url, &format!("{at}.source")),
        ("base64", _, Some(media_type), Some(data)) => {
            let media_type = media_type.trim().to_ascii_lowercase();
            if media_type.is_empty() || media_type.contains([';', ',']) {
                return Err(refused(
                    &format!("{at}.source"),
                    "`media_type` must be that of a picture, such as image/png",
                ));
            }
            Ok(Image::Inline { media_type, data })
        }
        (other, ..) => Err(refused(
            &format!("{at}.source"),
            &format!(
                "a picture comes as base64 with `media_type` and `data`, or by its url; `{other}` cannot be read here"
            ),
        )),
    }
}

/// A document's title and context stand before its text, as its reader would have them.
fn document(
    source: Source<'_>,
    heads: [Option<String>; 2],
    at: &str,
    parts: &mut Vec<Part>,
) -> Result<(), Refusal> {
    let heads = heads.into_iter().flatten().filter(|head| !head.is_empty());
    match (source.r#type.as_str(), source.data, source.content) {
        ("text", Some(data), _) => {
            let mut text: String = heads.flat_map(|head| [head, "\n\n".to_owned()]).collect();
            text.push_str(&data);
            parts.push(Part::Text(text));
        }
        ("content", _, Some(content)) => {
            parts.extend(heads.map(Part::Text));
            let at = format!("{at}.source");
            if let Content::Blocks(blocks) = &content
                && let Some(within) = blocks.iter().position(|block| block.r#type == "document")
            {
                let at = format!("{at}.content.{within}");
                return Err(refused(
                    &at,
                    "a document holds texts and pictures, no documents",
                ));
            }
            add_content(content, &at, parts)?;
        }
        (other, ..) => {
            return Err(refused(
                &format!("{at}.source"),
                &format!(
                    "no host of these models reads a document from `{other}`; send its text as a \
                     source of type text"
                ),
            ));
        }
    }
    Ok(())
}

fn assistant(content: Content<'_>, at: &str) -> Result<Said, Refusal> {
    let mut said = Said::default();
    let blocks = match content {
        Content::Text(text) => {
            said.text = text;
            return Ok(said);
        }
        Content::Blocks(blocks) => blocks,
    };
    for (index, block) in blocks.into_iter().enumerate() {
        match block.r#type.as_str() {
            // Pieces of one text or of one line of thought: they were cut where a block ended.
            "text" => said.text.push_str(&block.text.unwrap_or_default()),
            "thinking" => {
                if let Some(text) = block.thinking.filter(|text| !text.is_empty()) {
                    said.reasoning.get_or_insert_default().push_str(&text);
                }
            }
            // Anthropic's own, sealed for its models alone.
            "redacted_thinking" => {}
            "tool_use" => {
                let (Some(id), Some(name)) = (block.id, block.name) else {
                    return Err(refused(
                        &format!("{at}.{index}"),
                        "a tool_use needs an `id` and a `name`",
                    ));
                };
                let arguments = block.input.map(RawValue::get);
                said.calls.push(Call {
                    id,
                    name,
                    arguments: arguments
                        .filter(|input| *input != "null")
                        .unwrap_or("{}")
                        .to_owned(),
                });
            }
            other => return Err(no_counterpart(other, &format!("{at}.{index}"))),
        }
    }
    Ok(said)
}

/// The turns so far. A result stands right after the calls and their other results, whatever the
/// caller or a system message put between: hosts of other dialects insist.
struct Told<'a> {
    /// Up to the last that the assistant said or a tool brought.
    turns: &'a mut Vec<Turn>,
    /// What users and instructions have said since.
    since: Vec<Turn>,
    /// Ids of all calls.
    called: HashSet<String>,
}

impl Told<'_> {
    /// Turns of the same side in a row are one turn in this dialect; where calls stood in two of
    /// them, hosts of others would miss the results of the first.
    fn add_said(&mut self, said: Said) {
        let ids = said.calls.iter().map(|call| call.id.clone());
        self.called.extend(ids);
        self.turns.append(&mut self.since);
        let Some(Turn::Assistant(before)) = self.turns.last_mut() else {
            self.turns.push(Turn::Assistant(said));
            return;
        };
        if !before.text.is_empty() && !said.text.is_empty() {
            before.text.push_str("\n\n");
        }
        before.text.push_str(&said.text);
        if let Some(reasoning) = said.reasoning {
            let kept = before.reasoning.get_or_insert_default();
            if !kept.is_empty() {
                kept.push_str("\n\n");
            }
            kept.push_str(&reasoning);
        }
        before.calls.extend(said.calls);
        before.unfinished = said.unfinished && before.calls.is_empty();
    }
}

fn reread<'a, T: Deserialize<'a>>(value: &'a RawValue, at: &str) -> Result<T, Refusal> {
    serde_json::from_str(value.get()).map_err(|error| refused(at, &super::without_position(&error)))
}

fn no_counterpart(kind: &str, at: &str) -> Refusal {
    refused(
        at,
        &format!(
            "a block of type `{kind}` has no counterpart at the hosts of these models; leave it out, \
             or send what it holds as text"
        ),
    )
}

fn refused(at: &str, why: &str) -> Refusal {
    Refusal::invalid(at, format!("{at}: {why}"))
}
