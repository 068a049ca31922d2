//! The OpenAI-compatible wire. A body that is in this dialect passes with a few edits, and its
//! answer's bytes stay as the host sent them; anything else is written from the conversation (`say`)
//! and its answer heard as events (`hear`). Source: OpenAI's chat completion reference; deviations of
//! hosts are catalog data (`Quirks`).

mod hear;
mod say;
mod stream;
mod usage;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use smallvec::SmallVec;

pub use hear::{Hearing, heard};
pub use say::body;
pub use stream::{Pieces, Report, Sight, renamed};

use super::{Asked, Outgoing};
use crate::catalog::{HistoryReasoning, Quirks};
use crate::chat::scan::Member;
use crate::chat::{Edit, Finish, MaxField, Request, Usage};
use usage::RawUsage;

/// Whether the caller's own body can go to this host with edits in place: its turns need no change.
pub fn passes(request: &Request, quirks: &Quirks) -> bool {
    let seen = &request.seen;
    let turns_can_stay = match quirks.history_reasoning {
        HistoryReasoning::Required => !request.owes_reasoning(),
        HistoryReasoning::Accepted => seen.reasoning == 0 || !quirks.says_reasoning,
        HistoryReasoning::Refused => seen.reasoning == 0,
    };
    turns_can_stay
        && !seen.developer
        && !(quirks.string_content && seen.calls > 0)
        && !(quirks.forced_tools_need_thinking_off && request.needs.forced_tools)
        && say::thinking(request.effort, quirks).is_ok()
}

/// The caller's body with the host's model id, usage asked for, the host's own switch for thinking,
/// who asks, and the output bound where it is ours to set. Every other byte is the caller's own.
pub fn passed(request: &Request, asked: Asked<'_>) -> Outgoing {
    let (spans, quirks) = (&request.original.spans, asked.quirks);
    let mut edits: SmallVec<[Edit; 4]> = SmallVec::new();
    let mut inserted = String::new();
    edits.push(Edit {
        range: spans.model.clone(),
        with: Bytes::from(quoted(asked.model)),
    });
    if request.stream && !request.usage_wanted && !quirks.no_stream_options {
        match &spans.stream_options {
            Some(range) => edits.push(Edit {
                range: range.clone(),
                with: Bytes::from_static(b"{\"include_usage\":true}"),
            }),
            None => inserted.push_str("\"stream_options\":{\"include_usage\":true},"),
        }
    }
    let mut renamed = false;
    if let (None, Some(bound)) = (&spans.max_output, asked.bound) {
        let field = quirks.max_tokens_field.as_deref().unwrap_or("max_tokens");
        inserted.push_str(&format!("{}:{bound},", quoted(field)));
    } else if let (Some((field, _)), Some(wanted), Some(limit)) = (
        &spans.max_output,
        quirks.max_tokens_field.as_deref(),
        request.max_output,
    ) && wanted != name(*field)
    {
        // The host knows the bound by its other name.
        renamed = true;
        inserted.push_str(&format!("{}:{limit},", quoted(wanted)));
    }
    let words = say::thinking(request.effort, quirks).ok().flatten();
    for (name, value) in words.into_iter().flatten() {
        inserted.push_str(&format!("{}:{value},", quoted(name)));
    }
    for (name, value) in &quirks.fields {
        if !spans.members.iter().any(|member| member.key == *name) {
            inserted.push_str(&format!("{}:{value},", quoted(name)));
        }
    }
    if let Some(field) = &quirks.tenant_field {
        inserted.push_str(&format!("{}:{},", quoted(field), quoted(asked.tenant)));
    }
    if !inserted.is_empty() {
        let at = spans.first_member;
        edits.push(Edit {
            range: at..at,
            with: Bytes::from(inserted),
        });
    }
    remove(&spans.members, &mut edits, |key| {
        TENANT_FIELDS.contains(&key)
            || quirks.tenant_field.as_deref() == Some(key)
            || (words.is_some() && THINKING_FIELDS.contains(&key))
            || (renamed && matches!(key, "max_tokens" | "max_completion_tokens"))
            || quirks.refused_fields.iter().any(|field| **field == *key)
    });
    Outgoing {
        body: request.original.frames.edited(edits),
        headers: say::headers(quirks),
        continues: false,
    }
}

/// The fields by which hosts are told how much to think.
pub(super) const THINKING_FIELDS: [&str; 5] = [
    "thinking",
    "reasoning_effort",
    "reasoning",
    "enable_thinking",
    "thinking_budget",
];

/// The fields by which hosts keep tenants apart: ours to set, never the caller's.
pub(super) const TENANT_FIELDS: [&str; 3] = ["user_id", "prompt_cache_isolation_key", "cache_salt"];

/// Takes members out of an object, with the commas that would be left over.
fn remove(members: &[Member], edits: &mut SmallVec<[Edit; 4]>, unwanted: impl Fn(&str) -> bool) {
    let mut at = 0;
    while at < members.len() {
        if !unwanted(&members[at].key) {
            at += 1;
            continue;
        }
        let begin = at;
        while at < members.len() && unwanted(&members[at].key) {
            at += 1;
        }
        let range = match (members.get(at), begin.checked_sub(1)) {
            (Some(next), _) => members[begin].start..next.start,
            (None, Some(before)) => members[before].value.end..members[at - 1].value.end,
            // All members: a request has a model.
            (None, None) => return,
        };
        edits.push(Edit {
            range,
            with: Bytes::new(),
        });
    }
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
    use crate::chat::Tokens;

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
