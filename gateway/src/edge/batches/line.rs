//! A batch's requests in the same line as live ones: authenticated by the key of whoever made the
//! batch, admitted, certified, reserved for, planned, and metered like any other.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::asking::{Ask, Told};
use crate::chat::{Code, Refusal};
use crate::edge::api::{answered, refused};
use crate::edge::surfaces::of_path;
use crate::id::{KeyId, RequestId};
use crate::stack::{self, Arrival, Line, Rooms};

/// The gateway's own line.
pub struct FromWithin {
    rooms: Arc<Rooms>,
    line: Line,
}

impl FromWithin {
    pub fn new(rooms: &Arc<Rooms>) -> Self {
        FromWithin {
            rooms: rooms.clone(),
            line: stack::line(rooms),
        }
    }
}

impl Ask for FromWithin {
    fn ask(
        &self,
        key: KeyId,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'static, Told> {
        let (id, now) = (RequestId::new(), self.rooms.clock.now());
        let Some(surface) = of_path(url) else {
            let refusal = Refusal::invalid("url", format!("nothing is asked at `{url}`"));
            let response = refused(crate::edge::surfaces::CHAT, id, &refusal);
            return Box::pin(told(response));
        };
        let Some(principal) = self.rooms.directory.holder(key, now) else {
            let refusal = Refusal::new(
                Code::InvalidKey,
                "the key that made this batch is no longer valid",
            );
            return Box::pin(told(refused(surface, id, &refusal)));
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let asked = self.line.clone().oneshot(Arrival {
            id,
            at: now,
            surface,
            headers,
            body: Body::from(body),
            from_within: Some(principal),
        });
        Box::pin(async move {
            told(match asked.await {
                Ok(answer) => answered(id, answer),
                Err(refusal) => refused(surface, id, &refusal),
            })
            .await
        })
    }
}

async fn told(response: Response) -> Told {
    let (head, body) = response.into_parts();
    let text = |name: &str| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    let request_id = text("x-tollgate-request-id");
    let retry_after = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|wait| wait.to_str().ok()?.parse().ok())
        .map(std::time::Duration::from_secs);
    match body.collect().await {
        Ok(body) => Told {
            status: head.status,
            request_id,
            retry_after,
            body: body.to_bytes(),
        },
        Err(_) => Told {
            status: StatusCode::BAD_GATEWAY,
            ..Told::broken()
        },
    }
}
