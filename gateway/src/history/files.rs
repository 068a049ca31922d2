//! Files: sealed pieces in the ledger's database, so that every gateway on it can read them. A file
//! arrives piece by piece and is seen once it is complete; one that never is goes after a day. Its
//! pieces are bound to its id and their place, so none can be swapped.

use std::time::Duration;

use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::HistoryError;
use super::cipher::Cipher;
use crate::access::Pepper;
use crate::id::OrganisationName;
use crate::ledger::Store;
use crate::settings::BatchSettings;
use crate::time::{self, Timestamp};

/// What one row holds: large enough for few rows, small enough for memory and replication.
const CHUNK: usize = 1 << 20;
/// How long a file may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(24 * 3600);

/// Cloning it is cheap.
#[derive(Clone)]
pub struct Files {
    store: Store,
    cipher: Cipher,
    file_bytes: u64,
    organisation_bytes: u64,
    lifetime: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// `file-` and 32 hexadecimal digits that sort by time.
    pub id: String,
    pub organisation: OrganisationName,
    /// `batch`, `batch_output`.
    pub purpose: String,
    pub name: String,
    pub bytes: u64,
    /// Pieces, numbered from 0.
    pub chunks: u32,
    pub created: Timestamp,
    pub expires: Timestamp,
}

/// A file that is being written. Dropped without [`Arriving::finish`], it is never seen.
pub struct Arriving {
    files: Files,
    file: StoredFile,
    pending: Vec<u8>,
    limit: u64,
}

/// Which files of an organisation are listed.
#[derive(Clone, Debug, Default)]
pub struct FilePage {
    /// Those behind this one.
    pub after: Option<String>,
    pub limit: u32,
    /// Oldest first, instead of newest.
    pub ascending: bool,
    pub purpose: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// A batch that is not done yet reads it.
    InUse,
    NotThere,
}

const COLUMNS: &str = "id, organisation, purpose, name, bytes, chunks, created_us, expires_us";

impl Files {
    pub fn new(store: Store, pepper: &Pepper, settings: &BatchSettings) -> Self {
        Files {
            store,
            cipher: Cipher::new(pepper, "tollgate 2026-11 stored files"),
            file_bytes: settings.file_bytes,
            organisation_bytes: settings.organisation_bytes,
            lifetime: settings.file_lifetime,
        }
    }

    /// Starts a file that a caller sends, within its organisation's room.
    ///
    /// # Errors
    /// No room, or a database that does not answer.
    pub async fn begin(
        &self,
        organisation: &OrganisationName,
        now: Timestamp,
    ) -> Result<Arriving, HistoryError> {
        let left = self
            .organisation_bytes
            .saturating_sub(self.used(organisation).await?);
        if left == 0 {
            return Err(self.no_room(self.organisation_bytes));
        }
        self.start(organisation, self.file_bytes.min(left), now)
            .await
    }

    /// Starts a file that a batch writes: its requests were paid, so nothing bounds their results
    /// but the bounds on the requests.
    pub(crate) async fn begin_output(
        &self,
        organisation: &OrganisationName,
        now: Timestamp,
    ) -> Result<Arriving, HistoryError> {
        self.start(organisation, u64::MAX, now).await
    }

    async fn start(
        &self,
        organisation: &OrganisationName,
        limit: u64,
        now: Timestamp,
    ) -> Result<Arriving, HistoryError> {
        const SQL: &str = "INSERT INTO stored_file \
             (id, organisation, purpose, name, bytes, chunks, state, created_us, expires_us) \
             VALUES ($1, $2, '', '', 0, 0, 'arriving', $3, $4)";
        let file = StoredFile {
            id: format!("file-{}", Uuid::now_v7().simple()),
            organisation: organisation.clone(),
            purpose: String::new(),
            name: String::new(),
            bytes: 0,
            chunks: 0,
            created: now,
            expires: later(now, ARRIVAL),
        };
        sqlx::query(SQL)
            .bind(&*file.id)
            .bind(organisation.as_str())
            .bind(time::to_cell(now))
            .bind(time::to_cell(file.expires))
            .execute(self.store.pool())
            .await?;
        Ok(Arriving {
            files: self.clone(),
            file,
            pending: Vec::new(),
            limit,
        })
    }

