//! A batch as its row holds it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Batch, BatchCounts, BatchUsage};
use crate::history::HistoryError;
use crate::id::OrganisationName;
use crate::ledger::StoreError;
use crate::time;

pub(super) const COLUMNS: &str = "id, organisation, key_id, endpoint, input_file, completion, \
     metadata, headers, status, created_us, expires_us, in_progress_us, finalizing_us, \
     cancelling_us, ended_us, errors, total, completed, failed, input_tokens, cached_tokens, \
     output_tokens, reasoning_tokens, output_lifetime_s, output_file, error_file";

/// How far a batch is, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Validating,
    Failed,
    InProgress,
    Finalizing,
    Completed,
    Expired,
    Cancelling,
    Cancelled,
}

impl Status {
    pub const ALL: [Status; 8] = [
        Status::Validating,
        Status::Failed,
        Status::InProgress,
        Status::Finalizing,
        Status::Completed,
        Status::Expired,
        Status::Cancelling,
        Status::Cancelled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Validating => "validating",
            Status::Failed => "failed",
            Status::InProgress => "in_progress",
            Status::Finalizing => "finalizing",
            Status::Completed => "completed",
            Status::Expired => "expired",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether there is still something to do.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Status::Validating | Status::InProgress | Status::Finalizing | Status::Cancelling
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Status::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no status of a batch"))
    }
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings and numbers are JSON")
}

pub(super) fn read(row: &AnyRow) -> Result<Batch, HistoryError> {
    let id: String = row.try_get("id")?;
    let unknown = |column: &'static str, value: String| {
        HistoryError::Store(StoreError::Unknown {
            table: "batch",
            id: id.clone(),
            column,
            value,
        })
    };
    let count = |column| -> Result<u64, HistoryError> {
        Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
    };
    let instant = |column| -> Result<_, HistoryError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(time::from_cell))
    };
    let text = |column| -> Result<Option<String>, HistoryError> { Ok(row.try_get(column)?) };
    let key: String = row.try_get("key_id")?;
    let status: String = row.try_get("status")?;
    let lifetime: Option<i64> = row.try_get("output_lifetime_s")?;
    Ok(Batch {
        organisation: OrganisationName::new(row.try_get::<String, _>("organisation")?),
        key: key.parse().map_err(|_| unknown("key_id", key.clone()))?,
        endpoint: row.try_get("endpoint")?,
        input_file: row.try_get("input_file")?,
        completion: row.try_get("completion")?,
        metadata: parse(text("metadata")?).map_err(|value| unknown("metadata", value))?,
        headers: parse(text("headers")?)
            .map_err(|value| unknown("headers", value))?
            .unwrap_or_default(),
        output_lifetime: lifetime
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs),
        status: status
            .parse()
            .map_err(|_| unknown("status", status.clone()))?,
        created: time::from_cell(row.try_get("created_us")?),
        expires: time::from_cell(row.try_get("expires_us")?),
        in_progress: instant("in_progress_us")?,
        finalizing: instant("finalizing_us")?,
        cancelling: instant("cancelling_us")?,
        ended: instant("ended_us")?,
        faults: parse(text("errors")?)
            .map_err(|value| unknown("errors", value))?
            .unwrap_or_default(),
        counts: BatchCounts {
            total: count("total")?,
            completed: count("completed")?,
            failed: count("failed")?,
        },
        usage: BatchUsage {
            input: count("input_tokens")?,
            cached: count("cached_tokens")?,
            output: count("output_tokens")?,
            reasoning: count("reasoning_tokens")?,
        },
        output_file: text("output_file")?,
        error_file: text("error_file")?,
        id,
    })
}

fn parse<T: DeserializeOwned>(cell: Option<String>) -> Result<Option<T>, String> {
    cell.map(|text| serde_json::from_str(&text).map_err(|_| text))
        .transpose()
}
