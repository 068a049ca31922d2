//! How an answer leaves an emulated host: at the host's speed, plain or as a stream, with its
//! keep-alives, and with the fault that was asked for. A call is settled before its last byte.

use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{Answer, Said};
use super::fault::Fault;
use super::profile::EmulatedHost;
use super::shapes::{
    Counts, Head, chunk, completion, error_frame, filter_frame, reasoning_field, usage, usage_chunk,
};
use super::state::OpenCall;
use super::tariff;
use super::tokens::Prefixes;

/// A piece of a body; an error breaks the connection.
pub(super) type Frame = Result<Bytes, io::Error>;

/// The client has gone.
pub(super) struct Left;

/// Chunks of a stream are at least this far apart, unless nothing waits.
const FRAMES_APART: Duration = Duration::from_millis(10);
/// Tokens on one chunk of text, and of a tool call's arguments.
const TEXT_TOKENS: u64 = 8;
const ARGUMENT_TOKENS: u64 = 2;

/// When which token is generated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    begun: Instant,
    first: Duration,
    a_token: Duration,
}

impl Pace {
    /// `first_divisor` and `tokens_divisor` speed the host up; 0 makes it wait for nothing.
    pub(super) fn new(
        host: EmulatedHost,
        first_divisor: u32,
        tokens_divisor: u32,
        slow: bool,
    ) -> Self {
        let profile = host.profile();
        let divided =
            |wait: Duration, divisor: u32| wait.checked_div(divisor).unwrap_or(Duration::ZERO);
        let first = Duration::from_millis(profile.first_token_ms) * if slow { 20 } else { 1 };
        let a_token = Duration::from_nanos(10_000_000_000 / profile.tokens_per_10s);
        Pace {
            begun: Instant::now(),
            first: divided(first, first_divisor),
            a_token: if first_divisor == 0 {
                Duration::ZERO
            } else {
                divided(a_token, tokens_divisor)
            },
        }
    }

    /// The instant at which `token` (from 1) is there.
    fn at(&self, token: u64) -> Instant {
        let later = u32::try_from(token.saturating_sub(1)).unwrap_or(u32::MAX);
        self.begun + self.first + self.a_token.saturating_mul(later)
    }

    /// Tokens there by now.
    fn due(&self) -> u64 {
        let Some(since_first) = self.begun.elapsed().checked_sub(self.first) else {
            return 0;
        };
        match since_first.as_nanos().checked_div(self.a_token.as_nanos()) {
            Some(tokens) => u64::try_from(tokens).unwrap_or(u64::MAX).saturating_add(1),
            None => u64::MAX,
        }
    }
}

/// All that is needed to speak one answer.
pub(super) struct Speech {
    pub head: Head,
    pub answer: Answer,
    pub prompt: Prefixes,
    pub thinking: bool,
    pub include_usage: bool,
    pub fault: Option<Fault>,
    pub pace: Pace,
}

impl Speech {
    /// The last token that is generated: half of them where the fault says so.
    pub(super) fn end(&self) -> u64 {
        let tokens = self.answer.tokens();
        if self.fault.is_some_and(Fault::halves) {
            tokens / 2
        } else {
            tokens
        }
    }

    pub(super) fn counts(&self, call: &OpenCall, output: u64) -> Counts {
        let price = tariff::in_force(self.head.host, call.model, call.started);
        let cost = price.map_or(0, |price| {
            i128::from(call.cache_hit) * i128::from(price.charges.hit)
                + i128::from(call.cache_miss) * i128::from(price.charges.miss)
                + i128::from(output) * i128::from(price.charges.output)
        });
        Counts {
            cache_hit: call.cache_hit,
            cache_miss: call.cache_miss,
            reasoning: self.answer.reasoning_tokens().min(output),
            output,
            picodollars: cost,
        }
    }

    fn usage(&self, call: &OpenCall, output: u64) -> Value {
        usage(
            &self.head,
            &self.counts(call, output),
            self.thinking,
            self.fault,
        )
    }

