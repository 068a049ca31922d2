//! Meter: each attempt is written down before its first byte leaves, watched while it passes, and
//! settled whatever becomes of it: answered, refused, cut, or left by its caller.

mod course;
mod detached;
mod keep;
mod open;
mod put;
mod stream;
mod whole;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tracing::warn;

pub(super) use course::{Shared, failed};
pub(super) use stream::{MeteredStream, Piece};

use self::course::{Course, SoFar};
use self::detached::Detached;
use self::open::OpenEntry;
use self::put::{Put, put};
use self::whole::whole;
use super::Rooms;
use super::passage::Dispatch;
use crate::backend::wires;
use crate::backend::{Call, Reply, TransportError, retry_after};
use crate::catalog::Wire;
use crate::chat::{Code, CountedBy, Refusal, Usage};
use crate::ledger::Outcome;

/// An error body longer than this says nothing more.
const ERROR_BYTES: usize = 64 << 10;
/// And has to come within this time.
const ERROR_TIME: Duration = Duration::from_secs(5);
/// What may come before a stream's first data: comments and blank lines.
const PREAMBLE_BYTES: usize = 1 << 20;
/// A host that refuses our credential or account is left alone this long.
const LOCKED_OUT: Duration = Duration::from_secs(60);
/// A host that says 429 without saying for how long.
const BUSY: Duration = Duration::from_secs(1);

/// What an attempt brought.
pub(super) enum Delivered {
    Whole { body: Bytes, priced: bool },
    Stream(Box<MeteredStream>),
}

/// Why an attempt brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Setback {
    #[error("its account has no request left to run at once")]
    Full,
    /// The host's protocol has no words for this request.
    #[error("{0}")]
    CannotSay(String),
    /// The request cannot be understood, whoever is asked.
    #[error("{0}")]
    Unreadable(Refusal),
    #[error("{0}")]
    Unwritten(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Broken(String),
    #[error("it sent nothing for {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("it answered {status}: {message}")]
    Status {
        status: u16,
        message: String,
        retry_after: Option<Duration>,
    },
    #[error("{0}")]
    NotAnAnswer(&'static str),
    #[error("it gave up: {0}")]
    GaveUp(String),
}

impl Setback {
    pub(super) fn was_sent(&self) -> bool {
        !matches!(
            self,
            Setback::Full | Setback::Unwritten(_) | Setback::CannotSay(_) | Setback::Unreadable(_)
        )
    }

    /// Setbacks that no other backend would mend.
    pub(super) fn ends_the_walk(&self) -> Option<Refusal> {
        match self {
            Setback::Unreadable(refusal) => Some(refusal.clone()),
            Setback::Unwritten(why) => Some(
                Refusal::new(
                    Code::Overloaded,
                    format!("the ledger cannot be written, and nothing is sent unmetered: {why}"),
                )
                .retry_after(Duration::from_secs(5)),
            ),
            Setback::Status {
                status: 400 | 413 | 422,
                message,
                ..
            } => Some(Refusal::new(
                Code::InvalidRequest,
                format!("the host refused the request: {message}"),
            )),
            _ => None,
        }
    }

    pub(super) fn is_timeout(&self) -> bool {
        matches!(
            self,
            Setback::TimedOut(_)
                | Setback::Status {
                    status: 408 | 504,
                    ..
                }
        )
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self,
            Setback::Full
                | Setback::Status {
                    status: 429 | 503 | 529,
                    ..
                }
        )
    }

    /// How long to wait before the same backend may do better; `None` if it will not.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Setback::Unreachable(_)
            | Setback::Broken(_)
            | Setback::NotAnAnswer(_)
            | Setback::GaveUp(_) => Some(Duration::ZERO),
            Setback::Full => Some(BUSY),
            Setback::Status {
                status: 429 | 500 | 502 | 503 | 529,
                retry_after,
                ..
            } => Some(retry_after.unwrap_or(Duration::ZERO)),
            _ => None,
        }
    }
}

#[derive(Clone)]
pub(super) struct Meter<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Meter<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Meter { inner, rooms }
    }
}

impl<S> Service<Dispatch> for Meter<S>
where
    S: Service<Call, Response = Reply, Error = TransportError> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Delivered;
    type Error = Setback;
    type Future = BoxFuture<'static, Result<Delivered, Setback>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Setback>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dispatch: Dispatch) -> Self::Future {
        let left = dispatch.left.clone();
        let worth_waiting = dispatch.cost_of_output() <= self.rooms.limits.drain_cost;
        let patience = self.rooms.limits.drain_time;
        let attempt = metered(self.inner.clone(), self.rooms.clone(), dispatch);
        // A caller who leaves before the answer begins makes no token free: the attempt goes on
        // without it where the rest is cheap.
        Box::pin(Detached::new(
            Box::pin(attempt),
            worth_waiting,
            patience,
            left,
        ))
    }
}

