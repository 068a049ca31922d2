//! The store: the ledger in PostgreSQL or SQLite.
//!
//! Both have the same tables (`migrations/`), whose cells are BIGINT, TEXT and sealed bytes alone, so
//! one text of each query serves both, through sqlx's `Any` driver; `insert.rs` alone speaks to each
//! in its own way, for speed. Money is summed without loss: see `spend.rs`.

use std::collections::BTreeMap;

use sqlx::{AnyPool, PgPool, SqlitePool};

use crate::id::CatalogVersion;
use crate::time::{self, Timestamp};

mod connect;
mod entries;
mod insert;
mod spend;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use spend::{Dim, SpendQuery, SpendRow};

/// The ledger's database. Cloning it is cheap.
#[derive(Clone)]
pub struct Store {
    /// Whatever the database, for all but entries written.
    pool: AnyPool,
    writer: Writer,
}

#[derive(Clone)]
enum Writer {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{0}` is no database: write postgres://user@host/name or sqlite:/path/to/file")]
    Url(String),
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database's tables: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("{table} {id} holds a {column} that this version does not know: {value}")]
    Unknown {
        table: &'static str,
        id: String,
        column: &'static str,
        value: String,
    },
}

impl StoreError {
    /// Whether the database would never take this entry, rather than not now.
    pub(super) fn is_about_the_entry(&self) -> bool {
        let StoreError::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        let Some(code) = error.code() else {
            return false;
        };
        if error
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some()
        {
            // Data exceptions and integrity violations.
            return code.starts_with("22") || code.starts_with("23");
        }
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH; extended codes carry them below.
        code.parse::<u32>()
            .is_ok_and(|code| matches!(code & 0xff, 18..=20))
    }
}

impl Store {
    /// From now on it takes and says nothing, as a database that is down.
    #[cfg(test)]
    pub(crate) async fn hang_up(&self) {
        self.pool.close().await;
        match &self.writer {
            Writer::Sqlite(pool) => pool.close().await,
            Writer::Postgres(pool) => pool.close().await,
        }
    }

    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Keeps a catalog's files under its version; a version that is there already stays.
    pub async fn record_catalog(
        &self,
        version: &CatalogVersion,
        files: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO catalog_version (version, taken_up_us, files) \
             VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING";
        let files = serde_json::to_string(files).expect("a map of strings is JSON");
        sqlx::query(SQL)
            .bind(version.as_str())
            .bind(time::to_cell(now))
            .bind(files)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The files of a catalog version, by path.
    pub async fn catalog(
        &self,
        version: &CatalogVersion,
    ) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        const SQL: &str = "SELECT files FROM catalog_version WHERE version = $1";
        let row: Option<(String,)> = sqlx::query_as(SQL)
            .bind(version.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|(files,)| {
            serde_json::from_str(&files).map_err(|error| StoreError::Unknown {
                table: "catalog_version",
                id: version.to_string(),
                column: "files",
                value: error.to_string(),
            })
        })
        .transpose()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        const SQL: &str = "SELECT CAST(1 AS BIGINT)";
        sqlx::query(SQL).fetch_one(&self.pool).await?;
        Ok(())
    }
}
