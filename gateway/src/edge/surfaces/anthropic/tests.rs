//! Translations of Messages, each shown with both its sides.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{
    Call, Choice, Conversation, Event, Finish, Format, Image, Part, Reply, Said, Speaker,
    ToolChoice, Turn, Usage,
};
use crate::id::RequestId;

fn request(body: &Value) -> Request {
    read(Frames::from(Bytes::from(body.to_string()))).expect("a request")
}

fn refused(body: &Value) -> Refusal {
    let frames = Frames::from(Bytes::from(body.to_string()));
    match read(frames) {
        Err(refusal) => refusal,
        Ok(request) => conversation(&request).expect_err("a refusal"),
    }
}

/// As Claude Code sends it: attribution, instructions in blocks, a system message in the middle,
/// thinking, two calls with two results in one turn, marks for Anthropic's cache.
fn agents_request() -> Value {
    json!({
        "model": "deepseek-v4-pro", "max_tokens": 32000, "stream": true,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "max"},
        "context_management": {"edits": []},
        "metadata": {"user_id": "{\"device\":1}"},
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197.abc;"},
            {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [
            {"role": "user", "content": "Look at both."},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Two files.", "signature": "foreign"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a"}},
                {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {"path": "b"}},
            ]},
            {"role": "user", "content": [
                {"type": "text", "text": "Hurry."},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true, "content": [
                    {"type": "text", "text": "gone"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                ]},
            ]},
            {"role": "system", "content": "A reminder."},
        ],
        "tools": [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
    })
}

#[test]
fn an_agents_request_is_read_completely() {
    let request = request(&agents_request());
    assert_eq!(request.effort, Effort::Max);
    assert!(
        request.stream
            && request.needs.tools
            && request.needs.images
            && !request.needs.forced_tools
    );
    let read = conversation(&request).expect("a conversation");
    let call = |id: &str, path: &str| Call {
        id: id.into(),
        name: "Read".into(),
        arguments: json!({"path": path}).to_string(),
    };
    assert_eq!(
        read.turns,
        [
            Turn::system("You are an agent."),
            Turn::user("Look at both."),
            Turn::Assistant(Said {
                reasoning: Some("Two files.".into()),
                text: "Looking.".into(),
                calls: vec![call("toolu_1", "a"), call("toolu_2", "b")],
                unfinished: false,
            }),
            Turn::Result {
                call: "toolu_1".into(),
                parts: vec![Part::Text("one".into())],
                failed: false
            },
            Turn::Result {
                call: "toolu_2".into(),
                parts: vec![
                    Part::Text("gone".into()),
                    Part::Image(Image::Inline {
                        media_type: "image/png".into(),
                        data: "AAAA".into()
                    }),
                ],
                failed: true,
            },
            Turn::user("Hurry."),
            Turn::system("A reminder."),
        ]
    );
    assert_eq!(read.tools[0].name, "Read");
    assert_eq!(read.parallel_calls, Some(false));
    assert_eq!(read.tool_choice, ToolChoice::Auto);
    assert_eq!(read.max_output, Some(Tokens::new(32000)));
}

#[test]
fn thinking_is_read_in_every_way_that_clients_say_it() {
    let of = |more: Value| {
        let mut body =
            json!({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        request(&body).effort
    };
    assert_eq!(of(json!({})), Effort::Unsaid);
    assert_eq!(
        of(json!({"thinking":{"type":"disabled"},"output_config":{"effort":"high"}})),
        Effort::Off
    );
    assert_eq!(
        of(json!({"output_config":{"effort":"high"},"thinking":{"type":"disabled"}})),
        Effort::Off
    );
    assert_eq!(
        of(json!({"thinking":{"type":"enabled","budget_tokens":2048}})),
        Effort::High
    );
    assert_eq!(
        of(json!({"thinking":{"type":"enabled","budget_tokens":32000}})),
        Effort::Max
    );
    assert_eq!(
        of(json!({"output_config":{"effort":"max"},"thinking":{"type":"adaptive"}})),
        Effort::Max
    );
    assert_eq!(of(json!({"output_config":{"effort":"low"}})), Effort::High);
}

#[test]
fn a_schema_for_the_answer_is_read_under_either_name() {
    for name in ["output_config", "output_format"] {
        let format = json!({"type":"json_schema","schema":{"type":"object"}});
        let format = if name == "output_config" {
            json!({"format": format})
        } else {
            format
        };
        let request = request(
            &json!({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],name: format}),
        );
        assert!(request.needs.json_schema, "{name}");
        let read = conversation(&request).expect("a conversation");
        assert!(matches!(read.format, Format::JsonSchema { .. }), "{name}");
    }
}

#[test]
fn what_cannot_be_said_is_refused_by_its_path() {
    let with = |message: Value| json!({"model":"m","max_tokens":9,"messages":[message]});
    for (body, field) in [
        (
            json!({"model":"m","messages":[{"role":"user","content":"x"}]}),
            "max_tokens",
        ),
        (
            json!({"max_tokens":1,"messages":[{"role":"user","content":"x"}]}),
            "model",
        ),
        (json!({"model":"m","max_tokens":1}), "messages"),
        (
            json!({"model":"m","max_tokens":1,"messages":[]}),
            "messages",
        ),
        (
            with(json!({"role":"tool","content":"x"})),
            "messages.0.role",
        ),
        (
            with(
                json!({"role":"user","content":[{"type":"document","source":{"type":"base64","data":"x"}}]}),
            ),
            "messages.0.content.0",
        ),
        (
            with(json!({"role":"user","content":[{"type":"tool_result","content":"x"}]})),
            "messages.0.content.0.tool_use_id",
        ),
        (
            json!({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],
            "tools":[{"type":"web_search_20250305","name":"web_search"}]}),
            "tools.0",
        ),
        (
            json!({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"tool"}}),
            "tool_choice.name",
        ),
    ] {
        let refusal = refused(&body);
        assert_eq!(refusal.field.as_deref(), Some(field), "{body}");
        let error: Value = serde_json::from_slice(&error_body(&refusal)).expect("JSON");
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&json!("error"), &json!("invalid_request_error"))
        );
    }
}

