//! Answers told: golden streams, what clients make of any stream, and what is kept.

use std::path::Path;

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chat::{Event, Finish, Part, Reply, Speaker, Turn, Usage};
use crate::id::RequestId;

fn id() -> RequestId {
    "01a20dbd-0000-7000-8000-00000000002a"
        .parse()
        .expect("an id")
}

/// What the model says in most of these tests.
fn usage() -> Event<'static> {
    Event::Usage(Usage {
        cache_miss: Tokens::new(7),
        cache_hit: Tokens::new(64),
        cache_write: Tokens::new(2),
        reasoning: Tokens::new(5),
        visible: Tokens::new(3),
    })
}

fn talk(body: &Value) -> Talk {
    let (request, conversation) = understood(body);
    Talk::new(&request, &conversation, id()).with_seal(Box::new(|text| format!("sealed:{text}")))
}

fn told(body: &Value, events: &[Event<'_>]) -> String {
    let mut talk = talk(body);
    let mut out = BytesMut::new();
    for event in events {
        talk.say(*event, &mut out);
    }
    talk.close(&mut out);
    String::from_utf8(out.to_vec()).expect("text")
}

/// Compares with a file of `golden/`; with `TOLLGATE_WRITE_GOLDEN` set, writes it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/edge/surfaces/openai_responses/tests/golden")
        .join(name);
    if std::env::var_os("TOLLGATE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("a golden file");
    }
    let kept = std::fs::read_to_string(&path).expect("a golden file");
    assert!(kept == text, "{name} differs; what was told:\n{text}");
}

/// The events of a stream; each one's name and number are as they must be.
fn events_of(stream: &str) -> Vec<Value> {
    let mut events = Vec::new();
    for block in stream.split_terminator("\n\n") {
        if block.starts_with(':') {
            continue;
        }
        let (name, data) = block.split_once('\n').expect("two lines");
        let data = data.strip_prefix("data: ").expect("data");
        let event: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(
            name,
            format!("event: {}", event["type"].as_str().expect("a type"))
        );
        assert_eq!(event["sequence_number"], json!(events.len()));
        events.push(event);
    }
    events
}

/// What a client that adds up events has in the end, and what the last event says it should have.
/// It is as strict as the official clients: nothing is added to what has not begun.
fn added_up(stream: &str) -> (Value, Value) {
    let events = events_of(stream);
    let mut output: Vec<Value> = Vec::new();
    let (last, before) = events.split_last().expect("events");
    assert_eq!(before[0]["type"], "response.created");
    assert_eq!(before[1]["type"], "response.in_progress");
    let mut ended: Vec<usize> = Vec::new();
    for event in &before[2..] {
        let kind = event["type"].as_str().expect("a type");
        let at = usize::try_from(event["output_index"].as_u64().expect("an index")).expect("small");
        if kind == "response.output_item.added" {
            assert_eq!(at, output.len());
            output.push(event["item"].clone());
            continue;
        }
        assert!(!ended.contains(&at), "{kind} after its item's end");
        let item = &mut output[at];
        if let Some(id) = event.get("item_id") {
            assert_eq!(id, &item["id"]);
        }
        let add = |place: &mut Value| {
            let sum = format!(
                "{}{}",
                place.as_str().expect("a text"),
                event["delta"].as_str().expect("a delta")
            );
            *place = json!(sum);
        };
        match kind {
            "response.output_item.done" => {
                let sum = std::mem::replace(item, event["item"].clone());
                let same = |field: &str| assert_eq!(sum[field], event["item"][field], "{field}");
                [
                    "id",
                    "type",
                    "content",
                    "summary",
                    "arguments",
                    "input",
                    "call_id",
                    "name",
                ]
                .into_iter()
                .for_each(same);
                ended.push(at);
            }
            "response.content_part.added" => {
                if item["content"].is_null() {
                    item["content"] = json!([]);
                }
                item["content"]
                    .as_array_mut()
                    .expect("content")
                    .push(event["part"].clone());
            }
            "response.reasoning_summary_part.added" => {
                item["summary"]
                    .as_array_mut()
                    .expect("a summary")
                    .push(event["part"].clone());
            }
            "response.output_text.delta" => {
                add(&mut item["content"][0]["text"]);
                let all = item["content"][0]["logprobs"]
                    .as_array_mut()
                    .expect("a list");
                all.extend(
                    event["logprobs"]
                        .as_array()
                        .expect("a list")
                        .iter()
                        .cloned(),
                );
            }
            "response.reasoning_text.delta" => add(&mut item["content"][0]["text"]),
            "response.reasoning_summary_text.delta" => add(&mut item["summary"][0]["text"]),
            "response.function_call_arguments.delta" => add(&mut item["arguments"]),
            "response.custom_tool_call_input.delta" => add(&mut item["input"]),
            "response.output_text.done" | "response.reasoning_text.done" => {
                assert_eq!(item["content"][0]["text"], event["text"]);
            }
            "response.reasoning_summary_text.done" => {
                assert_eq!(item["summary"][0]["text"], event["text"]);
            }
            "response.content_part.done" => assert_eq!(item["content"][0], event["part"]),
            "response.reasoning_summary_part.done" => {
                assert_eq!(item["summary"][0], event["part"]);
            }
            "response.function_call_arguments.done" => {
                assert_eq!(item["arguments"], event["arguments"]);
                assert_eq!(item["name"], event["name"]);
            }
            "response.custom_tool_call_input.done" => assert_eq!(item["input"], event["input"]),
            other => panic!("no such event: {other}"),
        }
    }
    let mut sum = before[0]["response"].clone();
    let last = last["response"].clone();
    for field in ["status", "error", "incomplete_details", "usage"] {
        sum[field] = last[field].clone();
    }
    sum["output"] = json!(output);
    (sum, last)
}

