//! What an emulated host remembers: its account book, caches, faults and calls in flight; and the
//! guard by which a call is billed however it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::bill::{BilledCall, Book};
use super::cache::Cache;
use super::fault::Fault;
use super::profile::EmulatedHost;
use super::tariff;
use super::tokens::Prefixes;
use crate::time::Clock;

/// Which instant of a call an emulated host prices it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BilledAt {
    /// When the request arrived.
    #[default]
    Start,
    /// When its last token was generated.
    End,
}

/// How the emulated hosts behave.
#[derive(Clone, Debug)]
pub struct EmulatorOptions {
    /// Decides price windows and cache lifetimes.
    pub clock: Clock,
    /// Divides every wait for a first token, and the generation of traced answers (those to a
    /// prompt that ends in `answer in N words`). 0: nothing waits at all.
    pub speedup: u32,
    /// Divides the generation of all other answers, so that a person sees them come.
    pub people_speedup: u32,
    /// The instant that decides DeepSeek's price window; the other hosts have one price all day.
    pub billed_at: BilledAt,
    /// Calls in flight beyond which DeepSeek answers 429, instead of its own 500 (Pro) and 2,500.
    pub deepseek_concurrency: Option<u32>,
    /// What DeepSeek's account was topped up with, and what it was granted and spends first, in
    /// picodollars. With both spent it answers 402.
    pub deepseek_topped_up: i128,
    pub deepseek_granted: i128,
    /// Refuse what the real hosts refuse of conversations: DeepSeek tool calls that come back
    /// without their reasoning, Azure foreign fields of messages, DeepInfra tool results that are
    /// no strings.
    pub strict: bool,
    /// DeepSeek's keep-alive comments (streams) and blank lines (plain answers).
    pub keep_alive: Duration,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        EmulatorOptions {
            clock: Clock::system(),
            speedup: 20,
            people_speedup: 1,
            billed_at: BilledAt::Start,
            deepseek_concurrency: None,
            deepseek_topped_up: 1_000_000_000_000_000,
            deepseek_granted: 0,
            strict: false,
            keep_alive: Duration::from_secs(1),
        }
    }
}

impl EmulatorOptions {
    /// Nothing waits: for tests.
    pub fn instant() -> Self {
        EmulatorOptions {
            speedup: 0,
            ..EmulatorOptions::default()
        }
    }
}

pub(super) struct HostState {
    pub host: EmulatedHost,
    pub options: EmulatorOptions,
    pub book: Mutex<Book>,
    /// By account, isolation field and model.
    caches: Mutex<HashMap<(String, String, String), Cache>>,
    fault: Mutex<Option<SetFault>>,
    in_flight: Mutex<HashMap<String, u32>>,
    ended: Notify,
    requests: AtomicU64,
    answers: AtomicU64,
}

struct SetFault {
    fault: Fault,
    /// Requests that it still strikes; `None` for all.
    left: Option<u32>,
}

/// Separate caches of one host; a request that names one more empties them.
const CACHES_KEPT: usize = 256;

impl HostState {
    pub(super) fn new(host: EmulatedHost, options: EmulatorOptions) -> Self {
        HostState {
            host,
            options,
            book: Mutex::default(),
            caches: Mutex::default(),
            fault: Mutex::default(),
            in_flight: Mutex::default(),
            ended: Notify::new(),
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn calls_in_flight(&self) -> u32 {
        self.in_flight.lock().values().sum()
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>, times: Option<u32>) {
        *self.fault.lock() = fault.map(|fault| SetFault { fault, left: times });
    }

    /// The fault that strikes this request, if one is set.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        let mut set = self.fault.lock();
        let current = set.as_mut()?;
        let fault = current.fault;
        if let Some(left) = &mut current.left {
            if *left == 0 {
                *set = None;
                return None;
            }
            *left -= 1;
        }
        Some(fault)
    }

    /// Granted and topped-up money left at DeepSeek, in picodollars.
    pub(super) fn balance(&self) -> (i128, i128) {
        let spent = self.book.lock().total();
        let granted = (self.options.deepseek_granted - spent).max(0);
        let beyond = (spent - self.options.deepseek_granted).max(0);
        (granted, self.options.deepseek_topped_up - beyond)
    }

    /// The number of the next answer, from 1.
    pub(super) fn next_answer(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits until no call is in flight, so that every bill is written.
    pub(super) async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.calls_in_flight() == 0 {
                return;
            }
            ended.await;
        }
    }

    fn concurrency(&self, model: &str) -> u32 {
        match (self.host, self.options.deepseek_concurrency) {
            (EmulatedHost::Deepseek, Some(most)) => most,
            (EmulatedHost::Deepseek, None) if model.contains("pro") => 500,
            (EmulatedHost::Deepseek, None) => 2_500,
            _ => u32::MAX,
        }
    }
}

/// A call being answered. Billed once: whole by [`OpenCall::settle`], or as far as it came when it
/// is dropped.
pub(super) struct OpenCall {
    state: Arc<HostState>,
    pub id: String,
    pub model: &'static str,
    account: String,
    isolation: String,
    pub started: Timestamp,
    pub cache_hit: u64,
    pub cache_miss: u64,
    generated: u64,
    settled: bool,
}

