//! The turns of a conversation as Converse wants them: instructions apart, users and assistants in
//! alternation, the results of tools in the turn behind their calls and before its text. It relies
//! on `names` for ids that fit.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::CannotSay;
use super::names::fitting;
use crate::chat::{Call, Conversation, Image, Part, Said, Turn};

/// Converse refuses empty text; a result must hold something.
const EMPTY_RESULT: &str = "(empty)";

#[derive(Debug, Serialize)]
pub(super) struct SystemBlock<'a> {
    text: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    role: Role,
    content: Vec<Block<'a>>,
    /// What is to stand at its head; empty once all turns are read.
    #[serde(skip)]
    results: Vec<Block<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Role {
    User,
    Assistant,
}

/// A union on the wire: exactly one member.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Block<'a> {
    Text(Cow<'a, str>),
    Image(ImageBlock<'a>),
    #[serde(rename_all = "camelCase")]
    ToolUse {
        tool_use_id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Input<'a>,
    },
    #[serde(rename_all = "camelCase")]
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: Vec<Block<'a>>,
        status: &'static str,
    },
    #[serde(rename_all = "camelCase")]
    ReasoningContent {
        reasoning_text: Reasoning<'a>,
    },
}

#[derive(Debug, Serialize)]
struct Reasoning<'a> {
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct ImageBlock<'a> {
    format: &'static str,
    source: ImageBytes<'a>,
}

#[derive(Debug, Serialize)]
struct ImageBytes<'a> {
    /// Base64, as JSON carries it.
    bytes: &'a str,
}

/// A call's arguments as an object.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Input<'a> {
    /// Byte for byte what the model wrote.
    Written(&'a RawValue),
    Wrapped {
        arguments: &'a str,
    },
    None {},
}

/// Instructions and messages.
pub(super) fn turns<'a>(
    conversation: &'a Conversation,
    with_reasoning: bool,
) -> Result<(Vec<SystemBlock<'a>>, Vec<Message<'a>>), CannotSay> {
    let mut system = Vec::new();
    let mut talk = Talk::default();
    for turn in &conversation.turns {
        match turn {
            Turn::System(parts) if talk.messages.is_empty() => {
                for part in parts {
                    match part {
                        Part::Text(text) if blank(text) => {}
                        Part::Text(text) => system.push(SystemBlock { text }),
                        Part::Image(_) => return cannot("images in system turns"),
                    }
                }
            }
            Turn::System(parts) => talk.instruct(parts)?,
            Turn::User(parts) => {
                for block in blocks(parts)? {
                    talk.push(Role::User, block);
                }
            }
            Turn::Assistant(said) => talk.said(said, with_reasoning)?,
            Turn::Result {
                call,
                parts,
                failed,
            } => talk.result(call, parts, *failed)?,
        }
    }
    match talk.messages.first() {
        None => cannot("a conversation without a user's turn"),
        Some(first) if first.role == Role::Assistant => {
            cannot("a conversation that begins with the assistant's turn")
        }
        Some(_) => Ok((system, talk.complete())),
    }
}

/// Messages so far.
#[derive(Default)]
struct Talk<'a> {
    messages: Vec<Message<'a>>,
    /// Which message holds a call.
    calls: HashMap<&'a str, usize>,
}

impl<'a> Talk<'a> {
    /// Adds to the last message, or begins one where the role changes.
    fn push(&mut self, role: Role, block: Block<'a>) {
        if self.messages.last().is_none_or(|last| last.role != role) {
            self.messages.push(Message {
                role,
                content: Vec::new(),
                results: Vec::new(),
            });
        }
        if let Some(last) = self.messages.last_mut() {
            last.content.push(block);
        }
    }

    /// Instructions in mid-conversation: the user's turn holds them, marked, since Converse has
    /// instructions at the head only.
    fn instruct(&mut self, parts: &'a [Part]) -> Result<(), CannotSay> {
        for part in parts {
            match part {
                Part::Text(text) if blank(text) => {}
                Part::Text(text) => {
                    let marked = format!("<system>\n{text}\n</system>");
                    self.push(Role::User, Block::Text(marked.into()));
                }
                Part::Image(_) => return cannot("images in system turns"),
            }
        }
        Ok(())
    }