fn plain() -> Value {
    json!({"model": "deepseek-v4-pro", "input": "hi", "stream": true, "instructions": "be brief",
           "temperature": 0.5, "max_output_tokens": 100, "metadata": {"job": "7"}, "user": "u1",
           "include": ["message.output_text.logprobs"]})
}

#[test]
fn thinking_and_text_are_told_one_after_the_other() {
    let stream = told(
        &plain(),
        &[
            Event::Begin { id: Some("host-1") },
            Event::Reasoning {
                choice: 0,
                text: "A greeting",
            },
            Event::Alive,
            Event::Reasoning {
                choice: 0,
                text: ".\n",
            },
            Event::Logprobs {
                choice: 0,
                json: r#"{"content":[{"token":"Hi","logprob":-0.25,"bytes":null,"top_logprobs":[{"token":"Yo","logprob":-2,"bytes":[89,111]}]}]}"#,
            },
            Event::Text {
                choice: 0,
                text: "Hi",
            },
            Event::Text {
                choice: 0,
                text: " \"you\"\u{1f600}",
            },
            Event::Logprobs {
                choice: 0,
                json: r#"{"content":[{"token":" you","logprob":-1.5}]}"#,
            },
            Event::Finish {
                choice: 0,
                reason: Finish::Stop,
            },
            usage(),
        ],
    );
    let (sum, last) = added_up(&stream);
    assert_eq!(sum, last);
    golden("text.sse", &stream);
}

