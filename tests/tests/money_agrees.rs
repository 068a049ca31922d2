//! Money agrees with itself: whatever a ledger holds, and by whatever it is grouped, each figure of
//! `tollgate spend` is the sum of the entries behind it, to the last picodollar, on both databases.

use std::collections::BTreeMap;

use serde_json::Value;
use tollgate_tests::postgres::Database;
use tollgate_tests::{Chances, MockHost, Row, Setup, setting};

const YEAR: (&str, &str) = ("2026-01-01", "2027-01-01");

/// A ledger that nobody would keep: few names, many instants around the edges of days and months,
/// amounts from nothing to the largest that a cell holds.
fn random_ledger(chances: &mut Chances, entries: usize) -> Vec<Row> {
    let pick = |chances: &mut Chances, names: &[&str]| -> String {
        let index = chances.below(u64::try_from(names.len()).expect("few"));
        names[usize::try_from(index).expect("few")].to_owned()
    };
    let small = |chances: &mut Chances, end: u64| i64::try_from(chances.below(end)).expect("small");
    (0..entries)
        .map(|_| {
            let day = small(chances, 365);
            let midnight = 1_767_225_600_000_000 + day * 86_400_000_000;
            let billed_us = match chances.below(4) {
                0 => midnight,
                1 => midnight + 86_399_999_999,
                _ => midnight + small(chances, 86_400_000_000),
            };
            let unpriced = chances.below(20) == 0;
            let cost = match chances.below(10) {
                0 => 0,
                1 => i64::MAX - small(chances, 1_000),
                2 => 1,
                _ => small(chances, 10_000_000_000_000),
            };
            let attempt = small(chances, 3) + 1;
            Row {
                id: uuid::Uuid::now_v7().to_string(),
                request: uuid::Uuid::now_v7().to_string(),
                attempt,
                team: pick(
                    chances,
                    &["search", "legal", "billing", "Ünïcode \"team\", with; all"],
                ),
                project: pick(chances, &["default", "x"]),
                key: pick(
                    chances,
                    &[
                        "01990000-0000-7000-8000-000000000001",
                        "01990000-0000-7000-8000-000000000002",
                    ],
                ),
                tags: pick(chances, &["", "eu", "eu,soc2"]),
                host: pick(chances, &["alpha", "beta", "gamma"]),
                model: pick(chances, &["one", "two"]),
                started_us: billed_us - 1_000_000,
                ended_us: billed_us,
                billed_us,
                cache_miss: small(chances, 1_000_000),
                cache_hit: small(chances, 1_000_000),
                cache_write: 0,
                reasoning: small(chances, 100_000),
                visible: small(chances, 100_000),
                counted_by: pick(
                    chances,
                    &["reported", "drained", "counted", "estimated", "nothing"],
                ),
                outcome: pick(
                    chances,
                    &[
                        "answered",
                        "left",
                        "cut",
                        "refused",
                        "failed",
                        "timed_out",
                        "lost",
                    ],
                ),
                catalog: "none".to_owned(),
                price_state: if unpriced { "unpriced" } else { "priced" }.to_owned(),
                cost: (!unpriced).then_some(i128::from(cost)),
            }
        })
        .collect()
}

