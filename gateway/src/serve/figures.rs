//! The dashboard's figures from the real rooms: the store, the catalog and the keys.

use std::sync::Arc;

use crate::access::{Find, Keys, Principal};
use crate::catalog::{Catalog, Offer};
use crate::chat::Usage;
use crate::edge::dashboard::{
    Answer, Dimension, EntryInFull, Figures, FiguresError, NextChange, Span, Spend, Status,
    WindowNow, WindowPrice,
};
use crate::id::{EntryId, KeyId, OrganisationName};
use crate::ledger::store::{Dim, SpendQuery};
use crate::ledger::{Entry, Payer, Store, StoreError};
use crate::pricing::{self, Window};
use crate::stack::Rooms;
use crate::time::Timestamp;

/// How many entries are looked through for those of one organisation.
const LOOKED_THROUGH: u32 = 2_000;

pub(super) struct LiveFigures {
    pub(super) rooms: Arc<Rooms>,
    pub(super) store: Store,
    pub(super) keys: Keys,
}

fn unanswered(error: StoreError) -> FiguresError {
    FiguresError::Store(error.to_string())
}

impl Figures for LiveFigures {
    fn spend<'a>(
        &'a self,
        organisation: &'a OrganisationName,
        span: Span,
        by: &'a [Dimension],
    ) -> Answer<'a, Vec<Spend>> {
        Box::pin(async move {
            let dims = by.iter().map(|dimension| match dimension {
                Dimension::Day => Dim::Day,
                Dimension::Host => Dim::Host,
                Dimension::Team => Dim::Team,
            });
            let query = SpendQuery {
                from: span.from,
                to: span.until,
                by: std::iter::once(Dim::Organisation).chain(dims).collect(),
            };
            let rows = self.store.spend(&query).await.map_err(unanswered)?;
            let own = rows
                .into_iter()
                .filter(|row| row.key[0] == organisation.as_str());
            Ok(own
                .map(|row| Spend {
                    key: row.key[1..].to_vec(),
                    requests: row.requests,
                    attempts: row.attempts,
                    usage: Usage { ..row.usage },
                    cost: row.cost,
                    list: row.list,
                    spread: row.spread,
                    unpriced: row.unpriced,
                })
                .collect())
        })
    }

    fn recent<'a>(
        &'a self,
        organisation: &'a OrganisationName,
        limit: u32,
    ) -> Answer<'a, Vec<Entry>> {
        Box::pin(async move {
            let entries = self
                .store
                .recent(LOOKED_THROUGH.min(limit * 20), None)
                .await
                .map_err(unanswered)?;
            let own = entries
                .into_iter()
                .filter(|entry| entry.payer.organisation == *organisation);
            Ok(own.take(limit as usize).collect())
        })
    }

    fn entry<'a>(
        &'a self,
        organisation: &'a OrganisationName,
        id: EntryId,
    ) -> Answer<'a, Option<EntryInFull>> {
        Box::pin(async move {
            let found = self.store.entry(id).await.map_err(unanswered)?;
            let Some(entry) = found.filter(|entry| entry.payer.organisation == *organisation)
            else {
                return Ok(None);
            };
            let price = self.charged_by(&entry).await?;
            Ok(Some(EntryInFull { entry, price }))
        })
    }

    fn windows_now(&self, now: Timestamp) -> Vec<WindowNow> {
        let sites = self.rooms.sites.load();
        let mut windows = Vec::new();
        for host in sites.catalog.hosts.values() {
            let mut models = Vec::new();
            let priced_first = {
                let mut offers: Vec<&Offer> = host
                    .offers
                    .iter()
                    .filter(|offer| offer.served_at(now))
                    .collect();
                offers.sort_by_key(|offer| offer.tariffs.is_empty());
                offers
            };
            for offer in priced_first {
                if models.contains(&&offer.model) {
                    continue;
                }
                models.push(&offer.model);
                let window = pricing::window(offer, now, now);
                windows.push(WindowNow {
                    host: host.name.clone(),
                    title: host.title.clone(),
                    model: offer.model.clone(),
                    next: window.as_ref().and_then(|window| next(offer, window)),
                    price: window.map(|window| price(offer, &window)),
                });
            }
        }
        windows
    }

    fn status(&self) -> Answer<'_, Status> {
        Box::pin(async move {
            let now = self.rooms.clock.now();
            let status = self.rooms.ledger.status();
            Ok(Status {
                as_of: status
                    .oldest_unshipped
                    .map_or(now, |oldest| oldest.min(now)),
                in_spool: status.unshipped,
            })
        })
    }

    fn sign_in<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Principal>> {
        Box::pin(async move {
            Ok(
                match self
                    .rooms
                    .directory
                    .look_up(key, self.rooms.clock.now())
                    .await
                {
                    Find::Found(caller) => Some((*caller.principal).clone()),
                    _ => None,
                },
            )
        })
    }

    fn holder(&self, key: KeyId) -> Answer<'_, Option<Principal>> {
        Box::pin(async move {
            let now = self.rooms.clock.now();
            let keys = self
                .keys
                .list()
                .await
                .map_err(|error| FiguresError::Store(error.to_string()))?;
            let row = keys.into_iter().find(|row| row.id == key);
            Ok(row
                .filter(|row| {
                    row.revoked.is_none_or(|at| at > now) && row.expires.is_none_or(|at| at > now)
                })
                .map(|row| Principal {
                    payer: Payer {
                        organisation: row.organisation,
                        team: row.team,
                        project: row.project,
                        key: row.id,
                    },
                    role: row.role,
                    tags: row.tags,
                    budget: row.budget,
                    expires: row.expires,
                }))
        })
    }
}

impl LiveFigures {
    /// The price that an entry was charged by, from the catalog version that it names.
    async fn charged_by(&self, entry: &Entry) -> Result<Option<WindowPrice>, FiguresError> {
        if entry.window.is_none() {
            return Ok(None);
        }
        let current = self.rooms.sites.load().catalog.clone();
        let catalog = if current.version == entry.catalog {
            current
        } else {
            let files = self
                .store
                .catalog(&entry.catalog)
                .await
                .map_err(unanswered)?;
            match files.map(Catalog::from_files) {
                Some(Ok(catalog)) => Arc::new(catalog),
                _ => return Ok(None),
            }
        };
        let host = catalog.hosts.get(&entry.place.host);
        let offer = host.and_then(|host| {
            host.offers.iter().find(|offer| {
                offer.model == entry.place.model && offer.id == entry.place.host_model
            })
        });
        Ok(offer.and_then(|offer| {
            let window = pricing::window(offer, entry.billed, entry.billed)?;
            Some(price(offer, &window))
        }))
    }
}

fn price(offer: &Offer, window: &Window) -> WindowPrice {
    WindowPrice {
        window: window.id.clone(),
        band: window.band.clone(),
        rates: window.rates,
        provisional: window.provisional,
        source: offer.source.clone(),
    }
}

fn next(offer: &Offer, window: &Window) -> Option<NextChange> {
    let at = window.until?;
    let after = pricing::window(offer, at, at);
    Some(NextChange {
        at,
        band: after
            .as_ref()
            .map_or_else(|| "none known".into(), |after| after.band.clone()),
        rates: after.map(|after| after.rates),
    })
}