#[test]
fn an_agents_calls_are_told_by_the_names_that_it_gave() {
    let body: Value =
        serde_json::from_str(include_str!("golden/codex.request.json")).expect("JSON");
    let stream = told(
        &body,
        &[
            Event::Begin { id: None },
            Event::Reasoning {
                choice: 0,
                text: "Both at once.",
            },
            Event::Text {
                choice: 0,
                text: "Starting.",
            },
            Event::Call {
                choice: 0,
                index: 0,
                id: "call_a",
                name: "multi_agent_v1__spawn_agent",
            },
            Event::Arguments {
                choice: 0,
                index: 0,
                piece: "{\"mess",
            },
            Event::Call {
                choice: 0,
                index: 1,
                id: "call_b",
                name: "apply_patch",
            },
            Event::Arguments {
                choice: 0,
                index: 1,
                piece: "{\"input\":\"*** Begin",
            },
            Event::Arguments {
                choice: 0,
                index: 0,
                piece: "age\":\"go\"}",
            },
            Event::Arguments {
                choice: 0,
                index: 1,
                piece: " Patch\\n\"}",
            },
            Event::Call {
                choice: 0,
                index: 2,
                id: "",
                name: "exec_command",
            },
            Event::Arguments {
                choice: 0,
                index: 2,
                piece: "{}",
            },
            Event::Finish {
                choice: 0,
                reason: Finish::ToolCalls,
            },
            usage(),
        ],
    );
    let (sum, last) = added_up(&stream);
    assert_eq!(sum, last);
    assert_eq!(
        last["output"][0]["encrypted_content"],
        "sealed:Both at once."
    );
    assert_eq!(last["output"][2]["namespace"], "multi_agent_v1");
    assert_eq!(last["output"][2]["name"], "spawn_agent");
    assert_eq!(last["output"][3]["input"], "*** Begin Patch\n");
    assert_eq!(last["metadata"][LEFT_OUT], "web_search");
    assert!(!last["tools"].to_string().contains("web_search"));
    golden("codex.sse", &stream);
}

#[test]
fn a_request_written_on_many_lines_is_repeated_on_one() {
    let body: Value =
        serde_json::from_str(include_str!("golden/codex.request.json")).expect("JSON");
    let frames = Frames::from(Bytes::from(format!("{body:#}")));
    let request = read(frames).expect("a request");
    let conversation = conversation(&request).expect("a conversation");
    let mut talk = Talk::new(&request, &conversation, id());
    let mut out = BytesMut::new();
    talk.close(&mut out);
    let (sum, last) = added_up(std::str::from_utf8(&out).expect("text"));
    assert_eq!(sum, last);
    let mut offered = body["tools"].clone();
    offered.as_array_mut().expect("tools").pop();
    assert_eq!(last["tools"], offered);
}

#[test]
fn an_answer_cut_short_is_incomplete_and_so_is_what_was_being_said() {
    let body = json!({"model": "m", "input": "hi", "store": false,
                      "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true}]});
    let stream = told(
        &body,
        &[
            Event::Begin { id: None },
            Event::Call {
                choice: 0,
                index: 0,
                id: "c1",
                name: "f",
            },
            Event::Arguments {
                choice: 0,
                index: 0,
                piece: "{}",
            },
            Event::Call {
                choice: 0,
                index: 1,
                id: "c2",
                name: "f",
            },
            Event::Arguments {
                choice: 0,
                index: 1,
                piece: "{\"a\":",
            },
            Event::Finish {
                choice: 0,
                reason: Finish::Length,
            },
            usage(),
        ],
    );
    let (sum, last) = added_up(&stream);
    assert_eq!(sum, last);
    assert_eq!(
        last["incomplete_details"],
        json!({"reason": "max_output_tokens"})
    );
    assert_eq!(last["output"][0]["status"], "completed");
    assert_eq!(last["output"][1]["status"], "incomplete");
    golden("incomplete.sse", &stream);
}

#[test]
fn an_answer_that_fails_says_why_and_ends_no_call() {
    let body = json!({"model": "m", "input": "hi", "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": false}]});
    let mut talk = talk(&body);
    let mut out = BytesMut::new();
    talk.say(
        Event::Call {
            choice: 0,
            index: 0,
            id: "c1",
            name: "f",
        },
        &mut out,
    );
    talk.say(
        Event::Arguments {
            choice: 0,
            index: 0,
            piece: "{\"a\":",
        },
        &mut out,
    );
    talk.fail(
        &Refusal::new(Code::HostFailed, "no host answered"),
        &mut out,
    );
    talk.say(
        Event::Text {
            choice: 0,
            text: "late",
        },
        &mut out,
    );
    talk.close(&mut out);
    let stream = String::from_utf8(out.to_vec()).expect("text");
    let events = events_of(&stream);
    let last = events.last().expect("an event");
    assert_eq!(last["type"], "response.failed");
    assert_eq!(
        last["response"]["error"],
        json!({"code": "server_error", "message": "no host answered", "type": "host_failed"})
    );
    assert!(
        events
            .iter()
            .all(|event| event["type"] != "response.output_item.done")
    );
    golden("failed.sse", &stream);
}

