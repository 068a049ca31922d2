//! The store on both databases: each test has one body for the two.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::testing::{Fresh, on_both};
use super::{Dim, SpendQuery, SpendRow};
use crate::chat::{Tokens, Usage};
use crate::id::RequestId;
use crate::ledger::sample::{self, noon};
use crate::ledger::{Entry, Price};
use crate::money::Money;
use crate::time::{self, Timestamp};

fn all(by: &[Dim]) -> SpendQuery {
    SpendQuery {
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        by: by.to_vec(),
    }
}

fn priced(cost: i64, list: i64, spread: i64) -> Price {
    Price::Priced {
        cost: Money::from_cell(cost),
        list: Money::from_cell(list),
        spread: Money::from_cell(spread),
        provisional: false,
    }
}

#[test]
fn an_entry_comes_back_as_it_was_written() {
    on_both(async |fresh: &Fresh| {
        let mut runner = TestRunner::deterministic();
        let mut entries = Vec::new();
        for _ in 0..700 {
            let tree = sample::any_entry().new_tree(&mut runner).expect("an entry");
            entries.push(tree.current());
        }
        fresh.store.insert(&entries).await.expect("insert");
        for entry in &entries {
            let read = fresh.store.entry(entry.id).await.expect("read");
            assert_eq!(read.as_ref(), Some(entry));
        }
    });
}

#[test]
fn promise_2_an_entry_written_twice_is_there_once() {
    on_both(async |fresh: &Fresh| {
        let entries: Vec<Entry> = (0..100).map(sample::entry).collect();
        fresh.store.insert(&entries[..60]).await.expect("insert");
        fresh.store.insert(&entries[40..]).await.expect("insert");
        let twice = [entries[0].clone(), entries[0].clone()];
        fresh.store.insert(&twice).await.expect("insert");
        let mut changed = entries[5].clone();
        changed.price = Price::Unpriced;
        fresh.store.insert(&[changed]).await.expect("insert");

        let spend = fresh.store.spend(&all(&[])).await.expect("spend");
        assert_eq!(spend[0].attempts, 100);
        assert_eq!(spend[0].unpriced, 0, "the first word stands");
    });
}

#[test]
fn promise_3_no_entry_can_be_changed_or_removed() {
    on_both(async |fresh: &Fresh| {
        let entry = sample::entry(1);
        fresh
            .store
            .insert(std::slice::from_ref(&entry))
            .await
            .expect("insert");
        let mut attacks = vec![
            "UPDATE entry SET cost_pd = 0",
            "DELETE FROM entry",
            "INSERT INTO entry SELECT * FROM entry WHERE true ON CONFLICT (id) DO UPDATE SET cost_pd = 0",
        ];
        if fresh.url.starts_with("postgres") {
            attacks.push("TRUNCATE entry");
        } else {
            attacks.push("REPLACE INTO entry SELECT * FROM entry");
        }
        for attack in attacks {
            let done = sqlx::query(attack).execute(fresh.store.pool()).await;
            let error = done.expect_err(attack).to_string();
            assert!(error.contains("write a correction"), "{attack}: {error}");
        }
        let read = fresh.store.entry(entry.id).await.expect("read");
        assert_eq!(read, Some(entry));
    });
}

#[test]
fn sums_are_exact_far_beyond_what_a_cell_holds() {
    on_both(async |fresh: &Fresh| {
        let (most, least) = (i64::MAX, i64::MIN);
        let mut entries: Vec<Entry> = (0..9).map(sample::entry).collect();
        for entry in &mut entries {
            entry.price = priced(most, least, -1);
        }
        entries[0].price = Price::Unpriced;
        fresh.store.insert(&entries).await.expect("insert");
        let spend = fresh.store.spend(&all(&[Dim::Team])).await.expect("spend");
        assert_eq!(spend.len(), 1);
        assert_eq!(spend[0].cost, Money::from_picodollars(8 * i128::from(most)));
        assert_eq!(
            spend[0].list,
            Money::from_picodollars(8 * i128::from(least))
        );
        assert_eq!(spend[0].spread, Money::from_picodollars(-8));
        assert_eq!(spend[0].unpriced, 1);
    });
}

