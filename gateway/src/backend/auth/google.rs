//! OAuth tokens of Google: for a service account (a JSON Web Token that it signs, RFC 7523), a
//! user's refresh token (`gcloud auth application-default login`), a workload of another cloud or
//! cluster (token exchange, RFC 8693), or from the metadata server.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jiff::SignedDuration;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::issuer::{self, TokenAnswer, address, client, read_file, read_json, shown};
use super::token::{Drawn, Source};
use super::{AuthError, Credential, Environment, text};
use crate::time::Timestamp;

const TOKENS: &str = "https://oauth2.googleapis.com/token";
const EXCHANGE: &str = "https://sts.googleapis.com/v1/token";
const METADATA: &str = "metadata.google.internal";
/// The longest that Google grants.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

/// Where Google's tokens come from.
pub(super) struct GoogleSource {
    from: From,
    scope: Arc<str>,
}

enum From {
    /// A file of credentials, read anew at each drawing.
    File(PathBuf),
    Metadata(Url),
}

impl GoogleSource {
    /// The file that the environment names, or the one that `gcloud` leaves.
    pub(super) fn find(scope: &Arc<str>, environment: &Environment<'_>) -> Option<Self> {
        let named = text(environment, "GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
        let left = || {
            let folder = text(environment, "CLOUDSDK_CONFIG")
                .map(PathBuf::from)
                .or_else(|| {
                    Some(PathBuf::from(text(environment, "HOME")?).join(".config/gcloud"))
                })?;
            Some(folder.join("application_default_credentials.json")).filter(|file| file.exists())
        };
        named.or_else(left).map(|file| Self::file(file, scope))
    }

    pub(super) fn file(path: PathBuf, scope: &Arc<str>) -> Self {
        GoogleSource {
            from: From::File(path),
            scope: scope.clone(),
        }
    }

    pub(super) fn metadata(
        scope: &Arc<str>,
        environment: &Environment<'_>,
    ) -> Result<Self, AuthError> {
        let host = text(environment, "GCE_METADATA_HOST");
        let base = format!("http://{}", host.as_deref().unwrap_or(METADATA));
        Ok(GoogleSource {
            from: From::Metadata(address("GCE_METADATA_HOST", &base)?),
            scope: scope.clone(),
        })
    }

    /// The project that the file belongs to, if it says.
    pub(super) fn project(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Project {
            project_id: Option<String>,
            quota_project_id: Option<String>,
        }
        let From::File(path) = &self.from else {
            return None;
        };
        let project: Project = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        project.project_id.or(project.quota_project_id)
    }
}

impl Source for GoogleSource {
    type Grant = Credential;

    fn name(&self) -> String {
        match &self.from {
            From::File(path) => format!("Google credentials of {}", path.display()),
            From::Metadata(url) => format!("the metadata server {}", shown(url)),
        }
    }

    async fn draw(&self, now: Timestamp) -> Result<Drawn<Credential>, AuthError> {
        match &self.from {
            From::Metadata(base) => from_metadata(base, &self.scope, now).await,
            From::File(path) => {
                let text = SecretString::from(read_file(path).await?);
                let file = serde_json::from_str(text.expose_secret()).map_err(|error| {
                    // serde's message names fields, and may quote a word; the key is none of them.
                    AuthError::File {
                        path: path.display().to_string(),
                        reason: format!(
                            "these are no credentials of a service account, user or external account \
                             (line {}, column {})",
                            error.line(),
                            error.column()
                        ),
                    }
                })?;
                match file {
                    File::ServiceAccount(account) => account.draw(&self.scope, now).await,
                    File::AuthorizedUser(user) => user.draw(now).await,
                    File::ExternalAccount(account) => account.draw(&self.scope, now).await,
                }
            }
        }
    }
}

async fn from_metadata(
    base: &Url,
    scope: &str,
    now: Timestamp,
) -> Result<Drawn<Credential>, AuthError> {
    let mut url = base.clone();
    url.set_path("/computeMetadata/v1/instance/service-accounts/default/token");
    url.query_pairs_mut().append_pair("scopes", scope);
    let request = client(&url)?
        .get(url.clone())
        .header("metadata-flavor", "Google");
    let body = issuer::ask(&url, request).await?;
    read_json::<TokenAnswer>(&url, &body)?.drawn(now)
}

/// A file of credentials, as the Cloud console and `gcloud` write it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(ExternalAccount),
}

