//! Answers of every kind, told in every dialect and read back. What dialects have no word for:
//! - chat: how a stop came about, that the window was full;
//! - Responses: further choices;
//! - Messages: further choices, log probabilities, arguments that are no object (an object with them
//!   as `INVALID_JSON`), and calls without arguments have an empty object;
//! - completions: all but text.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{anthropic, openai_chat, openai_completions, openai_responses};
use super::hearing::{self, Answer, Heard};
use crate::backend::wires::tests_pairs::used;
use crate::chat::{
    Call, Choice, Conversation, Event, Finish, Frames, Refusal, Reply, Request, Said, Speaker,
};
use crate::id::RequestId;

/// A piece of an answer, on its own.
#[derive(Clone, Debug)]
enum Piece {
    Thought(String),
    Text(String),
    Call(u32),
    Arguments(u32, String),
    Logprobs(String),
}

/// An answer, and its pieces in an order in which a host might give them.
#[derive(Clone, Debug)]
struct Spoken {
    reply: Reply,
    pieces: Vec<(u32, Piece)>,
    keep_alive: bool,
}

impl Spoken {
    fn tell(&self, speaker: &mut dyn Speaker) -> String {
        let mut out = BytesMut::new();
        let mut say = |event: Event<'_>| speaker.say(event, &mut out);
        say(Event::Begin { id: Some("host-1") });
        for (at, (choice, piece)) in self.pieces.iter().enumerate() {
            let choice = *choice;
            if self.keep_alive && at % 3 == 1 {
                say(Event::Alive);
            }
            let said = &self.reply.choices[choice as usize].said;
            say(match piece {
                Piece::Thought(text) => Event::Reasoning { choice, text },
                Piece::Text(text) => Event::Text { choice, text },
                Piece::Call(index) => {
                    let call = &said.calls[*index as usize];
                    Event::Call {
                        choice,
                        index: *index,
                        id: &call.id,
                        name: &call.name,
                    }
                }
                Piece::Arguments(index, piece) => Event::Arguments {
                    choice,
                    index: *index,
                    piece,
                },
                Piece::Logprobs(json) => Event::Logprobs { choice, json },
            });
        }
        for (choice, said) in (0_u32..).zip(&self.reply.choices) {
            if let Some(reason) = said.finish {
                say(Event::Finish { choice, reason });
            }
        }
        if let Some(usage) = self.reply.usage {
            say(Event::Usage(usage));
        }
        speaker.close(&mut out);
        String::from_utf8(out.to_vec()).expect("text")
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\n\r\u{1}\u{e9}\u{1f600}\u{2028}{}: ]{0,16}"
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ("[a-z]{1,5}", text())
            .prop_map(|(key, value)| json!({ key: [value, {}] }).to_string()),
        1 => Just("{ \"at\" : [1, 2] }".to_owned()),
        1 => Just(String::new()),
        1 => Just("[1]".to_owned()),
        1 => Just("ls -l".to_owned()),
    ]
}

fn choice() -> impl Strategy<Value = Choice> {
    let finish = prop::sample::select(vec![
        Finish::Stop,
        Finish::StopString,
        Finish::Length,
        Finish::ContentFilter,
        Finish::ToolCalls,
        Finish::Other,
    ]);
    let logprob = "[a-z]{1,3}".prop_map(|token| {
        json!({"content": [{"token": token, "logprob": -0.5, "bytes": token.as_bytes(),
            "top_logprobs": []}]})
        .to_string()
    });
    (
        of(text()),
        text(),
        vec(("[a-z_]{1,9}", arguments()), 0..4),
        of(finish),
        prop_oneof![3 => Just(Vec::new()), 1 => vec(logprob, 1..3)],
    )
        .prop_map(|(reasoning, text, calls, finish, logprobs)| {
            let calls = calls.into_iter().enumerate();
            Choice {
                said: Said {
                    reasoning: reasoning.filter(|text| !text.is_empty()),
                    text,
                    calls: calls
                        .map(|(at, (name, arguments))| Call {
                            id: format!("call_{at}"),
                            name,
                            arguments,
                        })
                        .collect(),
                    unfinished: false,
                },
                finish,
                logprobs,
            }
        })
}

/// A text in pieces of so many letters.
fn cut(text: &str, every: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters
        .chunks(every)
        .map(|piece| piece.iter().collect())
        .collect()
}

