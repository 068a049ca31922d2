//! `/v1/files`: uploading the requests of a batch, and reading what became of them. A file goes to
//! the database as it comes, a piece at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Path, Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::desk::{Answered, Desk, Refused, answer, bounded, not_found, page, told};
use crate::chat::{Code, Refusal};
use crate::history::{Arriving, FilePage, Removal, StoredFile};

/// Longest silence inside an upload.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest value of a field beside the file.
const FIELD_BYTES: usize = 1024;
/// More fields than this are no upload.
const FIELDS: usize = 32;
/// OpenAI's bounds on how long a file is kept, and on a page.
pub(super) const LIFETIME: std::ops::RangeInclusive<u64> = 3_600..=2_592_000;
const PAGE: u32 = 10_000;

/// What an upload says beside its content.
#[derive(Default)]
struct Said {
    name: Option<String>,
    purpose: Option<String>,
    anchor: Option<String>,
    seconds: Option<String>,
}

pub(super) async fn upload(State(desk): State<Arc<Desk>>, request: Request) -> Answered {
    let principal = desk.caller(request.headers()).await?;
    let form = Multipart::from_request(request, &())
        .await
        .map_err(|error| invalid(None, error.body_text()))?;
    let organisation = &principal.payer.organisation;
    let mut arriving = desk.files.begin(organisation, desk.clock.now()).await?;
    let mut said = Said::default();
    match receive(form, &mut arriving, &mut said)
        .await
        .and_then(|()| said.judge())
    {
        Ok((name, purpose, lifetime)) => {
            let now = desk.clock.now();
            let file = arriving.finish(&name, &purpose, lifetime, now).await?;
            Ok(told(&card(&file)))
        }
        Err(refused) => {
            arriving.abandon().await;
            Err(refused)
        }
    }
}

/// Fields may come in any order.
async fn receive(
    mut form: Multipart,
    arriving: &mut Arriving,
    said: &mut Said,
) -> Result<(), Refused> {
    for _ in 0..FIELDS {
        let Some(mut field) = in_time(form.next_field()).await? else {
            return Ok(());
        };
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" if said.name.is_some() => {
                return Err(invalid(
                    Some("file"),
                    "`file` is given twice; send one file",
                ));
            }
            "file" => {
                said.name = Some(field.file_name().unwrap_or("file").to_owned());
                while let Some(piece) = in_time(field.chunk()).await? {
                    arriving.write(&piece).await?;
                }
            }
            "purpose" => said.purpose = Some(short(&name, &mut field).await?),
            "expires_after[anchor]" => said.anchor = Some(short(&name, &mut field).await?),
            "expires_after[seconds]" => said.seconds = Some(short(&name, &mut field).await?),
            _ => {
                return Err(invalid(
                    Some(&name),
                    "an upload has the fields `file`, `purpose` and `expires_after`",
                ));
            }
        }
    }
    Err(invalid(None, "the upload has too many fields"))
}

/// A piece of the upload, if it comes in time.
async fn in_time<T>(piece: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Refused> {
    match tokio::time::timeout(SILENCE, piece).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(invalid(None, error.body_text())),
        Err(_) => Err(Refused(Refusal::new(
            Code::TimedOut,
            "the upload was silent for a minute; send it again",
        ))),
    }
}

async fn short(name: &str, field: &mut Field<'_>) -> Result<String, Refused> {
    let mut value = Vec::new();
    while let Some(piece) = in_time(field.chunk()).await? {
        value.extend_from_slice(&piece);
        if value.len() > FIELD_BYTES {
            return Err(invalid(Some(name), "this field is too long"));
        }
    }
    String::from_utf8(value).map_err(|_| invalid(Some(name), "this field is not UTF-8"))
}

fn invalid(field: Option<&str>, message: impl Into<String>) -> Refused {
    Refused(match field {
        Some(field) => Refusal::invalid(field, message),
        None => Refusal::new(Code::InvalidRequest, message),
    })
}

