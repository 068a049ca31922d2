//! Sealing: AES-256-GCM under a key derived from the pepper, so that every replica with the same
//! pepper opens what another sealed, and bound to an organisation, so that nobody opens another's.
//! A sealed text is `tgr1.` and base64url of nonce, ciphertext and tag.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::access::Pepper;
use crate::id::OrganisationName;

const PREFIX: &str = "tgr1.";
/// No thinking of these models is longer.
const MOST_BYTES: usize = 8 << 20;

/// Seals for every organisation.
#[derive(Clone)]
pub struct Sealer(Arc<RandomizedNonceKey>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    pub fn new(pepper: &Pepper) -> Self {
        let key = pepper.derive("tollgate 2026-11 sealed history");
        Sealer(Arc::new(
            RandomizedNonceKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes"),
        ))
    }

    pub fn of(&self, organisation: &OrganisationName) -> Seal {
        Seal {
            sealer: self.clone(),
            organisation: organisation.clone(),
        }
    }
}

/// Seals for one organisation.
#[derive(Clone, Debug)]
pub struct Seal {
    sealer: Sealer,
    organisation: OrganisationName,
}

impl Seal {
    /// The sealed bytes; `None` if there are too many of them.
    pub fn close(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MOST_BYTES {
            return None;
        }
        let mut bytes = plain.to_vec();
        let nonce = self
            .sealer
            .0
            .seal_in_place_append_tag(self.aad(), &mut bytes)
            .ok()?;
        bytes.extend_from_slice(nonce.as_ref());
        Some(bytes)
    }

    /// What was sealed for this organisation; `None` for anything else.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let at = sealed.len().checked_sub(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed[at..]).ok()?;
        let mut bytes = sealed[..at].to_vec();
        let length = self
            .sealer
            .0
            .open_in_place(nonce, self.aad(), &mut bytes)
            .ok()?
            .len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// A sealed text that a caller can carry; empty if it is too long to be carried.
    pub fn close_text(&self, text: &str) -> String {
        self.close(text.as_bytes())
            .map_or_else(String::new, |sealed| {
                format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))
            })
    }

    /// A text that this gateway sealed for the same organisation; foreign, changed and other
    /// organisations' ones are none.
    pub fn open_text(&self, carried: &str) -> Option<String> {
        let encoded = carried.strip_prefix(PREFIX)?;
        if encoded.len() > MOST_BYTES * 2 {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        String::from_utf8(self.open(&sealed)?).ok()
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(self.organisation.as_str().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer() -> Sealer {
        let pepper = Pepper::load(Some(&"ab".repeat(32)), std::path::Path::new("."));
        Sealer::new(&pepper.expect("a pepper"))
    }

    #[test]
    fn another_replica_opens_it_and_another_organisation_does_not() {
        let carried = sealer().of(&"acme".into()).close_text("because");
        assert!(!carried.contains("because"));
        assert_eq!(
            sealer().of(&"acme".into()).open_text(&carried).as_deref(),
            Some("because")
        );
        assert_eq!(sealer().of(&"other".into()).open_text(&carried), None);
        assert_eq!(
            sealer().of(&"acme".into()).open_text("gAAAAABforeign"),
            None
        );
    }

    proptest! {
        #[test]
        fn what_is_changed_does_not_open(text in ".{0,80}", at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let seal = sealer().of(&"acme".into());
            let mut sealed = seal.close(text.as_bytes()).expect("short");
            prop_assert_eq!(seal.open(&sealed), Some(text.into_bytes()));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(seal.open(&sealed), None);
        }
    }
}
