//! A request in the canonical language: what routing needs to know, and the body it came in.

use std::ops::Range;

use super::scan::{Member, Seen};
use super::{Frames, Tokens};

/// What a caller asks, whatever the dialect.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model as the caller named it.
    pub model: String,
    pub stream: bool,
    /// Whether the caller asked to be told the usage of a stream.
    pub usage_wanted: bool,
    /// The most output that the caller allows, for each choice.
    pub max_output: Option<Tokens>,
    pub choices: u32,
    pub needs: Needs,
    pub effort: Effort,
    /// The stored answer that this request goes on from.
    pub follows: Option<String>,
    /// The answer is to be stored, for later requests to go on from.
    pub keep: bool,
    pub original: Original,
}

/// What an offer must be able to do to serve a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub tools: bool,
    /// `tool_choice` required or named.
    pub forced_tools: bool,
    pub json_object: bool,
    pub json_schema: bool,
    pub images: bool,
    pub logprobs: bool,
    /// A bare prompt is to be completed, not a conversation answered.
    pub completions: bool,
    /// The completion must arrive at a suffix.
    pub fim: bool,
}

/// How much thinking is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// The caller does not say: the model's own default.
    #[default]
    Unsaid,
    Off,
    High,
    Max,
}

/// The body as it came, and where the fields lie that a wire of the same dialect edits.
#[derive(Clone, Debug)]
pub struct Original {
    pub dialect: Dialect,
    pub frames: Frames,
    pub spans: Spans,
}

/// The dialects whose bodies can pass through unchanged to a wire of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    OpenaiChat,
    OpenaiCompletions,
    OpenaiResponses,
    Anthropic,
}

/// Byte ranges of values in the body; `None` where the field is absent.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// Right after the opening brace: where an absent field can be inserted.
    pub first_member: usize,
    pub model: Range<usize>,
    pub stream_options: Option<Range<usize>>,
    /// The field that bounds the output, by whichever name the caller used.
    pub max_output: Option<(MaxField, Range<usize>)>,
    /// All members, in order.
    pub members: Vec<Member>,
    /// Bytes of the prompt: messages, tools and schemas.
    pub prompt_bytes: usize,
    /// What a scan saw below them.
    pub seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxField {
    MaxTokens,
    MaxCompletionTokens,
}
