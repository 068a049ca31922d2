//! Conversations, and the bodies that they become.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Number, json as value};

use super::*;
use crate::backend::wires::{Asked, CannotSay};
use crate::catalog::Quirks;
use crate::chat::{Conversation, Effort, Format, Image, Part, Sampling, Tokens, Tool, ToolChoice};

fn asked(quirks: &Quirks) -> Asked<'_> {
    Asked {
        model: "deepseek.v4-pro",
        quirks,
        stream: false,
        bound: None,
        tenant: "t",
    }
}

fn sent_with(conversation: &Conversation, asked: Asked<'_>) -> Result<Value, CannotSay> {
    let outgoing = body(conversation, asked)?;
    let bytes = outgoing.body.slice(0..outgoing.body.len());
    Ok(serde_json::from_slice(&bytes).expect("JSON"))
}

fn sent(conversation: &Conversation) -> Result<Value, CannotSay> {
    sent_with(conversation, asked(&Quirks::default()))
}

fn refused(conversation: &Conversation) -> String {
    sent(conversation).expect_err("nothing to say it with").0
}

/// The body must be what the file of that name says.
fn golden(name: &str, conversation: &Conversation) {
    golden_with(name, conversation, &Quirks::default());
}

fn golden_with(name: &str, conversation: &Conversation, quirks: &Quirks) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/backend/wires/bedrock/goldens")
        .join(format!("{name}.json"));
    let sent = sent_with(conversation, asked(quirks)).expect("a body");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let golden = serde_json::from_str::<Value>(&written).unwrap_or_default();
    assert_eq!(sent, golden, "{name}.json is not what is sent: {sent:#}");
}

fn of(turns: Vec<Turn>) -> Conversation {
    Conversation {
        turns,
        choices: 1,
        ..Conversation::default()
    }
}

fn raw(value: &Value) -> Arc<RawValue> {
    Arc::from(to_raw_value(value).expect("JSON"))
}

fn weather() -> Tool {
    Tool {
        name: "get_weather".into(),
        description: Some("The weather at a place now.".into()),
        parameters: Some(raw(&value!({
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
        }))),
        strict: Some(true),
    }
}

fn result(call: &str, text: &str) -> Turn {
    Turn::Result {
        call: call.to_owned(),
        parts: vec![Part::Text(text.to_owned())],
        failed: false,
    }
}

fn said(text: &str) -> Turn {
    Turn::Assistant(Said {
        text: text.to_owned(),
        ..Said::default()
    })
}

#[test]
fn a_question_with_instructions_and_numbers() {
    let conversation = Conversation {
        sampling: Sampling {
            temperature: Number::from_f64(0.7),
            top_p: Number::from_f64(0.95),
            seed: Some(7),
            presence_penalty: Some(0.into()),
            stop: vec!["END".into(), String::new()],
            ..Sampling::default()
        },
        max_output: Some(Tokens::new(500)),
        ..of(vec![
            Turn::system("Answer in one sentence."),
            Turn::system("Be kind."),
            Turn::user("What is a gateway?"),
        ])
    };
    golden("question", &conversation);
}

