//! The keys in memory: found in a fraction of a microsecond, refreshed from the store each second.

use std::sync::Arc;

use super::{AccessError, Keys, Principal};
use crate::time::Timestamp;

/// A caller whose key is known.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `principal.payer.key` is the key's id.
    pub principal: Arc<Principal>,
    /// The instant from which this secret counts no more: the key expires, or was rotated.
    pub until: Option<Timestamp>,
}

/// What memory knows of a secret.
#[derive(Clone, Debug)]
pub enum Find {
    Found(Arc<Caller>),
    /// Its time is over.
    Expired,
    /// It has the form of a key; [`Directory::look_up`] asks the store, within a rate.
    Unknown,
    /// It cannot be a key of ours.
    Malformed,
}

/// The live keys. Cloning it is cheap.
#[derive(Clone)]
pub struct Directory {}

impl Directory {
    /// Loads the keys and keeps them fresh on the current tokio runtime until dropped.
    pub async fn start(keys: Keys) -> Result<Directory, AccessError> {
        let _ = keys;
        unimplemented!()
    }

    /// From memory alone.
    pub fn find(&self, presented: &str, now: Timestamp) -> Find {
        let _ = (presented, now);
        unimplemented!()
    }

    /// Like `find`, but for a well-formed key that memory does not know asks the store, unless too
    /// many such were shown lately or the store does not answer.
    pub async fn look_up(&self, presented: &str, now: Timestamp) -> Find {
        let _ = (presented, now);
        unimplemented!()
    }
}
