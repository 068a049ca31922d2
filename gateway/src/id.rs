//! Typed ids and names. Ids are UUIDv7, made once at the edge, and sort by time; names are short
//! shared strings whose type says what they name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id of this instant.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                $name(Uuid::now_v7())
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                $name(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map($name)
            }
        }
    )*};
}

ids! {
    /// One request of a caller, with all its attempts.
    RequestId,
    /// One line of the ledger; its idempotency key from the spool to the store.
    EntryId,
    /// One caller's key. Not the secret.
    KeyId,
    /// One amount held against a budget.
    ReservationId,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                $name(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text itself, to be shared rather than copied.
            pub fn as_shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                $name(Arc::from(name))
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// Who sells tokens: `deepseek`, `bedrock`.
    HostName,
    /// Our credential at a host: `default` unless the operator has several.
    AccountName,
    /// A host's region: `eu-north-1`, `global`.
    RegionName,
    /// A model by Tollgate's name: `deepseek-v4-pro`.
    ModelName,
    /// host/account/region/model in one string, as logs, headers and plans show it.
    BackendName,
    /// A demand on where a request may go: `soc2`, `eu`, `hipaa`.
    Tag,
    OrganisationName,
    TeamName,
    ProjectName,
    /// A price window as entries name it: `deepseek-v4-pro/2026-08-22/peak`.
    WindowId,
    /// The digest of the catalog's files: the same files have the same version.
    CatalogVersion,
}
