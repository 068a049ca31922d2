//! Which credential opens an account: the key that it names, the key in the catalog's environment
//! variable, or an identity at a cloud. Looks at variables and files alone; nobody is asked over
//! the network, and a metadata server is used only where the account says so.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::sigv4::Scope;
use super::token::Kept;
use super::{
    AccessKeys, AuthError, Authority, AwsSource, Credential, EntraSource, GoogleSource,
    TokenSource, Tokens, issuer,
};
use crate::catalog::{AuthKind, Host, Identity};
use crate::settings::{Account, Credentials};

/// The environment variables; a closure, so that tests have their own.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A variable that is set to something.
pub(super) fn text(environment: &Environment<'_>, variable: &str) -> Option<String> {
    environment(variable)
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

/// What opens an account in all its regions.
#[derive(Clone)]
pub enum Access {
    Open,
    Fixed(Credential),
    Tokens(Tokens),
    Aws {
        keys: AccessKeys,
        signing_name: std::sync::Arc<str>,
    },
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Access::Open => "Open",
            Access::Fixed(_) => "Fixed(..)",
            Access::Tokens(_) => "Tokens(..)",
            Access::Aws { .. } => "Aws(..)",
        })
    }
}

/// What was found for an account.
#[derive(Clone, Debug)]
pub struct Found {
    pub access: Access,
    /// Names for the blanks in the catalog's addresses.
    pub names: BTreeMap<&'static str, String>,
}

/// The credential of an account at a host. `key` is what the account's own `key_env` or `key_file`
/// holds. `None`: nothing is set up.
///
/// # Errors
/// What is set up wrongly.
pub fn find(
    host: &Host,
    account: &Account,
    key: Option<SecretString>,
    environment: &Environment<'_>,
) -> Result<Option<Found>, AuthError> {
    let mut project = None;
    let Some(access) = access(host, account, key, environment, &mut project)? else {
        return Ok(None);
    };
    let mut names = BTreeMap::new();
    let is_google = matches!(host.auth.identity, Some(Identity::Google { .. }));
    let or_variable = |name: Option<String>, variable| {
        name.or_else(|| text(environment, variable).filter(|_| is_google))
    };
    let all = [
        (
            "project",
            or_variable(account.project.clone(), "GOOGLE_CLOUD_PROJECT").or(project),
        ),
        (
            "location",
            or_variable(account.location.clone(), "GOOGLE_CLOUD_LOCATION"),
        ),
        ("resource", account.resource.clone()),
    ];
    for (blank, name) in all {
        if let Some(name) = name {
            names.insert(blank, name);
        }
    }
    Ok(Some(Found { access, names }))
}

fn access(
    host: &Host,
    account: &Account,
    key: Option<SecretString>,
    environment: &Environment<'_>,
    project: &mut Option<String>,
) -> Result<Option<Access>, AuthError> {
    if account.credentials == Some(Credentials::Metadata) {
        return metadata(host, account, environment).map(Some);
    }
    let identity = host.auth.identity.as_ref();
    // What the account itself names goes first, whatever the environment holds.
    let names_identity = match identity {
        Some(Identity::Aws { .. }) => account.profile.is_some(),
        Some(Identity::Entra { .. }) => account.client_id.is_some() || account.tenant_id.is_some(),
        _ => false,
    };
    if let (Some(Identity::Google { scope }), Some(file), Some(key)) =
        (identity, &account.key_file, &key)
        && key.expose_secret().starts_with('{')
    {
        let source = GoogleSource::file(file.clone(), &own_scope(account, scope));
        *project = source.project();
        return Ok(Some(tokens(TokenSource::Google(source))));
    }
    if !names_identity {
        if let Some(key) = key.or_else(|| named_key(host, account, environment)) {
            return fixed(host.auth.kind, &key).map(Some);
        }
        if let Some(variable) = &account.key_env {
            return Err(AuthError::Setting(format!("{variable} is not set")));
        }
        return drawn(host, account, None, environment, project);
    }
    match drawn(host, account, key, environment, project)? {
        Some(access) => Ok(Some(access)),
        None => Err(AuthError::Setting(format!(
            "the [[account]] of {} names an application but not all of tenant_id, client_id and its \
             secret (key_env, key_file or AZURE_CLIENT_SECRET; or AZURE_FEDERATED_TOKEN_FILE)",
            host.name
        ))),
    }
}

/// The key in the catalog's variable, for accounts that name no other.
fn named_key(
    host: &Host,
    account: &Account,
    environment: &Environment<'_>,
) -> Option<SecretString> {
    if account.key_env.is_some() || account.key_file.is_some() {
        return None;
    }
    text(environment, &host.auth.env).map(SecretString::from)
}

fn fixed(kind: AuthKind, key: &SecretString) -> Result<Access, AuthError> {
    Ok(Access::Fixed(match kind {
        AuthKind::Bearer | AuthKind::OptionalBearer => Credential::bearer(key)?,
        AuthKind::ApiKey => Credential::api_key(key)?,
    }))
}

