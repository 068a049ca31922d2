//! What every surface's stream must be, whatever a host said: a reader for each dialect, strict where
//! the official clients rely on something. Sources: openai-python 2.x and openai-node's accumulators,
//! the `anthropic` client's, and WHATWG HTML 9.2 for the framing.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tollgate::backend::wires::Report;
use tollgate::chat::{Code, Conversation, Frames, Refusal, Reply, Request, Speaker};
use tollgate::edge::surfaces::{anthropic, openai_chat, openai_completions, openai_responses};
use tollgate::id::RequestId;

use super::streams::Heard;

const ID: &str = "01939b6e-7a00-7000-8000-000000000000";

/// A question in a dialect, read.
struct Asked {
    request: Request,
    conversation: Conversation,
}

struct Questions {
    chat: Vec<Asked>,
    completions: Asked,
    responses: Vec<Asked>,
    anthropic: Asked,
}

fn questions() -> &'static Questions {
    static QUESTIONS: OnceLock<Questions> = OnceLock::new();
    QUESTIONS.get_or_init(|| {
        fn asked<E: std::fmt::Debug>(
            body: &'static str,
            read: fn(Frames) -> Result<Request, E>,
            conversation: fn(&Request) -> Result<Conversation, E>,
        ) -> Asked {
            let request = read(Frames::from(Bytes::from_static(body.as_bytes()))).expect("read");
            let conversation = conversation(&request).expect("a conversation");
            Asked {
                request,
                conversation,
            }
        }
        let chat = |body| asked(body, openai_chat::read, openai_chat::conversation);
        let responses = |body| asked(body, openai_responses::read, openai_responses::conversation);
        Questions {
            chat: vec![
                chat(include_str!(
                    "../corpus/openai_chat/opencode-with-tools.json"
                )),
                chat(include_str!("../corpus/openai_chat/question.json")),
            ],
            completions: asked(
                include_str!("../corpus/openai_completions/prompt-in-an-array.json"),
                openai_completions::read,
                openai_completions::conversation,
            ),
            responses: vec![
                responses(include_str!("../corpus/openai_responses/codex-turn.json")),
                responses(include_str!(
                    "../corpus/openai_responses/pictures-and-schema.json"
                )),
            ],
            anthropic: asked(
                include_str!("../corpus/anthropic/prefill-and-budget.json"),
                anthropic::read,
                anthropic::conversation,
            ),
        }
    })
}

fn id() -> RequestId {
    ID.parse().expect("an id")
}

/// Tells the events in every dialect, to their end or to a failure as the report has it.
pub fn every_surface(events: &[Heard], report: &Report, heard_bytes: usize) {
    let questions = questions();
    let failed = !report.complete();
    let tell = |speaker: &mut dyn Speaker, asked: &Asked| {
        let mut out = BytesMut::new();
        for event in events {
            speaker.say(event.event(), &mut out);
        }
        if failed {
            let refusal = Refusal::new(Code::HostFailed, "the host broke off\n\n\u{1f600}");
            speaker.fail(&refusal, &mut out);
        } else {
            speaker.close(&mut out);
        }
        let most = 64 * heard_bytes + 8 * asked.request.original.frames.len() + 8192;
        assert!(out.len() <= most, "{} bytes of {heard_bytes}", out.len());
        out
    };
    for asked in &questions.chat {
        let mut talk = openai_chat::Talk::new(&asked.request, &asked.conversation, id());
        chat(&tell(&mut talk, asked), failed, asked.request.usage_wanted);
    }
    let asked = &questions.completions;
    let mut talk = openai_completions::Talk::new(&asked.request, &asked.conversation, id());
    completions(&tell(&mut talk, asked), failed);
    for asked in &questions.responses {
        let talk = openai_responses::Talk::new(&asked.request, &asked.conversation, id());
        let mut talk = talk.with_seal(Box::new(|text| format!("sealed {} bytes", text.len())));
        responses(&tell(&mut talk, asked), failed);
    }
    let asked = &questions.anthropic;
    let talk = anthropic::Talk::new(&asked.request, &asked.conversation, id());
    let mut talk = talk.with_seal(Box::new(|text| format!("sealed {} bytes", text.len())));
    messages(&tell(&mut talk, asked), failed);
}

