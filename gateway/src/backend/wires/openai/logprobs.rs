//! Log probabilities in the form of OpenAI's chat dialect, from that form or from the older one of
//! parallel lists (`tokens`, `token_logprobs`, `top_logprobs`) that Together and Fireworks answer in.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Number};

#[derive(Deserialize)]
struct Lists {
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    token_logprobs: Vec<Option<Number>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<Map<String, serde_json::Value>>>>,
}

#[derive(Serialize)]
struct Content<'a> {
    content: Vec<Token<'a>>,
}

#[derive(Serialize)]
struct Token<'a> {
    token: &'a str,
    logprob: &'a Option<Number>,
    bytes: &'a [u8],
    top_logprobs: Vec<Alternative<'a>>,
}

#[derive(Serialize)]
struct Alternative<'a> {
    token: &'a str,
    logprob: &'a serde_json::Value,
    bytes: &'a [u8],
}

/// `{"content":[...]}`, or nothing where the host says none.
pub(super) fn read(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Modern<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    // A list could be read as the members of either form in their order: it is neither.
    if !raw.get().starts_with('{') {
        return None;
    }
    if let Ok(Modern { content }) = serde_json::from_str::<Modern<'_>>(raw.get())
        && content.is_some_and(|content| content.get().starts_with('['))
    {
        return Some(Cow::Borrowed(raw.get()));
    }
    let lists: Lists = serde_json::from_str(raw.get()).ok()?;
    if lists.tokens.is_empty() {
        return None;
    }
    let content = lists
        .tokens
        .iter()
        .enumerate()
        .map(|(at, token)| Token {
            token,
            logprob: lists.token_logprobs.get(at).unwrap_or(&None),
            bytes: token.as_bytes(),
            top_logprobs: lists
                .top_logprobs
                .as_ref()
                .and_then(|all| all.get(at)?.as_ref())
                .into_iter()
                .flatten()
                .map(|(token, logprob)| Alternative {
                    token,
                    logprob,
                    bytes: token.as_bytes(),
                })
                .collect(),
        })
        .collect();
    serde_json::to_string(&Content { content })
        .ok()
        .map(Cow::Owned)
}
