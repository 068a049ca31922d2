//! Every backend with what the line remembers of it: its price window now, what its answers have
//! been like, its counters. Built anew when the catalog changes; memories are carried over.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::observed::{Metrics, SiteCounters};
use crate::backend::{self, Account, Backend, Unused};
use crate::catalog::{Asked, Catalog};
use crate::id::{BackendName, ModelName};
use crate::ledger::Place;
use crate::pricing::{self, Window};
use crate::routing::{Health, PlaceEstimates, Workload};
use crate::time::Timestamp;

/// One backend, as the line sees it.
pub struct Site {
    pub backend: Arc<Backend>,
    pub place: Place,
    pub estimates: Arc<PlaceEstimates>,
    pub counters: Arc<SiteCounters>,
    /// The window last asked for; most requests fall into the same one.
    window: ArcSwapOption<Window>,
}

impl Site {
    /// The price window at an instant, by the book as it is now.
    pub fn window(&self, at: Timestamp) -> Option<Arc<Window>> {
        let kept = self.window.load();
        if let Some(window) = kept.as_ref()
            && window.from <= at
            && window.until.is_none_or(|until| at < until)
        {
            return Some(window.clone());
        }
        let window = Arc::new(pricing::window(self.backend.offer(), at, at)?);
        self.window.store(Some(window.clone()));
        Some(window)
    }

    pub fn health(&self, now: Timestamp) -> Health {
        let state = &self.backend.state;
        if let Some(until) = state.breaker.resting(now) {
            return Health::Resting(until);
        }
        match self.backend.offer().concurrency {
            Some(limit) if state.in_flight() >= limit => Health::Full,
            _ => Health::Up,
        }
    }
}

/// All sites of one catalog version.
pub struct Sites {
    pub catalog: Arc<Catalog>,
    pub all: Vec<Site>,
    /// Hosts that cannot be used, and what to do about it.
    pub unused: Vec<Unused>,
    by_model: HashMap<ModelName, Vec<usize>>,
    workloads: HashMap<ModelName, Arc<Workload>>,
}

impl std::fmt::Debug for Sites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sites")
            .field("catalog", &self.catalog.version)
            .field("all", &self.all.len())
            .finish_non_exhaustive()
    }
}

impl Sites {
    pub fn build(
        catalog: Arc<Catalog>,
        accounts: &[Account],
        before: Option<&Sites>,
        metrics: &Metrics,
    ) -> Sites {
        let known: HashMap<&BackendName, &Site> = before
            .map(|sites| {
                sites
                    .all
                    .iter()
                    .map(|site| (&site.backend.name, site))
                    .collect()
            })
            .unwrap_or_default();
        let (backends, unused) = backend::backends(&catalog, accounts, |name| {
            known
                .get(name)
                .map(|site| site.backend.state.clone())
                .unwrap_or_default()
        });
        let mut by_model: HashMap<ModelName, Vec<usize>> = HashMap::new();
        let mut workloads = HashMap::new();
        let mut all = Vec::with_capacity(backends.len());
        for backend in backends {
            let model = backend.model().clone();
            by_model.entry(model.clone()).or_default().push(all.len());
            workloads.entry(model.clone()).or_insert_with(|| {
                before
                    .and_then(|sites| sites.workloads.get(&model).cloned())
                    .unwrap_or_default()
            });
            let old = known.get(&backend.name);
            all.push(Site {
                place: Place {
                    host: backend.host().name.clone(),
                    account: backend.account.clone(),
                    region: backend.region.clone(),
                    model,
                    host_model: backend.offer().id.clone(),
                },
                estimates: old.map(|site| site.estimates.clone()).unwrap_or_default(),
                counters: match old {
                    Some(site) => site.counters.clone(),
                    None => Arc::new(metrics.site(&backend.host().name, backend.model())),
                },
                window: ArcSwapOption::empty(),
                backend,
            });
        }
        Sites {
            catalog,
            all,
            unused,
            by_model,
            workloads,
        }
    }

    /// The sites that serve what was asked, at this instant: of each host, account and region the
    /// newest release, unless one was named.
    pub fn serving(&self, asked: &Asked, at: Timestamp) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        for &index in self.by_model.get(&asked.model).into_iter().flatten() {
            let site = &self.all[index];
            let offer = site.backend.offer();
            let wanted = offer.is_of(&asked.model, asked.snapshot.as_deref())
                && offer.served_at(at)
                && asked
                    .host
                    .as_ref()
                    .is_none_or(|host| *host == site.place.host);
            let same = |&other: &usize| {
                let other = &self.all[other].place;
                other.host == site.place.host
                    && other.account == site.place.account
                    && other.region == site.place.region
            };
            if !wanted {
                continue;
            }
            match found.iter().position(same) {
                None => found.push(index),
                // An offer whose price is unknown makes way for one that the operator has priced.
                Some(at) if self.all[found[at]].backend.offer().tariffs.is_empty() => {
                    found[at] = index
                }
                Some(_) => {}
            }
        }
        found
    }

    /// What requests for this model have been like.
    pub fn workload(&self, model: &ModelName) -> Arc<Workload> {
        self.workloads.get(model).cloned().unwrap_or_default()
    }

    /// Models that at least one site serves now, in order.
    pub fn models(&self, at: Timestamp) -> Vec<&ModelName> {
        let mut models: Vec<&ModelName> = self
            .by_model
            .iter()
            .filter(|(_, sites)| {
                sites
                    .iter()
                    .any(|&index| self.all[index].backend.offer().served_at(at))
            })
            .map(|(model, _)| model)
            .collect();
        models.sort();
        models
    }
}