async fn metered<S>(
    mut host: S,
    rooms: Arc<Rooms>,
    dispatch: Dispatch,
) -> Result<Delivered, Setback>
where
    S: Service<Call, Response = Reply, Error = TransportError>,
{
    let planned = dispatch.planned.clone();
    let site = planned.site(dispatch.rank);
    let backend = site.backend.clone();
    let request = &planned.asked.request;
    let Some(occupied) = backend.state.occupy(backend.offer().concurrency) else {
        return Err(Setback::Full);
    };
    let Put {
        outgoing,
        told,
        address,
    } = put(&rooms.tenants, &dispatch, &backend)?;
    let now = rooms.clock.now();
    let (mut open, written) = OpenEntry::open(rooms.clone(), dispatch, occupied, now)
        .map_err(|error| Setback::Unwritten(error.to_string()))?;
    if let Err(error) = written.await {
        open.settle(Outcome::Failed, Usage::default(), CountedBy::Nothing);
        return Err(Setback::Unwritten(error.to_string()));
    }
    backend.state.breaker.begin(now);
    let deadline = Instant::now() + rooms.limits.first_byte_timeout;
    let sent = host.call(Call {
        backend: backend.clone(),
        id: open.id(),
        body: outgoing.body,
        headers: outgoing.headers,
        address,
        stream: request.stream,
    });
    open.sent();
    let result = match timeout_at(deadline, sent).await {
        Err(_) => {
            open.settle(
                Outcome::TimedOut,
                open.expected(!request.stream),
                CountedBy::Estimated,
            );
            Err(Setback::TimedOut(rooms.limits.first_byte_timeout))
        }
        Ok(Err(error)) => {
            open.settle(Outcome::Failed, Usage::default(), CountedBy::Nothing);
            Err(match error {
                TransportError::Unreachable(_) | TransportError::NoCredential(_) => {
                    Setback::Unreachable(error.to_string())
                }
                TransportError::Broken(_) => Setback::Broken(error.to_string()),
            })
        }
        Ok(Ok(reply)) if reply.status() != StatusCode::OK => {
            let setback = refused(backend.host().wire, reply, now).await;
            open.settle(Outcome::Refused, Usage::default(), CountedBy::Nothing);
            Err(setback)
        }
        Ok(Ok(reply)) if request.stream => streamed(reply, open, told, deadline).await,
        Ok(Ok(reply)) => whole(reply, open, told).await,
    };
    let begun = matches!(result, Ok(Delivered::Stream(_)));
    observe(&backend, result.as_ref().err(), begun, rooms.clock.now());
    result
}

/// Tells the backend's breaker how it went.
fn observe(
    backend: &crate::backend::Backend,
    setback: Option<&Setback>,
    stream: bool,
    now: crate::time::Timestamp,
) {
    let breaker = &backend.state.breaker;
    match setback {
        // A stream has only begun: how it ends is told when it does.
        None if stream => {}
        // An answer, or an error of the caller's making: the host works.
        None
        | Some(Setback::Status {
            status: 400 | 413 | 422,
            ..
        }) => breaker.success(),
        Some(
            Setback::Full | Setback::Unwritten(_) | Setback::CannotSay(_) | Setback::Unreadable(_),
        ) => {}
        Some(Setback::Status {
            status: 429,
            retry_after,
            ..
        }) => {
            breaker.rest(now, retry_after.unwrap_or(BUSY));
        }
        // Another credential is drawn for the next request: that one may try it at once.
        Some(Setback::Status {
            status: 401 | 403, ..
        }) if backend.authority.is_renewing() => breaker.failure(now),
        Some(
            setback @ Setback::Status {
                status: 401..=404, ..
            },
        ) => {
            warn!(backend = %backend.name, "{setback}; left alone for a minute: check its credential, balance and model id");
            breaker.rest(now, LOCKED_OUT);
        }
        Some(setback) => {
            if let Setback::Status {
                retry_after: Some(wait),
                ..
            } = setback
            {
                breaker.rest(now, *wait);
            }
            breaker.failure(now);
        }
    }
}

