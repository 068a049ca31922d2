//! Readers of what callers get, stream and plain answer, as their clients add it up. Source: the
//! official clients' accumulators and types. What is read is an [`Answer`] in the dialect's own words
//! for how it ended.

use serde_json::{Value, json};

use crate::chat::{Tokens, Usage};

/// An answer as a caller has it in the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub choices: Vec<Heard>,
    pub usage: Option<Usage>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub thought: String,
    pub text: String,
    /// Id, name, arguments.
    pub calls: Vec<(String, String, String)>,
    pub ended: String,
    pub logprobs: Vec<Value>,
}

/// The data of each event but comments, with the name that its `event:` line gives.
fn events(stream: &str) -> Vec<(Option<&str>, &str)> {
    assert!(stream.ends_with("\n\n"));
    let blocks = stream.split_terminator("\n\n");
    let told = blocks.filter(|block| !block.starts_with(':'));
    told.map(|block| {
        let (name, data) = match block.split_once('\n') {
            Some((name, data)) => (Some(name.strip_prefix("event: ").expect("a name")), data),
            None => (None, block),
        };
        (name, data.strip_prefix("data: ").expect("data"))
    })
    .collect()
}

fn object(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).expect("JSON");
    assert!(value.is_object());
    value
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("an index")).expect("small")
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Total counts and what is part of them, as the five that are not.
fn usage(input: &Value, hit: &Value, write: &Value, output: &Value, thought: &Value) -> Usage {
    let (hit, write, thought) = (count(hit), count(write), count(thought));
    Usage {
        cache_miss: Tokens::new(count(input) - hit - write),
        cache_hit: Tokens::new(hit),
        cache_write: Tokens::new(write),
        reasoning: Tokens::new(thought),
        visible: Tokens::new(count(output) - thought),
    }
}

fn openai_usage(usage_object: &Value) -> Option<Usage> {
    usage_object.is_object().then(|| {
        let details = &usage_object["prompt_tokens_details"];
        usage(
            &usage_object["prompt_tokens"],
            &details["cached_tokens"],
            &details["cache_write_tokens"],
            &usage_object["completion_tokens"],
            &usage_object["completion_tokens_details"]["reasoning_tokens"],
        )
    })
}

/// A stream of chat chunks.
pub(super) fn chat_stream(stream: &str) -> Answer {
    let mut events = events(stream);
    assert_eq!(events.pop(), Some((None, "[DONE]")));
    let mut answer = Answer::default();
    for (_, data) in events {
        let chunk = object(data);
        answer.usage = openai_usage(&chunk["usage"]).or(answer.usage);
        for choice in list(&chunk["choices"]) {
            let at = index(&choice["index"]);
            if answer.choices.len() <= at {
                answer.choices.resize_with(at + 1, Heard::default);
            }
            let heard = &mut answer.choices[at];
            assert!(heard.ended.is_empty());
            let delta = &choice["delta"];
            heard.thought.push_str(&text(&delta["reasoning_content"]));
            heard.text.push_str(&text(&delta["content"]));
            heard.ended = text(&choice["finish_reason"]);
            heard
                .logprobs
                .extend_from_slice(list(&choice["logprobs"]["content"]));
            for call in list(&delta["tool_calls"]) {
                let at = index(&call["index"]);
                if at == heard.calls.len() {
                    heard.calls.push(Default::default());
                }
                let known = &mut heard.calls[at];
                // Clients join all three.
                known.0.push_str(&text(&call["id"]));
                known.1.push_str(&text(&call["function"]["name"]));
                known.2.push_str(&text(&call["function"]["arguments"]));
            }
        }
    }
    answer
}

pub(super) fn chat_whole(body: &str) -> Answer {
    let body = object(body);
    assert_eq!(body["object"], "chat.completion");
    let choices = list(&body["choices"]).iter().map(|choice| {
        let message = &choice["message"];
        Heard {
            thought: text(&message["reasoning_content"]),
            text: text(&message["content"]),
            calls: list(&message["tool_calls"])
                .iter()
                .map(|call| {
                    let function = &call["function"];
                    (
                        text(&call["id"]),
                        text(&function["name"]),
                        text(&function["arguments"]),
                    )
                })
                .collect(),
            ended: text(&choice["finish_reason"]),
            logprobs: list(&choice["logprobs"]["content"]).to_vec(),
        }
    });
    Answer {
        choices: choices.collect(),
        usage: openai_usage(&body["usage"]),
    }
}

/// A stream of text completions.
pub(super) fn completions_stream(stream: &str) -> Answer {
    let mut events = events(stream);
    assert_eq!(events.pop(), Some((None, "[DONE]")));
    let mut answer = Answer::default();
    for (_, data) in events {
        let chunk = object(data);
        answer.usage = openai_usage(&chunk["usage"]).or(answer.usage);
        for choice in list(&chunk["choices"]) {
            let at = index(&choice["index"]);
            if answer.choices.len() <= at {
                answer.choices.resize_with(at + 1, Heard::default);
            }
            answer.choices[at].text.push_str(&text(&choice["text"]));
            answer.choices[at].ended = text(&choice["finish_reason"]);
        }
    }
    answer
}

pub(super) fn completions_whole(body: &str) -> Answer {
    let body = object(body);
    let choices = list(&body["choices"]).iter().map(|choice| Heard {
        text: text(&choice["text"]),
        ended: text(&choice["finish_reason"]),
        ..Heard::default()
    });
    Answer {
        choices: choices.collect(),
        usage: openai_usage(&body["usage"]),
    }
}

