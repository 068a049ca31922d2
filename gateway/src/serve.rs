//! The whole house, running: reads what is configured, builds every room, composes the line and
//! serves until told to stop, then lets every request end and the ledger reach its database.

mod accounts;
mod figures;
mod patience;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tower::retry::budget::TpsBudget;
use tracing::{error, info, warn};

use crate::access::{AccessError, Directory, Keys, Minted, NewKey, Pepper, Role, Tenants};
use crate::backend::{Account, NoTls, Transport, Unused};
use crate::catalog::{Catalog, CatalogError, Watch};
use crate::edge::batches::{FromWithin, Pace, Runner};
use crate::edge::dashboard::{self, DashboardRooms, DashboardSettings};
use crate::edge::{self, Desk, Edge};
use crate::history::{Batches, Files, History, purge_hourly};
use crate::id::{OrganisationName, ProjectName, TeamName};
use crate::ledger::budget::{FromStore, LocalBudgets};
use crate::ledger::{self, Ledger, LedgerError, Store, StoreError};
use crate::settings::{Durability, Settings};
use crate::stack::{Admission, Answered, Metrics, Rooms, Sites};
use crate::time::Clock;

pub use accounts::{AccountsError, accounts};

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{address} cannot be listened on: {source}; free it, or name another with --listen")]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("{path} cannot be made: {source}")]
    Data {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Tls(#[from] NoTls),
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// A running gateway.
pub struct House {
    pub address: SocketAddr,
    pub rooms: Arc<Rooms>,
    pub store: Store,
    pub keys: Keys,
    /// The key of the first start, shown once.
    pub first_key: Option<Minted>,
    listener: TcpListener,
    watch: Arc<Watch>,
    settings: Settings,
    demonstration: bool,
}

/// The store of a configuration, for commands that need no running gateway.
///
/// # Errors
/// When the data folder or the database cannot be opened.
pub async fn open_store(settings: &Settings) -> Result<Store, ServeError> {
    std::fs::create_dir_all(&settings.data).map_err(|source| ServeError::Data {
        path: settings.data.clone(),
        source,
    })?;
    Ok(Store::open(&settings.database(std::env::var("DATABASE_URL").ok())).await?)
}

/// The keys of a configuration.
///
/// # Errors
/// When the pepper cannot be read or made.
pub fn open_keys(settings: &Settings, store: &Store) -> Result<Keys, ServeError> {
    let pepper = Pepper::load(
        std::env::var("TOLLGATE_PEPPER").ok().as_deref(),
        &settings.data,
    )?;
    Ok(Keys::new(store.clone(), pepper))
}

/// Where the spool of a configuration lies.
pub fn spool_folder(settings: &Settings) -> PathBuf {
    settings.data.join("spool")
}

impl House {
    /// Builds every room and binds the address; serves nobody yet.
    ///
    /// # Errors
    /// What is wrong with the configuration, the catalog, the database or the address.
    pub async fn open(settings: Settings, demonstration: bool) -> Result<House, ServeError> {
        let clock = settings
            .clock_starts_at
            .map_or_else(Clock::system, Clock::starting_at);
        let watch = Arc::new(Watch::start(settings.catalog.clone())?);
        let accounts = accounts(&settings, &watch.current())?;
        let store = open_store(&settings).await?;
        let keys = open_keys(&settings, &store)?;
        let first_key = first_key(&keys, clock).await?;
        let directory = Directory::start(keys.clone()).await?;
        let ledger = Ledger::start(
            ledger::Settings {
                durability: match settings.ledger.durability {
                    Durability::Written => ledger::Durability::Written,
                    Durability::Synced => ledger::Durability::Synced,
                },
                limit_bytes: settings.ledger.spool_bytes,
                // Room is given back a segment at a time: a small spool has small ones.
                segment_bytes: (settings.ledger.spool_bytes / 8).clamp(16 << 10, 8 << 20),
                ..ledger::Settings::in_folder(spool_folder(&settings))
            },
            store.clone(),
            // What a dead process left open stands as it was estimated when it was opened.
            |_, _| {},
        )
        .await?;
        let metrics = Metrics::new();
        let sites = Sites::build(watch.current(), &accounts, None, &metrics);
        let address = settings.listen.clone();
        let listener = TcpListener::bind(&address)
            .await
            .map_err(|source| ServeError::Listen {
                address: address.clone(),
                source,
            })?;
        let rooms = Arc::new(Rooms {
            clock,
            directory,
            budgets: Arc::new(LocalBudgets::new(FromStore {
                store: store.clone(),
                ledger: ledger.clone(),
            })),
            ledger,
            sites: ArcSwap::from_pointee(sites),
            transport: Transport::new(settings.limits.connect_timeout)?,
            // Retries may add a fifth to the requests, and ten a second in any case.
            retries: TpsBudget::new(std::time::Duration::from_secs(10), 10, 0.2),
            metrics,
            admission: Admission::new(&settings.limits),
            answered: Arc::new(Answered::new(settings.limits.replay_bytes)),
            history: Arc::new(History::new(
                store.clone(),
                keys.pepper(),
                &settings.history,
            )),
            tenants: Tenants::new(keys.pepper()),
            limits: settings.limits.clone(),
        });
        let address = listener
            .local_addr()
            .map_err(|source| ServeError::Listen { address, source })?;
        Ok(House {
            address,
            rooms,
            store,
            keys,
            first_key,
            listener,
            watch,
            settings,
            demonstration,
        })
    }

    /// Hosts that cannot be used, and what to set for each.
    pub fn unused(&self) -> Vec<Unused> {
        self.rooms.sites.load().unused.clone()
    }

    /// Serves until `stop` is done, then until every request has ended or the time for that is over.
    ///
    /// # Errors
    /// When the pages' secret cannot be made.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).map_err(ServeError::Random)?;
        let figures = figures::LiveFigures {
            rooms: self.rooms.clone(),
            store: self.store.clone(),
            keys: self.keys.clone(),
        };
        let pages = dashboard::router(DashboardRooms::new(
            Arc::new(figures),
            self.rooms.clock,
            &secret,
            DashboardSettings {
                https: self.settings.dashboard.https,
                demonstration: self.demonstration,
            },
        ));
        let files = Files::new(
            self.store.clone(),
            self.keys.pepper(),
            &self.settings.batches,
        );
        let batches = Batches::new(
            self.store.clone(),
            self.keys.pepper(),
            &self.settings.batches,
        );
        let new_batch = Arc::new(Notify::new());
        let desk = edge::files_and_batches(Desk {
            files: files.clone(),
            batches: batches.clone(),
            callers: self.rooms.clone(),
            clock: self.rooms.clock,
            new_batch: new_batch.clone(),
        });
        let router = edge::router(Edge::new(&self.rooms))
            .merge(desk)
            .merge(pages);
        let (stop_batches, stopping) = watch::channel(false);
        let working = tokio::spawn(
            Runner {
                files: files.clone(),
                batches: batches.clone(),
                ask: Arc::new(FromWithin::new(&self.rooms)),
                clock: self.rooms.clock,
                settings: self.settings.batches.clone(),
                pace: Pace::default(),
                new_batch,
            }
            .run(stopping),
        );
        let following = tokio::spawn(follow_catalog(
            self.watch.clone(),
            self.settings.clone(),
            self.rooms.clone(),
            self.store.clone(),
        ));
        let purging = tokio::spawn(purge_hourly(
            self.rooms.history.clone(),
            files,
            batches,
            self.rooms.clock,
        ));
        server::serve(self.listener, router, &self.settings.limits, stop).await;
        following.abort();
        purging.abort();
        // What a batch has under way is let end; another gateway takes up the rest.
        let _ = stop_batches.send(true);
        let _ = tokio::time::timeout(self.settings.limits.shutdown_time, working).await;
        let written = self.rooms.history.written();
        if tokio::time::timeout(self.settings.limits.shutdown_time, written)
            .await
            .is_err()
        {
            warn!("responses that were to be stored have not reached the database");
        }
        let ledger = self.rooms.ledger.clone();
        if let Err(behind) = ledger.drain(self.settings.limits.shutdown_time).await {
            warn!("{behind}");
        }
        ledger.close().await;
        Ok(())
    }
}

/// An admin key, if there is no key at all yet.
async fn first_key(keys: &Keys, clock: Clock) -> Result<Option<Minted>, ServeError> {
    if !keys.list().await?.is_empty() {
        return Ok(None);
    }
    let minted = keys
        .mint(
            &NewKey {
                organisation: OrganisationName::from("default"),
                team: TeamName::from("operators"),
                project: ProjectName::from("default"),
                role: Role::Admin,
                tags: Vec::new(),
                budget: None,
                expires: None,
            },
            clock.now(),
        )
        .await?;
    Ok(Some(minted))
}

/// Records each catalog version in the ledger's database, and takes up changed files.
async fn follow_catalog(watch: Arc<Watch>, settings: Settings, rooms: Arc<Rooms>, store: Store) {
    let mut changes = watch.changes();
    loop {
        let catalog = watch.current();
        let record = async {
            while let Err(error) = store
                .record_catalog(&catalog.version, &catalog.files, rooms.clock.now())
                .await
            {
                error!(%error, "the catalog's version could not be recorded; trying again");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = record => if changes.changed().await.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
        }
        take_up(&watch.current(), &settings, &rooms);
    }
}

fn take_up(catalog: &Arc<Catalog>, settings: &Settings, rooms: &Rooms) {
    let accounts: Vec<Account> = match accounts(settings, catalog) {
        Ok(accounts) => accounts,
        Err(error) => {
            error!(%error, "the changed catalog is not taken up");
            return;
        }
    };
    let before = rooms.sites.load_full();
    let sites = Sites::build(catalog.clone(), &accounts, Some(&before), &rooms.metrics);
    info!(version = %catalog.version, backends = sites.all.len(), "catalog taken up");
    rooms.sites.store(Arc::new(sites));
}
