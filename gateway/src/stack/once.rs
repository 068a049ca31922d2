//! Once: a request that names itself (`Idempotency-Key`) is answered once. Sent again, it gets the
//! same answer without asking a host; sent while the first is under way, it is told to wait; under
//! the same name with another body, it is refused. Answers are kept by project, in memory, up to a
//! limit and a day; refusals are not, so that trying again helps. A stream is kept once its caller
//! has all of it. Form: IETF draft-ietf-httpapi-idempotency-key-header.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use parking_lot::Mutex;
use tower::Service;

use super::passage::{Answer, Asked, Content, Named, Planned};
use super::{Outcome, Rooms};
use crate::chat::{Code, Frames, Refusal};
use crate::id::{BackendName, OrganisationName, ProjectName, TeamName};
use crate::money::Money;
use crate::time::Timestamp;

/// Header: the request's own name, chosen by the caller.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// A longer name is a mistake.
const NAME_BYTES: usize = 255;
/// How long an answer is kept, as other services of this kind do.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Names remembered; more push out the oldest.
const MOST_NAMES: usize = 100_000;

/// Which request, among those of one project.
type Name = (OrganisationName, TeamName, ProjectName, Arc<str>);

/// Answers to requests that named themselves.
#[derive(Debug)]
pub struct Answered {
    limit_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_name: HashMap<Name, Slot>,
    /// Names whose answers are complete, oldest first.
    order: VecDeque<(Timestamp, Name)>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    fingerprint: [u8; 32],
    /// `None` while it is under way.
    answer: Option<Arc<GivenAnswer>>,
}

/// An answer as it can be given again.
#[derive(Debug)]
struct GivenAnswer {
    backend: BackendName,
    attempts: u16,
    cost: Option<Money>,
    stream: bool,
    pieces: Vec<Bytes>,
}

impl Answered {
    pub fn new(limit_bytes: usize) -> Self {
        Answered {
            limit_bytes,
            kept: Mutex::default(),
        }
    }

    /// The answer kept for this name, or the right to give it.
    fn begin(
        self: &Arc<Self>,
        name: Name,
        fingerprint: [u8; 32],
        now: Timestamp,
    ) -> Result<Begun, Refusal> {
        let mut kept = self.kept.lock();
        kept.forget(now, self.limit_bytes);
        match kept.by_name.get(&name) {
            Some(slot) if slot.fingerprint != fingerprint => Err(Refusal::invalid(
                IDEMPOTENCY_KEY,
                "this Idempotency-Key was used for another request; choose a new one for each request",
            )),
            Some(Slot {
                answer: Some(copy), ..
            }) => Ok(Begun::Before(copy.clone())),
            Some(_) => Err(Refusal::new(
                Code::Conflict,
                "the first request with this Idempotency-Key is still under way; ask again shortly",
            )
            .retry_after(Duration::from_secs(1))),
            None => {
                kept.by_name.insert(
                    name.clone(),
                    Slot {
                        fingerprint,
                        answer: None,
                    },
                );
                Ok(Begun::Now(Claim {
                    answered: self.clone(),
                    name: Some(name),
                }))
            }
        }
    }
}

impl Kept {
    fn forget(&mut self, now: Timestamp, limit_bytes: usize) {
        while let Some((at, _)) = self.order.front() {
            let old = now.duration_since(*at)
                > jiff::SignedDuration::try_from(LIFETIME).unwrap_or_default();
            if !old && self.bytes <= limit_bytes && self.by_name.len() <= MOST_NAMES {
                break;
            }
            if let Some((_, name)) = self.order.pop_front()
                && let Some(Slot {
                    answer: Some(copy), ..
                }) = self.by_name.remove(&name)
            {
                self.bytes -= copy.bytes();
            }
        }
    }
}

impl GivenAnswer {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn answer(&self) -> Answer {
        let content = if self.stream {
            let pieces: Vec<Result<Bytes, Infallible>> =
                self.pieces.iter().cloned().map(Ok).collect();
            Content::Stream(Body::from_stream(stream::iter(pieces)))
        } else {
            Content::Whole(self.pieces.first().cloned().unwrap_or_default())
        };
        Answer {
            backend: self.backend.clone(),
            attempts: self.attempts,
            cost: self.cost,
            content,
            again: true,
            broken: Arc::default(),
        }
    }
}

enum Begun {
    Before(Arc<GivenAnswer>),
    Now(Claim),
}

/// The right to give the answer to a name; given up when dropped.
struct Claim {
    answered: Arc<Answered>,
    name: Option<Name>,
}

