//! The dialect's words for how an answer ended and what it used, the same in a stream and in a
//! plain answer.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::chat::{Conversation, Finish, Usage};
use crate::id::RequestId;

/// The id under which a caller knows an answer.
pub(super) fn message_id(id: RequestId) -> String {
    format!("msg_{id}")
}

/// Why it stopped. Some hosts end calls with `stop`, and some say `tool_calls` without any: whether
/// the caller has something to run is decided by the presence of calls.
///
/// A host that gave up has no word here: a stream says so by an `error` event, and a plain answer
/// is refused before it is told. Should one get this far it reads as cut off, never as complete.
pub(super) fn stop_reason(finish: Option<Finish>, called: bool) -> &'static str {
    match finish {
        Some(Finish::Length | Finish::HostGaveUp) => "max_tokens",
        Some(Finish::WindowFull) => "model_context_window_exceeded",
        Some(Finish::ContentFilter) => "refusal",
        _ if called => "tool_use",
        Some(Finish::StopString) => "stop_sequence",
        Some(Finish::Stop | Finish::ToolCalls | Finish::Other) | None => "end_turn",
    }
}

/// The stop string that can be meant where there is only one; hosts do not say which it was.
pub(super) fn only_stop(conversation: &Conversation) -> Option<&str> {
    match conversation.sampling.stop.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// Usage as the dialect splits it: `input_tokens` leaves out what the cache gave or took, and
/// `output_tokens` includes the thinking.
#[derive(Serialize)]
pub(super) struct Told {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: Details,
}

#[derive(Serialize)]
struct Details {
    thinking_tokens: u64,
}

impl From<Usage> for Told {
    fn from(usage: Usage) -> Self {
        Told {
            input_tokens: usage.cache_miss.get(),
            cache_creation_input_tokens: usage.cache_write.get(),
            cache_read_input_tokens: usage.cache_hit.get(),
            output_tokens: usage.output().get(),
            output_tokens_details: Details {
                thinking_tokens: usage.reasoning.get(),
            },
        }
    }
}

/// A call's arguments as the object that the dialect demands: none are `{}`, and what is no object
/// is wrapped as Anthropic's own manual advises for arguments that came out broken.
pub(super) fn input(arguments: &str) -> Box<RawValue> {
    let trimmed = arguments.trim_ascii();
    if trimmed.starts_with('{')
        && let Ok(object) = RawValue::from_string(trimmed.to_owned())
    {
        return object;
    }
    #[derive(Serialize)]
    struct Broken<'a> {
        #[serde(rename = "INVALID_JSON", skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
    }
    let text = (!matches!(trimmed, "" | "null")).then_some(arguments);
    to_raw_value(&Broken { text }).expect("a string is always JSON")
}
