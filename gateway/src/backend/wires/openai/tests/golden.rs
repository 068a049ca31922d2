//! The same question to every host, as one document: `golden/hosts.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::*;
use crate::catalog::{Catalog, SHIPPED};
use crate::chat::{Call, Effort, Format, Image, Part, Sampling, Tokens, Tool, ToolChoice};

fn shipped() -> BTreeMap<String, Quirks> {
    let files = SHIPPED.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let catalog = Catalog::from_files(files.into()).expect("the shipped catalog is right");
    catalog
        .hosts
        .values()
        .map(|host| (host.name.to_string(), host.quirks.clone()))
        .collect()
}

fn raw(json: &str) -> Arc<RawValue> {
    RawValue::from_string(json.to_owned()).expect("JSON").into()
}

fn tool(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        description: Some("Looks up the weather.".to_owned()),
        parameters: Some(raw(
            r#"{"type":"object","properties":{"city":{"type":"string"}}}"#,
        )),
        strict: None,
    }
}

fn said(reasoning: Option<&str>, text: &str, calls: &[(&str, &str)]) -> Turn {
    Turn::Assistant(Said {
        reasoning: reasoning.map(str::to_owned),
        text: text.to_owned(),
        calls: calls
            .iter()
            .map(|(id, arguments)| Call {
                id: (*id).to_owned(),
                name: "weather".to_owned(),
                arguments: (*arguments).to_owned(),
            })
            .collect(),
        unfinished: false,
    })
}

fn question() -> Conversation {
    Conversation {
        turns: vec![Turn::user("Is it warm in Oslo?")],
        choices: 1,
        ..Conversation::default()
    }
}

fn with_tools(choice: ToolChoice, tools: &[&str]) -> Conversation {
    Conversation {
        tools: tools.iter().map(|name| tool(name)).collect(),
        tool_choice: choice,
        ..question()
    }
}