    fn said(&mut self, said: &'a Said, with_reasoning: bool) -> Result<(), CannotSay> {
        if said.unfinished {
            return cannot("an answer that goes on from a given beginning");
        }
        if let Some(text) = said.reasoning.as_deref().filter(|text| !blank(text))
            && with_reasoning
        {
            let reasoning_text = Reasoning { text };
            self.push(Role::Assistant, Block::ReasoningContent { reasoning_text });
        }
        if !blank(&said.text) {
            self.push(Role::Assistant, Block::Text(said.text.as_str().into()));
        }
        for call in &said.calls {
            let block = Block::ToolUse {
                tool_use_id: fitting(&call.id),
                name: fitting(&call.name),
                input: input(call),
            };
            self.push(Role::Assistant, block);
            self.calls.insert(&call.id, self.messages.len() - 1);
        }
        Ok(())
    }

    /// A result goes into the user's turn behind its call, before the text of that turn.
    fn result(&mut self, call: &'a str, parts: &'a [Part], failed: bool) -> Result<(), CannotSay> {
        let Some(called) = self.calls.get(call).copied() else {
            return cannot(&format!(
                "the result of `{call}`, which no turn before calls"
            ));
        };
        let mut content = blocks(parts)?;
        if content.is_empty() {
            content.push(Block::Text(EMPTY_RESULT.into()));
        }
        let block = Block::ToolResult {
            tool_use_id: fitting(call),
            content,
            status: if failed { "error" } else { "success" },
        };
        if called + 1 == self.messages.len() {
            self.messages.push(Message {
                role: Role::User,
                content: Vec::new(),
                results: Vec::new(),
            });
        }
        self.messages[called + 1].results.push(block);
        Ok(())
    }

    /// The messages, each with its results at its head.
    fn complete(mut self) -> Vec<Message<'a>> {
        for message in &mut self.messages {
            let rest =
                std::mem::replace(&mut message.content, std::mem::take(&mut message.results));
            message.content.extend(rest);
        }
        self.messages
    }
}

/// Arguments that are no object cannot be sent as such: they go as text under one name, so that a
/// conversation survives what a model once wrote. Nothing written is an object without members.
fn input(call: &Call) -> Input<'_> {
    let arguments = call.arguments.trim();
    if arguments.is_empty() {
        return Input::None {};
    }
    match serde_json::from_str::<&RawValue>(arguments) {
        Ok(written) if written.get().starts_with('{') => Input::Written(written),
        _ => Input::Wrapped { arguments },
    }
}

/// Text stays text, also where it is JSON: the model sees the tool's own bytes.
fn blocks(parts: &[Part]) -> Result<Vec<Block<'_>>, CannotSay> {
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Text(text) if blank(text) => {}
            Part::Text(text) => blocks.push(Block::Text(text.as_str().into())),
            Part::Image(image) => blocks.push(Block::Image(picture(image)?)),
        }
    }
    Ok(blocks)
}

fn picture(image: &Image) -> Result<ImageBlock<'_>, CannotSay> {
    let (media_type, bytes) = match image {
        Image::Inline { media_type, data } => (media_type.to_ascii_lowercase(), data),
        Image::Url(_) => return cannot("images by address, only images in themselves (base64)"),
    };
    let format = match media_type.as_str() {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        other => {
            return cannot(&format!(
                "images of type `{other}`, only png, jpeg, gif and webp"
            ));
        }
    };
    Ok(ImageBlock {
        format,
        source: ImageBytes { bytes },
    })
}

fn blank(text: &str) -> bool {
    text.trim().is_empty()
}

pub(super) fn cannot<T>(what: &str) -> Result<T, CannotSay> {
    Err(CannotSay(format!("Bedrock's Converse cannot say {what}")))
}
