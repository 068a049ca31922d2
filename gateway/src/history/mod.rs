//! What the gateway keeps of conversations: the thinking behind calls, which hosts demand back and
//! clients drop, and whole answers that their callers may come back to. All of it belongs to one
//! organisation, is sealed, bounded, and forgotten after a while.

mod reasoning;
mod seal;
mod shelf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use reasoning::Reasoning;
pub use seal::{Seal, Sealer};

use self::shelf::{Label, Shelf};
use crate::access::Pepper;
use crate::chat::{Said, Turn};
use crate::id::OrganisationName;
use crate::settings::HistorySettings;
use crate::time::Timestamp;

/// A stored answer and the conversation that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub id: String,
    pub turns: Vec<Turn>,
    /// As the caller would be told it again.
    pub body: String,
}

impl Stored {
    pub fn bytes(&self) -> Bytes {
        Bytes::from(self.body.clone())
    }
}

/// All that is kept.
#[derive(Debug)]
pub struct History {
    sealer: Sealer,
    reasoning: Reasoning,
    stored: Shelf,
    key: [u8; 32],
}

impl History {
    pub fn new(pepper: &Pepper, keeping: &HistorySettings) -> Self {
        let sealer = Sealer::new(pepper);
        let key = pepper.derive("tollgate 2026-11 labels of history");
        History {
            reasoning: Reasoning::new(
                sealer.clone(),
                key,
                keeping.reasoning_bytes,
                keeping.reasoning_lifetime,
            ),
            stored: Shelf::new(keeping.stored_bytes, keeping.stored_lifetime),
            sealer,
            key,
        }
    }

    /// Seals what callers carry for this organisation.
    pub fn seal(&self, organisation: &OrganisationName) -> Seal {
        self.sealer.of(organisation)
    }

    pub fn keep_reasoning(&self, organisation: &OrganisationName, said: &Said, now: Timestamp) {
        self.reasoning.keep(organisation, said, now);
    }

    pub fn restore_reasoning(
        &self,
        organisation: &OrganisationName,
        turns: &mut [Turn],
        now: Timestamp,
    ) {
        self.reasoning.restore(organisation, turns, now);
    }

    /// Keeps an answer that its caller may come back to.
    pub fn store(&self, organisation: &OrganisationName, stored: &Stored, now: Timestamp) {
        let Ok(bytes) = serde_json::to_vec(stored) else {
            return;
        };
        if let Some(sealed) = self.sealer.of(organisation).close(&bytes) {
            let label = self.label(organisation, &stored.id);
            self.stored.put(label, organisation, sealed, now);
        }
    }

    /// An answer stored for this organisation.
    pub fn stored(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Option<Stored> {
        let sealed = self.stored.get(&self.label(organisation, id), now)?;
        serde_json::from_slice(&self.sealer.of(organisation).open(&sealed)?).ok()
    }

    /// Forgets a stored answer; whether there was one.
    pub fn forget(&self, organisation: &OrganisationName, id: &str) -> bool {
        self.stored.remove(&self.label(organisation, id))
    }

    fn label(&self, organisation: &OrganisationName, id: &str) -> Label {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher
            .update(b"stored\0")
            .update(organisation.as_str().as_bytes())
            .update(b"\0")
            .update(id.as_bytes());
        *hasher.finalize().as_bytes()
    }
}