fn spoken() -> impl Strategy<Value = Spoken> {
    (
        vec(choice(), 1..3),
        of(used()),
        1_usize..9,
        vec(any::<u8>(), 64),
        any::<bool>(),
    )
        .prop_map(|(mut choices, usage, every, order, keep_alive)| {
            let mut order = order.into_iter().cycle();
            let mut pieces = Vec::new();
            for (number, choice) in (0_u32..).zip(&mut choices) {
                // What comes in its own order; which of them is next, chance says.
                let said = &mut choice.said;
                let thoughts = cut(said.reasoning.as_deref().unwrap_or(""), every);
                let mut ways: Vec<Vec<Piece>> = vec![
                    thoughts.into_iter().map(Piece::Thought).collect(),
                    cut(&said.text, every)
                        .into_iter()
                        .map(Piece::Text)
                        .collect(),
                    choice
                        .logprobs
                        .iter()
                        .cloned()
                        .map(Piece::Logprobs)
                        .collect(),
                ];
                let begins = (0_u32..).zip(&said.calls);
                ways.push(begins.map(|(at, _)| Piece::Call(at)).collect());
                for (at, call) in (0_u32..).zip(&said.calls) {
                    let pieces = cut(&call.arguments, every).into_iter();
                    ways.push(pieces.map(|piece| Piece::Arguments(at, piece)).collect());
                }
                for way in &mut ways {
                    way.reverse();
                }
                let mut begun = 0;
                loop {
                    // Arguments come behind their call.
                    let open = ways.iter_mut().take(4 + begun);
                    let mut open: Vec<&mut Vec<Piece>> =
                        open.filter(|way| !way.is_empty()).collect();
                    if open.is_empty() {
                        break;
                    }
                    let at = usize::from(order.next().unwrap_or(0)) % open.len();
                    if let Some(piece) = open[at].pop() {
                        begun += usize::from(matches!(piece, Piece::Call(_)));
                        pieces.push((number, piece));
                    }
                }
            }
            Spoken {
                reply: Reply {
                    id: Some("host-1".to_owned()),
                    choices,
                    usage,
                },
                pieces,
                keep_alive,
            }
        })
}

fn id() -> RequestId {
    "01939b6e-7a00-7000-8000-000000000000"
        .parse()
        .expect("an id")
}

fn asked(
    body: Value,
    read: fn(Frames) -> Result<Request, Refusal>,
    conversation: fn(&Request) -> Result<Conversation, Refusal>,
) -> (Request, Conversation) {
    let request = read(Frames::from(Bytes::from(body.to_string()))).expect("a request");
    let conversation = conversation(&request).expect("a conversation");
    (request, conversation)
}

/// The answer that a caller of a dialect should have.
fn expected(reply: &Reply, mut in_words: impl FnMut(&Choice) -> Heard) -> Answer {
    Answer {
        choices: reply.choices.iter().map(&mut in_words).collect(),
        usage: reply.usage,
    }
}

fn plainly(choice: &Choice, ended: &str) -> Heard {
    Heard {
        thought: choice.said.reasoning.clone().unwrap_or_default(),
        text: choice.said.text.clone(),
        calls: choice
            .said
            .calls
            .iter()
            .map(|call| (call.id.clone(), call.name.clone(), call.arguments.clone()))
            .collect(),
        ended: ended.to_owned(),
        logprobs: choice
            .logprobs
            .iter()
            .flat_map(|json| {
                let json: Value = serde_json::from_str(json).expect("JSON");
                json["content"].as_array().cloned().unwrap_or_default()
            })
            .collect(),
    }
}

