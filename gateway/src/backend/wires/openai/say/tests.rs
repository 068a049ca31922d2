//! What hosts are asked, from one conversation; each test shows the canonical side and the host's.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::catalog::ThinkingWords;
use crate::chat::Tokens;

fn asked<'a>(quirks: &'a Quirks) -> Asked<'a> {
    Asked {
        model: "host/model",
        quirks,
        stream: false,
        bound: None,
        tenant: "t-1",
    }
}

fn said(conversation: &Conversation, quirks: &Quirks) -> Result<Value, String> {
    let outgoing = body(conversation, asked(quirks)).map_err(|why| why.to_string())?;
    Ok(serde_json::from_slice(&outgoing.body.joined()).expect("JSON"))
}

fn words(value: Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

fn loop_of_tools(reasoning: Option<&str>) -> Conversation {
    Conversation {
        turns: vec![
            Turn::system("Be brief."),
            Turn::user("Weather?"),
            Turn::Assistant(Said {
                reasoning: reasoning.map(str::to_owned),
                calls: vec![Call {
                    id: "c1".into(),
                    name: "look".into(),
                    arguments: String::new(),
                }],
                ..Said::default()
            }),
            Turn::Result {
                call: "c1".into(),
                parts: vec![
                    Part::Text("no network".into()),
                    Part::Image(Image::Inline {
                        media_type: "image/png".into(),
                        data: "AAAA".into(),
                    }),
                ],
                failed: true,
            },
        ],
        tools: vec![Tool {
            name: "look".into(),
            description: Some("Looks.".into()),
            parameters: Some(Arc::from(
                serde_json::value::RawValue::from_string("{\"type\":\"object\"}".into())
                    .expect("JSON"),
            )),
            strict: None,
        }],
        choices: 1,
        ..Conversation::default()
    }
}

#[test]
fn a_loop_of_tools_is_written_with_everything_in_its_place() {
    let conversation = loop_of_tools(Some("They want the weather."));
    assert_eq!(
        said(&conversation, &Quirks::default()),
        Ok(json!({
            "model": "host/model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "reasoning_content": "They want the weather.", "content": null,
                 "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "Error: no network"},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}],
        }))
    );
}

#[test]
fn earlier_thinking_follows_the_hosts_rule() {
    let known = loop_of_tools(Some("Hm."));
    let lost = loop_of_tools(None);
    let quirks = |history_reasoning, lost_reasoning: &str| Quirks {
        history_reasoning,
        lost_reasoning: lost_reasoning.into(),
        ..Quirks::default()
    };
    let of = |conversation: &Conversation, quirks: &Quirks| {
        said(conversation, quirks).map(|body| body["messages"][2]["reasoning_content"].clone())
    };
    let required = quirks(HistoryReasoning::Required, "(not kept)");
    assert_eq!(of(&known, &required), Ok(json!("Hm.")));
    assert_eq!(of(&lost, &required), Ok(json!("(not kept)")));
    assert!(of(&lost, &quirks(HistoryReasoning::Required, "")).is_err());
    assert_eq!(
        of(&known, &quirks(HistoryReasoning::Refused, "")),
        Ok(Value::Null)
    );
    assert_eq!(
        of(&lost, &quirks(HistoryReasoning::Accepted, "x")),
        Ok(Value::Null)
    );
}

#[test]
fn thinking_is_switched_in_the_hosts_own_words_or_the_host_is_not_asked() {
    let quirks = Quirks {
        thinking: ThinkingWords {
            off: words(json!({"enable_thinking": false})),
            high: words(json!({"enable_thinking": true, "reasoning_effort": "high"})),
            max: None,
        },
        ..Quirks::default()
    };
    let of = |effort| {
        said(
            &Conversation {
                effort,
                turns: vec![Turn::user("hi")],
                ..Conversation::default()
            },
            &quirks,
        )
    };
    assert_eq!(of(Effort::Off).expect("off")["enable_thinking"], false);
    assert_eq!(of(Effort::High).expect("high")["reasoning_effort"], "high");
    assert_eq!(
        of(Effort::Unsaid).expect("unsaid").get("enable_thinking"),
        None
    );
    assert!(
        of(Effort::Max)
            .expect_err("no words for it")
            .contains("quirks.thinking")
    );
}

#[test]
fn a_call_is_forced_without_thinking_or_refused_never_left_to_chance() {
    let quirks = Quirks {
        forced_tools_need_thinking_off: true,
        thinking: ThinkingWords {
            off: words(json!({"thinking": {"type": "disabled"}})),
            ..ThinkingWords::default()
        },
        ..Quirks::default()
    };
    let mut conversation = loop_of_tools(Some("Hm."));
    conversation.tool_choice = ToolChoice::Named("look".into());
    let body = said(&conversation, &quirks).expect("a body");
    assert_eq!(
        body["tool_choice"],
        json!({"type": "function", "function": {"name": "look"}})
    );
    assert_eq!(body["thinking"], json!({"type": "disabled"}));
    conversation.effort = Effort::Max;
    assert!(said(&conversation, &quirks).is_err());
}

#[test]
fn an_answer_is_gone_on_with_only_where_the_host_does_that() {
    let conversation = Conversation {
        turns: vec![
            Turn::user("Count."),
            Turn::Assistant(Said {
                text: "one, two".into(),
                unfinished: true,
                ..Said::default()
            }),
        ],
        ..Conversation::default()
    };
    let quirks = |continues| Quirks {
        continues,
        ..Quirks::default()
    };
    assert!(said(&conversation, &quirks(Continues::No)).is_err());
    let prefix = said(&conversation, &quirks(Continues::Prefix)).expect("a body");
    assert_eq!(
        prefix["messages"][1],
        json!({"role": "assistant", "content": "one, two", "prefix": true})
    );
    let last = said(&conversation, &quirks(Continues::FinalMessage)).expect("a body");
    assert_eq!(
        last["messages"][1],
        json!({"role": "assistant", "content": "one, two"})
    );
    assert_eq!(
        (
            &last["continue_final_message"],
            &last["add_generation_prompt"]
        ),
        (&json!(true), &json!(false))
    );
}

#[test]
fn the_hosts_own_fields_stand_before_the_callers() {
    let quirks = Quirks {
        tenant_field: Some("user_id".into()),
        fields: [(
            "context_length_exceeded_behavior".to_owned(),
            json!("error"),
        )]
        .into(),
        refused_fields: vec!["metadata".into()],
        max_tokens_field: Some("max_completion_tokens".into()),
        most_stops: Some(1),
        ..Quirks::default()
    };
    let mut conversation = Conversation {
        turns: vec![Turn::user("hi")],
        max_output: Some(Tokens::new(7)),
        rest: words(json!({"user_id": "spoofed", "metadata": {"a": 1}, "top_k": 3}))
            .expect("an object"),
        ..Conversation::default()
    };
    let body = said(&conversation, &quirks).expect("a body");
    assert_eq!(body["user_id"], "t-1");
    assert_eq!(body.get("metadata"), None);
    assert_eq!(
        (&body["top_k"], &body["max_completion_tokens"]),
        (&json!(3), &json!(7))
    );
    assert_eq!(body["context_length_exceeded_behavior"], "error");
    conversation.sampling.stop = vec!["a".into(), "b".into()];
    assert!(said(&conversation, &quirks).is_err());
}
