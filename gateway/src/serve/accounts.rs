//! The operator's accounts: those of the configuration, and one for each host whose credential is
//! found in the environment.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::backend::{Account, AuthError, auth};
use crate::catalog::{AuthKind, Catalog};
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

/// All accounts, with their credentials found.
///
/// # Errors
/// An account of an unknown host, or a credential that cannot be read.
pub fn accounts(settings: &Settings, catalog: &Catalog) -> Result<Vec<Account>, AccountsError> {
    accounts_of(settings, catalog, &|variable| std::env::var(variable).ok())
}

fn accounts_of(
    settings: &Settings,
    catalog: &Catalog,
    environment: &auth::Environment<'_>,
) -> Result<Vec<Account>, AccountsError> {
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
        let key = own_key(configured, environment)?;
        let found = auth::find(host, configured, key, environment);
        // The account is there by the operator's word: what is missing is told.
        let found = found
            .and_then(|found| found.ok_or_else(|| AuthError::Setting(auth::what_to_set(host))));
        accounts.push(account(configured, found));
    }
    for host in catalog.hosts.values() {
        let is_configured = settings
            .account
            .iter()
            .any(|account| account.host == host.name);
        // Own servers need an address, so a key in the environment alone opens nothing.
        if is_configured || host.auth.kind == AuthKind::OptionalBearer {
            continue;
        }
        let unsaid = settings::Account::at(host.name.clone());
        let found = auth::find(host, &unsaid, None, environment);
        if let Some(found) = found.transpose() {
            accounts.push(account(&unsaid, found));
        }
    }
    Ok(accounts)
}

fn account(configured: &settings::Account, found: Result<auth::Found, AuthError>) -> Account {
    let (access, names) = match found {
        Ok(found) => (Ok(found.access), found.names),
        Err(error) => (Err(error), std::collections::BTreeMap::new()),
    };
    Account {
        host: configured.host.clone(),
        name: configured.name.clone(),
        access,
        names,
        base_url: configured.base_url.clone(),
        regions: configured.regions.clone(),
        confirm: configured.confirm.clone(),
    }
}

/// What the account's own variable or file holds.
fn own_key(
    account: &settings::Account,
    environment: &auth::Environment<'_>,
) -> Result<Option<SecretString>, AccountsError> {
    let text = match (&account.key_env, &account.key_file) {
        (Some(_), Some(_)) => return Err(AccountsError::TwoSources(account.host.clone())),
        (Some(variable), None) => environment(variable),
        (None, Some(path)) => {
            Some(
                std::fs::read_to_string(path).map_err(|source| AccountsError::Unreadable {
                    host: account.host.clone(),
                    path: path.clone(),
                    source,
                })?,
            )
        }
        (None, None) => None,
    };
    Ok(text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .map(SecretString::from))
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
