//! Answers as this surface tells them: chunks and objects that read back as the same reply.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{Call, Choice, Conversation, Event, Finish, Reply, Said, Speaker, Tokens, Usage};
use crate::id::RequestId;

const ID: &str = "01939b6e-7a00-7000-8000-000000000000";

fn id() -> RequestId {
    ID.parse().expect("an id")
}

fn request(usage: bool) -> Request {
    let body = json!({"model": "deepseek-v4-pro", "messages": [{}], "stream": true,
                      "stream_options": {"include_usage": usage}});
    read(Frames::from(Bytes::from(body.to_string()))).expect("a request")
}

fn talk(usage: bool) -> Talk {
    Talk::new(&request(usage), &Conversation::default(), id())
}

fn told(mut talk: Talk, events: &[Event<'_>]) -> String {
    let mut out = BytesMut::new();
    for event in events {
        talk.say(*event, &mut out);
    }
    talk.close(&mut out);
    String::from_utf8(out.to_vec()).expect("text")
}

fn chunks(stream: &str) -> Vec<Value> {
    let events: Vec<&str> = stream.split_terminator("\n\n").collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    events[..events.len() - 1]
        .iter()
        .filter(|event| !event.starts_with(':'))
        .map(|event| {
            let data = event.strip_prefix("data: ").expect("data");
            assert!(!data.contains('\n'));
            serde_json::from_str(data).expect("JSON")
        })
        .collect()
}

fn used() -> Usage {
    Usage {
        cache_miss: Tokens::new(30),
        cache_hit: Tokens::new(64),
        cache_write: Tokens::new(6),
        reasoning: Tokens::new(9),
        visible: Tokens::new(5),
    }
}

#[test]
fn a_stream_is_told_as_openai_tells_it() {
    let call = Event::Call {
        choice: 0,
        index: 0,
        id: "call_1",
        name: "look",
    };
    let piece = |piece| Event::Arguments {
        choice: 0,
        index: 0,
        piece,
    };
    let stream = told(
        talk(true),
        &[
            Event::Begin { id: Some("host") },
            Event::Reasoning {
                choice: 0,
                text: "",
            },
            Event::Reasoning {
                choice: 0,
                text: "Hm\n",
            },
            Event::Alive,
            Event::Text {
                choice: 0,
                text: "\"Yes\"",
            },
            call,
            piece("{\"at\":"),
            piece("1}"),
            Event::Usage(Usage::default()),
            Event::Finish {
                choice: 0,
                reason: Finish::Stop,
            },
            Event::Usage(used()),
        ],
    );
    assert!(stream.contains("\n\n: keep-alive\n\n"));
    let head = |choices: Value, usage: Value| {
        json!({"id": format!("chatcmpl-{ID}"), "object": "chat.completion.chunk",
               "created": words::created(id()), "model": "deepseek-v4-pro", "choices": choices, "usage": usage})
    };
    let delta = |delta: Value| {
        head(
            json!([{"index": 0, "delta": delta, "finish_reason": null}]),
            Value::Null,
        )
    };
    let expected = vec![
        delta(json!({"role": "assistant", "content": null})),
        delta(json!({"reasoning_content": "Hm\n"})),
        delta(json!({"content": "\"Yes\""})),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                                     "function": {"name": "look", "arguments": ""}}]}),
        ),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"at\":"}}]})),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]})),
        head(
            json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
            Value::Null,
        ),
        head(
            json!([]),
            json!({
                "prompt_tokens": 100, "completion_tokens": 14, "total_tokens": 114,
                "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 6},
                "completion_tokens_details": {"reasoning_tokens": 9},
                "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36,
            }),
        ),
    ];
    assert_eq!(chunks(&stream), expected);
}

#[test]
fn an_answer_was_created_when_its_request_came_in() {
    // The first 48 bits of a UUIDv7 are milliseconds.
    assert_eq!(words::created(id()), 0x0193_9b6e_7a00 / 1000);
}

#[test]
fn usage_is_told_only_to_who_asked() {
    let events = [
        Event::Text {
            choice: 0,
            text: "x",
        },
        Event::Finish {
            choice: 0,
            reason: Finish::Length,
        },
        Event::Usage(used()),
    ];
    let stream = told(talk(false), &events);
    assert!(!stream.contains("usage"), "{stream}");
    assert_eq!(chunks(&stream)[2]["choices"][0]["finish_reason"], "length");
    // Asked for, and never said: no invented one.
    let stream = told(talk(true), &events[..2]);
    assert_eq!(chunks(&stream).len(), 3);
}

#[test]
fn a_choice_without_an_end_is_given_one_and_only_one() {
    let stream = told(
        talk(false),
        &[Event::Text {
            choice: 1,
            text: "x",
        }],
    );
    let read = chunks(&stream);
    assert_eq!(read.len(), 3, "{stream}");
    assert_eq!(read[2]["choices"][0]["index"], 1);
    assert_eq!(read[2]["choices"][0]["finish_reason"], "stop");
    let end = Event::Finish {
        choice: 0,
        reason: Finish::Stop,
    };
    let stream = told(talk(false), &[end, end]);
    assert_eq!(stream.matches("\"stop\"").count(), 1);
}

