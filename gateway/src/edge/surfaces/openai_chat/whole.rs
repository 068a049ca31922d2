//! A plain answer: a `chat.completion` object, written from a complete reply.
//! Source: openai-python 2.x, `chat.chat_completion`.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::words;
use crate::chat::{Choice, Conversation, Reply, Request};
use crate::id::RequestId;

/// Tells a complete answer.
pub fn whole(request: &Request, _: &Conversation, id: RequestId, reply: &Reply) -> Bytes {
    let mut body = BytesMut::new();
    let out = &mut body;
    out.put_slice(b"{\"id\":");
    words::string(&format!("chatcmpl-{id}"), out);
    out.put_slice(b",\"object\":\"chat.completion\",\"created\":");
    words::number(words::created(id), out);
    out.put_slice(b",\"model\":");
    words::string(&request.model, out);
    out.put_slice(b",\"choices\":[");
    for (index, one) in reply.choices.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        choice(index, one, out);
    }
    out.put_slice(b"]");
    if let Some(usage) = &reply.usage {
        out.put_slice(b",\"usage\":");
        words::usage(usage, out);
    }
    out.put_u8(b'}');
    body.freeze()
}

fn choice(index: usize, choice: &Choice, out: &mut BytesMut) {
    let said = &choice.said;
    out.put_slice(b"{\"index\":");
    words::number(index as u64, out);
    out.put_slice(b",\"message\":{\"role\":\"assistant\",\"content\":");
    // A call without a word beside it has no content; an answer of no words is an empty one.
    if said.text.is_empty() && !said.calls.is_empty() {
        out.put_slice(b"null");
    } else {
        words::string(&said.text, out);
    }
    out.put_slice(b",\"refusal\":null");
    if let Some(reasoning) = &said.reasoning {
        out.put_slice(b",\"reasoning_content\":");
        words::string(reasoning, out);
    }
    for (number, call) in said.calls.iter().enumerate() {
        out.put_slice(if number == 0 {
            b",\"tool_calls\":[{\"id\":".as_slice()
        } else {
            b",{\"id\":"
        });
        words::string(&call.id, out);
        out.put_slice(b",\"type\":\"function\",\"function\":{\"name\":");
        words::string(&call.name, out);
        out.put_slice(b",\"arguments\":");
        words::string(&call.arguments, out);
        out.put_slice(b"}}");
    }
    if !said.calls.is_empty() {
        out.put_u8(b']');
    }
    out.put_slice(b"},\"logprobs\":");
    logprobs(&choice.logprobs, out);
    out.put_slice(b",\"finish_reason\":\"");
    let word = words::finish(choice.finish, !said.calls.is_empty());
    out.put_slice(word.as_bytes());
    out.put_slice(b"\"}");
}

/// The pieces of a choice's log probabilities as one object; `null` where there are none.
fn logprobs(pieces: &[String], out: &mut BytesMut) {
    #[derive(Deserialize)]
    struct Piece<'a> {
        #[serde(borrow)]
        content: Option<Vec<&'a RawValue>>,
    }
    let tokens: Vec<&RawValue> = pieces
        .iter()
        .filter_map(|piece| serde_json::from_str::<Piece<'_>>(piece).ok()?.content)
        .flatten()
        .collect();
    if pieces.is_empty() {
        out.put_slice(b"null");
        return;
    }
    out.put_slice(b"{\"content\":[");
    for (index, token) in tokens.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(token.get().as_bytes());
    }
    out.put_slice(b"],\"refusal\":null}");
}
