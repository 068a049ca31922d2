//! What the gateway counts for operators. Names follow the code; labels are bounded: hosts, models,
//! outcomes and codes, never keys, teams or tags.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::chat::{Refusal, Usage};
use crate::id::{HostName, ModelName};
use crate::ledger::{Entry, Outcome, Price};

/// All counters, in one registry.
pub struct Metrics {
    registry: Registry,
    refusals: IntCounterVec,
    answers: IntCounter,
    seconds: Histogram,
    first_byte: HistogramVec,
    attempts: IntCounterVec,
    tokens: IntCounterVec,
    cost: IntCounterVec,
    /// Entries without a price: each is an alarm.
    pub unpriced: IntCounter,
    /// Settlements that could not be written: the estimate of the intent stands in their place.
    pub unsettled: IntCounter,
    /// Usages that contradict themselves.
    pub nonsense: IntCounter,
    pub in_flight: IntGauge,
    pub spool_unshipped: IntGauge,
    pub spool_bytes: IntGauge,
    pub open_attempts: IntGauge,
    /// Each is an alarm: it is in no sum until somebody deals with it.
    pub refused: IntGauge,
    pub damaged: IntGauge,
}

/// The counters of one host and model, looked up once.
pub struct SiteCounters {
    outcomes: [IntCounter; Outcome::ALL.len()],
    tokens: [IntCounter; 5],
    cost: IntCounter,
    first_byte: Histogram,
}

const TOKEN_KINDS: [&str; 5] = [
    "cache_miss",
    "cache_hit",
    "cache_write",
    "reasoning",
    "visible",
];

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// # Panics
    /// Never: the names are fixed, valid and distinct.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name");
            registry
                .register(Box::new(counters.clone()))
                .expect("a new name");
            counters
        };
        let one = |name: &str, help: &str| {
            let one = IntCounter::new(name, help).expect("a valid name");
            registry
                .register(Box::new(one.clone()))
                .expect("a new name");
            one
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a valid name");
            registry
                .register(Box::new(gauge.clone()))
                .expect("a new name");
            gauge
        };
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 20).expect("rising buckets");
        let seconds = Histogram::with_opts(
            HistogramOpts::new(
                "tollgate_request_seconds",
                "Time from a request's headers to the head of its answer.",
            )
            .buckets(buckets.clone()),
        )
        .expect("a valid name");
        registry
            .register(Box::new(seconds.clone()))
            .expect("a new name");
        let first_byte = HistogramVec::new(
            HistogramOpts::new(
                "tollgate_first_byte_seconds",
                "Time from sending an attempt to its first data (TTFT).",
            )
            .buckets(buckets),
            &["host", "model"],
        )
        .expect("a valid name");
        registry
            .register(Box::new(first_byte.clone()))
            .expect("a new name");
        Metrics {
            refusals: counter(
                "tollgate_refusals_total",
                "Requests that got no answer, by code.",
                &["code"],
            ),
            answers: one("tollgate_answers_total", "Requests that were answered."),
            attempts: counter(
                "tollgate_attempts_total",
                "Attempts at hosts, by how they ended.",
                &["host", "model", "outcome"],
            ),
            tokens: counter(
                "tollgate_tokens_total",
                "Tokens booked, by kind.",
                &["host", "model", "kind"],
            ),
            cost: counter(
                "tollgate_cost_picodollars_total",
                "Cost booked, in picodollars (10^-12 US dollars).",
                &["host", "model"],
            ),
            unpriced: one(
                "tollgate_unpriced_total",
                "Entries booked without a known price.",
            ),
            unsettled: one(
                "tollgate_unsettled_total",
                "Settlements that could not be written to the spool.",
            ),
            nonsense: one(
                "tollgate_usage_nonsense_total",
                "Usages reported by hosts that contradict themselves.",
            ),
            in_flight: gauge("tollgate_requests_in_flight", "Requests in flight."),
            spool_unshipped: gauge(
                "tollgate_spool_unshipped",
                "Settled entries that the database does not have yet.",
            ),
            spool_bytes: gauge("tollgate_spool_bytes", "Size of the spool on disk."),
            open_attempts: gauge(
                "tollgate_attempts_open",
                "Attempts opened and not yet settled.",
            ),
            refused: gauge(
                "tollgate_entries_refused",
                "Entries that the database refused: kept beside the spool, and in no sum.",
            ),
            damaged: gauge(
                "tollgate_spool_damaged",
                "Damaged stretches found in the spool, kept beside it.",
            ),
            first_byte,
            seconds,
            registry,
        }
    }

    pub fn site(&self, host: &HostName, model: &ModelName) -> SiteCounters {
        let (host, model) = (host.as_str(), model.as_str());
        SiteCounters {
            outcomes: Outcome::ALL.map(|outcome| {
                self.attempts
                    .with_label_values(&[host, model, outcome.as_str()])
            }),
            tokens: TOKEN_KINDS.map(|kind| self.tokens.with_label_values(&[host, model, kind])),
            cost: self.cost.with_label_values(&[host, model]),
            first_byte: self.first_byte.with_label_values(&[host, model]),
        }
    }

    pub(super) fn answered(&self, refusal: Option<&Refusal>, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        match refusal {
            None => self.answers.inc(),
            Some(refusal) => self
                .refusals
                .with_label_values(&[refusal.code.as_str()])
                .inc(),
        }
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus::TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}

impl SiteCounters {
    pub(super) fn settled(&self, entry: &Entry) {
        self.outcomes[entry.outcome as usize].inc();
        let Usage {
            cache_miss,
            cache_hit,
            cache_write,
            reasoning,
            visible,
        } = entry.usage;
        let counts = [cache_miss, cache_hit, cache_write, reasoning, visible];
        for (counter, count) in self.tokens.iter().zip(counts) {
            if count.get() > 0 {
                counter.inc_by(count.get());
            }
        }
        if let Price::Priced { cost, .. } = entry.price {
            self.cost
                .inc_by(u64::try_from(cost.picodollars()).unwrap_or(0));
        }
    }

    pub(super) fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
    }
}
