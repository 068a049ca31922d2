//! Bedrock's own door: Converse and ConverseStream as AWS's API reference and botocore's model
//! describe them. A request is checked by Bedrock's rules, then read as the chat request that asks
//! the same; the answer is spoken in Bedrock's shapes. The OpenAI-compatible door stands beside it.

mod frames;
mod read;
mod speak;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::errors::Failure;

pub(super) use read::read;

/// What a path of this door asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub model: String,
    pub stream: bool,
}

/// `/model/{percent-encoded id}/converse[-stream]`.
pub(super) fn target(path: &str) -> Option<Target> {
    let (model, operation) = path.strip_prefix("/model/")?.split_once('/')?;
    let stream = match operation {
        "converse" => false,
        "converse-stream" => true,
        _ => return None,
    };
    Some(Target {
        model: decoded(model)?,
        stream,
    })
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The name of an error, which decides what a client makes of it.
fn name(status: u16) -> &'static str {
    match status {
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

pub(super) fn refusal(failure: &Failure) -> Response<Body> {
    let body = json!({"message": failure.message}).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        "x-amzn-errortype",
        HeaderValue::from_static(name(failure.status)),
    );
    if let Some(wait) = failure
        .retry_after
        .as_ref()
        .and_then(|wait| wait.parse().ok())
    {
        headers.insert(header::RETRY_AFTER, wait);
    }
    response
}

/// A credential that is none, or none at all.
pub(super) fn unauthorised(headers: &HeaderMap) -> Failure {
    let message = if headers.contains_key(header::AUTHORIZATION) {
        "Authentication failed: Please make sure your API Key is valid."
    } else {
        "Missing Authentication Token"
    };
    Failure::new(403, message)
}

#[cfg(test)]
mod tests;
