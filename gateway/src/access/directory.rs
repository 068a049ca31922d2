//! The keys in memory: found in a fraction of a microsecond without a lock, refreshed from the store
//! each second, so that a key minted or revoked by another process takes effect within about one.
//! While the store is down, what memory holds goes on counting.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::keys::Live;
use super::secret::{self, Digest};
use super::{AccessError, Keys, Principal};
use crate::id::KeyId;
use crate::time::Timestamp;

/// How often the store is asked whether any key has changed.
const REFRESH: Duration = Duration::from_secs(1);
/// Questions to the store for keys that memory does not know: so many at once, and then so many a
/// second. A caller whose key was just minted waits for the next refresh at worst.
const LOOK_UPS: u32 = 20;
const LOOK_UPS_PER_SECOND: u32 = 10;
/// How long a caller waits for such an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A caller whose key is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `principal.payer.key` is the key's id.
    pub principal: Arc<Principal>,
    /// The instant from which this secret counts no more: the key expires, or was rotated.
    pub until: Option<Timestamp>,
}

/// What is known of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    Found(Arc<Caller>),
    /// Its time is over.
    Expired,
    /// It has the form of a key; [`Directory::look_up`] asks the store, within a rate.
    Unknown,
    /// It cannot be a key of ours.
    Malformed,
}

type Callers = HashMap<Digest, Arc<Caller>, BuildHasherDefault<FirstBytes>>;

/// The live keys. Cloning it is cheap.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Shared>,
    /// Ends the refreshing when the last clone goes.
    _refreshing: Arc<Refreshing>,
}

struct Shared {
    keys: Keys,
    callers: ArcSwap<Callers>,
    /// The revision that `callers` shows.
    revision: AtomicI64,
    look_ups: Mutex<Allowance>,
}

