//! Secrets of keys, and how they are kept: not at all, but for a keyed digest.

use std::path::Path;

use super::AccessError;

/// A key as its caller shows it: `tg_` and 49 letters and digits. Does not print.
pub struct Secret(secrecy::SecretString);

impl Secret {
    /// The secret itself, to be shown once.
    pub fn expose(&self) -> &str {
        secrecy::ExposeSecret::expose_secret(&self.0)
    }
}

/// What digests of secrets are keyed with: without it the table of keys is of no use to a thief.
/// All gateways on one database need the same.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// From `hex` (the value of `TOLLGATE_PEPPER`) if given, else from the file `pepper` in this
    /// folder, made at the first start.
    pub fn load(hex: Option<&str>, folder: &Path) -> Result<Pepper, AccessError> {
        let _ = (hex, folder, &self::Pepper([0; 32]).0);
        unimplemented!()
    }
}
