//! Answers that callers asked to be stored, and may come back to: `/v1/responses/{id}` and what lies
//! below it. What another organisation stored is not there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;

use super::desk::{Answered, Refused, answer};
use super::surfaces::openai_responses::{self, Listing, Stored};
use crate::stack::{Rooms, authenticated};

pub(super) fn router(rooms: Arc<Rooms>) -> Router {
    Router::new()
        .route("/v1/responses/{id}", get(retrieve).delete(delete))
        .route("/v1/responses/{id}/cancel", post(cancel))
        .route("/v1/responses/{id}/input_items", get(input_items))
        .with_state(rooms)
}

#[derive(Debug, Default, Deserialize)]
struct Retrieve {
    #[serde(default)]
    stream: bool,
}

async fn retrieve(
    State(rooms): State<Arc<Rooms>>,
    Path(id): Path<String>,
    Query(asked): Query<Retrieve>,
    headers: HeaderMap,
) -> Answered {
    let stored = find(&rooms, &headers, &id).await?;
    let body = openai_responses::retrieved(&stored, asked.stream)?;
    Ok(answer(StatusCode::OK, body))
}

async fn delete(
    State(rooms): State<Arc<Rooms>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let principal = authenticated(&rooms, &headers).await?;
    let (organisation, now) = (&principal.payer.organisation, rooms.clock.now());
    if !rooms.history.forget(organisation, &id, now).await? {
        return Err(openai_responses::unknown(&id).into());
    }
    Ok(answer(StatusCode::OK, openai_responses::deleted(&id)))
}

async fn cancel(
    State(rooms): State<Arc<Rooms>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    find(&rooms, &headers, &id).await?;
    Err(openai_responses::cancelled(&id).into())
}

async fn input_items(
    State(rooms): State<Arc<Rooms>>,
    Path(id): Path<String>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Answered {
    let stored = find(&rooms, &headers, &id).await?;
    let body = openai_responses::input_items(&stored, &listing)?;
    Ok(answer(StatusCode::OK, body))
}

async fn find(rooms: &Rooms, headers: &HeaderMap, id: &str) -> Result<Stored, Refused> {
    let principal = authenticated(rooms, headers).await?;
    let (organisation, now) = (&principal.payer.organisation, rooms.clock.now());
    let found = rooms.history.stored(organisation, id, now).await?;
    let stored = found.ok_or_else(|| openai_responses::unknown(id))?;
    Ok(Stored {
        id: stored.id,
        turns: stored.turns,
        body: Bytes::from(stored.body),
    })
}
