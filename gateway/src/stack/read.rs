//! Read: the body once, within its limits, as the frames it came in; then the fields that routing
//! needs, and the demands that the headers add.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use tower::Service;

use super::once::named;
use super::passage::{Admitted, Asked, MAX_COST, TAGS};
use super::surface::Earlier;
use super::{Outcome, Rooms};
use crate::access::Principal;
use crate::chat::{Code, Frames, Refusal, Request};
use crate::history::HistoryError;
use crate::id::Tag;
use crate::money::Money;
use crate::time::Timestamp;

/// More demands than this is no request.
const TAG_LIMIT: usize = 32;
const TAG_BYTES: usize = 64;

#[derive(Clone)]
pub(super) struct Read<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Read<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Read { inner, rooms }
    }
}

impl<S, T> Service<Admitted> for Read<S>
where
    S: Service<Asked, Response = T, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send + 'static,
    T: Send + 'static,
{
    type Response = T;
    type Error = Refusal;
    type Future = Outcome<T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        let (rooms, mut inner) = (self.rooms.clone(), self.inner.clone());
        Box::pin(async move {
            let Admitted { known, permit } = admitted;
            let arrival = known.arrival;
            let limit = rooms.limits.body_bytes;
            check_headers(&arrival.headers, limit)?;
            let tags = demands(&arrival.headers, &known.principal.tags)?;
            let max_cost = max_cost(&arrival.headers)?;
            let frames = frames(arrival.body, limit, rooms.limits.read_timeout).await?;
            let named = named(&arrival.headers, &frames)?;
            let mut request = arrival.surface.read(frames)?;
            let earlier = earlier(&rooms, &known.principal, &request, arrival.at).await?;
            // What it follows is part of the prompt.
            for turn in &earlier.turns {
                request.original.spans.prompt_bytes += turn.bytes();
                request.needs.images |= turn.has_image();
            }
            inner
                .call(Asked {
                    id: arrival.id,
                    at: arrival.at,
                    surface: arrival.surface,
                    principal: known.principal,
                    _permit: permit,
                    request,
                    earlier,
                    named,
                    tags,
                    max_cost,
                })
                .await
        })
    }
}

/// The body of a request that asks no model, within the same limits.
///
/// # Errors
/// `invalid_request` or `too_large`.
pub async fn body(rooms: &Rooms, headers: &HeaderMap, body: Body) -> Result<Frames, Refusal> {
    check_headers(headers, rooms.limits.body_bytes)?;
    frames(body, rooms.limits.body_bytes, rooms.limits.read_timeout).await
}

/// What is known of the conversation beside the request.
async fn earlier(
    rooms: &Rooms,
    principal: &Principal,
    request: &Request,
    now: Timestamp,
) -> Result<Earlier, Refusal> {
    let organisation = &principal.payer.organisation;
    let turns = match &request.follows {
        None => Vec::new(),
        Some(id) => {
            let found = rooms.history.turns(organisation, id, now).await;
            found.map_err(unavailable)?.ok_or_else(|| {
                Refusal::invalid(
                    "previous_response_id",
                    "no response of this id is stored here; it was never stored, or is forgotten: send the whole conversation",
                )
            })?
        }
    };
    Ok(Earlier {
        turns,
        seal: rooms.history.seal(organisation),
    })
}

/// The database does not answer: what is stored there cannot be told.
pub fn unavailable(error: HistoryError) -> Refusal {
    tracing::error!(%error, "what is stored cannot be read");
    Refusal::new(
        Code::Overloaded,
        "what is stored here cannot be read at the moment; try again shortly",
    )
    .retry_after(Duration::from_secs(1))
}

fn check_headers(headers: &HeaderMap, limit: u64) -> Result<(), Refusal> {
    if let Some(length) = headers.get(CONTENT_LENGTH)
        && length
            .to_str()
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .is_some_and(|length| length > limit)
    {
        return Err(too_large(limit));
    }
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "compressed bodies are not taken; send the body as it is, without content-encoding",
        ));
    }
    if let Some(kind) = headers.get(CONTENT_TYPE)
        && !kind
            .to_str()
            .is_ok_and(|kind| kind.to_ascii_lowercase().contains("json"))
    {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "the body must be JSON; send the header `content-type: application/json`",
        ));
    }
    Ok(())
}

