//! What the line keeps and asks for while it answers: one door to the rooms behind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::error;

use super::{HistoryError, Reasoning, Responses, Seal};
use crate::access::Pepper;
use crate::chat::{Said, Turn};
use crate::id::OrganisationName;
use crate::ledger::Store;
use crate::settings::HistorySettings;
use crate::time::Timestamp;

/// Between two looks at whether an answer has reached the database.
const ON_ITS_WAY: Duration = Duration::from_millis(5);

/// A stored answer and the conversation that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub id: String,
    /// The whole conversation, the answer included.
    pub turns: Vec<Turn>,
    /// As its caller got it.
    pub body: Vec<u8>,
}

/// All that is kept of conversations.
pub struct History {
    reasoning: Reasoning,
    seal: Arc<Seal>,
    responses: Responses,
    /// On their way to the database: whoever follows at once finds them here.
    underway: Mutex<HashMap<(OrganisationName, String), Arc<Stored>>>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("History")
    }
}

impl History {
    pub fn new(store: Store, pepper: &Pepper, settings: &HistorySettings) -> Self {
        History {
            reasoning: Reasoning::new(pepper, settings),
            seal: Arc::new(Seal::new(pepper)),
            responses: Responses::new(store, pepper, settings),
            underway: Mutex::default(),
        }
    }

    /// Seals what callers carry for this organisation.
    pub fn seal(&self, organisation: &OrganisationName) -> OwnSeal {
        OwnSeal {
            seal: self.seal.clone(),
            organisation: organisation.clone(),
        }
    }

    /// Keeps the thinking of a turn, to be found by its calls; with `turns`, the conversation that
    /// led to it, also by what it says.
    pub fn keep_reasoning(
        &self,
        organisation: &OrganisationName,
        turns: Option<&[Turn]>,
        said: &Said,
        now: Timestamp,
    ) {
        let opening = turns.and_then(|turns| self.reasoning.opening(turns));
        self.reasoning
            .keep(organisation, opening.as_ref(), said, now);
    }

    pub fn restore_reasoning(
        &self,
        organisation: &OrganisationName,
        turns: &mut [Turn],
        now: Timestamp,
    ) {
        self.reasoning.restore(organisation, turns, now);
    }

    /// Keeps an answer that its caller may come back to: at hand at once, in the database soon.
    pub fn store(
        self: &Arc<Self>,
        organisation: &OrganisationName,
        stored: Stored,
        now: Timestamp,
    ) {
        let name = (organisation.clone(), stored.id.clone());
        let stored = Arc::new(stored);
        self.underway.lock().insert(name.clone(), stored.clone());
        let history = self.clone();
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let put = history
                .responses
                .put(&name.0, &stored.id, &stored.turns, &stored.body, now);
            if let Err(error) = put.await {
                error!(%error, id = stored.id, "a response that its caller asked to be stored could not be");
            }
            history.underway.lock().remove(&name);
        });
    }

    /// The turns that led to a stored answer, and the answer.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn turns(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<Turn>>, HistoryError> {
        if let Some(stored) = self.underway(organisation, id) {
            return Ok(Some(stored.turns.clone()));
        }
        self.responses.turns(organisation, id, now).await
    }

    /// An answer stored for this organisation.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn stored(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Stored>, HistoryError> {
        if let Some(stored) = self.underway(organisation, id) {
            return Ok(Some(Stored::clone(&stored)));
        }
        let found = self.responses.get(organisation, id, now).await?;
        Ok(found.map(|found| Stored {
            id: found.id,
            turns: found.turns,
            body: found.body,
        }))
    }

    /// Forgets a stored answer; whether there was one.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn forget(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<bool, HistoryError> {
        // One that is still on its way is written first: deleting must not be overtaken.
        while self.underway(organisation, id).is_some() {
            tokio::time::sleep(ON_ITS_WAY).await;
        }
        self.responses.delete(organisation, id, now).await
    }

    /// Waits until everything that was to be stored has reached the database, or could not.
    pub async fn written(&self) {
        while !self.underway.lock().is_empty() {
            tokio::time::sleep(ON_ITS_WAY).await;
        }
    }

    /// Drops what has had its time; how many answers that were.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn purge(&self, now: Timestamp) -> Result<u64, HistoryError> {
        self.reasoning.purge(now);
        self.responses.purge(now).await
    }

    fn underway(&self, organisation: &OrganisationName, id: &str) -> Option<Arc<Stored>> {
        self.underway
            .lock()
            .get(&(organisation.clone(), id.to_owned()))
            .cloned()
    }
}

/// Seals for one organisation.
#[derive(Clone)]
pub struct OwnSeal {
    seal: Arc<Seal>,
    organisation: OrganisationName,
}

impl std::fmt::Debug for OwnSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnSeal")
    }
}

impl OwnSeal {
    /// A text that a caller can carry and nobody can read; empty if it is too long to be carried.
    pub fn close_text(&self, text: &str) -> String {
        self.seal.seal(&self.organisation, text).unwrap_or_default()
    }

    /// A text that was sealed for this organisation; `None` for any other.
    pub fn open_text(&self, carried: &str) -> Option<String> {
        self.seal.open(&self.organisation, carried)
    }
}
