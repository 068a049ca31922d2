//! Callers' bodies: read the same wherever they are cut; what reads as a conversation can be written
//! for every host, or refused with a reason; and what a wire wrote, the chat surface reads as the
//! same conversation.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use tollgate::backend::wires::{Asked, bedrock, openai};
use tollgate::catalog::{Catalog, Continues, EffortWords, Quirks, SHIPPED, ThinkingControl};
use tollgate::chat::scan;
use tollgate::chat::{
    Conversation, Frames, Part, Refusal, Reply, Request, Tokens, ToolChoice, Turn,
};
use tollgate::edge::surfaces::{
    anthropic as messages, openai_chat as chat, openai_completions as completions,
    openai_responses as responses,
};
use tollgate::id::OrganisationName;

use super::MOST_BYTES;
use super::chances::Chances;
use super::scanning::frames;
use super::sealing::seal;
use super::turns::{sound, through_wire};

pub fn openai_chat(data: &[u8]) {
    let Some((request, conversation)) = read(data, chat::read, chat::conversation) else {
        return;
    };
    passes(&request, conversation.as_ref());
    if let Some(conversation) = conversation {
        assert!(
            sound(&conversation.turns),
            "ids are made where they are missing"
        );
        written(&request, &conversation);
    }
}

pub fn openai_completions(data: &[u8]) {
    let found = read(data, completions::read, completions::conversation);
    let Some((request, conversation)) = found else {
        return;
    };
    let quirks = Quirks::default();
    let asked = Asked {
        bound: Some(Tokens::new(77)),
        ..asked(&quirks, request.stream)
    };
    let passed = joined(&openai::completions::passed(&request, asked).body);
    if conversation.is_some() {
        let body = object(&passed);
        assert_eq!(body["model"], "host/model");
        assert!(body["prompt"].is_string());
        assert!(body["max_tokens"].is_u64(), "the bound is missing");
    }
    if let Some(conversation) = conversation {
        written(&request, &conversation);
    }
}

pub fn openai_responses(data: &[u8]) {
    let conversation = |request: &Request| {
        let earlier = match &request.follows {
            Some(_) => vec![Turn::user("earlier"), Turn::Assistant(Default::default())],
            None => Vec::new(),
        };
        let tenant = OrganisationName::from("acme");
        responses::conversation_with(request, earlier, &|text| seal().open(&tenant, text))
    };
    let Some((request, conversation)) = read(data, responses::read, conversation) else {
        return;
    };
    if let Some(conversation) = conversation {
        let stored = responses::stored(
            &request,
            &conversation,
            "01939b6e-7a00-7000-8000-000000000000"
                .parse()
                .expect("an id"),
            &Reply::default(),
        );
        let items = responses::input_items(&stored, &responses::Listing::default());
        object(&items.expect("the input"));
        let turns = serde_json::to_string(&stored.turns).expect("kept as JSON");
        let again: Vec<Turn> = serde_json::from_str(&turns).expect("read again");
        assert_eq!(again, stored.turns);
        written(&request, &conversation);
    }
}

pub fn anthropic(data: &[u8]) {
    let found = read(data, messages::read, messages::conversation);
    if let Some((request, Some(conversation))) = found {
        let shows = |parts: &[Part]| parts.iter().any(|part| matches!(part, Part::Image(_)));
        let images = conversation.turns.iter().any(|turn| match turn {
            Turn::System(parts) | Turn::User(parts) | Turn::Result { parts, .. } => shows(parts),
            Turn::Assistant(_) => false,
        });
        assert!(
            request.needs.images || !images,
            "a picture that routing missed"
        );
        written(&request, &conversation);
    }
}

/// Reads a body, whole and in pieces: the same must come of both.
fn read(
    data: &[u8],
    read: fn(Frames) -> Result<Request, Refusal>,
    conversation: impl Fn(&Request) -> Result<Conversation, Refusal>,
) -> Option<(Request, Option<Conversation>)> {
    if data.len() > MOST_BYTES {
        return None;
    }
    let look = |cuts: &[usize]| {
        let request = read(frames(data, cuts));
        let conversation = request.as_ref().ok().map(&conversation);
        let told = match &request {
            Ok(request) => shown(request),
            Err(refusal) => format!("{refusal:?}"),
        };
        let told = format!("{told} {conversation:?}");
        (request, conversation, told)
    };
    let (request, conversation, told) = look(&[]);
    for cuts in Chances::of(data).splits(data.len()) {
        assert_eq!(look(&cuts).2, told, "the cuts {cuts:?} matter");
    }
    let request = match request {
        Ok(request) => request,
        Err(refusal) => {
            refused(&refusal, data);
            return None;
        }
    };
    assert!(!request.model.is_empty() && request.choices > 0);
    let conversation = match conversation? {
        Ok(conversation) => conversation,
        Err(refusal) => {
            refused(&refusal, data);
            return Some((request, None));
        }
    };
    assert!(!conversation.turns.is_empty(), "a conversation of nothing");
    Some((request, Some(conversation)))
}

