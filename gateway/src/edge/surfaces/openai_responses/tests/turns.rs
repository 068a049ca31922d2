//! Requests beside the conversations that they are read as.

use serde_json::json;

use super::*;
use crate::chat::{Format, ToolChoice, Turn};

fn turns(body: &Value) -> Value {
    let (_, conversation) = understood(body);
    serde_json::to_value(conversation.turns).expect("turns are JSON")
}

fn of_input(input: Value) -> Value {
    turns(&json!({"model": "m", "input": input}))
}

fn refused(body: &Value) -> Refusal {
    conversation(&request(body)).expect_err("a refusal")
}

fn said(reasoning: Value, text: &str, calls: Value) -> Value {
    json!({"assistant": {"reasoning": reasoning, "text": text, "calls": calls, "unfinished": false}})
}

#[test]
fn a_text_is_a_users_and_instructions_go_first() {
    assert_eq!(
        turns(&json!({"model": "m", "instructions": "be brief", "input": "hi"})),
        json!([{"system": [{"text": "be brief"}]}, {"user": [{"text": "hi"}]}]),
    );
}

#[test]
fn messages_of_every_role_keep_their_order_and_parts() {
    assert_eq!(
        of_input(json!([
            {"role": "developer", "content": "rules"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "what is it?"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                {"type": "input_image", "image_url": "https://example.com/a.png"},
            ]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": "a ", "annotations": []},
                {"type": "refusal", "refusal": "secret"},
            ]},
            {"role": "system", "content": [{"type": "input_text", "text": "again"}]},
        ])),
        json!([
            {"system": [{"text": "rules"}]},
            {"user": [
                {"text": "what is it?"},
                {"image": {"inline": {"media_type": "image/png", "data": "aGk="}}},
                {"image": {"url": "https://example.com/a.png"}},
            ]},
            said(Value::Null, "a secret", json!([])),
            {"system": [{"text": "again"}]},
        ]),
    );
}