#[test]
fn each_finish_has_its_ending() {
    for (finish, kind, error) in [
        (Finish::Stop, "response.completed", Value::Null),
        (Finish::StopString, "response.completed", Value::Null),
        (Finish::ToolCalls, "response.completed", Value::Null),
        (Finish::Other, "response.completed", Value::Null),
        (Finish::Length, "response.incomplete", Value::Null),
        (Finish::ContentFilter, "response.incomplete", Value::Null),
        (
            Finish::WindowFull,
            "response.failed",
            json!("context_length_exceeded"),
        ),
        (Finish::HostGaveUp, "response.failed", json!("server_error")),
    ] {
        let stream = told(
            &plain(),
            &[
                Event::Text {
                    choice: 0,
                    text: "x",
                },
                Event::Finish {
                    choice: 0,
                    reason: finish,
                },
            ],
        );
        let events = events_of(&stream);
        let last = events.last().expect("an event");
        assert_eq!(
            (&last["type"], &last["response"]["error"]["code"]),
            (&json!(kind), &error)
        );
    }
    let codes = [
        (Code::RateLimited, "rate_limit_exceeded"),
        (Code::InvalidRequest, "invalid_prompt"),
        (Code::BudgetExceeded, "insufficient_quota"),
        (Code::TimedOut, "server_error"),
    ];
    for (code, word) in codes {
        let mut talk = talk(&plain());
        let mut out = BytesMut::new();
        talk.fail(&Refusal::new(code, "why"), &mut out);
        let events = events_of(std::str::from_utf8(&out).expect("text"));
        assert_eq!(events[2]["response"]["error"]["code"], word);
    }
}

