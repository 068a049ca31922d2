//! A text completion as a conversation: the beginning of an answer that nobody has asked for, to be
//! gone on with. It holds only at a host that continues an unfinished answer word for word, and even
//! there the model sees a turn's frame around the prompt; what has no counterpart in a conversation
//! is refused.

use serde_json::Value;

use super::super::openai_chat::conversation::{json, stop};
use crate::chat::{Code, Conversation, Effort, Refusal, Request, Said, Turn, scan};

/// Reads all of a request that [`read`](super::read) has accepted.
///
/// # Errors
/// `invalid_request` where the request asks for what only a completion can do.
pub fn conversation(request: &Request) -> Result<Conversation, Refusal> {
    let frames = &request.original.frames;
    let object = scan::object(frames)
        .map_err(|malformed| Refusal::new(Code::InvalidRequest, malformed.to_string()))?;
    let mut read = Conversation {
        effort: Effort::Off,
        max_output: request.max_output,
        choices: request.choices,
        ..Conversation::default()
    };
    for member in object.members {
        let value = frames.slice(member.value);
        let value = value.as_ref();
        let key = member.key;
        let sampling = &mut read.sampling;
        match key.as_str() {
            "model" | "stream" | "stream_options" | "max_tokens" | "n" | "best_of" => {}
            "prompt" => {
                read.turns = vec![Turn::Assistant(Said {
                    text: json(&key, value, "a string")?,
                    unfinished: true,
                    ..Said::default()
                })];
            }
            "temperature" => sampling.temperature = json(&key, value, "a number")?,
            "top_p" => sampling.top_p = json(&key, value, "a number")?,
            "presence_penalty" => sampling.presence_penalty = json(&key, value, "a number")?,
            "frequency_penalty" => sampling.frequency_penalty = json(&key, value, "a number")?,
            "seed" => sampling.seed = json(&key, value, "a whole number")?,
            "stop" => sampling.stop = stop(value)?,
            _ => match (key.as_str(), json(&key, value, "JSON")?) {
                (_, Value::Null | Value::Bool(false)) => {}
                ("suffix", Value::String(suffix)) if suffix.is_empty() => {}
                ("suffix" | "echo" | "logprobs", _) => {
                    return Err(Refusal::invalid(
                        &key,
                        format!(
                            "`{key}` needs a host that completes bare prompts, and none of them can take this request"
                        ),
                    ));
                }
                (_, value) => {
                    read.rest.insert(key, value);
                }
            },
        }
    }
    Ok(read)
}
