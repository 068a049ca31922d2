//! The one way out: HTTP to a host, with its credential and nothing of the caller's. A
//! `tower::Service` from a call to the host's answer; bodies stream both ways.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use tower::Service;

use super::Backend;
use crate::chat::Frames;
use crate::id::EntryId;
use crate::time::Timestamp;

/// One attempt, ready to be sent.
#[derive(Debug)]
pub struct Call {
    pub backend: Arc<Backend>,
    /// Sent as `x-request-id`, so that a host's record leads to the ledger's entry.
    pub id: EntryId,
    pub body: Frames,
    pub stream: bool,
}

/// The head of a host's answer, and its body to be read.
pub type Reply = http::Response<reqwest::Body>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent.
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Pooled connections to all hosts.
#[derive(Clone, Debug)]
pub struct Transport {
    client: reqwest::Client,
}

impl Transport {
    /// # Errors
    /// When the system offers no TLS roots.
    pub fn new(connect_timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            // A host never sends our credential elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(1024)
            .build()?;
        Ok(Transport { client })
    }
}

impl Service<Call> for Transport {
    type Response = Reply;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<Reply, TransportError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let mut request = reqwest::Request::new(Method::POST, call.backend.url.clone());
        let headers = request.headers_mut();
        headers.reserve(6);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(call.body.len()));
        let accept = if call.stream { "text/event-stream" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(credential) = &call.backend.credential {
            headers.insert(credential.header.clone(), credential.value.clone());
        }
        if let Ok(id) = HeaderValue::try_from(call.id.to_string()) {
            headers.insert("x-request-id", id);
        }
        *request.body_mut() = Some(reqwest::Body::wrap(FramesBody::from(call.body)));
        let sent = self.client.execute(request);
        Box::pin(async move {
            match sent.await {
                Ok(response) => Ok(response.into()),
                Err(error) => Err(classify(&error)),
            }
        })
    }
}

fn classify(error: &reqwest::Error) -> TransportError {
    // The innermost cause says most; the outer ones repeat the address.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text: String = cause.to_string().chars().take(200).collect();
    if error.is_connect() {
        TransportError::Unreachable(text)
    } else {
        TransportError::Broken(text)
    }
}

/// How long a host asks to be left alone: seconds, or a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Duration::try_from(date.duration_since(now)).ok()
}

/// Frames as a request body of known length.
#[derive(Debug)]
struct FramesBody {
    parts: smallvec::IntoIter<[Bytes; 4]>,
    left: u64,
}

impl From<Frames> for FramesBody {
    fn from(frames: Frames) -> Self {
        FramesBody {
            left: frames.len() as u64,
            parts: frames.into_parts().into_iter(),
        }
    }
}

impl Body for FramesBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let part = self.parts.next();
        if let Some(part) = &part {
            self.left -= part.len() as u64;
        }
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now: Timestamp = "2026-11-24T02:00:00Z".parse().expect("an instant");
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("a value"));
            retry_after(&headers, now)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Tue, 24 Nov 2026 02:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Tue, 24 Nov 2026 01:00:30 GMT"), None);
        assert_eq!(read("soon"), None);
    }
}
