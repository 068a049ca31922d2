//! A plain answer: one message with its blocks in the dialect's order, thinking first.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::wording::{Told, input, message_id, only_stop, stop_reason};
use crate::chat::{Conversation, Finish, Reply, Request};
use crate::id::RequestId;

/// Makes the signature of a thinking block from its whole text; opaque to the caller, who brings
/// it back with the block.
pub type Seal = Box<dyn Fn(&str) -> String + Send + Sync>;

#[derive(Serialize)]
struct Message<'a> {
    id: String,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: Told,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Thinking {
        thinking: &'a str,
        signature: String,
    },
    Text {
        text: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Box<RawValue>,
    },
}

/// An answer with unsigned thinking.
pub fn whole(
    request: &Request,
    conversation: &Conversation,
    id: RequestId,
    reply: &Reply,
) -> Bytes {
    whole_sealed(request, conversation, id, reply, &|_| String::new())
}

/// An answer whose thinking block is signed by `seal`. Only the first choice is told: the dialect
/// has no other.
pub fn whole_sealed(
    request: &Request,
    conversation: &Conversation,
    id: RequestId,
    reply: &Reply,
    seal: &dyn Fn(&str) -> String,
) -> Bytes {
    let choice = reply.choices.first();
    let finish = choice.and_then(|choice| choice.finish);
    let mut content = Vec::new();
    let mut called = false;
    if let Some(choice) = choice {
        let said = &choice.said;
        if let Some(thinking) = said.reasoning.as_deref().filter(|text| !text.is_empty()) {
            content.push(Block::Thinking {
                thinking,
                signature: seal(thinking),
            });
        }
        if !said.text.is_empty() {
            content.push(Block::Text { text: &said.text });
        }
        called = !said.calls.is_empty();
        content.extend(said.calls.iter().map(|call| Block::ToolUse {
            id: &call.id,
            name: &call.name,
            input: input(&call.arguments),
        }));
    }
    let stop_reason = stop_reason(finish, called);
    let message = Message {
        id: message_id(id),
        r#type: "message",
        role: "assistant",
        model: &request.model,
        content,
        stop_reason,
        stop_sequence: only_stop(conversation)
            .filter(|_| finish == Some(Finish::StopString) && stop_reason == "stop_sequence"),
        usage: Told::from(reply.usage.unwrap_or_default()),
    };
    Bytes::from(serde_json::to_vec(&message).expect("strings and numbers are always JSON"))
}
