//! The one way out: HTTP to a host, with its credential and nothing of the caller's. A
//! `tower::Service` from a call to the host's answer; bodies stream both ways.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{self, ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use super::{Address, AuthError, Backend};
use crate::chat::Frames;
use crate::id::EntryId;
use crate::time::{Clock, Timestamp};

/// One attempt, ready to be sent.
#[derive(Debug)]
pub struct Call {
    pub backend: Arc<Backend>,
    /// Sent as `x-request-id`, so that a host's record leads to the ledger's entry.
    pub id: EntryId,
    pub body: Frames,
    /// What the wire adds to the headers of every request.
    pub headers: HeaderMap,
    pub stream: bool,
    pub address: Address,
}

/// The head of a host's answer, and its body to be read.
pub type Reply = http::Response<Incoming>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent.
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing was sent.
    #[error("there is no credential for it: {0}")]
    NoCredential(AuthError),
}

/// The system's TLS verifier could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up with the system's certificates: {0}")]
pub struct NoTls(String);

/// Pooled connections to all hosts.
///
/// It sits on hyper's own client rather than on reqwest: parsing the address anew and cloning the
/// client for each call showed in the figures of the request path. Redirects are answers like any
/// other here, so a host never sends our credential elsewhere.
#[derive(Clone)]
pub struct Transport {
    /// Shared: the layers above are cloned for each request.
    client: Arc<Client<HttpsConnector<HttpConnector>, FramesBody>>,
}

impl Transport {
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(connect_timeout: Duration) -> Result<Self, NoTls> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .try_with_platform_verifier()
            .map_err(|error| NoTls(error.to_string()))?
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1024)
            .build(connector);
        Ok(Transport {
            client: Arc::new(client),
        })
    }
}

/// A connection unused for this long is closed before the host does it.
const IDLE: Duration = Duration::from_secs(55);
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));

impl Service<Call> for Transport {
    type Response = Reply;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<Reply, TransportError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let mut headers = call.headers;
        headers.reserve(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let accept = if call.stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static(accept));
        headers.insert(header::USER_AGENT, USER_AGENT);
        if let Ok(id) = HeaderValue::try_from(call.id.to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        let mut request = http::Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = call.backend.addresses.at(call.address, call.stream).clone();
        *request.headers_mut() = headers;
        let client = self.client.clone();
        Box::pin(async move {
            let authority = &call.backend.authority;
            let (mut parts, ()) = request.into_parts();
            // Hosts judge signatures and tokens by the real time, whatever hour is rehearsed.
            let shown = authority
                .authorize(&mut parts, &call.body, Clock::system().now())
                .await
                .map_err(TransportError::NoCredential)?;
            // The body's exact length becomes the content length.
            let request = http::Request::from_parts(parts, FramesBody::from(call.body));
            let reply = client
                .request(request)
                .await
                .map_err(|error| classify(&error))?;
            // AWS says 403 where others say 401.
            if matches!(
                reply.status(),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            ) {
                authority.rejected(&shown, Clock::system().now());
            }
            Ok(reply)
        })
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn classify(error: &hyper_util::client::legacy::Error) -> TransportError {
    // The innermost cause says most; the outer ones only name the step.
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
        assert_eq!(
            read("Tue, 24 Nov 2026 02:00:30 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(read("Tue, 24 Nov 2026 01:00:30 GMT"), None);
        assert_eq!(read("soon"), None);
    }
}