/// Tells a plain answer in every dialect.
pub fn every_surface_whole(reply: &Reply) {
    let questions = questions();
    for asked in &questions.chat {
        let body = openai_chat::whole(&asked.request, &asked.conversation, id(), reply);
        let body = object(&body);
        for choice in list(&body["choices"]) {
            assert!(
                choice["message"]["role"] == "assistant" && choice["finish_reason"].is_string()
            );
        }
    }
    let asked = &questions.completions;
    let body = openai_completions::whole(&asked.request, &asked.conversation, id(), reply);
    assert_eq!(list(&object(&body)["choices"]).len(), reply.choices.len());
    for asked in &questions.responses {
        let body = openai_responses::whole(&asked.request, &asked.conversation, id(), reply);
        assert!(object(&body)["output"].is_array());
    }
    let asked = &questions.anthropic;
    let body = anthropic::whole(&asked.request, &asked.conversation, id(), reply);
    for block in list(&object(&body)["content"]) {
        assert!(block["type"] != "tool_use" || block["input"].is_object());
    }
}

fn object(bytes: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(bytes).expect("JSON");
    assert!(value.is_object());
    value
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("`{field}` is no text in {value}"))
}

fn number(value: &Value, field: &str) -> usize {
    let number = value[field].as_u64();
    let number = number.unwrap_or_else(|| panic!("`{field}` is no number in {value}"));
    usize::try_from(number).expect("a small number")
}

/// One event of a stream.
struct Frame<'a> {
    event: Option<&'a str>,
    data: &'a str,
}

/// The events of a stream, its comments left out: each is an `event:` line at most and one `data:`
/// line, and a blank line ends it.
fn frames(stream: &[u8]) -> Vec<Frame<'_>> {
    let stream = std::str::from_utf8(stream).expect("UTF-8");
    assert!(stream.ends_with("\n\n") && !stream.contains('\r'));
    let mut frames = Vec::new();
    for block in stream.split_terminator("\n\n") {
        let (event, data) = match block.split_once('\n') {
            None if block.starts_with(": ") => continue,
            None => (None, block),
            Some((event, data)) => (Some(event), data),
        };
        let event = event.map(|event| event.strip_prefix("event: ").expect("an `event:` line"));
        let data = data.strip_prefix("data: ");
        let data = data.unwrap_or_else(|| panic!("no `data:` line: {block}"));
        assert!(!data.contains('\n'), "two lines of data: {block}");
        frames.push(Frame { event, data });
    }
    frames
}

/// How far a choice has come, as its reader sees it.
#[derive(Default)]
struct Voice {
    calls: usize,
    finished: bool,
}

fn chat(stream: &[u8], failed: bool, usage_wanted: bool) {
    let mut frames = frames(stream);
    let last = frames.pop().expect("an end");
    if failed {
        assert!(object(last.data.as_bytes())["error"]["message"].is_string());
    } else {
        assert_eq!(last.data, "[DONE]");
    }
    let mut voices: BTreeMap<usize, Voice> = BTreeMap::new();
    let count = frames.len();
    for (at, frame) in frames.iter().enumerate() {
        assert!(frame.event.is_none());
        let chunk = object(frame.data.as_bytes());
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(text(&chunk, "id"), format!("chatcmpl-{ID}"));
        assert!(chunk["created"].is_u64() && chunk["model"].is_string());
        let choices = list(&chunk["choices"]);
        if choices.is_empty() {
            assert!(usage_wanted && at + 1 == count && chunk["usage"].is_object());
        } else {
            assert_eq!(chunk.get("usage").is_some(), usage_wanted);
        }
        for choice in choices {
            let delta = choice["delta"].as_object().expect("a delta");
            let index = number(choice, "index");
            if delta.contains_key("role") {
                assert!(voices.insert(index, Voice::default()).is_none());
            }
            let voice = voices.get_mut(&index).expect("a role before all else");
            assert!(!voice.finished, "more after its finish: {choice}");
            for call in delta.get("tool_calls").into_iter().flat_map(list) {
                let number = number(call, "index");
                assert!(call["function"]["arguments"].is_string());
                if call.get("id").is_some() {
                    assert_eq!(number, voice.calls);
                    voice.calls += 1;
                    assert!(!text(call, "id").is_empty() && call["type"] == "function");
                    assert!(!text(&call["function"], "name").is_empty());
                } else {
                    assert!(number < voice.calls && call["function"].get("name").is_none());
                }
            }
            voice.finished = !choice["finish_reason"].is_null();
            if voice.finished {
                let word = text(choice, "finish_reason");
                assert!(word != "tool_calls" || voice.calls > 0 || delta.is_empty());
            }
        }
    }
    assert!(failed || voices.values().all(|voice| voice.finished));
}

