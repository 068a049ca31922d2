//! A reader of chat completion requests, and what hosts of that dialect lack. Source: OpenAI's chat
//! completion reference, and each host's own pages as its catalog file names them.
//!
//! What stands for what the dialect has no word for:
//! - several texts in a turn: one text, with blank lines between;
//! - pictures that a tool brought: a message of the user's behind the results, which names the call;
//! - a failed result: a line before its text;
//! - JSON at hosts that want it spoken of, and schemas at hosts that take none: words in the first
//!   instructions;
//! - thinking: not sent to hosts that refuse it in history, and a space to one that wants it back
//!   from a turn whose thinking nobody has;
//! - efforts: high is the default of hosts that cannot be told; a forced call at a host that would
//!   not think before one goes without thinking where the caller left it unsaid.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use super::{Atom, Wanted, Wishes, goes_on, said};
use crate::catalog::{
    Continues, HistoryReasoning, MissingReasoning, Quirks, SchemaFallback, ThinkingControl,
    ToolChoiceForm,
};
use crate::chat::{Conversation, Effort, Format, ToolChoice, Turn};

/// Why such a host cannot be asked this.
pub(super) fn reasons(conversation: &Conversation, quirks: &Quirks) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let tools = !conversation.tools.is_empty();
    let takes =
        |form: ToolChoiceForm| quirks.tool_choice.is_empty() || quirks.tool_choice.contains(&form);
    let only = conversation.tools.len() == 1;
    let forced = tools
        && matches!(
            conversation.tool_choice,
            ToolChoice::Required | ToolChoice::Named(_)
        );
    if forced {
        // Of one tool, both forms mean the same.
        let sayable = match conversation.tool_choice {
            ToolChoice::Required => {
                takes(ToolChoiceForm::Required) || only && takes(ToolChoiceForm::Named)
            }
            _ => takes(ToolChoiceForm::Named) || only && takes(ToolChoiceForm::Required),
        };
        if !sayable {
            reasons.push("tool_choice");
        }
    }
    let effort = conversation.effort;
    if forced
        && quirks.forced_tools_need_thinking_off
        && matches!(effort, Effort::High | Effort::Max)
    {
        reasons.push("thinking before a forced call");
    }
    let wanted = wanted(conversation, quirks);
    let untold = matches!(
        quirks.thinking,
        ThinkingControl::Unsettled | ThinkingControl::None
    );
    match wanted {
        Effort::Max if untold || quirks.effort.max.is_none() => reasons.push("the highest effort"),
        Effort::Off if untold => reasons.push("no thinking"),
        Effort::Off
            if quirks.thinking == ThinkingControl::ReasoningEffort
                && quirks.effort.off.is_none() =>
        {
            reasons.push("no thinking");
        }
        _ => {}
    }
    if goes_on(conversation) && quirks.continues == Continues::None {
        reasons.push("an unfinished answer");
    }
    if let Some(Turn::Assistant(said)) = conversation.turns.last()
        && said.unfinished
        && said.text.is_empty()
        && thought(said)
    {
        reasons.push("unfinished thinking");
    }
    if quirks
        .max_stop
        .is_some_and(|most| conversation.sampling.stop.len() > most as usize)
    {
        reasons.push("so many stop strings");
    }
    if quirks.no_tools_with_format && tools && !matches!(conversation.format, Format::Text) {
        reasons.push("tools with a format");
    }
    if wants_thinking_back(conversation, quirks)
        && quirks.missing_reasoning == MissingReasoning::Refuse
        && conversation
            .turns
            .iter()
            .any(|turn| matches!(turn, Turn::Assistant(said) if !thought(said)))
    {
        reasons.push("lost thinking");
    }
    reasons
}

fn thought(said: &crate::chat::Said) -> bool {
    said.reasoning.as_ref().is_some_and(|text| !text.is_empty())
}

/// The effort that such a host is to be told.
fn wanted(conversation: &Conversation, quirks: &Quirks) -> Effort {
    let forced = !conversation.tools.is_empty()
        && matches!(
            conversation.tool_choice,
            ToolChoice::Required | ToolChoice::Named(_)
        );
    match conversation.effort {
        Effort::Unsaid if forced && quirks.forced_tools_need_thinking_off => Effort::Off,
        effort => effort,
    }
}

