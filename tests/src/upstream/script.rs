//! What a host does with a request: a well-behaved answer, and each way known to us in which hosts
//! depart from it. One field is one departure; they combine.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

#[derive(Clone, Debug)]
pub struct Script {
    pub start: Start,
    pub reply: Reply,
    pub usage: UsageStyle,
    pub end: End,
    pub framing: Framing,
    /// Events with text; each is one token of output.
    pub events: usize,
    /// How many of them, from the first, are thinking.
    pub thinking: usize,
    /// The host's name for thinking in its answers.
    pub thinking_as: &'static str,
    /// With tools and thinking it wants to be told what it thought before each earlier call, and
    /// refuses as DeepSeek does.
    pub demands_thinking: bool,
    /// What it calls after its text, unless the request ends with a result.
    pub calls: Vec<ToolCall>,
    /// Between events.
    pub pause: Duration,
    /// Nothing comes beyond this many events, and nothing at all of a plain answer, until the gate
    /// is opened.
    pub gate: Option<(usize, Gate)>,
}

/// A tool that the host's model calls.
#[derive(Clone, Debug)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON text.
    pub arguments: String,
}

/// Keeps answers back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn closed() -> Self {
        Gate(Arc::new(Semaphore::new(0)))
    }

    pub fn open(&self) {
        self.0.close();
    }

    pub(super) async fn opened(&self) {
        // There is nothing to acquire: it ends when the gate opens.
        let _ = self.0.acquire().await;
    }
}

impl Default for Script {
    fn default() -> Self {
        Script {
            start: Start::AtOnce,
            reply: Reply::Completion,
            usage: UsageStyle::LastChunk,
            end: End::Done,
            framing: Framing::Plain,
            events: 12,
            thinking: 4,
            thinking_as: "reasoning_content",
            demands_thinking: false,
            calls: Vec::new(),
            pause: Duration::ZERO,
            gate: None,
        }
    }
}

/// What comes before the first byte of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    AtOnce,
    After(Duration),
    /// The request is read, and nothing ever comes.
    Never,
    /// The connection is closed without a byte.
    Close,
    /// The head of the answer comes byte by byte, this far apart.
    SlowHead(Duration),
}

#[derive(Clone, Debug)]
pub enum Reply {
    /// A completion, plain or streamed as the request asks.
    Completion,
    /// This instead, not charged.
    Status {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Status 200 and this, charged as a completion.
    Body {
        content_type: &'static str,
        body: String,
    },
    /// A plain completion that stops in the middle though its length was announced whole.
    HalfABody,
    /// A plain completion, whole by its length, whose JSON stops in the middle.
    HalfTheJson,
}

/// How the host tells what it charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageStyle {
    /// A chunk without choices before `[DONE]`, if the request asked for it.
    LastChunk,
    /// There too, though nobody asked.
    Unasked,
    Never,
    Twice,
    /// `null` on every chunk, then the counts on the last.
    NullThenValue,
    OnFinishChunk,
    /// On every chunk, counting up.
    Cumulative,
    Negative,
    /// Beyond 2^63.
    Huge,
    /// As JSON strings.
    Text,
    /// Hit and miss do not add up to the prompt.
    Inconsistent,
    /// All zeros, said outright.
    Zero,
}

/// How a stream ends; the numbers are events.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Done,
    NoDone,
    /// In the middle of this event the connection is closed.
    CutInside(usize),
    /// After this many events the connection is closed.
    CutAfter(usize),
    /// After this many events an event tells an error, and the stream ends properly.
    ErrorAfter(usize),
    /// After this many events nothing more comes, and the connection stays.
    HangAfter(usize),
    /// `finish_reason` says that the host gave up.
    GaveUp,
    /// It says so after this many events, and the stream ends properly.
    GaveUpAfter(usize),
    /// In the middle of a call's arguments the connection is closed.
    InsideACall,
}

/// How a stream's bytes are laid out.
#[derive(Clone, Copy, Debug)]
pub enum Framing {
    Plain,
    /// Every byte in a chunk of its own.
    ByteByByte,
    Crlf,
    /// Comment lines between events, blank lines before a plain answer.
    KeepAlives,
    /// One event's text is this long.
    HugeLine(usize),
    ByteOrderMark,
}

impl Script {
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Script::replying(Reply::Status {
            status,
            headers: Vec::new(),
            body: body.into(),
        })
    }

    /// A refusal that says when to come back.
    pub fn come_back(status: u16, retry_after: impl Into<String>) -> Self {
        let body = r#"{"error":{"message":"busy","type":"rate_limit","param":null,"code":null}}"#;
        let headers = vec![("retry-after", retry_after.into())];
        Script::replying(Reply::Status {
            status,
            headers,
            body: body.to_owned(),
        })
    }

    pub fn replying(reply: Reply) -> Self {
        Script {
            reply,
            ..Script::default()
        }
    }

    pub fn starting(start: Start) -> Self {
        Script {
            start,
            ..Script::default()
        }
    }

    pub fn ending(end: End) -> Self {
        Script {
            end,
            ..Script::default()
        }
    }

    pub fn telling(usage: UsageStyle) -> Self {
        Script {
            usage,
            ..Script::default()
        }
    }

    pub fn framed(framing: Framing) -> Self {
        Script {
            framing,
            ..Script::default()
        }
    }

    /// Thinks, and calls a tool once.
    pub fn calling(id: &str, name: &str, arguments: &str) -> Self {
        let script = Script::default();
        Script {
            events: script.thinking,
            calls: vec![ToolCall {
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
            }],
            ..script
        }
    }

    /// Waits at this event, or before a plain answer, until the gate is opened.
    pub fn gated(mut self, event: usize, gate: &Gate) -> Self {
        self.gate = Some((event, gate.clone()));
        self
    }

    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self.thinking = self.thinking.min(events);
        self
    }

    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}
