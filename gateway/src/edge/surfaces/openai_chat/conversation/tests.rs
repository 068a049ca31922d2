//! Bodies as clients send them, and the conversations that they mean.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::read;
use super::*;
use crate::chat::{Call, Frames, Image, Part, Said, Tokens};

fn body(fields: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in fields.as_object().expect("fields") {
        body[key] = value.clone();
    }
    body
}

fn understood(body: &Value) -> Result<Conversation, Refusal> {
    let request = read(Frames::from(Bytes::from(body.to_string()))).expect("a request");
    conversation(&request)
}

fn with(fields: Value) -> Conversation {
    understood(&body(fields)).expect("a conversation")
}

fn at_fault(fields: Value) -> String {
    let refusal = understood(&body(fields.clone())).expect_err(&fields.to_string());
    assert_eq!(refusal.code, Code::InvalidRequest);
    let field = refusal.field.expect("a field");
    assert!(refusal.message.contains(&field), "{}", refusal.message);
    field
}

fn turns(messages: Value) -> Vec<Turn> {
    with(json!({"messages": messages})).turns
}

fn text(text: &str) -> Vec<Part> {
    vec![Part::Text(text.into())]
}

fn call(id: &str, name: &str, arguments: &str) -> Call {
    Call {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    }
}

#[test]
fn an_agents_history_becomes_turns() {
    let read = turns(json!([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,iVBORw==", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}},
        ]},
        {"role": "assistant", "content": null, "reasoning_content": "Look first.", "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": "{\"at\":1}"}},
            {"id": "call_b", "type": "function", "function": {"name": "look", "arguments": "{\"at\":2}"}},
        ]},
        {"role": "tool", "tool_call_id": "call_b", "content": [{"type": "text", "text": "a cat"}]},
        {"role": "tool", "tool_call_id": "call_a", "content": ""},
        {"role": "assistant", "content": "A cat.", "annotations": [], "audio": null},
        {"role": "user", "content": "Sure?", "name": "ann"},
        {"role": "assistant", "content": "Quite s", "prefix": true},
    ]));
    let result = |id: &str, said: &str| Turn::Result {
        call: id.into(),
        parts: text(said),
        failed: false,
    };
    assert_eq!(
        read,
        vec![
            Turn::system("Be brief."),
            Turn::User(vec![
                Part::Text("What is this?".into()),
                Part::Image(Image::Inline {
                    media_type: "image/png".into(),
                    data: "iVBORw==".into()
                }),
                Part::Image(Image::Url("https://example.com/cat.jpg".into())),
            ]),
            Turn::Assistant(Said {
                reasoning: Some("Look first.".into()),
                text: String::new(),
                calls: vec![
                    call("call_a", "look", "{\"at\":1}"),
                    call("call_b", "look", "{\"at\":2}")
                ],
                unfinished: false,
            }),
            result("call_b", "a cat"),
            result("call_a", ""),
            Turn::Assistant(Said {
                text: "A cat.".into(),
                ..Said::default()
            }),
            Turn::user("Sure?"),
            Turn::Assistant(Said {
                text: "Quite s".into(),
                unfinished: true,
                ..Said::default()
            }),
        ]
    );
}

#[test]
fn what_shapes_the_answer_is_read() {
    let read = with(json!({
        "max_completion_tokens": 50, "n": 2, "temperature": 0.25, "top_p": 1, "seed": -3,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "stop": "END",
        "logprobs": true, "top_logprobs": 5, "parallel_tool_calls": false,
        "reasoning_effort": "max", "tool_choice": {"type": "function", "function": {"name": "look"}},
        "tools": [{"type": "function", "function": {
            "name": "look", "description": "Looks.", "strict": true,
            "parameters": {"type": "object", "z": 1, "a": 2}}}],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "reply", "schema": {"type": "object"}, "strict": true}},
        "user": "u-1", "logit_bias": {"5": 1}, "metadata": null, "top_k": 40,
        "stream": true, "stream_options": {"include_usage": true},
    }));
    assert_eq!(read.max_output, Some(Tokens::new(50)));
    assert_eq!(read.choices, 2);
    assert_eq!(json!(read.sampling.temperature), json!(0.25));
    assert_eq!(json!(read.sampling.top_p), json!(1));
    assert_eq!(json!(read.sampling.presence_penalty), json!(0.5));
    assert_eq!(json!(read.sampling.frequency_penalty), json!(-0.5));
    assert_eq!(read.sampling.seed, Some(-3));
    assert_eq!(read.sampling.stop, ["END"]);
    assert_eq!(read.logprobs, Some(5));
    assert_eq!(read.parallel_calls, Some(false));
    assert_eq!(read.effort, Effort::Max);
    assert_eq!(read.tool_choice, ToolChoice::Named("look".into()));
    let tool = &read.tools[0];
    assert_eq!(
        (tool.name.as_str(), tool.description.as_deref(), tool.strict),
        ("look", Some("Looks."), Some(true))
    );
    let schema = tool.parameters.as_ref().expect("parameters");
    assert_eq!(schema.get(), r#"{"a":2,"type":"object","z":1}"#);
    assert!(
        matches!(&read.format, Format::JsonSchema { name, strict: Some(true), .. } if name == "reply")
    );
    assert_eq!(
        Value::from(read.rest),
        json!({"user": "u-1", "logit_bias": {"5": 1}, "top_k": 40})
    );
}

