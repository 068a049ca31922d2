//! Any conversation to any host: the host is asked all of it, or refuses with a reason that holds.
//! What a host gets is read back by a reader of its dialect that shares no code with the writer
//! (`openai`, `converse`, written from the dialects' documentation), into [`Atom`]s and [`Wishes`].
//! Where a dialect lacks a word, what stands for it is listed beside its reader; nothing else may
//! be missing. The surfaces' half of all pairs is `edge/surfaces/tests_pairs`.

mod converse;
mod generated;
mod openai;

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

pub(crate) use generated::{conversation, used};

use super::{Asked, Outgoing, body};
use crate::catalog::{Catalog, Quirks, SHIPPED, Wire};
use crate::chat::{Conversation, Effort, Format, Image, Part, ToolChoice, Turn, text_of};

/// Something said, in its order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Atom {
    System(String),
    User(String),
    /// By its address.
    Picture(String),
    Thought(String),
    Said(String),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    Result {
        call: String,
        failed: bool,
        text: String,
        pictures: Vec<String>,
    },
}

/// What is wished for beside an answer to what was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    /// Name, description, parameters, strict.
    pub tools: Vec<(String, Option<String>, Value, bool)>,
    pub choice: ToolChoice,
    pub parallel: Option<bool>,
    pub format: Wanted,
    pub temperature: Option<String>,
    pub top_p: Option<String>,
    pub presence_penalty: Option<String>,
    pub frequency_penalty: Option<String>,
    pub seed: Option<i64>,
    pub stop: Vec<String>,
    pub max_output: Option<u64>,
    pub choices: u64,
    pub logprobs: Option<u64>,
    pub effort: Effort,
    /// The last turn of the assistant is to be gone on with.
    pub unfinished: bool,
}

/// The form of the answer's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Wanted {
    #[default]
    Text,
    Json,
    Schema {
        name: String,
        description: Option<String>,
        schema: Value,
        strict: Option<bool>,
    },
}

impl Wishes {
    fn of(conversation: &Conversation) -> Wishes {
        let sampling = &conversation.sampling;
        let number = |number: &Option<serde_json::Number>| number.as_ref().map(ToString::to_string);
        Wishes {
            tools: conversation
                .tools
                .iter()
                .map(|tool| {
                    let schema = tool.parameters.as_ref().map(|raw| json(raw.get()));
                    (
                        tool.name.clone(),
                        tool.description.clone(),
                        schema.unwrap_or(Value::Null),
                        tool.strict == Some(true),
                    )
                })
                .collect(),
            choice: conversation.tool_choice.clone(),
            parallel: conversation.parallel_calls,
            format: match &conversation.format {
                Format::Text => Wanted::Text,
                Format::JsonObject => Wanted::Json,
                Format::JsonSchema {
                    name,
                    description,
                    schema,
                    strict,
                } => Wanted::Schema {
                    name: name.clone(),
                    description: description.clone(),
                    schema: json(schema.get()),
                    strict: *strict,
                },
            },
            temperature: number(&sampling.temperature),
            top_p: number(&sampling.top_p),
            presence_penalty: number(&sampling.presence_penalty),
            frequency_penalty: number(&sampling.frequency_penalty),
            seed: sampling.seed,
            stop: sampling.stop.clone(),
            max_output: conversation.max_output.map(|most| most.get()),
            choices: u64::from(conversation.choices.max(1)),
            logprobs: conversation.logprobs.map(u64::from),
            effort: conversation.effort,
            unfinished: goes_on(conversation),
        }
    }
}

/// A host of the shipped catalog.
pub(crate) struct Host {
    pub name: String,
    pub wire: Wire,
    pub quirks: Quirks,
}

/// All of them, read once.
pub(crate) fn hosts() -> &'static [Host] {
    static HOSTS: LazyLock<Vec<Host>> = LazyLock::new(shipped);
    &HOSTS
}

fn shipped() -> Vec<Host> {
    let files = SHIPPED.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let catalog = Catalog::from_files(files.into()).expect("the shipped catalog is right");
    let hosts = catalog.hosts.values().map(|host| Host {
        name: host.name.to_string(),
        wire: host.wire,
        quirks: host.quirks.clone(),
    });
    // Bedrock as its file ships it is told no thinking; an operator may have found out how.
    let mut all: Vec<Host> = hosts.collect();
    let thinking = |on: &str| {
        let fields = serde_json::json!({"thinking": {"type": on}});
        fields.as_object().cloned()
    };
    for history in [false, true] {
        let mut quirks = Quirks {
            converse_history_reasoning: history,
            ..Quirks::default()
        };
        quirks.converse_thinking.off = thinking("disabled");
        quirks.converse_thinking.high = thinking("enabled");
        all.push(Host {
            name: format!("bedrock told how to think, history {history}"),
            wire: Wire::BedrockConverse,
            quirks,
        });
    }
    all
}

