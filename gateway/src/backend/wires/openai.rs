//! The OpenAI-compatible wire: requests passed with edits or written from the canonical
//! conversation, answers looked at as they pass or heard as canonical events. Where hosts deviate
//! is catalog data (`Quirks`); `golden/` shows what each one gets.
//! Source: OpenAI's chat completion reference.

mod calls;
mod chunk;
pub mod completions;
mod hearing;
mod json;
mod logprobs;
mod passing;
mod sse;
mod stream;
mod thinking;
mod turns;
mod usage;
mod writing;

use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

pub use hearing::{Hearing, heard};
pub use passing::{passed, passes};
pub use stream::{Pieces, Report, Sight, renamed};
pub use writing::body;

use crate::catalog::{Continues, Quirks, ReasoningField};
use crate::chat::{Conversation, Finish, Said, Turn, Usage};
use usage::RawUsage;

/// The address that takes this conversation, where it is another than the region's: an answer that
/// broke off is gone on with elsewhere at some hosts.
pub fn base<'a>(conversation: &Conversation, quirks: &'a Quirks) -> Option<&'a Url> {
    let unfinished = matches!(
        conversation.turns.last(),
        Some(Turn::Assistant(Said {
            unfinished: true,
            ..
        }))
    );
    quirks
        .prefix_base
        .as_ref()
        .filter(|_| unfinished && quirks.continues == Continues::Prefix)
}

/// Whether this host's thinking must be given the name that callers of this dialect know
/// (`Sight::new`, `renamed`).
pub fn renames_reasoning(quirks: &Quirks) -> bool {
    quirks.reasoning_field == ReasoningField::Reasoning
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A plain answer, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// A completion. `usage` is what the host reported, if it makes sense.
    Answer {
        usage: Option<Usage>,
        /// The host reported a usage that contradicts itself.
        nonsense: bool,
        finish: Option<Finish>,
        host_request: Option<String>,
        visible_bytes: u64,
    },
    /// Status 200 around an error.
    Error(String),
    /// No completion: HTML, an empty body, JSON of another kind.
    NotAnAnswer,
    /// It began as JSON and broke off.
    Truncated,
}

/// Reads a plain answer. Leading blank lines are allowed (DeepSeek sends them while it works).
pub fn plain(body: &[u8]) -> Plain {
    #[derive(Deserialize)]
    struct Answer<'a> {
        id: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow)]
        choices: Option<Vec<Choice<'a>>>,
        usage: Option<RawUsage>,
        error: Option<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow)]
        finish_reason: Option<std::borrow::Cow<'a, str>>,
        #[serde(rename = "message")]
        _message: Option<IgnoredAny>,
    }
    let trimmed = body.trim_ascii();
    let answer: Answer<'_> = match serde_json::from_slice(trimmed) {
        Ok(answer) => answer,
        Err(error) if error.is_eof() && trimmed.first() == Some(&b'{') => return Plain::Truncated,
        Err(_) => return Plain::NotAnAnswer,
    };
    if let Some(error) = answer.error.filter(|error| !error.is_null()) {
        return Plain::Error(error_text(&error));
    }
    let Some(choices) = answer.choices else {
        return Plain::NotAnAnswer;
    };
    let read = answer.usage.map(RawUsage::normalise);
    Plain::Answer {
        nonsense: matches!(read, Some(Err(_))),
        usage: read.and_then(Result::ok),
        finish: choices
            .iter()
            .find_map(|choice| choice.finish_reason.as_deref().map(finish)),
        host_request: answer.id.map(std::borrow::Cow::into_owned),
        visible_bytes: trimmed.len() as u64,
    }
}

/// A host's error body, as text for a person: its `error.message` where it has one.
pub fn error_message(body: &[u8]) -> String {
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        for pointer in ["/error", "/message", "/detail", "/0/error"] {
            if let Some(found) = value.pointer(pointer).filter(|found| !found.is_null()) {
                return error_text(found);
            }
        }
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') {
        return "no explanation".to_owned();
    }
    text.chars().take(300).collect()
}

fn error_text(error: &serde_json::Value) -> String {
    let text = error
        .get("message")
        .and_then(serde_json::Value::as_str)
        .or_else(|| error.as_str())
        .map_or_else(|| error.to_string(), str::to_owned);
    text.chars().take(600).collect()
}

fn finish(word: &str) -> Finish {
    match word {
        "stop" | "eos" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        "insufficient_system_resource" | "error" => Finish::HostGaveUp,
        _ => Finish::Other,
    }
}

#[cfg(test)]
#[path = "openai/tests/mod.rs"]
mod tests;
