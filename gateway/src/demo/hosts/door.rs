//! The HTTP door of an emulated host: who may enter, which path means what, and the way of a chat
//! request from its bytes to its answer.

use std::future::pending;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::mpsc;

use super::answer::compose;
use super::asked::Asked;
use super::bare;
use super::control;
use super::converse::{self, Target};
use super::errors::Failure;
use super::fault::Fault;
use super::feeds;
use super::profile::EmulatedHost;
use super::shapes::Head;
use super::speak::{Frame, Left, Pace, Speech, break_off};
use super::state::{HostState, OpenCall};
use super::tariff;

/// Largest request body; a full context of words fits.
pub(super) const LARGEST_BODY: usize = 64 << 20;
/// Chunks generated ahead of a client that reads slowly.
const FRAMES_AHEAD: usize = 4;

pub(super) async fn enter(
    State(state): State<Arc<HostState>>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if let Some(page) = path.strip_prefix("/emulator/") {
        return control::page(&state, &head.method, page, body).await;
    }
    let completions = format!("{}/chat/completions", state.host.profile().base_path);
    let converse = match state.host {
        EmulatedHost::Bedrock => converse::target(path),
        _ => None,
    };
    let deepseek = state.host == EmulatedHost::Deepseek;
    let bare = deepseek && path == "/beta/completions";
    let continued = deepseek && path == "/beta/chat/completions";
    let asks = converse.is_some()
        || path == completions
        || bare
        || continued
        || deepseek && path == "/v1/chat/completions";
    if asks {
        state.count_request();
    }
    if head.method == Method::GET
        && let Some(page) = feeds::page(&state, path, true)
    {
        return document(StatusCode::OK, &page);
    }
    let Some(account) = account(state.host, &head.headers) else {
        return match converse {
            Some(_) => converse::refusal(&converse::unauthorised(&head.headers)),
            None => unauthorised(state.host, &head.headers),
        };
    };
    if asks && head.method == Method::POST {
        let target = converse.as_ref();
        return match complete(&state, &account, &head.headers, body, target, bare).await {
            Ok(response) => response,
            Err(failure) => refusal(&state, &failure, target),
        };
    }
    if head.method == Method::GET
        && let Some(page) = feeds::page(&state, path, false)
    {
        return document(StatusCode::OK, &page);
    }
    refusal(
        &state,
        &Failure::new(404, format!("{} {path} is not offered here.", head.method)),
        converse.as_ref(),
    )
}

/// The account that a credential stands for.
fn account(host: EmulatedHost, headers: &HeaderMap) -> Option<String> {
    let shown = match host {
        EmulatedHost::Azure => headers.get("api-key")?.to_str().ok()?,
        _ => headers
            .get(header::AUTHORIZATION)?
            .to_str()
            .ok()?
            .strip_prefix("Bearer ")?,
    };
    let account = shown
        .strip_prefix("demo-")?
        .strip_prefix(host.name())?
        .strip_prefix('-')?;
    (!account.is_empty()).then(|| account.to_owned())
}

fn unauthorised(host: EmulatedHost, headers: &HeaderMap) -> Response<Body> {
    match host {
        // Without any key, 31 bytes of plain text.
        EmulatedHost::Deepseek if !headers.contains_key(header::AUTHORIZATION) => respond(
            StatusCode::UNAUTHORIZED,
            "text/plain",
            Body::from("Authentication Fails (governor)"),
        ),
        EmulatedHost::Siliconflow => respond(
            StatusCode::UNAUTHORIZED,
            "application/json",
            Body::from("\"Invalid token\""),
        ),
        _ => {
            let message = match host {
                EmulatedHost::Deepseek => "Authentication Fails, Your api key is invalid",
                EmulatedHost::Azure => {
                    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to \
                     provide a valid key for an active subscription and use a correct regional API \
                     endpoint for your resource."
                }
                EmulatedHost::Vertex => "Request had invalid authentication credentials.",
                _ => "Incorrect API key provided.",
            };
            document(
                StatusCode::UNAUTHORIZED,
                &Failure::new(401, message).body(host),
            )
        }
    }
}

