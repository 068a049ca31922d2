//! Reading entries back as they were written.

use std::sync::Arc;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::insert::COLUMNS;
use super::{Store, StoreError};
use crate::chat::{CountedBy, Tokens, Usage};
use crate::id::{EntryId, WindowId};
use crate::ledger::{Entry, Outcome, Payer, Place, Price};
use crate::money::Money;
use crate::time::{self, Timestamp};

impl Store {
    /// The latest entries by (instant billed, id), newest first; those before that point if one is
    /// given.
    pub async fn recent(
        &self,
        limit: u32,
        before: Option<(Timestamp, EntryId)>,
    ) -> Result<Vec<Entry>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM entry \
             WHERE billed_us <= $1 AND (billed_us < $1 OR id < $2) \
             ORDER BY billed_us DESC, id DESC LIMIT $3"
        );
        let (billed, id) = match before {
            Some((billed, id)) => (time::to_cell(billed), id.to_string()),
            None => (i64::MAX, String::new()),
        };
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(billed)
            .bind(id)
            .bind(i64::from(limit));
        read_all(&query.fetch_all(&self.pool).await?)
    }

    /// A page of the entries billed in [from, to), oldest first; those after that point if one is
    /// given, which is how the next page is asked for.
    pub async fn entries(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<(Timestamp, EntryId)>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM entry \
             WHERE billed_us >= $1 AND billed_us < $2 AND (billed_us > $1 OR id > $3) \
             ORDER BY billed_us, id LIMIT $4"
        );
        let (billed, id) = match after {
            Some((billed, id)) if billed >= from => (time::to_cell(billed), id.to_string()),
            _ => (time::to_cell(from), String::new()),
        };
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(billed)
            .bind(time::to_cell(to))
            .bind(id)
            .bind(i64::from(limit));
        read_all(&query.fetch_all(&self.pool).await?)
    }

    pub async fn entry(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE id = $1");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }
}

fn read_all(rows: &[AnyRow]) -> Result<Vec<Entry>, StoreError> {
    rows.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<Entry, StoreError> {
    let id: String = row.try_get("id")?;
    let unknown = |column: &'static str, value: &str| StoreError::Unknown {
        table: "entry",
        id: id.clone(),
        column,
        value: value.to_owned(),
    };
    let text = |column: &'static str| -> Result<Arc<str>, StoreError> {
        Ok(Arc::from(row.try_get::<String, _>(column)?))
    };
    let uuid = |column: &'static str| -> Result<uuid::Uuid, StoreError> {
        let value: String = row.try_get(column)?;
        uuid::Uuid::try_parse(&value).map_err(|_| unknown(column, &value))
    };
    let number = |column: &'static str| -> Result<i64, StoreError> { Ok(row.try_get(column)?) };
    let instant = |column: &'static str| number(column).map(time::from_cell);
    let count = |column: &'static str| number(column).map(Tokens::from_cell);
    let maybe_text =
        |column: &'static str| -> Result<Option<String>, StoreError> { Ok(row.try_get(column)?) };

    let first_byte: Option<i64> = row.try_get("first_byte_us")?;
    let attempt = number("attempt")?;
    let counted_by = text("counted_by")?;
    let outcome = text("outcome")?;
    let state = text("price_state")?;
    let price = match &*state {
        "unpriced" => Price::Unpriced,
        "priced" | "provisional" => Price::Priced {
            cost: Money::from_cell(number("cost_pd")?),
            list: Money::from_cell(number("list_pd")?),
            spread: Money::from_cell(number("spread_pd")?),
            provisional: &*state == "provisional",
        },
        other => return Err(unknown("price_state", other)),
    };
    Ok(Entry {
        id: EntryId::from_uuid(uuid("id")?),
        request: crate::id::RequestId::from_uuid(uuid("request_id")?),
        attempt: u16::try_from(attempt).map_err(|_| unknown("attempt", &attempt.to_string()))?,
        payer: Payer {
            organisation: crate::id::OrganisationName::new(text("organisation")?),
            team: crate::id::TeamName::new(text("team")?),
            project: crate::id::ProjectName::new(text("project")?),
            key: crate::id::KeyId::from_uuid(uuid("key_id")?),
        },
        tags: text("tags")?,
        surface: text("surface")?,
        place: Place {
            host: crate::id::HostName::new(text("host")?),
            account: crate::id::AccountName::new(text("account")?),
            region: crate::id::RegionName::new(text("region")?),
            model: crate::id::ModelName::new(text("model")?),
            host_model: text("host_model")?,
        },
        started: instant("started_us")?,
        first_byte: first_byte.map(time::from_cell),
        ended: instant("ended_us")?,
        billed: instant("billed_us")?,
        host_request: maybe_text("host_request")?.map(Arc::from),
        usage: Usage {
            cache_miss: count("cache_miss")?,
            cache_hit: count("cache_hit")?,
            cache_write: count("cache_write")?,
            reasoning: count("reasoning")?,
            visible: count("visible")?,
        },
        counted_by: CountedBy::parse(&counted_by)
            .ok_or_else(|| unknown("counted_by", &counted_by))?,
        outcome: Outcome::parse(&outcome).ok_or_else(|| unknown("outcome", &outcome))?,
        catalog: crate::id::CatalogVersion::new(text("catalog")?),
        window: maybe_text("price_window")?.map(WindowId::new),
        price,
        decision: text("decision")?,
    })
}
