//! The response object: what it repeats of its request, and what it says of the answer.

use std::io::Write;

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::body::{self, Body};
use super::items::Item;
use super::tools::Toolset;
use crate::chat::{Code, Finish, Refusal, Request, Usage};
use crate::id::RequestId;

/// The key in an answer's metadata that names the tools which the model did not get.
pub const LEFT_OUT: &str = "tollgate_tools_left_out";

/// The id by which callers know the answer to a request.
pub fn response_id(id: RequestId) -> String {
    format!("resp_{}", id.uuid().simple())
}

/// How an answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Going,
    Completed,
    /// Cut short, and why in this dialect's word.
    Incomplete(&'static str),
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    code: &'static str,
    message: String,
    /// Our own stable code, where the dialect's says less.
    r#type: &'static str,
}

impl Outcome {
    pub(super) fn of(finish: Option<Finish>) -> Outcome {
        match finish {
            None | Some(Finish::Stop | Finish::StopString | Finish::ToolCalls | Finish::Other) => {
                Outcome::Completed
            }
            Some(Finish::Length) => Outcome::Incomplete("max_output_tokens"),
            Some(Finish::ContentFilter) => Outcome::Incomplete("content_filter"),
            // Not among the clients' codes; the word that OpenAI sends and agents compact on.
            Some(Finish::WindowFull) => Outcome::Failed(Failure {
                code: "context_length_exceeded",
                message:
                    "the input and the answer fill the model's context window; shorten the input"
                        .into(),
                r#type: Code::InvalidRequest.as_str(),
            }),
            Some(Finish::HostGaveUp) => Outcome::Failed(Failure {
                code: "server_error",
                message: "the host gave up in the middle of its answer; send the request again"
                    .into(),
                r#type: Code::HostFailed.as_str(),
            }),
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Outcome {
        let code = match refusal.code {
            Code::RateLimited => "rate_limit_exceeded",
            Code::InvalidRequest | Code::TooLarge | Code::NotFound => "invalid_prompt",
            // Not among the clients' codes; the word on which agents stop instead of trying again.
            Code::BudgetExceeded => "insufficient_quota",
            _ => "server_error",
        };
        Outcome::Failed(Failure {
            code,
            message: refusal.message.clone(),
            r#type: refusal.code.as_str(),
        })
    }

    fn status(&self) -> &'static str {
        match self {
            Outcome::Going => "in_progress",
            Outcome::Completed => "completed",
            Outcome::Incomplete(_) => "incomplete",
            Outcome::Failed(_) => "failed",
        }
    }

    /// The event that says so.
    pub(super) fn event(&self) -> &'static str {
        match self {
            Outcome::Going => "response.in_progress",
            Outcome::Completed => "response.completed",
            Outcome::Incomplete(_) => "response.incomplete",
            Outcome::Failed(_) => "response.failed",
        }
    }
}

/// What every response object of an answer says alike.
pub(super) struct Frame {
    id: String,
    created_at: u64,
    /// The members that repeat the request: JSON without its opening brace.
    repeated: String,
}

/// What a response repeats of its request. What callers left unsaid has OpenAI's defaults, but
/// for the sampling, where each host has its own.
#[derive(Serialize)]
struct Repeated<'a> {
    background: bool,
    instructions: Option<&'a str>,
    max_output_tokens: Option<u64>,
    max_tool_calls: Option<Value>,
    metadata: Value,
    model: &'a str,
    parallel_tool_calls: bool,
    previous_response_id: Option<&'a str>,
    prompt_cache_key: Option<Value>,
    reasoning: Reasoning,
    safety_identifier: Option<Value>,
    service_tier: &'static str,
    store: bool,
    temperature: Option<&'a Number>,
    text: Value,
    tool_choice: Value,
    tools: &'a RawValue,
    top_logprobs: u8,
    top_p: Option<&'a Number>,
    /// Nothing is ever cut off a request here, whatever it allows.
    truncation: &'static str,
    user: Option<Value>,
}

#[derive(Serialize)]
struct Reasoning {
    effort: Value,
    summary: Value,
}