impl Said {
    fn judge(self) -> Result<(String, String, Option<Duration>), Refused> {
        let name = self
            .name
            .ok_or_else(|| invalid(Some("file"), "`file` is missing; send the file itself"))?;
        let purpose = self
            .purpose
            .ok_or_else(|| invalid(Some("purpose"), "`purpose` is missing; write batch"))?;
        if purpose != "batch" {
            return Err(invalid(
                Some("purpose"),
                "files here are for batches; write `batch` as the purpose",
            ));
        }
        let lifetime = match (self.anchor.as_deref(), self.seconds) {
            (None, None) => None,
            (Some("created_at"), Some(seconds)) => {
                Some(lifetime(seconds.parse().ok(), "expires_after[seconds]")?)
            }
            _ => {
                return Err(invalid(
                    Some("expires_after"),
                    "`expires_after` has the anchor created_at and a number of seconds",
                ));
            }
        };
        Ok((name, purpose, lifetime))
    }
}

/// How long a file is to be kept.
pub(super) fn lifetime(seconds: Option<u64>, field: &str) -> Result<Duration, Refused> {
    seconds
        .filter(|seconds| LIFETIME.contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            invalid(
                Some(field),
                "a file is kept for 3600 (an hour) to 2592000 (30 days) seconds",
            )
        })
}

#[derive(Deserialize)]
pub(super) struct FileQuery {
    after: Option<String>,
    limit: Option<u32>,
    order: Option<String>,
    purpose: Option<String>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    query: Result<Query<FileQuery>, axum::extract::rejection::QueryRejection>,
) -> Answered {
    let principal = desk.caller(&headers).await?;
    let Query(query) = query.map_err(|error| invalid(None, error.body_text()))?;
    let limit = bounded(query.limit, PAGE, PAGE)?;
    let ascending = match query.order.as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(invalid(Some("order"), "`order` must be asc or desc")),
    };
    let asked = FilePage {
        after: query.after,
        limit: limit + 1,
        ascending,
        purpose: query.purpose,
    };
    let organisation = &principal.payer.organisation;
    let files = desk
        .files
        .list(organisation, &asked, desk.clock.now())
        .await?;
    Ok(page(files.iter().map(card).collect(), limit as usize))
}

async fn found(desk: &Desk, headers: &HeaderMap, id: &str) -> Result<StoredFile, Refused> {
    let principal = desk.caller(headers).await?;
    let organisation = &principal.payer.organisation;
    let file = desk.files.find(organisation, id, desk.clock.now()).await?;
    file.ok_or_else(|| not_found("file", id))
}

pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    Ok(told(&card(&found(&desk, &headers, &id).await?)))
}

pub(super) async fn content(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let file = found(&desk, &headers, &id).await?;
    let length = HeaderValue::from(file.bytes);
    // A piece is read when the one before it has left.
    let pieces = stream::try_unfold(0, move |number| {
        let (files, file) = (desk.files.clone(), file.clone());
        async move {
            if number == file.chunks {
                return Ok(None);
            }
            let piece = files.chunk(&file, number).await?;
            Ok::<_, crate::history::HistoryError>(Some((Bytes::from(piece), number + 1)))
        }
    });
    let mut response = answer(StatusCode::OK, Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_LENGTH, length);
    Ok(response)
}

pub(super) async fn delete(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let principal = desk.caller(&headers).await?;
    let organisation = &principal.payer.organisation;
    match desk
        .files
        .delete(organisation, &id, desk.clock.now())
        .await?
    {
        Removal::Removed => Ok(told(&json!({"id": id, "object": "file", "deleted": true}))),
        Removal::InUse => Err(invalid(
            None,
            "a batch that is not done yet reads this file; cancel the batch first",
        )),
        Removal::NotThere => Err(not_found("file", &id)),
    }
}

/// A file as OpenAI tells it.
fn card(file: &StoredFile) -> Value {
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created.as_second(),
        "expires_at": file.expires.as_second(),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": null,
    })
}
