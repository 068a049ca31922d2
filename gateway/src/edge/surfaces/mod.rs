//! The dialects that callers speak, one module each, and how the line sees them.

pub mod anthropic;
mod fields;
pub mod openai_chat;
pub mod openai_completions;
pub mod openai_responses;
#[cfg(test)]
mod tests_pairs;

use bytes::Bytes;

use crate::chat::{Code, Conversation, Frames, Refusal, Reply, Request, Speaker};
use crate::history::Stored;
use crate::stack::{Earlier, Surface, Telling};

/// `POST /v1/chat/completions`.
pub const CHAT: &dyn Surface = &Chat;
/// `POST /v1/messages`.
pub const ANTHROPIC: &dyn Surface = &Messages;
/// `POST /v1/responses`.
pub const RESPONSES: &dyn Surface = &Responses;
/// `POST /v1/completions`.
pub const COMPLETIONS: &dyn Surface = &Completions;

/// The surface that answers at a path.
pub fn of_path(path: &str) -> Option<&'static dyn Surface> {
    match path {
        "/v1/chat/completions" => Some(CHAT),
        "/v1/messages" => Some(ANTHROPIC),
        "/v1/responses" => Some(RESPONSES),
        "/v1/completions" => Some(COMPLETIONS),
        _ => None,
    }
}

#[derive(Debug)]
struct Chat;

impl Surface for Chat {
    fn name(&self) -> &'static str {
        "openai_chat"
    }

    fn read(&self, frames: Frames) -> Result<Request, Refusal> {
        openai_chat::read(frames)
    }

    fn conversation(&self, request: &Request, _: &Earlier) -> Result<Conversation, Refusal> {
        openai_chat::conversation(request)
    }

    fn speaker(&self, telling: &Telling<'_>) -> Box<dyn Speaker> {
        Box::new(openai_chat::Talk::new(
            telling.request,
            telling.conversation,
            telling.id,
        ))
    }

    fn resume(&self, telling: &Telling<'_>, begun: &Reply) -> Option<Box<dyn Speaker>> {
        Some(Box::new(openai_chat::Talk::resume(
            telling.request,
            telling.conversation,
            telling.id,
            begun.id.clone(),
            None,
        )))
    }

    fn whole(&self, telling: &Telling<'_>, reply: &Reply) -> Bytes {
        openai_chat::whole(telling.request, telling.conversation, telling.id, reply)
    }

    fn stream_error(&self, refusal: &Refusal) -> Bytes {
        openai_chat::stream_error(refusal)
    }

    fn error_body(&self, refusal: &Refusal) -> Bytes {
        openai_chat::error_body(refusal)
    }
}

#[derive(Debug)]
struct Messages;

impl Surface for Messages {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn read(&self, frames: Frames) -> Result<Request, Refusal> {
        anthropic::read(frames)
    }

    fn conversation(&self, request: &Request, _: &Earlier) -> Result<Conversation, Refusal> {
        anthropic::conversation(request)
    }

    fn speaker(&self, telling: &Telling<'_>) -> Box<dyn Speaker> {
        let talk = anthropic::Talk::new(telling.request, telling.conversation, telling.id);
        Box::new(talk.with_seal(sealing(telling)))
    }

    fn whole(&self, telling: &Telling<'_>, reply: &Reply) -> Bytes {
        let seal = sealing(telling);
        anthropic::whole_sealed(
            telling.request,
            telling.conversation,
            telling.id,
            reply,
            &seal,
        )
    }

    fn stream_error(&self, refusal: &Refusal) -> Bytes {
        let mut event = b"event: error\ndata: ".to_vec();
        event.extend_from_slice(&anthropic::error_body(refusal));
        event.extend_from_slice(b"\n\n");
        Bytes::from(event)
    }

    fn error_body(&self, refusal: &Refusal) -> Bytes {
        anthropic::error_body(refusal)
    }

    fn error_status(&self, code: Code) -> u16 {
        anthropic::error_status(code)
    }
}

#[derive(Debug)]
struct Responses;

impl Surface for Responses {
    fn name(&self) -> &'static str {
        "openai_responses"
    }

    fn read(&self, frames: Frames) -> Result<Request, Refusal> {
        openai_responses::read(frames)
    }

    fn conversation(&self, request: &Request, earlier: &Earlier) -> Result<Conversation, Refusal> {
        openai_responses::conversation_with(request, earlier.turns.clone(), &|sealed| {
            earlier.seal.open_text(sealed)
        })
    }

    fn speaker(&self, telling: &Telling<'_>) -> Box<dyn Speaker> {
        Box::new(responses_talk(telling))
    }

    fn whole(&self, telling: &Telling<'_>, reply: &Reply) -> Bytes {
        responses_talk(telling).whole(reply)
    }

    fn stored(&self, telling: &Telling<'_>, reply: &Reply) -> Option<Stored> {
        let stored =
            openai_responses::stored(telling.request, telling.conversation, telling.id, reply);
        Some(Stored {
            id: stored.id,
            turns: stored.turns,
            body: stored.body.to_vec(),
        })
    }

    fn stream_error(&self, refusal: &Refusal) -> Bytes {
        openai_responses::stream_error(refusal)
    }

    fn error_body(&self, refusal: &Refusal) -> Bytes {
        openai_responses::error_body(refusal)
    }
}

fn responses_talk(telling: &Telling<'_>) -> openai_responses::Talk {
    openai_responses::Talk::new(telling.request, telling.conversation, telling.id)
        .with_seal(sealing(telling))
}

/// Seals thinking that a caller is to bring back unread.
fn sealing(telling: &Telling<'_>) -> Box<dyn Fn(&str) -> String + Send + Sync> {
    let seal = telling.seal.clone();
    Box::new(move |text| seal.close_text(text))
}

#[derive(Debug)]
struct Completions;

impl Surface for Completions {
    fn name(&self) -> &'static str {
        "openai_completions"
    }

    fn read(&self, frames: Frames) -> Result<Request, Refusal> {
        openai_completions::read(frames)
    }

    fn conversation(&self, request: &Request, _: &Earlier) -> Result<Conversation, Refusal> {
        openai_completions::conversation(request)
    }

    fn speaker(&self, telling: &Telling<'_>) -> Box<dyn Speaker> {
        Box::new(openai_completions::Talk::new(
            telling.request,
            telling.conversation,
            telling.id,
        ))
    }

    fn whole(&self, telling: &Telling<'_>, reply: &Reply) -> Bytes {
        openai_completions::whole(telling.request, telling.conversation, telling.id, reply)
    }

    fn stream_error(&self, refusal: &Refusal) -> Bytes {
        openai_completions::stream_error(refusal)
    }

    fn error_body(&self, refusal: &Refusal) -> Bytes {
        openai_completions::error_body(refusal)
    }
}