impl Claim {
    fn keep(mut self, copy: GivenAnswer, now: Timestamp) {
        let Some(name) = self.name.take() else { return };
        let mut kept = self.answered.kept.lock();
        kept.bytes += copy.bytes();
        if let Some(slot) = kept.by_name.get_mut(&name) {
            slot.answer = Some(Arc::new(copy));
        }
        kept.order.push_back((now, name));
        kept.forget(now, self.answered.limit_bytes);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.answered.kept.lock().by_name.remove(&name);
        }
    }
}

/// How a request names itself, if it does.
///
/// # Errors
/// A name that is no name.
pub(super) fn named(headers: &http::HeaderMap, body: &Frames) -> Result<Option<Named>, Refusal> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let name = value
        .to_str()
        .ok()
        .filter(|name| !name.is_empty() && name.len() <= NAME_BYTES)
        .ok_or_else(|| {
            Refusal::invalid(
                IDEMPOTENCY_KEY,
                "an Idempotency-Key must be 1 to 255 visible ASCII characters, such as a UUID",
            )
        })?;
    let mut hasher = blake3::Hasher::new();
    for part in body.parts() {
        hasher.update(part);
    }
    Ok(Some(Named {
        name: name.into(),
        fingerprint: *hasher.finalize().as_bytes(),
    }))
}

#[derive(Clone)]
pub(super) struct Once<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Once<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Once { inner, rooms }
    }
}

impl<S> Service<Planned> for Once<S>
where
    S: Service<Planned, Response = Answer, Error = Refusal, Future = Outcome>
        + Clone
        + Send
        + 'static,
{
    type Response = Answer;
    type Error = Refusal;
    type Future = Outcome;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, planned: Planned) -> Self::Future {
        let Some(named) = &planned.asked.named else {
            return self.inner.call(planned);
        };
        let now = self.rooms.clock.now();
        let begun = self.rooms.answered.begin(
            name(&planned.asked, named),
            fingerprint(&planned.asked, named),
            now,
        );
        let claim = match begun {
            Ok(Begun::Now(claim)) => claim,
            Ok(Begun::Before(copy)) => return Box::pin(std::future::ready(Ok(copy.answer()))),
            Err(refusal) => return Box::pin(std::future::ready(Err(refusal))),
        };
        let (mut inner, rooms) = (self.inner.clone(), self.rooms.clone());
        Box::pin(async move {
            let answer = inner.call(planned).await?;
            let copy = GivenAnswer {
                backend: answer.backend.clone(),
                attempts: answer.attempts,
                cost: answer.cost,
                stream: matches!(answer.content, Content::Stream(_)),
                pieces: Vec::new(),
            };
            let content = match answer.content {
                Content::Whole(body) => {
                    claim.keep(
                        GivenAnswer {
                            pieces: vec![body.clone()],
                            ..copy
                        },
                        rooms.clock.now(),
                    );
                    Content::Whole(body)
                }
                Content::Stream(body) => Content::Stream(Body::new(Copying {
                    body,
                    rooms,
                    copy: Some((claim, copy)),
                    size: 0,
                    broken: answer.broken.clone(),
                })),
            };
            Ok(Answer { content, ..answer })
        })
    }
}

fn name(asked: &Asked, named: &Named) -> Name {
    let payer = &asked.principal.payer;
    (
        payer.organisation.clone(),
        payer.team.clone(),
        payer.project.clone(),
        named.name.clone(),
    )
}

/// Of the body, of the endpoint that it was sent to, and of what was demanded: an answer that was
/// allowed without a tag is none to a request with it.
fn fingerprint(asked: &Asked, named: &Named) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(&named.fingerprint);
    hasher.update(asked.surface.name().as_bytes());
    for tag in &asked.tags {
        hasher.update(b"\0").update(tag.as_str().as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// A stream of which a copy is made as it passes.
struct Copying {
    body: Body,
    rooms: Arc<Rooms>,
    copy: Option<(Claim, GivenAnswer)>,
    /// Bytes copied.
    size: usize,
    /// Set when it ended in an error.
    broken: Arc<AtomicBool>,
}

impl http_body::Body for Copying {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let this = &mut *self;
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref()
                    && let Some((_, copy)) = &mut this.copy
                {
                    this.size += data.len();
                    copy.pieces.push(data.clone());
                }
                // Too long to be kept: the name is free again.
                if this.size > this.rooms.answered.limit_bytes / 8 {
                    this.copy = None;
                }
            }
            Some(Err(_)) => this.copy = None,
            None => {
                if let Some((claim, copy)) = this.copy.take()
                    && !this.broken.load(Relaxed)
                {
                    claim.keep(copy, this.rooms.clock.now());
                }
            }
        }
        Poll::Ready(frame)
    }
}
