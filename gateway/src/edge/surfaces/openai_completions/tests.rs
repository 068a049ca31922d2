//! Text completions as editors send them, what passes to a host, and answers told back.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::backend::wires::Asked;
use crate::backend::wires::openai::completions::passed;
use crate::catalog::Quirks;
use crate::chat::Code;
use crate::chat::{Choice, Conversation, Event, Finish, Reply, Said, Speaker, Turn, Usage};
use crate::id::RequestId;

fn read_value(body: &Value) -> Result<Request, Refusal> {
    read(Frames::from(Bytes::from(body.to_string())))
}

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "m", "prompt": "fn main() {"});
    for (key, value) in fields.as_object().expect("fields") {
        body[key] = value.clone();
    }
    body
}

fn sent(body: &Value, bound: Option<u64>) -> Value {
    let request = read_value(body).expect("a request");
    let outgoing = passed(
        &request,
        Asked {
            model: "host/model",
            quirks: &Quirks::default(),
            stream: request.stream,
            bound: bound.map(Tokens::new),
            tenant: "t",
        },
    );
    serde_json::from_slice(&outgoing.body.joined()).expect("still JSON")
}

#[test]
fn an_editors_request_is_read() {
    let body = with(
        json!({"suffix": "}", "max_tokens": 64, "n": 2, "best_of": 2, "stream": true,
        "stop": ["\n\n"], "echo": false, "logprobs": 3, "temperature": 0,
        "stream_options": {"include_usage": true}}),
    );
    let request = read_value(&body).expect("a request");
    assert_eq!(request.model, "m");
    assert!(request.needs.completions && request.needs.fim);
    assert!(request.stream && request.usage_wanted);
    assert_eq!(request.max_output, Some(Tokens::new(64)));
    assert_eq!((request.choices, request.effort), (2, Effort::Off));
    assert_eq!(request.original.dialect, Dialect::OpenaiCompletions);
    assert_eq!(
        request.original.spans.prompt_bytes,
        "\"fn main() {\"\"}\"".len()
    );
    for without in [json!({}), json!({"suffix": null}), json!({"suffix": ""})] {
        let request = read_value(&with(without)).expect("a request");
        assert!(request.needs.completions && !request.needs.fim);
    }
}

