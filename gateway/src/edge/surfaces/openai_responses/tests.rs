//! The dialect as callers see it: requests beside what is made of them, answers beside their
//! golden streams. The files in `golden/` are checked against the official client's own types by
//! `tests/python/test_responses_golden.py`.

mod reading;
mod telling;
mod turns;

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::chat::Conversation;

fn asked(body: &Value) -> Result<Request, Refusal> {
    read(Frames::from(Bytes::from(body.to_string())))
}

fn request(body: &Value) -> Request {
    asked(body).expect("a request")
}

fn understood(body: &Value) -> (Request, Conversation) {
    let request = request(body);
    let conversation = conversation(&request).expect("a conversation");
    (request, conversation)
}
