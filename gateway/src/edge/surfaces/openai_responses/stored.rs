//! Answers that are kept: what is kept of one, and what its endpoints say.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::body::{self, Body};
use super::content::url_of;
use super::custom;
use super::items::{Item, Output, Piece, Status};
use super::response::{json as write, response_id};
use super::talk::whole;
use super::tools::{Kind, Toolset};
use crate::chat::{Code, Conversation, Part, Refusal, Reply, Request, Said, Turn};
use crate::id::RequestId;

/// An answer that is kept, so that later requests can follow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// `resp_...`, as callers know it.
    pub id: String,
    /// The whole conversation: what the answer was to, and what it said. Instructions are not
    /// part of it: the dialect has them anew with each request.
    pub turns: Vec<Turn>,
    /// The response object.
    pub body: Bytes,
}

/// Which of an answer's input items to list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// Begin after the item of this id.
    pub after: Option<String>,
    /// At most this many, 1 to 100; 20 unless said.
    pub limit: Option<u32>,
    /// `asc` or `desc`; the latest first unless said.
    pub order: Option<String>,
}

const LIST_DEFAULT: u32 = 20;
const LIST_MOST: u32 = 100;

/// What to keep of an answer. Where a stream was told, its `Talk::response` may take the place of
/// `body`, which orders items as [`Reply`] does.
pub fn stored(
    request: &Request,
    conversation: &Conversation,
    id: RequestId,
    reply: &Reply,
) -> Stored {
    let bytes = body::joined(&request.original.frames);
    let instructed = Body::of(&bytes).is_ok_and(|body| body.instructions.is_some());
    let mut turns: Vec<Turn> = conversation
        .turns
        .iter()
        .skip(usize::from(instructed))
        .cloned()
        .collect();
    let said = reply.choices.first().map(|choice| choice.said.clone());
    turns.push(Turn::Assistant(said.unwrap_or_default()));
    Stored {
        id: response_id(id),
        turns,
        body: whole(request, conversation, id, reply),
    }
}

/// No answer of this id is kept for this caller.
pub fn unknown(id: &str) -> Refusal {
    let shown: String = id.chars().take(80).collect();
    let mut refusal = Refusal::new(
        Code::NotFound,
        format!(
            "no response {shown} is kept: it was never made with `store`, has been deleted, or has run out; send the items instead"
        ),
    );
    refusal.field = Some("previous_response_id".into());
    refusal
}

/// `GET /v1/responses/{id}`; `stream`: the caller wants it as events.
///
/// # Errors
/// `invalid_request` for events, which are told once.
pub fn retrieved(stored: &Stored, stream: bool) -> Result<Bytes, Refusal> {
    if stream {
        return Err(Refusal::invalid(
            "stream",
            "a kept response is given whole: `stream` replays background work, which is not offered; leave it out",
        ));
    }
    Ok(stored.body.clone())
}

/// `DELETE /v1/responses/{id}`.
pub fn deleted(id: &str) -> Bytes {
    Bytes::from(json!({ "id": id, "object": "response", "deleted": true }).to_string())
}

/// `POST /v1/responses/{id}/cancel`: there is never anything to cancel.
pub fn cancelled(id: &str) -> Refusal {
    let shown: String = id.chars().take(80).collect();
    Refusal::new(
        Code::InvalidRequest,
        format!(
            "response {shown} was not made in the background, which is not offered; close its stream to stop it"
        ),
    )
}

/// `GET /v1/responses/{id}/input_items`.
///
/// # Errors
/// `invalid_request` with the parameter at fault.
pub fn input_items(stored: &Stored, listing: &Listing) -> Result<Bytes, Refusal> {
    let limit = listing.limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MOST).contains(&limit) {
        return Err(super::wrong("limit", "a whole number from 1 to 100"));
    }
    #[derive(Default, Deserialize)]
    struct Offered<'a> {
        #[serde(borrow)]
        tools: Option<&'a RawValue>,
    }
    let offered: Offered<'_> = serde_json::from_slice(&stored.body).unwrap_or_default();
    let tools = Toolset::read(offered.tools).unwrap_or_default();
    let input = stored.turns.len().saturating_sub(1);
    let ids = Ids(stored.id.strip_prefix("resp_").unwrap_or(&stored.id));
    let mut items: Vec<(String, Past<'_>)> = Vec::new();
    for turn in &stored.turns[..input] {
        past(turn, &mut |prefix, item| {
            items.push((ids.of(prefix, items.len()), item));
        });
    }
    match listing.order.as_deref() {
        Some("asc") => {}
        None | Some("desc") => items.reverse(),
        Some(_) => return Err(super::wrong("order", "asc or desc")),
    }
    let start = match &listing.after {
        None => 0,
        Some(after) => match items.iter().position(|(id, _)| id == after) {
            Some(at) => at + 1,
            None => {
                return Err(Refusal::invalid(
                    "after",
                    "`after` names no input item of this response; take the `last_id` of a list",
                ));
            }
        },
    };
    let end = items
        .len()
        .min(start + usize::try_from(limit).unwrap_or(usize::MAX));
    let shown = &items[start..end];
    let mut out = BytesMut::new();
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (index, (id, item)) in shown.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b",");
        }
        item.write(id, &stored.turns, &tools, &mut out);
    }
    out.extend_from_slice(b"],\"first_id\":");
    write(shown.first().map_or("", |(id, _)| id.as_str()), &mut out);
    out.extend_from_slice(b",\"last_id\":");
    write(shown.last().map_or("", |(id, _)| id.as_str()), &mut out);
    out.extend_from_slice(b",\"has_more\":");
    write(&(end < items.len()), &mut out);
    out.extend_from_slice(b"}");
    Ok(out.freeze())
}