fn completions(stream: &[u8], failed: bool) {
    let mut frames = frames(stream);
    let last = frames.pop().expect("an end");
    if failed {
        assert!(object(last.data.as_bytes())["error"]["message"].is_string());
    } else {
        assert_eq!(last.data, "[DONE]");
    }
    let mut finished: BTreeMap<usize, bool> = BTreeMap::new();
    for frame in &frames {
        let chunk = object(frame.data.as_bytes());
        assert_eq!(chunk["object"], "text_completion");
        for choice in list(&chunk["choices"]) {
            assert!(choice["text"].is_string());
            let ended = finished.entry(number(choice, "index")).or_default();
            assert!(!*ended, "more after its finish: {choice}");
            *ended = choice["finish_reason"].is_string();
        }
    }
    assert!(failed || finished.values().all(|finished| *finished));
}

/// An item of a response, as its reader sees it.
struct Item {
    id: String,
    kind: String,
    said: String,
    part: bool,
    /// Its last form.
    done: Option<Value>,
}

fn responses(stream: &[u8], failed: bool) {
    let frames = frames(stream);
    let mut items: Vec<Item> = Vec::new();
    let last = frames.len() - 1;
    for (at, frame) in frames.iter().enumerate() {
        let event = object(frame.data.as_bytes());
        let kind = text(&event, "type");
        assert_eq!(frame.event, Some(kind), "clients sort by the `event:` line");
        assert_eq!(number(&event, "sequence_number"), at);
        match at {
            0 => assert_eq!(kind, "response.created"),
            1 => assert_eq!(kind, "response.in_progress"),
            _ if at == last => {
                ended(&event, &items, failed);
                continue;
            }
            _ => {}
        }
        if at < 2 {
            assert_eq!(event["response"]["status"], "in_progress");
            assert!(list(&event["response"]["output"]).is_empty());
            continue;
        }
        let index = number(&event, "output_index");
        if kind == "response.output_item.added" {
            let item = &event["item"];
            assert_eq!(index, items.len());
            let id = text(item, "id").to_owned();
            assert!(items.iter().all(|other| other.id != id));
            items.push(Item {
                id,
                kind: text(item, "type").to_owned(),
                said: String::new(),
                part: false,
                done: None,
            });
            continue;
        }
        let item = &mut items[index];
        assert!(item.done.is_none(), "{kind} after the item's end");
        if kind == "response.output_item.done" {
            assert_eq!(text(&event["item"], "id"), item.id);
            assert_eq!(said(&event["item"]), item.said);
            item.done = Some(event["item"].clone());
            continue;
        }
        assert_eq!(text(&event, "item_id"), item.id);
        match (item.kind.as_str(), kind) {
            ("message" | "reasoning", "response.content_part.added")
            | ("reasoning", "response.reasoning_summary_part.added") => {
                assert!(!std::mem::replace(&mut item.part, true));
                assert_eq!(text(&event["part"], "text"), "");
            }
            ("message", "response.output_text.delta")
            | ("reasoning", "response.reasoning_text.delta")
            | ("reasoning", "response.reasoning_summary_text.delta") => {
                assert!(item.part, "a delta of no part");
                item.said.push_str(text(&event, "delta"));
            }
            ("function_call", "response.function_call_arguments.delta")
            | ("custom_tool_call", "response.custom_tool_call_input.delta") => {
                item.said.push_str(text(&event, "delta"));
            }
            ("message", "response.output_text.done")
            | ("reasoning", "response.reasoning_text.done")
            | ("reasoning", "response.reasoning_summary_text.done") => {
                assert_eq!(text(&event, "text"), item.said);
            }
            ("message" | "reasoning", "response.content_part.done")
            | ("reasoning", "response.reasoning_summary_part.done") => {
                assert_eq!(text(&event["part"], "text"), item.said);
            }
            ("function_call", "response.function_call_arguments.done") => {
                assert_eq!(text(&event, "arguments"), item.said);
            }
            ("custom_tool_call", "response.custom_tool_call_input.done") => {
                assert_eq!(text(&event, "input"), item.said);
            }
            (item, kind) => panic!("{kind} of a {item}"),
        }
    }
}