async fn refused(wire: Wire, reply: Reply, now: crate::time::Timestamp) -> Setback {
    let (head, mut body) = reply.into_parts();
    let retry_after = retry_after(&head.headers, now);
    let mut text = BytesMut::new();
    let deadline = Instant::now() + ERROR_TIME;
    while text.len() < ERROR_BYTES
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        if let Ok(data) = frame.into_data() {
            text.extend_from_slice(&data);
        }
    }
    let (status, message) = wires::refusal(wire, head.status.as_u16(), &head.headers, &text);
    Setback::Status {
        status,
        message,
        retry_after,
    }
}

/// Reads a stream up to its first data: until then another backend can still be asked.
async fn streamed(
    reply: Reply,
    mut open: OpenEntry,
    told: bool,
    deadline: Instant,
) -> Result<Delivered, Setback> {
    let wire = {
        let dispatch = open.dispatch();
        dispatch.planned.site(dispatch.rank).backend.host().wire
    };
    let kind = reply
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("");
    if kind.contains("html") {
        open.settle(Outcome::Failed, Usage::default(), CountedBy::Nothing);
        return Err(Setback::NotAnAnswer("it answered 200 with a page of HTML"));
    }
    if !wires::is_stream(wire, kind) {
        // Tokens may have been spent on it all the same: it is read and booked, but is no stream.
        return whole(reply, open, told).await.and_then(|_| {
            Err(Setback::NotAnAnswer(
                "it answered a stream with a plain body",
            ))
        });
    }
    let (head, mut upstream) = reply.into_parts();
    let mut course = match course(&open, told, &head.headers) {
        Ok(course) => course,
        Err(setback) => {
            open.settle(Outcome::Cut, open.expected(false), CountedBy::Estimated);
            return Err(setback);
        }
    };
    let mut begun = Vec::new();
    let mut size = 0;
    let why = loop {
        let frame = match timeout_at(deadline, upstream.frame()).await {
            Err(_) => break Some(Setback::TimedOut(open.rooms().limits.first_byte_timeout)),
            Ok(Some(Err(error))) => {
                break Some(Setback::Broken(format!("its stream broke off: {error}")));
            }
            Ok(None) => {
                begun.extend(course.end());
                break (course.report().events == 0)
                    .then_some(Setback::NotAnAnswer("its stream ended before any data"));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        size += data.len();
        begun.extend(course.take(data));
        if course.report().events > 0 {
            break None;
        }
        if course.report().done || size > PREAMBLE_BYTES {
            break Some(Setback::NotAnAnswer("its stream brings no data"));
        }
    };
    if let Some(error) = course.report().error.clone() {
        open.settle(Outcome::Refused, Usage::default(), CountedBy::Nothing);
        return Err(Setback::GaveUp(error));
    }
    if let Some(why) = why {
        let (outcome, usage, counted) = match &why {
            Setback::TimedOut(_) => (
                Outcome::TimedOut,
                open.expected(false),
                CountedBy::Estimated,
            ),
            _ => (Outcome::Failed, Usage::default(), CountedBy::Nothing),
        };
        open.settle(outcome, usage, counted);
        return Err(why);
    }
    open.first_byte();
    open.host_request(course.report().host_request.clone());
    if open.dispatch().left.load(Relaxed) {
        // Its caller left meanwhile; dropping the stream drains or cancels it.
        open.caller_left();
    }
    Ok(Delivered::Stream(Box::new(MeteredStream::new(
        upstream, course, open, begun,
    ))))
}

/// How the answer goes to its caller.
fn course(open: &OpenEntry, told: bool, headers: &http::HeaderMap) -> Result<Course, Setback> {
    let (dispatch, request) = (open.dispatch(), open.request());
    let host = dispatch.planned.site(dispatch.rank).backend.host();
    if !told {
        let keep = if open.may_be_needed_again() {
            open.rooms().limits.resume_bytes
        } else {
            0
        };
        return Ok(Course::passed(wires::sight(&host.quirks, request), keep));
    }
    let telling = dispatch
        .planned
        .telling()
        .map_err(|refusal| Setback::Unreadable(refusal.clone()))?;
    let so_far = match &dispatch.so_far {
        Some(so_far) => so_far.clone(),
        None => {
            let speaker = dispatch.planned.asked.surface.speaker(&telling);
            Arc::new(parking_lot::Mutex::new(SoFar::nothing(speaker)))
        }
    };
    let hearing = wires::hearing(host.wire, telling.conversation, headers);
    Ok(Course::told(hearing, so_far))
}