/// What an official client makes of a stream: its accumulator's rules, which fail on any event out
/// of place.
fn accumulate(stream: &[u8]) -> Value {
    let text = std::str::from_utf8(stream).expect("text");
    let mut message = Value::Null;
    let mut partial: Vec<String> = Vec::new();
    let mut open: Option<usize> = None;
    let mut stopped = false;
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').expect("two lines");
        let name = name.strip_prefix("event: ").expect("an event line");
        let data: Value =
            serde_json::from_str(data.strip_prefix("data: ").expect("a data line")).expect("JSON");
        assert_eq!(data["type"], name);
        assert!(!stopped, "nothing after message_stop");
        let index = || usize::try_from(data["index"].as_u64().expect("an index")).expect("small");
        match name {
            "message_start" => {
                assert!(message.is_null(), "one start");
                message = data["message"].clone();
            }
            "content_block_start" => {
                assert_eq!(open, None, "blocks do not overlap");
                let content = message["content"].as_array_mut().expect("content");
                assert_eq!(index(), content.len(), "indexes run on");
                content.push(data["content_block"].clone());
                partial.push(String::new());
                open = Some(index());
            }
            "content_block_delta" => {
                assert_eq!(open, Some(index()));
                let block = &mut message["content"][index()];
                let delta = &data["delta"];
                let mut append = |field: &str| {
                    let text = format!(
                        "{}{}",
                        block[field].as_str().unwrap_or(""),
                        delta[field].as_str().expect("text")
                    );
                    block[field] = Value::from(text);
                };
                match delta["type"].as_str().expect("a type") {
                    "text_delta" => append("text"),
                    "thinking_delta" => append("thinking"),
                    "signature_delta" => append("signature"),
                    "input_json_delta" => {
                        partial[index()].push_str(delta["partial_json"].as_str().expect("text"))
                    }
                    other => panic!("unknown delta {other}"),
                }
            }
            "content_block_stop" => {
                assert_eq!(open.take(), Some(index()));
                if message["content"][index()]["type"] == "tool_use" && !partial[index()].is_empty()
                {
                    message["content"][index()]["input"] = serde_json::from_str(&partial[index()])
                        .unwrap_or_else(|_| json!({"invalid_json": partial[index()]}));
                }
            }
            "message_delta" => {
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                message["usage"] = data["usage"].clone();
            }
            "message_stop" => stopped = true,
            "ping" => {}
            other => panic!("unknown event {other}"),
        }
    }
    assert!(stopped && open.is_none());
    message
}

