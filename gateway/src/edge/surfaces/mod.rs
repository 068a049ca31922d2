//! The dialects that callers speak, one module each.

pub mod openai_chat;
pub mod openai_responses;
