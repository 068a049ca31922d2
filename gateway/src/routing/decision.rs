//! The record of a decision: what was considered, what it was expected to cost, what ruled the
//! others out. Stands in the ledger as JSON beside the entry, and is the answer of `/v1/route`.

use serde::{Deserialize, Serialize};

use crate::chat::Lack;
use crate::money::Money;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// The backend of this attempt; `None` in an answer of `/v1/route` with no candidate left.
    pub chosen: Option<String>,
    pub policy: String,
    /// Best first.
    pub ranked: Vec<RankedLine>,
    pub rejected: Vec<Rejection>,
    pub attempt: u16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RankedLine {
    pub backend: String,
    /// Expected, dollars.
    pub cost: Money,
    pub window: String,
    pub provisional: bool,
    /// Time to the first token, where it has been seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ttft_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rejection {
    pub backend: String,
    pub reason: String,
}

impl From<&Lack> for Rejection {
    fn from(lack: &Lack) -> Self {
        Rejection {
            backend: lack.backend.clone(),
            reason: lack.reason.clone(),
        }
    }
}