/// Whether every earlier turn of the assistant must carry its thinking.
fn wants_thinking_back(conversation: &Conversation, quirks: &Quirks) -> bool {
    quirks.history_reasoning == HistoryReasoning::RequiredWithTools
        && !conversation.tools.is_empty()
        && wanted(conversation, quirks) != Effort::Off
        && conversation.turns.iter().any(
            |turn| matches!(turn, Turn::Assistant(said) if thought(said) || !said.calls.is_empty()),
        )
}

/// Checks that the body says all of the conversation.
pub(super) fn same(
    conversation: &Conversation,
    quirks: &Quirks,
    body: &Value,
) -> Result<(), TestCaseError> {
    let (mut atoms, wishes) = read(body);
    let mut expected = Wishes::of(conversation);
    expected.effort = told(wanted(conversation, quirks), quirks);
    if conversation.tools.is_empty() {
        // Of tools that are none there is nothing to say.
        expected.choice = ToolChoice::Auto;
        expected.parallel = None;
    }
    let takes_none =
        quirks.tool_choice.is_empty() || quirks.tool_choice.contains(&ToolChoiceForm::None);
    if expected.choice == ToolChoice::None && !takes_none {
        // Tools that must not be called need not be there.
        expected.choice = ToolChoice::Auto;
        expected.tools = Vec::new();
        expected.parallel = None;
    }
    if let (ToolChoice::Required | ToolChoice::Named(_), [only]) =
        (&expected.choice, expected.tools.as_slice())
    {
        // Of one tool, both forms mean the same.
        prop_assert!(
            wishes.choice == ToolChoice::Required
                || wishes.choice == ToolChoice::Named(only.0.clone())
        );
        expected.choice = wishes.choice.clone();
    }
    if quirks.logprobs_count {
        // A number of alternatives, which cannot be 0.
        expected.logprobs = expected.logprobs.map(|count| count.max(1));
    }
    let hint = hint(conversation, quirks, &mut expected);
    if let Some(schema) = hint {
        // The first instructions end with it.
        let Some(Atom::System(first)) = atoms.first_mut() else {
            return Err(TestCaseError::fail("JSON is not spoken of"));
        };
        let at = first
            .find("Answer with one JSON object")
            .expect("a word of JSON");
        prop_assert!(schema.is_none_or(|schema| first[at..].ends_with(&schema)));
        first.truncate(at);
        match first.strip_suffix("\n\n") {
            Some(before) => *first = before.to_owned(),
            None => {
                // No instructions of the caller's, or empty ones.
                prop_assert!(first.is_empty());
                if !matches!(conversation.turns.first(), Some(Turn::System(_))) {
                    atoms.remove(0);
                }
            }
        }
    }
    let mut spoken = said(conversation);
    match quirks.history_reasoning {
        HistoryReasoning::Accepted => {}
        HistoryReasoning::RequiredWithTools if wants_thinking_back(conversation, quirks) => {
            // A space where nobody has it.
            let mut at = 0;
            while at < spoken.len() {
                let after_thought = at > 0 && matches!(spoken[at - 1], Atom::Thought(_));
                if matches!(spoken[at], Atom::Said(_)) && !after_thought {
                    spoken.insert(at, Atom::Thought(" ".to_owned()));
                    at += 1;
                }
                at += 1;
            }
        }
        HistoryReasoning::Refused | HistoryReasoning::RequiredWithTools => {
            spoken.retain(|atom| !matches!(atom, Atom::Thought(_)));
        }
    }
    prop_assert_eq!(atoms, spoken);
    prop_assert_eq!(wishes, expected);
    Ok(())
}

/// What a host understands of an effort that it is told as far as it can be.
fn told(effort: Effort, quirks: &Quirks) -> Effort {
    let silent = match quirks.thinking {
        ThinkingControl::Unsettled | ThinkingControl::None => true,
        ThinkingControl::ReasoningEffort => quirks.effort.high.is_none(),
        _ => false,
    };
    match effort {
        Effort::High if silent => Effort::Unsaid,
        effort => effort,
    }
}

