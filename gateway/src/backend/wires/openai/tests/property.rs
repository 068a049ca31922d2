//! A conversation written and read again with another reader: nothing is lost on the way.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::*;
use crate::chat::{Call, Image, Part, Sampling, Tokens, Tool, ToolChoice, text_of};

fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\n\u{1}\u{e9}\u{1f600}\u{2028}/ ]{0,12}"
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        3 => text().prop_map(Part::Text),
        1 => text().prop_map(|url| Part::Image(Image::Url(url))),
        1 => text().prop_map(|data| Part::Image(Image::Inline { media_type: "image/png".into(), data })),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let call = (text(), text(), text()).prop_map(|(id, name, arguments)| Call {
        id,
        name,
        arguments,
    });
    prop_oneof![
        vec(text().prop_map(Part::Text), 1..3).prop_map(Turn::System),
        vec(part(), 1..4).prop_map(Turn::User),
        (of(text()), text(), vec(call, 0..3)).prop_map(|(reasoning, text, calls)| {
            Turn::Assistant(Said {
                reasoning,
                text,
                calls,
                unfinished: false,
            })
        }),
        (text(), vec(part(), 0..3), any::<bool>()).prop_map(|(call, parts, failed)| {
            Turn::Result {
                call,
                parts,
                failed,
            }
        }),
    ]
}

fn conversation() -> impl Strategy<Value = Conversation> {
    let sampling = (of(any::<i32>()), of(any::<i64>()), vec(text(), 0..3)).prop_map(
        |(temperature, seed, stop)| Sampling {
            temperature: temperature.map(serde_json::Number::from),
            seed,
            stop,
            ..Sampling::default()
        },
    );
    let tools = vec((text(), of(text()), of(any::<bool>())), 0..3).prop_map(|tools| {
        tools
            .into_iter()
            .map(|(name, description, strict)| Tool {
                name,
                description,
                parameters: strict.map(|_| {
                    RawValue::from_string(r#"{"type": "object"}"#.to_owned())
                        .expect("JSON")
                        .into()
                }),
                strict,
            })
            .collect::<Vec<Tool>>()
    });
    let choice = prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        text().prop_map(ToolChoice::Named),
    ];
    (
        vec(turn(), 0..8),
        tools,
        choice,
        sampling,
        of(1_u64..9),
        of(any::<bool>()),
        of(0_u8..5),
    )
        .prop_map(
            |(turns, tools, tool_choice, sampling, max_output, parallel_calls, logprobs)| {
                Conversation {
                    turns,
                    tools,
                    tool_choice,
                    sampling,
                    max_output: max_output.map(Tokens::new),
                    parallel_calls,
                    logprobs,
                    choices: 1,
                    rest: Map::from_iter([("user".to_owned(), json!("u"))]),
                    ..Conversation::default()
                }
            },
        )
}

fn image(image: &Image) -> Value {
    let url = match image {
        Image::Url(url) => url.clone(),
        Image::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
    };
    json!({"type": "image_url", "image_url": {"url": url}})
}

