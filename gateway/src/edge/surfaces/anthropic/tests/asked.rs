//! Requests: what a Messages body is in the canonical language, and what is refused.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{conversation, read};
use super::{asked, frames, golden};
use crate::chat::{
    Call, Code, Conversation, Effort, Format, Frames, Image, Part, ToolChoice, Turn,
};

/// A conversation as golden files show it; what is absent or empty is left out.
fn shown(conversation: &Conversation) -> Value {
    let mut shown = Map::new();
    let turns: Vec<Value> = conversation.turns.iter().map(turn).collect();
    shown.insert("turns".into(), Value::Array(turns));
    let mut put = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::Array(values) => values.is_empty(),
            Value::Object(values) => values.is_empty(),
            _ => false,
        };
        if !empty {
            shown.insert(key.into(), value);
        }
    };
    let tools = conversation.tools.iter().map(|tool| {
        json!({"name": tool.name, "description": tool.description,
            "parameters": tool.parameters, "strict": tool.strict})
    });
    put("tools", tools.collect());
    put(
        "tool_choice",
        match &conversation.tool_choice {
            ToolChoice::Auto => Value::Null,
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Named(name) => json!({"named": name}),
        },
    );
    put("parallel_calls", json!(conversation.parallel_calls));
    put(
        "format",
        match &conversation.format {
            Format::Text => Value::Null,
            Format::JsonObject => json!("json_object"),
            Format::JsonSchema {
                name,
                schema,
                strict,
                ..
            } => {
                json!({"name": name, "schema": schema, "strict": strict})
            }
        },
    );
    let sampling = &conversation.sampling;
    put("temperature", json!(sampling.temperature));
    put("top_p", json!(sampling.top_p));
    put("stop", json!(sampling.stop));
    put(
        "effort",
        match conversation.effort {
            Effort::Unsaid => Value::Null,
            Effort::Off => json!("off"),
            Effort::High => json!("high"),
            Effort::Max => json!("max"),
        },
    );
    put("max_output", json!(conversation.max_output));
    put("rest", Value::Object(conversation.rest.clone()));
    assert_eq!(conversation.choices, 1);
    Value::Object(shown)
}

fn turn(turn: &Turn) -> Value {
    match turn {
        Turn::System(of) => json!({"system": parts(of)}),
        Turn::User(of) => json!({"user": parts(of)}),
        Turn::Result {
            call,
            parts: of,
            failed,
        } => {
            let mut shown = json!({"result_of": call, "parts": parts(of)});
            if *failed {
                shown["failed"] = json!(true);
            }
            shown
        }
        Turn::Assistant(said) => {
            let mut shown = Map::new();
            if let Some(reasoning) = &said.reasoning {
                shown.insert("reasoning".into(), json!(reasoning));
            }
            if !said.text.is_empty() {
                shown.insert("text".into(), json!(said.text));
            }
            if !said.calls.is_empty() {
                let call = |call: &Call| json!([call.id, call.name, call.arguments]);
                shown.insert("calls".into(), said.calls.iter().map(call).collect());
            }
            if said.unfinished {
                shown.insert("unfinished".into(), json!(true));
            }
            json!({"assistant": shown})
        }
    }
}

fn parts(parts: &[Part]) -> Value {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => json!(text),
            Part::Image(Image::Url(url)) => json!({"image": url}),
            Part::Image(Image::Inline { media_type, data }) => {
                json!({"image": format!("{media_type} {data}")})
            }
        })
        .collect()
}

#[test]
fn each_golden_request_reads_as_it_says() {
    for (name, file) in golden("asked") {
        let (_, conversation) = asked(&file["request"]);
        let shown = shown(&conversation);
        assert_eq!(shown, file["conversation"], "{name} reads as {shown:#}");
    }
}

fn refusal(messages: Value) -> (String, String) {
    refusal_of(json!({"messages": messages}))
}