#[test]
fn a_tools_schema_stays_as_the_caller_wrote_it() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":[{"function":
        {"name":"f","parameters":{ "z" : 1.0, "a":1e2 }}}]}"#;
    let request = read(Frames::from(Bytes::from_static(body.as_bytes()))).expect("a request");
    let read = conversation(&request).expect("a conversation");
    assert_eq!(
        read.tools[0].parameters.as_ref().map(|raw| raw.get()),
        Some(r#"{ "z" : 1.0, "a":1e2 }"#)
    );
}

#[test]
fn thinking_is_one_effort() {
    for (fields, effort) in [
        (json!({}), Effort::Unsaid),
        (json!({"thinking": {"type": "disabled"}}), Effort::Off),
        (json!({"thinking": {"type": "enabled"}}), Effort::High),
        (
            json!({"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
            Effort::Max,
        ),
        (
            json!({"thinking": {"type": "disabled"}, "reasoning_effort": "max"}),
            Effort::Off,
        ),
        (json!({"reasoning_effort": "none"}), Effort::Off),
        (json!({"reasoning_effort": false}), Effort::Off),
        (json!({"reasoning_effort": "medium"}), Effort::High),
    ] {
        assert_eq!(with(fields.clone()).effort, effort, "{fields}");
    }
}

#[test]
fn other_switches_of_thinking_are_not_told_twice() {
    let read = with(
        json!({"reasoning_effort": "max", "enable_thinking": true, "reasoning": {"effort": "high"},
        "chat_template_kwargs": {"thinking": true, "documents": []}}),
    );
    assert_eq!(
        Value::from(read.rest),
        json!({"chat_template_kwargs": {"documents": []}})
    );
}

#[test]
fn tool_choices_in_all_their_forms() {
    let tools = json!([{"type": "function", "function": {"name": "a"}},
                       {"type": "function", "function": {"name": "b"}}]);
    for (choice, meant) in [
        (json!(null), ToolChoice::Auto),
        (json!("auto"), ToolChoice::Auto),
        (json!("none"), ToolChoice::None),
        (json!("required"), ToolChoice::Required),
        (
            json!({"function": {"name": "b"}}),
            ToolChoice::Named("b".into()),
        ),
    ] {
        let read = with(json!({"tools": tools, "tool_choice": choice}));
        assert_eq!(read.tool_choice, meant);
        assert_eq!(read.tools.len(), 2);
    }
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required",
        "tools": [{"type": "function", "function": {"name": "b"}}]}});
    // Whichever stands first in the body: keys come sorted here, `tool_choice` before `tools`.
    let read = with(json!({"tools": tools, "tool_choice": allowed}));
    assert_eq!(read.tool_choice, ToolChoice::Required);
    assert_eq!(read.tools.len(), 1);
    assert_eq!(read.tools[0].name, "b");
}

#[test]
fn earlier_thinking_is_found_under_every_name() {
    for fields in [
        json!({"reasoning_content": "hm"}),
        json!({"reasoning": "hm"}),
        json!({"reasoning_content": "", "reasoning": "hm"}),
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "h"}, {"type": "reasoning.encrypted", "data": "x"}, {"text": "m"}]}),
        json!({"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}),
    ] {
        let mut message = json!({"role": "assistant", "content": "yes"});
        for (key, value) in fields.as_object().expect("fields") {
            message[key] = value.clone();
        }
        let [Turn::Assistant(said)] = &turns(json!([message]))[..] else {
            panic!("an assistant's turn");
        };
        assert_eq!(said.reasoning.as_deref(), Some("hm"), "{fields}");
        assert_eq!(said.text, "yes");
    }
}

