//! The endpoints that programs call. A path names its dialect; answers and refusals go back in it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;
use tower::ServiceExt;

use super::surfaces::{ANTHROPIC, CHAT, COMPLETIONS, RESPONSES, anthropic, openai_chat};
use crate::chat::{Code, Refusal, estimate};
use crate::id::RequestId;
use crate::stack::{
    self, Answer, Arrival, Content, Line, LineTo, Rooms, Route, Surface, authenticated,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");
const BACKEND: HeaderName = HeaderName::from_static("x-tollgate-backend");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");
/// The answer was given before, to the same Idempotency-Key.
const REPLAYED: HeaderName = HeaderName::from_static("x-tollgate-replayed");
const COST: HeaderName = HeaderName::from_static("x-tollgate-cost");

/// What the endpoints rest on.
pub struct Edge {
    rooms: Arc<Rooms>,
    line: Line,
    route: LineTo<Route>,
}

impl Edge {
    pub fn new(rooms: &Arc<Rooms>) -> Self {
        Edge {
            rooms: rooms.clone(),
            line: stack::line(rooms),
            route: stack::route(rooms),
        }
    }

    fn arrival(&self, surface: &'static dyn Surface, request: Request) -> Arrival {
        let (parts, body) = request.into_parts();
        Arrival {
            id: RequestId::new(),
            at: self.rooms.clock.now(),
            surface,
            headers: parts.headers,
            body,
            from_within: None,
        }
    }
}

/// All endpoints for programs.
pub fn router(edge: Edge) -> Router {
    let stored = super::stored::router(edge.rooms.clone());
    Router::new()
        .route(
            "/v1/chat/completions",
            post(|edge, asked| ask(edge, CHAT, asked)),
        )
        .route(
            "/v1/completions",
            post(|edge, asked| ask(edge, COMPLETIONS, asked)),
        )
        .route(
            "/v1/messages",
            post(|edge, asked| ask(edge, ANTHROPIC, asked)),
        )
        .route(
            "/v1/responses",
            post(|edge, asked| ask(edge, RESPONSES, asked)),
        )
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/route", post(route))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .with_state(Arc::new(edge))
        .merge(stored)
}

async fn ask(
    State(edge): State<Arc<Edge>>,
    surface: &'static dyn Surface,
    request: Request,
) -> Response {
    let arrival = edge.arrival(surface, request);
    let id = arrival.id;
    match edge.line.clone().oneshot(arrival).await {
        Ok(answer) => answered(id, answer),
        Err(refusal) => refused(surface, id, &refusal),
    }
}

async fn route(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let arrival = edge.arrival(CHAT, request);
    let id = arrival.id;
    match edge.route.clone().oneshot(arrival).await {
        Ok(route) => json_body(id, StatusCode::OK, json!(route).to_string().into()),
        Err(refusal) => refused(CHAT, id, &refusal),
    }
}

/// What a request of the Messages dialect would count as input, by estimate: no host is asked.
async fn count_tokens(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let (id, rooms) = (RequestId::new(), &edge.rooms);
    let counted = async {
        authenticated(rooms, request.headers()).await?;
        let (head, body) = request.into_parts();
        let frames = stack::body(rooms, &head.headers, body).await?;
        let request = anthropic::count_tokens_read(frames)?;
        let sites = rooms.sites.load();
        sites
            .catalog
            .resolve(&request.model, rooms.clock.now())
            .map_err(|unknown| Refusal::invalid("model", unknown.to_string()))?;
        anthropic::conversation(&request)
    };
    match counted.await {
        Ok(conversation) => {
            let tokens = estimate::tokens(&conversation);
            json_body(id, StatusCode::OK, anthropic::count_tokens_body(tokens))
        }
        Err(refusal) => refused(ANTHROPIC, id, &refusal),
    }
}

pub(super) fn answered(id: RequestId, answer: Answer) -> Response {
    let mut response = match answer.content {
        Content::Whole(body) => json_body(id, StatusCode::OK, body),
        Content::Stream(stream) => {
            let mut response = Response::new(stream);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            name_it(&mut response, id);
            response
        }
    };
    insert(&mut response, BACKEND, answer.backend.as_str());
    response
        .headers_mut()
        .insert(ATTEMPTS, HeaderValue::from(answer.attempts));
    if let Some(cost) = answer.cost {
        insert(&mut response, COST, &cost.to_string());
    }
    if answer.again {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

pub(super) fn refused(surface: &dyn Surface, id: RequestId, refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(surface.error_status(refusal.code))
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_body(id, status, surface.error_body(refusal));
    if refusal.attempts > 0 {
        response
            .headers_mut()
            .insert(ATTEMPTS, HeaderValue::from(refusal.attempts));
    }
    if let Some(wait) = refusal.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(openai_chat::seconds(wait)));
    }
    response
}

pub(super) fn json_body(id: RequestId, status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    name_it(&mut response, id);
    response
}

/// The headers under which official clients look for a request's id: OpenAI's, Anthropic's.
const CLIENTS_IDS: [HeaderName; 2] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
];

