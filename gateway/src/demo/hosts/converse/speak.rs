//! An answer in Bedrock's shapes: one document, or the events of ConverseStream.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::super::answer::Said;
use super::super::fault::Fault;
use super::super::shapes::reasoning_field;
use super::super::speak::{Frame, Left, Speech, break_off};
use super::super::state::OpenCall;
use super::frames::message;

/// Bedrock fills events up, so that their size tells nothing of what is in them.
const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// The block that is being streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Thinking,
    Text,
    Call,
}

impl Speech {
    /// The whole answer as one document.
    pub(in super::super) async fn converse(&self, call: &mut OpenCall) -> Result<String, Left> {
        self.generate(call).await?;
        let mut content = Vec::new();
        if !self.answer.reasoning.is_empty() {
            let text = self.answer.reasoning.concat();
            content.push(json!({"reasoningContent": {"reasoningText": {"text": text}}}));
        }
        match &self.answer.said {
            Said::Text(text) if text.is_empty() => {}
            Said::Text(text) => content.push(json!({"text": text.concat()})),
            Said::Call {
                name, arguments, ..
            } => {
                let input: Value = serde_json::from_str(&arguments.concat()).unwrap_or(json!({}));
                content.push(json!({
                    "toolUse": {"toolUseId": self.head.call_id, "name": name, "input": input},
                }));
            }
        }
        let mut body = json!({
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self.stop_reason(),
            "metrics": {"latencyMs": 1},
        });
        if self.fault != Some(Fault::NoUsage) {
            body["usage"] = self.token_usage(call);
        }
        Ok(body.to_string())
    }

    /// Streams the answer. Whatever ends it early leaves the call billed as far as it came.
    pub(in super::super) async fn converse_stream(self, mut call: OpenCall, to: Sender<Frame>) {
        let _ = self.try_converse_stream(&mut call, &to).await;
    }

    async fn try_converse_stream(
        &self,
        call: &mut OpenCall,
        to: &Sender<Frame>,
    ) -> Result<(), Left> {
        self.wait_for_first(call, to).await?;
        event(to, "messageStart", json!({"role": "assistant"})).await?;
        let end = self.end();
        let mut sent = 0;
        let mut block = 0;
        let mut open = Open::Nothing;
        while sent < end {
            self.wait_for(sent + 1, to).await?;
            let (delta, tokens) = self.delta(sent, self.due(sent + 1, end));
            sent = (sent + tokens).min(end);
            call.generate_to(sent);
            let (kind, payload) = self.block_of(&delta);
            if open != kind {
                if open != Open::Nothing {
                    event(to, "contentBlockStop", json!({"contentBlockIndex": block})).await?;
                    block += 1;
                }
                open = kind;
            }
            let mut payload = payload;
            payload["contentBlockIndex"] = json!(block);
            let name = if payload.get("start").is_some() {
                "contentBlockStart"
            } else {
                "contentBlockDelta"
            };
            event(to, name, payload).await?;
            if self.fault == Some(Fault::GarbageFrame) && sent >= end / 2 {
                let mut damaged = message(&[(":message-type", "event")], b"{}").to_vec();
                damaged[20] ^= 1;
                send(to, damaged.into()).await?;
            }
        }
        match self.fault {
            Some(Fault::CutStream) => {
                let _ = to.send(break_off().await).await;
                return Err(Left);
            }
            Some(Fault::HangAfter) => {
                to.closed().await;
                return Err(Left);
            }
            Some(Fault::ErrorInStream) => {
                exception(to).await?;
                return Err(Left);
            }
            _ => {}
        }
        if open != Open::Nothing {
            event(to, "contentBlockStop", json!({"contentBlockIndex": block})).await?;
        }
        self.settle(call);
        event(to, "messageStop", json!({"stopReason": self.stop_reason()})).await?;
        let times = match self.fault {
            Some(Fault::NoUsage) => 0,
            Some(Fault::UsageTwice) => 2,
            _ => 1,
        };
        for _ in 0..times {
            let metadata = json!({"usage": self.token_usage(call), "metrics": {"latencyMs": 1}});
            event(to, "metadata", metadata).await?;
        }
        Ok(())
    }

    /// A delta of the chat dialect as the block that it belongs to and that block's event.
    fn block_of(&self, delta: &Value) -> (Open, Value) {
        if let Some(text) = delta.get(reasoning_field(self.head.host)) {
            let delta = json!({"delta": {"reasoningContent": {"text": text}}});
            return (Open::Thinking, delta);
        }
        if let Some(text) = delta.get("content") {
            return (Open::Text, json!({"delta": {"text": text}}));
        }
        let call = &delta["tool_calls"][0];
        let function = &call["function"];
        let payload = match call.get("id") {
            Some(id) => json!({"start": {"toolUse": {"toolUseId": id, "name": function["name"]}}}),
            None => json!({"delta": {"toolUse": {"input": function["arguments"]}}}),
        };
        (Open::Call, payload)
    }

    fn stop_reason(&self) -> &'static str {
        match self.finish() {
            "stop" => "end_turn",
            "length" => "max_tokens",
            "tool_calls" => "tool_use",
            _ => "malformed_model_output",
        }
    }

    /// Input and cache apart, thinking among the output.
    fn token_usage(&self, call: &OpenCall) -> Value {
        match self.fault {
            Some(Fault::UsageNegative) => {
                json!({"inputTokens": -5, "outputTokens": -1, "totalTokens": -6})
            }
            Some(Fault::UsageHuge) => {
                json!({"inputTokens": u64::MAX, "outputTokens": u64::MAX, "totalTokens": u64::MAX})
            }
            _ => {
                let counts = self.counts(call, self.end());
                json!({
                    "inputTokens": counts.cache_miss,
                    "outputTokens": counts.output,
                    "totalTokens": counts.cache_miss + counts.cache_hit + counts.output,
                    "cacheReadInputTokens": counts.cache_hit,
                    "cacheWriteInputTokens": 0,
                })
            }
        }
    }
}

async fn event(to: &Sender<Frame>, kind: &str, mut payload: Value) -> Result<(), Left> {
    let length = payload.to_string().len();
    payload["p"] = json!(&PADDING[..8 + length % 50]);
    let headers = [
        (":event-type", kind),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    send(to, message(&headers, payload.to_string().as_bytes())).await
}

/// The failure that breaks into a stream.
async fn exception(to: &Sender<Frame>) -> Result<(), Left> {
    let headers = [
        (":exception-type", "modelStreamErrorException"),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    let payload =
        json!({"message": "The model had an error while answering.", "originalStatusCode": 500});
    send(to, message(&headers, payload.to_string().as_bytes())).await
}

async fn send(to: &Sender<Frame>, frame: Bytes) -> Result<(), Left> {
    to.send(Ok(frame)).await.map_err(|_| Left)
}
