//! A reader of Converse requests, and what Converse lacks. Source: botocore's model of
//! `bedrock-runtime`, AWS's Converse API reference.
//!
//! What stands for what it has no word for:
//! - turns of one side in a row: one message;
//! - instructions in mid-conversation: text of the user's in `<system>`;
//! - texts of blanks: nothing, but `(empty)` in a result that must hold something;
//! - arguments that are no object: an object with them as the text `arguments`;
//! - names and ids of other letters: others that stand for them;
//! - thinking of earlier turns: nothing, but where the catalog says that it goes back;
//! - efforts: the model's default where the catalog has no field; the highest is high where there
//!   is a field for that alone;
//! - a seed, one call at a time, a schema's strictness, a strict tool's absence: nothing;
//! - tools that must not be called: nothing; a history of calls without tools: tools of those names.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use super::{Atom, Wanted, Wishes, address, goes_on, said};
use crate::catalog::Quirks;
use crate::chat::{Conversation, Effort, Format, Image, Part, ToolChoice, Turn};

fn blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Why Bedrock cannot be asked this.
pub(super) fn reasons(conversation: &Conversation, quirks: &Quirks) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if conversation.choices > 1 {
        reasons.push("choices");
    }
    if conversation.logprobs.is_some() {
        reasons.push("log probabilities");
    }
    if matches!(conversation.format, Format::JsonObject) {
        reasons.push("JSON of any kind");
    }
    if conversation.effort == Effort::Off && quirks.converse_thinking.off.is_none() {
        reasons.push("no thinking");
    }
    let sampling = &conversation.sampling;
    let beyond = |number: &Option<serde_json::Number>, most: f64| {
        let number = number.as_ref().and_then(serde_json::Number::as_f64);
        number.is_some_and(|number| number > most)
    };
    if beyond(&sampling.temperature, 1.0) {
        reasons.push("temperature");
    }
    if beyond(&sampling.presence_penalty, 0.0) || beyond(&sampling.frequency_penalty, 0.0) {
        reasons.push("penalties");
    }
    if goes_on(conversation) {
        reasons.push("an unfinished answer");
    }
    let called = said(conversation)
        .iter()
        .any(|atom| matches!(atom, Atom::Call { .. }));
    if called && !conversation.tools.is_empty() && conversation.tool_choice == ToolChoice::None {
        reasons.push("tool_choice none");
    }
    let foreign = conversation.turns.iter().any(|turn| match turn {
        Turn::User(parts) | Turn::Result { parts, .. } => parts.iter().any(|part| match part {
            Part::Image(Image::Url(_)) => true,
            Part::Image(Image::Inline { media_type, .. }) => {
                !["image/png", "image/jpeg", "image/gif", "image/webp"]
                    .contains(&media_type.as_str())
            }
            Part::Text(_) => false,
        }),
        _ => false,
    });
    if foreign {
        reasons.push("pictures");
    }
    if !matches!(
        expected(conversation, quirks)
            .iter()
            .find(|atom| !matches!(atom, Atom::System(_))),
        Some(Atom::User(_) | Atom::Picture(_))
    ) {
        reasons.push("no user's turn at its head");
    }
    reasons
}

/// What a reader finds, but for names and ids.
fn expected(conversation: &Conversation, quirks: &Quirks) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for turn in &conversation.turns {
        match turn {
            Turn::System(parts) => {
                for part in parts {
                    if let Part::Text(text) = part {
                        atoms.push(Atom::System(text.clone()));
                    }
                }
            }
            Turn::User(parts) => atoms.extend(parts.iter().map(|part| match part {
                Part::Text(text) => Atom::User(text.clone()),
                Part::Image(image) => Atom::Picture(address(image)),
            })),
            Turn::Assistant(_) | Turn::Result { .. } => {
                let alone = Conversation {
                    turns: vec![turn.clone()],
                    ..Conversation::default()
                };
                atoms.extend(said(&alone));
            }
        }
    }
    atoms.retain(|atom| match atom {
        Atom::System(text) | Atom::User(text) | Atom::Said(text) => !blank(text),
        Atom::Thought(text) => quirks.converse_history_reasoning && !blank(text),
        Atom::Picture(_) | Atom::Call { .. } | Atom::Result { .. } => true,
    });
    atoms
}

