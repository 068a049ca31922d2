//! Answers: canonical events as the dialect's stream, and the same answer told plainly.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Talk, whole, whole_sealed};
use super::{asked, golden};
use crate::chat::{
    Code, Conversation, Event, Finish, Refusal, Reply, Request, Speaker, Tokens, Turn, Usage,
};
use crate::id::RequestId;

const ID: &str = "01932f6e-0000-7000-8000-000000000001";

fn id() -> RequestId {
    ID.parse().expect("an id")
}

/// An event that owns its text.
#[derive(Clone, Debug)]
enum Heard {
    Begin,
    Reasoning(String),
    Text(String),
    Call(u32, String, String),
    Arguments(u32, String),
    Finish(Finish),
    Usage(Usage),
    Alive,
    OtherChoice,
}

impl Heard {
    fn event(&self) -> Event<'_> {
        match self {
            Heard::Begin => Event::Begin { id: Some("host-1") },
            Heard::Reasoning(text) => Event::Reasoning { choice: 0, text },
            Heard::Text(text) => Event::Text { choice: 0, text },
            Heard::Call(index, id, name) => Event::Call {
                choice: 0,
                index: *index,
                id,
                name,
            },
            Heard::Arguments(index, piece) => Event::Arguments {
                choice: 0,
                index: *index,
                piece,
            },
            Heard::Finish(reason) => Event::Finish {
                choice: 0,
                reason: *reason,
            },
            Heard::Usage(usage) => Event::Usage(*usage),
            Heard::Alive => Event::Alive,
            Heard::OtherChoice => Event::Text {
                choice: 1,
                text: "not for this dialect",
            },
        }
    }
}

fn usage(value: &Value) -> Usage {
    serde_json::from_value(value.clone()).expect("a usage")
}

/// An event as golden files write it.
fn heard(value: &Value) -> Heard {
    if let Some(word) = value.as_str() {
        return match word {
            "begin" => Heard::Begin,
            "alive" => Heard::Alive,
            "other_choice" => Heard::OtherChoice,
            other => panic!("no event {other}"),
        };
    }
    let (key, value) = value
        .as_object()
        .and_then(|event| event.iter().next())
        .expect("an event");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let number = |value: &Value| u32::try_from(value.as_u64().expect("a number")).expect("small");
    match key.as_str() {
        "reasoning" => Heard::Reasoning(text(value)),
        "text" => Heard::Text(text(value)),
        "call" => Heard::Call(number(&value[0]), text(&value[1]), text(&value[2])),
        "arguments" => Heard::Arguments(number(&value[0]), text(&value[1])),
        "finish" => Heard::Finish(match value.as_str().expect("a word") {
            "stop" => Finish::Stop,
            "stop_string" => Finish::StopString,
            "length" => Finish::Length,
            "window_full" => Finish::WindowFull,
            "tool_calls" => Finish::ToolCalls,
            "content_filter" => Finish::ContentFilter,
            "host_gave_up" => Finish::HostGaveUp,
            "other" => Finish::Other,
            other => panic!("no finish {other}"),
        }),
        "usage" => Heard::Usage(usage(value)),
        other => panic!("no event {other}"),
    }
}

fn question() -> (Request, Conversation) {
    asked(
        &json!({"model": "deepseek-v4-pro", "max_tokens": 100, "stream": true,
        "stop_sequences": ["END"], "messages": [{"role": "user", "content": "hi"}]}),
    )
}

