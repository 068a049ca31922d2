//! A dialect, as the line needs it: how a body is read, and how an answer is told.

use bytes::Bytes;

use crate::chat::{Code, Conversation, Frames, Refusal, Reply, Request, Speaker, Turn};
use crate::history::{OwnSeal, Stored};
use crate::id::RequestId;

/// What a caller speaks. One implementation for each endpoint, in `edge/surfaces/`.
pub trait Surface: Sync {
    /// As the ledger names it.
    fn name(&self) -> &'static str;

    /// The fields that routing needs; cheap for bodies of megabytes.
    ///
    /// # Errors
    /// `invalid_request` with the field at fault.
    fn read(&self, frames: Frames) -> Result<Request, Refusal>;

    /// The whole request, where its body cannot pass as it is.
    ///
    /// # Errors
    /// `invalid_request` with the field at fault.
    fn conversation(&self, request: &Request, earlier: &Earlier) -> Result<Conversation, Refusal>;

    /// Tells a stream.
    fn speaker(&self, telling: &Telling<'_>) -> Box<dyn Speaker>;

    /// Goes on telling a stream whose beginning passed through untold; `None` where this dialect
    /// never passes through.
    fn resume(&self, _telling: &Telling<'_>, _begun: &Reply) -> Option<Box<dyn Speaker>> {
        None
    }

    /// A plain answer.
    fn whole(&self, telling: &Telling<'_>, reply: &Reply) -> Bytes;

    /// What is kept of an answer that its caller may come back to.
    fn stored(&self, _telling: &Telling<'_>, _reply: &Reply) -> Option<Stored> {
        None
    }

    /// The event that ends a stream of which nothing has been told.
    fn stream_error(&self, refusal: &Refusal) -> Bytes;

    fn error_body(&self, refusal: &Refusal) -> Bytes;

    fn error_status(&self, code: Code) -> u16 {
        code.status()
    }
}

/// What is known of a conversation beside its request.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The turns that the request says it follows.
    pub turns: Vec<Turn>,
    /// Opens what this gateway sealed for the same tenant.
    pub seal: OwnSeal,
}

/// An answer about to be told.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    pub id: RequestId,
    pub request: &'a Request,
    pub conversation: &'a Conversation,
    /// Seals what the caller is to bring back unread.
    pub seal: &'a OwnSeal,
}