#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: SecretString,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccount {
    async fn draw(&self, scope: &str, now: Timestamp) -> Result<Drawn<Credential>, AuthError> {
        let url = address("token_uri", self.token_uri.as_deref().unwrap_or(TOKENS))?;
        let assertion = self.assertion(scope, now)?;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.expose_secret()),
        ];
        let body = issuer::post_form(&url, &fields).await?;
        read_json::<TokenAnswer>(&url, &body)?.drawn(now)
    }

    /// A signed statement of who asks for what, good for an hour. Its audience is the same wherever
    /// it is sent ("Using OAuth 2.0 for server to server applications").
    fn assertion(&self, scope: &str, now: Timestamp) -> Result<SecretString, AuthError> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let issued = now.as_second();
        let claims = json!({
            "iss": self.client_email,
            "scope": scope,
            "aud": TOKENS,
            "iat": issued,
            "exp": issued + LIFE.as_secs(),
        });
        let signed = format!(
            "{}.{}",
            BASE64.encode(header.to_string()),
            BASE64.encode(claims.to_string())
        );
        let signature = sign(&self.private_key, signed.as_bytes()).ok_or_else(|| {
            AuthError::Setting(format!(
                "the private_key of {} is no RSA key in PKCS #8 form (-----BEGIN PRIVATE KEY-----)",
                self.client_email
            ))
        })?;
        Ok(SecretString::from(format!(
            "{signed}.{}",
            BASE64.encode(signature)
        )))
    }
}

/// RS256 (RFC 7518, section 3.3).
fn sign(key: &SecretString, message: &[u8]) -> Option<Vec<u8>> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.expose_secret().as_bytes()).ok()?;
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message,
        &mut signature,
    )
    .ok()?;
    Some(signature)
}

#[derive(Deserialize)]
struct AuthorizedUser {
    client_id: String,
    client_secret: SecretString,
    refresh_token: SecretString,
    token_uri: Option<String>,
}

impl AuthorizedUser {
    async fn draw(&self, now: Timestamp) -> Result<Drawn<Credential>, AuthError> {
        let url = address("token_uri", self.token_uri.as_deref().unwrap_or(TOKENS))?;
        // The scope is that of the login.
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.expose_secret()),
            ("refresh_token", self.refresh_token.expose_secret()),
        ];
        let body = issuer::post_form(&url, &fields).await?;
        read_json::<TokenAnswer>(&url, &body)?.drawn(now)
    }
}

/// Workload identity federation whose token lies in a file: what clusters and CI mount.
#[derive(Deserialize)]
struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: Option<String>,
    service_account_impersonation_url: Option<String>,
    credential_source: CredentialSource,
}

#[derive(Deserialize)]
struct CredentialSource {
    file: Option<PathBuf>,
    #[serde(default)]
    format: Format,
}

#[derive(Default, Deserialize)]
struct Format {
    /// The field of a JSON file that holds the token; the whole file where it is not set.
    subject_token_field_name: Option<String>,
}

impl ExternalAccount {
    async fn draw(&self, scope: &str, now: Timestamp) -> Result<Drawn<Credential>, AuthError> {
        let url = address("token_url", self.token_url.as_deref().unwrap_or(EXCHANGE))?;
        let subject = self.subject().await?;
        let impersonated = self.service_account_impersonation_url.as_deref();
        let fields = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("audience", self.audience.as_str()),
            // Another account is asked for its own token below, which takes a scope of its own.
            ("scope", impersonated.map_or(scope, |_| IAM_SCOPE)),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("subject_token", subject.expose_secret().trim()),
            ("subject_token_type", self.subject_token_type.as_str()),
        ];
        let body = issuer::post_form(&url, &fields).await?;
        let exchanged = read_json::<TokenAnswer>(&url, &body)?.drawn(now)?;
        match impersonated {
            None => Ok(exchanged),
            Some(text) => {
                let url = address("service_account_impersonation_url", text)?;
                impersonate(&url, exchanged.grant, scope).await
            }
        }
    }

    async fn subject(&self) -> Result<SecretString, AuthError> {
        let Some(file) = &self.credential_source.file else {
            return Err(AuthError::Setting(
                "the external account's credential_source names no file: tokens from addresses, \
                 programs and other clouds' metadata are not read"
                    .to_owned(),
            ));
        };
        let text = read_file(file).await?;
        let Some(field) = &self.credential_source.format.subject_token_field_name else {
            return Ok(text.into());
        };
        serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|json| Some(SecretString::from(json.get(field)?.as_str()?)))
            .ok_or_else(|| AuthError::File {
                path: file.display().to_string(),
                reason: format!("it is no JSON with a text `{field}`"),
            })
    }
}

const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// `generateAccessToken` of the IAM Service Account Credentials API.
async fn impersonate(
    url: &Url,
    caller: Credential,
    scope: &str,
) -> Result<Drawn<Credential>, AuthError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        access_token: SecretString,
        expire_time: Timestamp,
    }
    let body = json!({"scope": [scope], "lifetime": format!("{}s", LIFE.as_secs())});
    let request = client(url)?
        .post(url.clone())
        .header(caller.header, caller.value)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer: Answer = read_json(url, &issuer::ask(url, request).await?)?;
    Ok(Drawn {
        grant: Credential::bearer(&answer.access_token)?,
        until: Some(answer.expire_time),
    })
}
