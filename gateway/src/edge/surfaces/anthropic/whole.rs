//! A plain answer as a Messages object, and the words that it shares with streams.
//! Source: anthropic-python 2.x, `Message`, `Usage`, `StopReason`.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::openai_chat::words::{number, string};
use crate::chat::{Conversation, Finish, Reply, Request, Usage};
use crate::history::OwnSeal;
use crate::id::RequestId;

pub fn whole(
    request: &Request,
    _: &Conversation,
    id: RequestId,
    seal: Option<&OwnSeal>,
    reply: &Reply,
) -> Bytes {
    let mut body = BytesMut::new();
    let out = &mut body;
    out.put_slice(b"{\"id\":");
    string(&format!("msg_{id}"), out);
    out.put_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    string(&request.model, out);
    out.put_slice(b",\"content\":[");
    let choice = reply.choices.first();
    let mut blocks = 0;
    let mut next = |out: &mut BytesMut| {
        if blocks > 0 {
            out.put_u8(b',');
        }
        blocks += 1;
    };
    let said = choice.map(|choice| &choice.said);
    if let Some(text) = said
        .and_then(|said| said.reasoning.as_deref())
        .filter(|text| !text.is_empty())
    {
        next(out);
        out.put_slice(b"{\"type\":\"thinking\",\"thinking\":");
        string(text, out);
        out.put_slice(b",\"signature\":");
        string(
            &seal.map_or_else(String::new, |seal| seal.close_text(text)),
            out,
        );
        out.put_u8(b'}');
    }
    if let Some(said) = said.filter(|said| !said.text.is_empty()) {
        next(out);
        out.put_slice(b"{\"type\":\"text\",\"text\":");
        string(&said.text, out);
        out.put_u8(b'}');
    }
    for call in said.iter().flat_map(|said| &said.calls) {
        next(out);
        out.put_slice(b"{\"type\":\"tool_use\",\"id\":");
        string(&call.id, out);
        out.put_slice(b",\"name\":");
        string(&call.name, out);
        out.put_slice(b",\"input\":");
        out.put_slice(object(&call.arguments).as_bytes());
        out.put_u8(b'}');
    }
    out.put_slice(b"],\"stop_reason\":\"");
    let has_calls = said.is_some_and(|said| !said.calls.is_empty());
    out.put_slice(stop_reason(choice.and_then(|choice| choice.finish), has_calls).as_bytes());
    out.put_slice(b"\",\"stop_sequence\":null,\"usage\":");
    usage(&reply.usage.unwrap_or_default(), out);
    out.put_u8(b'}');
    body.freeze()
}

/// Arguments as the object that this dialect wants. What the model wrote otherwise is kept as text
/// under a name that says so, rather than lost.
fn object(arguments: &str) -> String {
    if arguments.trim().is_empty() {
        return "{}".to_owned();
    }
    match serde_json::from_str::<serde_json::Value>(arguments) {
        Ok(value) if value.is_object() => value.to_string(),
        _ => serde_json::json!({"invalid_json": arguments}).to_string(),
    }
}

/// Why the answer ended. Calls decide: some hosts end them with a plain stop.
pub(super) fn stop_reason(finish: Option<Finish>, has_calls: bool) -> &'static str {
    match finish {
        Some(Finish::Length) => "max_tokens",
        Some(Finish::WindowFull) => "model_context_window_exceeded",
        Some(Finish::ContentFilter) => "refusal",
        _ if has_calls => "tool_use",
        Some(Finish::StopString) => "stop_sequence",
        _ => "end_turn",
    }
}

/// The counts: input without what was read from or written to a cache, output with thinking.
pub(super) fn usage(usage: &Usage, out: &mut BytesMut) {
    for (name, count) in [
        ("{\"input_tokens\":", usage.cache_miss),
        (",\"cache_creation_input_tokens\":", usage.cache_write),
        (",\"cache_read_input_tokens\":", usage.cache_hit),
        (",\"output_tokens\":", usage.output()),
        (
            ",\"output_tokens_details\":{\"thinking_tokens\":",
            usage.reasoning,
        ),
    ] {
        out.put_slice(name.as_bytes());
        number(count.get(), out);
    }
    out.put_slice(b"}}");
}
