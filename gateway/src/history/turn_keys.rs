//! By what a turn of the assistant is found again when a caller sends it back without its thinking:
//! each of its calls' ids, and all that is visible of it. Keyed digests, so that memory holds no
//! content in the clear, made for one organisation, so that others' turns cannot match.

use serde_json::Value;

use super::cipher::joined;
use crate::access::Pepper;
use crate::chat::{Call, Said};
use crate::id::OrganisationName;

pub(super) type TurnKey = [u8; 16];

pub(super) struct TurnKeys([u8; 32]);

impl TurnKeys {
    pub(super) fn new(pepper: &Pepper) -> Self {
        TurnKeys(pepper.derive("tollgate 2026-11 digests of turns"))
    }

    /// By a call's id; its name is bound to it. `None` for a call without an id.
    pub(super) fn of_call(&self, tenant: &OrganisationName, call: &Call) -> Option<TurnKey> {
        if call.id.is_empty() {
            return None;
        }
        Some(self.digest(&["call", tenant.as_str(), &call.id, &call.name]))
    }

    /// By what is visible. `None` where nothing is: such turns are all alike.
    pub(super) fn of_content(&self, tenant: &OrganisationName, said: &Said) -> Option<TurnKey> {
        // Clients trim, and write arguments anew.
        let text = said.text.trim();
        if text.is_empty() && said.calls.is_empty() {
            return None;
        }
        let arguments: Vec<String> = said.calls.iter().map(rewritten).collect();
        let mut fields = vec!["content", tenant.as_str(), text];
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
        let of = |said: &Said| keys.of_content(&acme, said);
        let one = of(&said("Let me look.", "{\"at\": 1, \"of\": [1, 2]}"));
        assert_eq!(one, of(&said("Let me look.\n", "{\"of\":[1,2],\"at\":1}")));
        assert_ne!(one, of(&said("Let me look.", "{\"of\":[2,1],\"at\":1}")));
        assert_ne!(one, of(&said("Let me see.", "{\"at\":1,\"of\":[1,2]}")));
        assert_eq!(of(&said("", "")), of(&said("", " {} ")));
        assert_ne!(of(&said("", "{broken")), of(&said("", "{}")));
        assert_eq!(of(&Said::default()), None);
    }

    #[test]
    fn an_id_counts_with_its_name_in_its_organisation() {
        let keys = TurnKeys::new(&pepper("ab"));
        let (acme, other) = (
            OrganisationName::from("acme"),
            OrganisationName::from("other"),
        );
        let call = said("", "{}").calls.remove(0);
        let mut renamed = call.clone();
        renamed.name = "see".into();
        assert_ne!(keys.of_call(&acme, &call), keys.of_call(&other, &call));
        assert_ne!(keys.of_call(&acme, &call), keys.of_call(&acme, &renamed));
        renamed.id = String::new();
        assert_eq!(keys.of_call(&acme, &renamed), None);
    }
}
