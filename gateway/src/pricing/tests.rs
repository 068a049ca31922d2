//! Windows tile time, end exactly where the price changes, and follow what was known when.

mod facts;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Window, cost, window};
use crate::catalog::{Catalog, Offer, Rates, TariffKind};
use crate::chat::{Tokens, Usage};
use crate::money::Rate;

const HEAD: &str = r#"
host = "acme"
title = "Acme"
wire = "openai"
auth = { kind = "bearer", env = "KEY" }
bills_at = "end"
source = "s"
read = 2026-11-24
[cache]
kind = "none"
source = "s"
read = 2026-11-24
[[endpoint]]
region = "global"
base_url = "https://acme.example/v1"
jurisdiction = "global"
source = "s"
read = 2026-11-24
[[offer]]
model = "m"
id = "m"
snapshot = "1"
context = 1
max_output = 1
capabilities = []
from = 2026-01-01T00:00:00Z
until = 2027-03-01T00:00:00Z
source = "s"
read = 2026-11-24
"#;

/// A list, a promotion in the middle of it announced late, a list with peak hours on working days,
/// and one more announced last that starts earlier than it was known.
const TARIFFS: &str = r#"
[[offer.tariff]]
name = "list"
kind = "list"
from = 2026-01-01T00:00:00Z
known = 2026-01-01T00:00:00Z
flat = { hit = "0.1", miss = "1", output = "2" }
source = "s"
read = 2026-11-24
[[offer.tariff]]
name = "sale"
kind = "promotion"
from = 2026-02-01T00:00:00Z
until = 2026-03-01T00:00:00Z
known = 2026-01-20T00:00:00Z
flat = { hit = "0.01", miss = "0.1", output = "0.2" }
source = "s"
read = 2026-11-24
[[offer.tariff]]
name = "hours"
kind = "list"
from = 2026-02-15T16:00:00Z
known = 2026-02-10T00:00:00Z
zone = "Asia/Shanghai"
calendar = "china"
source = "s"
read = 2026-11-24
bands = [
  { name = "peak", hours = ["09:00-12:00", "14:00-18:00"], days = ["mon", "tue", "wed", "thu", "fri"], holidays_off = true, hit = "0.4", miss = "4", output = "8" },
  { name = "off-peak", hit = "0.2", miss = "2", output = "4" },
]
[[offer.tariff]]
name = "cut"
kind = "list"
from = 2026-11-01T00:00:00Z
until = 2026-11-08T00:00:00Z
known = 2026-11-05T00:00:00Z
flat = { hit = "0", miss = "0", output = "0" }
source = "s"
read = 2026-11-24
"#;

fn catalog(tariffs: &str) -> Catalog {
    let models = "[[model]]\nname = \"m\"\ntitle = \"M\"\nsnapshots = [\"1\"]\nsource = \"s\"\nread = 2026-11-24\n";
    let china = "calendar = \"china\"\nknown_until = 2026-12-31\nholidays = [2026-05-01, 2026-10-01, 2026-10-02, \
                 2026-10-03, 2026-10-04, 2026-10-05, 2026-10-06, 2026-10-07]\nsource = \"s\"\nread = 2026-11-24\n";
    let files: BTreeMap<String, String> = [
        ("models.toml".to_owned(), models.to_owned()),
        ("china.toml".to_owned(), china.to_owned()),
        ("acme.toml".to_owned(), format!("{HEAD}{tariffs}")),
    ]
    .into();
    Catalog::from_files(files).expect("a small catalog")
}

fn offer(catalog: &Catalog) -> &Offer {
    &catalog.hosts["acme"].offers[0]
}

fn at(instant: &str) -> Timestamp {
    instant.parse().expect("an instant")
}

const ALL_KNOWN: &str = "2026-12-01T00:00:00Z";

fn read(instant: &str) -> Window {
    window(offer(&catalog(TARIFFS)), at(instant), at(ALL_KNOWN)).expect("a price")
}

#[test]
fn a_window_ends_where_its_band_does() {
    let morning = read("2026-11-24T02:00:00Z");
    assert_eq!(morning.id.as_str(), "m/hours/peak");
    assert_eq!(morning.from, at("2026-11-24T01:00:00Z"));
    assert_eq!(morning.until, Some(at("2026-11-24T04:00:00Z")));
    assert_eq!(morning.next.expect("noon").1.as_str(), "m/hours/off-peak");
}

#[test]
fn a_weekend_joins_the_nights_around_it() {
    let friday_night = read("2026-11-27T10:00:00Z");
    assert_eq!(friday_night.id.as_str(), "m/hours/off-peak");
    assert_eq!(friday_night.from, at("2026-11-27T10:00:00Z"));
    assert_eq!(friday_night.until, Some(at("2026-11-30T01:00:00Z")));
    assert_eq!(read("2026-11-29T23:00:00Z"), friday_night);
}

