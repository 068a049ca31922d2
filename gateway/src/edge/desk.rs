//! Files and batches, as OpenAI's clients use them (openai-python 2.x and 3.x, `types/file_object`,
//! `types/batch`): the paths, who may use them, and how answers and refusals are told.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::api::name_it;
use super::surfaces::openai_chat;
use super::{batches, files};
use crate::access::Principal;
use crate::chat::{Code, Refusal};
use crate::history::{Batches, Files, HistoryError};
use crate::id::RequestId;
use crate::stack::{Rooms, authenticated};
use crate::time::Clock;

/// What a caller is told to wait when the database does not answer, or too many batches are open.
const STORE_WAIT: Duration = Duration::from_secs(2);
const OPEN_WAIT: Duration = Duration::from_secs(60);

/// What the endpoints rest on.
pub struct Desk {
    pub files: Files,
    pub batches: Batches,
    pub callers: Arc<dyn Callers>,
    pub clock: Clock,
    /// Told of each new batch, so that none waits for the runner's next round.
    pub new_batch: Arc<Notify>,
}

/// Who is asking: the gateway's keys, or a test's.
pub trait Callers: Send + Sync {
    fn caller<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Arc<Principal>, Refusal>>;
}

impl Callers for Rooms {
    fn caller<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Arc<Principal>, Refusal>> {
        Box::pin(authenticated(self, headers))
    }
}

impl Desk {
    /// The caller, if its key may ask models: what it stores here is asked of models or came from
    /// them.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Refused> {
        let principal = self.callers.caller(headers).await?;
        if !principal.role.may_ask_models() {
            return Err(Refused(Refusal::new(
                Code::NotAllowed,
                format!(
                    "a key with the role {} has no files or batches; use a key with the role app",
                    principal.role.as_str()
                ),
            )));
        }
        Ok(principal)
    }
}

/// `/v1/files` and `/v1/batches`.
pub fn files_and_batches(desk: Desk) -> Router {
    Router::new()
        .route(
            "/v1/files",
            // A file has its own limit, and is never held whole.
            post(files::upload)
                .layer(DefaultBodyLimit::disable())
                .get(files::list),
        )
        .route("/v1/files/{id}", get(files::one).delete(files::delete))
        .route("/v1/files/{id}/content", get(files::content))
        .route("/v1/batches", post(batches::create).get(batches::list))
        .route("/v1/batches/{id}", get(batches::one))
        .route("/v1/batches/{id}/cancel", post(batches::cancel))
        .with_state(Arc::new(desk))
}

/// A refusal on its way to the caller.
#[derive(Debug)]
pub(super) struct Refused(pub Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused(refusal)
    }
}

impl From<HistoryError> for Refused {
    fn from(error: HistoryError) -> Self {
        let message = error.to_string();
        Refused(match error {
            HistoryError::TooLarge { .. } => Refusal::new(Code::TooLarge, message),
            HistoryError::FileGone(_) => Refusal::new(Code::NotFound, message),
            HistoryError::TooManyBatches(_) => {
                Refusal::new(Code::RateLimited, message).retry_after(OPEN_WAIT)
            }
            HistoryError::Store(_)
            | HistoryError::Randomness(_)
            | HistoryError::Unreadable { .. }
            | HistoryError::BrokeOff(_)
            | HistoryError::NotHeld(_) => {
                tracing::error!(%error, "files and batches");
                Refusal::new(
                    Code::Overloaded,
                    "what is stored cannot be reached; try again shortly",
                )
                .retry_after(STORE_WAIT)
            }
        })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(refusal) = self;
        let status = StatusCode::from_u16(refusal.code.status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer(status, openai_chat::error_body(&refusal));
        if let Some(wait) = refusal.retry_after {
            let seconds = HeaderValue::from(openai_chat::seconds(wait));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

pub(super) type Answered = Result<Response, Refused>;

pub(super) fn told(value: &Value) -> Response {
    answer(StatusCode::OK, value.to_string())
}

/// A page of a list: `entries` has one more than fits if there are more.
pub(super) fn page(mut entries: Vec<Value>, limit: usize) -> Response {
    let more = entries.len() > limit;
    entries.truncate(limit);
    let id = |entry: Option<&Value>| entry.map_or(Value::Null, |entry| entry["id"].clone());
    told(&json!({
        "object": "list",
        "first_id": id(entries.first()),
        "last_id": id(entries.last()),
        "has_more": more,
        "data": entries,
    }))
}

pub(super) fn answer(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    name_it(&mut response, RequestId::new());
    response
}

pub(super) fn not_found(what: &str, id: &str) -> Refused {
    let id: String = id.chars().take(80).collect();
    Refused(Refusal::new(
        Code::NotFound,
        format!("there is no {what} `{id}` here; list those that there are"),
    ))
}

/// A number of a query within its bounds.
pub(super) fn bounded(limit: Option<u32>, most: u32, usual: u32) -> Result<u32, Refused> {
    match limit {
        None => Ok(usual),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(Refused(Refusal::invalid(
            "limit",
            format!("`limit` must be a whole number from 1 to {most}"),
        ))),
    }
}
