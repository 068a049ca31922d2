//! A stream on its way to the caller: watched in place, settled before its last bytes are passed
//! on, and drained or cancelled when the caller leaves.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::open::{Durable, OpenEntry};
use crate::backend::wires::openai::Sight;
use crate::chat::{Code, CountedBy, Refusal};
use crate::ledger::Outcome;

/// An answer being streamed.
pub struct MeteredStream(Option<Flow>);

struct Flow {
    upstream: Incoming,
    sight: Sight,
    open: OpenEntry,
    ready: VecDeque<Bytes>,
    /// A settlement that must be durable before what is ready may be passed on.
    waiting: Option<Durable>,
    idle: Pin<Box<Sleep>>,
    last: Instant,
    ended: bool,
}

impl fmt::Debug for MeteredStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeteredStream(..)")
    }
}

impl MeteredStream {
    /// A stream of which `begun` has been read.
    pub(super) fn new(
        upstream: Incoming,
        sight: Sight,
        open: OpenEntry,
        begun: Vec<Bytes>,
    ) -> Self {
        let last = Instant::now();
        let mut flow = Flow {
            idle: Box::pin(sleep_until(last + open.rooms().limits.idle_timeout)),
            upstream,
            sight,
            open,
            ready: VecDeque::new(),
            waiting: None,
            last,
            ended: false,
        };
        flow.pass(begun);
        MeteredStream(Some(flow))
    }
}

impl Body for MeteredStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(flow) = &mut self.0 else {
            return Poll::Ready(None);
        };
        loop {
            if let Some(waiting) = &mut flow.waiting {
                ready!(Pin::new(waiting).poll(context));
                flow.waiting = None;
            }
            if let Some(piece) = flow.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if flow.ended {
                return Poll::Ready(None);
            }
            match Pin::new(&mut flow.upstream).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        flow.last = Instant::now();
                        let pieces = flow.sight.take(data);
                        flow.pass(pieces);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    flow.finish(
                        Some(format!("the host's stream broke off: {error}")),
                        Outcome::Cut,
                    );
                }
                Poll::Ready(None) => flow.finish(None, Outcome::Cut),
                Poll::Pending => ready!(flow.poll_idle(context)),
            }
        }
    }
}

impl Flow {
    /// Queues what has come; a stream that says it is done is settled first.
    fn pass(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        self.ready.extend(pieces);
        let report = self.sight.report();
        if report.done && !self.open.is_settled() {
            let outcome = if report.complete() {
                Outcome::Answered
            } else {
                Outcome::Cut
            };
            self.settle(outcome);
            self.say_cost();
        } else if let Some(error) = &report.error
            && !self.open.is_settled()
        {
            tracing::debug!(entry = %self.open.id(), error, "the host reported an error inside its stream");
            self.settle(Outcome::Cut);
        }
    }

    /// The host has nothing more to say. An answer that did not come to its end says so.
    fn finish(&mut self, broken: Option<String>, otherwise: Outcome) {
        self.ended = true;
        let rest = self.sight.end();
        // Half an event would spoil the error that follows it.
        if broken.is_none() && self.sight.report().complete() {
            self.pass(rest);
        }
        if self.open.is_settled() {
            return;
        }
        if broken.is_none() && self.sight.report().complete() {
            self.settle(Outcome::Answered);
            self.say_cost();
            return;
        }
        let mut refusal = Refusal::new(
            if otherwise == Outcome::TimedOut { Code::TimedOut } else { Code::HostFailed },
            broken.unwrap_or_else(|| {
                "the host's stream ended before the answer was complete; what came is not the whole answer".to_owned()
            }),
        );
        refusal.attempts = self.open.dispatch().attempt;
        let surface = self.open.dispatch().planned.asked.surface;
        self.settle(otherwise);
        self.ready.push_back((surface.stream_error)(&refusal));
    }

    fn settle(&mut self, outcome: Outcome) {
        let settled = settle(&mut self.open, &self.sight, outcome);
        if !settled.is_ready() {
            self.waiting = Some(settled);
        }
    }

    /// The cost is known once the answer is whole: it follows in a comment, which clients skip.
    fn say_cost(&mut self) {
        let comment = format!(": x-tollgate-cost: {}\n\n", self.open.spent());
        self.ready.push_back(Bytes::from(comment));
    }

    /// Ready when the host has been silent for too long and the stream was ended for it.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.idle.as_mut().poll(context));
            // The timer is not moved with each event; it asks how long ago the last one was.
            let limit = self.open.rooms().limits.idle_timeout;
            let due = self.last + limit;
            if due <= Instant::now() {
                let silence = format!(
                    "the host sent nothing for {} s; what came is not the whole answer",
                    limit.as_secs()
                );
                self.finish(Some(silence), Outcome::TimedOut);
                return Poll::Ready(());
            }
            self.idle.as_mut().reset(due);
        }
    }

    /// Reads the rest without a caller, as far as that is cheap, and books it.
    async fn drain(mut self) {
        let limits = self.open.rooms().limits.clone();
        self.open.caller_left();
        let deadline = Instant::now() + limits.drain_time;
        while !self.open.is_settled() {
            let report = self.sight.report();
            if self
                .open
                .cost_of_rest(report.reasoning_bytes + report.visible_bytes)
                > limits.drain_cost
            {
                break;
            }
            let silence = (Instant::now() + limits.idle_timeout).min(deadline);
            match timeout_at(silence, self.upstream.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        let _ = self.sight.take(data);
                        if self.sight.report().done {
                            break;
                        }
                    }
                }
                Ok(None) => {
                    let _ = self.sight.end();
                    break;
                }
                Ok(Some(Err(_))) | Err(_) => break,
            }
        }
        settle(&mut self.open, &self.sight, Outcome::Left);
    }
}

/// Books a stream by what was reported, or else by what was seen.
fn settle(open: &mut OpenEntry, sight: &Sight, outcome: Outcome) -> Durable {
    let report = sight.report();
    if report.nonsense {
        open.nonsense();
    }
    let seen = report.reasoning_bytes + report.visible_bytes;
    let (usage, counted_by) = match report.usage {
        Some(usage) => {
            if outcome == Outcome::Answered {
                open.learn(usage, Some(seen));
            }
            let by = if outcome == Outcome::Left {
                CountedBy::Drained
            } else {
                CountedBy::Reported
            };
            (usage, by)
        }
        None => (
            open.counted(report.reasoning_bytes, report.visible_bytes),
            CountedBy::Counted,
        ),
    };
    open.settle(outcome, usage, counted_by).written
}

impl Drop for MeteredStream {
    fn drop(&mut self) {
        let Some(flow) = self.0.take() else { return };
        if flow.open.is_settled() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(flow.drain());
            }
            // The process is ending: what was seen is booked.
            Err(_) => {
                let Flow {
                    mut open, sight, ..
                } = flow;
                settle(&mut open, &sight, Outcome::Left);
            }
        }
    }
}
