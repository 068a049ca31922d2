//! A stream as its caller reads it, over the hosts that it may take. When one breaks off, the next of
//! the plan goes on from what the caller has; when nobody can, the stream ends with an error in the
//! caller's dialect. A part never looks like the whole.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame};
use tower::Service;

use super::super::meter::{Delivered, MeteredStream, Piece, Setback, Shared, failed};
use super::super::passage::Dispatch;
use super::Walk;
use crate::chat::Refusal;

pub(super) struct Answering<S> {
    walk: Option<Walk<S>>,
    /// Where in the plan the stream comes from.
    rank: usize,
    stream: Option<MeteredStream>,
    /// Another host is being asked to go on.
    next: Option<BoxFuture<'static, Next<S>>>,
    /// Set when it has to end in an error.
    broken: Arc<AtomicBool>,
}

/// What came of asking the others.
struct Next<S> {
    walk: Walk<S>,
    rank: usize,
    outcome: Result<MeteredStream, Bytes>,
}

impl<S> Answering<S>
where
    S: Service<Dispatch, Response = Delivered, Error = Setback> + Send + Unpin + 'static,
    S::Future: Send + 'static,
{
    pub(super) fn new(
        walk: Walk<S>,
        rank: usize,
        stream: MeteredStream,
        broken: Arc<AtomicBool>,
    ) -> Self {
        Answering {
            walk: Some(walk),
            rank,
            stream: Some(stream),
            next: None,
            broken,
        }
    }

    /// A stream broke off: asks the rest of the plan to go on from there.
    fn go_on(&mut self, stream: &MeteredStream, refusal: Refusal) -> Option<Bytes> {
        let so_far = stream.so_far();
        let walk = self.walk.take()?;
        let rank = self.rank;
        match so_far {
            // Of several answers only one may have begun: the others would be lost.
            Some(so_far)
                if walk.planned.asked.request.choices == 1 && so_far.lock().can_go_on() =>
            {
                self.next = Some(Box::pin(walk.go_on(rank, so_far, refusal)));
                None
            }
            Some(so_far) => Some(failed(&so_far, &refusal)),
            None => Some(walk.planned.asked.surface.stream_error(&refusal)),
        }
    }
}

impl<S> Walk<S>
where
    S: Service<Dispatch, Response = Delivered, Error = Setback> + Send + Unpin + 'static,
    S::Future: Send + 'static,
{
    async fn go_on(mut self, mut rank: usize, so_far: Shared, refusal: Refusal) -> Next<S> {
        self.setbacks
            .push((rank, Setback::Broken(refusal.message.clone())));
        loop {
            let next = rank + 1;
            let may = self.attempts < self.rooms.limits.attempts
                && next < self.planned.plan.ranked.len()
                && self.may_ask_another();
            if !may {
                let mut refusal = refusal;
                refusal.attempts = self.attempts;
                let refusal = refusal.because(self.lacks());
                let bytes = failed(&so_far, &refusal);
                return Next {
                    walk: self,
                    rank,
                    outcome: Err(bytes),
                };
            }
            rank = next;
            match self.ask(rank, Some(so_far.clone())).await {
                Ok(Delivered::Stream(stream)) => {
                    self.attempts += 1;
                    return Next {
                        walk: self,
                        rank,
                        outcome: Ok(*stream),
                    };
                }
                // A stream was asked for.
                Ok(Delivered::Whole { .. }) => {
                    self.attempts += 1;
                    self.setbacks.push((
                        rank,
                        Setback::NotAnAnswer("it answered a stream with a plain body"),
                    ));
                }
                Err(setback) => {
                    if setback.was_sent() {
                        self.attempts += 1;
                    }
                    self.setbacks.push((rank, setback));
                }
            }
        }
    }
}

impl<S> Body for Answering<S>
where
    S: Service<Dispatch, Response = Delivered, Error = Setback> + Send + Unpin + 'static,
    S::Future: Send + 'static,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(next) = &mut this.next {
                let Next {
                    walk,
                    rank,
                    outcome,
                } = ready!(next.as_mut().poll(context));
                this.next = None;
                this.rank = rank;
                match outcome {
                    Ok(stream) => {
                        this.walk = Some(walk);
                        this.stream = Some(stream);
                    }
                    Err(ending) => {
                        this.broken.store(true, Relaxed);
                        return Poll::Ready(Some(Ok(Frame::data(ending))));
                    }
                }
            }
            let Some(stream) = &mut this.stream else {
                return Poll::Ready(None);
            };
            match ready!(stream.poll_piece(context)) {
                Some(Piece::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Piece::Broken(refusal)) => {
                    let Some(stream) = this.stream.take() else {
                        continue;
                    };
                    if let Some(ending) = this.go_on(&stream, refusal) {
                        this.broken.store(true, Relaxed);
                        return Poll::Ready(Some(Ok(Frame::data(ending))));
                    }
                }
                None => {
                    this.stream = None;
                    return Poll::Ready(None);
                }
            }
        }
    }
}
