//! Stored responses: the turns that a response answered and its body, in the ledger's database,
//! sealed. What other organisations stored does not exist for a caller, and neither does what is
//! past its end.

use std::time::Duration;

use sqlx::Row;

use super::HistoryError;
use super::cipher::Cipher;
use crate::access::Pepper;
use crate::chat::Turn;
use crate::id::OrganisationName;
use crate::ledger::Store;
use crate::settings::HistorySettings;
use crate::time::{self, Timestamp};

/// Cloning it is cheap.
#[derive(Clone)]
pub struct Responses {
    store: Store,
    cipher: Cipher,
    lifetime: Duration,
    bytes: usize,
}

/// A response as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResponse {
    pub id: String,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// The whole conversation, the answer included.
    pub turns: Vec<Turn>,
    /// As its caller got it.
    pub body: Vec<u8>,
}

impl Responses {
    pub fn new(store: Store, pepper: &Pepper, settings: &HistorySettings) -> Self {
        Responses {
            store,
            cipher: Cipher::new(pepper, "tollgate 2026-11 stored responses"),
            lifetime: settings.responses_lifetime,
            bytes: settings.response_bytes,
        }
    }

    /// Stores a response: the whole conversation with its answer, and the body that its caller got.
    /// One that is there already under this id stays as it is.
    ///
    /// # Errors
    /// A response larger than may be stored, or a database that does not take it.
    pub async fn put(
        &self,
        organisation: &OrganisationName,
        id: &str,
        turns: &[Turn],
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), HistoryError> {
        const SQL: &str = "INSERT INTO stored_response \
             (organisation, id, created_us, expires_us, turns, body) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organisation, id) DO NOTHING";
        let turns = serde_json::to_vec(turns).expect("turns are JSON");
        let bytes = turns.len() + body.len();
        if bytes > self.bytes {
            return Err(HistoryError::TooLarge {
                what: "a stored response",
                bytes: bytes as u64,
                limit: self.bytes as u64,
            });
        }
        let turns = self
            .cipher
            .seal(&["turns", organisation.as_str(), id], &turns)?;
        let body = self
            .cipher
            .seal(&["body", organisation.as_str(), id], body)?;
        let expires = now.checked_add(self.lifetime).unwrap_or(Timestamp::MAX);
        sqlx::query(SQL)
            .bind(organisation.as_str())
            .bind(id)
            .bind(time::to_cell(now))
            .bind(time::to_cell(expires))
            .bind(turns)
            .bind(body)
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// All of a response; `None` if this organisation has none of this id.
    ///
    /// # Errors
    /// A database that does not answer, or a response that cannot be opened.
    pub async fn get(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<StoredResponse>, HistoryError> {
        const SQL: &str = "SELECT created_us, expires_us, turns, body FROM stored_response \
             WHERE organisation = $1 AND id = $2 AND expires_us > $3";
        let row = sqlx::query(SQL)
            .bind(organisation.as_str())
            .bind(id)
            .bind(time::to_cell(now))
            .fetch_optional(self.store.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let body: Vec<u8> = row.try_get("body")?;
        let body = self
            .cipher
            .open(&["body", organisation.as_str(), id], &body)
            .ok_or_else(|| unreadable(id))?;
        Ok(Some(StoredResponse {
            id: id.to_owned(),
            created: time::from_cell(row.try_get("created_us")?),
            expires: time::from_cell(row.try_get("expires_us")?),
            turns: self.read_turns(organisation, id, row.try_get("turns")?)?,
            body,
        }))
    }

    /// The conversation of a response alone: what `previous_response_id` needs.
    ///
    /// # Errors
    /// As for [`Responses::get`].
    pub async fn turns(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<Turn>>, HistoryError> {
        const SQL: &str = "SELECT turns FROM stored_response \
             WHERE organisation = $1 AND id = $2 AND expires_us > $3";
        let row: Option<(Vec<u8>,)> = sqlx::query_as(SQL)
            .bind(organisation.as_str())
            .bind(id)
            .bind(time::to_cell(now))
            .fetch_optional(self.store.pool())
            .await?;
        row.map(|(turns,)| self.read_turns(organisation, id, turns))
            .transpose()
    }

    /// Whether there was one to delete.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn delete(
        &self,
        organisation: &OrganisationName,
        id: &str,
        now: Timestamp,
    ) -> Result<bool, HistoryError> {
        const SQL: &str = "DELETE FROM stored_response \
             WHERE organisation = $1 AND id = $2 AND expires_us > $3";
        let done = sqlx::query(SQL)
            .bind(organisation.as_str())
            .bind(id)
            .bind(time::to_cell(now))
            .execute(self.store.pool())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes what is past its end; how many.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn purge(&self, now: Timestamp) -> Result<u64, HistoryError> {
        const SQL: &str = "DELETE FROM stored_response WHERE expires_us <= $1";
        let done = sqlx::query(SQL)
            .bind(time::to_cell(now))
            .execute(self.store.pool())
            .await?;
        Ok(done.rows_affected())
    }

    fn read_turns(
        &self,
        organisation: &OrganisationName,
        id: &str,
        sealed: Vec<u8>,
    ) -> Result<Vec<Turn>, HistoryError> {
        let turns = self
            .cipher
            .open(&["turns", organisation.as_str(), id], &sealed)
            .ok_or_else(|| unreadable(id))?;
        serde_json::from_slice(&turns).map_err(|_| unreadable(id))
    }
}

fn unreadable(id: &str) -> HistoryError {
    HistoryError::Unreadable {
        what: "response",
        id: id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cipher::tests::pepper;
    use super::*;
    use crate::chat::{Call, Image, Part, Said};
    use crate::ledger::sample::noon;
    use crate::ledger::testing::{Fresh, on_both};

    fn responses(fresh: &Fresh) -> Responses {
        Responses::new(
            fresh.store.clone(),
            &pepper("ab"),
            &HistorySettings::default(),
        )
    }

    fn conversation() -> Vec<Turn> {
        vec![
            Turn::system("Be brief."),
            Turn::User(vec![
                Part::Text("What is this?".into()),
                Part::Image(Image::Inline {
                    media_type: "image/png".into(),
                    data: "iVBORw0".into(),
                }),
                Part::Image(Image::Url("https://example.com/cat.png".into())),
            ]),
            Turn::Assistant(Said {
                reasoning: Some("I should look.".into()),
                text: String::new(),
                calls: vec![Call {
                    id: "call_1".into(),
                    name: "look".into(),
                    arguments: "{\"at\":1}".into(),
                }],
                unfinished: false,
            }),
            Turn::Result {
                call: "call_1".into(),
                parts: vec![Part::Text("a cat".into())],
                failed: true,
            },
        ]
    }

    fn days(days: i64) -> Timestamp {
        noon() + jiff::SignedDuration::from_hours(24 * days)
    }

    #[test]
    fn a_response_comes_back_as_it_was_stored_until_its_end() {
        on_both(async |fresh: &Fresh| {
            let (responses, acme) = (responses(fresh), OrganisationName::from("acme"));
            let body = br#"{"id":"resp_1"}"#;
            for text in [&conversation()[..], &[]] {
                // The first word stands.
                let put = responses.put(&acme, "resp_1", text, body, noon());
                put.await.expect("put");
            }
            let stored = responses.get(&acme, "resp_1", days(29)).await.expect("get");
            let stored = stored.expect("it is there");
            assert_eq!(stored.turns, conversation());
            assert_eq!(stored.body, body);
            assert_eq!((stored.created, stored.expires), (noon(), days(30)));
            let turns = responses
                .turns(&acme, "resp_1", noon())
                .await
                .expect("turns");
            assert_eq!(turns, Some(conversation()));

            assert!(
                responses
                    .get(&acme, "resp_1", days(30))
                    .await
                    .expect("get")
                    .is_none()
            );
            assert!(
                !responses
                    .delete(&acme, "resp_1", days(30))
                    .await
                    .expect("delete")
            );
            assert_eq!(responses.purge(days(29)).await.expect("purge"), 0);
            assert_eq!(responses.purge(days(30)).await.expect("purge"), 1);
        });
    }

    #[test]
    fn another_organisation_finds_deletes_and_overwrites_nothing() {
        on_both(async |fresh: &Fresh| {
            let responses = responses(fresh);
            let (acme, other) = (
                OrganisationName::from("acme"),
                OrganisationName::from("other"),
            );
            let turns = conversation();
            responses
                .put(&acme, "r", &turns, b"1", noon())
                .await
                .expect("put");
            assert!(
                responses
                    .get(&other, "r", noon())
                    .await
                    .expect("get")
                    .is_none()
            );
            assert!(
                responses
                    .turns(&other, "r", noon())
                    .await
                    .expect("turns")
                    .is_none()
            );
            assert!(!responses.delete(&other, "r", noon()).await.expect("delete"));
            responses
                .put(&other, "r", &[], b"2", noon())
                .await
                .expect("put");
            let stored = responses.get(&acme, "r", noon()).await.expect("get");
            assert_eq!(stored.expect("it is there").body, b"1");
            assert!(responses.delete(&acme, "r", noon()).await.expect("delete"));
            assert!(
                responses
                    .get(&acme, "r", noon())
                    .await
                    .expect("get")
                    .is_none()
            );
            assert!(
                responses
                    .get(&other, "r", noon())
                    .await
                    .expect("get")
                    .is_some()
            );
        });
    }

    #[test]
    fn the_database_holds_no_content_and_a_row_moved_elsewhere_does_not_open() {
        on_both(async |fresh: &Fresh| {
            let (responses, acme) = (responses(fresh), OrganisationName::from("acme"));
            let turns = conversation();
            responses
                .put(&acme, "r", &turns, b"the body", noon())
                .await
                .expect("put");
            let (turns, body): (Vec<u8>, Vec<u8>) =
                sqlx::query_as("SELECT turns, body FROM stored_response")
                    .fetch_one(fresh.store.pool())
                    .await
                    .expect("a row");
            let all = [turns, body].concat();
            for word in ["Be brief", "look", "body", "cat"] {
                assert!(
                    memchr::memmem::find(&all, word.as_bytes()).is_none(),
                    "{word}"
                );
            }
            sqlx::query("UPDATE stored_response SET organisation = 'other'")
                .execute(fresh.store.pool())
                .await
                .expect("moved");
            let error = responses
                .get(&OrganisationName::from("other"), "r", noon())
                .await
                .expect_err("it was sealed for another");
            assert!(matches!(error, HistoryError::Unreadable { .. }), "{error}");
        });
    }

    #[tokio::test]
    async fn a_response_beyond_the_limit_is_refused() {
        let fresh = Fresh::sqlite().await;
        let settings = HistorySettings {
            response_bytes: 100,
            ..HistorySettings::default()
        };
        let responses = Responses::new(fresh.store.clone(), &pepper("ab"), &settings);
        let acme = OrganisationName::from("acme");
        responses
            .put(&acme, "r", &[], &[b'x'; 98], noon())
            .await
            .expect("small enough");
        let error = responses.put(&acme, "s", &[], &[b'x'; 99], noon()).await;
        assert!(matches!(
            error,
            Err(HistoryError::TooLarge {
                bytes: 101,
                limit: 100,
                ..
            })
        ));
    }
}
