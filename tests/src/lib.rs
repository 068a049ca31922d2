//! The world in which the gateway's binary is tested from outside: the process itself
//! ([`Gateway`]), hosts that answer, misbehave and keep their own bill ([`Upstream`]), real
//! databases ([`postgres`]), callers who leave when they like ([`Caller`]) and read answers as the
//! dialects' own clients do ([`Surface`]), and a reader of the ledger's table that shares no code with
//! the gateway ([`Ledger`]).
//!
//! Nothing here sleeps to let something happen: [`until`] looks at an observable fact until it holds
//! or its time is up.

mod book;
mod caller;
mod gateway;
mod ledger;
pub mod postgres;
mod surface;
pub mod upstream;

pub use book::MockHost;
pub use caller::{Answer, Caller, Events, exchange, question, streamed};
pub use gateway::{Gateway, Key, Setup, binary, signal};
pub use ledger::{Ledger, Row};
pub use surface::{Called, Refused, Said, Surface};
pub use upstream::{Bill, Rates, Received, Script, Upstream};

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything that ought to happen may take, on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks every few milliseconds until `look` finds something, and fails the test after [`PATIENCE`].
pub async fn until<T, F, L>(what: &str, mut look: L) -> T
where
    L: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Chances that can be played again: the seed is printed, and taken from `TOLLGATE_SEED` if set.
pub struct Chances(u64);

impl Chances {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let (high, low) = uuid::Uuid::now_v7().as_u64_pair();
        let seed = match std::env::var("TOLLGATE_SEED") {
            Ok(text) => text.parse().expect("TOLLGATE_SEED is a number"),
            Err(_) => (high ^ low) >> 1,
        };
        println!("TOLLGATE_SEED={seed}");
        Chances(seed | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the run must set, told plainly where it is missing: a test is never skipped for want of it.
fn required(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the suites with tests/run"))
}

/// A number from the environment, for the long forms of some suites.
pub fn setting(variable: &str, otherwise: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    }
}