#[test]
fn holidays_are_off_and_days_worked_in_exchange_are_weekend_still() {
    let golden_week = read("2026-10-01T02:00:00Z");
    assert_eq!(golden_week.band.as_ref(), "off-peak");
    assert_eq!(golden_week.from, at("2026-09-30T10:00:00Z"));
    assert_eq!(golden_week.until, Some(at("2026-10-08T01:00:00Z")));
    // A Saturday that China works.
    assert_eq!(read("2026-10-10T02:00:00Z").band.as_ref(), "off-peak");
}

#[test]
fn a_promotion_stands_before_a_list_that_changes_behind_it() {
    let before = read("2026-02-10T00:00:00Z");
    assert_eq!(
        (before.id.as_str(), before.kind),
        ("m/sale/flat", TariffKind::Promotion)
    );
    assert_eq!(before.list.output.to_string(), "2.00");
    assert_eq!(
        before.until,
        Some(at("2026-02-15T16:00:00Z")),
        "then savings are counted otherwise"
    );
    let after = read("2026-02-20T00:00:00Z");
    assert_eq!(after.rates, before.rates);
    assert_eq!(after.list.output.to_string(), "8.00", "the dearest band");
    assert_eq!(after.until, Some(at("2026-03-01T00:00:00Z")));
}

#[test]
fn a_later_announcement_overrules_an_earlier_one_only_once_it_is_known() {
    let catalog = catalog(TARIFFS);
    let price = |known: &str| {
        window(offer(&catalog), at("2026-11-03T02:00:00Z"), at(known)).expect("a price")
    };
    assert_eq!(price("2026-11-04T23:59:59Z").id.as_str(), "m/hours/peak");
    assert_eq!(price("2026-11-05T00:00:00Z").id.as_str(), "m/cut/flat");
    assert_eq!(price("2026-01-15T00:00:00Z").id.as_str(), "m/list/flat");
}

#[test]
fn a_price_that_nobody_had_announced_is_unknown() {
    let catalog = catalog(TARIFFS);
    assert_eq!(
        window(
            offer(&catalog),
            at("2026-11-03T02:00:00Z"),
            at("2025-12-31T23:59:59Z")
        ),
        None
    );
    assert_eq!(
        window(offer(&catalog), at("2025-12-31T23:59:59Z"), at(ALL_KNOWN)),
        None
    );
    assert_eq!(
        window(offer(&catalog), at("2027-03-01T00:00:00Z"), at(ALL_KNOWN)),
        None
    );
}

#[test]
fn the_days_beyond_the_calendar_are_provisional() {
    let last = read("2026-12-31T15:59:59Z");
    assert!(!last.provisional);
    assert_eq!(last.until, Some(at("2026-12-31T16:00:00Z")));
    let first = read("2026-12-31T16:00:00Z");
    assert!(first.provisional);
    assert_eq!(first.rates, last.rates);
    assert_eq!(first.from, at("2026-12-31T16:00:00Z"));
}

#[test]
fn a_window_ends_with_its_offer() {
    let last = read("2027-02-28T23:59:59Z");
    assert_eq!(last.until, Some(at("2027-03-01T00:00:00Z")));
    assert_eq!(last.next, None);
}

#[test]
fn one_second_on_either_side_of_every_edge_of_a_working_day() {
    let second = SignedDuration::from_secs(1);
    for (edge, before, after) in [
        ("2026-11-24T01:00:00Z", "off-peak", "peak"),
        ("2026-11-24T04:00:00Z", "peak", "off-peak"),
        ("2026-11-24T06:00:00Z", "off-peak", "peak"),
        ("2026-11-24T10:00:00Z", "peak", "off-peak"),
    ] {
        let band = |instant: Timestamp| read(&instant.to_string()).band;
        assert_eq!(&*band(at(edge) - second), before, "before {edge}");
        assert_eq!(&*band(at(edge)), after, "at {edge}");
        assert_eq!(&*band(at(edge) + second), after, "after {edge}");
    }
}

const NEW_YORK: &str = r#"
[[offer.tariff]]
name = "night"
kind = "list"
from = 2026-01-01T00:00:00Z
known = 2026-01-01T00:00:00Z
zone = "America/New_York"
source = "s"
read = 2026-11-24
bands = [
  { name = "early", hours = ["01:30-02:30"], hit = "0.4", miss = "4", output = "8" },
  { name = "rest", hit = "0.2", miss = "2", output = "4" },
]
"#;