/// A stream of Responses events: what its deltas add up to is what its last event holds.
pub(super) fn responses_stream(stream: &str) -> Answer {
    let events = events(stream);
    let mut output: Vec<Value> = Vec::new();
    let (_, last) = events.last().expect("an end");
    let last = object(last);
    for (name, data) in &events {
        let event = object(data);
        assert_eq!(*name, event["type"].as_str());
        let kind = text(&event["type"]);
        if kind == "response.output_item.added" {
            assert_eq!(index(&event["output_index"]), output.len());
            output.push(event["item"].clone());
        }
        let Some(item) = event["output_index"]
            .as_u64()
            .and_then(|at| output.get_mut(usize::try_from(at).expect("small")))
        else {
            continue;
        };
        let delta = text(&event["delta"]);
        let grow = |value: &mut Value| {
            let grown = text(value) + &delta;
            *value = json!(grown);
        };
        match kind.as_str() {
            "response.content_part.added" => item["content"] = json!([event["part"]]),
            "response.reasoning_summary_part.added" => item["summary"] = json!([event["part"]]),
            "response.output_text.delta" | "response.reasoning_text.delta" => {
                grow(&mut item["content"][0]["text"]);
            }
            "response.reasoning_summary_text.delta" => grow(&mut item["summary"][0]["text"]),
            "response.function_call_arguments.delta" => grow(&mut item["arguments"]),
            _ => {}
        }
    }
    let answer = response(&last["response"]);
    let mut added = last["response"].clone();
    added["output"] = json!(output);
    let added = response(&added);
    assert_eq!(added.choices[0].thought, answer.choices[0].thought);
    assert_eq!(added.choices[0].text, answer.choices[0].text);
    assert_eq!(added.choices[0].calls, answer.choices[0].calls);
    answer
}

pub(super) fn responses_whole(body: &str) -> Answer {
    response(&object(body))
}

fn response(response: &Value) -> Answer {
    let mut heard = Heard {
        ended: match &response["incomplete_details"]["reason"] {
            Value::String(reason) => format!("incomplete: {reason}"),
            _ => text(&response["status"]),
        },
        ..Heard::default()
    };
    for item in list(&response["output"]) {
        match item["type"].as_str() {
            Some("reasoning") => {
                for piece in list(&item["content"]).iter().chain(list(&item["summary"])) {
                    heard.thought.push_str(&text(&piece["text"]));
                }
            }
            Some("message") => {
                for piece in list(&item["content"]) {
                    heard.text.push_str(&text(&piece["text"]));
                    heard.logprobs.extend_from_slice(list(&piece["logprobs"]));
                }
            }
            Some("function_call") => heard.calls.push((
                text(&item["call_id"]),
                text(&item["name"]),
                text(&item["arguments"]),
            )),
            kind => panic!("an item of {kind:?}"),
        }
    }
    let told = &response["usage"];
    let usage = told.is_object().then(|| {
        usage(
            &told["input_tokens"],
            &told["input_tokens_details"]["cached_tokens"],
            &told["input_tokens_details"]["cache_write_tokens"],
            &told["output_tokens"],
            &told["output_tokens_details"]["reasoning_tokens"],
        )
    });
    Answer {
        choices: vec![heard],
        usage,
    }
}

/// A stream of Messages events.
pub(super) fn messages_stream(stream: &str) -> Answer {
    let mut message = Value::Null;
    let mut inputs: Vec<String> = Vec::new();
    for (name, data) in events(stream) {
        let event = object(data);
        assert_eq!(name, event["type"].as_str());
        let at = event["index"]
            .as_u64()
            .map(|at| usize::try_from(at).expect("small"));
        match name {
            Some("message_start") => message = event["message"].clone(),
            Some("content_block_start") => {
                let content = message["content"].as_array_mut().expect("content");
                assert_eq!(at, Some(content.len()));
                content.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            Some("content_block_delta") => {
                let block = &mut message["content"][at.expect("an index")];
                let delta = &event["delta"];
                for field in ["text", "thinking"] {
                    if let Some(more) = delta[field].as_str() {
                        block[field] = json!(text(&block[field]) + more);
                    }
                }
                inputs[at.expect("an index")].push_str(&text(&delta["partial_json"]));
            }
            Some("content_block_stop") => {
                let at = at.expect("an index");
                if message["content"][at]["type"] == "tool_use" {
                    message["content"][at]["input"] = object(&inputs[at]);
                }
            }
            Some("message_delta") => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            Some("message_stop" | "ping") => {}
            other => panic!("{other:?}"),
        }
    }
    self::message(&message)
}

pub(super) fn messages_whole(body: &str) -> Answer {
    message(&object(body))
}

fn message(message: &Value) -> Answer {
    let mut heard = Heard {
        ended: text(&message["stop_reason"]),
        ..Heard::default()
    };
    for block in list(&message["content"]) {
        match block["type"].as_str() {
            Some("thinking") => heard.thought.push_str(&text(&block["thinking"])),
            Some("text") => heard.text.push_str(&text(&block["text"])),
            Some("tool_use") => {
                assert!(block["input"].is_object());
                heard.calls.push((
                    text(&block["id"]),
                    text(&block["name"]),
                    block["input"].to_string(),
                ));
            }
            kind => panic!("a block of {kind:?}"),
        }
    }
    let told = &message["usage"];
    let thought = count(&told["output_tokens_details"]["thinking_tokens"]);
    Answer {
        choices: vec![heard],
        usage: Some(Usage {
            cache_miss: Tokens::new(count(&told["input_tokens"])),
            cache_hit: Tokens::new(count(&told["cache_read_input_tokens"])),
            cache_write: Tokens::new(count(&told["cache_creation_input_tokens"])),
            reasoning: Tokens::new(thought),
            visible: Tokens::new(count(&told["output_tokens"]) - thought),
        }),
    }
}
