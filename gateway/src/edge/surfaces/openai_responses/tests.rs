//! The dialect as callers see it: requests beside what is made of them, answers beside their
//! golden streams. The files in `golden/` are checked against the official client's own types by
//! `tests/python/test_responses_golden.py`.

mod adding;
mod kept;
mod reading;
mod telling;
mod turns;

use std::path::Path;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::*;
use crate::chat::{Conversation, Event, Reply, Speaker, Usage};
use crate::id::RequestId;

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

fn id() -> RequestId {
    "01a20dbd-0000-7000-8000-00000000002a"
        .parse()
        .expect("an id")
}

/// What the model says in most of these tests.
fn usage() -> Event<'static> {
    Event::Usage(Usage {
        cache_miss: Tokens::new(7),
        cache_hit: Tokens::new(64),
        cache_write: Tokens::new(2),
        reasoning: Tokens::new(5),
        visible: Tokens::new(3),
    })
}

fn talk(body: &Value) -> Talk {
    let (request, conversation) = understood(body);
    Talk::new(&request, &conversation, id()).with_seal(Box::new(|text| format!("sealed:{text}")))
}

fn told(body: &Value, events: &[Event<'_>]) -> String {
    let mut talk = talk(body);
    let mut out = BytesMut::new();
    for event in events {
        talk.say(*event, &mut out);
    }
    talk.close(&mut out);
    String::from_utf8(out.to_vec()).expect("text")
}

/// Compares with a file of `golden/`; with `TOLLGATE_WRITE_GOLDEN` set, writes it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/edge/surfaces/openai_responses/tests/golden")
        .join(name);
    if std::env::var_os("TOLLGATE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("a golden file");
    }
    let kept = std::fs::read_to_string(&path).expect("a golden file");
    assert!(kept == text, "{name} differs; what was told:\n{text}");
}

fn plain() -> Value {
    json!({"model": "deepseek-v4-pro", "input": "hi", "stream": true, "instructions": "be brief",
           "temperature": 0.5, "max_output_tokens": 100, "metadata": {"job": "7"}, "user": "u1",
           "include": ["message.output_text.logprobs"]})
}

fn spoken(events: &[Event<'_>]) -> Reply {
    let mut reply = Reply::default();
    events.iter().for_each(|event| reply.hear(*event));
    reply
}
