//! What routing learns from a body.

use serde_json::json;

use super::*;

#[test]
fn the_fields_that_routing_needs_are_found() {
    let request = request(&json!({
        "model": "deepseek-v4-pro", "input": "hi", "stream": true, "max_output_tokens": 50,
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}],
        "tool_choice": "required", "reasoning": {"effort": "max"}, "store": false,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "include": ["message.output_text.logprobs"], "x_unknown": {"a": 1},
    }));
    assert_eq!(request.model, "deepseek-v4-pro");
    assert!(request.stream && request.usage_wanted && !request.keep);
    assert_eq!(request.max_output, Some(Tokens::new(50)));
    let needs = request.needs;
    assert!(needs.tools && needs.forced_tools && needs.json_schema && needs.logprobs);
    assert_eq!(request.effort, Effort::Max);
    assert_eq!(request.original.dialect, Dialect::OpenaiResponses);
}

#[test]
fn null_means_absent_and_an_answer_is_kept_unless_the_caller_says_no() {
    let request = request(&json!({
        "model": "m", "input": "hi", "stream": null, "max_output_tokens": null, "tools": null,
        "tool_choice": null, "text": null, "reasoning": null, "store": null, "background": null,
        "previous_response_id": null, "conversation": null, "prompt": null, "include": null,
    }));
    assert!(request.keep && !request.stream && !request.needs.tools);
    assert_eq!((request.follows, request.effort), (None, Effort::Unsaid));
}

#[test]
fn a_request_that_follows_an_answer_needs_no_input() {
    let request = request(&json!({"model": "m", "previous_response_id": "resp_1"}));
    assert_eq!(request.follows.as_deref(), Some("resp_1"));
}

#[test]
fn each_effort_has_its_counterpart() {
    for (word, effort) in [
        ("none", Effort::Off),
        ("minimal", Effort::High),
        ("low", Effort::High),
        ("medium", Effort::High),
        ("high", Effort::High),
        ("xhigh", Effort::High),
        ("max", Effort::Max),
    ] {
        let request = request(&json!({"model": "m", "input": "hi", "reasoning": {"effort": word}}));
        assert_eq!(request.effort, effort, "{word}");
    }
}

#[test]
fn a_picture_in_the_input_is_noticed_and_a_tools_argument_of_that_name_is_none() {
    let schema = json!({"type": "object", "properties": {"image_url": {"type": "string"}}});
    let tools = json!([{"type": "function", "name": "f", "parameters": schema}]);
    let without = request(&json!({"model": "m", "input": "hi", "tools": tools}));
    assert!(!without.needs.images);
    let part = json!({"type": "input_image", "image_url": "https://example.com/a.png"});
    let with = request(&json!({"model": "m", "input": [{"role": "user", "content": [part]}]}));
    assert!(with.needs.images);
}

#[test]
fn tools_that_nobody_here_runs_are_not_asked_of_a_host() {
    let request = request(&json!({"model": "m", "input": "hi", "tools": [{"type": "web_search"}]}));
    assert!(!request.needs.tools);
}

#[test]
fn each_mistake_names_its_field() {
    for (field, body) in [
        ("model", json!({"input": "hi"})),
        ("model", json!({"model": 5, "input": "hi"})),
        ("input", json!({"model": "m"})),
        ("input", json!({"model": "m", "input": []})),
        ("input", json!({"model": "m", "input": {"role": "user"}})),
        (
            "stream",
            json!({"model": "m", "input": "hi", "stream": "yes"}),
        ),
        (
            "max_output_tokens",
            json!({"model": "m", "input": "hi", "max_output_tokens": 0}),
        ),
        (
            "max_output_tokens",
            json!({"model": "m", "input": "hi", "max_output_tokens": -1}),
        ),
        (
            "top_logprobs",
            json!({"model": "m", "input": "hi", "top_logprobs": 21}),
        ),
        (
            "temperature",
            json!({"model": "m", "input": "hi", "temperature": "hot"}),
        ),
        ("tools", json!({"model": "m", "input": "hi", "tools": {}})),
        (
            "reasoning.effort",
            json!({"model": "m", "input": "hi", "reasoning": {"effort": "most"}}),
        ),
        (
            "text.format",
            json!({"model": "m", "input": "hi", "text": {"format": {"type": "xml"}}}),
        ),
        (
            "background",
            json!({"model": "m", "input": "hi", "background": true}),
        ),
        (
            "conversation",
            json!({"model": "m", "input": "hi", "conversation": "conv_1"}),
        ),
        ("prompt", json!({"model": "m", "prompt": {"id": "pmpt_1"}})),
        (
            "context_management",
            json!({"model": "m", "input": "hi", "context_management": [{"type": "compaction"}]}),
        ),
        (
            "moderation",
            json!({"model": "m", "input": "hi", "moderation": {"model": "x"}}),
        ),
    ] {
        let refusal = asked(&body).expect_err("a mistake");
        assert_eq!(refusal.code, Code::InvalidRequest, "{body}");
        assert_eq!(refusal.field.as_deref(), Some(field), "{body}: {refusal}");
    }
    let twice = read(Frames::from(Bytes::from(
        r#"{"model":"m","input":"a","input":"b"}"#,
    )));
    assert_eq!(twice.expect_err("twice").field.as_deref(), Some("input"));
}
