//! A request read completely: the turns so far and what the next one may be. Surfaces read their
//! dialect into it and wires write theirs from it, so that neither knows the other. What only
//! routing needs stands in [`Request`](super::Request), which every request has; a conversation is
//! built only where a body cannot pass as it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::{Effort, Tokens};

/// What is asked of a model.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    /// Whether one answer may hold several calls; `None`: the model's own default.
    pub parallel_calls: Option<bool>,
    pub format: Format,
    pub sampling: Sampling,
    pub effort: Effort,
    /// On the output of each choice, thinking included.
    pub max_output: Option<Tokens>,
    /// How many answers.
    pub choices: u32,
    /// Log probabilities of the output, with this many alternatives.
    pub logprobs: Option<u8>,
    /// Fields of the caller's dialect that have no counterpart here, by their names in the
    /// OpenAI chat dialect: written out again only by a wire of that dialect.
    pub rest: Map<String, Value>,
}

/// One turn. Order is the caller's; a wire that needs another reorders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Instructions, at the head or in the middle of a conversation.
    System(Vec<Part>),
    User(Vec<Part>),
    Assistant(Said),
    /// What a call brought. `failed`: the tool says that it went wrong.
    Result {
        call: String,
        parts: Vec<Part>,
        failed: bool,
    },
}

/// What the model said in one turn, complete or so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// Its thinking, where it is known.
    pub reasoning: Option<String>,
    pub text: String,
    pub calls: Vec<Call>,
    /// The answer is to go on from here rather than after it.
    pub unfinished: bool,
}

/// A tool called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    /// The host's own where it gave one, unique within the conversation.
    pub id: String,
    pub name: String,
    /// JSON as the model wrote it; not always an object, not always valid.
    pub arguments: String,
}

/// A piece of a turn's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Text(String),
    Image(Image),
}

/// A picture, by address or in itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Image {
    Url(String),
    /// `data` is base64.
    Inline {
        media_type: String,
        data: String,
    },
}

/// A function that the model may call.
#[derive(Clone, Debug)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// JSON schema of its arguments, as the caller wrote it.
    pub parameters: Option<Arc<RawValue>>,
    pub strict: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides (also where the caller says nothing).
    #[default]
    Auto,
    None,
    /// It must call something.
    Required,
    /// It must call this.
    Named(String),
}

/// What form the answer's text must have.
#[derive(Clone, Debug, Default)]
pub enum Format {
    #[default]
    Text,
    JsonObject,
    JsonSchema {
        name: String,
        description: Option<String>,
        schema: Arc<RawValue>,
        strict: Option<bool>,
    },
}

/// Numbers as the caller wrote them; they pass through unjudged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub presence_penalty: Option<Number>,
    pub frequency_penalty: Option<Number>,
    pub seed: Option<i64>,
    pub stop: Vec<String>,
}

impl Turn {
    /// How much text it holds, bytes; a picture counts as it is written.
    pub fn bytes(&self) -> usize {
        let of = |parts: &[Part]| -> usize {
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.len(),
                    Part::Image(Image::Url(url)) => url.len(),
                    Part::Image(Image::Inline { data, .. }) => data.len(),
                })
                .sum()
        };
        match self {
            Turn::System(parts) | Turn::User(parts) | Turn::Result { parts, .. } => of(parts),
            Turn::Assistant(said) => {
                let calls: usize = said
                    .calls
                    .iter()
                    .map(|call| call.name.len() + call.arguments.len())
                    .sum();
                said.text.len() + calls
            }
        }
    }

    pub fn has_image(&self) -> bool {
        match self {
            Turn::System(parts) | Turn::User(parts) | Turn::Result { parts, .. } => {
                parts.iter().any(|part| matches!(part, Part::Image(_)))
            }
            Turn::Assistant(_) => false,
        }
    }

    pub fn user(text: impl Into<String>) -> Self {
        Turn::User(vec![Part::Text(text.into())])
    }

    pub fn system(text: impl Into<String>) -> Self {
        Turn::System(vec![Part::Text(text.into())])
    }
}

/// The texts of some parts, joined by blank lines; pictures are left out.
pub fn text_of(parts: &[Part]) -> String {
    let mut joined = String::new();
    for part in parts {
        if let Part::Text(text) = part {
            if !joined.is_empty() {
                joined.push_str("\n\n");
            }
            joined.push_str(text);
        }
    }
    joined
}
