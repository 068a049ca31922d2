//! The dialects that callers speak, as their own clients read them: how a question is put, and what
//! an answer says. Reading checks the form on the way, so that a stream that a client would not
//! understand fails here.

mod read;

use serde_json::{Value, json};

use crate::Answer;
use crate::book::MODEL;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    Chat,
    Completions,
    Messages,
    Responses,
}

/// What an answer says, plain or streamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub id: String,
    pub thinking: String,
    pub text: String,
    pub calls: Vec<Called>,
    /// Why it ended, in the dialect's word; empty where it did not come to its end.
    pub finish: String,
    /// Tokens of input and output, where they are told.
    pub usage: Option<(u64, u64)>,
    /// The error that a stream ended in.
    pub error: Option<Refused>,
}

/// A tool that the model called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

/// An error, in whatever envelope it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The gateway's own code, or the dialect's where it has no place for ours.
    pub code: String,
    /// The dialect's word for the kind of error.
    pub kind: String,
    pub message: String,
}

impl Surface {
    pub const ALL: [Surface; 4] = [
        Surface::Chat,
        Surface::Completions,
        Surface::Messages,
        Surface::Responses,
    ];
    /// Those that carry conversations rather than bare prompts.
    pub const CONVERSATIONS: [Surface; 3] = [Surface::Chat, Surface::Messages, Surface::Responses];

    pub fn path(self) -> &'static str {
        match self {
            Surface::Chat => "/v1/chat/completions",
            Surface::Completions => "/v1/completions",
            Surface::Messages => "/v1/messages",
            Surface::Responses => "/v1/responses",
        }
    }

    /// A question to the model that all mock hosts sell.
    pub fn question(self) -> Value {
        self.question_to(MODEL)
    }

    pub fn question_to(self, model: &str) -> Value {
        const TEXT: &str = "Which hosts sell this model?";
        match self {
            Surface::Chat | Surface::Messages => json!({
                "model": model,
                "max_tokens": 64,
                "messages": [{"role": "user", "content": TEXT}],
            }),
            Surface::Completions => json!({"model": model, "max_tokens": 64, "prompt": TEXT}),
            Surface::Responses => json!({"model": model, "max_output_tokens": 64, "input": TEXT}),
        }
    }

    pub fn streamed(self) -> Value {
        let mut question = self.question();
        question["stream"] = json!(true);
        question
    }

    /// A question with the one tool `look_up`.
    pub fn with_tools(self, mut question: Value) -> Value {
        let parameters = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let function = json!({"name": "look_up", "parameters": parameters});
        question["tools"] = match self {
            Surface::Chat | Surface::Completions => {
                json!([{"type": "function", "function": function}])
            }
            Surface::Messages => json!([{"name": "look_up", "input_schema": parameters}]),
            Surface::Responses => {
                json!([{"type": "function", "name": "look_up", "parameters": parameters}])
            }
        };
        question
    }

    /// The next request of a loop of tools, by a client that drops what the model thought: the
    /// question, what was called, and what the calls brought.
    pub fn followed(self, question: &Value, said: &Said, result: &str) -> Value {
        let mut next = question.clone();
        let key = match self {
            Surface::Responses => "input",
            _ => "messages",
        };
        if let Some(text) = next[key].as_str() {
            next[key] = json!([{"role": "user", "content": text}]);
        }
        let turns = next[key].as_array_mut().expect("a list of turns");
        match self {
            Surface::Chat | Surface::Completions => {
                let call = |call: &Called| {
                    let function = json!({"name": call.name, "arguments": call.arguments});
                    json!({"id": call.id, "type": "function", "function": function})
                };
                let calls: Vec<Value> = said.calls.iter().map(call).collect();
                let text = Some(&said.text).filter(|text| !text.is_empty());
                turns.push(json!({"role": "assistant", "content": text, "tool_calls": calls}));
                turns.extend(said.calls.iter().map(
                    |call| json!({"role": "tool", "tool_call_id": call.id, "content": result}),
                ));
            }
            Surface::Messages => {
                let input = |call: &Called| -> Value {
                    serde_json::from_str(&call.arguments).expect("an object")
                };
                let mut blocks = Vec::new();
                if !said.text.is_empty() {
                    blocks.push(json!({"type": "text", "text": said.text}));
                }
                blocks.extend(said.calls.iter().map(|call| {
                    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input(call)})
                }));
                turns.push(json!({"role": "assistant", "content": blocks}));
                let results: Vec<Value> = said
                    .calls
                    .iter()
                    .map(|call| {
                        json!({"type": "tool_result", "tool_use_id": call.id, "content": result})
                    })
                    .collect();
                turns.push(json!({"role": "user", "content": results}));
            }
            Surface::Responses => {
                if !said.text.is_empty() {
                    turns.push(json!({"role": "assistant", "content": said.text}));
                }
                for call in &said.calls {
                    turns.push(json!({
                        "type": "function_call", "call_id": call.id, "name": call.name,
                        "arguments": call.arguments,
                    }));
                    turns.push(json!({
                        "type": "function_call_output", "call_id": call.id, "output": result,
                    }));
                }
            }
        }
        next
    }

    /// The word for an answer that came to its end by itself.
    pub fn done(self) -> &'static str {
        match self {
            Surface::Chat | Surface::Completions => "stop",
            Surface::Messages => "end_turn",
            Surface::Responses => "completed",
        }
    }

    /// Reads an answer of status 200 as this dialect's clients do.
    pub fn read(self, answer: &Answer) -> Said {
        assert_eq!(answer.status, 200, "{self:?}: {}", answer.text);
        let kind = answer.header("content-type").unwrap_or_default();
        let said = match (self, kind.contains("event-stream")) {
            (Surface::Chat, false) => read::chat(&answer.json()),
            (Surface::Completions, false) => read::completion(&answer.json()),
            (Surface::Messages, false) => read::message(&answer.json()),
            (Surface::Responses, false) => read::response(&answer.json()),
            (Surface::Chat, true) => read::chat_stream(answer),
            (Surface::Completions, true) => read::completion_stream(answer),
            (Surface::Messages, true) => read::message_stream(answer),
            (Surface::Responses, true) => read::response_stream(answer),
        };
        said.unwrap_or_else(|wrong| panic!("{self:?}: {wrong}\n{}", answer.text))
    }

    /// Reads an error in this dialect's envelope.
    pub fn refused(self, answer: &Answer) -> Refused {
        assert_ne!(answer.status, 200, "{self:?}: {}", answer.text);
        let body = answer.json();
        if self == Surface::Messages {
            assert_eq!(body["type"], "error", "{body}");
        } else {
            assert!(body["error"].get("param").is_some(), "{body}");
        }
        read::refused(&body["error"])
    }
}
