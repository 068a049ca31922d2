//! Reads the ledger's table as it stands in the database, by SQL of its own: what the gateway says
//! about its ledger is checked against this.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row as _};

use crate::until;

/// Where a gateway's ledger lies.
#[derive(Clone, Debug)]
pub struct Ledger {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Postgres(String),
    /// The folder that holds the SQLite file.
    Folder(PathBuf),
}

/// An entry's columns that tests look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    pub request: String,
    pub attempt: i64,
    pub team: String,
    pub project: String,
    pub key: String,
    pub tags: String,
    pub host: String,
    pub model: String,
    pub started_us: i64,
    pub ended_us: i64,
    pub billed_us: i64,
    pub cache_miss: i64,
    pub cache_hit: i64,
    pub cache_write: i64,
    pub reasoning: i64,
    pub visible: i64,
    pub counted_by: String,
    pub outcome: String,
    /// The version of the catalog it was priced by.
    pub catalog: String,
    pub price_state: String,
    /// Picodollars; `None` if the price is unknown.
    pub cost: Option<i128>,
}

impl Ledger {
    pub(crate) fn postgres(url: &str) -> Self {
        Ledger {
            place: Place::Postgres(url.to_owned()),
        }
    }

    pub(crate) fn sqlite_in(folder: PathBuf) -> Self {
        Ledger {
            place: Place::Folder(folder),
        }
    }

    /// Where there is a database yet. SQLite's file is found by what it holds, not by its name.
    async fn connect(&self) -> Option<AnyConnection> {
        sqlx::any::install_default_drivers();
        match &self.place {
            Place::Postgres(url) => AnyConnection::connect(url).await.ok(),
            Place::Folder(folder) => {
                for file in std::fs::read_dir(folder).ok()?.flatten() {
                    let path = file.path();
                    let is_database = path
                        .extension()
                        .is_some_and(|kind| kind == "sqlite" || kind == "db");
                    if !is_database {
                        continue;
                    }
                    let url = format!("sqlite://{}?mode=rw", path.display());
                    let mut connection = AnyConnection::connect(&url).await.ok()?;
                    let asked =
                        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'entry'";
                    if sqlx::query(asked)
                        .fetch_optional(&mut connection)
                        .await
                        .ok()?
                        .is_some()
                    {
                        return Some(connection);
                    }
                }
                None
            }
        }
    }

    async fn read(&self) -> Option<Vec<Row>> {
        let mut connection = self.connect().await?;
        let rows = sqlx::query(
            "SELECT id, request_id, attempt, team, project, key_id, tags, host, model, started_us, \
             ended_us, billed_us, cache_miss, cache_hit, cache_write, reasoning, visible, counted_by, \
             outcome, catalog, price_state, cost_pd FROM entry ORDER BY started_us, request_id, attempt",
        )
        .fetch_all(&mut connection)
        .await
        .ok()?;
        Some(rows.iter().map(row).collect())
    }

    /// Runs a statement as an operator with a database client would.
    pub async fn execute(&self, statement: &'static str) -> Result<u64, sqlx::Error> {
        let mut connection = self.connect().await.expect("a database");
        Ok(sqlx::query(statement)
            .execute(&mut connection)
            .await?
            .rows_affected())
    }