/// Whether the host must be told of JSON in words, and of which schema.
fn hint(
    conversation: &Conversation,
    quirks: &Quirks,
    expected: &mut Wishes,
) -> Option<Option<String>> {
    match &conversation.format {
        Format::JsonSchema { schema, .. }
            if quirks.json_schema_fallback == SchemaFallback::JsonObject =>
        {
            expected.format = Wanted::Json;
            Some(Some(schema.get().to_owned()))
        }
        Format::JsonObject if quirks.json_prompt => {
            let spoken = said(conversation).iter().any(|atom| match atom {
                Atom::System(text) | Atom::User(text) => text.to_lowercase().contains("json"),
                _ => false,
            });
            (!spoken).then_some(None)
        }
        _ => None,
    }
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{what} is no text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// All of a request's body.
fn read(body: &Value) -> (Vec<Atom>, Wishes) {
    let mut atoms = Vec::new();
    let messages = list(&body["messages"]);
    let mut at = 0;
    while let Some(message) = messages.get(at) {
        at += 1;
        let content = &message["content"];
        match text(&message["role"], "role") {
            "system" => atoms.push(Atom::System(text(content, "content").to_owned())),
            "user" if content.is_string() => {
                atoms.push(Atom::User(text(content, "content").to_owned()));
            }
            "user" => atoms.extend(list(content).iter().map(part)),
            "assistant" => assistant(message, &mut atoms),
            "tool" => {
                at -= 1;
                at += results(&messages[at..], &mut atoms);
            }
            role => panic!("a message of {role}"),
        }
    }
    (atoms, wishes(body))
}

fn part(part: &Value) -> Atom {
    match text(&part["type"], "type") {
        "text" => Atom::User(text(&part["text"], "text").to_owned()),
        "image_url" => Atom::Picture(text(&part["image_url"]["url"], "url").to_owned()),
        kind => panic!("a part of {kind}"),
    }
}

fn assistant(message: &Value, atoms: &mut Vec<Atom>) {
    for field in ["reasoning_content", "reasoning"] {
        if let Some(thought) = message[field].as_str() {
            atoms.push(Atom::Thought(thought.to_owned()));
        }
    }
    let calls = list(&message["tool_calls"]);
    // Only beside calls may there be no content.
    let content = &message["content"];
    let said = if content.is_null() && !calls.is_empty() {
        ""
    } else {
        text(content, "content")
    };
    atoms.push(Atom::Said(said.to_owned()));
    for call in calls {
        assert_eq!(call["type"], "function");
        atoms.push(Atom::Call {
            id: text(&call["id"], "id").to_owned(),
            name: text(&call["function"]["name"], "name").to_owned(),
            arguments: text(&call["function"]["arguments"], "arguments").to_owned(),
        });
    }
}

/// The results at the head of these messages, with the pictures that follow them; how many messages
/// they are.
fn results(messages: &[Value], atoms: &mut Vec<Atom>) -> usize {
    let count = messages
        .iter()
        .take_while(|message| message["role"] == "tool")
        .count();
    let first = atoms.len();
    for message in &messages[..count] {
        let mut said = text(&message["content"], "content");
        let mut failed = true;
        if let Some(why) = said.strip_prefix("The tool failed:\n") {
            said = why;
        } else if said == "The tool failed." {
            said = "";
        } else {
            failed = false;
        }
        atoms.push(Atom::Result {
            call: text(&message["tool_call_id"], "tool_call_id").to_owned(),
            failed,
            text: said.to_owned(),
            pictures: Vec::new(),
        });
    }
    let Some(shown) = messages.get(count) else {
        return count;
    };
    let parts = list(&shown["content"]);
    let names = |part: &Value| {
        let named = part["text"].as_str()?.strip_prefix("The result of ")?;
        Some(named.strip_suffix(" shows:")?.to_owned())
    };
    if shown["role"] != "user" || parts.first().and_then(names).is_none() {
        return count;
    }
    let mut of = String::new();
    for part in parts {
        if let Some(call) = names(part) {
            of = call;
            continue;
        }
        let result = atoms[first..].iter_mut().find_map(|atom| match atom {
            Atom::Result {
                call,
                text,
                pictures,
                ..
            } if *call == of => Some((text, pictures)),
            _ => None,
        });
        let (said, pictures) = result.expect("the result that shows it");
        if said == "It is shown in the next message." {
            said.clear();
        }
        pictures.push(text(&part["image_url"]["url"], "url").to_owned());
    }
    count + 1
}

fn wishes(body: &Value) -> Wishes {
    let number = |field: &str| {
        let number = body.get(field)?;
        assert!(number.is_number(), "{field}: {number}");
        Some(number.to_string())
    };
    let bounds: Vec<u64> = ["max_tokens", "max_completion_tokens"]
        .iter()
        .filter_map(|field| body[*field].as_u64())
        .collect();
    assert!(bounds.len() <= 1);
    let last = list(&body["messages"]).last().expect("messages");
    Wishes {
        tools: list(&body["tools"])
            .iter()
            .map(|tool| {
                assert_eq!(tool["type"], "function");
                let function = &tool["function"];
                (
                    text(&function["name"], "name").to_owned(),
                    function["description"].as_str().map(str::to_owned),
                    function["parameters"].clone(),
                    function["strict"] == true,
                )
            })
            .collect(),
        choice: match &body["tool_choice"] {
            Value::Null => ToolChoice::Auto,
            Value::String(word) => match word.as_str() {
                "auto" => ToolChoice::Auto,
                "none" => ToolChoice::None,
                "required" => ToolChoice::Required,
                word => panic!("tool_choice {word}"),
            },
            named => ToolChoice::Named(text(&named["function"]["name"], "name").to_owned()),
        },
        parallel: body["parallel_tool_calls"].as_bool(),
        format: match body["response_format"]["type"].as_str() {
            None | Some("text") => Wanted::Text,
            Some("json_object") => Wanted::Json,
            Some(_) => {
                let schema = &body["response_format"]["json_schema"];
                Wanted::Schema {
                    name: text(&schema["name"], "name").to_owned(),
                    description: schema["description"].as_str().map(str::to_owned),
                    schema: schema["schema"].clone(),
                    strict: schema["strict"].as_bool(),
                }
            }
        },
        temperature: number("temperature"),
        top_p: number("top_p"),
        presence_penalty: number("presence_penalty"),
        frequency_penalty: number("frequency_penalty"),
        seed: body["seed"].as_i64(),
        stop: list(&body["stop"])
            .iter()
            .map(|stop| text(stop, "stop").to_owned())
            .collect(),
        max_output: bounds.first().copied(),
        choices: body["n"].as_u64().unwrap_or(1),
        logprobs: match &body["logprobs"] {
            Value::Number(count) => count.as_u64(),
            Value::Bool(true) => Some(body["top_logprobs"].as_u64().unwrap_or(0)),
            _ => None,
        },
        effort: effort(body),
        unfinished: last["prefix"] == true || body["continue_final_message"] == true,
    }
}

/// By whichever switch a host has, and its words for how much.
fn effort(body: &Value) -> Effort {
    let kwargs = &body["chat_template_kwargs"];
    let switch = [
        body["thinking"]["type"]
            .as_str()
            .map(|word| word == "enabled"),
        body["enable_thinking"].as_bool(),
        body["reasoning"]["enabled"].as_bool(),
        kwargs["thinking"].as_bool(),
    ]
    .into_iter()
    .flatten()
    .next();
    let word = body["reasoning_effort"]
        .as_str()
        .or(kwargs["reasoning_effort"].as_str());
    match (switch, word) {
        (Some(false), None) | (None, Some("none")) => Effort::Off,
        (None, None) => Effort::Unsaid,
        (Some(true) | None, Some("max" | "xhigh")) => Effort::Max,
        (Some(true), None) | (Some(true) | None, Some(_)) => Effort::High,
        (Some(false), Some(word)) => panic!("no thinking, and {word}"),
    }
}
