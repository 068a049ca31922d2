//! What can be sent to: each host's offers in each region, through each account whose credential
//! is at hand. Built from the catalog and the operator's accounts, anew when either changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use url::Url;

use super::auth::{Access, AuthError, Authority, what_to_set};
use super::breaker::Breaker;
use super::wires;
use crate::catalog::{Catalog, Endpoint, Host, NotFilled, Offer};
use crate::id::{AccountName, BackendName, HostName, ModelName, RegionName, Tag};

/// One place that requests can be sent to: host + account + region + model (and snapshot).
#[derive(Debug)]
pub struct Backend {
    pub name: BackendName,
    pub account: AccountName,
    pub region: RegionName,
    /// Where answers are asked for.
    pub addresses: Addresses,
    /// What opens it.
    pub authority: Arc<Authority>,
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

/// Where a backend is asked, by what for.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub plain: http::Uri,
    pub stream: http::Uri,
    /// To go on from the middle of an answer.
    pub continuation: http::Uri,
    /// For completions of a bare prompt, where this offer has them.
    pub completions: Option<http::Uri>,
}

/// Which of a backend's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    Answers,
    /// Where the host goes on from the middle of an answer.
    Continuation,
    /// Of a bare prompt.
    Completions,
}

impl Addresses {
    pub fn at(&self, address: Address, stream: bool) -> &http::Uri {
        match (address, stream) {
            (Address::Answers, false) => &self.plain,
            (Address::Answers, true) => &self.stream,
            (Address::Continuation, _) => &self.continuation,
            (Address::Completions, _) => self.completions.as_ref().unwrap_or(&self.plain),
        }
    }
}

/// What is remembered of a backend while the gateway runs, through changes of the catalog.
#[derive(Debug, Default)]
pub struct State {
    pub breaker: Breaker,
    in_flight: AtomicU32,
    /// A drawn credential outlives a change of the catalog.
    authority: ArcSwapOption<Authority>,
}

impl State {
    fn authority(&self, anew: Authority) -> Arc<Authority> {
        if let Some(known) = self
            .authority
            .load_full()
            .filter(|known| known.is_same(&anew))
        {
            return known;
        }
        let anew = Arc::new(anew);
        self.authority.store(Some(anew.clone()));
        anew
    }

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
    /// What opens it, or why nothing does.
    pub access: Result<Access, AuthError>,
    /// Names for the blanks in the catalog's addresses.
    pub names: BTreeMap<&'static str, String>,
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
                what_to_set(host)
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

fn open(
    catalog: &Arc<Catalog>,
    host: &Host,
    account: &Account,
    remembered: &impl Fn(&BackendName) -> Arc<State>,
) -> Result<Vec<Arc<Backend>>, String> {
    let told = |error: AuthError| format!("account {}: {error}", account.name);
    let access = account
        .access
        .as_ref()
        .map_err(|error| told(error.clone()))?;
    if host.offers.is_empty() {
        return Err(format!(
            "{} has no model in the catalog; add one to config/deployments",
            host.title
        ));
    }
    let mut opened = Vec::new();
    let mut without_address = None;
    for endpoint in &host.endpoints {
        if !account.regions.is_empty() && !account.regions.contains(&endpoint.region) {
            continue;
        }
        let base = match address(endpoint, account) {
            Ok(base) => base,
            Err(NotFilled::Blank(setting)) => {
                without_address.get_or_insert(setting);
                continue;
            }
            Err(error) => return Err(format!("[[account]] of {}: {error}", host.name)),
        };
        let authority = access.at(&base, endpoint.region.as_str()).map_err(told)?;
        for (index, offer) in host.offers.iter().enumerate() {
            if !offer.regions.is_empty() && !offer.regions.contains(&endpoint.region) {
                continue;
            }
            let name = BackendName::new(format!(
                "{}/{}/{}/{}-{}",
                host.name, account.name, endpoint.region, offer.model, offer.snapshot
            ));
            let state = remembered(&name);
            opened.push(Arc::new(Backend {
                authority: state.authority(authority.clone()),
                state,
                name,
                account: account.name.clone(),
                region: endpoint.region.clone(),
                addresses: addresses(host, endpoint, offer, &base, account.base_url.is_some())?,
                confirmed: account.confirm.clone(),
                catalog: catalog.clone(),
                host: host.name.clone(),
                offer: index,
            }));
        }
    }
    if opened.is_empty() {
        return Err(match without_address.as_deref() {
            Some("base_url") => format!(
                "set base_url in the [[account]] of {}: its address is yours alone",
                host.name
            ),
            Some(setting) => format!(
                "set {setting} in the [[account]] of {}, or base_url: its address is yours alone",
                host.name
            ),
            None => format!(
                "no model of {} is sold in the regions of account {}",
                host.name, account.name
            ),
        });
    }
    Ok(opened)
}

fn address(endpoint: &Endpoint, account: &Account) -> Result<Url, NotFilled> {
    match (&account.base_url, &endpoint.base_url) {
        (Some(own), _) => Ok(own.clone()),
        (None, Some(address)) => address.filled(|blank| account.names.get(blank).cloned()),
        (None, None) => Err(NotFilled::Blank("base_url".to_owned())),
    }
}

/// `own`: the base is the operator's, not the catalog's.
fn addresses(
    host: &Host,
    endpoint: &Endpoint,
    offer: &Offer,
    base: &Url,
    own: bool,
) -> Result<Addresses, String> {
    let model = &offer.id;
    let wrong = |base: &Url| format!("{base} is no address that requests can be sent to");
    let below = |base: &Url, path: &str| -> Result<http::Uri, String> {
        // Joined as text: a path may hold escapes that must stay as they are.
        let mut address = base.clone();
        address.set_query(None);
        let mut text = address.as_str().trim_end_matches('/').to_owned();
        text.push_str(path);
        if let Some(query) = base.query() {
            text.push('?');
            text.push_str(query);
        }
        text.parse().map_err(|_| wrong(base))
    };
    if base.cannot_be_a_base() {
        return Err(wrong(base));
    }
    let plain = below(base, &wires::path(host.wire, model, false))?;
    let continuation = match &host.quirks.prefix_base {
        Some(elsewhere) => {
            let mut elsewhere = elsewhere.clone();
            // Where the operator has set the address, nothing goes to another.
            if own {
                let path = elsewhere.path().to_owned();
                elsewhere = base.clone();
                elsewhere.set_path(&path);
            }
            below(&elsewhere, &wires::path(host.wire, model, true))?
        }
        None => plain.clone(),
    };
    let completions = match &endpoint.completions {
        Some(path) if offer.capabilities.completions => Some(below(base, &format!("/{path}"))?),
        _ => None,
    };
    Ok(Addresses {
        stream: below(base, &wires::path(host.wire, model, true))?,
        plain,
        continuation,
        completions,
    })
}
