//! Hears ConverseStream: events of `application/vnd.amazon.eventstream` become events of the
//! canonical language. It relies on `eventstream` for the framing. Text and thinking come without a
//! `contentBlockStart`; calls have one, and their index counts them. `metadata` with the usage comes
//! last, behind `messageStop`. A failure after status 200 is an `exception` or `error` message.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use smallvec::SmallVec;

use super::super::{Decoder, Report};
use super::eventstream::{Message, Parser};
use super::finish;
use super::names::Names;
use super::usage::RawUsage;
use crate::chat::{Event, Finish};

/// Further calls of one answer are not heard.
const MOST_CALLS: usize = 512;

#[derive(Debug)]
pub struct Hearing {
    parser: Parser,
    names: Names,
    report: Report,
    begun: bool,
    stopped: bool,
    /// The block of each call, and its id.
    calls: SmallVec<[(u32, String); 2]>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    #[serde(default)]
    content_block_index: u32,
    #[serde(borrow, default)]
    start: Begun<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun<'a> {
    #[serde(borrow)]
    tool_use: Option<CallBegun<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallBegun<'a> {
    #[serde(borrow, default)]
    tool_use_id: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta<'a> {
    #[serde(default)]
    content_block_index: u32,
    #[serde(borrow, default)]
    delta: Piece<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_use: Option<Arguments<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Thought<'a>>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    input: Cow<'a, str>,
}

/// A signature or redacted thinking has no place in the canonical language: only its host could
/// read it.
#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop<'a> {
    #[serde(borrow, default)]
    stop_reason: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Metadata {
    usage: Option<RawUsage>,
}

#[derive(Deserialize)]
struct Failed<'a> {
    #[serde(borrow, alias = "Message")]
    message: Option<Cow<'a, str>>,
}

impl Hearing {
    /// `names`: of the conversation that is answered. `host_request`: the answer's id, which stands
    /// in a header ([`request_id`](super::request_id)).
    pub fn new(names: Names, host_request: Option<String>) -> Self {
        Hearing {
            parser: Parser::default(),
            names,
            report: Report {
                host_request,
                ..Report::default()
            },
            begun: false,
            stopped: false,
            calls: SmallVec::new(),
        }
    }