    /// Bytes of the organisation's files.
    async fn used(&self, organisation: &OrganisationName) -> Result<u64, HistoryError> {
        const SQL: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM stored_file \
             WHERE organisation = $1 AND state = 'ready'";
        let (used,): (i64,) = sqlx::query_as(SQL)
            .bind(organisation.as_str())
            .fetch_one(self.store.pool())
            .await?;
        Ok(u64::try_from(used).unwrap_or(0))
    }

    fn no_room(&self, bytes: u64) -> HistoryError {
        HistoryError::TooLarge {
            what: "the organisation's files together",
            bytes,
            limit: self.organisation_bytes,
        }
    }

    /// A complete file of this organisation.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn find(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<StoredFile>, HistoryError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM stored_file \
             WHERE id = $1 AND organisation = $2 AND state = 'ready' AND expires_us > $3"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .bind(organisation.as_str())
            .bind(time::to_cell(now))
            .fetch_optional(self.store.pool())
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }

    /// The organisation's files by age, at most `page.limit` of them.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn list(
        &self,
        organisation: &OrganisationName,
        page: &FilePage,
        now: Timestamp,
    ) -> Result<Vec<StoredFile>, HistoryError> {
        let (beyond, order) = if page.ascending {
            (">", "ASC")
        } else {
            ("<", "DESC")
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM stored_file \
             WHERE organisation = $1 AND state = 'ready' AND expires_us > $2 \
             AND ($3 = '' OR purpose = $3) AND ($4 = '' OR id {beyond} $4) \
             ORDER BY id {order} LIMIT $5"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(organisation.as_str())
            .bind(time::to_cell(now))
            .bind(page.purpose.as_deref().unwrap_or_default())
            .bind(page.after.as_deref().unwrap_or_default())
            .bind(i64::from(page.limit))
            .fetch_all(self.store.pool())
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// A piece of a file.
    ///
    /// # Errors
    /// A file that was deleted meanwhile, or that cannot be opened.
    pub async fn chunk(&self, file: &StoredFile, number: u32) -> Result<Vec<u8>, HistoryError> {
        const SQL: &str = "SELECT sealed FROM file_chunk WHERE file_id = $1 AND number = $2";
        let row: Option<(Vec<u8>,)> = sqlx::query_as(SQL)
            .bind(&*file.id)
            .bind(i64::from(number))
            .fetch_optional(self.store.pool())
            .await?;
        let (sealed,) = row.ok_or_else(|| HistoryError::FileGone(file.id.clone()))?;
        let place = number.to_string();
        self.cipher
            .open(&[file.organisation.as_str(), &file.id, &place], &sealed)
            .ok_or_else(|| HistoryError::Unreadable {
                what: "file",
                id: file.id.clone(),
            })
    }

    /// Deletes a file that no open batch reads.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn delete(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<Removal, HistoryError> {
        const ROW: &str = "DELETE FROM stored_file \
             WHERE id = $1 AND organisation = $2 AND state = 'ready' AND expires_us > $3 \
             AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.input_file = stored_file.id \
             AND batch.status IN ('validating', 'in_progress', 'finalizing', 'cancelling'))";
        // The row first: cut off between the two, the file is gone and its pieces follow later.
        let done = sqlx::query(ROW)
            .bind(id)
            .bind(organisation.as_str())
            .bind(time::to_cell(now))
            .execute(self.store.pool())
            .await?;
        if done.rows_affected() > 0 {
            self.delete_chunks(id).await?;
            return Ok(Removal::Removed);
        }
        Ok(match self.find(organisation, id, now).await? {
            Some(_) => Removal::InUse,
            None => Removal::NotThere,
        })
    }

    async fn delete_chunks(&self, id: &str) -> Result<(), HistoryError> {
        const SQL: &str = "DELETE FROM file_chunk WHERE file_id = $1";
        sqlx::query(SQL).bind(id).execute(self.store.pool()).await?;
        Ok(())
    }

    /// Removes files past their end, those that never became complete, and pieces of neither; how
    /// many files. What an open batch reads stays.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn purge(&self, now: Timestamp) -> Result<u64, HistoryError> {
        const ROWS: &str = "DELETE FROM stored_file WHERE expires_us <= $1 \
             AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.input_file = stored_file.id \
             AND batch.status IN ('validating', 'in_progress', 'finalizing', 'cancelling'))";
        const CHUNKS: &str = "DELETE FROM file_chunk WHERE NOT EXISTS \
             (SELECT 1 FROM stored_file WHERE stored_file.id = file_chunk.file_id)";
        let done = sqlx::query(ROWS)
            .bind(time::to_cell(now))
            .execute(self.store.pool())
            .await?;
        sqlx::query(CHUNKS).execute(self.store.pool()).await?;
        Ok(done.rows_affected())
    }
}

