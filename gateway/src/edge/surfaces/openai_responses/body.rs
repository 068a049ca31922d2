//! The fields of a request's body as they lie in it, for the complete reading and for what an
//! answer repeats of its request. Values stay text until somebody needs them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use crate::chat::{Code, Frames, Refusal};

/// Asks for the log probabilities of the text.
pub(super) const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";
/// Asks for the thinking in a form that only its issuer can read.
pub(super) const INCLUDE_SEALED: &str = "reasoning.encrypted_content";

/// A request's fields; `None` where one is absent or null.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Body<'a> {
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
    pub instructions: Option<String>,
    #[serde(borrow)]
    pub tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub tool_choice: Option<&'a RawValue>,
    pub parallel_tool_calls: Option<bool>,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_logprobs: Option<u8>,
    pub include: Option<Vec<String>>,
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    pub metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub max_tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub prompt_cache_key: Option<&'a RawValue>,
    #[serde(borrow)]
    pub safety_identifier: Option<&'a RawValue>,
    #[serde(borrow)]
    pub user: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    /// Reads `bytes`, a body that passed [`read`](super::read).
    pub(super) fn of(bytes: &'a [u8]) -> Result<Body<'a>, Refusal> {
        serde_json::from_slice(bytes).map_err(|wrong| {
            Refusal::new(
                Code::InvalidRequest,
                format!("the body cannot be read as a request for a response: {wrong}"),
            )
        })
    }

    pub(super) fn includes(&self, word: &str) -> bool {
        self.include
            .as_ref()
            .is_some_and(|asked| asked.iter().any(|other| other == word))
    }

    /// How many alternatives with each token, where log probabilities are asked for at all.
    pub(super) fn logprobs(&self) -> Option<u8> {
        let most = self.top_logprobs.unwrap_or(0);
        (most > 0 || self.includes(INCLUDE_LOGPROBS)).then_some(most)
    }
}

/// A body in one piece, shared where it came so.
pub(super) fn joined(frames: &Frames) -> Cow<'_, [u8]> {
    frames.slice(0..frames.len())
}

/// The same JSON on one line, as a stream of events needs it: values stay as they are written.
pub(super) fn compact(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for letter in json.chars() {
        if inside {
            inside = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter.is_ascii_whitespace() {
            continue;
        } else {
            inside = letter == '"';
        }
        line.push(letter);
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn a_line_holds_the_same_value(key in any::<String>(), text in any::<String>(), number in any::<i64>()) {
            let value = json!({ key: [text, { "n": number }], "\"\\": " \n" });
            let line = compact(&format!("{value:#}"));
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON"), value);
        }
    }
}