/// The request's id, under our name and under theirs.
pub(super) fn name_it(response: &mut Response, id: RequestId) {
    let Ok(value) = HeaderValue::from_str(&id.to_string()) else {
        return;
    };
    let headers = response.headers_mut();
    for name in CLIENTS_IDS {
        headers.insert(name, value.clone());
    }
    headers.insert(REQUEST_ID, value);
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    // Ids and names are visible ASCII; what is not would be no header.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Models that a caller of this key can ask for now.
async fn models(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let id = RequestId::new();
    if let Err(refusal) = authenticated(&edge.rooms, request.headers()).await {
        return refused(CHAT, id, &refusal);
    }
    let sites = edge.rooms.sites.load();
    let data: Vec<serde_json::Value> = sites
        .models(edge.rooms.clock.now())
        .into_iter()
        .map(|name| card(name.as_str()))
        .collect();
    json_body(
        id,
        StatusCode::OK,
        // Both of OpenAI's and Anthropic's clients read the same page.
        json!({
            "object": "list",
            "first_id": data.first().map(|card| &card["id"]),
            "last_id": data.last().map(|card| &card["id"]),
            "has_more": false,
            "data": data,
        })
        .to_string()
        .into(),
    )
}

async fn model(
    State(edge): State<Arc<Edge>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let id = RequestId::new();
    if let Err(refusal) = authenticated(&edge.rooms, request.headers()).await {
        return refused(CHAT, id, &refusal);
    }
    let sites = edge.rooms.sites.load();
    match sites.catalog.resolve(&name, edge.rooms.clock.now()) {
        Ok(_) => json_body(id, StatusCode::OK, card(&name).to_string().into()),
        Err(unknown) => refused(CHAT, id, &Refusal::new(Code::NotFound, unknown.to_string())),
    }
}

/// A model as OpenAI's clients read it and as Anthropic's do. They require a date and do nothing with
/// it: the day of the models' release.
fn card(name: &str) -> serde_json::Value {
    json!({
        "id": name,
        "object": "model",
        "type": "model",
        "display_name": name,
        "created": 1_776_988_800,
        "created_at": "2026-04-24T00:00:00Z",
        "owned_by": "deepseek-ai",
    })
}

/// Whether requests can be served: the keys are known and the ledger takes entries.
async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    let status = edge.rooms.ledger.status();
    if status.bytes >= status.limit_bytes {
        let why = "the spool is full: the database has taken nothing for too long\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    if edge.rooms.sites.load().all.is_empty() {
        let why = "no host is enabled: `tollgate check` lists what to set\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    "ready\n".into_response()
}

async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    let (rooms, status) = (&edge.rooms, edge.rooms.ledger.status());
    let cell = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    rooms.metrics.spool_unshipped.set(cell(status.unshipped));
    rooms.metrics.spool_bytes.set(cell(status.bytes));
    rooms.metrics.open_attempts.set(cell(status.open));
    rooms.metrics.refused.set(cell(status.refused));
    rooms.metrics.damaged.set(cell(status.damaged));
    rooms
        .metrics
        .in_flight
        .set(cell(rooms.admission.in_flight() as u64));
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, rooms.metrics.text()).into_response()
}

async fn wrong_method() -> Response {
    let refusal = Refusal::new(Code::InvalidRequest, "this path does not take this method");
    let mut response = refused(CHAT, RequestId::new(), &refusal);
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

async fn nowhere() -> Response {
    refused(
        CHAT,
        RequestId::new(),
        &Refusal::new(
            Code::NotFound,
            "there is nothing at this path; requests go to /v1/chat/completions, /v1/messages, /v1/responses and /v1/completions",
        ),
    )
}
