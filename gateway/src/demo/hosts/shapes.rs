//! The JSON that each emulated host puts on the line: completions, chunks and usage, with the
//! fields and oddities that its documentation or captures of it show.

use serde_json::{Value, json};

use super::answer::{Answer, Said, message};
use super::bare;
use super::bill::dollars;
use super::fault::Fault;
use super::profile::EmulatedHost;

/// What stands on every chunk of one answer.
pub(super) struct Head {
    pub host: EmulatedHost,
    pub id: String,
    pub call_id: String,
    /// Seconds since 1970.
    pub created: i64,
    pub model: String,
    /// A bare prompt is completed; this much of it stands before the answer.
    pub bare: Option<String>,
}

/// An answer's counts as the host will bill them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub cache_hit: u64,
    pub cache_miss: u64,
    pub reasoning: u64,
    /// Output with reasoning.
    pub output: u64,
    /// What the call costs so far, where the host says so.
    pub picodollars: i128,
}

/// Together says `reasoning`; where nothing is documented, the most usual name is assumed.
pub(super) fn reasoning_field(host: EmulatedHost) -> &'static str {
    match host {
        EmulatedHost::Together => "reasoning",
        _ => "reasoning_content",
    }
}

pub(super) fn usage(head: &Head, counts: &Counts, thinking: bool, fault: Option<Fault>) -> Value {
    let prompt = counts.cache_hit + counts.cache_miss;
    let mut usage = match fault {
        Some(Fault::UsageNegative) => json!({
            "prompt_tokens": -5, "completion_tokens": -1, "total_tokens": -6,
        }),
        Some(Fault::UsageHuge) => json!({
            "prompt_tokens": u64::MAX, "completion_tokens": u64::MAX, "total_tokens": u64::MAX,
        }),
        _ => json!({
            "prompt_tokens": prompt,
            "completion_tokens": counts.output,
            "total_tokens": prompt + counts.output,
        }),
    };
    let reasoning = json!({"reasoning_tokens": counts.reasoning});
    match head.host {
        EmulatedHost::Deepseek => {
            usage["prompt_cache_hit_tokens"] = json!(counts.cache_hit);
            usage["prompt_cache_miss_tokens"] = json!(counts.cache_miss);
            usage["prompt_tokens_details"] = json!({"cached_tokens": counts.cache_hit});
            // Left out without thinking.
            if thinking {
                usage["completion_tokens_details"] = reasoning;
            }
            return usage;
        }
        EmulatedHost::Nebius => usage["prompt_tokens_details"] = Value::Null,
        _ => usage["prompt_tokens_details"] = json!({"cached_tokens": counts.cache_hit}),
    }
    usage["completion_tokens_details"] = reasoning.clone();
    match head.host {
        EmulatedHost::Together => usage["cached_tokens"] = json!(counts.cache_hit),
        EmulatedHost::Azure if head.model.starts_with("FW-") => {
            usage["output_tokens_details"] = reasoning
        }
        EmulatedHost::Vertex => {
            usage["extra_properties"] = json!({"google": {"traffic_type": "ON_DEMAND"}});
        }
        EmulatedHost::Deepinfra => {
            // A JSON number, as DeepInfra writes it; the bill itself never passes through it.
            let cost = dollars(counts.picodollars);
            usage["estimated_cost"] = serde_json::from_str(&cost).unwrap_or(Value::Null);
        }
        _ => {}
    }
    usage
}

/// A whole answer.
pub(super) fn completion(head: &Head, answer: &Answer, finish: &str, usage: Value) -> Value {
    let mut choice = json!({
        "index": 0,
        "message": message(answer, reasoning_field(head.host), &head.call_id),
        "logprobs": null,
        "finish_reason": finish,
    });
    let mut object = "chat.completion";
    if let (Some(echo), Said::Text(text)) = (&head.bare, &answer.said) {
        object = "text_completion";
        choice = bare::choice(&format!("{echo}{}", text.concat()), Some(finish));
    }
    let mut body = json!({
        "id": head.id,
        "object": object,
        "created": head.created,
        "model": head.model,
        "system_fingerprint": "fp_demonstration",
    });
    if head.host == EmulatedHost::Azure {
        choice["content_filter_results"] = filter_results();
        body["prompt_filter_results"] =
            json!([{"prompt_index": 0, "content_filter_results": filter_results()}]);
    }
    body["choices"] = json!([choice]);
    if !usage.is_null() {
        body["usage"] = usage;
    }
    body
}

/// One chunk of a stream; `usage_null` where the caller asked for usage and this chunk has none.
pub(super) fn chunk(head: &Head, delta: Value, finish: Option<&str>, usage_null: bool) -> Value {
    let mut choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
    if head.bare.is_some() {
        let text = choice["delta"]["content"].as_str().unwrap_or("");
        choice = bare::choice(text, finish);
    }
    if head.host == EmulatedHost::Azure {
        choice["content_filter_results"] = filter_results();
    }
    let mut chunk = frame(head, json!([choice]));
    if usage_null {
        chunk["usage"] = Value::Null;
    }
    chunk
}

/// The chunk without choices that carries usage behind the finish chunk.
pub(super) fn usage_chunk(head: &Head, usage: Value) -> Value {
    let mut chunk = frame(head, json!([]));
    chunk["usage"] = usage;
    chunk
}

/// Azure's first frame: what its filter made of the prompt.
pub(super) fn filter_frame() -> Value {
    json!({
        "id": "", "object": "", "created": 0, "model": "", "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filter_results()}],
    })
}

/// The error that breaks into a stream.
pub(super) fn error_frame() -> Value {
    json!({"error": {"message": "The server had an error while answering.", "type": "server_error", "code": 500}})
}

fn frame(head: &Head, choices: Value) -> Value {
    json!({
        "id": head.id,
        "object": if head.bare.is_some() { "text_completion" } else { "chat.completion.chunk" },
        "created": head.created,
        "model": head.model,
        "system_fingerprint": "fp_demonstration",
        "choices": choices,
    })
}

fn filter_results() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}
