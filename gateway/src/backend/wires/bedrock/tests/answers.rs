//! Plain answers.

use super::*;
use crate::chat::{Conversation, Tokens, Usage};

fn read(body: &str) -> (Plain, Reply) {
    plain(body.as_bytes(), &Names::default(), Some("r-1".into()))
}

#[test]
fn a_plain_answer_is_read_with_all_its_blocks() {
    let (plain, reply) = read(
        r#"{"metrics":{"latencyMs":900},
            "output":{"message":{"role":"assistant","content":[
                {"reasoningContent":{"reasoningText":{"text":"Hm.","signature":"AAA"}}},
                {"text":"Looking."},
                {"toolUse":{"toolUseId":"tooluse_1","name":"get_weather","input":{"place": "Turku"}}}]}},
            "stopReason":"tool_use",
            "usage":{"inputTokens":10,"outputTokens":20,"totalTokens":35,"cacheReadInputTokens":5}}"#,
    );
    let usage = Usage {
        cache_miss: Tokens::new(10),
        cache_hit: Tokens::new(5),
        visible: Tokens::new(20),
        ..Usage::default()
    };
    assert_eq!(
        plain,
        Plain::Answer {
            usage: Some(usage),
            nonsense: false,
            finish: Some(Finish::ToolCalls),
            host_request: Some("r-1".into()),
            visible_bytes: 40,
        }
    );
    assert_eq!(reply.id.as_deref(), Some("r-1"));
    assert_eq!(reply.usage, Some(usage));
    assert_eq!(
        reply.choices[0].said,
        Said {
            reasoning: Some("Hm.".into()),
            text: "Looking.".into(),
            calls: vec![call("tooluse_1", "get_weather", r#"{"place": "Turku"}"#)],
            unfinished: false,
        }
    );
}

#[test]
fn calls_end_as_calls_and_bear_the_callers_names_and_ids_of_their_own() {
    let turns = vec![calls(&[call("c", "mcp.files/read", "{}")])];
    let names = Names::of(&Conversation {
        turns,
        ..Conversation::default()
    });
    let sent = names::fitting("mcp.files/read");
    let body = format!(
        r#"{{"output":{{"message":{{"content":[
            {{"toolUse":{{"toolUseId":"t","name":"{sent}","input":{{}}}}}},
            {{"toolUse":{{"toolUseId":"t","name":"plain"}}}}]}}}},"stopReason":"end_turn"}}"#
    );
    let (_, reply) = plain(body.as_bytes(), &names, None);
    assert_eq!(reply.choices[0].finish, Some(Finish::ToolCalls));
    assert_eq!(
        reply.choices[0].said.calls,
        [
            call("t", "mcp.files/read", "{}"),
            call("call_answer_1", "plain", "{}")
        ]
    );
}

#[test]
fn an_answer_is_told_from_what_is_none() {
    let kind = |body| read(body).0;
    assert_eq!(kind("<html>"), Plain::NotAnAnswer);
    assert_eq!(kind(""), Plain::NotAnAnswer);
    assert_eq!(kind("{}"), Plain::NotAnAnswer);
    assert_eq!(kind(r#"{"output":{"mess"#), Plain::Truncated);
    assert_eq!(
        kind(r#"{"__type":"ThrottlingException","message":"slow down"}"#),
        Plain::Error("ThrottlingException: slow down".into())
    );
    assert_eq!(kind(r#"{"message":"no"}"#), Plain::Error("no".into()));
    let nonsense =
        r#"{"output":{"message":{"content":[]}},"usage":{"inputTokens":-1,"outputTokens":2}}"#;
    assert!(matches!(
        kind(nonsense),
        Plain::Answer {
            usage: None,
            nonsense: true,
            ..
        }
    ));
}

#[test]
fn every_reason_of_the_model_has_its_meaning() {
    for (word, meaning) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::StopString),
        ("max_tokens", Finish::Length),
        ("tool_use", Finish::ToolCalls),
        ("content_filtered", Finish::ContentFilter),
        ("guardrail_intervened", Finish::ContentFilter),
        ("malformed_model_output", Finish::HostGaveUp),
        ("malformed_tool_use", Finish::HostGaveUp),
        ("model_context_window_exceeded", Finish::WindowFull),
        ("something_new", Finish::Other),
    ] {
        assert_eq!(finish(word), meaning);
    }
}
