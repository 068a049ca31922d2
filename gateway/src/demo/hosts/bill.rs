//! What an emulated host charges its accounts: lines per model, window and meter, in exact
//! picodollars (10^-12 US$), with arithmetic of its own.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::profile::EmulatedHost;
use super::tariff::InForce;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meter {
    CacheHit,
    CacheMiss,
    Output,
}

impl Meter {
    pub const fn as_str(self) -> &'static str {
        match self {
            Meter::CacheHit => "cache_hit",
            Meter::CacheMiss => "cache_miss",
            Meter::Output => "output",
        }
    }
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillLine {
    /// The host's own id of the model.
    pub model: String,
    /// `2026-08-16/peak`, `flat`.
    pub window: String,
    pub meter: Meter,
    pub tokens: u64,
    pub picodollars: i128,
}

/// One call as the host recorded it, to find the line on which a ledger and a bill part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BilledCall {
    /// The id of the answer (`chatcmpl-…`), also sent in the host's request id header.
    pub id: String,
    pub model: String,
    pub account: String,
    pub started: Timestamp,
    /// The instant by which it was priced.
    pub billed: Timestamp,
    pub window: String,
    pub cache_hit: u64,
    pub cache_miss: u64,
    pub output: u64,
    pub picodollars: i128,
    /// The client was there to the end.
    pub complete: bool,
}

/// All that one host charged since it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    pub host: EmulatedHost,
    /// Calls charged.
    pub calls: u64,
    pub lines: Vec<BillLine>,
}

impl Bill {
    pub fn picodollars(&self) -> i128 {
        self.lines.iter().map(|line| line.picodollars).sum()
    }

    pub fn tokens(&self, meter: Meter) -> u64 {
        self.lines
            .iter()
            .filter(|line| line.meter == meter)
            .map(|line| line.tokens)
            .sum()
    }

    /// Exact decimal dollars: `0.00043512`.
    pub fn total(&self) -> String {
        dollars(self.picodollars())
    }

    pub(super) fn to_json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "model": line.model,
                    "window": line.window,
                    "meter": line.meter.as_str(),
                    "tokens": line.tokens,
                    "amount": dollars(line.picodollars),
                })
            })
            .collect();
        json!({
            "host": self.host.name(),
            "demonstration": true,
            "currency": "USD",
            "calls": self.calls,
            "lines": lines,
            "total": self.total(),
        })
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: ${} for {} calls",
            self.host,
            self.total(),
            self.calls
        )?;
        for line in &self.lines {
            writeln!(
                f,
                "  {} {} {}: {} tokens, ${}",
                line.model,
                line.window,
                line.meter.as_str(),
                line.tokens,
                dollars(line.picodollars)
            )?;
        }
        Ok(())
    }
}

/// Picodollars as exact decimal dollars with at least two decimals.
pub fn dollars(picodollars: i128) -> String {
    let sign = if picodollars < 0 { "-" } else { "" };
    let digits = format!("{:013}", picodollars.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - 12);
    let fraction = fraction.trim_end_matches('0');
    format!("{sign}{whole}.{fraction:0<2}")
}

/// The calls that a host keeps one by one; beyond it only their sums are kept.
const CALLS_KEPT: usize = 100_000;

/// A host's own account book.
#[derive(Default)]
pub(super) struct Book {
    lines: BTreeMap<(String, String, Meter), (u64, i128)>,
    calls: Vec<BilledCall>,
    count: u64,
    total: i128,
}

impl Book {
    /// Charges a call; `call.window` and `call.picodollars` are filled in here.
    pub(super) fn charge(&mut self, mut call: BilledCall, price: &InForce) {
        let meters = [
            (Meter::CacheHit, call.cache_hit, price.charges.hit),
            (Meter::CacheMiss, call.cache_miss, price.charges.miss),
            (Meter::Output, call.output, price.charges.output),
        ];
        for (meter, tokens, rate) in meters {
            if tokens == 0 {
                continue;
            }
            let amount = i128::from(tokens) * i128::from(rate);
            let key = (call.model.clone(), price.window.clone(), meter);
            let line = self.lines.entry(key).or_default();
            line.0 += tokens;
            line.1 += amount;
            call.picodollars += amount;
        }
        call.window.clone_from(&price.window);
        self.total += call.picodollars;
        self.count += 1;
        if self.calls.len() < CALLS_KEPT {
            self.calls.push(call);
        }
    }

    pub(super) fn total(&self) -> i128 {
        self.total
    }

    pub(super) fn calls(&self) -> Vec<BilledCall> {
        self.calls.clone()
    }

    pub(super) fn bill(&self, host: EmulatedHost) -> Bill {
        let lines = self
            .lines
            .iter()
            .map(|((model, window, meter), (tokens, picodollars))| BillLine {
                model: model.clone(),
                window: window.clone(),
                meter: *meter,
                tokens: *tokens,
                picodollars: *picodollars,
            })
            .collect();
        Bill {
            host,
            calls: self.count,
            lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tariff::Charges;
    use super::*;

    fn call(cache_hit: u64, cache_miss: u64, output: u64) -> BilledCall {
        BilledCall {
            id: "chatcmpl-1".to_owned(),
            model: "deepseek-v4-pro".to_owned(),
            account: "default".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            billed: Timestamp::UNIX_EPOCH,
            window: String::new(),
            cache_hit,
            cache_miss,
            output,
            picodollars: 0,
            complete: true,
        }
    }

    #[test]
    fn a_bill_is_the_sum_of_its_calls_to_the_last_picodollar() {
        let peak = InForce {
            window: "2026-08-16/peak".to_owned(),
            charges: Charges {
                hit: 44_000,
                miss: 1_320_000,
                output: 3_960_000,
            },
        };
        let mut book = Book::default();
        book.charge(call(1_000, 200, 50), &peak);
        book.charge(call(0, 7, 1), &peak);
        let bill = book.bill(EmulatedHost::Deepseek);
        // 1000 x 0.044 + 207 x 1.32 + 51 x 3.96, in millionths of a dollar.
        assert_eq!(bill.total(), "0.0005192");
        assert_eq!(bill.picodollars(), book.total());
        assert_eq!(
            bill.picodollars(),
            book.calls()
                .iter()
                .map(|call| call.picodollars)
                .sum::<i128>()
        );
        assert_eq!(bill.tokens(Meter::CacheMiss), 207);
        assert_eq!(bill.lines.len(), 3);
    }

    #[test]
    fn dollars_are_written_in_full() {
        assert_eq!(dollars(0), "0.00");
        assert_eq!(dollars(3_625), "0.000000003625");
        assert_eq!(dollars(12_500_000_000_000), "12.50");
        assert_eq!(dollars(-1), "-0.000000000001");
    }
}
