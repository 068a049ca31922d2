//! The table of keys: minting, listing, revoking, rotating. A key is one row of `api_key` with a
//! row of `key_secret` for each secret that stands for it; rotating adds one and puts an end to the
//! others, so that budgets and reports go on under the same id.

use std::time::Duration;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::secret::Digest;
use super::{Budget, Pepper, Period, Principal, Role, Secret};
use crate::id::{KeyId, OrganisationName, ProjectName, Tag, TeamName};
use crate::ledger::{Payer, Store, StoreError};
use crate::money::Money;
use crate::time::{self, Timestamp};

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("there is no key {0}: see `tollgate key list`")]
    NoSuchKey(KeyId),
    #[error("key {0} is revoked: create a new one")]
    Revoked(KeyId),
    #[error("`{0}` cannot be a tag: write letters, digits, `-`, `_`, `.` or `:`")]
    NotATag(String),
    #[error("a budget of {0} is more than the ledger can hold ($9.2 million)")]
    BudgetTooLarge(Budget),
    #[error("TOLLGATE_PEPPER is not 64 hexadecimal digits: make one with `openssl rand -hex 32`")]
    NotAPepper,
    #[error("the pepper file {path}: {message}")]
    PepperFile {
        path: std::path::PathBuf,
        message: String,
    },
    #[error("the operating system gives no randomness: {0}")]
    Randomness(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for AccessError {
    fn from(error: sqlx::Error) -> Self {
        AccessError::Store(error.into())
    }
}

/// A key to be minted.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub organisation: OrganisationName,
    pub team: TeamName,
    pub project: ProjectName,
    pub role: Role,
    pub tags: Vec<Tag>,
    pub budget: Option<Budget>,
    pub expires: Option<Timestamp>,
}

/// A key just minted. The secret is shown now or never.
#[derive(Debug)]
pub struct Minted {
    pub id: KeyId,
    pub secret: Secret,
}

/// A key as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub id: KeyId,
    /// The first letters of its newest secret: `tg_4Fg7`.
    pub hint: String,
    pub organisation: OrganisationName,
    pub team: TeamName,
    pub project: ProjectName,
    pub role: Role,
    pub tags: Vec<Tag>,
    pub budget: Option<Budget>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
}

/// The table of keys. Cloning it is cheap.
#[derive(Clone)]
pub struct Keys {
    store: Store,
    pepper: Pepper,
}

/// A secret that counts, as the directory holds it.
pub(super) struct Live {
    pub(super) digest: Digest,
    pub(super) principal: Principal,
    pub(super) until: Option<Timestamp>,
}

/// What a key is, as all queries name it.
const KEY: &str = "k.id, k.organisation, k.team, k.project, k.role, k.tags, k.budget_pd, \
     k.budget_period, k.created_us, k.expires_us, k.revoked_us";

impl Keys {
    pub fn new(store: Store, pepper: Pepper) -> Self {
        Keys { store, pepper }
    }

    pub fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    pub async fn mint(&self, new: &NewKey, now: Timestamp) -> Result<Minted, AccessError> {
        const SQL: &str = "INSERT INTO api_key (id, organisation, team, project, role, tags, \
             budget_pd, budget_period, created_us, expires_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let tags = join_tags(&new.tags)?;
        let budget = new.budget.map(budget_cell).transpose()?;
        let id = KeyId::new();
        // The key first, then its secret: cut off between the two, it is a key that opens nothing.
        sqlx::query(SQL)
            .bind(id.to_string())
            .bind(new.organisation.as_str())
            .bind(new.team.as_str())
            .bind(new.project.as_str())
            .bind(new.role.as_str())
            .bind(tags)
            .bind(budget)
            .bind(new.budget.map(|budget| budget.period.as_str()))
            .bind(time::to_cell(now))
            .bind(new.expires.map(time::to_cell))
            .execute(self.store.pool())
            .await?;
        let secret = self.add_secret(id, now).await?;
        Ok(Minted { id, secret })
    }

    async fn add_secret(&self, id: KeyId, now: Timestamp) -> Result<Secret, AccessError> {
        const SQL: &str = "INSERT INTO key_secret (digest, key_id, hint, created_us) \
             VALUES ($1, $2, $3, $4)";
        let secret = Secret::new()?;
        sqlx::query(SQL)
            .bind(to_hex(&self.pepper.digest(secret.expose())))
            .bind(id.to_string())
            .bind(secret.hint())
            .bind(time::to_cell(now))
            .execute(self.store.pool())
            .await?;
        Ok(secret)
    }

    /// All keys, newest first.
    pub async fn list(&self) -> Result<Vec<KeyRow>, AccessError> {
        let sql = format!(
            "SELECT {KEY}, COALESCE((SELECT s.hint FROM key_secret s WHERE s.key_id = k.id \
             ORDER BY s.created_us DESC, s.digest LIMIT 1), '') AS hint \
             FROM api_key k ORDER BY k.created_us DESC, k.id DESC"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.store.pool())
            .await?;
        rows.iter().map(read_row).collect()
    }

    /// Ends a key, all its secrets with it. To revoke it again changes nothing.
    pub async fn revoke(&self, id: KeyId, now: Timestamp) -> Result<(), AccessError> {
        const SQL: &str = "UPDATE api_key SET revoked_us = COALESCE(revoked_us, $1) WHERE id = $2";
        let done = sqlx::query(SQL)
            .bind(time::to_cell(now))
            .bind(id.to_string())
            .execute(self.store.pool())
            .await?;
        if done.rows_affected() == 0 {
            return Err(AccessError::NoSuchKey(id));
        }
        Ok(())
    }