#[test]
fn a_resumed_stream_keeps_its_id_and_tells_no_second_role() {
    let talk = Talk::resume(
        &request(false),
        &Conversation {
            choices: 1,
            ..Conversation::default()
        },
        id(),
        Some("host-7".into()),
        Some(99),
    );
    let read = chunks(&told(
        talk,
        &[
            Event::Begin {
                id: Some("another"),
            },
            Event::Text {
                choice: 0,
                text: "on",
            },
            Event::Finish {
                choice: 0,
                reason: Finish::Stop,
            },
        ],
    ));
    assert_eq!(read.len(), 2);
    assert_eq!(
        (&read[0]["id"], &read[0]["created"]),
        (&json!("host-7"), &json!(99))
    );
    assert_eq!(read[0]["choices"][0]["delta"], json!({"content": "on"}));
}

#[test]
fn a_failure_is_an_error_that_clients_raise_and_no_end() {
    let mut out = BytesMut::new();
    talk(true).fail(
        &Refusal::new(Code::HostFailed, "the host broke off"),
        &mut out,
    );
    let text = String::from_utf8(out.to_vec()).expect("text");
    let data: Value =
        serde_json::from_str(text.trim().strip_prefix("data: ").expect("data")).expect("JSON");
    assert_eq!(data["error"]["code"], "host_failed");
    assert!(!text.contains("[DONE]"));
}