/// The turns of a tool call whose thinking is known, and of one whose thinking is lost.
fn with_history() -> Conversation {
    Conversation {
        turns: vec![
            Turn::system("Be brief."),
            Turn::user("Is it warm in Oslo?"),
            said(
                Some("I must look."),
                "",
                &[("call_1", r#"{"city":"Oslo"}"#)],
            ),
            Turn::Result {
                call: "call_1".to_owned(),
                parts: vec![Part::Text("no such city".to_owned())],
                failed: true,
            },
            said(None, "Again.", &[("call_2", ""), ("call_3", "{}")]),
            Turn::Result {
                call: "call_2".to_owned(),
                parts: vec![
                    Part::Text("12 °C".to_owned()),
                    Part::Image(Image::Inline {
                        media_type: "image/png".to_owned(),
                        data: "iVBOR".to_owned(),
                    }),
                ],
                failed: false,
            },
            Turn::Result {
                call: "call_3".to_owned(),
                parts: vec![Part::Text("windy".to_owned())],
                failed: false,
            },
            Turn::user("And now?"),
        ],
        ..with_tools(ToolChoice::Auto, &["weather"])
    }
}

fn scenarios() -> Vec<(&'static str, Conversation)> {
    let effort = |effort| Conversation {
        effort,
        ..question()
    };
    let unfinished = Conversation {
        turns: vec![
            Turn::user("Is it warm in Oslo?"),
            Turn::Assistant(Said {
                text: "It is rather".to_owned(),
                unfinished: true,
                ..Said::default()
            }),
        ],
        ..question()
    };
    let schema = Format::JsonSchema {
        name: "weather".to_owned(),
        description: None,
        schema: raw(r#"{"type":"object"}"#),
        strict: Some(true),
    };
    vec![
        (
            "A plain question with everything that is said alike everywhere",
            Conversation {
                turns: vec![
                    Turn::system("Be brief."),
                    Turn::User(vec![
                        Part::Text("What is \"this\"?".to_owned()),
                        Part::Image(Image::Url("https://example.org/a.png".to_owned())),
                    ]),
                    said(None, "A cat.", &[]),
                    Turn::system("Answer in French from here on."),
                    Turn::user("And its colour?"),
                ],
                sampling: Sampling {
                    temperature: serde_json::from_str("0.50").ok(),
                    top_p: serde_json::from_str("1").ok(),
                    seed: Some(7),
                    stop: vec!["END".to_owned()],
                    ..Sampling::default()
                },
                max_output: Some(Tokens::new(100)),
                rest: Map::from_iter([("user".to_owned(), Value::from("u-1"))]),
                ..question()
            },
        ),
        ("Thinking off", effort(Effort::Off)),
        ("Thinking high", effort(Effort::High)),
        ("Thinking max", effort(Effort::Max)),
        (
            "One tool, which must be called",
            with_tools(ToolChoice::Required, &["weather"]),
        ),
        (
            "Two tools, one of which must be called",
            with_tools(ToolChoice::Required, &["weather", "tides"]),
        ),
        (
            "Two tools, of which this one must be called",
            with_tools(ToolChoice::Named("tides".to_owned()), &["weather", "tides"]),
        ),
        (
            "A tool must be called, after thinking",
            Conversation {
                effort: Effort::High,
                ..with_tools(ToolChoice::Required, &["weather"])
            },
        ),
        (
            "Tools that must not be called now",
            with_tools(ToolChoice::None, &["weather"]),
        ),
        (
            "Turns with tool calls: a failure, a picture, thinking that is lost",
            with_history(),
        ),
        (
            "JSON mode, of which the prompt does not speak",
            Conversation {
                format: Format::JsonObject,
                ..question()
            },
        ),
        (
            "A JSON schema",
            Conversation {
                format: schema.clone(),
                ..question()
            },
        ),
        (
            "A JSON schema beside tools",
            Conversation {
                format: schema,
                ..with_tools(ToolChoice::Auto, &["weather"])
            },
        ),
        ("An answer that broke off, to be gone on with", unfinished),
        (
            "Log probabilities with three alternatives",
            Conversation {
                logprobs: Some(3),
                ..question()
            },
        ),
        (
            "Five stop strings",
            Conversation {
                sampling: Sampling {
                    stop: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
                    ..Sampling::default()
                },
                ..question()
            },
        ),
    ]
}

fn body_of(conversation: &Conversation, quirks: &Quirks) -> Result<Map<String, Value>, String> {
    let outgoing = body(conversation, asked(quirks)).map_err(|cannot| cannot.0)?;
    let bytes = outgoing.body.joined();
    Ok(serde_json::from_slice(&bytes).expect("a body is a JSON object"))
}

#[test]
fn every_host_gets_the_question_in_its_own_words() {
    // Knows no quirk, but goes on with answers, so that every scenario has a body to compare with.
    let plain = Quirks {
        continues: Continues::ContinueFinalMessage,
        thinking: crate::catalog::ThinkingControl::None,
        ..Quirks::default()
    };
    let mut text = String::from(
        "# What each host gets\n\n\
         The same request to every host of the OpenAI-compatible wire, by the quirks of\n\
         `config/catalog/`. First the body that a host without deviations gets; then, for each host,\n\
         what differs from it: members that are added or other, and those left out. Written by the\n\
         test that checks it.\n",
    );
    for (title, conversation) in scenarios() {
        let base = body_of(
            &Conversation {
                effort: Effort::Unsaid,
                ..conversation.clone()
            },
            &plain,
        )
        .expect("nothing is refused here");
        let pretty = serde_json::to_string_pretty(&base).expect("JSON");
        write!(
            text,
            "\n## {title}\n\n```json\n{pretty}\n```\n\n| host | |\n| --- | --- |\n"
        )
        .expect("text");
        for (host, quirks) in shipped() {
            let line = match body_of(&conversation, &quirks) {
                Err(refusal) => format!("refused: {refusal}"),
                Ok(mut body) => {
                    let mut absent: Vec<&str> = Vec::new();
                    for (field, value) in &base {
                        match body.get(field) {
                            None => absent.push(field),
                            Some(same) if same == value => {
                                body.remove(field);
                            }
                            Some(_) => {}
                        }
                    }
                    let mut line = if body.is_empty() {
                        "as above".to_owned()
                    } else {
                        format!("`{}`", Value::Object(body))
                    };
                    if !absent.is_empty() {
                        write!(line, ", without `{}`", absent.join("`, `")).expect("text");
                    }
                    if let Some(base) = super::super::base(&conversation, &quirks) {
                        write!(line, ", at {base}").expect("text");
                    }
                    line
                }
            };
            writeln!(text, "| {host} | {line} |").expect("text");
        }
    }
    agrees("hosts.md", &text);
}

#[test]
fn what_a_table_can_say_and_no_shipped_host_needs_works_too() {
    let files = SHIPPED.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let mut files: BTreeMap<String, String> = files.into();
    // A deployment settles what the catalogue leaves open.
    files.insert(
        "mine.toml".to_owned(),
        r#"
extends = "nebius"
[quirks]
thinking = "reasoning_effort"
effort = { off = "none", max = "xhigh" }
max_tokens_field = "max_completion_tokens"
no_stream_options = true
json_schema_fallback = "json_object"
missing_reasoning = "refuse"
history_reasoning = "required_with_tools"
refused_fields = ["user"]
fields = { store = false, top_k = 5 }
headers = { Extra-Parameters = "pass-through" }
"#
        .to_owned(),
    );
    let catalog = Catalog::from_files(files).expect("the deployment is right");
    let quirks = &catalog.hosts["nebius"].quirks;
    assert_eq!(
        quirks.tool_choice.len(),
        2,
        "what the deployment leaves out stays"
    );
    let conversation = Conversation {
        effort: Effort::Max,
        max_output: Some(Tokens::new(9)),
        format: Format::JsonSchema {
            name: "x".to_owned(),
            description: None,
            schema: raw(r#"{"type":"object"}"#),
            strict: None,
        },
        rest: Map::from_iter([
            ("user".to_owned(), Value::from("u-1")),
            ("top_k".to_owned(), Value::from(9)),
            ("thinking".to_owned(), Value::from(true)),
        ]),
        ..question()
    };
    let outgoing = body(
        &conversation,
        Asked {
            stream: true,
            ..asked(quirks)
        },
    )
    .expect("it can be asked");
    assert_eq!(outgoing.headers["extra-parameters"], "pass-through");
    let sent: Value = serde_json::from_slice(&outgoing.body.joined()).expect("JSON");
    assert_eq!(
        sent,
        serde_json::json!({
            "model": "host/model",
            "messages": [
                {"role": "system", "content": "Answer with one JSON object and nothing else. It must follow this JSON schema:\n{\"type\":\"object\"}"},
                {"role": "user", "content": "Is it warm in Oslo?"}
            ],
            "stream": true,
            "max_completion_tokens": 9,
            "response_format": {"type": "json_object"},
            "reasoning_effort": "xhigh",
            "top_k": 9,
            "store": false
        })
    );
    let refusal = body(&with_history(), asked(quirks)).expect_err("thinking is lost");
    assert!(
        refusal.0.contains("thinking of all earlier turns"),
        "{refusal}"
    );
}

#[test]
fn what_broke_off_where_nobody_can_go_on_is_refused() {
    let quirks = &shipped()["deepseek"];
    for (reasoning, text, calls) in [
        (Some("hm"), "", &[][..]),
        (None, "So", &[("call_1", "{\"ci")][..]),
    ] {
        let Turn::Assistant(mut said) = said(reasoning, text, calls) else {
            unreachable!("an assistant's turn");
        };
        said.unfinished = true;
        let conversation = Conversation {
            turns: vec![Turn::user("go"), Turn::Assistant(said)],
            ..question()
        };
        let refusal = body(&conversation, asked(quirks)).expect_err("no way on");
        assert!(refusal.0.contains("cannot be gone on with"), "{refusal}");
    }
}

#[test]
fn the_highest_effort_wants_its_window() {
    let quirks = Quirks::default();
    assert_eq!(quirks.window_for(Effort::Max), Tokens::new(393_216));
    assert_eq!(quirks.window_for(Effort::High), Tokens::ZERO);
}