/// Asks the host, and reads what it gets: nothing is lost, or there is a reason.
pub(crate) fn check(conversation: &Conversation, host: &Host) -> Result<(), TestCaseError> {
    let asked = Asked {
        model: "host/model",
        quirks: &host.quirks,
        stream: false,
        bound: None,
        tenant: "tenant-1",
    };
    let reasons = match host.wire {
        Wire::Openai => openai::reasons(conversation, &host.quirks),
        Wire::BedrockConverse => converse::reasons(conversation, &host.quirks),
    };
    match body(host.wire, conversation, asked) {
        Err(cannot) => {
            prop_assert!(!cannot.0.is_empty());
            prop_assert!(
                !reasons.is_empty(),
                "{} refuses for no reason of ours: {}",
                host.name,
                cannot
            );
        }
        Ok(Outgoing { body, .. }) => {
            let sent: Value = serde_json::from_slice(&body.joined()).expect("JSON");
            prop_assert_eq!(
                &reasons,
                &Vec::<&str>::new(),
                "{} asked all the same",
                host.name
            );
            match host.wire {
                Wire::Openai => openai::same(conversation, &host.quirks, &sent)?,
                Wire::BedrockConverse => converse::same(conversation, &host.quirks, &sent)?,
            }
        }
    }
    Ok(())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn address(image: &Image) -> String {
    match image {
        Image::Url(url) => url.clone(),
        Image::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
    }
}

fn goes_on(conversation: &Conversation) -> bool {
    matches!(conversation.turns.last(), Some(Turn::Assistant(said)) if said.unfinished)
}

fn pictures(parts: &[Part]) -> Vec<String> {
    let pictures = parts.iter().filter_map(|part| match part {
        Part::Image(image) => Some(address(image)),
        Part::Text(_) => None,
    });
    pictures.collect()
}

/// All that is said, turn by turn: the texts of a turn joined by blank lines, but where pictures
/// stand between them.
fn said(conversation: &Conversation) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for turn in &conversation.turns {
        match turn {
            Turn::System(parts) => atoms.push(Atom::System(text_of(parts))),
            Turn::User(parts) if pictures(parts).is_empty() => {
                atoms.push(Atom::User(text_of(parts)));
            }
            Turn::User(parts) => atoms.extend(parts.iter().map(|part| match part {
                Part::Text(text) => Atom::User(text.clone()),
                Part::Image(image) => Atom::Picture(address(image)),
            })),
            Turn::Assistant(said) => {
                let thought = said.reasoning.iter().filter(|text| !text.is_empty());
                atoms.extend(thought.cloned().map(Atom::Thought));
                atoms.push(Atom::Said(said.text.clone()));
                atoms.extend(said.calls.iter().cloned().map(|call| Atom::Call {
                    id: call.id,
                    name: call.name,
                    // Nothing written is an object without members.
                    arguments: if call.arguments.is_empty() {
                        "{}".to_owned()
                    } else {
                        call.arguments
                    },
                }));
            }
            Turn::Result {
                call,
                parts,
                failed,
            } => atoms.push(Atom::Result {
                call: call.clone(),
                failed: *failed,
                text: text_of(parts),
                pictures: pictures(parts),
            }),
        }
    }
    atoms
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_host_is_asked_the_whole_conversation_or_says_why_not(conversation in conversation()) {
        for host in hosts() {
            check(&conversation, host)?;
        }
    }
}

#[test]
fn every_host_can_be_asked_something() {
    for host in hosts() {
        let question = Conversation {
            turns: vec![Turn::system("Be brief."), Turn::user("hi")],
            choices: 1,
            ..Conversation::default()
        };
        let reasons = match host.wire {
            Wire::Openai => openai::reasons(&question, &host.quirks),
            Wire::BedrockConverse => converse::reasons(&question, &host.quirks),
        };
        assert!(reasons.is_empty(), "{}: {reasons:?}", host.name);
        check(&question, host).expect("asked");
    }
}