/// Hosts may end calls with a plain stop: that there are calls decides, but where the answer was
/// cut short.
fn openai_word(finish: Option<Finish>, calls: bool) -> &'static str {
    match finish {
        Some(Finish::Length) => "length",
        Some(Finish::ContentFilter) => "content_filter",
        Some(Finish::ToolCalls) => "tool_calls",
        _ if calls => "tool_calls",
        _ => "stop",
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_answer_told_in_chat_is_the_same_answer(spoken in spoken()) {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": true,
            "stream_options": {"include_usage": true}, "n": 2, "logprobs": true});
        let (request, conversation) = asked(body, openai_chat::read, openai_chat::conversation);
        let mut meant = expected(&spoken.reply, |choice| {
            plainly(choice, openai_word(choice.finish, !choice.said.calls.is_empty()))
        });
        let whole = openai_chat::whole(&request, &conversation, id(), &spoken.reply);
        let whole = std::str::from_utf8(&whole).expect("text");
        prop_assert_eq!(&hearing::chat_whole(whole), &meant);
        // A choice of which nothing was said and no end told is not there.
        let silent = |heard: &Heard, choice: &Choice| {
            *heard == Heard { ended: "stop".into(), ..Heard::default() } && choice.finish.is_none()
        };
        while meant.choices.len() > 1
            && silent(&meant.choices[meant.choices.len() - 1], &spoken.reply.choices[meant.choices.len() - 1])
        {
            meant.choices.pop();
        }
        if silent(&meant.choices[0], &spoken.reply.choices[0]) {
            if meant.choices.len() == 1 { meant.choices.clear(); } else { meant.choices[0].ended.clear(); }
        }
        let mut talk = openai_chat::Talk::new(&request, &conversation, id());
        prop_assert_eq!(hearing::chat_stream(&spoken.tell(&mut talk)), meant);
    }

    #[test]
    fn an_answer_told_as_a_response_is_the_same_answer(spoken in spoken(), summary in any::<bool>()) {
        let body = json!({"model": "m", "input": "x", "stream": true,
            "reasoning": {"summary": if summary { json!("auto") } else { Value::Null }},
            "include": ["message.output_text.logprobs"]});
        let (request, conversation) =
            asked(body, openai_responses::read, openai_responses::conversation);
        let mut meant = expected(&spoken.reply, |choice| {
            plainly(choice, match choice.finish {
                Some(Finish::Length) => "incomplete: max_output_tokens",
                Some(Finish::ContentFilter) => "incomplete: content_filter",
                _ => "completed",
            })
        });
        // The dialect has one choice.
        meant.choices.truncate(1);
        if meant.choices[0].text.is_empty() {
            // Log probabilities of a text that was never said.
            meant.choices[0].logprobs.clear();
        }
        let whole = openai_responses::whole(&request, &conversation, id(), &spoken.reply);
        let told = hearing::responses_whole(std::str::from_utf8(&whole).expect("text"));
        let mut talk = openai_responses::Talk::new(&request, &conversation, id());
        let mut streamed = hearing::responses_stream(&spoken.tell(&mut talk));
        // Which of them belongs to a text that came later, only the stream's order says.
        streamed.choices[0].logprobs.clone_from(&told.choices[0].logprobs);
        prop_assert_eq!(&streamed, &told);
        if told.choices[0].logprobs.is_empty() {
            meant.choices[0].logprobs.clear();
        }
        prop_assert_eq!(&told, &meant);
    }

    #[test]
    fn an_answer_told_as_a_message_is_the_same_answer(spoken in spoken()) {
        let body = json!({"model": "m", "max_tokens": 9, "stream": true,
            "messages": [{"role": "user", "content": "x"}], "stop_sequences": ["END"]});
        let (request, conversation) = asked(body, anthropic::read, anthropic::conversation);
        let mut meant = expected(&spoken.reply, |choice| {
            let called = !choice.said.calls.is_empty();
            let mut heard = plainly(choice, match choice.finish {
                Some(Finish::Length) => "max_tokens",
                Some(Finish::ContentFilter) => "refusal",
                _ if called => "tool_use",
                Some(Finish::StopString) => "stop_sequence",
                _ => "end_turn",
            });
            heard.logprobs.clear();
            for (_, _, arguments) in &mut heard.calls {
                let read: Option<Value> = serde_json::from_str(arguments).ok();
                *arguments = match read.filter(Value::is_object) {
                    Some(object) => object.to_string(),
                    None if arguments.is_empty() => "{}".to_owned(),
                    None => json!({"INVALID_JSON": arguments}).to_string(),
                };
            }
            heard
        });
        meant.choices.truncate(1);
        // The dialect always tells usage.
        meant.usage = Some(meant.usage.unwrap_or_default());
        let whole = anthropic::whole(&request, &conversation, id(), &spoken.reply);
        let whole = std::str::from_utf8(&whole).expect("text");
        prop_assert_eq!(&hearing::messages_whole(whole), &meant);
        let mut talk = anthropic::Talk::new(&request, &conversation, id());
        prop_assert_eq!(&hearing::messages_stream(&spoken.tell(&mut talk)), &meant);
    }

    #[test]
    fn the_text_of_an_answer_told_as_completions_is_the_same_text(spoken in spoken()) {
        let body = json!({"model": "m", "prompt": "x", "stream": true, "n": 2,
            "stream_options": {"include_usage": true}});
        let (request, conversation) =
            asked(body, openai_completions::read, openai_completions::conversation);
        let mut meant = expected(&spoken.reply, |choice| Heard {
            text: choice.said.text.clone(),
            ended: match choice.finish {
                Some(Finish::Length) => "length",
                Some(Finish::ContentFilter) => "content_filter",
                _ => "stop",
            }
            .to_owned(),
            ..Heard::default()
        });
        let whole = openai_completions::whole(&request, &conversation, id(), &spoken.reply);
        let whole = std::str::from_utf8(&whole).expect("text");
        prop_assert_eq!(&hearing::completions_whole(whole), &meant);
        for (heard, choice) in meant.choices.iter_mut().zip(&spoken.reply.choices) {
            if heard.text.is_empty() && choice.finish.is_none() {
                heard.ended.clear();
            }
        }
        while meant.choices.last().is_some_and(|heard| *heard == Heard::default()) {
            meant.choices.pop();
        }
        let mut talk = openai_completions::Talk::new(&request, &conversation, id());
        prop_assert_eq!(&hearing::completions_stream(&spoken.tell(&mut talk)), &meant);
    }
}