impl OpenCall {
    /// Takes a place among the calls in flight and reads the prompt; `None` beyond the host's
    /// concurrency.
    pub(super) fn open(
        state: &Arc<HostState>,
        model: &'static str,
        account: &str,
        isolation: &str,
        prompt: &Prefixes,
        started: Timestamp,
    ) -> Option<Self> {
        {
            let mut in_flight = state.in_flight.lock();
            let calls = in_flight.entry(model.to_owned()).or_default();
            if *calls >= state.concurrency(model) {
                return None;
            }
            *calls += 1;
        }
        let mut call = OpenCall {
            state: Arc::clone(state),
            id: format!("chatcmpl-{}-{}", state.host, state.next_answer()),
            model,
            account: account.to_owned(),
            isolation: isolation.to_owned(),
            started,
            cache_hit: 0,
            cache_miss: 0,
            generated: 0,
            settled: false,
        };
        let hit = call.with_cache(|cache, now| cache.read(prompt, now));
        call.cache_hit = hit as u64;
        call.cache_miss = (prompt.len() - hit) as u64;
        Some(call)
    }

    pub(super) fn state(&self) -> &Arc<HostState> {
        &self.state
    }

    /// Output tokens generated so far.
    pub(super) fn generate_to(&mut self, tokens: u64) {
        self.generated = self.generated.max(tokens);
    }

    /// The answer is whole: it is billed and remembered.
    pub(super) fn settle(&mut self, whole: Option<&Prefixes>) {
        if let Some(whole) = whole {
            self.with_cache(|cache, now| cache.answered(whole, now));
        }
        self.charge(true);
    }

    fn charge(&mut self, complete: bool) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let host = self.state.host;
        let billed = match self.state.options.billed_at {
            BilledAt::Start => self.started,
            BilledAt::End => self.state.now(),
        };
        let price = tariff::in_force(host, self.model, billed)
            .map(|price| (billed, price))
            // The model ended while it answered: its last price holds.
            .or_else(|| {
                tariff::in_force(host, self.model, self.started).map(|price| (self.started, price))
            });
        let Some((billed, price)) = price else {
            return;
        };
        let call = BilledCall {
            id: self.id.clone(),
            model: self.model.to_owned(),
            account: self.account.clone(),
            started: self.started,
            billed,
            window: String::new(),
            cache_hit: self.cache_hit,
            cache_miss: self.cache_miss,
            output: self.generated,
            picodollars: 0,
            complete,
        };
        self.state.book.lock().charge(call, &price);
    }

    fn with_cache<T>(&self, act: impl FnOnce(&mut Cache, i64) -> T) -> T {
        let now = self.state.now().as_second();
        let key = (
            self.account.clone(),
            self.isolation.clone(),
            self.model.to_owned(),
        );
        let mut caches = self.state.caches.lock();
        if caches.len() >= CACHES_KEPT && !caches.contains_key(&key) {
            caches.clear();
        }
        let model = self.state.host.profile().cache;
        act(caches.entry(key).or_insert_with(|| Cache::new(model)), now)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.charge(false);
        if let Some(calls) = self.state.in_flight.lock().get_mut(self.model) {
            *calls = calls.saturating_sub(1);
        }
        self.state.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    /// The window of a call that began off-peak and ended at peak.
    fn window_of_a_call_across_the_edge(billed_at: BilledAt) -> String {
        let options = EmulatorOptions {
            clock: Clock::starting_at(at("2026-11-24T01:00:05Z")),
            billed_at,
            ..EmulatorOptions::instant()
        };
        let state = Arc::new(HostState::new(EmulatedHost::Deepseek, options));
        let mut prompt = Prefixes::default();
        prompt.push_text("one two three");
        let started = at("2026-11-24T00:59:55Z");
        let mut call = OpenCall::open(&state, "deepseek-v4-pro", "default", "", &prompt, started)
            .expect("a place");
        call.generate_to(7);
        call.settle(None);
        drop(call);
        let calls = state.book.lock().calls();
        assert_eq!(calls.len(), 1, "settled and dropped, billed once");
        assert_eq!((calls[0].cache_miss, calls[0].output), (3, 7));
        calls[0].window.clone()
    }

    #[test]
    fn a_call_across_the_edge_of_a_window_is_priced_at_the_instant_that_was_chosen() {
        assert_eq!(
            window_of_a_call_across_the_edge(BilledAt::Start),
            "2026-08-16/off-peak"
        );
        assert_eq!(
            window_of_a_call_across_the_edge(BilledAt::End),
            "2026-08-16/peak"
        );
    }

    #[test]
    fn granted_money_is_spent_before_topped_up_money() {
        let options = EmulatorOptions {
            deepseek_granted: 5,
            deepseek_topped_up: 100,
            ..EmulatorOptions::instant()
        };
        let state = HostState::new(EmulatedHost::Deepseek, options);
        assert_eq!(state.balance(), (5, 100));
        let price = tariff::in_force(
            EmulatedHost::Deepseek,
            "deepseek-v4-pro",
            at("2026-11-24T12:00:00Z"),
        )
        .expect("a price");
        let call = BilledCall {
            id: String::new(),
            model: "deepseek-v4-pro".to_owned(),
            account: String::new(),
            started: Timestamp::UNIX_EPOCH,
            billed: Timestamp::UNIX_EPOCH,
            window: String::new(),
            cache_hit: 1,
            cache_miss: 0,
            output: 0,
            picodollars: 0,
            complete: true,
        };
        // One cached token off-peak is 22,000 picodollars.
        state.book.lock().charge(call, &price);
        assert_eq!(state.balance(), (0, 100 - (22_000 - 5)));
    }
}
