//! A plain answer: read whole, booked, and passed on as it came or told in the caller's dialect.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::keep::{keep_reply, wanted};
use super::open::OpenEntry;
use super::{Delivered, Setback};
use crate::backend::Reply;
use crate::backend::wires::{self, Plain};
use crate::chat::{CountedBy, Finish, Usage};
use crate::ledger::Outcome;

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

pub(super) async fn whole(
    reply: Reply,
    mut open: OpenEntry,
    told: bool,
) -> Result<Delivered, Setback> {
    let limits = &open.rooms().limits;
    let headers = reply.headers().clone();
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
    read_whole(body, &headers, open, told).await
}

async fn read_whole(
    body: Bytes,
    headers: &http::HeaderMap,
    mut open: OpenEntry,
    told: bool,
) -> Result<Delivered, Setback> {
    let dispatch = open.dispatch();
    let host = dispatch.planned.site(dispatch.rank).backend.host();
    let wire = host.wire;
    match wires::plain(wire, headers, &body) {
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
            let body = tell(&open, body, told, usage, finish)?;
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

/// The answer in the caller's dialect; what later turns need of it is kept.
fn tell(
    open: &OpenEntry,
    body: Bytes,
    told: bool,
    usage: Usage,
    finish: Option<Finish>,
) -> Result<Bytes, Setback> {
    let dispatch = open.dispatch();
    let planned = &dispatch.planned;
    let host = planned.site(dispatch.rank).backend.host();
    let keep = wanted(open, finish);
    if !told && !keep {
        return Ok(wires::plain_passed(&host.quirks, body));
    }
    let Some(mut reply) = wires::heard(host.wire, planned.conversation_if_read(), &body) else {
        return Err(Setback::NotAnAnswer("its answer cannot be read"));
    };
    reply.usage = Some(usage);
    if keep {
        keep_reply(open, &reply);
    }
    if !told {
        return Ok(wires::plain_passed(&host.quirks, body));
    }
    let telling = planned
        .telling()
        .map_err(|refusal| Setback::Unreadable(refusal.clone()))?;
    Ok(planned.asked.surface.whole(&telling, &reply))
}