struct Refreshing(tokio::task::JoinHandle<()>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Directory {
    /// Loads the keys and keeps them fresh on the current tokio runtime until the last clone is
    /// dropped.
    pub async fn start(keys: Keys) -> Result<Directory, AccessError> {
        let shared = Arc::new(Shared {
            keys,
            callers: ArcSwap::default(),
            revision: AtomicI64::new(-1),
            look_ups: Mutex::new(Allowance::new()),
        });
        shared.refresh().await?;
        let refreshing = tokio::spawn(keep_fresh(shared.clone()));
        Ok(Directory {
            shared,
            _refreshing: Arc::new(Refreshing(refreshing)),
        })
    }

    /// From memory alone.
    pub fn find(&self, presented: &str, now: Timestamp) -> Find {
        if !secret::is_well_formed(presented) {
            return Find::Malformed;
        }
        let digest = self.shared.keys.pepper().digest(presented);
        self.shared.find(&digest, now)
    }

    /// Like `find`, but for a well-formed key that memory does not know asks the store, unless too
    /// many such were shown lately or the store does not answer.
    pub async fn look_up(&self, presented: &str, now: Timestamp) -> Find {
        if !secret::is_well_formed(presented) {
            return Find::Malformed;
        }
        let shared = &self.shared;
        let digest = shared.keys.pepper().digest(presented);
        let known = shared.find(&digest, now);
        if known != Find::Unknown || !shared.look_ups.lock().take(now) {
            return known;
        }
        match tokio::time::timeout(PATIENCE, shared.keys.one(&digest)).await {
            Ok(Ok(Some(live))) => {
                let caller = Caller::of(live);
                let found = judge(&caller, now);
                shared.add(digest, caller);
                found
            }
            Ok(Ok(None)) => Find::Unknown,
            Ok(Err(error)) => {
                tracing::warn!(%error, "an unknown key could not be looked up");
                Find::Unknown
            }
            Err(_) => Find::Unknown,
        }
    }

    /// What a key stands for while any of its secrets counts: for work that its caller left to us
    /// and that is done without the secret. From memory alone; looks through all keys.
    pub fn holder(&self, key: KeyId, now: Timestamp) -> Option<Arc<Principal>> {
        let callers = self.shared.callers.load();
        let mut of_key = callers
            .values()
            .filter(|caller| caller.principal.payer.key == key);
        of_key
            .find(|caller| caller.until.is_none_or(|until| until > now))
            .map(|caller| caller.principal.clone())
    }

    /// Asks the store at once whether keys have changed.
    pub async fn refresh(&self) -> Result<(), AccessError> {
        self.shared.refresh().await
    }

    /// How many secrets are known.
    pub fn len(&self) -> usize {
        self.shared.callers.load().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    fn find(&self, digest: &Digest, now: Timestamp) -> Find {
        match self.callers.load().get(digest) {
            Some(caller) => judge(caller, now),
            None => Find::Unknown,
        }
    }

    /// Until the next refresh shows it anyway.
    fn add(&self, digest: Digest, caller: Arc<Caller>) {
        self.callers.rcu(|callers| {
            let mut callers = Callers::clone(callers);
            callers.insert(digest, caller.clone());
            callers
        });
    }

    async fn refresh(&self) -> Result<(), AccessError> {
        // Before the keys: what changes while they are read is read again the next time.
        let revision = self.keys.revision().await?;
        if revision == self.revision.load(Ordering::Acquire) {
            return Ok(());
        }
        let callers: Callers = self
            .keys
            .live()
            .await?
            .into_iter()
            .map(|live| (live.digest, Caller::of(live)))
            .collect();
        self.callers.store(Arc::new(callers));
        self.revision.store(revision, Ordering::Release);
        Ok(())
    }
}

impl Caller {
    fn of(live: Live) -> Arc<Caller> {
        Arc::new(Caller {
            principal: Arc::new(live.principal),
            until: live.until,
        })
    }
}

fn judge(caller: &Arc<Caller>, now: Timestamp) -> Find {
    if caller.until.is_some_and(|until| until <= now) {
        return Find::Expired;
    }
    Find::Found(caller.clone())
}

async fn keep_fresh(shared: Arc<Shared>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(REFRESH).await;
        match shared.refresh().await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "keys cannot be refreshed: those in memory go on counting");
            }
            Err(_) => {}
        }
    }
}

/// How many questions may be asked now: refilled at a rate, up to a limit.
struct Allowance {
    left: u32,
    filled: Option<Timestamp>,
}

impl Allowance {
    fn new() -> Self {
        Allowance {
            left: LOOK_UPS,
            filled: None,
        }
    }