/// Why a body with these fields is refused: the place and the words.
fn refusal_of(fields: Value) -> (String, String) {
    let mut body = json!({"model": "m", "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in fields.as_object().expect("fields") {
        body[key] = value.clone();
    }
    let request = read(frames(&body)).expect("read lightly");
    let refusal = conversation(&request).expect_err("refused");
    (refusal.field.unwrap_or_default(), refusal.message)
}

#[test]
fn what_has_no_counterpart_is_refused_by_its_place_and_name() {
    let user = |block: Value| json!([{"role": "user", "content": ["x", block]}]);
    let block = |block: Value| {
        let text = json!({"type": "text", "text": "see"});
        json!([{"role": "user", "content": [text, block]}])
    };
    for (messages, place, word) in [
        (
            block(json!({"type": "document", "source": {"type": "base64",
                "media_type": "application/pdf", "data": "JVBERi0="}})),
            "messages.0.content.1.source",
            "base64",
        ),
        (
            block(json!({"type": "document", "source": {"type": "file", "file_id": "f"}})),
            "messages.0.content.1.source",
            "file",
        ),
        (
            block(
                json!({"type": "document", "source": {"type": "content", "content": [
                {"type": "document", "source": {"type": "text", "data": "x"}}]}}),
            ),
            "messages.0.content.1.source.content.0",
            "no documents",
        ),
        (
            block(json!({"type": "image", "source": {"type": "file", "file_id": "f"}})),
            "messages.0.content.1.source",
            "file",
        ),
        (
            block(
                json!({"type": "search_result", "source": "https://x", "title": "t",
                "content": [{"type": "text", "text": "found"}]}),
            ),
            "messages.0.content.1",
            "search_result",
        ),
        (
            block(json!({"type": "container_upload", "file_id": "f"})),
            "messages.0.content.1",
            "container_upload",
        ),
        (
            block(
                json!({"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "tool_reference", "tool_name": "x"}]}),
            ),
            "messages.0.content.1.content.0",
            "tool_reference",
        ),
        (
            json!([{"role": "assistant", "content": [
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}]}]),
            "messages.0.content.0",
            "server_tool_use",
        ),
        (
            block(json!({"type": "text"})),
            "messages.0.content.1",
            "text",
        ),
        (user(json!(5)), "messages.0", "an object with a `type`"),
        (
            json!([{"role": "tool", "content": "x"}]),
            "messages.0",
            "tool",
        ),
        (
            json!([{"role": "user", "content": "a"}, {"role": "user", "content": 7}]),
            "messages.1",
            "a string or an array of blocks",
        ),
        (json!([{"role": "user"}]), "messages.0", "content"),
    ] {
        let (field, message) = refusal(messages.clone());
        assert_eq!(field, place, "{messages}: {message}");
        assert!(message.contains(word), "{messages}: {message}");
        assert!(message.starts_with(place), "{message}");
    }
}

#[test]
fn tools_of_anthropics_own_are_refused_by_name() {
    for kind in [
        "web_search_20250305",
        "bash_20250124",
        "tool_search_tool_regex_20251119",
    ] {
        let own = json!({"name": "mine", "input_schema": {"type": "object"}});
        let (field, message) = refusal_of(json!({"tools": [own, {"type": kind, "name": "n"}]}));
        assert_eq!(field, "tools.1");
        assert!(message.contains(kind), "{message}");
    }
}

#[test]
fn other_mistakes_name_their_place_too() {
    for (fields, place) in [
        (json!({"tools": [{"name": 5}]}), "tools.0"),
        (json!({"tools": [{"input_schema": {}}]}), "tools.0"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice"),
        (json!({"tool_choice": {"type": "sometimes"}}), "tool_choice"),
        (
            json!({"output_config": {"format": {"type": "xml"}}}),
            "output_config.format",
        ),
        (
            json!({"system": [{"type": "image", "source": {}}]}),
            "system.0",
        ),
    ] {
        let (field, message) = refusal_of(fields.clone());
        assert_eq!(field, place, "{fields}: {message}");
    }
}

#[test]
fn a_body_that_is_not_utf8_is_refused() {
    let text = b"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}";
    let request = read(Bytes::from_static(text).into()).expect("read lightly");
    let refusal = conversation(&request).expect_err("not UTF-8");
    assert!(refusal.message.contains("UTF-8"), "{}", refusal.message);
}

#[test]
fn the_attribution_heads_no_prompt_in_either_form_of_instructions() {
    let system = |system: Value| {
        let (_, conversation) = asked(&json!({"model": "m", "max_tokens": 1, "system": system,
            "messages": [{"role": "user", "content": "hi"}]}));
        turn(&conversation.turns[0])
    };
    let header = "x-anthropic-billing-header: cc_version=2.1.100.a; cch=1f3;";
    assert_eq!(
        system(json!(format!("{header}\nBe kind."))),
        json!({"system": ["Be kind."]})
    );
    assert_eq!(
        system(json!([{"type": "text", "text": header}])),
        json!({"user": ["hi"]}),
        "instructions of nothing are none"
    );
    let quoted = format!("Say {header}");
    assert_eq!(system(json!(quoted)), json!({"system": [quoted]}));
}

/// Walks down a value by the picks and puts `with` where they end.
fn replace(value: &mut Value, picks: &[prop::sample::Index], with: Value) {
    let Some((pick, rest)) = picks.split_first() else {
        *value = with;
        return;
    };
    let inner = match value {
        Value::Array(values) if !values.is_empty() => {
            let at = pick.index(values.len());
            values.get_mut(at)
        }
        Value::Object(fields) if !fields.is_empty() => {
            let at = pick.index(fields.len());
            fields.values_mut().nth(at)
        }
        _ => None,
    };
    match inner {
        Some(inner) => replace(inner, rest, with),
        None => *value = with,
    }
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(1.5)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[{}]])),
        Just(json!({"type": "text", "text": "x"})),
        Just(json!([{"type": "image"}])),
        Just(json!("tool_result")),
        "[a-z]{0,4}".prop_map(Value::from),
    ]
}

proptest! {
    /// Whatever stands wherever: it is read, or refused as the caller's mistake.
    #[test]
    fn a_body_with_anything_anywhere_is_read_or_refused(
        file in any::<prop::sample::Index>(),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..8),
        with in anything(),
    ) {
        let files = golden("asked");
        let mut body = files[file.index(files.len())].1["request"].clone();
        replace(&mut body, &picks, with);
        let refusal = read(frames(&body)).and_then(|request| conversation(&request)).err();
        if let Some(refusal) = refusal {
            prop_assert_eq!(refusal.code, Code::InvalidRequest);
            prop_assert!(!refusal.message.contains("struct "), "{}", refusal.message);
        }
    }

    #[test]
    fn a_body_reads_the_same_wherever_it_was_cut(every in 1_usize..200) {
        for (name, file) in golden("asked") {
            let mut cut = Frames::default();
            for part in file["request"].to_string().as_bytes().chunks(every) {
                cut.push(Bytes::copy_from_slice(part));
            }
            let conversation = conversation(&read(cut).expect("a request")).expect("read");
            prop_assert_eq!(shown(&conversation), file["conversation"].clone(), "{}", name);
        }
    }
}