    /// A new secret for the same key; the secrets before it end after `grace`.
    pub async fn rotate(
        &self,
        id: KeyId,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Minted, AccessError> {
        const FIND: &str = "SELECT revoked_us FROM api_key WHERE id = $1";
        const END: &str = "UPDATE key_secret SET until_us = $1 \
             WHERE key_id = $2 AND digest <> $3 AND (until_us IS NULL OR until_us > $1)";
        let found = sqlx::query(FIND)
            .bind(id.to_string())
            .fetch_optional(self.store.pool())
            .await?
            .ok_or(AccessError::NoSuchKey(id))?;
        if found.try_get::<Option<i64>, _>(0)?.is_some() {
            return Err(AccessError::Revoked(id));
        }
        // The new one first: cut off between the two, both count until it is rotated again.
        let secret = self.add_secret(id, now).await?;
        let until = now.checked_add(grace).unwrap_or(Timestamp::MAX);
        sqlx::query(END)
            .bind(time::to_cell(until))
            .bind(id.to_string())
            .bind(to_hex(&self.pepper.digest(secret.expose())))
            .execute(self.store.pool())
            .await?;
        Ok(Minted { id, secret })
    }

    /// A number that rises with each change of any key, by whomever.
    pub(super) async fn revision(&self) -> Result<i64, AccessError> {
        const SQL: &str = "SELECT revision FROM key_revision";
        let row = sqlx::query(SQL).fetch_one(self.store.pool()).await?;
        Ok(row.try_get(0)?)
    }

    /// All secrets of keys that are not revoked.
    pub(super) async fn live(&self) -> Result<Vec<Live>, AccessError> {
        let sql = format!(
            "SELECT {KEY}, s.digest, s.until_us FROM key_secret s \
             JOIN api_key k ON k.id = s.key_id WHERE k.revoked_us IS NULL"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.store.pool())
            .await?;
        rows.iter().map(read_live).collect()
    }

    /// The secret of this digest, if its key is not revoked.
    pub(super) async fn one(&self, digest: &Digest) -> Result<Option<Live>, AccessError> {
        let sql = format!(
            "SELECT {KEY}, s.digest, s.until_us FROM key_secret s \
             JOIN api_key k ON k.id = s.key_id WHERE k.revoked_us IS NULL AND s.digest = $1"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(to_hex(digest))
            .fetch_optional(self.store.pool())
            .await?;
        row.as_ref().map(read_live).transpose()
    }
}

fn to_hex(digest: &Digest) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

fn budget_cell(budget: Budget) -> Result<i64, AccessError> {
    budget
        .limit
        .to_cell()
        .ok_or(AccessError::BudgetTooLarge(budget))
}

/// Sorted, without repetitions, comma separated: so a tag can hold no comma.
fn join_tags(tags: &[Tag]) -> Result<String, AccessError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
    let mut names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    if let Some(wrong) = names
        .iter()
        .find(|name| name.is_empty() || !name.chars().all(fits))
    {
        return Err(AccessError::NotATag((*wrong).to_owned()));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names.join(","))
}

fn read_row(row: &AnyRow) -> Result<KeyRow, AccessError> {
    let id: String = row.try_get("id")?;
    let unknown = |column: &'static str, value: &str| StoreError::Unknown {
        table: "api_key",
        id: id.clone(),
        column,
        value: value.to_owned(),
    };
    let text = |column: &'static str| row.try_get::<String, _>(column);
    let instant = |column: &'static str| -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(time::from_cell))
    };
    let role = text("role")?;
    let limit: Option<i64> = row.try_get("budget_pd")?;
    let period: Option<String> = row.try_get("budget_period")?;
    let budget = match (limit, period) {
        (Some(limit), Some(period)) => Some(Budget {
            limit: Money::from_cell(limit),
            period: [Period::Day, Period::Month, Period::Total]
                .into_iter()
                .find(|known| known.as_str() == period)
                .ok_or_else(|| unknown("budget_period", &period))?,
        }),
        _ => None,
    };
    Ok(KeyRow {
        id: id.parse().map_err(|_| unknown("id", &id))?,
        hint: text("hint").unwrap_or_default(),
        organisation: text("organisation")?.as_str().into(),
        team: text("team")?.as_str().into(),
        project: text("project")?.as_str().into(),
        role: role.parse().map_err(|_| unknown("role", &role))?,
        tags: text("tags")?
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(Tag::from)
            .collect(),
        budget,
        created: instant("created_us")?.unwrap_or(Timestamp::UNIX_EPOCH),
        expires: instant("expires_us")?,
        revoked: instant("revoked_us")?,
    })
}

fn read_live(row: &AnyRow) -> Result<Live, AccessError> {
    let key = read_row(row)?;
    let digest: String = row.try_get("digest")?;
    let until = row
        .try_get::<Option<i64>, _>("until_us")?
        .map(time::from_cell);
    let until = match (until, key.expires) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let digest = blake3::Hash::from_hex(&digest).map_err(|_| StoreError::Unknown {
        table: "key_secret",
        id: key.id.to_string(),
        column: "digest",
        value: "no digest".to_owned(),
    })?;
    Ok(Live {
        digest: *digest.as_bytes(),
        until,
        principal: Principal {
            payer: Payer {
                organisation: key.organisation,
                team: key.team,
                project: key.project,
                key: key.id,
            },
            role: key.role,
            tags: key.tags,
            budget: key.budget,
            expires: key.expires,
        },
    })
}
