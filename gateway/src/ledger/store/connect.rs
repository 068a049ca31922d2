//! Connecting to either database, and bringing its tables up to date.

use std::str::FromStr;
use std::sync::Once;
use std::time::Duration;

use sqlx::Executor;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Store, StoreError, Writer};

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");
static DRIVERS: Once = Once::new();

/// Connections for reading and for keys. Dashboards and exports are few.
const READERS: u32 = 8;
/// Only the shipper writes entries, one batch at a time.
const WRITERS: u32 = 2;
/// How long a caller waits for a connection: a database that is down is told as such soon.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process's write.
const BUSY: Duration = Duration::from_secs(10);
/// Statements kept prepared on each connection.
const STATEMENTS: usize = 100;

impl Store {
    /// Connects and brings the tables up to date. `postgres://…`, or `sqlite:PATH`, whose file is
    /// made if it is not there.
    pub async fn open(url: &str) -> Result<Store, StoreError> {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Store::open_postgres(url).await
        } else if url.starts_with("sqlite:") {
            Store::open_sqlite(url).await
        } else {
            // Whatever it is, it may hold a password.
            let shown = url.split(':').next().unwrap_or_default();
            Err(StoreError::Url(format!(
                "{}:…",
                shown.chars().take(20).collect::<String>()
            )))
        }
    }

    async fn open_sqlite(url: &str) -> Result<Store, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .page_size(16_384)
            .journal_mode(SqliteJournalMode::Wal)
            // The spool forgets what the store has taken, so a commit must outlast the power. The
            // shipper alone waits for it, once a batch.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            // REPLACE deletes without it unseen by the triggers that keep entries.
            .pragma("recursive_triggers", "ON")
            .pragma("cache_size", "-65536")
            .pragma("wal_autocheckpoint", "1000")
            .statement_cache_capacity(STATEMENTS);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .connect_with(options)
            .await?;
        SQLITE.run(&writer).await?;
        let pool = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection
                        .execute(
                            "PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL; \
                             PRAGMA recursive_triggers = ON",
                        )
                        .await?;
                    Ok(())
                })
            })
            .connect_with(AnyConnectOptions::from_str(url)?)
            .await?;
        Ok(Store {
            pool,
            writer: Writer::Sqlite(writer),
        })
    }

    async fn open_postgres(url: &str) -> Result<Store, StoreError> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("tollgate")
            .statement_cache_capacity(STATEMENTS);
        let writer = PgPoolOptions::new()
            .max_connections(WRITERS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options)
            .await?;
        POSTGRES.run(&writer).await?;
        let pool = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .connect_with(AnyConnectOptions::from_str(url)?)
            .await?;
        Ok(Store {
            pool,
            writer: Writer::Postgres(writer),
        })
    }
}
