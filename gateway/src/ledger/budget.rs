//! Hard budgets: what a request may cost at worst is held before it is sent, and settled or
//! released when it ends. At every instant settled + held ≤ limit; spend passes a limit only by
//! what a host reports beyond the worst case that was held.
//!
//! [`LocalBudgets`] keeps the accounts of one process, each begun with what the store says was
//! spent. Over several replicas the same trait is kept by the fleet room.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::{Ledger, Store};
use crate::access::{Budget, Period};
use crate::id::KeyId;
use crate::money::Money;
use crate::time::Timestamp;

/// What a request asks of a budget.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub key: KeyId,
    pub budget: Budget,
    /// What it may cost at worst.
    pub worst: Money,
    pub now: Timestamp,
    /// When the hold lapses, should nobody settle it: beyond any timeout of a request.
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    #[error(
        "the budget ({limit} dollars, period: {}) cannot cover {needed}: {spent} are spent, {held} held by requests under way{}",
        .period.as_str(),
        .renews.map(|at| format!("; it starts anew at {at}")).unwrap_or_default()
    )]
    Exceeded {
        limit: Money,
        period: Period,
        spent: Money,
        held: Money,
        needed: Money,
        /// When the budget starts anew.
        renews: Option<Timestamp>,
    },
    /// The store must say what was spent before anything can be held; to go on without would be to
    /// forget it.
    #[error("what this key has spent so far cannot be read: {0}")]
    Unknown(String),
}

/// Keeps what keys spend below their limits.
pub trait Budgets: Send + Sync + 'static {
    /// Holds the worst case, if it fits.
    fn reserve(&self, ask: Ask) -> Reserving;
}

/// The other side of a [`Hold`].
pub trait Holder: Send {
    /// Turns the hold into spend of the period in which `billed` lies.
    fn settle(&mut self, actual: Money, billed: Timestamp);
    fn release(&mut self);
}

/// An amount held. Dropped without settlement it is released.
#[must_use = "dropping it releases what it holds"]
pub struct Hold(Option<Box<dyn Holder>>);

impl Hold {
    pub fn new(holder: Box<dyn Holder>) -> Self {
        Hold(Some(holder))
    }

    /// The request cost this much; the rest of the hold is free again. Counts in full even if the
    /// hold has lapsed meanwhile, or was smaller.
    pub fn settle(mut self, actual: Money, billed: Timestamp) {
        if let Some(mut holder) = self.0.take() {
            holder.settle(actual, billed);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(mut holder) = self.0.take() {
            holder.release();
        }
    }
}

/// A reservation being made: at once, or after asking elsewhere.
pub enum Reserving {
    /// Taken when polled.
    Done(Option<Result<Hold, BudgetError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Hold, BudgetError>> + Send>>),
}

impl Future for Reserving {
    type Output = Result<Hold, BudgetError>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Reserving::Done(result) => Poll::Ready(
                result
                    .take()
                    .expect("a future is not polled after it was ready"),
            ),
            Reserving::Waiting(future) => future.as_mut().poll(context),
        }
    }
}

/// Says what a key has spent since an instant.
pub trait Spent: Send + Sync + 'static {
    fn spent(
        &self,
        key: KeyId,
        since: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Money, String>> + Send>>;
}

/// The store, once all is in it that was settled before the question.
pub struct FromStore {
    pub store: Store,
    pub ledger: Ledger,
}

/// How long a first request of a key waits to learn what was spent.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure to learn it, requests are refused for so long without asking again.
const PAUSE: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

impl Spent for FromStore {
    fn spent(
        &self,
        key: KeyId,
        since: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Money, String>> + Send>> {
        let (store, ledger) = (self.store.clone(), self.ledger.clone());
        Box::pin(async move {
            let asking = async {
                // What a dead process left in the spool counts too.
                ledger.shipped().await;
                store.spent(key, since).await
            };
            match tokio::time::timeout(PATIENCE, asking).await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
            }
        })
    }
}

/// Requests of different keys hardly ever meet in one of so many maps.
const SHARDS: usize = 64;

type Accounts = HashMap<(KeyId, Period), Arc<Account>>;

/// Budgets of one process.
pub struct LocalBudgets {
    shards: [Mutex<Accounts>; SHARDS],
    spent: Arc<dyn Spent>,
}

impl LocalBudgets {
    pub fn new(spent: impl Spent) -> Self {
        LocalBudgets {
            shards: std::array::from_fn(|_| Mutex::default()),
            spent: Arc::new(spent),
        }
    }

    fn account(&self, key: KeyId, period: Period) -> Arc<Account> {
        // The last byte of a UUIDv7 is random.
        let shard = usize::from(key.uuid().as_bytes()[15]) % SHARDS;
        self.shards[shard]
            .lock()
            .entry((key, period))
            .or_insert_with(|| Arc::new(Account::new(period)))
            .clone()
    }
}

impl Budgets for LocalBudgets {
    fn reserve(&self, ask: Ask) -> Reserving {
        let account = self.account(ask.key, ask.budget.period);
        let at_once = Account::reserve(&account, &ask);
        if let Some(result) = at_once {
            return Reserving::Done(Some(result));
        }
        let spent = self.spent.clone();
        Reserving::Waiting(Box::pin(async move {
            account.begin(&*spent, &ask).await?;
            Account::reserve(&account, &ask).unwrap_or_else(|| {
                Err(BudgetError::Unknown("the account did not begin".to_owned()))
            })
        }))
    }
}

