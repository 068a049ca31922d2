//! Sealing: AES-256-GCM under a key made for each value from a root key and 24 random bytes, so that
//! no number of values wears a key out (GCM with random nonces under one key is good for some 2^32).
//! What a value is about (whose, which) is authenticated with it: moved elsewhere, it does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::HistoryError;
use crate::access::Pepper;

/// Random bytes at the head of a sealed value.
const RANDOM: usize = 24;
/// The tag at its end.
const TAG: usize = 16;
/// How much longer a sealed value is than what it holds.
pub(super) const OVERHEAD: usize = RANDOM + TAG;

/// Seals for one purpose.
#[derive(Clone)]
pub(super) struct Cipher([u8; 32]);

impl Cipher {
    pub(super) fn new(pepper: &Pepper, purpose: &'static str) -> Self {
        Cipher(pepper.derive(purpose))
    }

    /// random ‖ ciphertext ‖ tag.
    pub(super) fn seal(&self, about: &[&str], plain: &[u8]) -> Result<Vec<u8>, HistoryError> {
        let mut random = [0_u8; RANDOM];
        getrandom::fill(&mut random)
            .map_err(|error| HistoryError::Randomness(error.to_string()))?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(&random);
        sealed.extend_from_slice(plain);
        let tag = self
            .key(&random)
            .seal_in_place_separate_tag(nonce(), Aad::from(joined(about)), &mut sealed[RANDOM..])
            .expect("no value comes near the 64 GiB that GCM can seal");
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What was sealed about the same; `None` for anything else.
    pub(super) fn open(&self, about: &[&str], sealed: &[u8]) -> Option<Vec<u8>> {
        let (random, rest) = sealed.split_first_chunk::<RANDOM>()?;
        let mut rest = rest.to_vec();
        let plain = self
            .key(random)
            .open_in_place(nonce(), Aad::from(joined(about)), &mut rest)
            .ok()?
            .len();
        rest.truncate(plain);
        Some(rest)
    }

    fn key(&self, random: &[u8; RANDOM]) -> LessSafeKey {
        let key = blake3::keyed_hash(&self.0, random);
        let key = UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("32 bytes are a key");
        LessSafeKey::new(key)
    }
}

/// Each key seals one value, so its nonce need not differ.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// The fields with their lengths, so that no two lists read alike.
pub(super) fn joined(fields: &[&str]) -> Vec<u8> {
    let mut joined = Vec::new();
    for field in fields {
        joined.extend_from_slice(&(field.len() as u64).to_le_bytes());
        joined.extend_from_slice(field.as_bytes());
    }
    joined
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn pepper(byte: &str) -> Pepper {
        Pepper::load(Some(&byte.repeat(32)), std::path::Path::new("")).expect("64 digits")
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_for_those_whom_it_is_about_alone(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            about in "[a-z]{0,8}",
            other in "[a-z]{0,8}",
            flip in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let cipher = Cipher::new(&pepper("ab"), "a test");
            let mut sealed = cipher.seal(&[&about, "x"], &plain).expect("sealed");
            prop_assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            prop_assert_eq!(cipher.open(&[&about, "x"], &sealed), Some(plain));
            if other != about {
                prop_assert_eq!(cipher.open(&[&other, "x"], &sealed), None);
            }
            let moved = format!("{about}x");
            prop_assert_eq!(cipher.open(&[&moved], &sealed), None);
            let place = flip.index(sealed.len());
            sealed[place] ^= 1 << bit;
            prop_assert_eq!(cipher.open(&[&about, "x"], &sealed), None);
            prop_assert_eq!(cipher.open(&[&about, "x"], &sealed[..place]), None);
        }
    }

    #[test]
    fn another_pepper_or_purpose_opens_nothing() {
        let sealed = Cipher::new(&pepper("ab"), "one")
            .seal(&[], b"hello")
            .expect("sealed");
        assert_eq!(
            Cipher::new(&pepper("ab"), "one")
                .open(&[], &sealed)
                .as_deref(),
            Some(&b"hello"[..])
        );
        assert_eq!(Cipher::new(&pepper("ab"), "two").open(&[], &sealed), None);
        assert_eq!(Cipher::new(&pepper("cd"), "one").open(&[], &sealed), None);
    }
}
