//! Log probabilities: the canonical ones have the form of OpenAI's chat dialect, this dialect's
//! lack nothing but are listed with the text itself and never leave a token's bytes out.

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// A token of the text, and what might have stood there.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Logprob {
    token: String,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    logprob: Number,
    #[serde(default)]
    top_logprobs: Vec<Alternative>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Alternative {
    token: String,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    logprob: Number,
}

/// Reads `{"content":[...]}`; what is not of that form says nothing.
pub(super) fn of_chat(json: &str) -> Vec<Logprob> {
    #[derive(Deserialize)]
    struct Chat {
        content: Option<Vec<Logprob>>,
    }
    let read: Option<Chat> = serde_json::from_str(json).ok();
    let mut tokens = read.and_then(|chat| chat.content).unwrap_or_default();
    for token in &mut tokens {
        token
            .bytes
            .get_or_insert_with(|| token.token.as_bytes().to_vec());
        for other in &mut token.top_logprobs {
            other
                .bytes
                .get_or_insert_with(|| other.token.as_bytes().to_vec());
        }
    }
    tokens
}
