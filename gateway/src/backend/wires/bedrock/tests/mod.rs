//! The wire, seen from both sides: conversations and the bodies they become (`goldens/*.json`, which
//! botocore's validator reads as well, in `tests/python/test_bedrock_oracle.py`), streams and the
//! events they become.

mod answers;
mod catalogued;
mod requests;
mod streams;

use serde_json::Value;

use super::*;
use crate::chat::Turn;

fn call(id: &str, name: &str, arguments: &str) -> Call {
    Call {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn calls(calls: &[Call]) -> Turn {
    Turn::Assistant(Said {
        calls: calls.to_vec(),
        ..Said::default()
    })
}
