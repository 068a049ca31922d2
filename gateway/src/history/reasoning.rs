//! The thinking behind calls. Hosts demand it back with the next turn (DeepSeek: 400 otherwise, all or
//! nothing), and most clients have dropped it by then. It is found again by the ids of the calls that
//! it led to, or by what was said, whichever surface and host the next turn comes by.

use std::time::Duration;

use super::seal::Sealer;
use super::shelf::{Label, Shelf};
use crate::chat::{Said, Turn};
use crate::id::OrganisationName;
use crate::time::Timestamp;

#[derive(Debug)]
pub struct Reasoning {
    shelf: Shelf,
    sealer: Sealer,
    key: [u8; 32],
}

impl Reasoning {
    pub(super) fn new(
        sealer: Sealer,
        key: [u8; 32],
        limit_bytes: usize,
        lifetime: Duration,
    ) -> Self {
        Reasoning {
            shelf: Shelf::new(limit_bytes, lifetime),
            sealer,
            key,
        }
    }

    /// Keeps the thinking of a turn that called something.
    pub fn keep(&self, organisation: &OrganisationName, said: &Said, now: Timestamp) {
        let Some(reasoning) = said.reasoning.as_deref().filter(|text| !text.is_empty()) else {
            return;
        };
        if said.calls.is_empty() {
            return;
        }
        let Some(sealed) = self.sealer.of(organisation).close(reasoning.as_bytes()) else {
            return;
        };
        for label in self.labels(organisation, said) {
            self.shelf.put(label, organisation, sealed.clone(), now);
        }
    }

    /// Puts back what is known. Turns that have their thinking keep it.
    pub fn restore(&self, organisation: &OrganisationName, turns: &mut [Turn], now: Timestamp) {
        for turn in turns {
            let Turn::Assistant(said) = turn else {
                continue;
            };
            if said.calls.is_empty()
                || said
                    .reasoning
                    .as_deref()
                    .is_some_and(|text| !text.is_empty())
            {
                continue;
            }
            said.reasoning = self
                .labels(organisation, said)
                .iter()
                .find_map(|label| self.shelf.get(label, now))
                .and_then(|sealed| self.sealer.of(organisation).open(&sealed))
                .and_then(|bytes| String::from_utf8(bytes).ok());
        }
    }

    /// By the first call's id, and by all that was said: clients rewrite either, rarely both.
    fn labels(&self, organisation: &OrganisationName, said: &Said) -> Vec<Label> {
        let mut labels = Vec::with_capacity(2);
        let mut by_id = blake3::Hasher::new_keyed(&self.key);
        by_id
            .update(b"id\0")
            .update(organisation.as_str().as_bytes())
            .update(b"\0");
        if let Some(call) = said.calls.first().filter(|call| !call.id.is_empty()) {
            by_id.update(call.id.as_bytes());
            // Ids such as `call_0` come again in every conversation: what was called tells them apart.
            by_id.update(b"\0").update(call.name.as_bytes());
            by_id.update(b"\0").update(call.arguments.trim().as_bytes());
            labels.push(*by_id.finalize().as_bytes());
        }
        let mut by_words = blake3::Hasher::new_keyed(&self.key);
        by_words
            .update(b"words\0")
            .update(organisation.as_str().as_bytes());
        by_words.update(b"\0").update(said.text.trim().as_bytes());
        for call in &said.calls {
            by_words.update(b"\0").update(call.name.as_bytes());
            by_words
                .update(b"\0")
                .update(normal(&call.arguments).as_bytes());
        }
        labels.push(*by_words.finalize().as_bytes());
        labels
    }
}

/// Arguments as JSON without its spaces: clients write them anew.
fn normal(arguments: &str) -> String {
    serde_json::from_str::<serde_json::Value>(arguments)
        .map_or_else(|_| arguments.trim().to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Pepper;
    use crate::chat::Call;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("an instant")
    }

    fn reasoning() -> Reasoning {
        let pepper =
            Pepper::load(Some(&"ab".repeat(32)), std::path::Path::new(".")).expect("a pepper");
        Reasoning::new(
            Sealer::new(&pepper),
            [7; 32],
            1 << 20,
            Duration::from_secs(60),
        )
    }

    fn said(id: &str, arguments: &str, reasoning: Option<&str>) -> Said {
        Said {
            reasoning: reasoning.map(str::to_owned),
            text: "Let me look.".into(),
            calls: vec![Call {
                id: id.into(),
                name: "look".into(),
                arguments: arguments.into(),
            }],
            unfinished: false,
        }
    }

    fn restored(kept: &Reasoning, organisation: &str, said: Said, now: i64) -> Option<String> {
        let mut turns = [Turn::user("x"), Turn::Assistant(said)];
        kept.restore(&organisation.into(), &mut turns, at(now));
        match &turns[1] {
            Turn::Assistant(said) => said.reasoning.clone(),
            _ => None,
        }
    }

    #[test]
    fn thinking_that_a_client_dropped_is_put_back() {
        let kept = reasoning();
        kept.keep(&"acme".into(), &said("c1", "{\"a\":1}", Some("Hm.")), at(1));
        let found = |said| restored(&kept, "acme", said, 2);
        assert_eq!(found(said("c1", "{\"a\":1}", None)).as_deref(), Some("Hm."));
        assert_eq!(
            found(said("other-id", "{ \"a\": 1 }", None)).as_deref(),
            Some("Hm."),
            "a rewritten id"
        );
        assert_eq!(
            found(said("c1", "{\"a\":1}", Some("mine"))).as_deref(),
            Some("mine")
        );
        assert_eq!(found(said("c2", "{\"a\":2}", None)), None, "another turn");
        assert_eq!(
            restored(&kept, "other", said("c1", "{\"a\":1}", None), 2),
            None,
            "another organisation"
        );
        assert_eq!(
            restored(&kept, "acme", said("c1", "{\"a\":1}", None), 90),
            None,
            "too late"
        );
    }

    #[test]
    fn ids_that_begin_anew_in_each_conversation_do_not_mix_them() {
        let kept = reasoning();
        kept.keep(
            &"acme".into(),
            &said("call_0", "{\"a\":1}", Some("first")),
            at(1),
        );
        kept.keep(
            &"acme".into(),
            &said("call_0", "{\"a\":2}", Some("second")),
            at(2),
        );
        assert_eq!(
            restored(&kept, "acme", said("call_0", "{\"a\":1}", None), 3).as_deref(),
            Some("first")
        );
    }
}
