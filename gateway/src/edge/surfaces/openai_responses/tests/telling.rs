//! Answers told, beside their golden streams.

use bytes::BytesMut;
use serde_json::json;

use super::adding::{added_up, events_of};
use super::*;
use crate::chat::{Event, Finish, Speaker, Turn};

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

#[test]
fn what_a_caller_wrote_over_several_lines_is_repeated_on_one() {
    let body = json!({"model": "m", "input": "hi", "stream": true, "user": "u", "metadata": {"a": "b"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]});
    let written = format!("{body:#}").replace('\n', "\r\n");
    let request = read(Frames::from(Bytes::from(written))).expect("a request");
    let conversation = conversation(&request).expect("a conversation");
    let mut talk = Talk::new(&request, &conversation, id());
    let mut out = BytesMut::new();
    talk.say(Event::Begin { id: None }, &mut out);
    talk.close(&mut out);
    let stream = String::from_utf8(out.to_vec()).expect("text");
    assert!(!stream.contains('\r'));
    let events = events_of(&stream);
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["response"]["tools"], body["tools"]);
}
