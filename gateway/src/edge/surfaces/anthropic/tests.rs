//! Translations side by side, as files of `golden/`, and what must hold of every answer.

mod asked;
mod told;

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;

use super::{conversation, count_tokens_body, count_tokens_read, read};
use crate::chat::{Conversation, Frames, Request, Tokens, estimate};

/// The golden files of a folder with their names, at least one.
fn golden(folder: &str) -> Vec<(String, Value)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/edge/surfaces/anthropic/golden")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a golden file");
            let name = file.file_name().expect("a name").to_string_lossy();
            let value = serde_json::from_str(&text);
            (name.into_owned(), value.expect("golden files are JSON"))
        })
        .collect()
}

fn frames(body: &Value) -> Frames {
    Frames::from(Bytes::from(body.to_string()))
}

fn asked(body: &Value) -> (Request, Conversation) {
    let request = read(frames(body)).expect("a request");
    let conversation = conversation(&request).expect("a conversation");
    (request, conversation)
}

#[test]
fn counting_tokens_counts_what_the_answer_would_be_asked_with() {
    let body = serde_json::json!({"model": "m", "system": "Be brief.",
        "messages": [{"role": "user", "content": "How are you?"}]});
    let count = |body: &Value| {
        let request = count_tokens_read(frames(body)).expect("a request");
        estimate::tokens(&conversation(&request).expect("a conversation"))
    };
    let bare = count(&body);
    let mut longer = body.clone();
    longer["tools"] = serde_json::json!([{"name": "t", "input_schema": {"type": "object"}}]);
    assert!(count(&longer) > bare + Tokens::new(100));
    assert_eq!(
        count_tokens_body(Tokens::new(14)),
        Bytes::from_static(b"{\"input_tokens\":14}")
    );
}