fn shown(request: &Request) -> String {
    let mut shown = request.clone();
    shown.original.frames = Frames::default();
    format!("{shown:?}")
}

/// A refusal is told in every dialect, and is no way to make us write much.
fn refused(refusal: &Refusal, data: &[u8]) {
    assert!(!refusal.message.is_empty());
    for body in [
        chat::error_body(refusal),
        messages::error_body(refusal),
        completions::error_body(refusal),
        responses::error_body(refusal),
    ] {
        object(&body);
        assert!(body.len() <= 16 * data.len() + 1024, "{}", body.len());
    }
}

fn object(bytes: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(bytes).expect("JSON");
    assert!(value.is_object());
    value
}

fn joined(frames: &Frames) -> Vec<u8> {
    frames.slice(0..frames.len()).into_owned()
}

fn asked(quirks: &Quirks, stream: bool) -> Asked<'_> {
    Asked {
        model: "host/model",
        quirks,
        stream,
        bound: None,
        tenant: "tenant-1",
    }
}

/// The quirks of every shipped host, and of one that can be told everything.
fn hosts() -> &'static (Quirks, Vec<Quirks>) {
    static HOSTS: OnceLock<(Quirks, Vec<Quirks>)> = OnceLock::new();
    HOSTS.get_or_init(|| {
        let able = Quirks {
            thinking: ThinkingControl::Deepseek,
            effort: EffortWords {
                off: None,
                high: Some("high".into()),
                max: Some("max".into()),
            },
            continues: Continues::Prefix,
            ..Quirks::default()
        };
        let files = SHIPPED.map(|(file, text)| (file.to_owned(), text.to_owned()));
        let catalog = Catalog::from_files(files.into()).expect("the shipped catalog");
        let shipped = catalog.hosts.values().map(|host| host.quirks.clone());
        (able, shipped.collect())
    })
}

/// The members of an object, each of which stands there once.
fn members(body: &Frames) -> BTreeSet<String> {
    let found = scan::object(body).expect("an object");
    let mut keys = BTreeSet::new();
    for member in found.members {
        assert!(keys.insert(member.key.clone()), "`{}` twice", member.key);
    }
    keys
}

fn written(request: &Request, conversation: &Conversation) {
    let length = request.original.frames.len();
    let (able, shipped) = hosts();
    for quirks in shipped {
        if let Ok(sent) = openai::body(conversation, asked(quirks, request.stream)) {
            object(&joined(&sent.body));
            members(&sent.body);
            assert!(sent.body.len() <= 32 * length + 2048);
        }
        if let Ok(sent) = bedrock::body(conversation, asked(quirks, request.stream)) {
            converse(&object(&joined(&sent.body)));
            assert!(sent.body.len() <= 32 * length + 2048);
        }
    }
    if let Ok(sent) = openai::body(conversation, asked(able, request.stream)) {
        read_again(conversation, &sent.body, request.stream, able);
    }
}

/// Canonical, wire, canonical.
fn read_again(conversation: &Conversation, sent: &Frames, stream: bool, able: &Quirks) {
    if !sound(&conversation.turns) {
        return;
    }
    let request = chat::read(sent.clone()).expect("read again");
    let again = chat::conversation(&request).expect("a conversation again");
    assert_eq!(again.turns, through_wire(&conversation.turns));
    assert_eq!(request.stream, stream);
    assert_eq!(
        format!("{:?}", again.tools),
        format!("{:?}", conversation.tools)
    );
    if conversation.tools.is_empty() {
        assert_eq!(again.tool_choice, ToolChoice::Auto);
    } else {
        assert_eq!(again.tool_choice, conversation.tool_choice);
        assert_eq!(again.parallel_calls, conversation.parallel_calls);
    }
    assert_eq!(
        format!("{:?}", again.format),
        format!("{:?}", conversation.format)
    );
    assert_eq!(again.sampling, conversation.sampling);
    assert_eq!(again.effort, conversation.effort);
    assert_eq!(again.max_output, conversation.max_output);
    assert_eq!(again.choices, conversation.choices);
    assert_eq!(again.logprobs, conversation.logprobs);
    // What was written once is written so again.
    let twice = openai::body(&again, asked(able, stream)).expect("written again");
    assert_eq!(
        String::from_utf8_lossy(&joined(&twice.body)),
        String::from_utf8_lossy(&joined(sent))
    );
}