#[test]
fn log_probabilities_stay_on_one_line() {
    let json =
        "{\"content\":\n [{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97],\"top_logprobs\":[]}]}";
    let stream = told(talk(false), &[Event::Logprobs { choice: 0, json }]);
    let read = chunks(&stream);
    assert_eq!(
        read[1]["choices"][0]["logprobs"],
        serde_json::from_str::<Value>(json).expect("JSON")
    );
    let reply = Reply {
        choices: vec![Choice {
            logprobs: vec![json.into(), json.into()],
            ..Choice::default()
        }],
        ..Reply::default()
    };
    let body = whole(&request(false), &Conversation::default(), id(), &reply);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        body["choices"][0]["logprobs"]["content"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn a_plain_answer_is_told_as_openai_tells_it() {
    let call = Call {
        id: "call_1".into(),
        name: "look".into(),
        arguments: "{}".into(),
    };
    let reply = Reply {
        id: Some("host".into()),
        choices: vec![
            Choice {
                said: Said {
                    reasoning: Some("hm".into()),
                    calls: vec![
                        call.clone(),
                        Call {
                            id: "call_2".into(),
                            ..call
                        },
                    ],
                    ..Said::default()
                },
                finish: Some(Finish::Stop),
                logprobs: Vec::new(),
            },
            Choice {
                said: Said {
                    text: "no".into(),
                    ..Said::default()
                },
                finish: Some(Finish::WindowFull),
                logprobs: Vec::new(),
            },
        ],
        usage: Some(Usage {
            visible: Tokens::new(3),
            ..Usage::default()
        }),
    };
    let body = whole(&request(false), &Conversation::default(), id(), &reply);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let called = |id: &str| json!({"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}});
    assert_eq!(
        body,
        json!({
            "id": format!("chatcmpl-{ID}"), "object": "chat.completion",
            "created": words::created(id()), "model": "deepseek-v4-pro",
            "choices": [
                {"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
                    "role": "assistant", "content": null, "refusal": null, "reasoning_content": "hm",
                    "tool_calls": [called("call_1"), called("call_2")]}},
                {"index": 1, "logprobs": null, "finish_reason": "length", "message": {
                    "role": "assistant", "content": "no", "refusal": null}},
            ],
            "usage": {"prompt_tokens": 0, "completion_tokens": 3, "total_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
                "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 0},
        })
    );
}

/// Reads a stream back, as a client would.
fn heard(stream: &str) -> Reply {
    let mut reply = Reply::default();
    for chunk in chunks(stream) {
        if !chunk["usage"].is_null() {
            let count = |path: &str| {
                Tokens::new(
                    chunk["usage"]
                        .pointer(path)
                        .and_then(Value::as_u64)
                        .unwrap_or(0),
                )
            };
            let (hit, write) = (
                count("/prompt_tokens_details/cached_tokens"),
                count("/prompt_tokens_details/cache_write_tokens"),
            );
            let reasoning = count("/completion_tokens_details/reasoning_tokens");
            reply.usage = Some(Usage {
                cache_miss: Tokens::new(count("/prompt_tokens").get() - hit.get() - write.get()),
                cache_hit: hit,
                cache_write: write,
                reasoning,
                visible: Tokens::new(count("/completion_tokens").get() - reasoning.get()),
            });
        }
        for one in chunk["choices"].as_array().expect("choices") {
            let choice = u32::try_from(one["index"].as_u64().expect("an index")).expect("small");
            let delta = &one["delta"];
            if let Some(text) = delta["reasoning_content"].as_str() {
                reply.hear(Event::Reasoning { choice, text });
            }
            if let Some(text) = delta["content"].as_str() {
                reply.hear(Event::Text { choice, text });
            }
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let index =
                    u32::try_from(call["index"].as_u64().expect("an index")).expect("small");
                if let Some(name) = call["function"]["name"].as_str() {
                    let id = call["id"].as_str().expect("an id");
                    reply.hear(Event::Call {
                        choice,
                        index,
                        id,
                        name,
                    });
                }
                let piece = call["function"]["arguments"].as_str().expect("arguments");
                reply.hear(Event::Arguments {
                    choice,
                    index,
                    piece,
                });
            }
            let reason = match one["finish_reason"].as_str() {
                None => continue,
                Some("stop") => Finish::Stop,
                Some("length") => Finish::Length,
                Some("tool_calls") => Finish::ToolCalls,
                Some("content_filter") => Finish::ContentFilter,
                Some(other) => panic!("{other}"),
            };
            reply.hear(Event::Finish { choice, reason });
        }
    }
    reply
}

fn replies() -> impl Strategy<Value = Reply> {
    let words = "[a-z \"\\\\\n\u{7f}\u{1}\u{e9}\u{4e2d}\u{1f600}\u{2028}]{1,20}";
    let call = (words, words, words).prop_map(|(id, name, arguments)| Call {
        id,
        name,
        arguments,
    });
    let choice = (
        proptest::option::of(words),
        proptest::option::of(words),
        proptest::collection::vec(call, 0..3),
        prop_oneof![
            Just(Finish::Stop),
            Just(Finish::Length),
            Just(Finish::ContentFilter)
        ],
    )
        .prop_map(|(reasoning, text, calls, finish)| Choice {
            finish: Some(if finish == Finish::Stop && !calls.is_empty() {
                Finish::ToolCalls
            } else {
                finish
            }),
            said: Said {
                reasoning,
                text: text.unwrap_or_default(),
                calls,
                unfinished: false,
            },
            logprobs: Vec::new(),
        });
    let counts = proptest::collection::vec(0_u64..1_000_000, 5).prop_map(|counts| Usage {
        cache_miss: Tokens::new(counts[0]),
        cache_hit: Tokens::new(counts[1]),
        cache_write: Tokens::new(counts[2]),
        reasoning: Tokens::new(counts[3]),
        visible: Tokens::new(counts[4]),
    });
    (
        proptest::collection::vec(choice, 1..4),
        proptest::option::of(counts),
    )
        .prop_map(|(choices, usage)| Reply {
            id: None,
            choices,
            usage,
        })
}

/// Says a reply in pieces of at most `size` characters.
fn in_pieces(reply: &Reply, size: usize, talk: &mut Talk, out: &mut BytesMut) {
    let pieces = |text: &str| -> Vec<String> {
        let letters: Vec<char> = text.chars().collect();
        letters
            .chunks(size)
            .map(|piece| piece.iter().collect())
            .collect()
    };
    reply.events(&mut |event| match event {
        Event::Reasoning { choice, text } => {
            for text in &pieces(text) {
                talk.say(Event::Reasoning { choice, text }, out);
            }
        }
        Event::Text { choice, text } => {
            for text in &pieces(text) {
                talk.say(Event::Text { choice, text }, out);
            }
        }
        Event::Arguments {
            choice,
            index,
            piece,
        } => {
            for piece in &pieces(piece) {
                talk.say(
                    Event::Arguments {
                        choice,
                        index,
                        piece,
                    },
                    out,
                );
            }
        }
        other => talk.say(other, out),
    });
}

proptest! {
    #[test]
    fn what_is_told_reads_back_as_the_same_reply(reply in replies(), size in 1_usize..8) {
        let mut talk = talk(true);
        let mut out = BytesMut::new();
        in_pieces(&reply, size, &mut talk, &mut out);
        talk.close(&mut out);
        let stream = String::from_utf8(out.to_vec()).expect("text");
        prop_assert_eq!(heard(&stream), reply.clone());

        let body = whole(&request(true), &Conversation::default(), id(), &reply);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        for (choice, told) in reply.choices.iter().zip(body["choices"].as_array().expect("choices")) {
            let message = &told["message"];
            prop_assert_eq!(message["content"].as_str().unwrap_or(""), choice.said.text.as_str());
            prop_assert_eq!(message["reasoning_content"].as_str(), choice.said.reasoning.as_deref());
            let calls: Vec<Call> = message["tool_calls"].as_array().into_iter().flatten().map(|call| Call {
                id: call["id"].as_str().unwrap_or("").into(),
                name: call["function"]["name"].as_str().unwrap_or("").into(),
                arguments: call["function"]["arguments"].as_str().unwrap_or("").into(),
            }).collect();
            prop_assert_eq!(&calls, &choice.said.calls);
        }
    }
}
