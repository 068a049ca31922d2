//! By what a turn of the assistant is found again when a caller sends it back without its thinking:
//! each of its calls' ids, and all that is visible of it. Keyed digests, so that memory holds no
//! content in the clear, made for one organisation, so that others' turns cannot match.

use serde_json::Value;

use super::cipher::joined;
use crate::access::Pepper;
use crate::chat::{Call, Image, Part, Said, Turn};
use crate::id::OrganisationName;

pub(super) type TurnKey = [u8; 16];

/// A conversation, as far as its opening tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening(TurnKey);

impl Opening {
    fn padded(&self) -> [u8; 32] {
        let mut padded = [0; 32];
        padded[..self.0.len()].copy_from_slice(&self.0);
        padded
    }
}

pub(super) struct TurnKeys([u8; 32]);

impl TurnKeys {
    pub(super) fn new(pepper: &Pepper) -> Self {
        TurnKeys(pepper.derive("tollgate 2026-11 digests of turns"))
    }

    /// What a conversation opens with: its first words of the user, which clients leave as they are
    /// when they rewrite what follows.
    pub(super) fn of_opening(&self, turns: &[Turn]) -> Option<Opening> {
        let parts = turns.iter().find_map(|turn| match turn {
            Turn::User(parts) => Some(parts),
            _ => None,
        })?;
        let mut fields = vec!["opening"];
        for part in parts {
            match part {
                Part::Text(text) => fields.extend(["text", text.trim()]),
                Part::Image(Image::Url(url)) => fields.extend(["image", url.as_str()]),
                Part::Image(Image::Inline { media_type, data }) => {
                    fields.extend(["data", media_type.as_str(), data.as_str()]);
                }
            }
        }
        Some(Opening(self.digest(&fields)))
    }

    /// By a call's id, with what it calls: hosts that count calls from `call_0` in each conversation
    /// give many the same. `None` for a call without an id.
    pub(super) fn of_call(&self, tenant: &OrganisationName, call: &Call) -> Option<TurnKey> {
        if call.id.is_empty() {
            return None;
        }
        let arguments = rewritten(call);
        Some(self.digest(&["call", tenant.as_str(), &call.id, &call.name, &arguments]))
    }

    /// By what is visible, in a conversation that opened so: others may have said the same. `None`
    /// where nothing is visible: such turns are all alike.
    pub(super) fn of_content(
        &self,
        tenant: &OrganisationName,
        opening: &Opening,
        said: &Said,
    ) -> Option<TurnKey> {
        // Clients trim, and write arguments anew.
        let text = said.text.trim();
        if text.is_empty() && said.calls.is_empty() {
            return None;
        }
        let arguments: Vec<String> = said.calls.iter().map(rewritten).collect();
        let opening = blake3::Hash::from_bytes(opening.padded()).to_hex();
        let mut fields = vec!["content", tenant.as_str(), opening.as_str(), text];
        for (call, arguments) in said.calls.iter().zip(&arguments) {
            fields.extend([call.name.as_str(), arguments.as_str()]);
        }
        Some(self.digest(&fields))
    }

    /// By all that was kept: whether two turns are one.
    pub(super) fn of_whole(&self, said: &Said, reasoning: &str) -> TurnKey {
        let mut fields = vec!["whole", reasoning, said.text.as_str()];
        for call in &said.calls {
            fields.extend([
                call.id.as_str(),
                call.name.as_str(),
                call.arguments.as_str(),
            ]);
        }
        self.digest(&fields)
    }

    fn digest(&self, fields: &[&str]) -> TurnKey {
        let digest = blake3::keyed_hash(&self.0, &joined(fields));
        *digest
            .as_bytes()
            .first_chunk()
            .expect("a digest has 32 bytes")
    }
}

/// Arguments without their spaces and the order of their members, where they are JSON at all.
fn rewritten(call: &Call) -> String {
    let arguments = call.arguments.trim();
    if arguments.is_empty() {
        return "{}".to_owned();
    }
    serde_json::from_str::<Value>(arguments)
        .map_or_else(|_| arguments.to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::cipher::tests::pepper;
    use super::*;

    fn said(text: &str, arguments: &str) -> Said {
        Said {
            text: text.into(),
            calls: vec![Call {
                id: "call_1".into(),
                name: "look".into(),
                arguments: arguments.into(),
            }],
            ..Said::default()
        }
    }

    #[test]
    fn a_turn_is_the_same_after_what_clients_do_to_it() {
        let (keys, acme) = (TurnKeys::new(&pepper("ab")), OrganisationName::from("acme"));
        let opening = keys.of_opening(&[Turn::user("Is it empty?")]).expect("one");
        let of = |said: &Said| keys.of_content(&acme, &opening, said);
        let one = of(&said("Let me look.", "{\"at\": 1, \"of\": [1, 2]}"));
        assert_eq!(one, of(&said("Let me look.\n", "{\"of\":[1,2],\"at\":1}")));
        assert_ne!(one, of(&said("Let me look.", "{\"of\":[2,1],\"at\":1}")));
        assert_ne!(one, of(&said("Let me see.", "{\"at\":1,\"of\":[1,2]}")));
        assert_eq!(of(&said("", "")), of(&said("", " {} ")));
        assert_ne!(of(&said("", "{broken")), of(&said("", "{}")));
        assert_eq!(of(&Said::default()), None);
    }

    #[test]
    fn an_id_counts_with_what_it_calls_in_its_organisation() {
        let keys = TurnKeys::new(&pepper("ab"));
        let (acme, other) = (
            OrganisationName::from("acme"),
            OrganisationName::from("other"),
        );
        let call = said("", "{\"a\":1,\"b\":2}").calls.remove(0);
        let of = |change: fn(&mut Call)| {
            let mut call = call.clone();
            change(&mut call);
            keys.of_call(&acme, &call)
        };
        let as_it_was = of(|_| {});
        assert_ne!(as_it_was, keys.of_call(&other, &call));
        assert_ne!(as_it_was, of(|call| call.name = "see".into()));
        assert_ne!(as_it_was, of(|call| call.arguments = "{}".into()));
        assert_eq!(
            as_it_was,
            of(|call| call.arguments = "{\"b\": 2, \"a\": 1}".into())
        );
        assert_eq!(of(|call| call.id.clear()), None);
    }

    #[test]
    fn conversations_are_told_apart_by_their_first_words_of_the_user() {
        let keys = TurnKeys::new(&pepper("ab"));
        let of = |turns: &[Turn]| keys.of_opening(turns);
        let one = of(&[
            Turn::system("v1"),
            Turn::user("Is it empty?"),
            Turn::user("x"),
        ]);
        assert!(one.is_some());
        assert_eq!(one, of(&[Turn::system("v2"), Turn::user("Is it empty?\n")]));
        assert_ne!(one, of(&[Turn::user("Is it full?")]));
        let picture = |url: &str| Turn::User(vec![Part::Image(Image::Url(url.into()))]);
        assert_ne!(of(&[picture("a")]), of(&[picture("b")]));
        assert_eq!(of(&[Turn::system("v1")]), None);
    }
}
