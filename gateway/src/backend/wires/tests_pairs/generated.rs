//! Conversations as hosts want them: results behind their calls, ids of their own. Within that,
//! anything: texts that JSON must escape, arguments that are no object, wishes of every kind.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::Number;
use serde_json::value::RawValue;

use crate::chat::{
    Call, Conversation, Effort, Format, Image, Part, Said, Sampling, Tokens, Tool, ToolChoice,
    Turn, Usage,
};

const NAMES: [&str; 4] = [
    "look",
    "mcp.files/read",
    "wait-for_it",
    "a_name_that_is_longer_than_the_sixty_four_letters_that_most_hosts_take",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z\"\\\\\n\u{1}\u{e9}\u{1f600}\u{2028}/<> ]{1,14}",
        1 => Just(String::new()),
        1 => Just("Answer in json, please.".to_owned()),
    ]
}

fn picture() -> impl Strategy<Value = Part> {
    prop_oneof![
        "[a-z]{1,6}".prop_map(|name| Image::Url(format!("https://example.com/{name}.png"))),
        ("(png|jpeg|gif|webp|tiff)", "[A-Za-z0-9+/]{4,12}").prop_map(|(kind, data)| {
            Image::Inline {
                media_type: format!("image/{kind}"),
                data,
            }
        }),
    ]
    .prop_map(Part::Image)
}

fn parts(least: usize) -> impl Strategy<Value = Vec<Part>> {
    let part = prop_oneof![4 => text().prop_map(Part::Text), 1 => picture()];
    vec(part, least..4)
}

fn texts() -> impl Strategy<Value = Vec<Part>> {
    vec(text().prop_map(Part::Text), 1..3)
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => ("[a-z]{1,5}", text()).prop_map(|(key, value)| {
            serde_json::json!({ "k": { key: value } }).to_string()
        }),
        1 => Just("{ \"at\" : [1, 2.50] }".to_owned()),
        1 => Just(String::new()),
        1 => Just("{}".to_owned()),
        1 => Just("[1]".to_owned()),
        1 => Just("{\"cut\":".to_owned()),
        1 => Just("ls -l".to_owned()),
    ]
}

/// A turn of the assistant, and what its calls bring, in any order.
fn exchange() -> impl Strategy<Value = Vec<Turn>> {
    let call = (
        prop::sample::select(&NAMES[..]),
        arguments(),
        parts(0),
        any::<bool>(),
    );
    (of(text()), text(), vec(call, 0..4), any::<u8>()).prop_map(
        |(reasoning, text, called, turned)| {
            let mut said = Said {
                reasoning,
                text,
                ..Said::default()
            };
            let mut results = Vec::new();
            for (name, arguments, parts, failed) in called {
                said.calls.push(Call {
                    id: String::new(),
                    name: name.to_owned(),
                    arguments,
                });
                results.push(Turn::Result {
                    call: String::new(),
                    parts,
                    failed,
                });
            }
            let mut turns = vec![Turn::Assistant(said)];
            let shift = usize::from(turned) % results.len().max(1);
            call_ids(&mut turns, &mut results, "");
            results.rotate_left(shift);
            turns.extend(results);
            turns
        },
    )
}