/// An oracle: the same grouping, in memory.
fn expected(entries: &[Entry], key: impl Fn(&Entry) -> Vec<String>) -> Vec<SpendRow> {
    let mut groups: BTreeMap<Vec<String>, (Vec<RequestId>, SpendRow)> = BTreeMap::new();
    for entry in entries {
        let key = key(entry);
        let (requests, row) = groups.entry(key.clone()).or_default();
        if !requests.contains(&entry.request) {
            requests.push(entry.request);
        }
        row.key = key;
        row.attempts += 1;
        row.requests = requests.len() as u64;
        row.usage = Usage {
            cache_miss: row.usage.cache_miss + entry.usage.cache_miss,
            cache_hit: row.usage.cache_hit + entry.usage.cache_hit,
            cache_write: row.usage.cache_write + entry.usage.cache_write,
            reasoning: row.usage.reasoning + entry.usage.reasoning,
            visible: row.usage.visible + entry.usage.visible,
        };
        match entry.price {
            Price::Unpriced => row.unpriced += 1,
            Price::Priced {
                cost, list, spread, ..
            } => {
                row.cost += cost;
                row.list += list;
                row.spread += spread;
            }
        }
    }
    groups.into_values().map(|(_, row)| row).collect()
}

fn some_entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (
        0..4_u8,
        0..3_u8,
        0..90_i64,
        any::<Option<(i64, i64, i64)>>(),
        0..1_u64 << 40,
    );
    proptest::collection::vec(one, 1..60).prop_map(|rows| {
        let mut entries: Vec<Entry> = Vec::new();
        for (team, host, days, price, tokens) in rows {
            let mut entry = sample::entry(0);
            entry.payer.team = format!("team {team}").as_str().into();
            entry.place.host = format!("host'{host}").as_str().into();
            entry.billed = time::from_cell(sample::NOON + days * 40_000_000_000);
            entry.usage.cache_hit = Tokens::new(tokens);
            entry.price = match price {
                Some((cost, list, spread)) => priced(cost, list, spread),
                None => Price::Unpriced,
            };
            if let Some(last) = entries.last()
                && team == 0
            {
                entry.request = last.request;
                entry.attempt = last.attempt + 1;
            }
            entries.push(entry);
        }
        entries
    })
}

#[test]
fn every_grouping_adds_up_to_the_same_exact_total() {
    on_both(async |fresh: &Fresh| {
        let mut runner = TestRunner::deterministic();
        let mut entries = Vec::new();
        for _ in 0..12 {
            let more = some_entries()
                .new_tree(&mut runner)
                .expect("entries")
                .current();
            fresh.store.insert(&more).await.expect("insert");
            entries.extend(more);

            let spend = |by: &'static [Dim]| {
                let store = fresh.store.clone();
                async move { store.spend(&all(by)).await.expect("spend") }
            };
            assert_eq!(spend(&[]).await, expected(&entries, |_| vec![]));
            assert_eq!(
                spend(&[Dim::Team, Dim::Host]).await,
                expected(&entries, |entry| vec![
                    entry.payer.team.to_string(),
                    entry.place.host.to_string()
                ])
            );
            for (dim, length, rest) in [
                (&[Dim::Month], 7, ""),
                (&[Dim::Day], 10, ""),
                (&[Dim::Hour], 13, ":00:00Z"),
            ] {
                assert_eq!(
                    spend(dim).await,
                    expected(&entries, |entry| vec![format!(
                        "{}{rest}",
                        &entry.billed.to_string()[..length]
                    )])
                );
            }
        }
    });
}

#[test]
fn each_dimension_can_be_grouped_by() {
    on_both(async |fresh: &Fresh| {
        let mut entry = sample::entry(1);
        entry.window = None;
        fresh.store.insert(&[entry.clone()]).await.expect("insert");
        let rows = fresh.store.spend(&all(&Dim::ALL)).await.expect("spend");
        let key: Vec<&str> = rows[0].key.iter().map(String::as_str).collect();
        let key_id = entry.payer.key.to_string();
        assert_eq!(
            key,
            [
                "acme",
                "search",
                "ranking",
                &key_id,
                "deepseek",
                "default",
                "global",
                "deepseek-v4-pro",
                "",
                "answered",
                "reported",
                "openai_chat",
                "eu,soc2",
                "2026-11-24T12:00:00Z",
                "2026-11-24",
                "2026-11",
            ]
        );
    });
}

