//! Anthropic's Messages as callers speak them (the official SDKs, Claude Code): a body read lightly
//! for routing or wholly for translation, an answer told as their events or as one message, and
//! errors as their clients sort them. Relies on `chat` alone; which wire carries the request is
//! not known here.
//! Sources: the official Python client's types (`anthropic` 2.x) and Claude Code 2.1 as captured.

mod conversation;
mod errors;
mod message;
mod pictures;
mod read;
mod talk;
mod wording;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::chat::Tokens;

pub use conversation::conversation;
pub use errors::{error_body, error_status};
pub use message::{Seal, whole, whole_sealed};
pub use read::{count_tokens_read, read};
pub use talk::Talk;

/// The answer to `count_tokens`.
pub fn count_tokens_body(tokens: Tokens) -> Bytes {
    Bytes::from(format!("{{\"input_tokens\":{tokens}}}"))
}
