//! What clients make of a stream by adding up its events, whatever a host said.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chat::{Event, Finish, Speaker, Usage};

/// The events of a stream; each one's name and number are as they must be.
pub(super) fn events_of(stream: &str) -> Vec<Value> {
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
pub(super) fn added_up(stream: &str) -> (Value, Value) {
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
