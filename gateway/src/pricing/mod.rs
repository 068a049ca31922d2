//! What a usage costs: the window in force at an instant, as known at an instant, and the one
//! function from rates and usage to money.

mod window;

#[cfg(test)]
mod tests;

pub use window::{Window, window};

use crate::catalog::Rates;
use crate::chat::Usage;
use crate::money::Money;

/// The cost of a usage at these rates: exact, the only place where the two meet.
pub fn cost(rates: &Rates, usage: &Usage) -> Money {
    rates.cache_miss * usage.cache_miss
        + rates.cache_hit * usage.cache_hit
        + rates.cache_write * usage.cache_write
        + rates.output * usage.output()
}