/// The caller's own body on its way to each host.
fn passes(request: &Request, conversation: Option<&Conversation>) {
    // Only a body that is JSON to the last string can be looked at here.
    if conversation.is_none() {
        return;
    }
    let theirs = object(&joined(&request.original.frames));
    for quirks in &hosts().1 {
        if !openai::passes(request, quirks) {
            continue;
        }
        for bound in [None, Some(Tokens::new(77))] {
            let asked = Asked {
                bound,
                ..asked(quirks, request.stream)
            };
            let Ok(sent) = openai::passed(request, asked) else {
                continue;
            };
            let body = object(&joined(&sent.body));
            members(&sent.body);
            assert_eq!(body["model"], "host/model");
            assert_eq!(body["messages"], theirs["messages"]);
            for field in [
                "tools",
                "response_format",
                "temperature",
                "stop",
                "n",
                "seed",
            ] {
                assert_eq!(body.get(field), theirs.get(field), "{field}");
            }
            if request.stream && !quirks.no_stream_options {
                assert_eq!(body["stream_options"]["include_usage"], true);
            }
            let bounds: Vec<&Value> = ["max_tokens", "max_completion_tokens"]
                .iter()
                .filter_map(|field| body.get(*field))
                .filter(|value| !value.is_null())
                .collect();
            let most = request.max_output.or(bound).map(Tokens::get);
            assert_eq!(
                bounds,
                most.map(Value::from).iter().collect::<Vec<_>>(),
                "the bound on the output"
            );
        }
    }
}

/// What Converse demands of a body (botocore's model of `bedrock-runtime`, AWS's Converse reference).
fn converse(body: &Value) {
    let fits = |name: &Value| {
        let name = name.as_str().expect("a name");
        (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let speaks = |text: &Value| !text.as_str().expect("a text").trim().is_empty();
    let none = Vec::new();
    for block in body["system"].as_array().unwrap_or(&none) {
        assert!(speaks(&block["text"]));
    }
    let mut called: BTreeSet<&str> = BTreeSet::new();
    let mut tools: BTreeSet<&str> = BTreeSet::new();
    let messages = body["messages"].as_array().expect("messages");
    for (at, message) in messages.iter().enumerate() {
        assert_eq!(
            message["role"],
            ["user", "assistant"][at % 2],
            "they alternate"
        );
        let content = message["content"].as_array().expect("content");
        assert!(!content.is_empty());
        let mut calls = BTreeSet::new();
        for block in content {
            let union: &Map<String, Value> = block.as_object().expect("a block");
            assert_eq!(union.len(), 1, "one member");
            for (kind, value) in union {
                match kind.as_str() {
                    "text" => assert!(speaks(value)),
                    "image" => assert!(value["source"]["bytes"].is_string() && at % 2 == 0),
                    "toolUse" => {
                        assert!(at % 2 == 1 && fits(&value["toolUseId"]) && fits(&value["name"]));
                        assert!(value["input"].is_object());
                        calls.insert(value["toolUseId"].as_str().expect("an id"));
                        tools.insert(value["name"].as_str().expect("a name"));
                    }
                    "toolResult" => {
                        assert!(at % 2 == 0 && fits(&value["toolUseId"]));
                        assert!(called.contains(value["toolUseId"].as_str().expect("an id")));
                        assert!(
                            value["content"]
                                .as_array()
                                .is_some_and(|all| !all.is_empty())
                        );
                    }
                    "reasoningContent" => assert!(speaks(&value["reasoningText"]["text"])),
                    other => panic!("a block of {other}"),
                }
            }
        }
        called = calls;
    }
    let offered = body["toolConfig"]["tools"].as_array().unwrap_or(&none);
    assert!(
        tools.is_empty() || !offered.is_empty(),
        "calls and no tools"
    );
    for tool in offered {
        assert!(fits(&tool["toolSpec"]["name"]));
        assert!(tool["toolSpec"]["inputSchema"]["json"].is_object());
    }
}