#[test]
fn thinking_a_message_and_parallel_calls_are_one_turn() {
    assert_eq!(
        of_input(json!([
            {"role": "user", "content": "weather?"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "look it up"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{\"at\":\"Oslo\"}"},
            {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{\"at\":\"Rome\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
            {"type": "function_call", "call_id": "c3", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c3", "output": ""},
        ])),
        json!([
            {"user": [{"text": "weather?"}]},
            said(json!("look it up"), "One moment.", json!([
                {"id": "c1", "name": "weather", "arguments": "{\"at\":\"Oslo\"}"},
                {"id": "c2", "name": "weather", "arguments": "{\"at\":\"Rome\"}"},
            ])),
            {"result": {"call": "c1", "parts": [{"text": "rain"}], "failed": false}},
            {"result": {"call": "c2", "parts": [{"text": "sun"}], "failed": false}},
            said(Value::Null, "", json!([{"id": "c3", "name": "weather", "arguments": "{}"}])),
            {"result": {"call": "c3", "parts": [{"text": ""}], "failed": false}},
        ]),
    );
}

#[test]
fn sealed_thinking_is_opened_and_what_others_sealed_is_passed_over() {
    let body = json!({"model": "m", "input": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ours:hm"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "theirs"},
        {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "told"}], "encrypted_content": "theirs"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "id": "rs_4", "summary": [{"type": "summary_text", "text": "interrupted"}]},
        {"role": "user", "content": "stop"},
        {"type": "reasoning", "id": "rs_5", "summary": [{"type": "summary_text", "text": "to no end"}]},
    ]});
    let open = |sealed: &str| sealed.strip_prefix("ours:").map(str::to_owned);
    let read = conversation_with(&request(&body), Vec::new(), &open).expect("a conversation");
    let turns = serde_json::to_value(read.turns).expect("JSON");
    let call = json!([{"id": "c1", "name": "f", "arguments": "{}"}]);
    assert_eq!(
        turns,
        json!([said(json!("hm\n\ntold\n\ninterrupted"), "", call), {"user": [{"text": "stop"}]}]),
    );
}

#[test]
fn custom_tools_and_shell_calls_are_functions_of_one_text() {
    let body = json!({"model": "m",
    "tools": [{"type": "custom", "name": "apply_patch", "description": "Edits files.",
               "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}}],
    "input": [
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** \"Begin\""},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
        {"type": "local_shell_call", "id": "l", "call_id": "c2", "status": "completed",
         "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "local_shell_call_output", "id": "c2", "output": "a b"},
    ]});
    assert_eq!(
        turns(&body),
        json!([
            said(Value::Null, "", json!([{"id": "c1", "name": "apply_patch", "arguments": "{\"input\":\"*** \\\"Begin\\\"\"}"}])),
            {"result": {"call": "c1", "parts": [{"text": "done"}], "failed": false}},
            said(Value::Null, "", json!([{"id": "c2", "name": "local_shell", "arguments": "{\"command\":[\"ls\"],\"env\":{},\"type\":\"exec\"}"}])),
            {"result": {"call": "c2", "parts": [{"text": "a b"}], "failed": false}},
        ]),
    );
    let (_, conversation) = understood(&body);
    let schema = conversation.tools[0].parameters.as_ref().expect("a schema");
    let schema: Value = serde_json::from_str(schema.get()).expect("JSON");
    assert_eq!(
        schema,
        json!({
            "type": "object", "required": ["input"], "additionalProperties": false,
            "properties": {"input": {"type": "string", "description": "Must follow this lark grammar:\nstart: X"}},
        }),
    );
}

#[test]
fn a_request_goes_on_from_kept_turns_under_its_own_instructions() {
    let body = json!({"model": "m", "instructions": "new", "input": "and now?", "previous_response_id": "resp_1"});
    let earlier = vec![
        Turn::user("hi"),
        Turn::Assistant(crate::chat::Said {
            text: "hello".into(),
            ..Default::default()
        }),
    ];
    let read =
        conversation_with(&request(&body), earlier.clone(), &|_| None).expect("a conversation");
    assert_eq!(read.turns[0], Turn::system("new"));
    assert_eq!(read.turns[1..3], earlier);
    assert_eq!(read.turns[3], Turn::user("and now?"));
}

/// As Codex 0.169 sends it, shortened.
#[test]
fn an_agents_request_is_read_with_its_namespaces_flat_and_its_search_left_out() {
    let body: Value =
        serde_json::from_str(include_str!("golden/codex.request.json")).expect("JSON");
    let (request, conversation) = understood(&body);
    assert!(request.stream && !request.keep && request.needs.tools && !request.needs.images);
    let names: Vec<&str> = conversation
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "exec_command",
            "apply_patch",
            "multi_agent_v1__close_agent",
            "multi_agent_v1__spawn_agent",
        ]
    );
    assert_eq!(conversation.tool_choice, ToolChoice::Auto);
    assert_eq!(conversation.parallel_calls, Some(true));
    let calls: Vec<&str> = conversation
        .turns
        .iter()
        .flat_map(|turn| match turn {
            Turn::Assistant(said) => said.calls.iter().map(|call| call.name.as_str()).collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(calls, ["exec_command", "multi_agent_v1__spawn_agent"]);
}

#[test]
fn names_fit_hosts_and_stay_apart() {
    let long = "a".repeat(60);
    let body = json!({"model": "m", "input": "hi", "tools": [
        {"type": "namespace", "name": long, "description": "d", "tools": [
            {"type": "function", "name": "one.two"}, {"type": "function", "name": "one_two"}]},
        {"type": "namespace", "name": "mcp__files__", "description": "d", "tools": [{"type": "function", "name": "read"}]},
        {"type": "function", "name": "any.name", "strict": true},
    ]});
    let (_, conversation) = understood(&body);
    let names: Vec<&str> = conversation
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!((names[0], names[3]), ("any.name", "mcp__files__read"));
    assert_ne!(names[1], names[2]);
    assert!(names.iter().all(|name| name.len() <= 64));
    assert_eq!(conversation.tools[1].description.as_deref(), Some("d"));
}

#[test]
fn a_choice_of_tools_is_kept_to() {
    let tools = json!([{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}, {"type": "web_search"}]);
    let read = |choice: Value| {
        let body = json!({"model": "m", "input": "hi", "tools": tools, "tool_choice": choice});
        conversation(&request(&body))
    };
    for (choice, expected) in [
        (json!("auto"), ToolChoice::Auto),
        (json!("none"), ToolChoice::None),
        (json!("required"), ToolChoice::Required),
        (
            json!({"type": "function", "name": "f"}),
            ToolChoice::Named("f".into()),
        ),
        (
            json!({"type": "custom", "name": "c"}),
            ToolChoice::Named("c".into()),
        ),
    ] {
        assert_eq!(read(choice).expect("a choice").tool_choice, expected);
    }
    let allowed = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "c"}, {"type": "web_search"}]});
    let allowed = read(allowed).expect("a choice");
    assert_eq!(allowed.tool_choice, ToolChoice::Required);
    assert_eq!(allowed.tools.len(), 1);
    for choice in [
        json!({"type": "web_search"}),
        json!({"type": "function", "name": "g"}),
        json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}),
        json!("sometimes"),
    ] {
        let refusal = read(choice.clone()).expect_err("a refusal");
        assert_eq!(refusal.field.as_deref(), Some("tool_choice"), "{choice}");
    }
}