#[test]
fn missing_and_repeated_ids_are_repaired_the_same_way_each_time() {
    let history = json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [
            {"id": "same", "function": {"name": "a", "arguments": "{}"}},
            {"id": "same", "function": {"name": "b", "arguments": {"x": 1}}},
            {"function": {"name": "c"}},
        ]},
        {"role": "tool", "tool_call_id": "same", "content": "of a"},
        {"role": "tool", "tool_call_id": "same", "content": "of b"},
        {"role": "tool", "content": "of c"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "same", "function": {"name": "d", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "same", "content": "of d"},
        {"role": "assistant", "function_call": {"name": "e", "arguments": "{}"}},
        {"role": "function", "name": "e", "content": "of e"},
    ]);
    let read = turns(history.clone());
    let ids: Vec<(String, String)> = read
        .iter()
        .flat_map(|turn| match turn {
            Turn::Assistant(said) => said
                .calls
                .iter()
                .map(|call| (call.id.clone(), call.name.clone()))
                .collect(),
            Turn::Result { call, parts, .. } => vec![(call.clone(), crate::chat::text_of(parts))],
            _ => Vec::new(),
        })
        .collect();
    let expected = [
        ("same", "a"),
        ("call_1_1", "b"),
        ("call_1_2", "c"),
        ("same", "of a"),
        ("call_1_1", "of b"),
        ("call_1_2", "of c"),
        ("call_5_0", "d"),
        ("call_5_0", "of d"),
        ("call_7_0", "e"),
        ("call_7_0", "of e"),
    ]
    .map(|(id, what)| (id.to_owned(), what.to_owned()));
    assert_eq!(ids, expected);
    // With more turns behind it the beginning reads the same.
    let mut longer = history.as_array().expect("messages").clone();
    longer.push(json!({"role": "user", "content": "more"}));
    assert_eq!(turns(Value::from(longer))[..read.len()], read[..]);
}

#[test]
fn a_server_told_to_continue_the_last_message_goes_on_from_it() {
    let read = with(json!({
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "so f"}],
        "continue_final_message": true, "add_generation_prompt": false,
    }));
    assert!(matches!(&read.turns[1], Turn::Assistant(said) if said.unfinished));
    assert!(read.rest.is_empty());
}

#[test]
fn each_mistake_names_its_path() {
    let message = |message: Value| json!({"messages": [{"role": "user", "content": "x"}, message]});
    let part = |part: Value| {
        message(json!({"role": "user", "content": [{"type": "text", "text": "x"}, part]}))
    };
    let call = |call: Value| message(json!({"role": "assistant", "tool_calls": [call]}));
    for (fields, path) in [
        (message(json!("hi")), "messages[1]"),
        (message(json!({"content": "hi"})), "messages[1].role"),
        (
            message(json!({"role": "robot", "content": "hi"})),
            "messages[1].role",
        ),
        (message(json!({"role": "user"})), "messages[1].content"),
        (
            message(json!({"role": "user", "content": 5})),
            "messages[1].content",
        ),
        (
            message(json!({"role": "tool", "content": "x"})),
            "messages[1].tool_call_id",
        ),
        (
            message(json!({"role": "tool", "tool_call_id": "lost", "content": "x"})),
            "messages[1].tool_call_id",
        ),
        (
            part(json!({"type": "input_audio", "input_audio": {}})),
            "messages[1].content[1].type",
        ),
        (
            part(json!({"type": "file", "file": {}})),
            "messages[1].content[1].type",
        ),
        (part(json!({"type": "text"})), "messages[1].content[1].text"),
        (part(json!({"text": "x"})), "messages[1].content[1].type"),
        (
            part(json!({"type": "image_url", "image_url": {}})),
            "messages[1].content[1].image_url.url",
        ),
        (
            part(json!({"type": "image_url", "image_url": {"url": "data:text/html,x"}})),
            "messages[1].content[1].image_url.url",
        ),
        (
            part(json!({"type": "image_url", "image_url": {"url": "data: ;base64,x"}})),
            "messages[1].content[1].image_url.url",
        ),
        (
            call(json!({"id": "a", "function": {}})),
            "messages[1].tool_calls[0].function.name",
        ),
        (
            call(json!({"id": "a"})),
            "messages[1].tool_calls[0].function",
        ),
        (
            call(json!({"id": 5, "function": {"name": "f"}})),
            "messages[1].tool_calls[0].id",
        ),
        (
            call(json!({"id": "a", "type": "custom", "custom": {}})),
            "messages[1].tool_calls[0].type",
        ),
        (
            call(json!({"id": "a", "function": {"name": "f", "arguments": 5}})),
            "messages[1].tool_calls[0].function.arguments",
        ),
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (
            json!({"tools": [{"type": "function"}]}),
            "tools[0].function",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": ""}}]}),
            "tools[0].function.name",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}),
            "tools[0].function.parameters",
        ),
        (json!({"tool_choice": "sometimes"}), "tool_choice"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
            "tool_choice.function.name",
        ),
        (
            json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}}),
            "tool_choice.allowed_tools.tools",
        ),
        (
            json!({"response_format": {"type": "grammar"}}),
            "response_format.type",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
            "response_format.json_schema.schema",
        ),
        (json!({"top_logprobs": 3}), "top_logprobs"),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
        ),
        (json!({"stop": [1]}), "stop"),
        (json!({"seed": "x"}), "seed"),
        (json!({"functions": []}), "functions"),
    ] {
        assert_eq!(at_fault(fields), path);
    }
}

