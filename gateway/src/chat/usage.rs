//! What an answer consumed, always split the same way.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// A number of tokens.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Tokens(u64);

impl Tokens {
    pub const ZERO: Tokens = Tokens(0);

    pub const fn new(count: u64) -> Self {
        Tokens(count)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// As a database cell. A count beyond 63 bits is no count; [`Usage`] readers refuse it earlier.
    pub fn to_cell(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    pub fn from_cell(cell: i64) -> Self {
        Tokens(u64::try_from(cell).unwrap_or(0))
    }
}

impl Add for Tokens {
    type Output = Tokens;
    fn add(self, other: Tokens) -> Tokens {
        Tokens(self.0.saturating_add(other.0))
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Tokens>>(counts: I) -> Tokens {
        counts.fold(Tokens::ZERO, Add::add)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The five disjoint counts that every host's usage is normalised to.
///
/// Input is `cache_miss + cache_hit + cache_write`, output `reasoning + visible`; nothing is
/// counted twice, whatever a host includes in what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input computed afresh.
    pub cache_miss: Tokens,
    /// Input read from the host's context cache.
    pub cache_hit: Tokens,
    /// Input written to the cache at a price of its own, where a host has one.
    pub cache_write: Tokens,
    /// Output spent on thinking.
    pub reasoning: Tokens,
    /// Output that the caller sees: text and tool calls.
    pub visible: Tokens,
}

impl Usage {
    pub fn input(&self) -> Tokens {
        self.cache_miss + self.cache_hit + self.cache_write
    }

    pub fn output(&self) -> Tokens {
        self.reasoning + self.visible
    }
}

/// How an entry's counts were obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// The host said so while the caller was there.
    Reported,
    /// The host said so after the caller had left: the rest was read to its end.
    Drained,
    /// We counted what passed through us; the host never said.
    Counted,
    /// Nobody counted: derived from the request and from what such requests used before.
    Estimated,
    /// Nothing was consumed: the host refused or was never reached.
    Nothing,
}

impl CountedBy {
    pub const fn as_str(self) -> &'static str {
        match self {
            CountedBy::Reported => "reported",
            CountedBy::Drained => "drained",
            CountedBy::Counted => "counted",
            CountedBy::Estimated => "estimated",
            CountedBy::Nothing => "nothing",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            CountedBy::Reported,
            CountedBy::Drained,
            CountedBy::Counted,
            CountedBy::Estimated,
            CountedBy::Nothing,
        ]
        .into_iter()
        .find(|counted| counted.as_str() == text)
    }
}

/// Why a host stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    /// At one of the caller's stop strings; hosts of the OpenAI dialect do not tell it from `Stop`.
    StopString,
    Length,
    /// The context window is full.
    WindowFull,
    ToolCalls,
    ContentFilter,
    /// The host gave up although it answered 200 (`insufficient_system_resource`, `error`).
    HostGaveUp,
    /// A word of the host's own; the answer is taken as complete.
    Other,
}