/// Gives calls and their results the same ids, made with a beginning of their own.
fn call_ids(turns: &mut [Turn], results: &mut [Turn], beginning: &str) {
    let forms = ["call_", "toolu.", "x/"];
    let mut count = 0;
    for turn in turns.iter_mut() {
        if let Turn::Assistant(said) = turn {
            for call in &mut said.calls {
                call.id = format!("{beginning}{}{count}", forms[count % forms.len()]);
                count += 1;
            }
        }
    }
    for (count, result) in results.iter_mut().enumerate() {
        if let Turn::Result { call, .. } = result {
            *call = format!("{beginning}{}{count}", forms[count % forms.len()]);
        }
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let round = (
        parts(1).prop_map(Turn::User),
        exchange(),
        of(texts().prop_map(Turn::System)),
    );
    (
        of(texts().prop_map(Turn::System)),
        vec(round, 0..3),
        prop_oneof![
            5 => parts(1).prop_map(|parts| vec![Turn::User(parts)]),
            2 => Just(Vec::new()),
            1 => (text(), text()).prop_map(|(asked, text)| vec![
                Turn::user(asked),
                Turn::Assistant(Said { text, unfinished: true, ..Said::default() }),
            ]),
        ],
    )
        .prop_map(|(head, rounds, end)| {
            let mut turns: Vec<Turn> = head.into_iter().collect();
            for (number, (user, exchange, instructed)) in rounds.into_iter().enumerate() {
                turns.push(user);
                for mut turn in exchange {
                    match &mut turn {
                        Turn::Assistant(said) => {
                            for call in &mut said.calls {
                                call.id.insert_str(0, &format!("r{number}-"));
                            }
                        }
                        Turn::Result { call, .. } => call.insert_str(0, &format!("r{number}-")),
                        _ => {}
                    }
                    turns.push(turn);
                }
                turns.extend(instructed);
            }
            turns.extend(end);
            if turns.is_empty() {
                turns.push(Turn::user("hi"));
            }
            turns
        })
}

fn raw(json: &str) -> Arc<RawValue> {
    RawValue::from_string(json.to_owned()).expect("JSON").into()
}

fn tools() -> impl Strategy<Value = (Vec<Tool>, ToolChoice)> {
    let tool = |name: &'static str| {
        (of("[a-z ]{1,9}"), any::<bool>(), of(any::<bool>())).prop_map(
            move |(description, schema, strict)| Tool {
                name: name.to_owned(),
                description,
                parameters: schema
                    .then(|| raw(r#"{"type": "object", "properties": {"k": {"type": "object"}}}"#)),
                strict,
            },
        )
    };
    let all = (
        tool(NAMES[0]),
        tool(NAMES[1]),
        tool(NAMES[2]),
        tool(NAMES[3]),
    );
    (all, 0_usize..5, 0_usize..6).prop_map(|((a, b, c, d), count, choice)| {
        let mut tools = vec![a, b, c, d];
        tools.truncate(count);
        let choice = match (choice, tools.first()) {
            (3, Some(_)) => ToolChoice::None,
            (4, Some(_)) => ToolChoice::Required,
            (5, Some(tool)) => ToolChoice::Named(tool.name.clone()),
            _ => ToolChoice::Auto,
        };
        (tools, choice)
    })
}

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![
        6 => Just(Format::Text),
        1 => Just(Format::JsonObject),
        2 => (of("[a-z ]{1,9}"), of(any::<bool>())).prop_map(|(description, strict)| {
            Format::JsonSchema {
                name: "answer".to_owned(),
                description,
                schema: raw(r#"{"type":"object","properties":{"warm":{"type":"boolean"}}}"#),
                strict,
            }
        }),
    ]
}

fn number(most: i64) -> impl Strategy<Value = Option<Number>> {
    let number = (0..=most * 4).prop_map(|quarters| {
        if quarters % 4 == 0 {
            Number::from(quarters / 4)
        } else {
            // A quarter has an exact form.
            Number::from_f64(f64::from(i16::try_from(quarters).expect("small")) / 4.0)
                .expect("a number")
        }
    });
    prop_oneof![3 => Just(None), 1 => number.prop_map(Some)]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let rarely = || prop_oneof![4 => Just(None), 1 => number(1)];
    (
        number(2),
        number(1),
        rarely(),
        rarely(),
        prop_oneof![3 => Just(None), 1 => any::<i64>().prop_map(Some)],
        prop_oneof![3 => Just(Vec::new()), 1 => vec("[a-z\n]{1,3}", 1..7)],
    )
        .prop_map(
            |(temperature, top_p, presence_penalty, frequency_penalty, seed, stop)| Sampling {
                temperature,
                top_p,
                presence_penalty,
                frequency_penalty,
                seed,
                stop,
            },
        )
}

/// Any conversation that a host could be asked for.
pub(crate) fn conversation() -> impl Strategy<Value = Conversation> {
    let effort = prop_oneof![
        3 => Just(Effort::Unsaid),
        1 => Just(Effort::Off),
        1 => Just(Effort::High),
        1 => Just(Effort::Max),
    ];
    (
        turns(),
        tools(),
        of(any::<bool>()),
        format(),
        sampling(),
        effort,
        of(1_u64..100_000),
        prop_oneof![5 => Just(1_u32), 1 => 2_u32..4],
        prop_oneof![5 => Just(None), 1 => (0_u8..6).prop_map(Some)],
    )
        .prop_map(
            |(
                turns,
                (tools, tool_choice),
                parallel_calls,
                format,
                sampling,
                effort,
                max_output,
                choices,
                logprobs,
            )| Conversation {
                turns,
                tools,
                tool_choice,
                parallel_calls,
                format,
                sampling,
                effort,
                max_output: max_output.map(Tokens::new),
                choices,
                logprobs,
                ..Conversation::default()
            },
        )
}

/// Counts of all five kinds.
pub(crate) fn used() -> impl Strategy<Value = Usage> {
    let count = || (0_u64..1_000).prop_map(Tokens::new);
    (count(), count(), count(), count(), count()).prop_map(
        |(cache_miss, cache_hit, cache_write, reasoning, visible)| Usage {
            cache_miss,
            cache_hit,
            cache_write,
            reasoning,
            visible,
        },
    )
}
