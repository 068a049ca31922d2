//! `/v1/batches`: many requests in one file, answered within a day. Its requests are made one by
//! one, as if its caller sent them: see [`Runner`].

mod asking;
mod line;
mod lines;
mod results;
mod runner;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

pub use asking::{Ask, Told};
pub use line::FromWithin;
pub use runner::{Pace, Runner};

use super::desk::{Answered, Desk, Refused, bounded, not_found, page, told};
use super::files::lifetime;
use crate::chat::{Code, Refusal};
use crate::history::{Batch, NewBatch, Status};
use crate::stack::{MAX_COST, TAGS};
use crate::time::Timestamp;

/// What a batch may ask. Each is a path that this gateway serves.
const ENDPOINTS: [&str; 4] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
];
/// The only window that OpenAI's clients know.
const WINDOW: (&str, Duration) = ("24h", Duration::from_secs(24 * 3600));
/// Headers of the batch that its requests carry: what they demand, and what they may cost.
const CARRIED: [&str; 3] = [TAGS, MAX_COST, "x-tollgate-session"];
/// Largest body that makes a batch.
const BODY_BYTES: usize = 64 << 10;
/// OpenAI's bounds on metadata, in characters, and on a page.
const METADATA: (usize, usize, usize) = (16, 64, 512);
const PAGE: (u32, u32) = (100, 20);

#[derive(Deserialize)]
struct Wanted {
    input_file_id: String,
    endpoint: String,
    completion_window: String,
    metadata: Option<BTreeMap<String, String>>,
    output_expires_after: Option<ExpiresAfter>,
}

#[derive(Deserialize)]
struct ExpiresAfter {
    anchor: String,
    seconds: u64,
}

pub(super) async fn create(State(desk): State<Arc<Desk>>, request: Request) -> Answered {
    let principal = desk.caller(request.headers()).await?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES).await.map_err(|_| {
        Refusal::new(
            Code::TooLarge,
            "the body of a batch is at most 64 KiB; its requests go into a file",
        )
    })?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| {
        Refusal::new(Code::InvalidRequest, format!("this is no batch: {error}"))
    })?;
    let output_lifetime = wanted.judge()?;
    let organisation = &principal.payer.organisation;
    let now = desk.clock.now();
    let file = desk
        .files
        .find(organisation, &wanted.input_file_id, now)
        .await?
        .ok_or_else(|| not_found("file", &wanted.input_file_id))?;
    if file.purpose != "batch" {
        return Err(Refused(Refusal::invalid(
            "input_file_id",
            "this file was not uploaded with the purpose batch; upload one that is",
        )));
    }
    let new = NewBatch {
        organisation: organisation.clone(),
        key: principal.payer.key,
        endpoint: wanted.endpoint,
        input_file: file.id,
        completion: wanted.completion_window,
        window: WINDOW.1,
        metadata: wanted.metadata,
        headers: carried(&parts.headers)?,
        output_lifetime,
    };
    let batch = desk.batches.create(new, now).await?;
    desk.new_batch.notify_one();
    Ok(told(&card(&batch)))
}

impl Wanted {
    fn judge(&self) -> Result<Option<Duration>, Refused> {
        let wrong = |field: &str, message: String| Err(Refused(Refusal::invalid(field, message)));
        if !ENDPOINTS.contains(&self.endpoint.as_str()) {
            let endpoints = ENDPOINTS.join(", ");
            return wrong("endpoint", format!("`endpoint` must be one of {endpoints}"));
        }
        if self.completion_window != WINDOW.0 {
            return wrong(
                "completion_window",
                "`completion_window` must be 24h".to_owned(),
            );
        }
        let (most, key, value) = METADATA;
        if self.metadata.as_ref().is_some_and(|metadata| {
            metadata.len() > most
                || metadata
                    .iter()
                    .any(|(name, text)| name.chars().count() > key || text.chars().count() > value)
        }) {
            return wrong(
                "metadata",
                format!(
                    "`metadata` has at most {most} keys of {key} characters, values of {value}"
                ),
            );
        }
        match &self.output_expires_after {
            None => Ok(None),
            Some(after) if after.anchor == "created_at" => {
                lifetime(Some(after.seconds), "output_expires_after").map(Some)
            }
            Some(_) => wrong(
                "output_expires_after",
                "the anchor of `output_expires_after` must be created_at".to_owned(),
            ),
        }
    }
}

/// A demand that cannot be read must not be lost: the batch is refused.
fn carried(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refused> {
    let mut carried = Vec::new();
    for name in CARRIED {
        for value in headers.get_all(name) {
            let value = value.to_str().map_err(|_| {
                Refusal::new(
                    Code::InvalidRequest,
                    format!("the header {name} is not text"),
                )
            })?;
            carried.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(carried)
}

#[derive(Deserialize)]
pub(super) struct BatchQuery {
    after: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    query: Result<Query<BatchQuery>, axum::extract::rejection::QueryRejection>,
) -> Answered {
    let principal = desk.caller(&headers).await?;
    let Query(query) =
        query.map_err(|error| Refusal::new(Code::InvalidRequest, error.body_text()))?;
    let limit = bounded(query.limit, PAGE.0, PAGE.1)?;
    let organisation = &principal.payer.organisation;
    let batches = desk
        .batches
        .list(organisation, query.after.as_deref(), limit + 1)
        .await?;
    Ok(page(batches.iter().map(card).collect(), limit as usize))
}

pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let principal = desk.caller(&headers).await?;
    let batch = desk.batches.get(&principal.payer.organisation, &id).await?;
    let batch = batch.ok_or_else(|| not_found("batch", &id))?;
    Ok(told(&card(&batch)))
}

pub(super) async fn cancel(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let principal = desk.caller(&headers).await?;
    let organisation = &principal.payer.organisation;
    let now = desk.clock.now();
    let batch = desk.batches.cancel(organisation, &id, now).await?;
    let batch = batch.ok_or_else(|| not_found("batch", &id))?;
    if matches!(
        batch.status,
        Status::Completed | Status::Failed | Status::Expired
    ) {
        return Err(Refused(Refusal::new(
            Code::InvalidRequest,
            format!("this batch is {} and cannot be cancelled", batch.status),
        )));
    }
    Ok(told(&card(&batch)))
}

/// A batch as OpenAI tells it.
fn card(batch: &Batch) -> Value {
    let second = |instant: Option<Timestamp>| instant.map(|instant| instant.as_second());
    let ended = |status| second(batch.ended.filter(|_| batch.status == status));
    let errors =
        (!batch.faults.is_empty()).then(|| json!({"object": "list", "data": batch.faults}));
    let usage = &batch.usage;
    json!({
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": errors,
        "input_file_id": batch.input_file,
        "completion_window": batch.completion,
        "status": batch.status.as_str(),
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": batch.created.as_second(),
        "in_progress_at": second(batch.in_progress),
        "expires_at": batch.expires.as_second(),
        "finalizing_at": second(batch.finalizing),
        "completed_at": ended(Status::Completed),
        "failed_at": ended(Status::Failed),
        "expired_at": ended(Status::Expired),
        "cancelling_at": second(batch.cancelling),
        "cancelled_at": ended(Status::Cancelled),
        "request_counts": {
            "total": batch.counts.total,
            "completed": batch.counts.completed,
            "failed": batch.counts.failed,
        },
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        },
        "metadata": batch.metadata,
    })
}