#[test]
fn hours_follow_a_clock_that_is_put_forward_or_back() {
    let catalog = catalog(NEW_YORK);
    let spans = |mut instant: Timestamp, end: Timestamp| {
        let mut spans = Vec::new();
        while instant < end {
            let found = window(offer(&catalog), instant, at(ALL_KNOWN)).expect("a price");
            if &*found.band == "early" {
                spans.push((
                    found.from.to_string(),
                    found.until.expect("an end").to_string(),
                ));
            }
            instant = found.until.expect("an end");
        }
        spans
    };
    let span = |from: &str, until: &str| (from.to_owned(), until.to_owned());
    // 2026-03-08: from 02:00 EST to 03:00 EDT. The hour from 02:00 does not exist.
    assert_eq!(
        spans(at("2026-03-08T05:00:00Z"), at("2026-03-08T12:00:00Z")),
        [span("2026-03-08T06:30:00Z", "2026-03-08T07:00:00Z")]
    );
    // 2026-11-01: from 02:00 EDT back to 01:00 EST. The hour from 01:00 comes twice.
    assert_eq!(
        spans(at("2026-11-01T04:00:00Z"), at("2026-11-01T12:00:00Z")),
        [
            span("2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z"),
            span("2026-11-01T06:30:00Z", "2026-11-01T07:30:00Z"),
        ]
    );
}

/// All instants of the year around which the small world's prices change.
fn instants() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (
        at("2025-12-01T00:00:00Z").as_second(),
        at("2027-04-01T00:00:00Z").as_second(),
    );
    let any = (first..last).prop_map(|second| Timestamp::from_second(second).expect("in range"));
    // Full hours are where things happen.
    let hours = (first / 3_600..last / 3_600)
        .prop_map(|hour| Timestamp::from_second(hour * 3_600).expect("in range"));
    prop_oneof![any, hours]
}

fn usages() -> impl Strategy<Value = Usage> {
    [
        0_u64..1 << 40,
        0..1 << 40,
        0..1 << 40,
        0..1 << 40,
        0..1 << 40,
    ]
    .prop_map(|[miss, hit, write, reasoning, visible]| Usage {
        cache_miss: Tokens::new(miss),
        cache_hit: Tokens::new(hit),
        cache_write: Tokens::new(write),
        reasoning: Tokens::new(reasoning),
        visible: Tokens::new(visible),
    })
}

proptest! {
    #[test]
    fn windows_tile_time(instant in instants(), known in instants(), tariffs in prop_oneof![Just(TARIFFS), Just(NEW_YORK)]) {
        let catalog = catalog(tariffs);
        let offer = offer(&catalog);
        let read = |at| window(offer, at, known);
        let one = SignedDuration::from_nanos(1);
        if let Some(here) = read(instant) {
            prop_assert!(here.from <= instant);
            prop_assert!(here.until.is_none_or(|until| instant < until));
            prop_assert_eq!(read(here.from), Some(here.clone()));
            prop_assert_ne!(read(here.from - one), Some(here.clone()));
            if let Some(until) = here.until {
                prop_assert_eq!(read(until - one), Some(here.clone()));
                let next = read(until);
                prop_assert_eq!(here.next, next.as_ref().map(|next| (until, next.id.clone())));
                if let Some(next) = next {
                    prop_assert_eq!(next.from, until);
                    prop_assert!((next.id, next.list, next.provisional) != (here.id, here.list, here.provisional));
                }
            }
        }
    }

    #[test]
    fn no_other_price_hides_inside_a_window(instant in instants(), part in 0.0_f64..1.0) {
        let catalog = catalog(TARIFFS);
        let read = |at| window(offer(&catalog), at, at_all_known());
        if let Some(here) = read(instant) {
            let end = here.until.unwrap_or(at("2027-04-01T00:00:00Z"));
            let inside = here.from + end.duration_since(here.from).mul_f64(part);
            prop_assert_eq!(read(inside), Some(here));
        }
    }

    #[test]
    fn costs_add_up(one in usages(), other in usages(), rates in [0_u64..1 << 32, 0..1 << 32, 0..1 << 32, 0..1 << 32]) {
        let [cache_hit, cache_miss, cache_write, output] = rates.map(Rate::from_picodollars_per_token);
        let rates = Rates { cache_hit, cache_miss, cache_write, output };
        let both = Usage {
            cache_miss: one.cache_miss + other.cache_miss,
            cache_hit: one.cache_hit + other.cache_hit,
            cache_write: one.cache_write + other.cache_write,
            reasoning: one.reasoning + other.reasoning,
            visible: one.visible + other.visible,
        };
        prop_assert_eq!(cost(&rates, &one) + cost(&rates, &other), cost(&rates, &both));
    }
}

fn at_all_known() -> Timestamp {
    at(ALL_KNOWN)
}
