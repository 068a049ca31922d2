//! From a host's wire to the module that speaks it. The only place that knows all of them.

use bytes::Bytes;
use http::HeaderMap;

use super::bedrock::{self, Names};
use super::openai::{self, Plain, Sight};
use super::{Asked, CannotSay, Decoder, Outgoing};
use crate::catalog::{Quirks, Wire};
use crate::chat::{Conversation, Dialect, Reply, Request};

/// Where a model is asked, behind a host's address.
pub fn path(wire: Wire, model: &str, stream: bool) -> String {
    match wire {
        Wire::Openai => "/chat/completions".to_owned(),
        Wire::BedrockConverse => bedrock::path(model, stream),
    }
}

/// Whether a body can go to this host as it came, but for edits in place.
pub fn passes(wire: Wire, request: &Request, quirks: &Quirks) -> bool {
    match wire {
        Wire::Openai => {
            request.original.dialect == Dialect::OpenaiChat && openai::passes(request, quirks)
        }
        Wire::BedrockConverse => false,
    }
}

/// The caller's own body, with the edits that this host needs. Only for what [`passes`].
///
/// # Errors
/// What the host cannot be asked.
pub fn passed(request: &Request, asked: Asked<'_>) -> Result<Outgoing, CannotSay> {
    openai::passed(request, asked)
}

/// The caller's own bare prompt to complete, for hosts that have an address for it.
pub fn completed(request: &Request, asked: Asked<'_>) -> Outgoing {
    openai::completions::passed(request, asked)
}

/// The conversation in this host's words.
///
/// # Errors
/// What it has no words for.
pub fn body(
    wire: Wire,
    conversation: &Conversation,
    asked: Asked<'_>,
) -> Result<Outgoing, CannotSay> {
    match wire {
        Wire::Openai => openai::body(conversation, asked),
        Wire::BedrockConverse => bedrock::body(conversation, asked),
    }
}

/// Whether this conversation goes to the address where the host goes on from the middle of an
/// answer.
pub fn continues(wire: Wire, conversation: &Conversation, quirks: &Quirks) -> bool {
    match wire {
        Wire::Openai => openai::base(conversation, quirks).is_some(),
        Wire::BedrockConverse => false,
    }
}

/// Watches a stream that passes as it is.
pub fn sight(quirks: &Quirks, request: &Request) -> Sight {
    if request.original.dialect == Dialect::OpenaiCompletions {
        return Sight::of_completions(!request.usage_wanted);
    }
    Sight::new(!request.usage_wanted, openai::renames_reasoning(quirks))
}

/// Hears a stream that is told anew: the answer to this conversation, with these headers.
pub fn hearing(wire: Wire, conversation: &Conversation, headers: &HeaderMap) -> Box<dyn Decoder> {
    match wire {
        Wire::Openai => Box::new(openai::Hearing::new()),
        Wire::BedrockConverse => Box::new(bedrock::Hearing::new(
            Names::of(conversation),
            bedrock::request_id(headers),
        )),
    }
}

/// What a plain answer is worth to the books.
pub fn plain(wire: Wire, headers: &HeaderMap, body: &[u8]) -> Plain {
    match wire {
        Wire::Openai => openai::plain(body),
        Wire::BedrockConverse => {
            bedrock::plain(body, &Names::default(), bedrock::request_id(headers)).0
        }
    }
}

/// What a plain answer to this conversation says.
pub fn heard(wire: Wire, conversation: Option<&Conversation>, body: &[u8]) -> Option<Reply> {
    match wire {
        Wire::Openai => openai::heard(body),
        Wire::BedrockConverse => {
            let names = conversation.map(Names::of).unwrap_or_default();
            Some(bedrock::plain(body, &names, None).1)
        }
    }
}

/// A plain answer that passes, with the names that callers know.
pub fn plain_passed(quirks: &Quirks, body: Bytes) -> Bytes {
    if openai::renames_reasoning(quirks) {
        openai::renamed(body)
    } else {
        body
    }
}

/// Whether a content type is that of this wire's streams.
pub fn is_stream(wire: Wire, content_type: &str) -> bool {
    match wire {
        Wire::Openai => !content_type.contains("application/json"),
        Wire::BedrockConverse => content_type.contains("eventstream"),
    }
}

/// What an error is worth, as an HTTP status that says who could do better, and its text.
pub fn refusal(wire: Wire, status: u16, headers: &HeaderMap, body: &[u8]) -> (u16, String) {
    match wire {
        Wire::Openai => (status, openai::error_message(body)),
        Wire::BedrockConverse => (
            bedrock::judged_status(status, bedrock::error_type(headers, body).as_deref()),
            bedrock::error_message(headers, body),
        ),
    }
}