    pub(super) fn finish(&self) -> &'static str {
        match self.fault {
            Some(Fault::GaveUp) => "insufficient_system_resource",
            _ => self.answer.finish,
        }
    }

    pub(super) fn settle(&self, call: &mut OpenCall) {
        call.generate_to(self.end());
        let whole = self.answer.after(&self.prompt);
        call.settle(
            self.fault
                .is_none_or(|fault| !fault.halves())
                .then_some(&whole),
        );
    }

    /// The latest token that is there by now, between two others.
    pub(super) fn due(&self, least: u64, most: u64) -> u64 {
        self.pace.due().clamp(least, most)
    }

    /// Generates the whole answer and settles it.
    pub(super) async fn generate(&self, call: &mut OpenCall) -> Result<(), Left> {
        const LOOK_AGAIN: Duration = Duration::from_millis(50);
        let end = self.end();
        loop {
            call.generate_to(self.pace.due().min(end));
            let there = self.pace.at(end);
            if there <= Instant::now() {
                break;
            }
            sleep_until(there.min(Instant::now() + LOOK_AGAIN)).await;
        }
        match self.fault {
            Some(Fault::HangAfter) => pending().await,
            Some(Fault::CutStream | Fault::ErrorInStream) => {
                call.generate_to(end);
                return Err(Left);
            }
            _ => self.settle(call),
        }
        Ok(())
    }

    /// Generates the whole answer, then writes it as one document.
    pub(super) async fn plain(&self, call: &mut OpenCall) -> Result<String, Left> {
        self.generate(call).await?;
        let usage = match self.fault {
            Some(Fault::NoUsage) => Value::Null,
            _ => self.usage(call, self.end()),
        };
        Ok(completion(&self.head, &self.answer, self.finish(), usage).to_string())
    }

    /// DeepSeek's plain answer: blank lines until it is there.
    pub(super) async fn plain_with_blank_lines(self, mut call: OpenCall, to: Sender<Frame>) {
        let keep_alive = call.state().options.keep_alive;
        if to.send(Ok(Bytes::from_static(b"\n"))).await.is_err() {
            return;
        }
        let body = {
            let answer = self.plain(&mut call);
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    body = &mut answer => break body,
                    () = sleep(keep_alive) => {
                        if to.send(Ok(Bytes::from_static(b"\n"))).await.is_err() {
                            return;
                        }
                    }
                    () = to.closed() => return,
                }
            }
        };
        let _ = match body {
            Ok(body) => to.send(Ok(body.into())).await,
            Err(Left) => to.send(break_off().await).await,
        };
    }

    /// Streams the answer. Whatever ends it early leaves the call billed as far as it came.
    pub(super) async fn stream(self, mut call: OpenCall, to: Sender<Frame>) {
        let _ = self.try_stream(&mut call, &to).await;
    }

    async fn try_stream(&self, call: &mut OpenCall, to: &Sender<Frame>) -> Result<(), Left> {
        self.wait_for_first(call, to).await?;
        if self.head.host == EmulatedHost::Azure {
            data(to, &filter_frame()).await?;
        }
        let mut opening = json!({"role": "assistant", "content": ""});
        if self.head.host == EmulatedHost::Deepseek && self.thinking {
            opening = json!({"role": "assistant", "content": null, "reasoning_content": ""});
        }
        match &self.head.bare {
            None => data(to, &self.chunk(opening, None)).await?,
            Some(echo) if echo.is_empty() => {}
            Some(echo) => data(to, &self.chunk(json!({"content": echo}), None)).await?,
        }
        let end = self.end();
        let mut sent = 0;
        let mut spoilt = false;
        while sent < end {
            self.wait_for(sent + 1, to).await?;
            let (delta, tokens) = self.delta(sent, self.due(sent + 1, end));
            sent = (sent + tokens).min(end);
            call.generate_to(sent);
            let mut frame = self.chunk(delta, None);
            if self.fault == Some(Fault::UsageRunning) {
                frame["usage"] = self.usage(call, sent);
            }
            data(to, &frame).await?;
            if self.fault == Some(Fault::GarbageFrame) && sent >= end / 2 && !spoilt {
                spoilt = true;
                send(to, "data: {\"id\": \"chatcmpl-broken\", \"choi\n\n").await?;
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
                data(to, &error_frame()).await?;
                return Err(Left);
            }
            _ => {}
        }
        self.settle(call);
        self.close(call, to).await
    }

    /// The finish chunk, and usage where this host puts it.
    async fn close(&self, call: &OpenCall, to: &Sender<Frame>) -> Result<(), Left> {
        let usage = self.usage(call, self.end());
        let last = self.chunk(json!({}), Some(self.finish()));
        let (on_finish, behind) = self.place_of_usage(call);
        let mut last = last;
        if on_finish {
            last["usage"] = usage.clone();
        }
        data(to, &last).await?;
        if behind {
            data(to, &usage_chunk(&self.head, usage)).await?;
        }
        if self.fault != Some(Fault::NoDone) {
            send(to, "data: [DONE]\n\n").await?;
        }
        Ok(())
    }

    /// Whether usage goes on the finish chunk, and whether on one behind it.
    fn place_of_usage(&self, call: &OpenCall) -> (bool, bool) {
        match (self.fault, self.head.host) {
            (Some(Fault::NoUsage), _) => (false, false),
            (Some(Fault::UsageTwice), _) => (true, true),
            (Some(Fault::UsageRunning), _) => (true, false),
            // Here or there, from one answer to the next.
            (_, EmulatedHost::Deepseek) if self.include_usage => {
                let odd = call.id.ends_with(['1', '3', '5', '7', '9']);
                (odd, !odd)
            }
            // These say it even unasked.
            (_, EmulatedHost::Deepseek | EmulatedHost::Fireworks) => (true, false),
            _ => (false, self.include_usage),
        }
    }

    fn chunk(&self, delta: Value, finish: Option<&str>) -> Value {
        chunk(&self.head, delta, finish, self.include_usage)
    }

    /// The next delta of tokens `from..to` at most, and how many it carries.
    pub(super) fn delta(&self, from: u64, to: u64) -> (Value, u64) {
        let thought = self.answer.reasoning_tokens();
        if from < thought {
            let to = to.min(thought).min(from + TEXT_TOKENS);
            let text = joined(&self.answer.reasoning, from, to);
            return (json!({reasoning_field(self.head.host): text}), to - from);
        }
        match &self.answer.said {
            Said::Text(text) => {
                let to = to.min(from + TEXT_TOKENS);
                (
                    json!({"content": joined(text, from - thought, to - thought)}),
                    to - from,
                )
            }
            Said::Call {
                name, name_tokens, ..
            } if from == thought => {
                let opening = json!({"tool_calls": [{
                    "index": 0,
                    "id": self.head.call_id,
                    "type": "function",
                    "function": {"name": name, "arguments": ""},
                }]});
                (opening, *name_tokens)
            }
            Said::Call {
                name_tokens,
                arguments,
                ..
            } => {
                let to = to.min(from + ARGUMENT_TOKENS);
                let before = thought + name_tokens;
                let part = joined(arguments, from - before, to - before);
                let delta = json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]});
                (delta, to - from)
            }
        }
    }

    /// Waits for the first token; DeepSeek sends comments meanwhile, and one in any case.
    pub(super) async fn wait_for_first(
        &self,
        call: &OpenCall,
        to: &Sender<Frame>,
    ) -> Result<(), Left> {
        if self.head.host != EmulatedHost::Deepseek {
            return wait_until(self.pace.at(1), to).await;
        }
        let keep_alive = call.state().options.keep_alive;
        loop {
            send(to, ": keep-alive\n\n").await?;
            let next = Instant::now() + keep_alive;
            let first = self.pace.at(1);
            wait_until(first.min(next), to).await?;
            if first <= next {
                return Ok(());
            }
        }
    }

    pub(super) async fn wait_for(&self, token: u64, to: &Sender<Frame>) -> Result<(), Left> {
        if self.pace.due() >= token {
            return if to.is_closed() { Err(Left) } else { Ok(()) };
        }
        wait_until(self.pace.at(token).max(Instant::now() + FRAMES_APART), to).await
    }
}

fn joined(pieces: &[String], from: u64, to: u64) -> String {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(pieces.len());
    pieces[index(from)..index(to)].concat()
}

async fn wait_until(instant: Instant, to: &Sender<Frame>) -> Result<(), Left> {
    tokio::select! {
        () = to.closed() => Err(Left),
        () = sleep_until(instant) => Ok(()),
    }
}

async fn data(to: &Sender<Frame>, json: &Value) -> Result<(), Left> {
    send(to, &format!("data: {json}\n\n")).await
}

async fn send(to: &Sender<Frame>, text: &str) -> Result<(), Left> {
    to.send(Ok(Bytes::copy_from_slice(text.as_bytes())))
        .await
        .map_err(|_| Left)
}

/// An error that breaks the connection, once what was sent before it had time to leave.
pub(super) async fn break_off() -> Frame {
    sleep(Duration::from_millis(5)).await;
    Err(broken())
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "the emulated host breaks off",
    )
}
