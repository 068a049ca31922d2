//! The operator's accounts: those of the configuration, and one for each host whose credential
//! stands in the environment variable that the catalog names.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::backend::Account;
use crate::catalog::{Auth, Catalog, Host};
use crate::id::{AccountName, HostName};
use crate::settings::{self, Settings};

#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error("[[account]] names the host `{0}`, which is in no file of the catalog; known are: {1}")]
    NoSuchHost(HostName, String),
    #[error("the credential of {host} cannot be read from {path}: {source}")]
    Unreadable {
        host: HostName,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("[[account]] of {0} names both key_env and key_file; name one")]
    TwoSources(HostName),
    #[error("two [[account]]s of {0} have the name {1}; give each its own")]
    SameName(HostName, AccountName),
}

/// All accounts, with their credentials read.
///
/// # Errors
/// An account of an unknown host, or a credential that cannot be read.
pub fn accounts(settings: &Settings, catalog: &Catalog) -> Result<Vec<Account>, AccountsError> {
    let mut accounts: Vec<Account> = Vec::new();
    for configured in &settings.account {
        let host = catalog.hosts.get(&configured.host).ok_or_else(|| {
            let known: Vec<&str> = catalog.hosts.keys().map(HostName::as_str).collect();
            AccountsError::NoSuchHost(configured.host.clone(), known.join(", "))
        })?;
        if accounts
            .iter()
            .any(|other| other.host == configured.host && other.name == configured.name)
        {
            return Err(AccountsError::SameName(
                configured.host.clone(),
                configured.name.clone(),
            ));
        }
        accounts.push(Account {
            host: configured.host.clone(),
            name: configured.name.clone(),
            secret: secret(configured, host)?,
            base_url: configured.base_url.clone(),
            regions: configured.regions.clone(),
            confirm: configured.confirm.clone(),
        });
    }
    for host in catalog.hosts.values() {
        if settings
            .account
            .iter()
            .any(|account| account.host == host.name)
        {
            continue;
        }
        if let Some(secret) = environment(variable(host)).filter(|_| !is_own_server(host)) {
            accounts.push(Account {
                host: host.name.clone(),
                name: AccountName::from("default"),
                secret: Some(secret),
                base_url: None,
                regions: Vec::new(),
                confirm: Vec::new(),
            });
        }
    }
    Ok(accounts)
}

fn secret(account: &settings::Account, host: &Host) -> Result<Option<SecretString>, AccountsError> {
    match (&account.key_env, &account.key_file) {
        (Some(_), Some(_)) => Err(AccountsError::TwoSources(host.name.clone())),
        (Some(variable), None) => Ok(environment(variable)),
        (None, Some(path)) => {
            let text =
                std::fs::read_to_string(path).map_err(|source| AccountsError::Unreadable {
                    host: host.name.clone(),
                    path: path.clone(),
                    source,
                })?;
            Ok(Some(SecretString::from(text.trim().to_owned())))
        }
        (None, None) => Ok(environment(variable(host))),
    }
}

/// The environment variable that the catalog names for a host's credential.
fn variable(host: &Host) -> &str {
    match &host.auth {
        Auth::Bearer { env } | Auth::OptionalBearer { env } | Auth::ApiKey { env } => env,
    }
}

/// Own servers need an address, so a key in the environment alone opens nothing.
fn is_own_server(host: &Host) -> bool {
    matches!(host.auth, Auth::OptionalBearer { .. })
}

fn environment(variable: &str) -> Option<SecretString> {
    std::env::var(variable)
        .ok()
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .map(SecretString::from)
}
