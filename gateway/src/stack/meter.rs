//! Meter: each attempt is written down before its first byte leaves, watched while it passes, and
//! settled whatever becomes of it: answered, refused, cut, or left by its caller.

mod detached;
mod open;
mod stream;

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

pub use stream::MeteredStream;

use self::detached::Detached;
use self::open::OpenEntry;
use super::Rooms;
use super::passage::Dispatch;
use crate::backend::wires::openai::{self, Plain, Sight};
use crate::backend::{Call, Reply, TransportError, retry_after};
use crate::chat::{Code, CountedBy, Finish, Refusal, Usage};
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
        !matches!(self, Setback::Full | Setback::Unwritten(_))
    }

    /// Setbacks that no other backend would mend.
    pub(super) fn ends_the_walk(&self) -> Option<Refusal> {
        match self {
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
    let now = rooms.clock.now();
    let (mut open, written) = OpenEntry::open(rooms.clone(), dispatch, occupied, now)
        .map_err(|error| Setback::Unwritten(error.to_string()))?;
    if let Err(error) = written.await {
        open.settle(Outcome::Failed, Usage::default(), CountedBy::Nothing);
        return Err(Setback::Unwritten(error.to_string()));
    }
    backend.state.breaker.begin(now);
    let body = openai::body(
        request,
        openai::Asked {
            model: &backend.offer().id,
            quirks: &backend.host().quirks,
            bound: planned.bound,
        },
    );
    let deadline = Instant::now() + rooms.limits.first_byte_timeout;
    let sent = host.call(Call {
        backend: backend.clone(),
        id: open.id(),
        body,
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
            let setback = refused(reply, now).await;
            open.settle(Outcome::Refused, Usage::default(), CountedBy::Nothing);
            Err(setback)
        }
        Ok(Ok(reply)) if request.stream => streamed(reply, open, deadline).await,
        Ok(Ok(reply)) => whole(reply, open).await,
    };
    observe(&backend, result.as_ref().err(), rooms.clock.now());
    result
}

/// Tells the backend's breaker how it went.
fn observe(
    backend: &crate::backend::Backend,
    setback: Option<&Setback>,
    now: crate::time::Timestamp,
) {
    let breaker = &backend.state.breaker;
    match setback {
        // An answer, or an error of the caller's making: the host works.
        None
        | Some(Setback::Status {
            status: 400 | 413 | 422,
            ..
        }) => breaker.success(),
        Some(Setback::Full | Setback::Unwritten(_)) => {}
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

async fn refused(reply: Reply, now: crate::time::Timestamp) -> Setback {
    let status = reply.status().as_u16();
    let retry_after = retry_after(reply.headers(), now);
    let mut text = BytesMut::new();
    let mut body = reply.into_body();
    let deadline = Instant::now() + ERROR_TIME;
    while text.len() < ERROR_BYTES
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        if let Ok(data) = frame.into_data() {
            text.extend_from_slice(&data);
        }
    }
    Setback::Status {
        status,
        message: openai::error_message(&text),
        retry_after,
    }
}

/// What came of reading a body to its end.
enum Collected {
    Whole(Bytes),
    Broken(String, usize),
    Silent(usize),
    TooLarge,
}

async fn collect(reply: Reply, limit: u64, idle: Duration) -> Collected {
    let mut body = reply.into_body();
    let mut whole = BytesMut::new();
    let mut only: Option<Bytes> = None;
    loop {
        let frame = match timeout_at(Instant::now() + idle, body.frame()).await {
            Err(_) => return Collected::Silent(whole.len()),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Collected::Broken(error.to_string(), whole.len()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if (whole.len() + data.len()) as u64 > limit {
            return Collected::TooLarge;
        }
        // Most answers are one frame: no copy.
        match only.take() {
            None if whole.is_empty() => only = Some(data),
            None => whole.extend_from_slice(&data),
            Some(first) => {
                whole.extend_from_slice(&first);
                whole.extend_from_slice(&data);
            }
        }
    }
    Collected::Whole(only.unwrap_or_else(|| whole.freeze()))
}

async fn whole(reply: Reply, mut open: OpenEntry) -> Result<Delivered, Setback> {
    let limits = &open.rooms().limits;
    let body = match collect(reply, limits.answer_bytes, limits.idle_timeout).await {
        Collected::Whole(body) => body,
        Collected::Broken(error, seen) => {
            let (usage, counted) = open.if_begun(seen);
            open.settle(Outcome::Cut, usage, counted);
            return Err(Setback::Broken(format!("its answer broke off: {error}")));
        }
        Collected::Silent(seen) => {
            let silence = limits.idle_timeout;
            let (usage, counted) = open.if_begun(seen);
            open.settle(Outcome::TimedOut, usage, counted);
            return Err(Setback::TimedOut(silence));
        }
        Collected::TooLarge => {
            open.settle(Outcome::Failed, open.expected(true), CountedBy::Estimated);
            return Err(Setback::NotAnAnswer(
                "its answer is larger than limits.answer_bytes",
            ));
        }
    };
    read_whole(body, open).await
}

async fn read_whole(body: Bytes, mut open: OpenEntry) -> Result<Delivered, Setback> {
    match openai::plain(&body) {
        Plain::Answer {
            usage,
            nonsense,
            finish,
            host_request,
            visible_bytes,
        } => {
            open.first_byte();
            open.host_request(host_request);
            if nonsense {
                open.nonsense();
            }
            let (usage, counted) = match usage {
                Some(usage) => {
                    open.learn(usage, Some(visible_bytes));
                    (usage, CountedBy::Reported)
                }
                None => (open.counted(0, visible_bytes), CountedBy::Counted),
            };
            if finish == Some(Finish::HostGaveUp) {
                open.settle(Outcome::Cut, usage, counted);
                return Err(Setback::GaveUp(
                    "it stopped for want of resources".to_owned(),
                ));
            }
            let settled = open.settle(Outcome::Answered, usage, counted);
            settled.written.await;
            Ok(Delivered::Whole {
                body,
                priced: settled.priced,
            })
        }
        Plain::Error(message) => {
            open.settle(Outcome::Refused, Usage::default(), CountedBy::Nothing);
            Err(Setback::GaveUp(message))
        }
        Plain::Truncated => {
            let (usage, counted) = open.if_begun(body.len());
            open.settle(Outcome::Cut, usage, counted);
            Err(Setback::NotAnAnswer("its answer is JSON that breaks off"))
        }
        Plain::NotAnAnswer => {
            open.settle(Outcome::Failed, Usage::default(), CountedBy::Nothing);
            Err(Setback::NotAnAnswer(
                "it answered 200 with something that is no completion",
            ))
        }
    }
}

/// Reads a stream up to its first data: until then another backend can still be asked.
async fn streamed(
    reply: Reply,
    mut open: OpenEntry,
    deadline: Instant,
) -> Result<Delivered, Setback> {
    let kind = reply
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("");
    if kind.contains("html") {
        open.settle(Outcome::Failed, Usage::default(), CountedBy::Nothing);
        return Err(Setback::NotAnAnswer("it answered 200 with a page of HTML"));
    }
    if kind.contains("application/json") {
        // Tokens may have been spent on it all the same: it is read and booked, but is no stream.
        return whole(reply, open).await.and_then(|_| {
            Err(Setback::NotAnAnswer(
                "it answered a stream with a plain body",
            ))
        });
    }
    let mut upstream = reply.into_body();
    let mut sight = Sight::new(!open.request().usage_wanted);
    let mut begun = Vec::new();
    let mut size = 0;
    let why = loop {
        let frame = match timeout_at(deadline, upstream.frame()).await {
            Err(_) => break Some(Setback::TimedOut(open.rooms().limits.first_byte_timeout)),
            Ok(Some(Err(error))) => {
                break Some(Setback::Broken(format!("its stream broke off: {error}")));
            }
            Ok(None) => {
                begun.extend(sight.end());
                break (sight.report().events == 0)
                    .then_some(Setback::NotAnAnswer("its stream ended before any data"));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        size += data.len();
        begun.extend(sight.take(data));
        if sight.report().events > 0 {
            break None;
        }
        if sight.report().done || size > PREAMBLE_BYTES {
            break Some(Setback::NotAnAnswer("its stream brings no data"));
        }
    };
    if let Some(error) = sight.report().error.clone() {
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
    open.host_request(sight.report().host_request.clone());
    if open.dispatch().left.load(Relaxed) {
        // Its caller left meanwhile; dropping the stream drains or cancels it.
        open.caller_left();
    }
    Ok(Delivered::Stream(Box::new(MeteredStream::new(
        upstream, sight, open, begun,
    ))))
}
