//! The OpenAI-compatible wire: what is edited in a request on its way to a host, and what is read
//! from the answer on its way back. The answer's bytes stay as the host sent them.
//! Source: OpenAI's chat completion reference; deviations of hosts are catalog data (`Quirks`).

pub mod completions;
mod stream;
mod usage;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use smallvec::SmallVec;

pub use stream::{Pieces, Report, Sight};

use crate::catalog::Quirks;
use crate::chat::{Edit, Finish, Frames, MaxField, Request, Tokens, Usage};
use usage::RawUsage;

/// What is asked of the host beyond what the caller wrote.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host's id for the model.
    pub model: &'a str,
    pub quirks: &'a Quirks,
    /// A bound on the output where the caller gave none and a hard budget needs one.
    pub bound: Option<Tokens>,
}

/// The caller's body with the host's model id, usage asked for, and the output bound where it is
/// ours to set. Every other byte is the caller's own.
pub fn body(request: &Request, asked: Asked<'_>) -> Frames {
    let spans = &request.original.spans;
    let mut edits: SmallVec<[Edit; 4]> = SmallVec::new();
    let mut inserted = String::new();
    edits.push(Edit {
        range: spans.model.clone(),
        with: Bytes::from(quoted(asked.model)),
    });
    if request.stream && !request.usage_wanted && !asked.quirks.no_stream_options {
        match &spans.stream_options {
            Some(range) => edits.push(Edit {
                range: range.clone(),
                with: Bytes::from_static(b"{\"include_usage\":true}"),
            }),
            None => inserted.push_str("\"stream_options\":{\"include_usage\":true},"),
        }
    }
    if let (None, Some(bound)) = (&spans.max_output, asked.bound) {
        let field = asked
            .quirks
            .max_tokens_field
            .as_deref()
            .unwrap_or("max_tokens");
        inserted.push_str(&format!("{}:{bound},", quoted(field)));
    } else if let (Some((field, range)), Some(wanted), Some(limit)) = (
        &spans.max_output,
        asked.quirks.max_tokens_field.as_deref(),
        request.max_output,
    ) && wanted != name(*field)
    {
        // The host knows the bound by its other name: the old field becomes null, the new one is set.
        edits.push(Edit {
            range: range.clone(),
            with: Bytes::from_static(b"null"),
        });
        inserted.push_str(&format!("{}:{limit},", quoted(wanted)));
    }
    if !inserted.is_empty() {
        let at = spans.first_member;
        edits.push(Edit {
            range: at..at,
            with: Bytes::from(inserted),
        });
    }
    request.original.frames.edited(edits)
}

fn name(field: MaxField) -> &'static str {
    match field {
        MaxField::MaxTokens => "max_tokens",
        MaxField::MaxCompletionTokens => "max_completion_tokens",
    }
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_answer_is_told_from_what_is_none() {
        let answer = json!({"id":"c-1","choices":[{"finish_reason":"stop","message":{"content":"x"}}],
            "usage":{"prompt_tokens":10,"completion_tokens":4,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4}});
        let body = format!("\n\n\n{answer}");
        let Plain::Answer {
            usage: Some(usage),
            finish: Some(Finish::Stop),
            ..
        } = plain(body.as_bytes())
        else {
            panic!("an answer");
        };
        assert_eq!(
            (usage.cache_hit, usage.cache_miss),
            (Tokens::new(6), Tokens::new(4))
        );
        assert_eq!(plain(b"<html>"), Plain::NotAnAnswer);
        assert_eq!(plain(b""), Plain::NotAnAnswer);
        assert_eq!(plain(b"{\"choices\":[{\"fin"), Plain::Truncated);
        assert_eq!(
            plain(br#"{"error":{"message":"no"}}"#),
            Plain::Error("no".into())
        );
        assert_eq!(plain(br#"{"object":"list"}"#), Plain::NotAnAnswer);
    }

    #[test]
    fn a_host_error_is_told_in_its_own_words() {
        assert_eq!(error_message(br#"{"error":{"message":"bad n"}}"#), "bad n");
        assert_eq!(
            error_message(br#"[{"error":{"code":429,"message":"quota"}}]"#),
            "quota"
        );
        assert_eq!(error_message(b"Unauthorized"), "Unauthorized");
        assert_eq!(error_message(b"<html>502</html>"), "no explanation");
    }
}
