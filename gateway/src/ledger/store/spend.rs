//! Spend, grouped. Amounts are summed exactly: a sum of picodollars may pass 64 bits (from $9.2
//! million on), so the database sums millionths and rest apart, each far from its limit, and the
//! two are joined in 128 bits here.

use std::str::FromStr;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Writer};
use crate::chat::{Tokens, Usage};
use crate::id::KeyId;
use crate::money::Money;
use crate::time::{self, Timestamp};

/// What to group spend by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    Organisation,
    Team,
    Project,
    Key,
    Host,
    Account,
    Region,
    Model,
    Window,
    Outcome,
    CountedBy,
    Surface,
    Tags,
    /// Of the instant by which the host prices it, in UTC; so are day and month.
    Hour,
    Day,
    Month,
}

impl Dim {
    pub const ALL: [Dim; 16] = [
        Dim::Organisation,
        Dim::Team,
        Dim::Project,
        Dim::Key,
        Dim::Host,
        Dim::Account,
        Dim::Region,
        Dim::Model,
        Dim::Window,
        Dim::Outcome,
        Dim::CountedBy,
        Dim::Surface,
        Dim::Tags,
        Dim::Hour,
        Dim::Day,
        Dim::Month,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Dim::Organisation => "organisation",
            Dim::Team => "team",
            Dim::Project => "project",
            Dim::Key => "key",
            Dim::Host => "host",
            Dim::Account => "account",
            Dim::Region => "region",
            Dim::Model => "model",
            Dim::Window => "window",
            Dim::Outcome => "outcome",
            Dim::CountedBy => "counted_by",
            Dim::Surface => "surface",
            Dim::Tags => "tags",
            Dim::Hour => "hour",
            Dim::Day => "day",
            Dim::Month => "month",
        }
    }

    /// The SQL whose value is grouped by.
    fn sql(self, writer: &Writer) -> &'static str {
        match (self, writer) {
            (Dim::Key, _) => "key_id",
            (Dim::Window, _) => "COALESCE(price_window, '')",
            (Dim::Hour, _) => "CAST(billed_us / 3600000000 AS BIGINT)",
            (Dim::Day, _) => "CAST(billed_us / 86400000000 AS BIGINT)",
            (Dim::Month, Writer::Sqlite(_)) => {
                "strftime('%Y-%m', billed_us / 1000000, 'unixepoch')"
            }
            (Dim::Month, Writer::Postgres(_)) => {
                "to_char(to_timestamp(billed_us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM')"
            }
            (column, _) => column.as_str(),
        }
    }

    /// The value of the `index`th column as a person writes it.
    fn read(self, row: &AnyRow, index: usize) -> Result<String, StoreError> {
        let spell = |seconds_each: i64, format: &str| -> Result<String, StoreError> {
            let number: i64 = row.try_get(index)?;
            let instant = time::from_cell(number.saturating_mul(seconds_each * 1_000_000));
            Ok(instant.strftime(format).to_string())
        };
        match self {
            Dim::Hour => spell(3_600, "%Y-%m-%dT%H:00:00Z"),
            Dim::Day => spell(86_400, "%Y-%m-%d"),
            _ => Ok(row.try_get(index)?),
        }
    }
}

impl FromStr for Dim {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Dim::ALL
            .into_iter()
            .find(|dim| dim.as_str() == text)
            .ok_or_else(|| {
                let known = Dim::ALL.map(Dim::as_str).join(", ");
                format!("`{text}` is nothing to group by: write one of {known}")
            })
    }
}

