//! A stream on its way to the caller: watched as it passes or told anew, settled before its last
//! bytes are passed on, and drained or cancelled when the caller leaves. One that breaks off says so
//! to whoever reads it, who may go on elsewhere.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::course::{Course, Shared, SoFar};
use super::keep::keep;
use super::open::{Durable, OpenEntry};
use crate::chat::{Code, CountedBy, Refusal};
use crate::ledger::Outcome;

/// An answer being streamed.
pub(in super::super) struct MeteredStream(Option<Flow>);

/// What comes of a stream.
pub(in super::super) enum Piece {
    Bytes(Bytes),
    /// It ended before its answer did, and is settled. Nothing follows.
    Broken(Refusal),
}

const UNFINISHED: &str =
    "the host's stream ended before the answer was complete; what came is not the whole answer";

struct Flow {
    upstream: Incoming,
    course: Course,
    open: OpenEntry,
    ready: VecDeque<Bytes>,
    /// A settlement that must be durable before what is ready may be passed on.
    waiting: Option<Durable>,
    broken: Option<Refusal>,
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
        course: Course,
        open: OpenEntry,
        begun: Vec<Bytes>,
    ) -> Self {
        let last = Instant::now();
        let mut flow = Flow {
            idle: Box::pin(sleep_until(last + open.rooms().limits.idle_timeout)),
            upstream,
            course,
            open,
            ready: VecDeque::new(),
            waiting: None,
            broken: None,
            last,
            ended: false,
        };
        flow.pass(begun);
        MeteredStream(Some(flow))
    }

    /// The next bytes; `None` after the end.
    pub(in super::super) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Piece>> {
        let Some(flow) = &mut self.0 else {
            return Poll::Ready(None);
        };
        loop {
            if let Some(waiting) = &mut flow.waiting {
                ready!(Pin::new(waiting).poll(context));
                flow.waiting = None;
            }
            if let Some(piece) = flow.ready.pop_front() {
                return Poll::Ready(Some(Piece::Bytes(piece)));
            }
            if flow.ended {
                return Poll::Ready(flow.broken.take().map(Piece::Broken));
            }
            match Pin::new(&mut flow.upstream).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        flow.last = Instant::now();
                        let pieces = flow.course.take(data);
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

    /// What the caller has of the answer: shared with whoever told it, or read again from what
    /// passed. `None` if that is no longer known.
    pub(in super::super) fn so_far(&self) -> Option<Shared> {
        let flow = self.0.as_ref()?;
        if let Some(shared) = flow.course.shared() {
            return Some(shared);
        }
        let said = flow.course.said()?;
        let speaker = flow.open.dispatch().planned.resume(&said)?;
        Some(std::sync::Arc::new(parking_lot::Mutex::new(SoFar::of(
            said, speaker,
        ))))
    }
}

impl Flow {
    /// Queues what has come; a stream that says it is done is settled first.
    fn pass(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        self.ready.extend(pieces);
        if self.open.is_settled() {
            return;
        }
        let report = self.course.report();
        if let Some(error) = &report.error {
            let told = format!("the host gave up inside its answer: {error}");
            self.give_up(told, Outcome::Cut);
        } else if report.done {
            if report.complete() {
                self.complete();
            } else {
                self.give_up(UNFINISHED.to_owned(), Outcome::Cut);
            }
        }
    }

    /// The whole answer is here: settled, kept where it will be needed again, and closed.
    fn complete(&mut self) {
        self.open.host_ended_well(true);
        self.settle(Outcome::Answered);
        keep(&self.open, &self.course);
        let counted = self.open.counted_so_far(self.course.report());
        self.ready.extend(self.course.close(counted));
        self.say_cost();
    }

    fn give_up(&mut self, why: String, outcome: Outcome) {
        let code = if outcome == Outcome::TimedOut {
            Code::TimedOut
        } else {
            Code::HostFailed
        };
        let mut refusal = Refusal::new(code, why);
        refusal.attempts = self.open.dispatch().attempt;
        self.open.host_ended_well(false);
        self.settle(outcome);
        self.broken = Some(refusal);
        self.ended = true;
    }

    /// The host has nothing more to say. An answer that did not come to its end says so.
    fn finish(&mut self, broken: Option<String>, otherwise: Outcome) {
        self.ended = true;
        let rest = self.course.end();
        let complete = broken.is_none() && self.course.report().complete();
        // Half an event would spoil the error that follows it.
        if complete {
            self.pass(rest);
        }
        if self.open.is_settled() {
            return;
        }
        if complete {
            self.complete();
        } else {
            let why = broken.unwrap_or_else(|| UNFINISHED.to_owned());
            self.give_up(why, otherwise);
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        let settled = settle(&mut self.open, &self.course, outcome);
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
            let report = self.course.report();
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
                        let _ = self.course.take(data);
                        if self.course.report().done {
                            break;
                        }
                    }
                }
                Ok(None) => {
                    let _ = self.course.end();
                    break;
                }
                Ok(Some(Err(_))) | Err(_) => break,
            }
        }
        settle(&mut self.open, &self.course, Outcome::Left);
        if self.course.report().complete() {
            self.open.host_ended_well(true);
            keep(&self.open, &self.course);
        }
    }
}

/// Books a stream by what was reported, or else by what was seen.
fn settle(open: &mut OpenEntry, course: &Course, outcome: Outcome) -> Durable {
    let report = course.report();
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
                    mut open, course, ..
                } = flow;
                settle(&mut open, &course, Outcome::Left);
            }
        }
    }
}