/// Checks that the body says all of the conversation.
pub(super) fn same(
    conversation: &Conversation,
    quirks: &Quirks,
    body: &Value,
) -> Result<(), TestCaseError> {
    let mut aliases = Aliases::default();
    let atoms = read(body);
    let expected = expected(conversation, quirks);
    prop_assert_eq!(atoms.len(), expected.len(), "{:?} of {:?}", atoms, expected);
    for (found, meant) in atoms.into_iter().zip(expected) {
        aliases.same(found, meant)?;
    }
    let tools = offered(body);
    let called: Vec<&str> = conversation
        .turns
        .iter()
        .filter_map(|turn| match turn {
            Turn::Assistant(said) => Some(said.calls.iter().map(|call| call.name.as_str())),
            _ => None,
        })
        .flatten()
        .collect();
    if conversation.tools.is_empty() || conversation.tool_choice == ToolChoice::None {
        for name in called {
            let known = tools.iter().any(|tool| aliases.stands_for(&tool.0, name));
            prop_assert!(known, "a tool of the name {name}");
        }
        prop_assert!(body["toolConfig"].get("toolChoice").is_none());
    } else {
        prop_assert_eq!(tools.len(), conversation.tools.len());
        for (found, meant) in tools.iter().zip(&conversation.tools) {
            prop_assert!(aliases.stands_for(&found.0, &meant.name));
            prop_assert_eq!(
                found.1.as_deref(),
                meant.description.as_deref().filter(|text| !blank(text))
            );
            if let Some(schema) = &meant.parameters {
                prop_assert_eq!(&found.2, &super::json(schema.get()));
            }
            prop_assert_eq!(found.3, meant.strict == Some(true));
        }
        let choice = &body["toolConfig"]["toolChoice"];
        match &conversation.tool_choice {
            ToolChoice::Auto | ToolChoice::None => prop_assert!(choice.is_null()),
            ToolChoice::Required => prop_assert!(choice["any"].is_object()),
            ToolChoice::Named(name) => {
                let found = choice["tool"]["name"].as_str().expect("a name");
                prop_assert!(aliases.stands_for(found, name));
            }
        }
    }
    wishes(conversation, quirks, body)
}

