//! The protocols that hosts speak. A wire writes a request from the canonical conversation (or edits
//! a body that is in its dialect already) and hears the host's answer as canonical events. It knows
//! no surface.

pub mod bedrock;
mod dispatch;
pub mod openai;
#[cfg(test)]
pub(crate) mod tests_pairs;

use bytes::Bytes;
use http::HeaderMap;

use crate::catalog::Quirks;
use crate::chat::{Event, Frames, Tokens};

pub use dispatch::{
    body, completed, continues, heard, hearing, is_stream, passed, passes, path, plain,
    plain_passed, refusal, sight,
};
pub use openai::{Plain, Report};

/// What is asked of the host beyond what the caller wrote.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host's id for the model.
    pub model: &'a str,
    pub quirks: &'a Quirks,
    pub stream: bool,
    /// A bound on the output where the caller gave none and a hard budget needs one.
    pub bound: Option<Tokens>,
    /// Who asks, in a form that tells the host nothing: keeps caches and limits of tenants apart.
    pub tenant: &'a str,
}

/// A request in a host's words. Its address follows from the backend, its credential is added by
/// the transport.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    pub body: Frames,
    pub headers: HeaderMap,
}

/// What this host cannot be asked, in words for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CannotSay(pub String);

/// Hears a host's stream. Bytes may be cut anywhere.
pub trait Decoder: Send + Sync {
    fn take(&mut self, chunk: Bytes, heard: &mut dyn FnMut(Event<'_>));

    /// The stream has ended, cleanly or not; what was left over is heard.
    fn end(&mut self, heard: &mut dyn FnMut(Event<'_>));

    /// What the stream has said so far, for the books.
    fn report(&self) -> &Report;
}
