//! What can be sent to: each host's offers in each region, through each account whose credential
//! is at hand. Built from the catalog and the operator's accounts, anew when either changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use url::Url;

use super::breaker::Breaker;
use crate::catalog::{Auth, Catalog, Host, Offer};
use crate::id::{AccountName, BackendName, HostName, ModelName, RegionName, Tag};

/// One place that requests can be sent to: host + account + region + model (and snapshot).
#[derive(Debug)]
pub struct Backend {
    pub name: BackendName,
    pub account: AccountName,
    pub region: RegionName,
    /// Where chat completions are asked for.
    pub uri: http::Uri,
    /// Where completions of a bare prompt are, if this offer has them.
    pub completions: Option<http::Uri>,
    pub credential: Option<Credential>,
    /// Certifications that the operator has confirmed for this account.
    pub confirmed: Vec<Tag>,
    pub state: Arc<State>,
    catalog: Arc<Catalog>,
    host: HostName,
    offer: usize,
}

impl Backend {
    pub fn host(&self) -> &Host {
        &self.catalog.hosts[&self.host]
    }

    pub fn offer(&self) -> &Offer {
        &self.host().offers[self.offer]
    }

    pub fn model(&self) -> &ModelName {
        &self.offer().model
    }
}

/// A header that opens one host, and is sent to no other. Never printed.
#[derive(Clone)]
pub struct Credential {
    pub header: HeaderName,
    pub value: HeaderValue,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// What is remembered of a backend while the gateway runs, through changes of the catalog.
#[derive(Debug, Default)]
pub struct State {
    pub breaker: Breaker,
    in_flight: AtomicU32,
}

impl State {
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Takes one of the account's concurrent requests here; `None` if all are taken.
    pub fn occupy(self: &Arc<Self>, limit: Option<u32>) -> Option<Occupied> {
        let before = self.in_flight.fetch_add(1, Relaxed);
        let taken = Occupied(self.clone());
        // Dropping gives the place back.
        limit.is_none_or(|limit| before < limit).then_some(taken)
    }
}

/// One request in flight at a backend.
#[derive(Debug)]
pub struct Occupied(Arc<State>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// An operator's account at a host, with its credential read.
#[derive(Clone, Debug)]
pub struct Account {
    pub host: HostName,
    pub name: AccountName,
    pub secret: Option<secrecy::SecretString>,
    pub base_url: Option<Url>,
    pub regions: Vec<RegionName>,
    pub confirm: Vec<Tag>,
}

/// Why a host cannot be used, or an account not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    pub host: HostName,
    pub reason: String,
}

/// Every backend that the accounts open, in the catalog's order, and why other hosts are closed.
/// `remembered` finds the state of a backend that was there before.
pub fn backends(
    catalog: &Arc<Catalog>,
    accounts: &[Account],
    remembered: impl Fn(&BackendName) -> Arc<State>,
) -> (Vec<Arc<Backend>>, Vec<Unused>) {
    let mut backends = Vec::new();
    let mut unused = Vec::new();
    for host in catalog.hosts.values() {
        let before = backends.len();
        let mut reasons = Vec::new();
        for account in accounts.iter().filter(|account| account.host == host.name) {
            match open(catalog, host, account, &remembered) {
                Ok(opened) => backends.extend(opened),
                Err(reason) => reasons.push(reason),
            }
        }
        if backends.len() == before {
            let reason = if reasons.is_empty() {
                closed(host)
            } else {
                reasons.join("; ")
            };
            unused.push(Unused {
                host: host.name.clone(),
                reason,
            });
        }
    }
    (backends, unused)
}

fn closed(host: &Host) -> String {
    match &host.auth {
        Auth::Bearer { env } | Auth::ApiKey { env } => {
            format!("set {env} to your key at {}", host.title)
        }
        Auth::OptionalBearer { .. } => format!(
            "add an [[account]] with host = \"{}\" and the base_url of your server",
            host.name
        ),
    }
}

fn open(
    catalog: &Arc<Catalog>,
    host: &Host,
    account: &Account,
    remembered: &impl Fn(&BackendName) -> Arc<State>,
) -> Result<Vec<Arc<Backend>>, String> {
    let credential = credential(host, account)?;
    if host.offers.is_empty() {
        return Err(format!(
            "{} has no model in the catalog; add one to config/deployments",
            host.title
        ));
    }
    let mut opened = Vec::new();
    let mut without_address = false;
    for endpoint in &host.endpoints {
        if !account.regions.is_empty() && !account.regions.contains(&endpoint.region) {
            continue;
        }
        let Some(base) = account.base_url.as_ref().or(endpoint.base_url.as_ref()) else {
            without_address = true;
            continue;
        };
        let uri = uri(base, ["chat", "completions"])?;
        let completions = match &endpoint.completions {
            Some(path) => Some(self::uri(base, path.split('/'))?),
            None => None,
        };
        for (index, offer) in host.offers.iter().enumerate() {
            if !offer.regions.is_empty() && !offer.regions.contains(&endpoint.region) {
                continue;
            }
            let name = BackendName::new(format!(
                "{}/{}/{}/{}-{}",
                host.name, account.name, endpoint.region, offer.model, offer.snapshot
            ));
            opened.push(Arc::new(Backend {
                state: remembered(&name),
                name,
                account: account.name.clone(),
                region: endpoint.region.clone(),
                uri: uri.clone(),
                completions: completions
                    .clone()
                    .filter(|_| offer.capabilities.completions),
                credential: credential.clone(),
                confirmed: account.confirm.clone(),
                catalog: catalog.clone(),
                host: host.name.clone(),
                offer: index,
            }));
        }
    }
    if opened.is_empty() {
        return Err(if without_address {
            format!(
                "set base_url in the [[account]] of {}: its address is yours alone",
                host.name
            )
        } else {
            format!(
                "no model of {} is sold in the regions of account {}",
                host.name, account.name
            )
        });
    }
    Ok(opened)
}

fn credential(host: &Host, account: &Account) -> Result<Option<Credential>, String> {
    use secrecy::ExposeSecret;
    let unusable = |_| {
        format!(
            "the credential of account {} is not usable in a header",
            account.name
        )
    };
    let sensitive = |header: HeaderName, text: String| {
        let mut value = HeaderValue::try_from(text).map_err(unusable)?;
        value.set_sensitive(true);
        Ok(Some(Credential { header, value }))
    };
    match (&host.auth, &account.secret) {
        (Auth::OptionalBearer { .. }, None) => Ok(None),
        (Auth::Bearer { env } | Auth::ApiKey { env }, None) => Err(format!("{env} is not set")),
        (Auth::Bearer { .. } | Auth::OptionalBearer { .. }, Some(secret)) => {
            sensitive(AUTHORIZATION, format!("Bearer {}", secret.expose_secret()))
        }
        (Auth::ApiKey { .. }, Some(secret)) => sensitive(
            HeaderName::from_static("api-key"),
            secret.expose_secret().to_owned(),
        ),
    }
}

fn uri<'a>(base: &Url, path: impl IntoIterator<Item = &'a str>) -> Result<http::Uri, String> {
    let wrong = || format!("{base} is no address that requests can be sent to");
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| wrong())?
        .pop_if_empty()
        .extend(path);
    url.as_str().parse().map_err(|_| wrong())
}