/// `bare`: a prompt to be completed rather than a conversation.
async fn complete(
    state: &Arc<HostState>,
    account: &str,
    headers: &HeaderMap,
    body: Body,
    converse: Option<&Target>,
    bare: bool,
) -> Result<Response<Body>, Failure> {
    let host = state.host;
    let started = state.now();
    let body = axum::body::to_bytes(body, LARGEST_BODY)
        .await
        .map_err(|_| Failure::new(413, "The request body is too large or was cut off."))?;
    let set = state.take_fault();
    let (asked, echo) = match converse {
        Some(target) => (converse::read(target, &body, state.options.strict)?, None),
        None if bare => {
            let (asked, echo) = bare::read(host, &body)?;
            (asked, Some(echo))
        }
        None => (Asked::read(host, &body, state.options.strict)?, None),
    };
    let by_header = match headers.get("x-emulate").map(http::HeaderValue::to_str) {
        Some(Ok(name)) => Some(
            name.parse()
                .map_err(|wrong: String| Failure::new(400, wrong))?,
        ),
        _ => None,
    };
    let fault = by_header.or(asked.fault).or(set);
    if let Some(response) = fail_before(host, fault).await? {
        return Ok(response);
    }
    let Some(model) = tariff::sold_as(host, &asked.model, started) else {
        return Err(match converse {
            Some(_) => Failure::new(400, "The provided model identifier is invalid."),
            None => unknown_model(host, &asked.model),
        });
    };
    if host == EmulatedHost::Deepseek {
        let (granted, topped_up) = state.balance();
        if granted + topped_up <= 0 {
            return Err(Failure::of_status(host, 402));
        }
    }
    let call = OpenCall::open(
        state,
        model,
        account,
        &asked.isolation,
        &asked.prompt,
        started,
    )
    .ok_or_else(|| Failure::of_status(host, 429))?;
    Ok(answer(state, call, asked, echo, fault, converse.is_some()).await)
}

/// The faults that leave no answer and no bill.
async fn fail_before(
    host: EmulatedHost,
    fault: Option<Fault>,
) -> Result<Option<Response<Body>>, Failure> {
    let later = |retry_after: &str| Failure {
        retry_after: Some(retry_after.to_owned()),
        ..Failure::of_status(host, 429)
    };
    match fault {
        Some(Fault::Status(status)) => Err(Failure::of_status(host, status)),
        Some(Fault::RetryAfterAbsurd) => Err(later("999999999")),
        Some(Fault::RetryAfterDate) => Err(later("Wed, 21 Oct 2015 07:28:00 GMT")),
        Some(Fault::Html200) => {
            let page = "<html><body><h1>Sign in to the network</h1></body></html>";
            Ok(Some(respond(StatusCode::OK, "text/html", Body::from(page))))
        }
        Some(Fault::Empty200) => Ok(Some(respond(
            StatusCode::OK,
            "application/json",
            Body::empty(),
        ))),
        Some(Fault::CutBefore) => {
            let body = Body::from_stream(stream::once(break_off()));
            Ok(Some(respond(StatusCode::OK, "text/event-stream", body)))
        }
        Some(Fault::HangBefore) => pending().await,
        _ => Ok(None),
    }
}

fn unknown_model(host: EmulatedHost, model: &str) -> Failure {
    match host {
        EmulatedHost::Deepseek => Failure::of_field(400, "model", "Model Not Exist"),
        EmulatedHost::Azure => {
            Failure::new(404, "The API deployment for this resource does not exist.")
        }
        _ => Failure::of_field(404, "model", format!("The model `{model}` does not exist.")),
    }
}