/// The text of an item in its last form.
fn said(item: &Value) -> &str {
    match text(item, "type") {
        "function_call" => text(item, "arguments"),
        "custom_tool_call" => text(item, "input"),
        "reasoning" if item["content"].is_null() => text(&item["summary"][0], "text"),
        _ => text(&item["content"][0], "text"),
    }
}

fn ended(event: &Value, items: &[Item], failed: bool) {
    let kind = text(event, "type");
    let response = &event["response"];
    let status = text(response, "status");
    assert_eq!(kind, format!("response.{status}"));
    assert!(["completed", "incomplete", "failed"].contains(&status));
    assert!(!failed || status == "failed");
    assert_eq!(response["error"].is_object(), status == "failed");
    let output = list(&response["output"]);
    assert_eq!(output.len(), items.len());
    for (item, told) in output.iter().zip(items) {
        assert_eq!(text(item, "id"), told.id);
        match &told.done {
            Some(done) => assert_eq!(item, done),
            None => assert_eq!(status, "failed", "an item without its end"),
        }
    }
}

/// Anthropic's.
fn messages(stream: &[u8], failed: bool) {
    let mut frames = frames(stream);
    let last = frames.pop().expect("an end");
    // A host that gave up is told as an error, whatever the report.
    let failed = failed || last.event == Some("error");
    if failed {
        assert_eq!(last.event, Some("error"));
        assert!(object(last.data.as_bytes())["error"]["message"].is_string());
        if frames.is_empty() {
            return;
        }
    } else {
        assert_eq!(last.data, "{\"type\":\"message_stop\"}");
        let delta = frames.pop().expect("an end");
        assert_eq!(delta.event, Some("message_delta"));
        let delta = object(delta.data.as_bytes());
        assert!(delta["delta"]["stop_reason"].is_string() && delta["usage"].is_object());
    }
    let mut open: Option<(String, String)> = None;
    let mut next = 0;
    for (at, frame) in frames.iter().enumerate() {
        let event = object(frame.data.as_bytes());
        let kind = text(&event, "type");
        assert_eq!(
            frame.event,
            Some(kind),
            "clients skip events without their line"
        );
        assert_eq!(at == 0, kind == "message_start");
        match kind {
            "message_start" | "ping" => {}
            "content_block_start" => {
                assert!(open.is_none(), "a block in a block");
                assert_eq!(number(&event, "index"), next);
                let block = text(&event["content_block"], "type");
                if block == "tool_use" {
                    assert!(!text(&event["content_block"], "id").is_empty());
                    assert!(!text(&event["content_block"], "name").is_empty());
                }
                open = Some((block.to_owned(), String::new()));
            }
            "content_block_delta" => {
                assert_eq!(number(&event, "index"), next);
                let (block, said) = open.as_mut().expect("a delta of no block");
                let delta = &event["delta"];
                match (block.as_str(), text(delta, "type")) {
                    ("text", "text_delta") => said.push_str(text(delta, "text")),
                    ("thinking", "thinking_delta") => said.push_str(text(delta, "thinking")),
                    ("thinking", "signature_delta") => {
                        let sealed = format!("sealed {} bytes", said.len());
                        assert_eq!(text(delta, "signature"), sealed);
                    }
                    ("tool_use", "input_json_delta") => said.push_str(text(delta, "partial_json")),
                    (block, delta) => panic!("a {delta} in a block of {block}"),
                }
            }
            "content_block_stop" => {
                assert_eq!(number(&event, "index"), next);
                next += 1;
                let (block, said) = open.take().expect("an end of no block");
                // A model may break its own JSON, but what is told begins as an object.
                assert!(block != "tool_use" || said.starts_with('{'), "{said}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(failed || open.is_none());
}