fn wishes(conversation: &Conversation, quirks: &Quirks, body: &Value) -> Result<(), TestCaseError> {
    let meant = Wishes::of(conversation);
    let config = &body["inferenceConfig"];
    let number = |field: &str| config.get(field).map(Value::to_string);
    prop_assert_eq!(config["maxTokens"].as_u64(), meant.max_output);
    prop_assert_eq!(number("temperature"), meant.temperature);
    prop_assert_eq!(number("topP"), meant.top_p);
    let stop: Vec<&str> = config["stopSequences"]
        .as_array()
        .map(|stop| stop.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    prop_assert_eq!(stop, meant.stop);
    let format = &body["outputConfig"]["textFormat"];
    match meant.format {
        Wanted::Text => prop_assert!(format.is_null()),
        Wanted::Json => return Err(TestCaseError::fail("JSON of any kind")),
        Wanted::Schema {
            name,
            description,
            schema,
            strict: _,
        } => {
            let found = &format["structure"]["jsonSchema"];
            prop_assert_eq!(&format["type"], "json_schema");
            prop_assert_eq!(&found["name"], &name);
            prop_assert_eq!(found["description"].as_str(), description.as_deref());
            // As text.
            prop_assert_eq!(
                super::json(found["schema"].as_str().expect("a text")),
                schema
            );
        }
    }
    let known = &quirks.converse_thinking;
    let thinking = match conversation.effort {
        Effort::Unsaid => None,
        Effort::Off => known.off.as_ref(),
        Effort::High => known.high.as_ref(),
        Effort::Max => known.max.as_ref().or(known.high.as_ref()),
    };
    let found = body.get("additionalModelRequestFields");
    prop_assert_eq!(found.and_then(Value::as_object), thinking);
    Ok(())
}

/// Names and ids as they were sent, each for one and the same.
#[derive(Default)]
struct Aliases {
    meant: HashMap<String, String>,
}

impl Aliases {
    fn fits(name: &str) -> bool {
        (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    }

    fn stands_for(&mut self, found: &str, meant: &str) -> bool {
        if !Aliases::fits(found) || Aliases::fits(meant) && found != meant {
            return false;
        }
        let known = self
            .meant
            .entry(found.to_owned())
            .or_insert_with(|| meant.to_owned());
        known == meant
    }

    fn same(&mut self, found: Atom, meant: Atom) -> Result<(), TestCaseError> {
        match (found, meant) {
            (
                Atom::Call {
                    id,
                    name,
                    arguments,
                },
                Atom::Call {
                    id: meant_id,
                    name: meant_name,
                    arguments: meant_arguments,
                },
            ) => {
                prop_assert!(self.stands_for(&id, &meant_id), "{} for {}", id, meant_id);
                prop_assert!(self.stands_for(&name, &meant_name));
                let found: Value = super::json(&arguments);
                match serde_json::from_str::<Value>(&meant_arguments) {
                    Ok(meant @ Value::Object(_)) => prop_assert_eq!(found, meant),
                    _ => prop_assert_eq!(&found["arguments"], meant_arguments.trim()),
                }
            }
            (
                Atom::Result {
                    call,
                    failed,
                    text,
                    pictures,
                },
                Atom::Result {
                    call: meant_call,
                    failed: meant_failed,
                    text: meant_text,
                    pictures: meant_pictures,
                },
            ) => {
                prop_assert!(self.stands_for(&call, &meant_call));
                prop_assert_eq!(failed, meant_failed);
                prop_assert_eq!(&pictures, &meant_pictures);
                if blank(&meant_text) {
                    prop_assert!(text.is_empty() || text == "(empty)");
                } else {
                    // Blank pieces between are left out.
                    let without =
                        |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                    prop_assert_eq!(without(&text), without(&meant_text));
                }
            }
            (found, meant) => prop_assert_eq!(found, meant),
        }
        Ok(())
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Name, description, schema, strict.
fn offered(body: &Value) -> Vec<(String, Option<String>, Value, bool)> {
    list(&body["toolConfig"]["tools"])
        .iter()
        .map(|tool| {
            let spec = &tool["toolSpec"];
            (
                text(&spec["name"]),
                spec["description"].as_str().map(str::to_owned),
                spec["inputSchema"]["json"].clone(),
                spec["strict"] == true,
            )
        })
        .collect()
}

fn read(body: &Value) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = list(&body["system"])
        .iter()
        .map(|block| Atom::System(text(&block["text"])))
        .collect();
    let mut awaited: Vec<String> = Vec::new();
    for (at, message) in list(&body["messages"]).iter().enumerate() {
        let user = at % 2 == 0;
        assert_eq!(message["role"], if user { "user" } else { "assistant" });
        let blocks = list(&message["content"]);
        assert!(!blocks.is_empty());
        let mut calls = Vec::new();
        for block in blocks {
            let (kind, inner) = block
                .as_object()
                .and_then(|block| block.iter().next())
                .expect("a union of one");
            match (kind.as_str(), user) {
                ("text", true) => {
                    let said = text(inner);
                    let instructed = said
                        .strip_prefix("<system>\n")
                        .and_then(|said| said.strip_suffix("\n</system>"));
                    atoms.push(match instructed {
                        Some(said) => Atom::System(said.to_owned()),
                        None => Atom::User(said),
                    });
                }
                ("image", true) => atoms.push(Atom::Picture(picture(inner))),
                ("toolResult", true) => {
                    let call = text(&inner["toolUseId"]);
                    assert!(awaited.contains(&call), "a result behind its call");
                    atoms.push(result(call, inner));
                }
                ("text", false) => atoms.push(Atom::Said(text(inner))),
                ("reasoningContent", false) => {
                    atoms.push(Atom::Thought(text(&inner["reasoningText"]["text"])));
                }
                ("toolUse", false) => {
                    assert!(inner["input"].is_object());
                    calls.push(text(&inner["toolUseId"]));
                    atoms.push(Atom::Call {
                        id: text(&inner["toolUseId"]),
                        name: text(&inner["name"]),
                        arguments: inner["input"].to_string(),
                    });
                }
                (kind, _) => panic!("a block of {kind}"),
            }
        }
        awaited = calls;
    }
    atoms
}

fn picture(image: &Value) -> String {
    format!(
        "data:image/{};base64,{}",
        text(&image["format"]),
        text(&image["source"]["bytes"])
    )
}

fn result(call: String, inner: &Value) -> Atom {
    let content = list(&inner["content"]);
    let texts: Vec<String> = content
        .iter()
        .filter(|block| block.get("text").is_some())
        .map(|block| text(&block["text"]))
        .collect();
    Atom::Result {
        call,
        failed: inner["status"] == "error",
        text: texts.join("\n\n"),
        pictures: content
            .iter()
            .filter_map(|block| block.get("image"))
            .map(picture)
            .collect(),
    }
}