async fn answer(
    state: &Arc<HostState>,
    mut call: OpenCall,
    asked: Asked,
    echo: Option<String>,
    fault: Option<Fault>,
    converse: bool,
) -> Response<Body> {
    let host = state.host;
    let options = &state.options;
    let tokens_divisor = if asked.wanted.is_some() {
        options.speedup
    } else {
        options.people_speedup
    };
    let number = call.id.rsplit('-').next().unwrap_or("0").to_owned();
    let speech = Speech {
        head: Head {
            host,
            id: call.id.clone(),
            call_id: match host {
                EmulatedHost::Deepseek => format!("call_00_demo{number}"),
                EmulatedHost::Bedrock => format!("tooluse_demo{number}"),
                _ => format!("call_demo{number}"),
            },
            created: call.started.as_second(),
            model: served_model(host, call.model).to_owned(),
            bare: echo,
        },
        answer: compose(host, &asked),
        pace: Pace::new(
            host,
            options.speedup,
            tokens_divisor,
            fault == Some(Fault::Slow),
        ),
        prompt: asked.prompt,
        thinking: asked.thinking,
        include_usage: asked.include_usage,
        fault,
    };
    let id = call.id.clone();
    let response = if asked.stream {
        let (to, frames) = mpsc::channel(FRAMES_AHEAD);
        let content_type = if converse {
            tokio::spawn(speech.converse_stream(call, to));
            "application/vnd.amazon.eventstream"
        } else {
            tokio::spawn(speech.stream(call, to));
            "text/event-stream"
        };
        respond(StatusCode::OK, content_type, body_of(frames))
    } else if host == EmulatedHost::Deepseek {
        let (to, frames) = mpsc::channel(FRAMES_AHEAD);
        tokio::spawn(speech.plain_with_blank_lines(call, to));
        respond(StatusCode::OK, "application/json", body_of(frames))
    } else {
        let body = if converse {
            speech.converse(&mut call).await
        } else {
            speech.plain(&mut call).await
        };
        match body {
            Ok(body) => respond(StatusCode::OK, "application/json", Body::from(body)),
            Err(Left) => {
                let half = Bytes::from_static(b"{\"id\": \"chatcmpl-broken\", \"choi");
                let frames = stream::iter([Frame::Ok(half)]).chain(stream::once(break_off()));
                respond(
                    StatusCode::OK,
                    "application/json",
                    Body::from_stream(frames),
                )
            }
        }
    };
    with_host_headers(host, &id, response)
}

/// The name that the answer bears: a router answers with the model that served.
fn served_model(host: EmulatedHost, model: &'static str) -> &'static str {
    match (host, model) {
        (EmulatedHost::Fireworks, "accounts/fireworks/routers/deepseek-v4p1-flash-us") => {
            "accounts/fireworks/models/deepseek-v4p1-flash"
        }
        (EmulatedHost::Fireworks, "accounts/fireworks/routers/deepseek-v4p1-flash-1017-us") => {
            "accounts/fireworks/models/deepseek-v4p1-flash-1017"
        }
        _ => model,
    }
}

fn body_of(mut frames: mpsc::Receiver<Frame>) -> Body {
    Body::from_stream(stream::poll_fn(move |context| frames.poll_recv(context)))
}

fn with_host_headers(host: EmulatedHost, id: &str, mut response: Response<Body>) -> Response<Body> {
    let name = match host {
        EmulatedHost::Deepseek => "x-ds-trace-id",
        EmulatedHost::Bedrock => "x-amzn-requestid",
        EmulatedHost::Azure => "apim-request-id",
        EmulatedHost::Siliconflow => "x-siliconcloud-trace-id",
        _ => "x-request-id",
    };
    let headers = response.headers_mut();
    if let Ok(id) = id.parse() {
        headers.insert(name, id);
    }
    match host {
        EmulatedHost::Azure => {
            headers.insert("x-ms-region", http::HeaderValue::from_static("East US 2"));
        }
        EmulatedHost::Fireworks | EmulatedHost::Nebius => {
            headers.insert(
                "x-ratelimit-limit-requests",
                http::HeaderValue::from_static("6000"),
            );
            headers.insert(
                "x-ratelimit-remaining-requests",
                http::HeaderValue::from_static("5999"),
            );
        }
        _ => {}
    }
    response
}

fn refusal(state: &HostState, failure: &Failure, converse: Option<&Target>) -> Response<Body> {
    let id = format!("refused-{}-{}", state.host, state.requests());
    if converse.is_some() {
        return with_host_headers(state.host, &id, converse::refusal(failure));
    }
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = document(status, &failure.body(state.host));
    if let Some(wait) = failure
        .retry_after
        .as_ref()
        .and_then(|wait| wait.parse().ok())
    {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    with_host_headers(state.host, &id, response)
}

pub(super) fn document(status: StatusCode, document: &Value) -> Response<Body> {
    respond(status, "application/json", Body::from(document.to_string()))
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    response
}