fn too_large(limit: u64) -> Refusal {
    Refusal::new(
        Code::TooLarge,
        format!(
            "the body is larger than the {limit} bytes that are taken here (limits.body_bytes)"
        ),
    )
}

async fn frames(mut body: Body, limit: u64, patience: Duration) -> Result<Frames, Refusal> {
    let read = async {
        let mut frames = Frames::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Refusal::new(
                    Code::InvalidRequest,
                    "the body broke off before its end; send it again",
                )
            })?;
            if let Ok(data) = frame.into_data() {
                if frames.len() as u64 + data.len() as u64 > limit {
                    return Err(too_large(limit));
                }
                frames.push(data);
            }
        }
        Ok(frames)
    };
    // A body that is here already needs no timer.
    tokio::pin!(read);
    if let Some(done) = futures_util::FutureExt::now_or_never(&mut read) {
        return done;
    }
    tokio::time::timeout(patience, read)
        .await
        .unwrap_or_else(|_| {
            Err(Refusal::new(
                Code::InvalidRequest,
                format!(
                    "the body did not arrive within {} s (limits.read_timeout)",
                    patience.as_secs()
                ),
            ))
        })
}

/// The key's demands and the request's, sorted, each once.
fn demands(headers: &HeaderMap, of_key: &[Tag]) -> Result<Vec<Tag>, Refusal> {
    let mut tags = of_key.to_vec();
    for value in headers.get_all(TAGS) {
        let text = value
            .to_str()
            .map_err(|_| bad_tag("with characters that are not ASCII"))?;
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let sound = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':')
            };
            if tag.len() > TAG_BYTES || !tag.bytes().all(sound) {
                return Err(bad_tag("that is no tag"));
            }
            tags.push(Tag::new(tag.to_ascii_lowercase()));
        }
    }
    tags.sort();
    tags.dedup();
    if tags.len() > TAG_LIMIT {
        return Err(bad_tag("with more than 32 tags"));
    }
    Ok(tags)
}

fn bad_tag(what: &str) -> Refusal {
    Refusal::invalid(
        TAGS,
        format!(
            "a header {TAGS} {what}; write tags of letters, digits, - _ . : with commas between"
        ),
    )
}

fn max_cost(headers: &HeaderMap) -> Result<Option<Money>, Refusal> {
    let Some(value) = headers.get(MAX_COST) else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<Money>().ok())
        .filter(|limit| !limit.is_negative())
        .map(Some)
        .ok_or_else(|| {
            Refusal::invalid(
                MAX_COST,
                format!("{MAX_COST} must be dollars, such as 0.05"),
            )
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn demands_of_key_and_request_add_up_and_nothing_takes_one_away() {
        let mut headers = HeaderMap::new();
        headers.append(TAGS, HeaderValue::from_static("EU, soc2,"));
        headers.append(TAGS, HeaderValue::from_static("eu"));
        let tags = demands(&headers, &[Tag::from("hipaa")]).expect("tags");
        assert_eq!(tags, ["eu", "hipaa", "soc2"].map(Tag::from));
        assert_eq!(
            demands(&HeaderMap::new(), &[Tag::from("hipaa")]).expect("tags"),
            [Tag::from("hipaa")]
        );
    }

    #[test]
    fn what_is_no_tag_is_refused_rather_than_ignored() {
        for text in ["eu;soc2", "a b", "<script>", &"x".repeat(65)] {
            let mut headers = HeaderMap::new();
            headers.append(TAGS, HeaderValue::from_str(text).expect("a value"));
            assert!(demands(&headers, &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_on_the_cost_is_exact_dollars() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(MAX_COST, HeaderValue::from_static(text));
            max_cost(&headers)
        };
        assert_eq!(read("0.05"), Ok(Some("0.05".parse().expect("money"))));
        for text in ["-1", "1e9", "cheap", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
