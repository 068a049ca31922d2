//! The dialects that callers speak, one module each.

pub mod anthropic;
pub mod openai_chat;