    fn read(&mut self, heard: &mut dyn FnMut(Event<'_>)) {
        while self.report.error.is_none() {
            match self.parser.next() {
                Ok(Some(message)) => self.message(&message, heard),
                Ok(None) => return,
                Err(broken) => self.report.error = Some(broken.to_string()),
            }
        }
    }

    fn message(&mut self, message: &Message, heard: &mut dyn FnMut(Event<'_>)) {
        self.report.events += 1;
        match message.header(":message-type") {
            Some("exception") => self.exception(message),
            Some("error") => {
                let code = message.header(":error-code").unwrap_or("error");
                let text = message.header(":error-message").unwrap_or("no explanation");
                self.fail(code, text);
            }
            _ => {
                let kind = message.header(":event-type").unwrap_or_default();
                if !std::mem::replace(&mut self.begun, true) {
                    let id = self.report.host_request.as_deref();
                    heard(Event::Begin { id });
                }
                if self.event(kind, message.payload(), heard).is_err() {
                    self.fail(kind, "the event is not what its type says");
                }
            }
        }
    }

    fn event(
        &mut self,
        kind: &str,
        payload: &[u8],
        heard: &mut dyn FnMut(Event<'_>),
    ) -> serde_json::Result<()> {
        match kind {
            "contentBlockStart" => {
                let start: Start<'_> = serde_json::from_slice(payload)?;
                match start.start.tool_use {
                    // Nothing could be run, and going on would tell the rest as if it were whole.
                    Some(call) if call.name.is_empty() => {
                        self.fail(kind, "it called a tool without naming it");
                    }
                    Some(call) if !self.stopped => {
                        self.call(start.content_block_index, &call, heard);
                    }
                    _ => {}
                }
            }
            "contentBlockDelta" => {
                let delta: Delta<'_> = serde_json::from_slice(payload)?;
                if !self.stopped {
                    self.delta(&delta, heard);
                }
            }
            "messageStop" if self.stopped => {}
            "messageStop" => {
                let stop: Stop<'_> = serde_json::from_slice(payload)?;
                let mut reason = finish(&stop.stop_reason);
                if reason == Finish::Stop && !self.calls.is_empty() {
                    reason = Finish::ToolCalls;
                }
                self.stopped = true;
                self.report.finish = Some(reason);
                heard(Event::Finish { choice: 0, reason });
            }
            "metadata" => {
                let metadata: Metadata = serde_json::from_slice(payload)?;
                self.report.done = self.stopped;
                match metadata.usage.map(RawUsage::normalise) {
                    Some(Ok(usage)) => {
                        self.report.usage = Some(usage);
                        heard(Event::Usage(usage));
                    }
                    Some(Err(_)) => self.report.nonsense = true,
                    None => {}
                }
            }
            // `messageStart`, `contentBlockStop`, and what may be added to them.
            _ => heard(Event::Alive),
        }
        Ok(())
    }

    fn call(&mut self, block: u32, begun: &CallBegun<'_>, heard: &mut dyn FnMut(Event<'_>)) {
        if self.calls.len() >= MOST_CALLS {
            return;
        }
        let index = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        let given = begun.tool_use_id.as_ref();
        let id = if given.is_empty() || self.calls.iter().any(|(_, known)| known == given) {
            let answer = self.report.host_request.as_deref().unwrap_or("answer");
            format!("call_{answer}_{index}")
        } else {
            given.to_owned()
        };
        heard(Event::Call {
            choice: 0,
            index,
            id: &id,
            name: self.names.callers(&begun.name),
        });
        self.report.visible_bytes += begun.name.len() as u64;
        self.calls.push((block, id));
    }

    fn delta(&mut self, delta: &Delta<'_>, heard: &mut dyn FnMut(Event<'_>)) {
        let piece = &delta.delta;
        if let Some(Thought { text: Some(text) }) = &piece.reasoning_content {
            self.report.reasoning_bytes += text.len() as u64;
            heard(Event::Reasoning { choice: 0, text });
        }
        if let Some(text) = &piece.text {
            self.report.visible_bytes += text.len() as u64;
            heard(Event::Text { choice: 0, text });
        }
        if let Some(Arguments { input }) = &piece.tool_use {
            // The latest call of that block: a host that numbers blocks anew begins anew.
            let block = delta.content_block_index;
            let Some(index) = self.calls.iter().rposition(|(known, _)| *known == block) else {
                return;
            };
            self.report.visible_bytes += input.len() as u64;
            heard(Event::Arguments {
                choice: 0,
                index: u32::try_from(index).unwrap_or(u32::MAX),
                piece: input,
            });
        }
    }

    fn exception(&mut self, message: &Message) {
        let kind = message.header(":exception-type").unwrap_or("exception");
        let failed: Option<Failed<'_>> = serde_json::from_slice(message.payload()).ok();
        let text = failed.and_then(|failed| failed.message);
        self.fail(kind, text.as_deref().unwrap_or("no explanation"));
    }

    fn fail(&mut self, kind: &str, text: &str) {
        self.report.error = Some(format!("{kind}: {text}").chars().take(600).collect());
    }
}

impl Decoder for Hearing {
    fn take(&mut self, chunk: Bytes, heard: &mut dyn FnMut(Event<'_>)) {
        // After a failure nothing is heard, and nothing kept.
        if self.report.error.is_none() {
            self.parser.push(&chunk);
        }
        self.read(heard);
    }

    /// Half a message at the end is worth nothing; what came before it was heard already.
    fn end(&mut self, heard: &mut dyn FnMut(Event<'_>)) {
        self.read(heard);
    }

    fn report(&self) -> &Report {
        &self.report
    }
}