#[test]
fn a_schema_and_numbers_pass_as_they_are_written() {
    let body = json!({"model": "m", "input": "hi", "temperature": 0.25, "top_p": 1, "top_logprobs": 3,
        "text": {"format": {"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object"}}}});
    let (_, conversation) = understood(&body);
    let Format::JsonSchema {
        name,
        schema,
        strict,
        ..
    } = conversation.format
    else {
        panic!("a schema");
    };
    assert_eq!(
        (name.as_str(), schema.get(), strict),
        ("n", r#"{"type":"object"}"#, Some(true))
    );
    assert_eq!(
        conversation
            .sampling
            .temperature
            .expect("a number")
            .to_string(),
        "0.25"
    );
    assert_eq!(conversation.logprobs, Some(3));
}

#[test]
fn what_cannot_be_told_to_a_model_is_refused_by_its_place() {
    for (field, item) in [
        ("input[0]", json!({"type": "item_reference", "id": "msg_1"})),
        ("input[0]", json!({"id": "msg_1"})),
        (
            "input[0].type",
            json!({"type": "computer_call", "call_id": "c"}),
        ),
        ("input[0].role", json!({"role": "tool", "content": "x"})),
        (
            "input[0].call_id",
            json!({"type": "function_call", "name": "f", "arguments": "{}"}),
        ),
        (
            "input[0].name",
            json!({"type": "function_call", "call_id": "c", "arguments": "{}"}),
        ),
        (
            "input[0].call_id",
            json!({"type": "function_call_output", "output": "x"}),
        ),
        (
            "input[0].content[0]",
            json!({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}),
        ),
        (
            "input[0].content[0].image_url",
            json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}),
        ),
        (
            "input[0].content[0].type",
            json!({"role": "user", "content": [{"type": "input_audio"}]}),
        ),
        ("input[0].content", json!({"role": "user", "content": 7})),
        ("input[0]", json!(7)),
        ("input", json!({"type": "web_search_call", "id": "ws_1"})),
    ] {
        let refusal = refused(&json!({"model": "m", "input": [item.clone()]}));
        assert_eq!(refusal.field.as_deref(), Some(field), "{item}: {refusal}");
    }
    for (field, tool) in [
        ("tools[0].type", json!({"name": "f"})),
        (
            "tools[0].name",
            json!({"type": "function", "function": {"name": "f"}}),
        ),
        (
            "tools[0].parameters",
            json!({"type": "function", "name": "f", "parameters": []}),
        ),
        (
            "tools.n.tools[0].type",
            json!({"type": "namespace", "name": "n", "description": "", "tools": [{"type": "web_search", "name": "w"}]}),
        ),
    ] {
        let refusal = refused(&json!({"model": "m", "input": "hi", "tools": [tool.clone()]}));
        assert_eq!(refusal.field.as_deref(), Some(field), "{tool}: {refusal}");
    }
    let twice = json!([{"type": "function", "name": "f"}, {"type": "custom", "name": "f"}]);
    let refusal = refused(&json!({"model": "m", "input": "hi", "tools": twice}));
    assert_eq!(refusal.field.as_deref(), Some("tools[1].name"));
}
