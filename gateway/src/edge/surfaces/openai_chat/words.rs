//! The words that OpenAI's chat and text completions share in their answers, written as JSON straight
//! into a buffer: strings, numbers, usage and reasons to finish.

use bytes::{BufMut, BytesMut};

use crate::chat::{Finish, Usage};
use crate::id::RequestId;

/// A string with its quotes.
pub(in crate::edge::surfaces) fn string(text: &str, out: &mut BytesMut) {
    // Writing to memory does not fail, and every string is a JSON string.
    let _ = serde_json::to_writer(out.writer(), text);
}

pub(in crate::edge::surfaces) fn number(count: u64, out: &mut BytesMut) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = count;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// JSON of the host's own, on one line: line breaks in it would end a `data:` line, and between
/// values they mean nothing.
pub(in crate::edge::surfaces) fn foreign(json: &str, out: &mut BytesMut) {
    let mut rest = json.as_bytes();
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.put_slice(&rest[..at]);
        out.put_u8(b' ');
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}

/// The usage object: cached tokens are part of `prompt_tokens` and reasoning of
/// `completion_tokens`, as OpenAI counts; hit and miss beside them, as DeepSeek's clients read.
pub(in crate::edge::surfaces) fn usage(usage: &Usage, out: &mut BytesMut) {
    let (input, output) = (usage.input(), usage.output());
    let hit = usage.cache_hit.get();
    for (name, count) in [
        ("{\"prompt_tokens\":", input.get()),
        (",\"completion_tokens\":", output.get()),
        (",\"total_tokens\":", (input + output).get()),
        (",\"prompt_tokens_details\":{\"cached_tokens\":", hit),
    ] {
        out.put_slice(name.as_bytes());
        number(count, out);
    }
    let written = usage.cache_write.get();
    if written > 0 {
        out.put_slice(b",\"cache_write_tokens\":");
        number(written, out);
    }
    for (name, count) in [
        (
            "},\"completion_tokens_details\":{\"reasoning_tokens\":",
            usage.reasoning.get(),
        ),
        ("},\"prompt_cache_hit_tokens\":", hit),
        (
            ",\"prompt_cache_miss_tokens\":",
            input.get().saturating_sub(hit),
        ),
    ] {
        out.put_slice(name.as_bytes());
        number(count, out);
    }
    out.put_u8(b'}');
}

/// Why a choice ended. Some hosts end calls with a plain stop: their presence decides.
pub(in crate::edge::surfaces) fn finish(reason: Option<Finish>, has_calls: bool) -> &'static str {
    match reason {
        Some(Finish::ToolCalls) => "tool_calls",
        None | Some(Finish::Stop | Finish::StopString | Finish::Other) if has_calls => "tool_calls",
        None | Some(Finish::Stop | Finish::StopString | Finish::Other) => "stop",
        Some(Finish::Length | Finish::WindowFull) => "length",
        Some(Finish::ContentFilter) => "content_filter",
        // DeepSeek's word for it, so that nobody takes the answer for complete.
        Some(Finish::HostGaveUp) => "insufficient_system_resource",
    }
}

/// The second in which a request came in: its id begins with it.
pub(in crate::edge::surfaces) fn created(id: RequestId) -> u64 {
    id.uuid()
        .get_timestamp()
        .map_or(0, |instant| instant.to_unix().0)
}