#[test]
fn calls_and_their_results_there_and_back() {
    let conversation = Conversation {
        tools: vec![weather()],
        tool_choice: ToolChoice::Named("get_weather".into()),
        ..of(vec![
            Turn::user("Turku and Oslo?"),
            Turn::Assistant(Said {
                reasoning: Some("Two calls.".into()),
                text: "I shall look.".into(),
                calls: vec![
                    call("tooluse_1", "get_weather", r#"{"place": "Turku"}"#),
                    call("tooluse_2", "get_weather", r#"{"place": "Oslo"}"#),
                ],
                unfinished: false,
            }),
            result("tooluse_1", r#"{"sky": "clear"}"#),
            Turn::user("Hurry up."),
            Turn::Result {
                call: "tooluse_2".into(),
                parts: vec![Part::Text("no such place".into())],
                failed: true,
            },
        ])
    };
    golden("calls", &conversation);
    let quirks = Quirks {
        converse_history_reasoning: true,
        ..Quirks::default()
    };
    golden_with("calls_with_reasoning", &conversation, &quirks);
}

#[test]
fn turns_of_one_role_are_one_turn_and_later_instructions_are_the_users() {
    let conversation = of(vec![
        Turn::system("Rules."),
        Turn::user("One."),
        Turn::user("Two."),
        said("Three."),
        said(" "),
        said("Four."),
        Turn::system("From now on in verse."),
        Turn::user("Five."),
        Turn::User(vec![]),
    ]);
    golden("neighbours", &conversation);
}

#[test]
fn images_go_in_themselves() {
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let image = Image::Inline {
        media_type: "image/PNG".into(),
        data: png.into(),
    };
    let conversation = of(vec![
        Turn::User(vec![
            Part::Text("What is this?".into()),
            Part::Image(image.clone()),
        ]),
        calls(&[call("c1", "look", "")]),
        Turn::Result {
            call: "c1".into(),
            parts: vec![Part::Image(image)],
            failed: false,
        },
    ]);
    golden("images", &conversation);
    let with = |image: Image| refused(&of(vec![Turn::User(vec![Part::Image(image)])]));
    let by_address = with(Image::Url("https://example.com/a.png".into()));
    assert!(by_address.contains("base64"), "{by_address}");
    let tiff = with(Image::Inline {
        media_type: "image/tiff".into(),
        data: "AA==".into(),
    });
    assert!(tiff.contains("image/tiff"), "{tiff}");
}

#[test]
fn an_answer_by_a_schema() {
    let conversation = Conversation {
        format: Format::JsonSchema {
            name: "days".into(),
            description: Some("How many.".into()),
            schema: raw(&value!({"type": "object", "properties": {"days": {"type": "integer"}}})),
            strict: Some(true),
        },
        ..of(vec![Turn::user("How many days?")])
    };
    golden("schema", &conversation);
}

#[test]
fn a_history_of_calls_without_tools_gets_tools_in_name() {
    let long = "x".repeat(90);
    let conversation = of(vec![
        Turn::user("Go."),
        calls(&[
            call("call:1", "mcp.files/read", "[1]"),
            call(&long, "plain", "{\"broken\": "),
        ]),
        result("call:1", ""),
        result(&long, "ok"),
    ]);
    golden("foreign_names", &conversation);
}

#[test]
fn thinking_is_switched_by_what_the_catalog_knows() {
    let quirks: Quirks = Quirks {
        converse_thinking: serde_json::from_value(value!({
            "off": {"thinking": {"type": "disabled"}},
            "high": {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        }))
        .expect("fields"),
        ..Quirks::default()
    };
    let with = |effort, quirks: &Quirks| {
        let conversation = Conversation {
            effort,
            ..of(vec![Turn::user("Hm.")])
        };
        sent_with(&conversation, asked(quirks))
            .map(|body| body["additionalModelRequestFields"].clone())
    };
    assert_eq!(
        with(Effort::Off, &quirks),
        Ok(value!({"thinking": {"type": "disabled"}}))
    );
    let high = value!({"thinking": {"type": "enabled"}, "reasoning_effort": "high"});
    assert_eq!(with(Effort::High, &quirks), Ok(high.clone()));
    assert_eq!(with(Effort::Max, &quirks), Ok(high));
    assert_eq!(with(Effort::Unsaid, &quirks), Ok(Value::Null));
    assert_eq!(with(Effort::High, &Quirks::default()), Ok(Value::Null));
    let off = with(Effort::Off, &Quirks::default()).expect_err("no field for it");
    assert!(off.0.contains("converse_thinking.off"), "{off}");
}

#[test]
fn a_bound_is_set_where_the_caller_set_none() {
    let quirks = Quirks::default();
    let bounded = Asked {
        bound: Some(Tokens::new(64)),
        ..asked(&quirks)
    };
    let mut conversation = of(vec![Turn::user("Hm.")]);
    let body = sent_with(&conversation, bounded).expect("a body");
    assert_eq!(body["inferenceConfig"], value!({"maxTokens": 64}));
    conversation.max_output = Some(Tokens::new(9));
    let body = sent_with(&conversation, bounded).expect("a body");
    assert_eq!(body["inferenceConfig"], value!({"maxTokens": 9}));
    assert_eq!(
        sent(&of(vec![Turn::user("Hm.")])),
        Ok(value!({"messages": [{"role": "user", "content": [{"text": "Hm."}]}]}))
    );
}

#[test]
fn tools_that_must_not_be_called_are_not_mentioned() {
    let mut conversation = Conversation {
        tools: vec![weather()],
        tool_choice: ToolChoice::None,
        ..of(vec![Turn::user("Hm.")])
    };
    let body = sent(&conversation).expect("a body");
    assert_eq!(body.get("toolConfig"), None);
    conversation.tool_choice = ToolChoice::Required;
    let body = sent(&conversation).expect("a body");
    assert_eq!(body["toolConfig"]["toolChoice"], value!({"any": {}}));
    conversation.tool_choice = ToolChoice::Auto;
    let body = sent(&conversation).expect("a body");
    assert_eq!(body["toolConfig"].get("toolChoice"), None);
    conversation.turns.extend([
        calls(&[call("c", "get_weather", "{}")]),
        result("c", "clear"),
    ]);
    conversation.tool_choice = ToolChoice::None;
    assert!(refused(&conversation).contains("tool_choice none"));
}

#[test]
fn what_converse_has_no_words_for_is_refused_in_words_for_the_caller() {
    let hm = || of(vec![Turn::user("Hm.")]);
    let sampling = |sampling| Conversation { sampling, ..hm() };
    for (conversation, word) in [
        (Conversation { choices: 2, ..hm() }, "choice"),
        (
            Conversation {
                logprobs: Some(3),
                ..hm()
            },
            "log probabilities",
        ),
        (
            Conversation {
                format: Format::JsonObject,
                ..hm()
            },
            "JSON",
        ),
        (
            sampling(Sampling {
                temperature: Number::from_f64(1.3),
                ..Sampling::default()
            }),
            "temperature",
        ),
        (
            sampling(Sampling {
                frequency_penalty: Number::from_f64(0.5),
                ..Sampling::default()
            }),
            "penalties",
        ),
        (of(vec![Turn::system("Alone.")]), "user's turn"),
        (of(vec![said("Hello!"), Turn::user("Hi.")]), "begins"),
        (of(vec![Turn::user("Hm."), result("c9", "x")]), "`c9`"),
        (
            of(vec![
                Turn::user("Hm."),
                Turn::Assistant(Said {
                    text: "So".into(),
                    unfinished: true,
                    ..Said::default()
                }),
            ]),
            "beginning",
        ),
    ] {
        let refused = refused(&conversation);
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn a_stream_is_asked_for_by_its_path_and_its_type() {
    assert_eq!(
        path("deepseek.v3-v1:0", false),
        "/model/deepseek.v3-v1%3A0/converse"
    );
    assert_eq!(
        path(
            "arn:aws:bedrock:eu-north-1:123456789012:application-inference-profile/a b",
            true
        ),
        "/model/arn%3Aaws%3Abedrock%3Aeu-north-1%3A123456789012%3Aapplication-inference-profile%2Fa%20b/converse-stream"
    );
    let quirks = Quirks::default();
    let streamed = Asked {
        stream: true,
        ..asked(&quirks)
    };
    let outgoing = body(&of(vec![Turn::user("Hm.")]), streamed).expect("a body");
    assert_eq!(
        outgoing.headers["accept"],
        "application/vnd.amazon.eventstream"
    );
}

/// Putting each result before the text that came first would cost the square of their number.
#[test]
fn very_many_results_go_before_the_text_of_their_turn() {
    const MANY: usize = 40_000;
    let ids: Vec<String> = (0..MANY).map(|at| format!("t{at}")).collect();
    let made: Vec<Call> = ids.iter().map(|id| call(id, "f", "{}")).collect();
    let mut turns = vec![Turn::user("x"), calls(&made)];
    turns.extend((0..MANY).map(|_| Turn::user("and")));
    turns.extend(ids.iter().map(|id| result(id, "1")));
    let sent = sent(&of(turns)).expect("a body");
    let content = sent["messages"][2]["content"].as_array().expect("blocks");
    assert_eq!(content.len(), 2 * MANY);
    for (block, id) in content.iter().zip(&ids) {
        assert_eq!(block["toolResult"]["toolUseId"], **id);
    }
    assert_eq!(content[MANY]["text"], "and");
}
