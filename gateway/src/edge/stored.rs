//! Answers that callers asked to be stored, and may come back to: `/v1/responses/{id}` and what lies
//! below it. What another organisation stored is not there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;

use super::api::{json_body, refused};
use super::surfaces::RESPONSES;
use super::surfaces::openai_responses::{self, Listing, Stored};
use crate::chat::Refusal;
use crate::id::RequestId;
use crate::stack::{Rooms, authenticated, unavailable};

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
) -> Response {
    told(
        async {
            let stored = find(&rooms, &headers, &id).await?;
            openai_responses::retrieved(&stored, asked.stream)
        }
        .await,
    )
}

async fn delete(
    State(rooms): State<Arc<Rooms>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    told(
        async {
            let principal = authenticated(&rooms, &headers).await?;
            let (organisation, now) = (&principal.payer.organisation, rooms.clock.now());
            let forgotten = rooms.history.forget(organisation, &id, now).await;
            if forgotten.map_err(unavailable)? {
                Ok(openai_responses::deleted(&id))
            } else {
                Err(openai_responses::unknown(&id))
            }
        }
        .await,
    )
}

async fn cancel(
    State(rooms): State<Arc<Rooms>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    told(
        async {
            find(&rooms, &headers, &id).await?;
            Err(openai_responses::cancelled(&id))
        }
        .await,
    )
}

async fn input_items(
    State(rooms): State<Arc<Rooms>>,
    Path(id): Path<String>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Response {
    told(
        async {
            let stored = find(&rooms, &headers, &id).await?;
            openai_responses::input_items(&stored, &listing)
        }
        .await,
    )
}

async fn find(rooms: &Rooms, headers: &HeaderMap, id: &str) -> Result<Stored, Refusal> {
    let principal = authenticated(rooms, headers).await?;
    let stored = rooms
        .history
        .stored(&principal.payer.organisation, id, rooms.clock.now())
        .await
        .map_err(unavailable)?
        .ok_or_else(|| openai_responses::unknown(id))?;
    Ok(Stored {
        id: stored.id,
        turns: stored.turns,
        body: Bytes::from(stored.body),
    })
}

fn told(result: Result<Bytes, Refusal>) -> Response {
    let id = RequestId::new();
    match result {
        Ok(body) => json_body(id, StatusCode::OK, body),
        Err(refusal) => refused(RESPONSES, id, &refusal),
    }
}
