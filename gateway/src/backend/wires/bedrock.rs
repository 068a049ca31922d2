//! The wire of AWS Bedrock: Converse and ConverseStream. `body` writes the request, [`Hearing`]
//! hears the stream, [`plain`] reads a plain answer, `errors` says what a failure is.
//! Source: botocore 1.44's model of `bedrock-runtime` and AWS's Converse API reference.

mod body;
mod errors;
mod eventstream;
mod hearing;
mod names;
mod turns;
mod usage;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use body::body;
pub use errors::{error_message, error_type, judged_status};
pub use hearing::Hearing;
pub use names::Names;

use super::openai::Plain;
use crate::chat::{Call, Choice, Finish, Reply, Said};
use usage::RawUsage;

/// Where a model is asked, behind the address of `bedrock-runtime`. The id is percent-encoded:
/// `deepseek.v3-v1:0` becomes `deepseek.v3-v1%3A0`.
pub fn path(model: &str, stream: bool) -> String {
    let mut path = String::from("/model/");
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path.push_str(if stream {
        "/converse-stream"
    } else {
        "/converse"
    });
    path
}

/// Bedrock's id of an answer, which its body does not tell.
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-amzn-requestid")?.to_str().ok()?;
    Some(id.chars().take(128).collect())
}

fn finish(word: &str) -> Finish {
    match word {
        "end_turn" => Finish::Stop,
        "stop_sequence" => Finish::StopString,
        "max_tokens" => Finish::Length,
        "model_context_window_exceeded" => Finish::WindowFull,
        "tool_use" => Finish::ToolCalls,
        "content_filtered" | "guardrail_intervened" => Finish::ContentFilter,
        "malformed_model_output" | "malformed_tool_use" => Finish::HostGaveUp,
        _ => Finish::Other,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    output: Option<Output>,
    stop_reason: Option<String>,
    usage: Option<RawUsage>,
    #[serde(rename = "__type")]
    kind: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Output {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    text: Option<String>,
    tool_use: Option<ToolUse>,
    reasoning_content: Option<Reasoning>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse {
    #[serde(default)]
    tool_use_id: String,
    #[serde(default)]
    name: String,
    input: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning {
    reasoning_text: Option<ReasoningText>,
}

#[derive(Deserialize)]
struct ReasoningText {
    #[serde(default)]
    text: String,
}

/// Reads a plain answer: what the books need of it, and the answer itself (empty where there is
/// none). `names` are those of the conversation, `host_request` is [`request_id`]'s.
pub fn plain(body: &[u8], names: &Names, host_request: Option<String>) -> (Plain, Reply) {
    let nothing = |plain| (plain, Reply::default());
    let trimmed = body.trim_ascii();
    let answer: Answer = match serde_json::from_slice(trimmed) {
        Ok(answer) => answer,
        Err(error) if error.is_eof() && trimmed.first() == Some(&b'{') => {
            return nothing(Plain::Truncated);
        }
        Err(_) => return nothing(Plain::NotAnAnswer),
    };
    let Some(message) = answer.output.and_then(|output| output.message) else {
        return nothing(match (answer.kind, answer.message) {
            (Some(kind), Some(message)) => Plain::Error(format!("{kind}: {message}")),
            (kind, message) => kind.or(message).map_or(Plain::NotAnAnswer, Plain::Error),
        });
    };
    let said = said(message, names, host_request.as_deref().unwrap_or("answer"));
    let mut reason = answer.stop_reason.as_deref().map(finish);
    if reason == Some(Finish::Stop) && !said.calls.is_empty() {
        reason = Some(Finish::ToolCalls);
    }
    let read = answer.usage.map(RawUsage::normalise);
    let usage = read.and_then(Result::ok);
    let plain = Plain::Answer {
        usage,
        nonsense: matches!(read, Some(Err(_))),
        finish: reason,
        host_request: host_request.clone(),
        visible_bytes: length(&said),
    };
    let choice = Choice {
        said,
        finish: reason,
        logprobs: Vec::new(),
    };
    let reply = Reply {
        id: host_request,
        choices: vec![choice],
        usage,
    };
    (plain, reply)
}

fn said(message: Message, names: &Names, answer: &str) -> Said {
    let mut said = Said::default();
    for block in message.content {
        if let Some(text) = block.text {
            said.text.push_str(&text);
        }
        if let Some(thought) = block
            .reasoning_content
            .and_then(|thought| thought.reasoning_text)
        {
            said.reasoning
                .get_or_insert_default()
                .push_str(&thought.text);
        }
        if let Some(call) = block.tool_use {
            let repeated = said.calls.iter().any(|known| known.id == call.tool_use_id);
            let id = if call.tool_use_id.is_empty() || repeated {
                format!("call_{answer}_{}", said.calls.len())
            } else {
                call.tool_use_id
            };
            said.calls.push(Call {
                id,
                name: names.callers(&call.name).to_owned(),
                arguments: call
                    .input
                    .map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
            });
        }
    }
    said
}

/// Bytes of all that was said, thinking included: for answers whose usage never comes.
fn length(said: &Said) -> u64 {
    let calls = said.calls.iter();
    let calls = calls.map(|call| call.name.len() + call.arguments.len());
    let thought = said.reasoning.as_ref().map_or(0, String::len);
    (said.text.len() + thought + calls.sum::<usize>()) as u64
}
