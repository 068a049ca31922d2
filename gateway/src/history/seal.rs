//! What callers carry for us between requests: thinking as Responses' `encrypted_content` and as
//! Anthropic's `signature`. A sealed text is opaque to them and opens only for the organisation that
//! it was sealed for; a real Anthropic signature, a changed one or somebody else's opens to nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cipher::{Cipher, OVERHEAD};
use crate::access::Pepper;
use crate::id::OrganisationName;

/// Says what it is and in which version; base64url follows.
const PREFIX: &str = "tgr1.";
/// Longest text sealed: more than the longest answer of any model of this family.
const MOST: usize = 4 << 20;

/// Seals texts that callers carry. Cloning it is cheap.
#[derive(Clone)]
pub struct Seal(Cipher);

impl Seal {
    pub fn new(pepper: &Pepper) -> Self {
        Seal(Cipher::new(
            pepper,
            "tollgate 2026-11 reasoning carried by callers",
        ))
    }

    /// `tgr1.` and base64url; `None` for a text longer than 4 MiB, or where the system gives no
    /// randomness.
    pub fn seal(&self, tenant: &OrganisationName, text: &str) -> Option<String> {
        if text.len() > MOST {
            return None;
        }
        let sealed = self.0.seal(&[tenant.as_str()], text.as_bytes()).ok()?;
        let mut carried = String::with_capacity(PREFIX.len() + sealed.len().div_ceil(3) * 4);
        carried.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(sealed, &mut carried);
        Some(carried)
    }

    /// The text, if it was sealed here for this organisation.
    pub fn open(&self, tenant: &OrganisationName, carried: &str) -> Option<String> {
        let digits = carried.strip_prefix(PREFIX)?;
        if digits.len() > (MOST + OVERHEAD).div_ceil(3) * 4 {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(digits).ok()?;
        String::from_utf8(self.0.open(&[tenant.as_str()], &sealed)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cipher::tests::pepper;
    use super::*;

    proptest! {
        #[test]
        fn a_text_comes_back_to_its_organisation_alone(text in "\\PC{0,200}", tenant in "[a-z]{1,6}") {
            let seal = Seal::new(&pepper("ab"));
            let ours = OrganisationName::from(tenant.as_str());
            let carried = seal.seal(&ours, &text).expect("sealed");
            prop_assert!(carried.starts_with("tgr1."));
            prop_assert!(carried.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(seal.open(&ours, &carried), Some(text));
            let theirs = OrganisationName::from(format!("{tenant}x").as_str());
            prop_assert_eq!(seal.open(&theirs, &carried), None);
        }

        #[test]
        fn nothing_that_others_make_up_opens(text in "(tgr1\\.)?\\PC{0,80}", digits in "tgr1\\.[A-Za-z0-9_-]{0,120}") {
            let seal = Seal::new(&pepper("ab"));
            let acme = OrganisationName::from("acme");
            prop_assert_eq!(seal.open(&acme, &text), None);
            prop_assert_eq!(seal.open(&acme, &digits), None);
        }
    }

    #[test]
    fn a_gateway_with_the_same_pepper_opens_what_another_sealed() {
        let acme = OrganisationName::from("acme");
        let carried = Seal::new(&pepper("ab")).seal(&acme, "hm").expect("sealed");
        assert_eq!(
            Seal::new(&pepper("ab")).open(&acme, &carried).as_deref(),
            Some("hm")
        );
        assert_eq!(Seal::new(&pepper("cd")).open(&acme, &carried), None);
    }

    #[test]
    fn a_text_beyond_the_limit_is_not_sealed_and_one_at_it_comes_back() {
        let (seal, acme) = (Seal::new(&pepper("ab")), OrganisationName::from("acme"));
        assert_eq!(seal.seal(&acme, &"x".repeat(MOST + 1)), None);
        let longest = "x".repeat(MOST);
        let carried = seal.seal(&acme, &longest).expect("sealed");
        assert_eq!(seal.open(&acme, &carried), Some(longest));
    }
}