#[test]
fn each_mistake_names_its_field() {
    for (fields, field) in [
        (json!({"model": 5}), "model"),
        (json!({"prompt": null}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": [1, 2]}), "prompt"),
        (json!({"prompt": [[1, 2]]}), "prompt"),
        (json!({"prompt": ["a", "b"]}), "prompt"),
        (json!({"suffix": 1}), "suffix"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"n": 17}), "n"),
        (json!({"n": 1, "best_of": 3}), "best_of"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"logprobs": 21}), "logprobs"),
        (json!({"echo": "yes"}), "echo"),
        (json!({"stop": 5}), "stop"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"messages": []}), "messages"),
    ] {
        let refusal = read_value(&with(fields.clone())).expect_err(&fields.to_string());
        assert_eq!(refusal.code, Code::InvalidRequest);
        assert_eq!(refusal.field.as_deref(), Some(field), "{fields}");
    }
    let missing = |text: &'static str| {
        read(Frames::from(Bytes::from_static(text.as_bytes()))).expect_err(text)
    };
    assert_eq!(missing(r#"{"model":"m"}"#).field.as_deref(), Some("prompt"));
    assert_eq!(missing(r#"{"prompt":"x"}"#).field.as_deref(), Some("model"));
    let twice = missing(r#"{"model":"m","prompt":"x","prompt":"y"}"#);
    assert_eq!(twice.field.as_deref(), Some("prompt"));
}

#[test]
fn what_passes_differs_only_where_routing_needs_it() {
    let body = with(json!({"suffix": "}", "x": {"y": [1]}}));
    let mut expected = body.clone();
    expected["model"] = json!("host/model");
    assert_eq!(sent(&body, None), expected);
    // A list of one is the prompt; no host takes it otherwise.
    let body = with(json!({"prompt": [ "fn \"main\"" ]}));
    assert_eq!(sent(&body, None)["prompt"], "fn \"main\"");
    let body = with(json!({"stream": true}));
    assert_eq!(
        sent(&body, None)["stream_options"],
        json!({"include_usage": true})
    );
    assert_eq!(sent(&with(json!({})), Some(9))["max_tokens"], 9);
    assert_eq!(
        sent(&with(json!({"max_tokens": null})), Some(9))["max_tokens"],
        9
    );
    assert_eq!(
        sent(&with(json!({"max_tokens": 4})), Some(9))["max_tokens"],
        4
    );
}

#[test]
fn a_bare_prompt_is_an_answer_begun_and_a_suffix_is_not() {
    let read = |fields: Value| conversation(&read_value(&with(fields)).expect("a request"));
    let begun =
        read(json!({"stop": "\n", "temperature": 0.5, "echo": false, "user": "u", "suffix": null}))
            .expect("a conversation");
    assert_eq!(
        begun.turns,
        vec![Turn::Assistant(Said {
            text: "fn main() {".into(),
            unfinished: true,
            ..Said::default()
        })]
    );
    assert_eq!(begun.effort, Effort::Off);
    assert_eq!(begun.sampling.stop, ["\n"]);
    assert_eq!(Value::from(begun.rest), json!({"user": "u"}));
    for (fields, field) in [
        (json!({"suffix": "}"}), "suffix"),
        (json!({"echo": true}), "echo"),
        (json!({"logprobs": 1}), "logprobs"),
    ] {
        assert_eq!(
            read(fields).expect_err("refused").field.as_deref(),
            Some(field)
        );
    }
}

fn id() -> RequestId {
    "01939b6e-7a00-7000-8000-000000000000"
        .parse()
        .expect("an id")
}

fn asked(usage: bool) -> Request {
    read_value(&with(
        json!({"stream": true, "stream_options": {"include_usage": usage}}),
    ))
    .expect("a request")
}

#[test]
fn an_answer_is_told_as_text() {
    let mut talk = Talk::new(&asked(true), &Conversation::default(), id());
    let mut out = BytesMut::new();
    let usage = Usage {
        visible: Tokens::new(2),
        ..Usage::default()
    };
    for event in [
        Event::Begin { id: Some("h") },
        Event::Reasoning {
            choice: 0,
            text: "unsaid",
        },
        Event::Text {
            choice: 0,
            text: "\n}",
        },
        Event::Alive,
        Event::Finish {
            choice: 0,
            reason: Finish::Length,
        },
        Event::Usage(usage),
    ] {
        talk.say(event, &mut out);
    }
    talk.close(&mut out);
    let stream = String::from_utf8(out.to_vec()).expect("text");
    let chunks: Vec<Value> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").filter(|data| *data != "[DONE]"))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    assert!(stream.ends_with("data: [DONE]\n\n"));
    let created = 0x0193_9b6e_7a00_u64 / 1000;
    let completion = |choices: Value, usage: Value| {
        json!({"id": format!("cmpl-{}", id()), "object": "text_completion", "created": created,
               "model": "m", "choices": choices, "usage": usage})
    };
    let counts = json!({"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
        "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 0});
    let text = |text: &str, finish: Value| json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}]);
    assert_eq!(
        chunks,
        vec![
            completion(text("\n}", Value::Null), Value::Null),
            completion(text("", json!("length")), Value::Null),
            completion(json!([]), counts.clone()),
        ]
    );
    let reply = Reply {
        id: None,
        choices: vec![Choice {
            said: Said {
                text: "\n}".into(),
                ..Said::default()
            },
            finish: Some(Finish::ToolCalls),
            logprobs: Vec::new(),
        }],
        usage: Some(usage),
    };
    let body = whole(&asked(true), &Conversation::default(), id(), &reply);
    assert_eq!(
        serde_json::from_slice::<Value>(&body).expect("JSON"),
        completion(text("\n}", json!("stop")), counts)
    );
}

proptest! {
    #[test]
    fn any_prompt_passes_unchanged_wherever_the_body_is_cut(
        prompt in "[a-z \"\\\\\n\u{e9}\u{4e2d}\u{1f600}]{0,40}",
        in_array in any::<bool>(),
        every in 1_usize..40,
    ) {
        let body = with(json!({"prompt": if in_array { json!([prompt]) } else { json!(prompt) }}));
        let mut frames = Frames::default();
        for part in body.to_string().as_bytes().chunks(every) {
            frames.push(Bytes::copy_from_slice(part));
        }
        let request = read(frames).expect("a request");
        let quirks = Quirks::default();
        let outgoing = passed(&request, Asked { model: "h", quirks: &quirks, stream: false, bound: None, tenant: "t" });
        let sent: Value = serde_json::from_slice(&outgoing.body.joined()).expect("JSON");
        prop_assert_eq!(sent, json!({"model": "h", "prompt": prompt}));
    }
}
