//! Completions of a bare prompt, as DeepSeek documents them at `/beta/completions`: never thinking,
//! at most 4K tokens, with a suffix to arrive at or without, the prompt echoed where that is asked.
//! Source: api-docs.deepseek.com/api/create-completion and guides/fim_completion.

use serde_json::{Value, json};

use super::asked::{Asked, Format, asked_fault, read_max_tokens, read_stop, wanted_words};
use super::errors::Failure;
use super::profile::EmulatedHost;
use super::rules::{check_sampling, isolation};
use super::tokens::Prefixes;

/// "The max tokens of FIM completion is 4K."
const MOST_OUTPUT: u64 = 4_096;
/// Alternatives beside each token.
const MOST_ALTERNATIVES: u64 = 20;

/// A completion asked for, and what of its prompt stands before the answer.
pub(super) fn read(host: EmulatedHost, body: &[u8]) -> Result<(Asked, String), Failure> {
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        Failure::new(
            400,
            format!("Failed to parse the request body as JSON: {error}"),
        )
    })?;
    let field = |name: &'static str| {
        body[name]
            .as_str()
            .ok_or_else(|| Failure::of_field(422, name, format!("`{name}` must be a string.")))
    };
    let (model, prompt) = (field("model")?, field("prompt")?);
    let suffix = match &body["suffix"] {
        Value::Null => "",
        _ => field("suffix")?,
    };
    check_sampling(host, &body)?;
    let max_tokens = read_max_tokens(&body)?;
    if max_tokens.is_some_and(|most| most > MOST_OUTPUT) {
        return Err(Failure::of_field(
            400,
            "max_tokens",
            format!("Invalid max_tokens value, the valid range is [1, {MOST_OUTPUT}]"),
        ));
    }
    if !body["logprobs"].is_null()
        && body["logprobs"]
            .as_u64()
            .is_none_or(|count| count > MOST_ALTERNATIVES)
    {
        return Err(Failure::of_field(
            422,
            "logprobs",
            "`logprobs` must be a whole number from 0 to 20.",
        ));
    }
    let mut rendered = Prefixes::default();
    rendered.push_role("prompt");
    rendered.push_text(prompt);
    if !suffix.is_empty() {
        rendered.push_role("suffix");
        rendered.push_text(suffix);
    }
    let echo = if body["echo"] == true { prompt } else { "" };
    let asked = Asked {
        model: model.to_owned(),
        stream: body["stream"].as_bool().unwrap_or(false),
        include_usage: body["stream_options"]["include_usage"]
            .as_bool()
            .unwrap_or(false),
        max_tokens: Some(max_tokens.unwrap_or(MOST_OUTPUT)),
        stop: read_stop(&body),
        thinking: false,
        call: None,
        format: Format::Text,
        prompt: rendered,
        last_user_text: prompt.to_owned(),
        last_tool_result: None,
        begun: None,
        wanted: wanted_words(prompt),
        isolation: isolation(host, &body),
        fault: asked_fault(prompt),
    };
    Ok((asked, echo.to_owned()))
}

/// A choice: of a whole answer, or a piece of one.
pub(super) fn choice(text: &str, finish: Option<&str>) -> Value {
    json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish})
}