impl Arriving {
    pub fn id(&self) -> &str {
        &self.file.id
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.file.bytes
    }

    /// Appends to the file.
    ///
    /// # Errors
    /// More than a file may hold, or a database that does not answer.
    pub async fn write(&mut self, mut piece: &[u8]) -> Result<(), HistoryError> {
        let bytes = self.file.bytes + piece.len() as u64;
        if bytes > self.limit {
            return Err(HistoryError::TooLarge {
                what: "this file",
                bytes,
                limit: self.limit,
            });
        }
        self.file.bytes = bytes;
        while !piece.is_empty() {
            let room = (CHUNK - self.pending.len()).min(piece.len());
            let (now, later) = piece.split_at(room);
            self.pending.extend_from_slice(now);
            piece = later;
            if self.pending.len() == CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), HistoryError> {
        const SQL: &str = "INSERT INTO file_chunk (file_id, number, sealed) VALUES ($1, $2, $3)";
        let number = self.file.chunks;
        let place = number.to_string();
        let about = [self.file.organisation.as_str(), &self.file.id, &place];
        let sealed = self.files.cipher.seal(&about, &self.pending)?;
        sqlx::query(SQL)
            .bind(&*self.file.id)
            .bind(i64::from(number))
            .bind(sealed)
            .execute(self.files.store.pool())
            .await?;
        self.file.chunks += 1;
        self.pending.clear();
        Ok(())
    }

    /// The file is complete. Without a lifetime of its own it gets the configured one.
    ///
    /// # Errors
    /// Other files have taken the room meanwhile, or a database that does not answer.
    pub async fn finish(
        mut self,
        name: &str,
        purpose: &str,
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<StoredFile, HistoryError> {
        const SQL: &str = "UPDATE stored_file SET purpose = $1, name = $2, bytes = $3, \
             chunks = $4, state = 'ready', created_us = $5, expires_us = $6 \
             WHERE id = $7 AND state = 'arriving'";
        if !self.pending.is_empty() {
            self.flush().await?;
        }
        if self.limit != u64::MAX {
            let used = self.files.used(&self.file.organisation).await? + self.file.bytes;
            if used > self.files.organisation_bytes {
                return Err(self.files.no_room(used));
            }
        }
        let mut file = self.file;
        file.purpose = purpose.to_owned();
        file.name = name.chars().take(255).collect();
        file.created = now;
        file.expires = later(now, lifetime.unwrap_or(self.files.lifetime));
        let done = sqlx::query(SQL)
            .bind(&*file.purpose)
            .bind(&*file.name)
            .bind(i64::try_from(file.bytes).unwrap_or(i64::MAX))
            .bind(i64::from(file.chunks))
            .bind(time::to_cell(now))
            .bind(time::to_cell(file.expires))
            .bind(&*file.id)
            .execute(self.files.store.pool())
            .await?;
        if done.rows_affected() == 0 {
            return Err(HistoryError::FileGone(file.id));
        }
        Ok(file)
    }

    /// It will not be complete: removes it at once rather than after a day.
    pub async fn abandon(self) {
        const SQL: &str = "DELETE FROM stored_file WHERE id = $1";
        let gone = async {
            sqlx::query(SQL)
                .bind(&*self.file.id)
                .execute(self.files.store.pool())
                .await?;
            self.files.delete_chunks(&self.file.id).await
        };
        if let Err(error) = gone.await {
            tracing::warn!(%error, "an incomplete file stays until it is purged");
        }
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn read(row: &AnyRow) -> Result<StoredFile, HistoryError> {
    let count = |column| -> Result<u64, HistoryError> {
        Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
    };
    Ok(StoredFile {
        id: row.try_get("id")?,
        organisation: OrganisationName::new(row.try_get::<String, _>("organisation")?),
        purpose: row.try_get("purpose")?,
        name: row.try_get("name")?,
        bytes: count("bytes")?,
        chunks: u32::try_from(count("chunks")?).unwrap_or(u32::MAX),
        created: time::from_cell(row.try_get("created_us")?),
        expires: time::from_cell(row.try_get("expires_us")?),
    })
}

#[cfg(test)]
mod tests;