impl Frame {
    /// `body` and `tools` are the request's; `id` tells the answer's id and when it was made.
    pub(super) fn new(request: &Request, body: &Body<'_>, tools: &Toolset, id: RequestId) -> Frame {
        let reasoning = parsed(body.reasoning).unwrap_or_default();
        let mut metadata = match parsed(body.metadata) {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        if !tools.left_out.is_empty() {
            metadata.insert(LEFT_OUT.into(), tools.left_out.join(",").into());
        }
        let offered = tools.offered.clone().unwrap_or_else(|| "[]".into());
        let offered = RawValue::from_string(offered).expect("an array of what was read as JSON");
        let repeated = Repeated {
            background: false,
            instructions: body.instructions.as_deref(),
            max_output_tokens: request.max_output.map(|most| most.get()),
            max_tool_calls: parsed(body.max_tool_calls),
            metadata: metadata.into(),
            model: &request.model,
            parallel_tool_calls: body.parallel_tool_calls.unwrap_or(true),
            previous_response_id: request.follows.as_deref(),
            prompt_cache_key: parsed(body.prompt_cache_key),
            reasoning: Reasoning {
                effort: reasoning.get("effort").cloned().unwrap_or_default(),
                summary: reasoning.get("summary").cloned().unwrap_or_default(),
            },
            safety_identifier: parsed(body.safety_identifier),
            service_tier: "default",
            store: request.keep,
            temperature: body.temperature.as_ref(),
            text: parsed(body.text)
                .filter(|text| text.get("format").is_some_and(Value::is_object))
                .unwrap_or_else(|| serde_json::json!({ "format": { "type": "text" } })),
            tool_choice: parsed(body.tool_choice).unwrap_or_else(|| "auto".into()),
            tools: &offered,
            top_logprobs: body.top_logprobs.unwrap_or(0),
            top_p: body.top_p.as_ref(),
            truncation: "disabled",
            user: parsed(body.user),
        };
        let repeated = serde_json::to_string(&repeated).unwrap_or_else(|_| "{}".into());
        // What the caller wrote over several lines goes on one: a line of an event ends at its break.
        let repeated = repeated.replace(['\n', '\r'], " ");
        Frame {
            id: response_id(id),
            created_at: id
                .uuid()
                .get_timestamp()
                .map_or(0, |instant| instant.to_unix().0),
            repeated: repeated[1..].to_owned(),
        }
    }

    /// Appends the whole object.
    pub(super) fn write<'a>(
        &self,
        outcome: &Outcome,
        output: impl Iterator<Item = Item<'a>>,
        usage: Option<Usage>,
        out: &mut BytesMut,
    ) {
        #[derive(Serialize)]
        struct Cut {
            reason: &'static str,
        }
        let failure = match outcome {
            Outcome::Failed(failure) => Some(failure),
            _ => None,
        };
        let cut = match outcome {
            Outcome::Incomplete(reason) => Some(Cut { reason }),
            _ => None,
        };
        out.extend_from_slice(b"{\"id\":");
        json(&self.id, out);
        out.extend_from_slice(b",\"object\":\"response\",\"created_at\":");
        json(&self.created_at, out);
        out.extend_from_slice(b",\"status\":");
        json(outcome.status(), out);
        out.extend_from_slice(b",\"error\":");
        json(&failure, out);
        out.extend_from_slice(b",\"incomplete_details\":");
        json(&cut, out);
        out.extend_from_slice(b",\"output\":[");
        for (index, item) in output.enumerate() {
            if index > 0 {
                out.extend_from_slice(b",");
            }
            json(&item, out);
        }
        out.extend_from_slice(b"],\"usage\":");
        json(&usage.map(Consumed::from), out);
        out.extend_from_slice(b",");
        out.extend_from_slice(self.repeated.as_bytes());
    }
}

fn parsed(raw: Option<&RawValue>) -> Option<Value> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Appends a value as JSON.
pub(super) fn json<T: Serialize + ?Sized>(value: &T, out: &mut BytesMut) {
    // Memory does not refuse a write, and what stands here has text keys.
    let mut writer = out.writer();
    let _ = serde_json::to_writer(&mut writer, value);
    let _ = writer.flush();
}

/// Usage in this dialect's words.
#[derive(Serialize)]
struct Consumed {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for Consumed {
    fn from(usage: Usage) -> Self {
        Consumed {
            input_tokens: usage.input().get(),
            input_tokens_details: InputDetails {
                cached_tokens: usage.cache_hit.get(),
                cache_write_tokens: usage.cache_write.get(),
            },
            output_tokens: usage.output().get(),
            output_tokens_details: OutputDetails {
                reasoning_tokens: usage.reasoning.get(),
            },
            total_tokens: (usage.input() + usage.output()).get(),
        }
    }
}

/// Whether the caller wants thinking told as a summary.
pub(super) fn wants_summary(body: &Body<'_>) -> bool {
    let reasoning = parsed(body.reasoning).unwrap_or_default();
    ["summary", "generate_summary"]
        .iter()
        .filter_map(|field| reasoning.get(field)?.as_str())
        .any(|summary| summary != "none")
}

/// Whether the caller wants the thinking back in a form that it can send again.
pub(super) fn wants_sealed(body: &Body<'_>) -> bool {
    body.includes(body::INCLUDE_SEALED)
}