    fn take(&mut self, now: Timestamp) -> bool {
        let filled = *self.filled.get_or_insert(now);
        let millis = now.duration_since(filled).as_millis().clamp(0, 60_000);
        let more = u32::try_from(millis).unwrap_or(0) * LOOK_UPS_PER_SECOND / 1_000;
        if more > 0 {
            self.left = (self.left + more).min(LOOK_UPS);
            self.filled = Some(now);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// Digests are keyed hashes already: their first bytes do.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{NewKey, Pepper, Role};
    use crate::ledger::Store;
    use crate::ledger::sample::noon;
    use crate::ledger::testing::{Fresh, on_both};

    fn new_key() -> NewKey {
        NewKey {
            organisation: "acme".into(),
            team: "search".into(),
            project: "ranking".into(),
            role: Role::App,
            tags: vec!["soc2".into(), "eu".into(), "soc2".into()],
            budget: Some("25.5/month".parse().expect("a budget")),
            expires: None,
        }
    }

    fn keys(fresh: &Fresh) -> Keys {
        let pepper = Pepper::load(None, fresh.folder.path()).expect("a pepper");
        Keys::new(fresh.store.clone(), pepper)
    }

    fn after(seconds: i64) -> Timestamp {
        noon() + jiff::SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_minted_key_is_found_with_all_that_it_stands_for() {
        on_both(async |fresh: &Fresh| {
            let keys = keys(fresh);
            let minted = keys.mint(&new_key(), noon()).await.expect("mint");
            let directory = Directory::start(keys).await.expect("start");
            let Find::Found(caller) = directory.find(minted.secret.expose(), noon()) else {
                panic!("it is there");
            };
            let principal = &caller.principal;
            assert_eq!(principal.payer.key, minted.id);
            assert_eq!(principal.payer.team.as_str(), "search");
            assert_eq!(principal.tags, ["eu".into(), "soc2".into()]);
            assert_eq!(principal.budget, new_key().budget);
            assert_eq!(principal.role, Role::App);
        });
    }

    #[test]
    fn a_key_stands_for_its_holder_without_its_secret_until_it_is_revoked_or_expires() {
        on_both(async |fresh: &Fresh| {
            let keys = keys(fresh);
            let mut new = new_key();
            new.expires = Some(after(60));
            let minted = keys.mint(&new, noon()).await.expect("mint");
            let directory = Directory::start(keys.clone()).await.expect("start");
            let holder = directory.holder(minted.id, after(59)).expect("it counts");
            assert_eq!(holder.payer.key, minted.id);
            assert_eq!(directory.holder(minted.id, after(60)), None);
            assert_eq!(directory.holder(KeyId::new(), noon()), None);
            keys.revoke(minted.id, noon()).await.expect("revoke");
            directory.refresh().await.expect("refresh");
            assert_eq!(directory.holder(minted.id, noon()), None);
        });
    }

    #[test]
    fn the_database_holds_no_secret() {
        on_both(async |fresh: &Fresh| {
            let keys = keys(fresh);
            let minted = keys.mint(&new_key(), noon()).await.expect("mint");
            let sql = "SELECT digest || hint || key_id FROM key_secret";
            let (row,): (String,) = sqlx::query_as(sql)
                .fetch_one(fresh.store.pool())
                .await
                .expect("a row");
            let secret = minted.secret.expose();
            assert!(!row.contains(&secret[7..]));
            assert!(!row.contains(&blake3::hash(secret.as_bytes()).to_hex().to_string()));
        });
    }

    #[test]
    fn a_key_minted_elsewhere_is_found_by_looking_it_up_and_a_revoked_one_is_gone_at_the_next_refresh()
     {
        on_both(async |fresh: &Fresh| {
            let keys = keys(fresh);
            let directory = Directory::start(keys.clone()).await.expect("start");
            let minted = keys.mint(&new_key(), noon()).await.expect("mint");
            let secret = minted.secret.expose();
            assert_eq!(directory.find(secret, noon()), Find::Unknown);
            assert!(matches!(
                directory.look_up(secret, noon()).await,
                Find::Found(_)
            ));
            assert!(matches!(directory.find(secret, noon()), Find::Found(_)));

            keys.revoke(minted.id, noon()).await.expect("revoke");
            directory.refresh().await.expect("refresh");
            assert_eq!(directory.find(secret, noon()), Find::Unknown);
            assert_eq!(directory.look_up(secret, noon()).await, Find::Unknown);
        });
    }

    #[test]
    fn an_old_secret_counts_until_its_grace_is_over_and_the_new_one_is_the_same_key() {
        on_both(async |fresh: &Fresh| {
            let keys = keys(fresh);
            let old = keys.mint(&new_key(), noon()).await.expect("mint");
            let grace = Duration::from_secs(60);
            let new = keys.rotate(old.id, grace, after(10)).await.expect("rotate");
            assert_eq!(new.id, old.id);
            let directory = Directory::start(keys.clone()).await.expect("start");
            let find =
                |minted: &crate::access::Minted, at| directory.find(minted.secret.expose(), at);
            assert!(matches!(find(&old, after(69)), Find::Found(_)));
            assert_eq!(find(&old, after(70)), Find::Expired);
            assert!(matches!(find(&new, after(1_000_000)), Find::Found(_)));

            // Rotated again with a long grace, the first secret is not given more time.
            keys.rotate(old.id, grace * 100, after(20))
                .await
                .expect("rotate");
            directory.refresh().await.expect("refresh");
            assert_eq!(find(&old, after(70)), Find::Expired);
            assert!(matches!(find(&new, after(70)), Find::Found(_)));
            let list = keys.list().await.expect("list");
            assert_eq!(list.len(), 1);
        });
    }

    #[test]
    fn an_expired_key_is_told_as_such() {
        on_both(async |fresh: &Fresh| {
            let keys = keys(fresh);
            let mut new = new_key();
            new.expires = Some(after(5));
            let minted = keys.mint(&new, noon()).await.expect("mint");
            let directory = Directory::start(keys).await.expect("start");
            let secret = minted.secret.expose();
            assert!(matches!(directory.find(secret, after(4)), Find::Found(_)));
            assert_eq!(directory.find(secret, after(5)), Find::Expired);
        });
    }

    #[test]
    fn keys_that_are_not_there_or_revoked_are_told_as_such() {
        on_both(async |fresh: &Fresh| {
            let keys = keys(fresh);
            let nobody = crate::id::KeyId::new();
            let grace = Duration::from_secs(1);
            let error = keys.revoke(nobody, noon()).await.expect_err("not there");
            assert!(matches!(error, AccessError::NoSuchKey(id) if id == nobody));
            let error = keys
                .rotate(nobody, grace, noon())
                .await
                .expect_err("not there");
            assert!(matches!(error, AccessError::NoSuchKey(_)));
            let minted = keys.mint(&new_key(), noon()).await.expect("mint");
            keys.revoke(minted.id, noon()).await.expect("revoke");
            keys.revoke(minted.id, after(9)).await.expect("again");
            let error = keys
                .rotate(minted.id, grace, noon())
                .await
                .expect_err("revoked");
            assert!(matches!(error, AccessError::Revoked(_)));
            assert_eq!(keys.list().await.expect("list")[0].revoked, Some(noon()));
            let mut wrong = new_key();
            wrong.tags = vec!["a,b".into()];
            assert!(matches!(
                keys.mint(&wrong, noon()).await,
                Err(AccessError::NotATag(_))
            ));
        });
    }

    #[tokio::test]
    async fn a_flood_of_invented_keys_asks_the_store_only_so_often() {
        let fresh = Fresh::sqlite().await;
        let keys = keys(&fresh);
        let directory = Directory::start(keys.clone()).await.expect("start");
        for _ in 0..LOOK_UPS {
            let invented = secret::Secret::new().expect("randomness");
            assert_eq!(
                directory.look_up(invented.expose(), noon()).await,
                Find::Unknown
            );
        }
        // The allowance is used up: even a real key waits for the refresh, or for the next second.
        let minted = keys.mint(&new_key(), noon()).await.expect("mint");
        let secret = minted.secret.expose();
        assert_eq!(directory.look_up(secret, noon()).await, Find::Unknown);
        assert!(matches!(
            directory.look_up(secret, after(1)).await,
            Find::Found(_)
        ));
    }

    #[tokio::test]
    async fn without_the_database_known_keys_go_on_counting_and_malformed_ones_never_ask_it() {
        let fresh = Fresh::sqlite().await;
        let keys = keys(&fresh);
        let minted = keys.mint(&new_key(), noon()).await.expect("mint");
        let directory = Directory::start(keys).await.expect("start");
        close(&fresh.store).await;
        let secret = minted.secret.expose();
        assert!(directory.refresh().await.is_err());
        assert!(matches!(directory.find(secret, noon()), Find::Found(_)));
        for wrong in ["", "tg_", "Bearer x", "' OR 1=1 --", &"x".repeat(65_536)] {
            assert_eq!(directory.look_up(wrong, noon()).await, Find::Malformed);
        }
        let invented = secret::Secret::new().expect("randomness");
        assert_eq!(
            directory.look_up(invented.expose(), noon()).await,
            Find::Unknown
        );
    }

    async fn close(store: &Store) {
        store.pool().close().await;
    }
}