fn spoken(events: &[Event<'_>]) -> Reply {
    let mut reply = Reply::default();
    events.iter().for_each(|event| reply.hear(*event));
    reply
}

#[test]
fn a_plain_answer_is_what_the_stream_ends_with_and_is_kept_with_its_turns() {
    let events = [
        Event::Begin { id: Some("host-1") },
        Event::Reasoning {
            choice: 0,
            text: "hm",
        },
        Event::Text {
            choice: 0,
            text: "yes",
        },
        Event::Finish {
            choice: 0,
            reason: Finish::Stop,
        },
        usage(),
    ];
    let body = plain();
    let (request, conversation) = understood(&body);
    let reply = spoken(&events);
    let whole = whole(&request, &conversation, id(), &reply);
    let (_, last) = added_up(&told(&body, &events));
    let object: Value = serde_json::from_slice(&whole).expect("JSON");
    assert_eq!(object, last);
    golden(
        "whole.json",
        &format!("{}\n", String::from_utf8_lossy(&whole)),
    );

    let kept = stored(&request, &conversation, id(), &reply);
    assert_eq!(kept.id, "resp_01a20dbd00007000800000000000002a");
    assert_eq!(kept.body, whole);
    assert_eq!(kept.turns.len(), 2, "instructions are not kept");
    assert_eq!(kept.turns[0], Turn::user("hi"));
    assert!(matches!(&kept.turns[1], Turn::Assistant(said) if said.text == "yes"));
    let text = serde_json::to_string(&kept.turns).expect("turns are JSON");
    assert_eq!(
        serde_json::from_str::<Vec<Turn>>(&text).expect("turns"),
        kept.turns
    );

    assert_eq!(retrieved(&kept, false).expect("the answer"), kept.body);
    assert_eq!(
        retrieved(&kept, true).expect_err("events").field.as_deref(),
        Some("stream")
    );
    assert_eq!(unknown("resp_x").code, Code::NotFound);
    assert_eq!(cancelled("resp_x").code, Code::InvalidRequest);
    let gone: Value = serde_json::from_slice(&deleted(&kept.id)).expect("JSON");
    assert_eq!(
        gone,
        json!({"id": kept.id, "object": "response", "deleted": true})
    );
}

#[test]
fn the_input_of_a_kept_answer_is_listed_in_pages() {
    let mut body: Value =
        serde_json::from_str(include_str!("golden/codex.request.json")).expect("JSON");
    let more = json!([
        {"type": "custom_tool_call", "call_id": "c9", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c9", "output": "ok"},
        {"role": "assistant", "content": "there"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,aGk="}]},
    ]);
    let input = body["input"].as_array_mut().expect("items");
    input.extend(more.as_array().expect("items").iter().cloned());
    let (request, conversation) = understood(&body);
    let kept = stored(&request, &conversation, id(), &Reply::default());
    let list = |listing: Listing| -> Value {
        serde_json::from_slice(&input_items(&kept, &listing).expect("a list")).expect("JSON")
    };
    let up = |after: Option<String>, limit| Listing {
        after,
        limit: Some(limit),
        order: Some("asc".into()),
    };
    let all = list(up(None, 100));
    let kinds: Vec<&str> = all["data"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(
        kinds,
        [
            "message",
            "message",
            "reasoning",
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
            "custom_tool_call",
            "custom_tool_call_output",
            "message",
            "message"
        ]
    );
    assert_eq!(all["data"][4]["namespace"], "multi_agent_v1");
    golden("input_items.json", &format!("{all}\n"));

    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = list(up(after, 3));
        paged.extend(page["data"].as_array().expect("items").iter().cloned());
        if page["has_more"] == false {
            break;
        }
        after = Some(page["last_id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(json!(paged), all["data"]);
    let down = list(Listing::default());
    assert_eq!(down["first_id"], all["last_id"]);
    for (listing, field) in [
        (
            Listing {
                limit: Some(0),
                ..Listing::default()
            },
            "limit",
        ),
        (
            Listing {
                order: Some("up".into()),
                ..Listing::default()
            },
            "order",
        ),
        (
            Listing {
                after: Some("msg_x".into()),
                ..Listing::default()
            },
            "after",
        ),
    ] {
        let refusal = input_items(&kept, &listing).expect_err("a mistake");
        assert_eq!(refusal.field.as_deref(), Some(field));
    }
}

#[test]
fn what_an_answer_said_is_read_again_as_the_same_turn() {
    for summary in [Value::Null, json!("auto")] {
        let body = json!({"model": "m", "input": "hi", "reasoning": {"summary": summary}, "tools": [
            {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]}]});
        let events = [
            Event::Reasoning {
                choice: 0,
                text: "think\n\nmore",
            },
            Event::Text {
                choice: 0,
                text: "text",
            },
            Event::Call {
                choice: 0,
                index: 0,
                id: "c1",
                name: "n__f",
            },
            Event::Arguments {
                choice: 0,
                index: 0,
                piece: "{\"a\": 1}",
            },
            Event::Call {
                choice: 0,
                index: 1,
                id: "c2",
                name: "n__c",
            },
            Event::Arguments {
                choice: 0,
                index: 1,
                piece: "{\"input\":\"x\"}",
            },
            Event::Finish {
                choice: 0,
                reason: Finish::ToolCalls,
            },
        ];
        let (_, last) = added_up(&told(&body, &events));
        let mut next = body.clone();
        next["input"] = last["output"].clone();
        let (_, conversation) = understood(&next);
        let said = spoken(&events).choices.remove(0).said;
        assert_eq!(conversation.turns, [Turn::Assistant(said)]);
    }
}

#[derive(Clone, Debug)]
enum Heard {
    Begin,
    Reasoning(String),
    Text(String),
    Call(u32, String),
    Arguments(u32, String),
    Logprobs(String),
    Finish(Finish),
    Usage(u64),
    Alive,
    Elsewhere,
}

impl Heard {
    fn event(&self) -> Event<'_> {
        match self {
            Heard::Begin => Event::Begin { id: None },
            Heard::Reasoning(text) => Event::Reasoning { choice: 0, text },
            Heard::Text(text) => Event::Text { choice: 0, text },
            Heard::Call(index, name) => Event::Call {
                choice: 0,
                index: *index,
                id: name,
                name,
            },
            Heard::Arguments(index, piece) => Event::Arguments {
                choice: 0,
                index: *index,
                piece,
            },
            Heard::Logprobs(json) => Event::Logprobs { choice: 0, json },
            Heard::Finish(reason) => Event::Finish {
                choice: 0,
                reason: *reason,
            },
            Heard::Usage(count) => Event::Usage(Usage {
                visible: Tokens::new(*count),
                ..Usage::default()
            }),
            Heard::Alive => Event::Alive,
            Heard::Elsewhere => Event::Text {
                choice: 1,
                text: "x",
            },
        }
    }
}

fn heard() -> impl Strategy<Value = Heard> {
    let text = "[a-z\"\\\\\n\u{e9}\u{1f600}]{0,6}";
    prop_oneof![
        1 => Just(Heard::Begin),
        3 => text.prop_map(Heard::Reasoning),
        3 => text.prop_map(Heard::Text),
        3 => (0_u32..4, "(exec_command|apply_patch|multi_agent_v1__close_agent|other)?")
            .prop_map(|(index, name)| Heard::Call(index, name)),
        4 => (0_u32..4, "(\\{|\\}|\"input\":|\"a\"|[a-z]{0,3})").prop_map(|(index, piece)| Heard::Arguments(index, piece)),
        1 => "[a-z]{1,3}".prop_map(|token| Heard::Logprobs(json!({"content": [{"token": token, "logprob": -1}]}).to_string())),
        1 => prop_oneof![Just(Finish::Stop), Just(Finish::Length), Just(Finish::ToolCalls), Just(Finish::ContentFilter)].prop_map(Heard::Finish),
        1 => (0_u64..9).prop_map(Heard::Usage),
        1 => Just(Heard::Alive),
        1 => Just(Heard::Elsewhere),
    ]
}

proptest! {
    #[test]
    fn whatever_a_host_says_clients_add_it_up_to_the_response_that_ends_the_stream(
        heard in proptest::collection::vec(heard(), 0..40), summary in any::<bool>(), logprobs in any::<bool>(),
    ) {
        let mut body: Value = serde_json::from_str(include_str!("golden/codex.request.json")).expect("JSON");
        if !summary {
            body["reasoning"] = Value::Null;
        }
        if logprobs {
            body["top_logprobs"] = json!(2);
        }
        let events: Vec<Event<'_>> = heard.iter().map(Heard::event).collect();
        let (sum, last) = added_up(&told(&body, &events));
        prop_assert_eq!(&sum, &last);

        let reply = spoken(&events);
        let said = reply.choices.first().map(|choice| choice.said.clone()).unwrap_or_default();
        let items = last["output"].as_array().expect("items");
        let joined = |kind: &str, place: &str| -> String {
            items.iter().filter(|item| item["type"] == kind)
                .map(|item| item.pointer(place).and_then(Value::as_str).expect("a text").to_owned()).collect()
        };
        prop_assert_eq!(joined("message", "/content/0/text"), said.text);
        let place = if summary { "/summary/0/text" } else { "/content/0/text" };
        prop_assert_eq!(joined("reasoning", place), said.reasoning.unwrap_or_default());
    }

    #[test]
    fn a_stream_may_fail_anywhere_and_is_still_in_order(
        heard in proptest::collection::vec(heard(), 0..20),
    ) {
        let mut talk = talk(&plain());
        let mut out = BytesMut::new();
        for one in &heard {
            talk.say(one.event(), &mut out);
        }
        talk.fail(&Refusal::new(Code::TimedOut, "too slow"), &mut out);
        let events = events_of(std::str::from_utf8(&out).expect("text"));
        prop_assert_eq!(&events.last().expect("an event")["type"], "response.failed");
        let ends = events.iter().filter(|event| event["response"]["status"] == "failed").count();
        prop_assert_eq!(ends, 1);
    }
}

#[test]
fn parts_of_a_result_come_back_as_they_were() {
    let parts = vec![Part::Text("a".into()), Part::Text("b".into())];
    let kept = Stored {
        id: "resp_1".into(),
        turns: vec![
            Turn::Result {
                call: "c".into(),
                parts,
                failed: false,
            },
            Turn::Assistant(crate::chat::Said::default()),
        ],
        body: Bytes::from_static(b"{}"),
    };
    let list = input_items(&kept, &Listing::default()).expect("a list");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert_eq!(
        list["data"][0]["output"],
        json!([{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}])
    );
}
