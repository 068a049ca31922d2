//! What opens an account at a host: nothing, a key in a header, or a credential that is drawn from
//! an identity at a cloud and renewed before it ends. A credential is added to a request for the
//! host that it belongs to and to no other, and is never printed.

mod aws;
mod entra;
mod find;
mod google;
mod issuer;
mod shared_files;
pub mod sigv4;
mod token;

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use secrecy::{ExposeSecret, SecretString};

use self::aws::AwsSource;
use self::entra::EntraSource;
use self::google::GoogleSource;
use self::sigv4::{Keys, Scope};
use self::token::{Held, Kept, Source};
use crate::chat::Frames;
use crate::time::Timestamp;

use self::find::text;
pub use self::find::{Access, Environment, Found, find, what_to_set};

/// Why a request cannot be opened with a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("{0}")]
    Setting(String),
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("{issuer} gave no credential: {reason}")]
    NoAnswer { issuer: String, reason: String },
    #[error("{issuer} refused a credential with HTTP {status}: {message}")]
    Refused {
        issuer: String,
        status: u16,
        message: String,
    },
}

impl AuthError {
    fn no_answer(issuer: &str, reason: &str) -> Self {
        AuthError::NoAnswer {
            issuer: issuer.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// A header that opens one host, and is sent to no other. Never printed.
#[derive(Clone)]
pub struct Credential {
    pub header: HeaderName,
    pub value: HeaderValue,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// `Authorization: Bearer`.
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub fn bearer(token: &SecretString) -> Result<Self, AuthError> {
        let text = SecretString::from(format!("Bearer {}", token.expose_secret().trim()));
        Self::of(AUTHORIZATION, &text)
    }

    /// `api-key`, as Azure wants it.
    ///
    /// # Errors
    /// When the key cannot stand in a header.
    pub fn api_key(key: &SecretString) -> Result<Self, AuthError> {
        Self::of(HeaderName::from_static("api-key"), key)
    }

    fn of(header: HeaderName, text: &SecretString) -> Result<Self, AuthError> {
        let mut value = HeaderValue::try_from(text.expose_secret()).map_err(|_| {
            AuthError::Setting("the credential is not usable in a header".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(Credential { header, value })
    }
}

/// Opens one account at one host.
#[derive(Clone)]
pub enum Authority {
    /// Own servers that ask for nothing.
    Open,
    Fixed(Credential),
    /// OAuth tokens, shown as `Authorization: Bearer`.
    Tokens(Tokens),
    /// Requests are signed.
    Signed(AccessKeys, Scope),
}

/// OAuth tokens from one source.
#[derive(Clone)]
pub struct Tokens(Arc<Kept<TokenSource>>);

/// Access keys of AWS from one source.
#[derive(Clone)]
pub struct AccessKeys(Arc<Kept<AwsSource>>);

enum TokenSource {
    Google(GoogleSource),
    Entra(EntraSource),
}

impl Source for TokenSource {
    type Grant = Credential;

    fn name(&self) -> String {
        match self {
            TokenSource::Google(source) => source.name(),
            TokenSource::Entra(source) => source.name(),
        }
    }

    async fn draw(&self, now: Timestamp) -> Result<token::Drawn<Credential>, AuthError> {
        match self {
            TokenSource::Google(source) => source.draw(now).await,
            TokenSource::Entra(source) => source.draw(now).await,
        }
    }
}

/// Which credential a request went out with, to be given back if the host refuses it.
pub struct Shown(Proof);

enum Proof {
    Fixed,
    Token(Arc<Held<Credential>>),
    Keys(Arc<Held<Keys>>),
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authority::Open => f.write_str("Open"),
            Authority::Fixed(_) => f.write_str("Fixed(..)"),
            Authority::Tokens(_) | Authority::Signed(..) => {
                write!(f, "Drawn({})", self.source().unwrap_or_default())
            }
        }
    }
}

impl Authority {
    /// Adds the credential to a request that is otherwise complete. Waits only where a credential
    /// must be drawn first.
    ///
    /// # Errors
    /// Why there is no credential; nothing may be sent then.
    pub async fn authorize(
        &self,
        parts: &mut Parts,
        body: &Frames,
        now: Timestamp,
    ) -> Result<Shown, AuthError> {
        let proof = match self {
            Authority::Open => Proof::Fixed,
            Authority::Fixed(credential) => {
                add(credential, parts);
                Proof::Fixed
            }
            Authority::Tokens(Tokens(kept)) => {
                let held = kept.get(now).await?;
                add(&held.grant, parts);
                Proof::Token(held)
            }
            Authority::Signed(AccessKeys(kept), scope) => {
                let held = kept.get(now).await?;
                sigv4::sign(&held.grant, scope, parts, body, now)?;
                Proof::Keys(held)
            }
        };
        Ok(Shown(proof))
    }

    /// The host refused what it was shown. `true` where the next request will wait for a new
    /// credential, so that trying again may help; once for each credential.
    pub fn rejected(&self, shown: &Shown, now: Timestamp) -> bool {
        match (self, &shown.0) {
            (Authority::Tokens(Tokens(kept)), Proof::Token(held)) => kept.reject(held, now),
            (Authority::Signed(AccessKeys(kept), _), Proof::Keys(held)) => kept.reject(held, now),
            _ => false,
        }
    }

    /// The credential in use was rejected, and the next request waits for another.
    pub fn is_renewing(&self) -> bool {
        match self {
            Authority::Open | Authority::Fixed(_) => false,
            Authority::Tokens(Tokens(kept)) => kept.is_rejected(),
            Authority::Signed(AccessKeys(kept), _) => kept.is_rejected(),
        }
    }

    /// Where the credential is drawn from, if it is one that ends.
    fn source(&self) -> Option<String> {
        match self {
            Authority::Open | Authority::Fixed(_) => None,
            Authority::Tokens(Tokens(kept)) => Some(kept.source().name()),
            Authority::Signed(AccessKeys(kept), _) => Some(kept.source().name()),
        }
    }

    /// Whether what `other` has drawn already may go on being used instead of this.
    pub(super) fn is_same(&self, other: &Authority) -> bool {
        let same_scope = match (self, other) {
            (Authority::Signed(_, ours), Authority::Signed(_, theirs)) => ours == theirs,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        };
        same_scope && self.source().is_some() && self.source() == other.source()
    }
}

fn add(credential: &Credential, parts: &mut Parts) {
    parts
        .headers
        .insert(credential.header.clone(), credential.value.clone());
}
