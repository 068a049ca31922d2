//! Secrets of keys, and how they are kept: not at all, but for a keyed digest.
//!
//! `tg_` + 43 base62 digits (256 random bits) + 6 base62 digits (CRC-32 of all before them). The
//! checksum lets a mistyped or invented key be refused without asking anybody, and scanners of
//! leaked secrets tell a real one.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::AccessError;
use crate::id::OrganisationName;

const PREFIX: &str = "tg_";
/// 62^43 is just above 2^256.
const RANDOM: usize = 43;
/// 62^6 is just above 2^32.
const CHECK: usize = 6;
const LENGTH: usize = PREFIX.len() + RANDOM + CHECK;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What is kept of a secret.
pub(super) type Digest = [u8; 32];

/// A key as its caller shows it. Does not print, and is wiped from memory.
pub struct Secret(SecretString);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one, from the operating system's randomness.
    pub(super) fn new() -> Result<Secret, AccessError> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(|error| AccessError::Randomness(error.to_string()))?;
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        push_digits(&mut text, &mut random, RANDOM);
        let mut crc = crc32fast::hash(text.as_bytes()).to_be_bytes();
        push_digits(&mut text, &mut crc, CHECK);
        Ok(Secret(SecretString::from(text)))
    }

    /// The secret itself, to be shown once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Its first letters, by which a person tells keys apart.
    pub(super) fn hint(&self) -> &str {
        &self.expose()[..PREFIX.len() + 4]
    }
}

/// Appends the big-endian number as so many base62 digits, last digit first; wipes it on the way.
fn push_digits(text: &mut String, number: &mut [u8], digits: usize) {
    for _ in 0..digits {
        let mut rest = 0_u32;
        for byte in number.iter_mut() {
            let value = rest << 8 | u32::from(*byte);
            // Below 256, since the rest is below 62.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        text.push(char::from(DIGITS[rest as usize]));
    }
}

/// Whether a text has the form of a key: its length, its letters and its checksum are right.
pub(super) fn is_well_formed(presented: &str) -> bool {
    let bytes = presented.as_bytes();
    if bytes.len() != LENGTH || !presented.starts_with(PREFIX) {
        return false;
    }
    let (body, check) = bytes.split_at(PREFIX.len() + RANDOM);
    let mut crc = crc32fast::hash(body);
    for digit in check {
        if *digit != DIGITS[(crc % 62) as usize] {
            return false;
        }
        crc /= 62;
    }
    // The checksum vouches for the letters too, but a forger could choose others and fit it.
    bytes[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric)
}

/// What digests of secrets are keyed with: without it the table of keys is of no use to a thief.
/// All gateways on one database need the same.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper")
    }
}

impl Pepper {
    /// From `hex` (the value of `TOLLGATE_PEPPER`) if given, else from the file `pepper` in this
    /// folder, which the first start makes for its owner alone.
    pub fn load(hex: Option<&str>, folder: &Path) -> Result<Pepper, AccessError> {
        if let Some(hex) = hex {
            return Pepper::parse(hex).ok_or(AccessError::NotAPepper);
        }
        let path = folder.join("pepper");
        let failed = |message: String| AccessError::PepperFile {
            path: path.clone(),
            message,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Pepper::parse(&text)
                .ok_or_else(|| failed("it does not hold 64 hexadecimal digits".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make(folder, &path).map_err(|error| failed(error.to_string()))?;
                let text = std::fs::read_to_string(&path).map_err(|e| failed(e.to_string()))?;
                Pepper::parse(&text)
                    .ok_or_else(|| failed("it does not hold 64 hexadecimal digits".to_owned()))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn parse(hex: &str) -> Option<Pepper> {
        blake3::Hash::from_hex(hex.trim())
            .ok()
            .map(|hash| Pepper(*hash.as_bytes()))
    }

    /// A key for another purpose, which tells nothing of the pepper or of other purposes' keys.
    /// Gateways with the same pepper derive the same.
    pub fn derive(&self, purpose: &'static str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0)
    }

    pub(super) fn digest(&self, presented: &str) -> Digest {
        *blake3::keyed_hash(&self.0, presented.as_bytes()).as_bytes()
    }
}

/// Names tenants to hosts: the same name for the same organisation always, and none that can be
/// guessed back without the pepper.
#[derive(Clone, Debug)]
pub struct Tenants(Pepper);

/// 32 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Tenant(blake3::Hash);

impl Tenants {
    pub fn new(pepper: &Pepper) -> Self {
        Tenants(Pepper(
            pepper.derive("tollgate 2026-11 tenant names at hosts"),
        ))
    }

    pub fn of(&self, organisation: &OrganisationName) -> Tenant {
        Tenant(blake3::keyed_hash(
            &self.0.0,
            organisation.as_str().as_bytes(),
        ))
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex()[..32])
    }
}

/// Makes the pepper file whole or not at all; if another process was faster, its file stands.
fn make(folder: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let draft = folder.join(format!("pepper.{}", uuid::Uuid::now_v7()));
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{}", blake3::Hash::from_bytes(random).to_hex())?;
    file.sync_all()?;
    let made = match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    };
    std::fs::remove_file(&draft)?;
    made
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_secret_is_well_formed_and_no_two_are_alike() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let secret = Secret::new().expect("randomness");
            assert!(is_well_formed(secret.expose()), "{}", secret.expose());
            assert!(seen.insert(secret.expose().to_owned()));
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new().expect("randomness");
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.hint().len(), 7);
    }

    #[test]
    fn a_mistyped_key_is_known_as_such() {
        let secret = Secret::new().expect("randomness");
        let right = secret.expose();
        for place in 0..LENGTH {
            for digit in DIGITS {
                let mut wrong = right.as_bytes().to_vec();
                if wrong[place] == *digit {
                    continue;
                }
                wrong[place] = *digit;
                let wrong = String::from_utf8(wrong).expect("letters");
                assert!(!is_well_formed(&wrong), "{wrong}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_that_somebody_makes_up_passes_or_panics(text in "\\PC{0,80}", tail in "[0-9A-Za-z]{49}") {
            prop_assert!(!is_well_formed(&text));
            let made_up = format!("tg_{tail}");
            prop_assert!(!is_well_formed(&made_up));
        }
    }

    #[test]
    fn the_first_start_makes_a_pepper_for_its_owner_alone_and_keeps_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Pepper::load(None, folder.path()).expect("made");
        let again = Pepper::load(None, folder.path()).expect("read");
        assert_eq!(first.digest("x"), again.digest("x"));
        let mode = std::fs::metadata(folder.path().join("pepper"))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn a_pepper_from_the_environment_counts_before_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let hex = "ab".repeat(32);
        let given = Pepper::load(Some(&hex), folder.path()).expect("given");
        assert_eq!(
            given.digest("x"),
            *blake3::keyed_hash(&[0xab; 32], b"x").as_bytes()
        );
        assert!(!folder.path().join("pepper").exists());
        for wrong in ["", "ab", &"zz".repeat(32)] {
            assert!(matches!(
                Pepper::load(Some(wrong), folder.path()),
                Err(AccessError::NotAPepper)
            ));
        }
    }

    #[test]
    fn processes_that_start_together_agree_on_one_pepper() {
        let folder = tempfile::tempdir().expect("a folder");
        let digests: Vec<Digest> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| Pepper::load(None, folder.path()).expect("made").digest("x"))
                })
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().expect("no panic"))
                .collect()
        });
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