fn stream(events: &[Heard]) -> String {
    let (request, conversation) = question();
    let mut talk = Talk::new(&request, &conversation, id());
    let mut out = BytesMut::new();
    for event in events {
        talk.say(event.event(), &mut out);
    }
    talk.close(&mut out);
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

fn plain(events: &[Heard]) -> Value {
    let (request, conversation) = question();
    let mut reply = Reply::default();
    for event in events {
        reply.hear(event.event());
    }
    let body = whole(&request, &conversation, id(), &reply);
    serde_json::from_slice(&body).expect("JSON")
}

/// The events of a stream: each with its `event:` line, which says the same as its `type`.
fn events(stream: &str) -> Vec<Value> {
    stream
        .strip_suffix("\n\n")
        .expect("whole events")
        .split("\n\n")
        .map(|event| {
            let (name, data) = event.split_once("\ndata: ").expect("two lines");
            let data: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(
                name.strip_prefix("event: "),
                data["type"].as_str(),
                "{event}"
            );
            data
        })
        .collect()
}

/// Puts a stream together as the official clients do, and checks its order on the way.
fn accumulated(stream: &str) -> Value {
    let mut message = Value::Null;
    let mut open: Option<(usize, String)> = None;
    let mut stopped = false;
    for event in events(stream) {
        assert!(!stopped, "{event} after the end");
        let index = event["index"]
            .as_u64()
            .map(|index| usize::try_from(index).expect("small"));
        match event["type"].as_str().expect("a type") {
            "message_start" => {
                assert!(message.is_null(), "begun twice");
                message = event["message"].clone();
            }
            "content_block_start" => {
                assert!(open.is_none(), "a block within a block");
                let blocks = message["content"].as_array_mut().expect("blocks");
                assert_eq!(index, Some(blocks.len()), "the index runs");
                blocks.push(event["content_block"].clone());
                open = Some((blocks.len() - 1, String::new()));
            }
            "content_block_delta" => {
                let (at, json) = open.as_mut().expect("an open block");
                assert_eq!(index, Some(*at));
                let block = &mut message["content"][*at];
                let delta = &event["delta"];
                let (field, piece, of) = match delta["type"].as_str().expect("a type") {
                    "text_delta" => ("text", &delta["text"], "text"),
                    "thinking_delta" => ("thinking", &delta["thinking"], "thinking"),
                    "signature_delta" => ("signature", &delta["signature"], "thinking"),
                    "input_json_delta" => {
                        assert_eq!(block["type"], "tool_use");
                        json.push_str(delta["partial_json"].as_str().expect("a piece"));
                        continue;
                    }
                    other => panic!("no delta {other}"),
                };
                assert_eq!(block["type"], of);
                let mut text = block[field].as_str().expect("text").to_owned();
                text.push_str(piece.as_str().expect("a piece"));
                block[field] = json!(text);
            }
            "content_block_stop" => {
                let (at, input) = open.take().expect("an open block");
                assert_eq!(index, Some(at));
                if message["content"][at]["type"] == "tool_use" {
                    message["content"][at]["input"] =
                        serde_json::from_str(&input).unwrap_or_else(|_| json!(input));
                }
            }
            "message_delta" => {
                assert!(open.is_none(), "a block was left open");
                for field in ["stop_reason", "stop_sequence"] {
                    message[field] = event["delta"][field].clone();
                }
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => stopped = true,
            "ping" => assert!(!message.is_null(), "a ping before the start"),
            other => panic!("no event {other}"),
        }
    }
    assert!(stopped, "no end");
    message
}

#[test]
fn each_golden_answer_is_told_as_it_says() {
    for (name, file) in golden("told") {
        let heard: Vec<Heard> = file["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(heard)
            .collect();
        let told = events(&stream(&heard));
        assert_eq!(
            json!(told),
            file["stream"],
            "{name} is told as {:#}",
            json!(told)
        );
        if let Some(message) = file.get("message") {
            let plain = plain(&heard);
            assert_eq!(plain, *message, "{name} is plainly {plain:#}");
        }
    }
}

#[test]
fn an_answer_that_cannot_be_completed_ends_with_an_error_and_nothing_after() {
    let (request, conversation) = question();
    let mut talk = Talk::new(&request, &conversation, id());
    let mut out = BytesMut::new();
    talk.say(Heard::Text("so f".into()).event(), &mut out);
    out.clear();
    talk.fail(&Refusal::new(Code::Overloaded, "no host is left"), &mut out);
    talk.say(Heard::Text("ar".into()).event(), &mut out);
    talk.close(&mut out);
    let told = events(std::str::from_utf8(&out).expect("UTF-8"));
    assert_eq!(
        json!(told),
        json!([{"type": "error", "error": {"type": "overloaded_error", "code": "overloaded",
            "message": "no host is left"}}])
    );
}

#[test]
fn each_stretch_of_thinking_is_sealed_with_its_whole_text() {
    let (request, conversation) = question();
    let seal = |text: &str| format!("sealed:{}:{text}", text.len());
    let mut talk = Talk::new(&request, &conversation, id()).with_seal(Box::new(seal));
    let mut out = BytesMut::new();
    for event in ["a", "b"] {
        talk.say(Heard::Reasoning(event.into()).event(), &mut out);
    }
    talk.say(Heard::Text("so".into()).event(), &mut out);
    talk.say(Heard::Reasoning("c".into()).event(), &mut out);
    talk.close(&mut out);
    let message = accumulated(std::str::from_utf8(&out).expect("UTF-8"));
    assert_eq!(message["content"][0]["signature"], "sealed:2:ab");
    assert_eq!(message["content"][2]["signature"], "sealed:1:c");
}

#[test]
fn a_plain_answers_thinking_is_sealed_too() {
    let (request, conversation) = question();
    let mut reply = Reply::default();
    reply.hear(Heard::Reasoning("hm".into()).event());
    let seal = |text: &str| text.to_uppercase();
    let body = whole_sealed(&request, &conversation, id(), &reply, &seal);
    let message: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        message["content"],
        json!([{"type": "thinking", "thinking": "hm", "signature": "HM"}])
    );
}

/// Arguments that are an object, cut into pieces between characters.
fn arguments() -> impl Strategy<Value = Vec<String>> {
    (
        "[a-z\"\\\\{}\\[\\]\u{e9}\u{4e2d}\n]{0,10}",
        1_usize..9,
        any::<bool>(),
    )
        .prop_map(|(text, every, empty)| {
            let object = if empty {
                json!({})
            } else {
                json!({"k": [{"text": text}], "n": 1.5})
            };
            let letters: Vec<char> = object.to_string().chars().collect();
            letters
                .chunks(every)
                .map(|piece| piece.iter().collect())
                .collect()
        })
}

fn prose() -> impl Strategy<Value = Heard> {
    prop_oneof![
        "[a-z\"\\\\\n\u{e9}\u{4e2d}\u{1f600}\u{2028}\u{7f}]{0,6}".prop_map(Heard::Text),
        "[a-z\"\\\\\n\t]{0,6}".prop_map(Heard::Reasoning),
        Just(Heard::Alive),
        Just(Heard::OtherChoice),
    ]
}

fn finish() -> impl Strategy<Value = Option<Finish>> {
    prop_oneof![
        Just(None),
        Just(Some(Finish::Stop)),
        Just(Some(Finish::StopString)),
        Just(Some(Finish::Length)),
        Just(Some(Finish::WindowFull)),
        Just(Some(Finish::ToolCalls)),
        Just(Some(Finish::ContentFilter)),
        Just(Some(Finish::Other)),
    ]
}

prop_compose! {
    fn counts()(miss in 0_u64..9, hit in 0_u64..9, written in 0_u64..9, thought in 0_u64..9, seen in 0_u64..9) -> Usage {
        Usage {
            cache_miss: Tokens::new(miss),
            cache_hit: Tokens::new(hit),
            cache_write: Tokens::new(written),
            reasoning: Tokens::new(thought),
            visible: Tokens::new(seen),
        }
    }
}

/// An answer with calls whose pieces come interleaved with each other and with prose, in any order
/// that keeps each call's own.
fn answer() -> impl Strategy<Value = Vec<Heard>> {
    (
        proptest::collection::vec(prose(), 0..6),
        proptest::collection::vec(arguments(), 0..4),
        proptest::collection::vec(prose(), 0..4),
        proptest::collection::vec(any::<prop::sample::Index>(), 0..80),
        finish(),
        proptest::option::of(counts()),
    )
        .prop_map(|(first, calls, later, picks, finish, usage)| {
            let mut events = vec![Heard::Begin];
            events.extend(first);
            let mut lanes: Vec<std::collections::VecDeque<Heard>> = calls
                .into_iter()
                .zip(0_u32..)
                .map(|(pieces, index)| {
                    let call = Heard::Call(index, format!("call_{index}"), "look".into());
                    std::iter::once(call)
                        .chain(
                            pieces
                                .into_iter()
                                .map(|piece| Heard::Arguments(index, piece)),
                        )
                        .collect()
                })
                .collect();
            lanes.push(later.into());
            // Calls begin in their order, as hosts number them.
            let mut begun = 0;
            let mut picks = picks.into_iter();
            while lanes.iter().any(|lane| !lane.is_empty()) {
                let ready: Vec<usize> = (0..lanes.len())
                    .filter(|at| !lanes[*at].is_empty() && (*at <= begun || *at + 1 == lanes.len()))
                    .collect();
                let at = picks
                    .next()
                    .map_or(ready[0], |pick| ready[pick.index(ready.len())]);
                if at == begun && at + 1 < lanes.len() {
                    begun += 1;
                }
                events.extend(lanes[at].pop_front());
            }
            events.extend(finish.map(Heard::Finish));
            events.extend(usage.map(Heard::Usage));
            events
        })
}

/// The message with blocks of one kind joined, in the order of a plain answer.
fn joined(message: &Value) -> Value {
    let mut message = message.clone();
    let blocks = message["content"].as_array().cloned().unwrap_or_default();
    let mut content = Vec::new();
    for (kind, field) in [("thinking", "thinking"), ("text", "text")] {
        let text: String = blocks
            .iter()
            .filter(|block| block["type"] == kind)
            .filter_map(|block| block[field].as_str())
            .collect();
        if !text.is_empty() {
            let mut block = json!({"type": kind});
            block[field] = json!(text);
            if kind == "thinking" {
                block["signature"] = json!("");
            }
            content.push(block);
        }
    }
    content.extend(
        blocks
            .into_iter()
            .filter(|block| block["type"] == "tool_use"),
    );
    message["content"] = json!(content);
    message
}

proptest! {
    #[test]
    fn any_answer_is_a_well_formed_stream_that_says_what_the_plain_answer_says(events in answer()) {
        let told = accumulated(&stream(&events));
        prop_assert_eq!(joined(&told), plain(&events));
    }

    /// In the order in which hosts speak, the blocks are the very same.
    #[test]
    fn an_answer_in_the_usual_order_has_the_same_blocks_in_both_forms(events in answer()) {
        let mut reply = Reply::default();
        for event in &events {
            reply.hear(event.event());
        }
        reply.choices.truncate(1);
        let (request, conversation) = question();
        let mut talk = Talk::new(&request, &conversation, id());
        let mut out = BytesMut::new();
        reply.events(&mut |event| talk.say(event, &mut out));
        talk.close(&mut out);
        let told = accumulated(std::str::from_utf8(&out).expect("UTF-8"));
        prop_assert_eq!(told, plain(&events));
    }

    /// An answer that the caller brings back as history is what was said.
    #[test]
    fn an_answer_comes_back_as_it_was_said(events in answer()) {
        let mut reply = Reply::default();
        for event in &events {
            reply.hear(event.event());
        }
        let said = reply.choices.into_iter().next().unwrap_or_default().said;
        for content in [&accumulated(&stream(&events))["content"], &plain(&events)["content"]] {
            let (_, conversation) = asked(&json!({"model": "m", "max_tokens": 1, "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": "go on"}]}));
            let Turn::Assistant(again) = &conversation.turns[1] else {
                panic!("a turn of the assistant");
            };
            let thought = said.reasoning.clone().filter(|text| !text.is_empty());
            prop_assert_eq!(&again.reasoning, &thought);
            prop_assert_eq!(&again.text, &said.text);
            prop_assert_eq!(&again.calls, &said.calls);
        }
    }

    /// Even what no host should say: calls out of nowhere, twice, cut, after the finish.
    #[test]
    fn nonsense_is_well_formed_too(
        events in proptest::collection::vec(
            prop_oneof![
                prose(),
                (0_u32..4).prop_map(|index| Heard::Call(index, String::new(), "n".into())),
                (0_u32..4, "[{}\"a: \\[]{0,5}").prop_map(|(index, piece)| Heard::Arguments(index, piece)),
                Just(Heard::Finish(Finish::Stop)),
                Just(Heard::Begin),
                counts().prop_map(Heard::Usage),
            ],
            0..30,
        ),
    ) {
        accumulated(&stream(&events));
    }
}