#[test]
fn a_span_takes_its_first_instant_and_leaves_its_last() {
    on_both(async |fresh: &Fresh| {
        let entries: Vec<Entry> = (0..10).map(sample::entry).collect();
        fresh.store.insert(&entries).await.expect("insert");
        let query = SpendQuery {
            from: entries[2].billed,
            to: entries[7].billed,
            by: vec![],
        };
        assert_eq!(
            fresh.store.spend(&query).await.expect("spend")[0].attempts,
            5
        );
        let nothing = SpendQuery {
            from: entries[2].billed,
            to: entries[2].billed,
            by: vec![],
        };
        assert_eq!(fresh.store.spend(&nothing).await.expect("spend"), []);
    });
}

#[test]
fn pages_in_both_directions_show_each_entry_once() {
    on_both(async |fresh: &Fresh| {
        // Threes are billed at the same instant: the id decides.
        let mut entries: Vec<Entry> = (0..50).map(|n| sample::entry(n / 3)).collect();
        fresh.store.insert(&entries).await.expect("insert");
        entries.sort_by_key(|entry| (entry.billed, entry.id));

        let mut forwards: Vec<Entry> = Vec::new();
        loop {
            let after = forwards.last().map(|entry| (entry.billed, entry.id));
            let page = fresh
                .store
                .entries(noon(), Timestamp::MAX, after, 7)
                .await
                .expect("a page");
            if page.is_empty() {
                break;
            }
            forwards.extend(page);
        }
        assert_eq!(forwards, entries);

        let mut backwards: Vec<Entry> = Vec::new();
        loop {
            let before = backwards.last().map(|entry| (entry.billed, entry.id));
            let page = fresh.store.recent(7, before).await.expect("a page");
            if page.is_empty() {
                break;
            }
            backwards.extend(page);
        }
        backwards.reverse();
        assert_eq!(backwards, entries);
    });
}

#[test]
fn promise_4_the_files_of_a_catalog_version_are_kept_as_they_were_first() {
    on_both(async |fresh: &Fresh| {
        let files = BTreeMap::from([("deepseek.toml".to_owned(), "é = \"1\"\n".to_owned())]);
        let version = "v1".into();
        let store = &fresh.store;
        store
            .record_catalog(&version, &files, noon())
            .await
            .expect("keep");
        let other = BTreeMap::from([("deepseek.toml".to_owned(), String::new())]);
        store
            .record_catalog(&version, &other, noon())
            .await
            .expect("keep");
        assert_eq!(store.catalog(&version).await.expect("read"), Some(files));
        assert_eq!(store.catalog(&"v2".into()).await.expect("read"), None);
        store.ping().await.expect("it answers");
    });
}

#[test]
fn text_that_no_database_takes_is_made_takeable_and_sql_in_it_is_only_text() {
    on_both(async |fresh: &Fresh| {
        let mut entry = sample::entry(1);
        entry.host_request = Some("a\0b".into());
        entry.payer.team = "'); DROP TABLE entry; --".into();
        fresh.store.insert(&[entry.clone()]).await.expect("insert");
        let read = fresh
            .store
            .entry(entry.id)
            .await
            .expect("read")
            .expect("there");
        assert_eq!(read.host_request.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(read.payer.team, entry.payer.team);
    });
}

#[test]
fn a_database_opens_again_with_what_is_in_it() {
    on_both(async |fresh: &Fresh| {
        fresh
            .store
            .insert(&[sample::entry(1)])
            .await
            .expect("insert");
        let again = super::Store::open(&fresh.url).await.expect("open again");
        assert_eq!(again.recent(10, None).await.expect("read").len(), 1);
    });
}

#[tokio::test]
async fn analysts_on_postgres_read_dollars_and_instants() {
    let fresh = Fresh::postgres().await;
    let mut entry = sample::entry(0);
    entry.price = priced(902_625_001, i64::MAX, -1);
    fresh.store.insert(&[entry]).await.expect("insert");
    let sql = "SELECT cost::TEXT, list::TEXT, spread::TEXT, \
               to_char(billed AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') FROM entry_dollars";
    let row: (String, String, String, String) = sqlx::query_as(sql)
        .fetch_one(fresh.store.pool())
        .await
        .expect("a row");
    assert_eq!(row.0, "0.000902625001");
    assert_eq!(row.1, "9223372.036854775807");
    assert_eq!(row.2, "-0.000000000001");
    assert_eq!(row.3, "2026-11-24 12:00:00.000000");
}

#[tokio::test]
async fn what_is_no_database_is_told_without_its_password() {
    let Err(error) = super::Store::open("mysql://user:secret@host/name").await else {
        panic!("there is no such database");
    };
    assert!(!error.to_string().contains("secret"), "{error}");
}
