//! What a host says to one request, and what it charges for it.

use serde_json::{Value, json};

use super::script::{Script, UsageStyle};
use super::{Bill, State};

/// The text of the `index`th event of every answer.
pub fn text_of(index: usize) -> String {
    format!("word{index} ")
}

/// How DeepSeek refuses a conversation whose calls came back without their thinking.
const MISSING_THINKING: &str =
    "The `reasoning_content` in the thinking mode must be passed back to the API.";

/// One request being answered.
pub(super) struct Call<'a> {
    pub(super) script: Script,
    state: &'a State,
    index: usize,
    /// The bill if the answer is made whole.
    pub(super) whole: Bill,
    pub(super) asked_usage: bool,
    pub(super) streams: bool,
    pub(super) choices: usize,
    model: Value,
    /// A bare prompt is completed: a choice is a text.
    bare: bool,
    /// Words of the text that the request holds already, to be gone on from.
    said: usize,
    missing_thinking: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(state: &'a State, index: usize, path: &str, body: &[u8]) -> Self {
        let mut script = state.script();
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let bare = !path.ends_with("/chat/completions");
        if bare {
            // Nobody thinks before completing a bare prompt.
            script.thinking = 0;
        }
        let messages = asked["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let last = messages.last().unwrap_or(&Value::Null);
        if last["role"] == "tool" {
            script.calls.clear();
        }
        let goes_on = last["prefix"] == true || asked["continue_final_message"] == true;
        let said = last["content"].as_str().filter(|_| goes_on);
        let said = said.map_or(0, |text| text.split_whitespace().count());
        let size = u64::try_from(body.len()).expect("a body's length");
        let mut call = Call {
            said: said.min(script.events - script.thinking),
            missing_thinking: script.demands_thinking && lacks_thinking(&asked, messages),
            script,
            state,
            index,
            whole: Bill {
                cache_miss: 100 + size % 57,
                cache_hit: 64 * (count(index) % 3),
                ..Bill::default()
            },
            asked_usage: asked["stream_options"]["include_usage"] == true,
            streams: asked["stream"] == true,
            choices: usize::try_from(asked["n"].as_u64().unwrap_or(1)).expect("a few"),
            model: asked["model"].clone(),
            bare,
        };
        call.whole = call.until(call.script.events);
        call
    }

    /// Why the host does not answer this conversation.
    pub(super) fn refusal(&self) -> Option<String> {
        self.missing_thinking.then(|| {
            json!({"error": {
                "message": MISSING_THINKING,
                "type": "invalid_request_error",
                "param": null,
                "code": "invalid_request_error",
            }})
            .to_string()
        })
    }

    pub(super) fn charge(&self, bill: Bill) {
        self.state
            .update(self.index, |received| received.bill = Some(bill));
    }

    /// The events that are said: all thinking, and what is missing of the text.
    pub(super) fn indexes(&self) -> impl Iterator<Item = usize> + use<> {
        let Script {
            thinking, events, ..
        } = self.script;
        (0..thinking).chain(thinking + self.said..events)
    }

    /// The bill after that many events.
    pub(super) fn until(&self, events: usize) -> Bill {
        let reasoning = self.script.thinking.min(events);
        let visible = (events - reasoning).saturating_sub(self.said);
        Bill {
            reasoning: count(reasoning * self.choices),
            visible: count(visible * self.choices),
            ..self.whole
        }
    }

    pub(super) fn usage(&self, bill: Bill) -> Value {
        let prompt = bill.cache_miss + bill.cache_hit;
        let completion = bill.reasoning + bill.visible;
        let told = |count: u64| match self.script.usage {
            UsageStyle::Negative => json!(-1),
            UsageStyle::Huge => json!(18_000_000_000_000_000_000_u64),
            UsageStyle::Text => json!(count.to_string()),
            UsageStyle::Zero => json!(0),
            _ => json!(count),
        };
        let hit = if self.script.usage == UsageStyle::Inconsistent {
            prompt + 1_000
        } else {
            bill.cache_hit
        };
        json!({
            "prompt_tokens": told(prompt),
            "completion_tokens": told(completion),
            "total_tokens": told(prompt + completion),
            "prompt_cache_hit_tokens": told(hit),
            "prompt_cache_miss_tokens": told(bill.cache_miss),
            "prompt_tokens_details": {"cached_tokens": told(hit)},
            "completion_tokens_details": {"reasoning_tokens": told(bill.reasoning)},
        })
    }

    fn id(&self) -> String {
        format!("chatcmpl-{}", self.index)
    }

    pub(super) fn chunk(
        &self,
        choice: usize,
        delta: &Value,
        finish: &Value,
        events: usize,
    ) -> Value {
        let (object, choice) = if self.bare {
            let text = delta["content"].as_str().unwrap_or_default();
            let said =
                json!({"index": choice, "text": text, "logprobs": null, "finish_reason": finish});
            ("text_completion", said)
        } else {
            let said =
                json!({"index": choice, "delta": delta, "logprobs": null, "finish_reason": finish});
            ("chat.completion.chunk", said)
        };
        let mut chunk = json!({
            "id": self.id(), "object": object, "created": 1_795_000_000, "model": self.model,
            "choices": [choice],
        });
        match self.script.usage {
            UsageStyle::NullThenValue => chunk["usage"] = Value::Null,
            UsageStyle::Cumulative => chunk["usage"] = self.usage(self.until(events)),
            _ => {}
        }
        chunk
    }

    pub(super) fn usage_chunk(&self, bill: Bill) -> Value {
        let object = if self.bare {
            "text_completion"
        } else {
            "chat.completion.chunk"
        };
        json!({
            "id": self.id(), "object": object, "created": 1_795_000_000, "model": self.model,
            "choices": [], "usage": self.usage(bill),
        })
    }

    /// The deltas of the calls, each call's arguments in two pieces.
    pub(super) fn pieces(&self) -> Vec<Value> {
        let calls = self.script.calls.iter().enumerate();
        calls
            .flat_map(|(number, call)| {
                let (one, other) = call.arguments.split_at(call.arguments.len() / 2);
                let function = json!({"name": call.name, "arguments": ""});
                let begun = json!({"index": number, "id": call.id, "type": "function", "function": function});
                let more =
                    |piece: &str| json!({"index": number, "function": {"arguments": piece}});
                [begun, more(one), more(other)]
            })
            .map(|piece| json!({"tool_calls": [piece]}))
            .collect()
    }

    /// Whether this piece is the first of a call's arguments.
    pub(super) fn is_half(&self, piece: &Value) -> bool {
        let text = piece["tool_calls"][0]["function"]["arguments"].as_str();
        text.is_some_and(|text| {
            let calls = &mut self.script.calls.iter();
            !text.is_empty() && calls.any(|call| call.arguments.starts_with(text))
        })
    }

    /// Why the answer ends where it was made whole.
    pub(super) fn finish(&self) -> &'static str {
        if self.script.calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        }
    }

    pub(super) fn completion(&self) -> String {
        let text = |range: std::ops::Range<usize>| range.map(text_of).collect::<String>();
        let script = &self.script;
        let visible = text(script.thinking + self.said..script.events);
        let choice = |index: usize| {
            if self.bare {
                return json!({"index": index, "text": visible, "logprobs": null, "finish_reason": "stop"});
            }
            let mut message = json!({
                "role": "assistant",
                "content": visible,
                script.thinking_as: text(0..script.thinking),
            });
            if !script.calls.is_empty() {
                let calls = script.calls.iter().map(|call| {
                    let function = json!({"name": call.name, "arguments": call.arguments});
                    json!({"id": call.id, "type": "function", "function": function})
                });
                message["tool_calls"] = calls.collect();
            }
            json!({"index": index, "message": message, "logprobs": null, "finish_reason": self.finish()})
        };
        let object = if self.bare {
            "text_completion"
        } else {
            "chat.completion"
        };
        let choices: Vec<Value> = (0..self.choices).map(choice).collect();
        let mut answer = json!({
            "id": self.id(), "object": object, "created": 1_795_000_000, "model": self.model,
            "choices": choices,
        });
        if script.usage != UsageStyle::Never {
            answer["usage"] = self.usage(self.whole);
        }
        answer.to_string()
    }
}

/// Whether an earlier turn called a tool without saying what it thought before.
fn lacks_thinking(asked: &Value, messages: &[Value]) -> bool {
    let has_tools = asked["tools"]
        .as_array()
        .is_some_and(|tools| !tools.is_empty());
    let called = |message: &&Value| {
        message["tool_calls"]
            .as_array()
            .is_some_and(|calls| !calls.is_empty())
    };
    has_tools
        && asked["thinking"]["type"] != "disabled"
        && messages.iter().filter(called).any(|message| {
            message["reasoning_content"]
                .as_str()
                .is_none_or(str::is_empty)
        })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).expect("a count")
}
