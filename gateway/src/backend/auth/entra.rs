//! OAuth tokens of Microsoft Entra: for an application with a secret or a federated token (client
//! credentials, RFC 6749 section 4.4), or for the machine's managed identity.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::issuer::{self, TokenAnswer, address, client, read_file, read_json, shown};
use super::token::{Drawn, Source};
use super::{AuthError, Credential, Environment, text};
use crate::settings::Account;
use crate::time::Timestamp;

const AUTHORITY: &str = "https://login.microsoftonline.com";
const METADATA: &str = "http://169.254.169.254";
/// RFC 7523, section 2.2.
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Where Entra's tokens come from.
pub(super) struct EntraSource {
    from: From,
    scope: Arc<str>,
}

enum From {
    Application {
        tokens: Url,
        client: String,
        proof: Proof,
    },
    /// What App Service, Functions and Container Apps put beside the program.
    Service {
        url: Url,
        header: SecretString,
        client: Option<String>,
    },
    Metadata {
        base: Url,
        client: Option<String>,
    },
}

enum Proof {
    Secret(SecretString),
    /// Read anew at each drawing, as a cluster replaces it.
    File(PathBuf),
}

impl EntraSource {
    /// The first source that is set up, found without asking anybody over the network. `secret` is
    /// the application's, where the account names one.
    ///
    /// # Errors
    /// An address that no secret may be sent to.
    pub(super) fn find(
        scope: &Arc<str>,
        account: &Account,
        secret: Option<SecretString>,
        environment: &Environment<'_>,
    ) -> Result<Option<Self>, AuthError> {
        let client = client_id(account, environment);
        let tenant = (account.tenant_id.clone()).or_else(|| text(environment, "AZURE_TENANT_ID"));
        let secret = secret.or_else(|| text(environment, "AZURE_CLIENT_SECRET").map(Into::into));
        let file = text(environment, "AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from);
        let proof = secret.map(Proof::Secret).or(file.map(Proof::File));
        if let (Some(tenant), Some(client), Some(proof)) = (tenant, client.clone(), proof) {
            let tokens = token_address(&tenant, environment)?;
            let from = From::Application {
                tokens,
                client,
                proof,
            };
            return Ok(Some(Self::of(from, scope)));
        }
        if let (Some(url), Some(header)) = (
            text(environment, "IDENTITY_ENDPOINT"),
            text(environment, "IDENTITY_HEADER"),
        ) {
            let url = address("IDENTITY_ENDPOINT", &url)?;
            let header = header.into();
            return Ok(Some(Self::of(
                From::Service {
                    url,
                    header,
                    client,
                },
                scope,
            )));
        }
        Ok(None)
    }

    pub(super) fn metadata(
        scope: &Arc<str>,
        account: &Account,
        environment: &Environment<'_>,
    ) -> Result<Self, AuthError> {
        let base = text(environment, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let base = address(
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            base.as_deref().unwrap_or(METADATA),
        )?;
        let client = client_id(account, environment);
        Ok(Self::of(From::Metadata { base, client }, scope))
    }

    fn of(from: From, scope: &Arc<str>) -> Self {
        EntraSource {
            from,
            scope: scope.clone(),
        }
    }

    /// The older endpoints take the resource that a scope belongs to.
    fn resource(&self) -> &str {
        self.scope.strip_suffix("/.default").unwrap_or(&self.scope)
    }
}

fn client_id(account: &Account, environment: &Environment<'_>) -> Option<String> {
    (account.client_id.clone()).or_else(|| text(environment, "AZURE_CLIENT_ID"))
}

fn token_address(tenant: &str, environment: &Environment<'_>) -> Result<Url, AuthError> {
    let host = text(environment, "AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
    // Written with and without its scheme.
    let host = if host.contains("://") {
        host
    } else {
        format!("https://{host}")
    };
    let mut url = address("AZURE_AUTHORITY_HOST", &host)?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty()
            .extend([tenant, "oauth2", "v2.0", "token"]);
    }
    Ok(url)
}

impl Source for EntraSource {
    type Grant = Credential;

    fn name(&self) -> String {
        match &self.from {
            From::Application {
                tokens,
                client,
                proof,
            } => {
                let proof = match proof {
                    Proof::Secret(_) => "its secret",
                    Proof::File(_) => "a federated token",
                };
                format!("Entra application {client} with {proof}, {}", shown(tokens))
            }
            From::Service { url, client, .. } => {
                format!("the managed identity{} of {}", of(client), shown(url))
            }
            From::Metadata { base, client } => {
                format!("the managed identity{} of {}", of(client), shown(base))
            }
        }
    }

    async fn draw(&self, now: Timestamp) -> Result<Drawn<Credential>, AuthError> {
        let (url, body) = match &self.from {
            From::Application {
                tokens,
                client,
                proof,
            } => (
                tokens.clone(),
                self.for_application(tokens, client, proof).await?,
            ),
            From::Service {
                url,
                header,
                client: id,
            } => {
                let url = self.identity(url, "2019-08-01", id.as_deref());
                let request = client(&url)?
                    .get(url.clone())
                    .header("metadata", "true")
                    .header("x-identity-header", header.expose_secret());
                let body = issuer::ask(&url, request).await?;
                (url, body)
            }
            From::Metadata { base, client: id } => {
                let mut url = base.clone();
                url.set_path("/metadata/identity/oauth2/token");
                let url = self.identity(&url, "2018-02-01", id.as_deref());
                let request = client(&url)?.get(url.clone()).header("metadata", "true");
                let body = issuer::ask(&url, request).await?;
                (url, body)
            }
        };
        read_json::<TokenAnswer>(&url, &body)?.drawn(now)
    }
}

impl EntraSource {
    async fn for_application(
        &self,
        tokens: &Url,
        client: &str,
        proof: &Proof,
    ) -> Result<Vec<u8>, AuthError> {
        let common = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", &self.scope),
        ];
        match proof {
            Proof::Secret(secret) => {
                let secret = [("client_secret", secret.expose_secret())];
                issuer::post_form(tokens, &[&common[..], &secret].concat()).await
            }
            Proof::File(file) => {
                let token = SecretString::from(read_file(file).await?);
                let assertion = [
                    ("client_assertion_type", ASSERTION),
                    ("client_assertion", token.expose_secret().trim()),
                ];
                issuer::post_form(tokens, &[&common[..], &assertion].concat()).await
            }
        }
    }

    fn identity(&self, url: &Url, version: &str, client: Option<&str>) -> Url {
        let mut url = url.clone();
        url.query_pairs_mut()
            .append_pair("api-version", version)
            .append_pair("resource", self.resource());
        if let Some(client) = client {
            url.query_pairs_mut().append_pair("client_id", client);
        }
        url
    }
}

/// Which of several identities.
fn of(client: &Option<String>) -> String {
    client
        .as_ref()
        .map(|id| format!(" {id}"))
        .unwrap_or_default()
}
