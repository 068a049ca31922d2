//! From a host's wire to the module that speaks it. The only place that knows all of them.

use bytes::Bytes;
use http::HeaderMap;

use super::openai::{self, Hearing, Plain, Sight};
use super::bedrock::{self, names::Names};
use super::{Asked, CannotSay, Decoder, Outgoing};
use crate::catalog::{Quirks, Wire};
use crate::chat::{Conversation, Dialect, Reply, Request};

/// Whether a body can go to this host as it came, but for edits in place.
pub fn passes(wire: Wire, request: &Request, quirks: &Quirks) -> bool {
    match wire {
        Wire::Openai => {
            request.original.dialect == Dialect::OpenaiChat && openai::passes(request, quirks)
        }
    }
}

/// The caller's own body, with the edits that this host needs. Only for what [`passes`].
pub fn passed(request: &Request, asked: Asked<'_>) -> Outgoing {
    openai::passed(request, asked)
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
    }
}

/// Watches a stream that passes as it is.
pub fn sight(quirks: &Quirks, request: &Request) -> Sight {
    Sight::new(!request.usage_wanted).renaming(quirks.says_reasoning)
}

/// Hears a stream that is told anew.
pub fn hearing(wire: Wire) -> Box<dyn Decoder> {
    match wire {
        Wire::Openai => Box::new(Hearing::new()),
    }
}

/// What a plain answer is worth.
pub fn plain(wire: Wire, body: &[u8]) -> Plain {
    match wire {
        Wire::Openai => openai::plain(body),
    }
}

/// What a plain answer says.
pub fn heard(wire: Wire, body: &[u8]) -> Option<Reply> {
    match wire {
        Wire::Openai => openai::heard(body),
    }
}

/// A plain answer that passes, with the names that callers know.
pub fn plain_passed(quirks: &Quirks, body: Bytes) -> Bytes {
    if quirks.says_reasoning {
        openai::renamed(body)
    } else {
        body
    }
}

/// What an error is worth, as an HTTP status that says who could do better, and its text.
pub fn refusal(wire: Wire, status: u16, _headers: &HeaderMap, body: &[u8]) -> (u16, String) {
    match wire {
        Wire::Openai => (status, openai::error_message(body)),
    }
}