/// A credential drawn from an identity that files and variables tell of.
fn drawn(
    host: &Host,
    account: &Account,
    secret: Option<SecretString>,
    environment: &Environment<'_>,
    project: &mut Option<String>,
) -> Result<Option<Access>, AuthError> {
    Ok(match &host.auth.identity {
        None if host.auth.kind == AuthKind::OptionalBearer => Some(Access::Open),
        None => None,
        Some(Identity::Aws { signing_name }) => {
            let source = AwsSource::find(account.profile.as_deref(), environment)?;
            source.map(|source| signed(source, account, signing_name))
        }
        Some(Identity::Google { scope }) => {
            let source = GoogleSource::find(&own_scope(account, scope), environment);
            *project = source.as_ref().and_then(GoogleSource::project);
            source.map(|source| tokens(TokenSource::Google(source)))
        }
        Some(Identity::Entra { scope }) => {
            let scope = own_scope(account, scope);
            let source = EntraSource::find(&scope, account, secret, environment)?;
            source.map(|source| tokens(TokenSource::Entra(source)))
        }
    })
}

fn metadata(
    host: &Host,
    account: &Account,
    environment: &Environment<'_>,
) -> Result<Access, AuthError> {
    match &host.auth.identity {
        Some(Identity::Aws { signing_name }) => Ok(signed(
            AwsSource::instance(environment)?,
            account,
            signing_name,
        )),
        Some(Identity::Google { scope }) => {
            let scope = own_scope(account, scope);
            let source = GoogleSource::metadata(&scope, environment)?;
            Ok(tokens(TokenSource::Google(source)))
        }
        Some(Identity::Entra { scope }) => {
            let scope = own_scope(account, scope);
            let source = EntraSource::metadata(&scope, account, environment)?;
            Ok(tokens(TokenSource::Entra(source)))
        }
        None => Err(AuthError::Setting(format!(
            "{} takes a key: the [[account]] cannot have credentials = \"metadata\"",
            host.title
        ))),
    }
}

fn own_scope(account: &Account, scope: &std::sync::Arc<str>) -> std::sync::Arc<str> {
    (account.scope.as_deref()).map_or_else(|| scope.clone(), Into::into)
}

fn tokens(source: TokenSource) -> Access {
    Access::Tokens(Tokens(Kept::new(source)))
}

fn signed(source: AwsSource, account: &Account, signing_name: &std::sync::Arc<str>) -> Access {
    Access::Aws {
        keys: AccessKeys(Kept::new(source)),
        signing_name: (account.signing_name.as_deref())
            .map_or_else(|| signing_name.clone(), Into::into),
    }
}

impl Access {
    /// What opens this account at an address in a region.
    ///
    /// # Errors
    /// When a drawn credential would be sent in the clear.
    pub fn at(&self, base: &Url, region: &str) -> Result<Authority, AuthError> {
        Ok(match self {
            Access::Open => Authority::Open,
            Access::Fixed(credential) => Authority::Fixed(credential.clone()),
            Access::Tokens(tokens) => {
                issuer::guard(base)?;
                Authority::Tokens(tokens.clone())
            }
            Access::Aws { keys, signing_name } => {
                let scope = Scope {
                    region: signing_region(base, region).into(),
                    service: signing_name.clone(),
                };
                Authority::Signed(keys.clone(), scope)
            }
        })
    }
}

/// AWS's region, from its host names (`service.region.amazonaws.com`, `service.region.api.aws`);
/// elsewhere (private endpoints, emulators) the catalog's.
fn signing_region<'a>(base: &'a Url, region: &'a str) -> &'a str {
    let labels: Vec<&str> = base.host_str().unwrap_or_default().split('.').collect();
    match labels[..] {
        [_, region, "amazonaws", "com"]
        | [_, region, "amazonaws", "com", "cn"]
        | [_, region, "api", "aws"] => region,
        _ => region,
    }
}

/// What to set so that a host can be used, in words for the operator.
pub fn what_to_set(host: &Host) -> String {
    let key = format!("set {} to your key at {}", host.auth.env, host.title);
    match &host.auth.identity {
        None if host.auth.kind == AuthKind::OptionalBearer => format!(
            "add an [[account]] with host = \"{}\" and the base_url of your server",
            host.name
        ),
        None => key,
        Some(Identity::Aws { .. }) => format!(
            "{key}; or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_PROFILE, a web identity and a \
             container's role are found too); or add an [[account]] with host = \"{}\" and \
             credentials = \"metadata\" for this machine's role",
            host.name
        ),
        Some(Identity::Google { .. }) => format!(
            "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account (what `gcloud auth \
             application-default login` leaves is found too); or {} to a token; or add an [[account]] \
             with host = \"{}\" and credentials = \"metadata\" for this machine's identity",
            host.auth.env, host.name
        ),
        Some(Identity::Entra { .. }) => format!(
            "{key}; or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or \
             AZURE_FEDERATED_TOKEN_FILE) of an application; or add an [[account]] with host = \"{}\" \
             and credentials = \"metadata\" for this machine's managed identity",
            host.name
        ),
    }
}
