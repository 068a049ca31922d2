//! Figures that are made up, for the tests beside this file and for looking at the pages by hand:
//! two months of seven teams at eleven hosts, reckoned exactly from tokens and rates, the same on
//! every run. One ignored test serves them until it is stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use uuid::Uuid;

use super::figures::*;
use super::{DashboardRooms, DashboardSettings, router};
use crate::access::{Principal, Role};
use crate::catalog::{Rates, Source};
use crate::chat::{CountedBy, Tokens, Usage};
use crate::id::*;
use crate::ledger::{Entry, Outcome, Payer, Place, Price};
use crate::money::{Money, Rate};
use crate::pricing;
use crate::time::{Clock, Timestamp};

pub(super) const NOW: &str = "2026-11-24T08:36:12Z";
pub(super) const FINANCE: &str = "tg_sample_finance_0123456789abcdef";
pub(super) const APP: &str = "tg_sample_app_0123456789abcdef";

const TEAMS: [&str; 7] = [
    "payments",
    "search",
    "support",
    "risk-models",
    "legal-review",
    "mobile",
    "",
];

/// Name, title, dollars per million: cached, input, output. Made up.
const HOSTS: [(&str, &str, [&str; 3]); 11] = [
    ("deepseek", "DeepSeek API", ["0.003625", "0.435", "0.87"]),
    ("deepinfra", "DeepInfra", ["0.10", "0.42", "0.90"]),
    ("novita", "Novita AI", ["0.12", "0.45", "0.95"]),
    ("siliconflow", "SiliconFlow", ["0.11", "0.47", "0.99"]),
    ("together", "Together AI", ["0.20", "0.60", "1.70"]),
    ("fireworks", "Fireworks AI", ["0.15", "0.56", "1.68"]),
    ("baseten", "Baseten", ["0.18", "0.58", "1.60"]),
    ("azure", "Azure AI Foundry", ["0.145", "0.58", "1.74"]),
    ("bedrock", "Amazon Bedrock", ["0.145", "0.58", "1.74"]),
    ("vertex", "Vertex AI", ["0.14", "0.56", "1.68"]),
    ("selfhost", "Own GPUs", ["0.02", "0.31", "0.62"]),
];

/// The figures; tests change what they need.
pub(super) struct Sample {
    /// Key: day, team, host.
    pub(super) rows: Vec<Spend>,
    pub(super) entries: Vec<Entry>,
    pub(super) windows: Vec<WindowNow>,
    pub(super) in_spool: u64,
    pub(super) keys: Mutex<BTreeMap<String, Principal>>,
    /// The store is away.
    pub(super) broken: bool,
}

impl Sample {
    pub(super) fn new() -> Self {
        let keys = [
            (FINANCE.to_owned(), principal(Role::Finance, "treasury", 1)),
            (APP.to_owned(), principal(Role::App, "payments", 2)),
        ];
        Sample {
            rows: rows(),
            entries: (0..40).map(entry).collect(),
            windows: windows(),
            in_spool: 0,
            keys: Mutex::new(BTreeMap::from(keys)),
            broken: false,
        }
    }

    pub(super) fn serve(self) -> axum::Router {
        self.serve_with(DashboardSettings {
            https: false,
            demonstration: true,
        })
    }

    pub(super) fn serve_with(self, settings: DashboardSettings) -> axum::Router {
        self.shared(settings).0
    }

    /// With the figures kept in hand, to change them while they are served.
    pub(super) fn shared(self, settings: DashboardSettings) -> (axum::Router, Arc<Sample>) {
        let sample = Arc::new(self);
        let clock = Clock::starting_at(now());
        let rooms = DashboardRooms::new(sample.clone(), clock, &[7; 32], settings);
        (router(rooms), sample)
    }
}

pub(super) fn now() -> Timestamp {
    NOW.parse().expect("an instant")
}

pub(super) fn principal(role: Role, team: &str, number: u128) -> Principal {
    Principal {
        payer: payer(team, number),
        role,
        tags: Vec::new(),
        budget: None,
        expires: None,
    }
}

