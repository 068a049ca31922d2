//! The table of keys: minting, listing, revoking, rotating.

use std::time::Duration;

use super::{Budget, Pepper, Role, Secret};
use crate::id::{KeyId, OrganisationName, ProjectName, Tag, TeamName};
use crate::ledger::{Store, StoreError};
use crate::time::Timestamp;

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("there is no key {0}: see `tollgate key list`")]
    NoSuchKey(KeyId),
    #[error("key {0} is revoked: create a new one")]
    Revoked(KeyId),
    #[error("TOLLGATE_PEPPER is not 64 hexadecimal digits: make one with `openssl rand -hex 32`")]
    NotAPepper,
    #[error("pepper file {path}: {message}")]
    PepperFile {
        path: std::path::PathBuf,
        message: String,
    },
    #[error("the operating system gives no randomness: {0}")]
    Randomness(String),
    #[error(transparent)]
    Store(#[from] StoreError),
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
pub struct Minted {
    pub id: KeyId,
    pub secret: Secret,
}

/// A key as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub id: KeyId,
    /// The secret's first letters: `tg_4Fg7`.
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

/// The table of keys.
#[derive(Clone)]
pub struct Keys {}

impl Keys {
    pub fn new(store: Store, pepper: Pepper) -> Self {
        let _ = (store, pepper);
        Keys {}
    }

    pub async fn mint(&self, new: &NewKey, now: Timestamp) -> Result<Minted, AccessError> {
        let _ = (new, now);
        unimplemented!()
    }

    /// All keys, newest first.
    pub async fn list(&self) -> Result<Vec<KeyRow>, AccessError> {
        unimplemented!()
    }

    /// Ends a key, all its secrets with it.
    pub async fn revoke(&self, id: KeyId, now: Timestamp) -> Result<(), AccessError> {
        let _ = (id, now);
        unimplemented!()
    }

    /// A new secret for the same key; the secrets before it end after `grace`.
    pub async fn rotate(
        &self,
        id: KeyId,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Minted, AccessError> {
        let _ = (id, grace, now);
        unimplemented!()
    }
}