    /// Puts entries there by hand, as no gateway would.
    pub async fn insert(&self, rows: &[Row]) {
        let mut connection = self.connect().await.expect("a database");
        for row in rows {
            let cost = row
                .cost
                .map(|cost| i64::try_from(cost).expect("a cell's amount"));
            sqlx::query(
                "INSERT INTO entry (id, request_id, attempt, organisation, team, project, key_id, tags, \
                 surface, host, account, region, model, host_model, started_us, ended_us, billed_us, \
                 cache_miss, cache_hit, cache_write, reasoning, visible, counted_by, outcome, catalog, \
                 price_state, cost_pd, list_pd, spread_pd, decision) \
                 VALUES ($1, $2, $3, 'test', $4, $5, $6, $7, 'openai_chat', $8, 'default', 'test', $9, $9, \
                 $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $22, $22, '{}')",
            )
            .bind(&row.id)
            .bind(&row.request)
            .bind(row.attempt)
            .bind(&row.team)
            .bind(&row.project)
            .bind(&row.key)
            .bind(&row.tags)
            .bind(&row.host)
            .bind(&row.model)
            .bind(row.started_us)
            .bind(row.ended_us)
            .bind(row.billed_us)
            .bind(row.cache_miss)
            .bind(row.cache_hit)
            .bind(row.cache_write)
            .bind(row.reasoning)
            .bind(row.visible)
            .bind(&row.counted_by)
            .bind(&row.outcome)
            .bind(&row.catalog)
            .bind(&row.price_state)
            .bind(cost)
            .execute(&mut connection)
            .await
            .expect("an entry");
        }
    }

    /// The files of a catalog's version, by path, as the ledger keeps them.
    pub async fn catalog(&self, version: &str) -> BTreeMap<String, String> {
        let mut connection = self.connect().await.expect("a database");
        let question = match self.place {
            Place::Postgres(_) => "SELECT files FROM catalog_version WHERE version = $1",
            Place::Folder(_) => "SELECT files FROM catalog_version WHERE version = ?",
        };
        let row = sqlx::query(question)
            .bind(version)
            .fetch_one(&mut connection)
            .await;
        let files: String = row
            .unwrap_or_else(|error| panic!("catalog {version}: {error}"))
            .get("files");
        serde_json::from_str(&files).expect("a JSON object of texts")
    }

    /// What has reached the store by now.
    pub async fn rows(&self) -> Vec<Row> {
        // Not yet created, or busy: an empty book, which no test takes for a full one.
        self.read().await.unwrap_or_default()
    }

    /// All entries, once there are at least that many.
    pub async fn at_least(&self, count: usize) -> Vec<Row> {
        let found = std::cell::Cell::new(0);
        until(&format!("{count} entries in the ledger"), || async {
            let rows = self.rows().await;
            found.set(rows.len());
            (rows.len() >= count).then_some(rows)
        })
        .await
    }

    /// The only entry, once it is there.
    pub async fn only(&self) -> Row {
        let rows = self.at_least(1).await;
        assert_eq!(rows.len(), 1, "{rows:#?}");
        rows.into_iter().next().expect("just counted")
    }

    /// Entries by attempt id, once each of these attempts has one. Fails if one has two.
    pub async fn of(&self, attempts: &[String]) -> BTreeMap<String, Row> {
        until(
            &format!("an entry for each of {} attempts", attempts.len()),
            || async {
                let mut found = BTreeMap::new();
                for row in self.rows().await {
                    let twice = found.insert(row.id.clone(), row);
                    assert!(twice.is_none(), "two entries for one attempt: {twice:?}");
                }
                attempts
                    .iter()
                    .all(|attempt| found.contains_key(attempt))
                    .then_some(found)
            },
        )
        .await
    }
}

fn row(row: &AnyRow) -> Row {
    let text = |name: &str| -> String { row.get(name) };
    let number = |name: &str| -> i64 { row.get(name) };
    Row {
        id: text("id"),
        request: text("request_id"),
        attempt: number("attempt"),
        team: text("team"),
        project: text("project"),
        key: text("key_id"),
        tags: text("tags"),
        host: text("host"),
        model: text("model"),
        started_us: number("started_us"),
        ended_us: number("ended_us"),
        billed_us: number("billed_us"),
        cache_miss: number("cache_miss"),
        cache_hit: number("cache_hit"),
        cache_write: number("cache_write"),
        reasoning: number("reasoning"),
        visible: number("visible"),
        counted_by: text("counted_by"),
        outcome: text("outcome"),
        catalog: text("catalog"),
        price_state: text("price_state"),
        cost: row.get::<Option<i64>, _>("cost_pd").map(i128::from),
    }
}