/// Ids of input items: the callers' own are not kept, so they follow from the answer's.
struct Ids<'a>(&'a str);

impl Ids<'_> {
    fn of(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}i{index:04x}", self.0)
    }
}

/// An item of the past, as it lies in a turn.
enum Past<'a> {
    Message(&'static str, &'a [Part]),
    Thinking(&'a str),
    Text(&'a Said),
    Call(&'a crate::chat::Call),
    Result(&'a str, &'a [Part]),
}

fn past<'a>(turn: &'a Turn, each: &mut dyn FnMut(&'static str, Past<'a>)) {
    match turn {
        Turn::System(parts) => each("msg", Past::Message("system", parts)),
        Turn::User(parts) => each("msg", Past::Message("user", parts)),
        Turn::Assistant(said) => {
            if let Some(text) = &said.reasoning {
                each("rs", Past::Thinking(text));
            }
            if !said.text.is_empty() {
                each("msg", Past::Text(said));
            }
            for call in &said.calls {
                each("fc", Past::Call(call));
            }
        }
        Turn::Result { call, parts, .. } => each("fco", Past::Result(call, parts)),
    }
}

impl Past<'_> {
    fn write(&self, id: &str, turns: &[Turn], tools: &Toolset, out: &mut BytesMut) {
        #[derive(serde::Serialize)]
        struct Message<'a> {
            r#type: &'static str,
            id: &'a str,
            status: Status,
            role: &'static str,
            content: Vec<Piece<'a>>,
        }
        let status = Status::Completed;
        match self {
            Past::Message(role, parts) => write(
                &Message {
                    r#type: "message",
                    id,
                    status,
                    role,
                    content: pieces(parts),
                },
                out,
            ),
            Past::Thinking(text) => write(
                &Item::Reasoning {
                    id,
                    summary: Vec::new(),
                    content: Some(vec![Piece::ReasoningText { text }]),
                    encrypted_content: None,
                },
                out,
            ),
            Past::Text(said) => write(
                &Item::Message {
                    id,
                    status,
                    role: "assistant",
                    content: vec![Piece::OutputText {
                        annotations: [],
                        logprobs: &[],
                        text: &said.text,
                    }],
                },
                out,
            ),
            Past::Call(call) => {
                let given = tools.called(&call.name);
                let name = given.map_or(call.name.as_str(), |given| &given.name);
                let namespace = given.and_then(|given| given.namespace.as_deref());
                let call_id = call.id.as_str();
                match given.map_or(Kind::Function, |given| given.kind) {
                    Kind::Function => write(
                        &Item::FunctionCall {
                            id,
                            status,
                            call_id,
                            name,
                            namespace,
                            arguments: &call.arguments,
                        },
                        out,
                    ),
                    Kind::Custom => write(
                        &Item::CustomToolCall {
                            id,
                            status,
                            call_id,
                            name,
                            namespace,
                            input: custom::unwrapped(&call.arguments),
                        },
                        out,
                    ),
                }
            }
            Past::Result(call_id, parts) => {
                let output = match parts {
                    [Part::Text(text)] => Output::Text(text),
                    parts => Output::Pieces(pieces(parts)),
                };
                let item = if is_custom(call_id, turns, tools) {
                    Item::CustomToolCallOutput {
                        id,
                        status,
                        call_id,
                        output,
                    }
                } else {
                    Item::FunctionCallOutput {
                        id,
                        status,
                        call_id,
                        output,
                    }
                };
                write(&item, out);
            }
        }
    }
}

/// Whether the call of this id was made to a custom tool.
fn is_custom(call_id: &str, turns: &[Turn], tools: &Toolset) -> bool {
    turns.iter().any(|turn| match turn {
        Turn::Assistant(said) => said.calls.iter().any(|call| {
            call.id == call_id
                && tools
                    .called(&call.name)
                    .is_some_and(|given| given.kind == Kind::Custom)
        }),
        _ => false,
    })
}

fn pieces(parts: &[Part]) -> Vec<Piece<'_>> {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Piece::InputText { text },
            Part::Image(picture) => Piece::InputImage {
                detail: "auto",
                image_url: url_of(picture),
            },
        })
        .collect()
}