/// What a reader must find, built as values.
fn expected(conversation: &Conversation) -> Value {
    let mut messages = Vec::new();
    let mut shown: Vec<Value> = Vec::new();
    for turn in &conversation.turns {
        if !matches!(turn, Turn::Result { .. }) && !shown.is_empty() {
            messages.push(json!({"role": "user", "content": std::mem::take(&mut shown)}));
        }
        messages.push(match turn {
            Turn::System(parts) => json!({"role": "system", "content": text_of(parts)}),
            Turn::User(parts) if parts.iter().any(|part| matches!(part, Part::Image(_))) => {
                let content: Vec<Value> = parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => json!({"type": "text", "text": text}),
                        Part::Image(picture) => image(picture),
                    })
                    .collect();
                json!({"role": "user", "content": content})
            }
            Turn::User(parts) => json!({"role": "user", "content": text_of(parts)}),
            Turn::Assistant(said) => {
                let mut message = json!({"role": "assistant", "content": said.text});
                if let Some(reasoning) = said.reasoning.as_ref().filter(|text| !text.is_empty()) {
                    message["reasoning_content"] = json!(reasoning);
                }
                if !said.calls.is_empty() {
                    if said.text.is_empty() {
                        message["content"] = Value::Null;
                    }
                    message["tool_calls"] = said
                        .calls
                        .iter()
                        .map(|call| {
                            let arguments = if call.arguments.is_empty() {
                                "{}"
                            } else {
                                &call.arguments
                            };
                            json!({"id": call.id, "type": "function",
                                "function": {"name": call.name, "arguments": arguments}})
                        })
                        .collect();
                }
                message
            }
            Turn::Result {
                call,
                parts,
                failed,
            } => {
                let pictures = parts.iter().filter_map(|part| match part {
                    Part::Image(picture) => Some(image(picture)),
                    Part::Text(_) => None,
                });
                let pictures: Vec<Value> = pictures.collect();
                if !pictures.is_empty() {
                    shown.push(
                        json!({"type": "text", "text": format!("The result of {call} shows:")}),
                    );
                    shown.extend(pictures);
                }
                let said = text_of(parts);
                let seen = parts.iter().any(|part| matches!(part, Part::Image(_)));
                let content = match (*failed, said.is_empty()) {
                    (true, true) => "The tool failed.".to_owned(),
                    (true, false) => format!("The tool failed:\n{said}"),
                    (false, true) if seen => "It is shown in the next message.".to_owned(),
                    _ => said,
                };
                json!({"role": "tool", "tool_call_id": call, "content": content})
            }
        });
    }
    if !shown.is_empty() {
        messages.push(json!({"role": "user", "content": shown}));
    }
    let mut body = json!({"model": "host/model", "messages": messages, "user": "u"});
    if let Some(limit) = conversation.max_output {
        body["max_tokens"] = json!(limit);
    }
    if !conversation.tools.is_empty() {
        body["tools"] = conversation
            .tools
            .iter()
            .map(|tool| {
                let mut function = json!({"name": tool.name});
                if let Some(description) = &tool.description {
                    function["description"] = json!(description);
                }
                if let Some(strict) = tool.strict {
                    function["strict"] = json!(strict);
                    function["parameters"] = json!({"type": "object"});
                }
                json!({"type": "function", "function": function})
            })
            .collect();
        match &conversation.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::None => body["tool_choice"] = json!("none"),
            ToolChoice::Required => body["tool_choice"] = json!("required"),
            ToolChoice::Named(name) => {
                body["tool_choice"] = json!({"type": "function", "function": {"name": name}});
            }
        }
        if let Some(parallel) = conversation.parallel_calls {
            body["parallel_tool_calls"] = json!(parallel);
        }
    }
    let sampling = &conversation.sampling;
    if let Some(temperature) = &sampling.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(seed) = sampling.seed {
        body["seed"] = json!(seed);
    }
    if !sampling.stop.is_empty() {
        body["stop"] = json!(sampling.stop);
    }
    if let Some(alternatives) = conversation.logprobs {
        body["logprobs"] = json!(true);
        if alternatives > 0 {
            body["top_logprobs"] = json!(alternatives);
        }
    }
    body
}

proptest! {
    #[test]
    fn a_conversation_loses_nothing_on_its_way_to_a_host(conversation in conversation()) {
        let quirks = Quirks::default();
        let outgoing = body(&conversation, asked(&quirks)).expect("nothing is refused");
        let sent: Value = serde_json::from_slice(&outgoing.body.joined()).expect("JSON");
        prop_assert_eq!(sent, expected(&conversation));
        // No member twice: readers differ in which one they take.
        let found = crate::chat::scan::object(&outgoing.body).expect("an object");
        let mut keys: Vec<&str> = found.members.iter().map(|member| member.key.as_str()).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), all);
    }
}

#[test]
fn a_long_id_is_not_repeated_for_every_picture() {
    let id = "x".repeat(10_000);
    let picture = Part::Image(Image::Url("https://x".to_owned()));
    let conversation = Conversation {
        turns: vec![Turn::Result {
            call: id,
            parts: vec![picture; 1_000],
            failed: false,
        }],
        ..Conversation::default()
    };
    let quirks = Quirks::default();
    let outgoing = body(&conversation, asked(&quirks)).expect("a body");
    assert!(outgoing.body.len() < 100_000, "{}", outgoing.body.len());
}

#[test]
fn a_result_of_no_words_is_not_said_to_be_shown() {
    let empty = || Part::Text(String::new());
    let conversation = Conversation {
        turns: vec![Turn::Result {
            call: "call_1".to_owned(),
            parts: vec![empty(), empty()],
            failed: false,
        }],
        ..Conversation::default()
    };
    let quirks = Quirks::default();
    let outgoing = body(&conversation, asked(&quirks)).expect("a body");
    let sent: Value = serde_json::from_slice(&outgoing.body.joined()).expect("JSON");
    assert_eq!(sent["messages"][0]["content"], "");
}