fn payer(team: &str, number: u128) -> Payer {
    Payer {
        organisation: "acme".into(),
        team: team.into(),
        project: if team.is_empty() { "" } else { "core" }.into(),
        key: KeyId::from_uuid(Uuid::from_u128(
            0x0193_5d00_0000_7000_8000_0000_0000_0000 + number,
        )),
    }
}

fn rates(of: [&str; 3], factor: u64) -> Rates {
    let rate = |text: &str| {
        let rate: Rate = text.parse().expect("a rate");
        Rate::from_picodollars_per_token(rate.picodollars_per_token() * factor)
    };
    Rates {
        cache_hit: rate(of[0]),
        cache_miss: rate(of[1]),
        cache_write: rate(of[1]),
        output: rate(of[2]),
    }
}

fn source() -> Source {
    Source {
        from: "https://api-docs.deepseek.com/quick_start/pricing".into(),
        read: date(2026, 11, 20),
    }
}

/// Even numbers, the same on every run.
fn scatter(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

fn usage(seed: u64, size: u64) -> Usage {
    let part = |number: u64, most: u64| {
        Tokens::new(size * (scatter(seed * 7 + number) % most + most / 4) / most)
    };
    Usage {
        cache_miss: part(1, 40),
        cache_hit: part(2, 90),
        cache_write: Tokens::ZERO,
        reasoning: Tokens::new(part(3, 60).get() / 5),
        visible: Tokens::new(part(4, 60).get() / 3),
    }
}

fn rows() -> Vec<Spend> {
    let first = date(2026, 10, 1);
    let mut rows = Vec::new();
    for (number, day) in first.series(jiff::Span::new().days(1)).take(55).enumerate() {
        let weekend = day.weekday().to_monday_zero_offset() >= 5;
        for (team_number, team) in TEAMS.iter().enumerate() {
            for (host_number, (host, _, prices)) in HOSTS.iter().enumerate() {
                let seed = (number * 100 + team_number * 13 + host_number) as u64;
                // Most goes to the cheap hosts; the legal team may only use three.
                let legal = *team == "legal-review";
                if scatter(seed) % 9 < host_number as u64 && host_number != 10
                    || legal && !(6..9).contains(&host_number)
                {
                    continue;
                }
                let weight =
                    90 / (host_number as u64 % 10 + 1) * (16 / (team_number as u64 + 1) + 1);
                let size = weight * if weekend { 3_000 } else { 14_000 };
                let usage = usage(seed, size);
                let cost = pricing::cost(&rates(*prices, 1), &usage);
                let spread = pricing::cost(&rates(["0.12", "0.52", "1.32"], 1), &usage);
                let list = pricing::cost(
                    &rates(*prices, if host_number == 0 { 2 } else { 1 }),
                    &usage,
                );
                rows.push(Spend {
                    key: vec![day.to_string(), (*team).to_owned(), (*host).to_owned()],
                    requests: size / 2_900 + 1,
                    attempts: size / 2_900 + 1 + scatter(seed) % 4,
                    usage,
                    cost,
                    list,
                    spread,
                    unpriced: 0,
                });
            }
        }
    }
    rows
}

fn windows() -> Vec<WindowNow> {
    let mut windows = Vec::new();
    for (model, factor) in [("deepseek-v4-pro", 4), ("deepseek-v4-flash", 1)] {
        for (host, title, prices) in HOSTS {
            let peak = host == "deepseek";
            let band = if peak { "peak" } else { "flat" };
            let price = |factor| WindowPrice {
                window: format!("{model}/2026-08-22/{band}").as_str().into(),
                band: band.into(),
                rates: rates(prices, factor),
                provisional: false,
                source: source(),
            };
            let at = |text: &str| text.parse().expect("an instant");
            windows.push(WindowNow {
                host: host.into(),
                title: title.into(),
                model: model.into(),
                price: (host != "vertex" || factor == 1)
                    .then(|| price(if peak { factor * 2 } else { factor })),
                next: match host {
                    "deepseek" => Some(NextChange {
                        at: at("2026-11-24T10:00:00Z"),
                        band: "off-peak".into(),
                        rates: Some(rates(prices, factor)),
                    }),
                    "novita" => Some(NextChange {
                        at: at("2026-12-01T00:00:00Z"),
                        band: "flat".into(),
                        rates: Some(rates(["0.12", "0.43", "0.91"], factor)),
                    }),
                    _ => None,
                },
            });
        }
    }
    windows
}

fn entry(number: u64) -> Entry {
    let place = usize::try_from(number).expect("a small number");
    let (host, _, prices) = HOSTS[[1, 0, 10, 1, 2, 0, 8, 7, 10, 1][place % 10]];
    let eu = matches!(host, "bedrock" | "azure");
    let model = if number.is_multiple_of(3) {
        "deepseek-v4-flash"
    } else {
        "deepseek-v4-pro"
    };
    let team = if eu { "legal-review" } else { TEAMS[place % 7] };
    let outcome = match number {
        4 => Outcome::Left,
        11 => Outcome::TimedOut,
        17 => Outcome::Cut,
        _ => Outcome::Answered,
    };
    let usage = if number == 11 {
        Usage::default()
    } else {
        usage(number, 9_000)
    };
    let rates = rates(prices, 1);
    let cost = pricing::cost(&rates, &usage);
    let region = if eu { "eu-central-1" } else { "global" };
    let backend = |host: &str, region: &str| format!("{host}/default/{region}/{model}");
    let ranked: Vec<_> = if eu {
        vec![(backend(host, region), cost)]
    } else {
        let others = [
            "novita",
            "siliconflow",
            "fireworks",
            "together",
            "deepinfra",
            "selfhost",
        ];
        let mut ranked = vec![(backend(host, region), cost)];
        ranked.extend(
            others
                .iter()
                .filter(|other| **other != host)
                .enumerate()
                .map(|(rank, other)| {
                    (
                        backend(other, "global"),
                        cost + Money::from_picodollars(
                            cost.picodollars() / 10 * (rank as i128 + 1),
                        ),
                    )
                }),
        );
        ranked
    };
    let ranked: Vec<_> = ranked
        .into_iter()
        .enumerate()
        .map(|(rank, (backend, cost))| serde_json::json!({"backend": backend, "cost": cost, "window": format!("{model}/2026-08-22/flat"), "ttft_ms": 420 + 90 * rank}))
        .collect();
    let rejected: Vec<_> = if eu {
        HOSTS.iter().filter(|one| one.0 != host).map(|one| serde_json::json!({"backend": backend(one.0, "global"), "reason": "lacks tag eu"})).collect()
    } else {
        vec![
            serde_json::json!({"backend": backend("vertex", "global"), "reason": "no price known at this instant"}),
        ]
    };
    let started = now() - SignedDuration::from_secs(3 + 47 * number as i64);
    Entry {
        id: EntryId::from_uuid(Uuid::from_u128(0x0193_5d00_0000_7000_8000_0000_0001_0000 + u128::from(number))),
        request: RequestId::from_uuid(Uuid::from_u128(0x0193_5d00_0000_7000_8000_0000_0002_0000 + u128::from(number))),
        attempt: 1,
        payer: payer(team, 10 + u128::from(number % 7)),
        tags: if eu { "eu" } else { "" }.into(),
        surface: if number.is_multiple_of(4) { "anthropic_messages" } else { "openai_chat" }.into(),
        place: Place { host: host.into(), account: "default".into(), region: region.into(), model: model.into(), host_model: "deepseek-ai/DeepSeek-V4".into() },
        started,
        first_byte: (number != 11).then(|| started + SignedDuration::from_millis(412)),
        ended: started + SignedDuration::from_millis(2_345),
        billed: started,
        host_request: Some("req-7f3a".into()),
        usage,
        counted_by: match outcome {
            Outcome::Left => CountedBy::Drained,
            Outcome::Cut => CountedBy::Counted,
            Outcome::TimedOut => CountedBy::Nothing,
            _ => CountedBy::Reported,
        },
        outcome,
        catalog: "b1946ac92492d234".into(),
        window: Some(format!("{model}/2026-08-22/flat").as_str().into()),
        price: Price::Priced {
            cost,
            list: cost + cost,
            spread: cost + Money::from_picodollars(cost.picodollars() / 3),
            provisional: number == 7,
        },
        decision: serde_json::json!({"chosen": backend(host, region), "policy": "cheapest", "ranked": ranked, "rejected": rejected, "attempt": 1}).to_string().into(),
    }
}

impl Figures for Sample {
    fn spend<'a>(
        &'a self,
        _: &'a OrganisationName,
        span: Span,
        by: &'a [Dimension],
    ) -> Answer<'a, Vec<Spend>> {
        Box::pin(async move {
            if self.broken {
                return Err(FiguresError::Store(
                    "connection refused at db.internal:5432".to_owned(),
                ));
            }
            let mut sums: BTreeMap<Vec<String>, Spend> = BTreeMap::new();
            for row in &self.rows {
                let day: Date = row.key[0].parse().expect("a day");
                let start = day
                    .to_zoned_datetime(TimeZone::UTC)
                    .expect("a day")
                    .timestamp();
                if start < span.from || start >= span.until {
                    continue;
                }
                let place = |dimension: &Dimension| match dimension {
                    Dimension::Day => 0,
                    Dimension::Team => 1,
                    Dimension::Host => 2,
                };
                let key: Vec<String> = by
                    .iter()
                    .map(|dimension| row.key[place(dimension)].clone())
                    .collect();
                let sum = sums.entry(key.clone()).or_insert_with(|| Spend {
                    key,
                    ..Spend::default()
                });
                sum.requests += row.requests;
                sum.attempts += row.attempts;
                sum.cost += row.cost;
                sum.list += row.list;
                sum.spread += row.spread;
                sum.unpriced += row.unpriced;
                sum.usage.cache_miss = sum.usage.cache_miss + row.usage.cache_miss;
                sum.usage.cache_hit = sum.usage.cache_hit + row.usage.cache_hit;
                sum.usage.reasoning = sum.usage.reasoning + row.usage.reasoning;
                sum.usage.visible = sum.usage.visible + row.usage.visible;
            }
            Ok(sums.into_values().collect())
        })
    }

    fn recent<'a>(&'a self, _: &'a OrganisationName, limit: u32) -> Answer<'a, Vec<Entry>> {
        Box::pin(async move { Ok(self.entries.iter().take(limit as usize).cloned().collect()) })
    }

    fn entry<'a>(
        &'a self,
        _: &'a OrganisationName,
        id: EntryId,
    ) -> Answer<'a, Option<EntryInFull>> {
        Box::pin(async move {
            Ok(self
                .entries
                .iter()
                .find(|entry| entry.id == id)
                .map(|entry| EntryInFull {
                    entry: entry.clone(),
                    price: entry.price.cost().map(|_| {
                        let host = HOSTS
                            .iter()
                            .find(|host| host.0 == entry.place.host.as_str())
                            .expect("a host");
                        WindowPrice {
                            window: entry.window.clone().expect("a window"),
                            band: "flat".into(),
                            rates: rates(host.2, 1),
                            provisional: false,
                            source: source(),
                        }
                    }),
                }))
        })
    }

    fn windows_now(&self, _: Timestamp) -> Vec<WindowNow> {
        self.windows.clone()
    }

    fn status(&self) -> Answer<'_, Status> {
        Box::pin(async move {
            Ok(Status {
                as_of: now(),
                in_spool: self.in_spool,
            })
        })
    }

    fn sign_in<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Principal>> {
        Box::pin(async move { Ok(self.keys.lock().get(key).cloned()) })
    }

    fn holder(&self, key: KeyId) -> Answer<'_, Option<Principal>> {
        Box::pin(async move {
            Ok(self
                .keys
                .lock()
                .values()
                .find(|principal| principal.payer.key == key)
                .cloned())
        })
    }
}
