//! Databases for tests: an SQLite file, and a database of its own on the PostgreSQL server that
//! `TOLLGATE_TEST_POSTGRES` names (`tests/run` starts one).

use sqlx::{Connection, Executor, PgConnection};

use super::Store;

/// A fresh database, gone when dropped (SQLite) or with its server (PostgreSQL).
pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) url: String,
    /// For a spool, or anything else.
    pub(crate) folder: tempfile::TempDir,
}

impl Fresh {
    pub(crate) async fn sqlite() -> Fresh {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let store = Store::open(&url).await.expect("a new SQLite database");
        Fresh { store, url, folder }
    }

    pub(crate) async fn postgres() -> Fresh {
        let server = std::env::var("TOLLGATE_TEST_POSTGRES").expect(
            "TOLLGATE_TEST_POSTGRES names a PostgreSQL server for tests: run them with tests/run",
        );
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(&server)
            .await
            .expect("the PostgreSQL server for tests");
        connection
            .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .expect("a new database");
        let mut url = url::Url::parse(&server).expect("a URL");
        url.set_path(&name);
        let store = Store::open(url.as_str())
            .await
            .expect("a new PostgreSQL database");
        Fresh {
            store,
            url: url.into(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }
}

/// Runs a test's body on both databases.
pub(crate) fn on_both(body: impl AsyncFn(&Fresh)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        body(&Fresh::sqlite().await).await;
        body(&Fresh::postgres().await).await;
    });
}