/// A message of any role with text that needs care, and the turn that it is.
fn spoken() -> impl Strategy<Value = (Value, Turn)> {
    let words = "[a-z \"\\\\\n\u{e9}\u{4e2d}\u{1f600}]{1,12}";
    prop_oneof![
        (words, any::<bool>()).prop_map(|(words, developer)| {
            let role = if developer { "developer" } else { "system" };
            (json!({"role": role, "content": words.clone()}), Turn::system(words))
        }),
        proptest::collection::vec((words, any::<bool>()), 1..4).prop_map(|parts| {
            let written: Vec<Value> = parts
                .iter()
                .map(|(words, image)| match image {
                    true => json!({"type": "image_url", "image_url": {"url": format!("https://x/{words}")}}),
                    false => json!({"type": "text", "text": words}),
                })
                .collect();
            let read = parts
                .into_iter()
                .map(|(words, image)| match image {
                    true => Part::Image(Image::Url(format!("https://x/{words}"))),
                    false => Part::Text(words),
                })
                .collect();
            (json!({"role": "user", "content": written}), Turn::User(read))
        }),
        (proptest::option::of(words), proptest::option::of(words), proptest::collection::vec((words, words), 0..3)).prop_map(
            |(reasoning, text, calls)| {
                let message = json!({"role": "assistant", "content": text, "reasoning_content": reasoning,
                    "tool_calls": calls.iter().map(|(name, arguments)|
                        json!({"id": null, "type": "function", "function": {"name": name, "arguments": arguments}})
                    ).collect::<Vec<_>>()});
                let said = Said {
                    reasoning,
                    text: text.unwrap_or_default(),
                    calls: calls.into_iter().map(|(name, arguments)| Call { id: String::new(), name, arguments }).collect(),
                    unfinished: false,
                };
                (message, Turn::Assistant(said))
            }
        ),
    ]
}

/// Looking for each result among all calls would cost the square of their number.
#[test]
fn very_many_calls_are_answered_each_by_its_own_result() {
    const MANY: usize = 40_000;
    let calls: Vec<Value> = (0..MANY)
        .map(|at| json!({"id": format!("c{}", at % 3), "type": "function", "function": {"name": "f", "arguments": "{}"}}))
        .collect();
    let mut messages = vec![json!({"role": "assistant", "tool_calls": calls})];
    messages.extend(
        (0..MANY).map(
            |at| json!({"role": "tool", "tool_call_id": format!("c{}", at % 3), "content": "1"}),
        ),
    );
    let request = read(Frames::from(Bytes::from(
        body(json!({"messages": messages})).to_string(),
    )));
    let turns = conversation(&request.expect("a request"))
        .expect("a conversation")
        .turns;
    let Turn::Assistant(said) = &turns[0] else {
        panic!("the calls");
    };
    for (call, turn) in said.calls.iter().zip(&turns[1..]) {
        assert!(matches!(turn, Turn::Result { call: id, .. } if *id == call.id));
    }
}

proptest! {
    #[test]
    fn a_conversation_keeps_everything_that_was_said(
        spoken in proptest::collection::vec(spoken(), 1..8),
        rest in proptest::collection::btree_map("x_[a-z]{1,5}", any::<i32>(), 0..4),
        every in 1_usize..200,
    ) {
        let (messages, mut expected): (Vec<Value>, Vec<Turn>) = spoken.into_iter().unzip();
        let rest: Map<String, Value> = rest.into_iter().map(|(key, value)| (key, json!(value))).collect();
        let mut whole = body(json!({"messages": messages}));
        for (key, value) in &rest {
            whole[key] = value.clone();
        }
        let mut frames = Frames::default();
        for part in whole.to_string().as_bytes().chunks(every) {
            frames.push(Bytes::copy_from_slice(part));
        }
        let read = conversation(&read(frames).expect("a request")).expect("a conversation");
        let mut ids = std::collections::HashSet::new();
        for (turn, expected) in read.turns.iter().zip(&mut expected) {
            if let (Turn::Assistant(said), Turn::Assistant(meant)) = (turn, expected) {
                for (call, meant) in said.calls.iter().zip(&mut meant.calls) {
                    prop_assert!(ids.insert(call.id.clone()), "an id twice");
                    meant.id.clone_from(&call.id);
                }
            }
        }
        prop_assert_eq!(read.turns, expected);
        prop_assert_eq!(read.rest, rest);
    }
}