fn tell(events: &[Event<'_>]) -> (Value, Reply) {
    let request =
        request(&json!({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}));
    let mut talk = Talk::new(&request, &Conversation::default(), RequestId::new());
    let (mut out, mut reply) = (BytesMut::new(), Reply::default());
    for event in events {
        talk.say(*event, &mut out);
        reply.hear(*event);
    }
    talk.close(&mut out);
    (accumulate(&out), reply)
}

#[test]
fn calls_that_interleave_are_told_one_after_the_other() {
    let (message, _) = tell(&[
        Event::Begin { id: Some("x") },
        Event::Alive,
        Event::Reasoning {
            choice: 0,
            text: "h\u{e9}\n",
        },
        Event::Text {
            choice: 0,
            text: "say \"x\"",
        },
        Event::Call {
            choice: 0,
            index: 0,
            id: "c0",
            name: "look",
        },
        Event::Arguments {
            choice: 0,
            index: 0,
            piece: "{\"a\":",
        },
        Event::Call {
            choice: 0,
            index: 1,
            id: "c1",
            name: "wait",
        },
        Event::Arguments {
            choice: 0,
            index: 1,
            piece: "{}",
        },
        Event::Arguments {
            choice: 0,
            index: 0,
            piece: "1}",
        },
        Event::Usage(Usage {
            cache_miss: Tokens::new(7),
            cache_hit: Tokens::new(5),
            reasoning: Tokens::new(2),
            visible: Tokens::new(3),
            ..Usage::default()
        }),
        Event::Finish {
            choice: 0,
            reason: Finish::Stop,
        },
    ]);
    assert_eq!(
        message["content"],
        json!([
            {"type": "thinking", "thinking": "h\u{e9}\n", "signature": ""},
            {"type": "text", "text": "say \"x\""},
            {"type": "tool_use", "id": "c0", "name": "look", "input": {"a": 1}},
            {"type": "tool_use", "id": "c1", "name": "wait", "input": {}},
        ])
    );
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(
        message["usage"],
        json!({"input_tokens": 7, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5,
            "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 2}})
    );
}

#[test]
fn an_answer_of_nothing_is_still_an_answer() {
    let (message, _) = tell(&[]);
    assert_eq!(
        (&message["content"], &message["stop_reason"]),
        (&json!([]), &json!("end_turn"))
    );
}

fn events() -> impl Strategy<Value = Vec<Event<'static>>> {
    let texts = prop_oneof![Just("a"), Just("\"\\\n"), Just("\u{e9}\u{1f600}")];
    let piece = prop_oneof![
        texts
            .clone()
            .prop_map(|text| vec![Event::Text { choice: 0, text }]),
        texts.prop_map(|text| vec![Event::Reasoning { choice: 0, text }]),
        Just(vec![Event::Alive]),
    ];
    (proptest::collection::vec(piece, 0..6), 0_u32..4).prop_map(|(pieces, calls)| {
        let mut events: Vec<Event<'static>> = pieces.concat();
        for index in 0..calls {
            events.push(Event::Call {
                choice: 0,
                index,
                id: "c",
                name: "n",
            });
        }
        for index in (0..calls).rev() {
            events.push(Event::Arguments {
                choice: 0,
                index,
                piece: "{\"k\":",
            });
        }
        for index in 0..calls {
            events.push(Event::Arguments {
                choice: 0,
                index,
                piece: "2}",
            });
        }
        events
    })
}

proptest! {
    #[test]
    fn a_stream_is_well_formed_and_says_what_the_plain_answer_says(events in events()) {
        let (message, reply) = tell(&events);
        let request = request(&json!({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}));
        let plain: Value = serde_json::from_slice(&whole(&request, &Conversation::default(), RequestId::new(), None, &reply)).expect("JSON");
        let joined = |message: &Value, kind: &str, field: &str| -> String {
            message["content"].as_array().expect("content").iter()
                .filter(|block| block["type"] == kind)
                .map(|block| block[field].as_str().expect("text").to_owned())
                .collect()
        };
        prop_assert_eq!(joined(&message, "text", "text"), joined(&plain, "text", "text"));
        prop_assert_eq!(joined(&message, "thinking", "thinking"), joined(&plain, "thinking", "thinking"));
        let calls = |message: &Value| -> Vec<Value> {
            message["content"].as_array().expect("content").iter().filter(|block| block["type"] == "tool_use").cloned().collect()
        };
        prop_assert_eq!(calls(&message), calls(&plain));
        prop_assert_eq!(&message["stop_reason"], &plain["stop_reason"]);
    }
}

#[test]
fn arguments_that_are_no_object_are_kept_under_a_name_that_says_so() {
    let reply = Reply {
        choices: vec![Choice {
            said: Said {
                calls: vec![Call {
                    id: "c".into(),
                    name: "n".into(),
                    arguments: "{\"a\"".into(),
                }],
                ..Said::default()
            },
            ..Choice::default()
        }],
        ..Reply::default()
    };
    let request =
        request(&json!({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}));
    let plain: Value = serde_json::from_slice(&whole(
        &request,
        &Conversation::default(),
        RequestId::new(),
        None,
        &reply,
    ))
    .expect("JSON");
    assert_eq!(
        plain["content"][0]["input"],
        json!({"invalid_json": "{\"a\""})
    );
}