/// Spend of the half-open span [from, to), by the instant billed.
#[derive(Clone, Debug)]
pub struct SpendQuery {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Empty: one row of all, or none if there is nothing.
    pub by: Vec<Dim>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpendRow {
    /// One value for each dimension asked for.
    pub key: Vec<String>,
    /// Distinct requests with an attempt in this row: one whose attempts lie in several rows counts
    /// in each, so these do not add up to the requests of the whole.
    pub requests: u64,
    pub attempts: u64,
    pub usage: Usage,
    pub cost: Money,
    pub list: Money,
    pub spread: Money,
    /// Attempts whose price is unknown; their cost is in no sum.
    pub unpriced: u64,
}

impl Store {
    /// Spend by the given dimensions, ordered by them.
    pub async fn spend(&self, query: &SpendQuery) -> Result<Vec<SpendRow>, StoreError> {
        let sql = spend_sql(&query.by, &self.writer);
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(time::to_cell(query.from))
            .bind(time::to_cell(query.to))
            .fetch_all(&self.pool)
            .await?;
        let mut spend = Vec::with_capacity(rows.len());
        for row in &rows {
            spend.push(read(row, &query.by)?);
        }
        // The databases order text each in its own way.
        spend.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(spend)
    }

    /// What a key has spent since that instant, by the instant billed.
    pub async fn spent(&self, key: KeyId, since: Timestamp) -> Result<Money, StoreError> {
        let sql = format!(
            "SELECT {} FROM entry WHERE key_id = $1 AND billed_us >= $2",
            amount_sql("cost_pd")
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(key.to_string())
            .bind(time::to_cell(since))
            .fetch_one(&self.pool)
            .await?;
        amount(&row, "cost_pd")
    }
}

/// Sums of one amount: millionths and the rest, both with the amount's sign.
fn amount_sql(column: &str) -> String {
    format!(
        "CAST(COALESCE(SUM({column} / 1000000), 0) AS BIGINT) AS {column}_high, \
         CAST(COALESCE(SUM({column} % 1000000), 0) AS BIGINT) AS {column}_low"
    )
}

fn spend_sql(by: &[Dim], writer: &Writer) -> String {
    let mut columns: Vec<String> = by.iter().map(|dim| dim.sql(writer).to_owned()).collect();
    columns.push("COUNT(*) AS attempts".to_owned());
    columns.push("COUNT(DISTINCT request_id) AS requests".to_owned());
    for count in [
        "cache_miss",
        "cache_hit",
        "cache_write",
        "reasoning",
        "visible",
    ] {
        columns.push(format!(
            "CAST(COALESCE(SUM({count}), 0) AS BIGINT) AS {count}"
        ));
    }
    columns.extend(["cost_pd", "list_pd", "spread_pd"].map(amount_sql));
    columns.push("COUNT(*) - COUNT(cost_pd) AS unpriced".to_owned());
    let numbers: Vec<String> = (1..=by.len()).map(|number| number.to_string()).collect();
    let grouping = if by.is_empty() {
        "HAVING COUNT(*) > 0".to_owned()
    } else {
        format!("GROUP BY {}", numbers.join(", "))
    };
    format!(
        "SELECT {} FROM entry WHERE billed_us >= $1 AND billed_us < $2 {grouping}",
        columns.join(", ")
    )
}

fn amount(row: &AnyRow, column: &str) -> Result<Money, StoreError> {
    let high: i64 = row.try_get(format!("{column}_high").as_str())?;
    let low: i64 = row.try_get(format!("{column}_low").as_str())?;
    Ok(Money::from_picodollars(
        i128::from(high) * 1_000_000 + i128::from(low),
    ))
}

fn read(row: &AnyRow, by: &[Dim]) -> Result<SpendRow, StoreError> {
    let mut key = Vec::with_capacity(by.len());
    for (index, dim) in by.iter().enumerate() {
        key.push(dim.read(row, index)?);
    }
    let count = |column: &str| -> Result<u64, StoreError> {
        let number: i64 = row.try_get(column)?;
        Ok(number.unsigned_abs())
    };
    let tokens = |column: &str| count(column).map(Tokens::new);
    Ok(SpendRow {
        key,
        requests: count("requests")?,
        attempts: count("attempts")?,
        usage: Usage {
            cache_miss: tokens("cache_miss")?,
            cache_hit: tokens("cache_hit")?,
            cache_write: tokens("cache_write")?,
            reasoning: tokens("reasoning")?,
            visible: tokens("visible")?,
        },
        cost: amount(row, "cost_pd")?,
        list: amount(row, "list_pd")?,
        spread: amount(row, "spread_pd")?,
        unpriced: count("unpriced")?,
    })
}
