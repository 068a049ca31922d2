//! An answer in the canonical language: as a wire hears it piece by piece, and whole. A wire's
//! `Decoder` turns a host's bytes into [`Event`]s, a surface's [`Speaker`] turns those into the
//! caller's dialect; neither knows which the other is.

use bytes::BytesMut;

use super::{Finish, Refusal, Said, Usage};

/// A piece of an answer. Text borrows from the host's bytes, unescaped.
///
/// Order, for each choice: reasoning, text and calls in any order that the host chose, then its
/// finish. `Usage` may come more than once, before or after the finish: the last one stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// The first, once: the host's id of the answer.
    Begin {
        id: Option<&'a str>,
    },
    Reasoning {
        choice: u32,
        text: &'a str,
    },
    Text {
        choice: u32,
        text: &'a str,
    },
    /// A call begins. `index` counts a choice's calls from 0; ids are the host's, and minted by
    /// the decoder where it gave none or the same twice.
    Call {
        choice: u32,
        index: u32,
        id: &'a str,
        name: &'a str,
    },
    /// More of a call's arguments: a piece of JSON text, cut anywhere between characters.
    Arguments {
        choice: u32,
        index: u32,
        piece: &'a str,
    },
    /// Log probabilities of what was said, in the form of OpenAI's chat dialect
    /// (`{"content":[...]}`).
    Logprobs {
        choice: u32,
        json: &'a str,
    },
    Finish {
        choice: u32,
        reason: Finish,
    },
    Usage(Usage),
    /// The host is still there.
    Alive,
}

/// Tells an answer in a caller's dialect. One for each answer, kept through a change of host.
pub trait Speaker: Send + Sync {
    /// Appends what the dialect says of this event, often nothing.
    fn say(&mut self, event: Event<'_>, out: &mut BytesMut);

    /// The answer is complete: its last events.
    fn close(&mut self, out: &mut BytesMut);

    /// The answer cannot be completed: the events that say so. Nothing follows.
    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut);
}

/// An answer that has come to its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The host's id of it.
    pub id: Option<String>,
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    pub said: Said,
    pub finish: Option<Finish>,
    /// Pieces of `{"content":[...]}`, in order.
    pub logprobs: Vec<String>,
}

/// An absurd index is no reason to allocate: choices and calls beyond these are dropped.
const MOST_CHOICES: usize = 64;
const MOST_CALLS: usize = 512;

impl Reply {
    /// Adds an event to what was said so far.
    pub fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Begin { id } => self.id = id.map(str::to_owned),
            Event::Reasoning { choice, text } => {
                if let Some(choice) = self.choice(choice) {
                    choice.said.reasoning.get_or_insert_default().push_str(text);
                }
            }
            Event::Text { choice, text } => {
                if let Some(choice) = self.choice(choice) {
                    choice.said.text.push_str(text);
                }
            }
            Event::Call {
                choice,
                index,
                id,
                name,
            } => {
                if let Some(call) = self.call(choice, index) {
                    id.clone_into(&mut call.id);
                    name.clone_into(&mut call.name);
                }
            }
            Event::Arguments {
                choice,
                index,
                piece,
            } => {
                if let Some(call) = self.call(choice, index) {
                    call.arguments.push_str(piece);
                }
            }
            Event::Logprobs { choice, json } => {
                if let Some(choice) = self.choice(choice) {
                    choice.logprobs.push(json.to_owned());
                }
            }
            Event::Finish { choice, reason } => {
                if let Some(choice) = self.choice(choice) {
                    choice.finish = Some(reason);
                }
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Alive => {}
        }
    }

    /// The same answer as events again.
    pub fn events(&self, heard: &mut dyn FnMut(Event<'_>)) {
        heard(Event::Begin {
            id: self.id.as_deref(),
        });
        for (choice, index) in self.choices.iter().zip(0_u32..) {
            if let Some(text) = &choice.said.reasoning {
                heard(Event::Reasoning {
                    choice: index,
                    text,
                });
            }
            if !choice.said.text.is_empty() {
                heard(Event::Text {
                    choice: index,
                    text: &choice.said.text,
                });
            }
            for (call, number) in choice.said.calls.iter().zip(0_u32..) {
                heard(Event::Call {
                    choice: index,
                    index: number,
                    id: &call.id,
                    name: &call.name,
                });
                heard(Event::Arguments {
                    choice: index,
                    index: number,
                    piece: &call.arguments,
                });
            }
            for json in &choice.logprobs {
                heard(Event::Logprobs {
                    choice: index,
                    json,
                });
            }
            if let Some(reason) = choice.finish {
                heard(Event::Finish {
                    choice: index,
                    reason,
                });
            }
        }
        if let Some(usage) = self.usage {
            heard(Event::Usage(usage));
        }
    }

    fn choice(&mut self, index: u32) -> Option<&mut Choice> {
        let index = usize::try_from(index)
            .ok()
            .filter(|index| *index < MOST_CHOICES)?;
        if index >= self.choices.len() {
            self.choices.resize_with(index + 1, Choice::default);
        }
        self.choices.get_mut(index)
    }

    fn call(&mut self, choice: u32, index: u32) -> Option<&mut super::Call> {
        let index = usize::try_from(index)
            .ok()
            .filter(|index| *index < MOST_CALLS)?;
        let calls = &mut self.choice(choice)?.said.calls;
        if index >= calls.len() {
            calls.resize_with(index + 1, super::Call::default);
        }
        calls.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Tokens;

    #[test]
    fn an_answer_told_as_events_is_the_same_answer() {
        let reply = Reply {
            id: Some("c-1".into()),
            choices: vec![Choice {
                said: Said {
                    reasoning: Some("hm".into()),
                    text: "yes".into(),
                    calls: vec![crate::chat::Call {
                        id: "call_1".into(),
                        name: "look".into(),
                        arguments: "{\"at\":1}".into(),
                    }],
                    unfinished: false,
                },
                finish: Some(Finish::ToolCalls),
                logprobs: vec!["{\"content\":[]}".into()],
            }],
            usage: Some(Usage {
                cache_miss: Tokens::new(3),
                ..Usage::default()
            }),
        };
        let mut again = Reply::default();
        reply.events(&mut |event| again.hear(event));
        assert_eq!(again, reply);
    }

    #[test]
    fn an_absurd_index_allocates_nothing() {
        let mut reply = Reply::default();
        reply.hear(Event::Text {
            choice: u32::MAX,
            text: "x",
        });
        reply.hear(Event::Arguments {
            choice: 0,
            index: u32::MAX,
            piece: "x",
        });
        assert!(reply.choices.len() <= 1);
    }
}