/// What one key spends against one period.
struct Account {
    period: Period,
    books: Mutex<Books>,
    /// Held by the one request that asks what was spent; the others wait for it.
    beginning: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Books {
    /// The beginning of the current period, once it is known what was spent in it.
    current: Option<Timestamp>,
    /// By the beginning of the period; those before the current one are forgotten.
    spent: BTreeMap<Timestamp, Money>,
    holds: HashMap<u64, (Money, Timestamp)>,
    held: Money,
    next_hold: u64,
    /// No hold lapses before this instant.
    lapse: Option<Timestamp>,
    failed: Option<(Timestamp, String)>,
}

impl Account {
    fn new(period: Period) -> Self {
        Account {
            period,
            books: Mutex::default(),
            beginning: tokio::sync::Mutex::new(()),
        }
    }

    /// `None` if what was spent must be asked first.
    fn reserve(account: &Arc<Account>, ask: &Ask) -> Option<Result<Hold, BudgetError>> {
        let mut books = account.books.lock();
        let known = books.current?;
        // A clock that steps back does not reopen a period.
        let current = begins(account.period, ask.now).max(known);
        if current > known {
            books.current = Some(current);
            books.spent = books.spent.split_off(&current);
        }
        if books.lapse.is_some_and(|lapse| lapse <= ask.now) {
            books.drop_lapsed(ask.now);
        }
        let spent = books.spent.get(&current).copied().unwrap_or_default();
        let held = books.held;
        // A negative worst case would make room for others.
        let needed = ask.worst.max(Money::ZERO);
        if spent + held + needed > ask.budget.limit {
            return Some(Err(BudgetError::Exceeded {
                limit: ask.budget.limit,
                period: account.period,
                spent,
                held,
                needed,
                renews: renews(account.period, ask.now),
            }));
        }
        let id = books.next_hold;
        books.next_hold += 1;
        books.holds.insert(id, (needed, ask.until));
        books.held += needed;
        books.lapse = Some(books.lapse.map_or(ask.until, |lapse| lapse.min(ask.until)));
        drop(books);
        Some(Ok(Hold::new(Box::new(LocalHolder {
            account: account.clone(),
            id,
        }))))
    }

    /// Learns what was spent in the current period, once.
    async fn begin(&self, spent: &dyn Spent, ask: &Ask) -> Result<(), BudgetError> {
        let _first = self.beginning.lock().await;
        let since = begins(self.period, ask.now);
        {
            let books = self.books.lock();
            if books.current.is_some() {
                return Ok(());
            }
            if let Some((at, why)) = &books.failed
                && ask.now.duration_since(*at) < PAUSE
            {
                return Err(BudgetError::Unknown(why.clone()));
            }
        }
        let told = spent.spent(ask.key, since).await;
        let mut books = self.books.lock();
        match told {
            Ok(amount) => {
                books.current = Some(since);
                *books.spent.entry(since).or_default() += amount;
                books.failed = None;
                Ok(())
            }
            Err(why) => {
                books.failed = Some((ask.now, why.clone()));
                Err(BudgetError::Unknown(why))
            }
        }
    }
}

impl Books {
    fn drop_lapsed(&mut self, now: Timestamp) {
        self.holds.retain(|_, (_, until)| *until > now);
        self.held = self.holds.values().map(|(amount, _)| *amount).sum();
        self.lapse = self.holds.values().map(|(_, until)| *until).min();
    }

    fn release(&mut self, hold: u64) {
        if let Some((amount, _)) = self.holds.remove(&hold) {
            self.held = self.held - amount;
        }
    }
}

struct LocalHolder {
    account: Arc<Account>,
    id: u64,
}

impl Holder for LocalHolder {
    fn settle(&mut self, actual: Money, billed: Timestamp) {
        let mut books = self.account.books.lock();
        books.release(self.id);
        let period = begins(self.account.period, billed);
        if books.current.is_some_and(|current| period >= current) {
            *books.spent.entry(period).or_default() += actual;
        }
    }

    fn release(&mut self) {
        self.account.books.lock().release(self.id);
    }
}

/// The beginning of the period in which an instant lies.
fn begins(period: Period, instant: Timestamp) -> Timestamp {
    match period {
        Period::Total => Timestamp::UNIX_EPOCH,
        Period::Day => day(instant, Some),
        Period::Month => day(instant, |date| Some(date.first_of_month())),
    }
}

/// The beginning of the period after it.
fn renews(period: Period, instant: Timestamp) -> Option<Timestamp> {
    match period {
        Period::Total => None,
        Period::Day => Some(day(instant, |date| date.tomorrow().ok())),
        Period::Month => Some(day(instant, |date| date.last_of_month().tomorrow().ok())),
    }
}

/// Midnight in UTC of a day found from the instant's own; the last instant where calendars end.
fn day(
    instant: Timestamp,
    find: impl Fn(jiff::civil::Date) -> Option<jiff::civil::Date>,
) -> Timestamp {
    let date = TimeZone::UTC.to_datetime(instant).date();
    find(date)
        .and_then(|date| date.to_zoned_datetime(TimeZone::UTC).ok())
        .map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