/// Picodollars of an amount in dollars.
fn picodollars(amount: &Value) -> i128 {
    let text = amount
        .as_str()
        .unwrap_or_else(|| panic!("money is text, never a number: {amount}"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 12, "{text}");
    format!("{whole}{fraction:0<12}")
        .parse()
        .unwrap_or_else(|_| panic!("no amount: {text}"))
}

fn value_of(row: &Row, dimension: &str) -> String {
    let instant = jiff::Timestamp::from_microsecond(row.billed_us).expect("an instant");
    match dimension {
        "team" => row.team.clone(),
        "project" => row.project.clone(),
        "key" => row.key.clone(),
        "tags" => row.tags.clone(),
        "host" => row.host.clone(),
        "model" => row.model.clone(),
        "outcome" => row.outcome.clone(),
        "counted_by" => row.counted_by.clone(),
        "hour" => instant.strftime("%Y-%m-%dT%H:00:00Z").to_string(),
        "day" => instant.strftime("%Y-%m-%d").to_string(),
        "month" => instant.strftime("%Y-%m").to_string(),
        other => panic!("no such dimension: {other}"),
    }
}

/// What each group ought to cost.
fn sums(rows: &[Row], dimensions: &[&str]) -> BTreeMap<Vec<String>, (i128, u64)> {
    let mut sums: BTreeMap<Vec<String>, (i128, u64)> = BTreeMap::new();
    for row in rows {
        let key = dimensions
            .iter()
            .map(|dimension| value_of(row, dimension))
            .collect();
        let sum = sums.entry(key).or_default();
        sum.0 += row.cost.unwrap_or(0);
        sum.1 += 1;
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grouping_sums_to_the_entries_behind_it_on_both_databases() {
    let mut chances = Chances::new();
    let dimensions = [
        "team",
        "project",
        "key",
        "tags",
        "host",
        "model",
        "outcome",
        "counted_by",
        "hour",
        "day",
        "month",
    ];
    for _ in 0..setting("TOLLGATE_RANDOM_LEDGERS", 4) {
        let database = Database::create().await;
        let entries = usize::try_from(chances.below(300)).expect("few");
        let rows = random_ledger(&mut chances, entries);
        let total: i128 = rows.iter().filter_map(|row| row.cost).sum();
        for setup in [Setup::default(), Setup::default().postgres(&database)] {
            let gateway = setup
                .host(MockHost::at("alpha", "http://127.0.0.1:9/v1"))
                .start()
                .await;
            gateway.ledger().insert(&rows).await;
            let mut groupings: Vec<Vec<&str>> = dimensions
                .iter()
                .map(|dimension| vec![*dimension])
                .collect();
            groupings.push(vec!["team", "host", "month"]);
            groupings.push(vec!["outcome", "counted_by"]);
            groupings.push(vec!["tags", "day", "model", "key"]);
            for grouping in groupings {
                let spend = gateway.spend(YEAR.0, YEAR.1, &grouping.join(",")).await;
                let mut told = BTreeMap::new();
                for row in spend["rows"]
                    .as_array()
                    .unwrap_or_else(|| panic!("rows: {spend}"))
                {
                    let key = grouping
                        .iter()
                        .map(|dimension| row[*dimension].as_str().expect("a name").to_owned());
                    let figures = (
                        picodollars(&row["cost"]),
                        row["attempts"].as_u64().expect("a count"),
                    );
                    let twice = told.insert(key.collect::<Vec<_>>(), figures);
                    assert!(twice.is_none(), "a group told twice: {row}");
                }
                assert_eq!(told, sums(&rows, &grouping), "by {grouping:?}");
                assert_eq!(told.values().map(|(cost, _)| cost).sum::<i128>(), total);
                assert_eq!(
                    picodollars(&spend["total"]["cost"]),
                    total,
                    "by {grouping:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_meet_share_no_entry_and_miss_none() {
    let mut chances = Chances::new();
    let database = Database::create().await;
    let rows = random_ledger(&mut chances, 200);
    for setup in [Setup::default(), Setup::default().postgres(&database)] {
        let gateway = setup
            .host(MockHost::at("alpha", "http://127.0.0.1:9/v1"))
            .start()
            .await;
        gateway.ledger().insert(&rows).await;
        let mut sum = 0;
        let edges = [
            "2026-01-01T00:00:00Z",
            "2026-02-01T00:00:00Z",
            "2026-02-01T17:30:00Z",
            "2026-07-15T00:00:00Z",
            "2026-12-31T00:00:00Z",
            "2027-01-01T00:00:00Z",
        ];
        for span in edges.windows(2) {
            let spend = gateway.spend(span[0], span[1], "team").await;
            sum += picodollars(&spend["total"]["cost"]);
        }
        assert_eq!(sum, rows.iter().filter_map(|row| row.cost).sum::<i128>());
    }
}
