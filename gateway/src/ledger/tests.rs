//! The ledger from end to end: spool, death, recovery, store. Deaths here are those that a process
//! can die inside a test: everything is dropped at once, nothing drained. `tests/` kills real
//! processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::sample::{self, intent_of, noon};
use super::spool::{Pending, pending};
use super::store::{Dim, SpendQuery};
use super::testing::{Fresh, on_both};
use super::{Durability, Entry, Ledger, LedgerError, Outcome, Settings, SpoolError, Store};
use crate::id::EntryId;
use crate::time::Timestamp;

const SOON: Duration = Duration::from_secs(30);

fn spool(fresh: &Fresh) -> PathBuf {
    fresh.folder.path().join("spool")
}

fn settings(fresh: &Fresh) -> Settings {
    Settings {
        segment_bytes: 4_096,
        ..Settings::in_folder(spool(fresh))
    }
}

async fn start(fresh: &Fresh) -> Ledger {
    start_on(fresh, fresh.store.clone()).await
}

async fn start_on(fresh: &Fresh, store: Store) -> Ledger {
    Ledger::start(settings(fresh), store, |_, _| {})
        .await
        .expect("the ledger starts")
}

/// A store that takes nothing, as one that is down.
async fn a_store_that_is_down(fresh: &Fresh) -> Store {
    let store = Store::open(&fresh.url).await.expect("open");
    store.hang_up().await;
    store
}

async fn stored(store: &Store) -> BTreeMap<EntryId, Entry> {
    let entries = store
        .entries(Timestamp::MIN, Timestamp::MAX, None, 1_000_000)
        .await
        .expect("read");
    let count = entries.len();
    let by_id: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.id, entry)).collect();
    assert_eq!(by_id.len(), count, "no entry is there twice");
    by_id
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|item| item.expect("an item").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    found.sort();
    found
}

async fn write(ledger: &Ledger, entry: &Entry) {
    ledger
        .open(&intent_of(entry))
        .expect("open")
        .await
        .expect("written");
    ledger
        .settle(entry)
        .expect("settle")
        .await
        .expect("written");
}

#[test]
fn what_is_settled_reaches_the_store_and_leaves_the_spool() {
    on_both(async |fresh: &Fresh| {
        let ledger = start(fresh).await;
        let entries: Vec<Entry> = (0..100).map(sample::entry).collect();
        for entry in &entries {
            write(&ledger, entry).await;
        }
        let open = sample::entry(100);
        drop(ledger.open(&intent_of(&open)).expect("open"));
        ledger.drain(SOON).await.expect("drained");
        let status = ledger.status();
        assert_eq!((status.unshipped, status.open), (0, 1));
        assert_eq!((status.oldest_unshipped, status.last_error), (None, None));
        let expected: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.id, entry)).collect();
        assert_eq!(stored(&fresh.store).await, expected);
        // 100 attempts took some 30 segments.
        assert!(
            segments(&spool(fresh)).len() < 5,
            "{:?}",
            segments(&spool(fresh))
        );
        ledger.close().await;
    });
}

#[test]
fn promise_1_an_attempt_that_we_die_in_is_booked_as_its_intent_foresaw() {
    on_both(async |fresh: &Fresh| {
        let ledger = start(fresh).await;
        let (ended, orphan) = (sample::entry(1), intent_of(&sample::entry(2)));
        write(&ledger, &ended).await;
        drop(ledger.open(&orphan).expect("open"));
        ledger.die().await;

        let ledger = start(fresh).await;
        ledger.drain(SOON).await.expect("drained");
        let stored = stored(&fresh.store).await;
        assert_eq!(stored.len(), 2);
        assert_eq!(stored[&ended.id], ended);
        assert_eq!(stored[&orphan.id], orphan);
        assert_eq!(stored[&orphan.id].outcome, Outcome::Lost);
        assert_eq!(ledger.status().open, 0);
        ledger.close().await;
    });
}

#[tokio::test]
async fn an_orphan_can_be_refined_by_what_such_requests_used() {
    let fresh = Fresh::sqlite().await;
    let ledger = start_on(&fresh, a_store_that_is_down(&fresh).await).await;
    let (ended, orphan) = (sample::entry(1), intent_of(&sample::entry(2)));
    write(&ledger, &ended).await;
    drop(ledger.open(&orphan).expect("open"));
    ledger.die().await;

    let store = fresh.store.clone();
    let (ended_id, orphan_id) = (ended.id, orphan.id);
    let ledger = Ledger::start(settings(&fresh), store, move |entry, seen| {
        assert_eq!(entry.id, orphan_id);
        assert_eq!(
            seen.iter().map(|entry| entry.id).collect::<Vec<_>>(),
            [ended_id]
        );
        entry.usage = seen[0].usage;
        entry.id = EntryId::new();
    })
    .await
    .expect("starts");
    ledger.drain(SOON).await.expect("drained");
    let stored = stored(&fresh.store).await;
    assert_eq!(
        stored[&orphan.id].usage, ended.usage,
        "refined, under its own id"
    );
    assert_eq!(stored.len(), 2);
    ledger.close().await;
}

/// What a seeded run does next.
#[derive(Clone, Debug)]
enum Step {
    Open,
    /// The `which`th open attempt.
    Settle(usize),
    Ship,
    Die,
    /// Dies, and the cursor is lost, torn, or as it was before.
    DieWithCursor(Cursor),
    /// Dies while the store is away, and starts again before it is back.
    DieWithoutStore,
}

#[derive(Clone, Copy, Debug)]
enum Cursor {
    Lost,
    Torn,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => Just(Step::Open),
        12 => any::<usize>().prop_map(Step::Settle),
        2 => Just(Step::Ship),
        1 => Just(Step::Die),
        1 => prop_oneof![Just(Cursor::Lost), Just(Cursor::Torn)].prop_map(Step::DieWithCursor),
        1 => Just(Step::DieWithoutStore),
    ];
    proptest::collection::vec(step, 30..120)
}

#[test]
fn promise_2_every_attempt_is_in_the_store_exactly_once_whatever_dies_when() {
    on_both(async |fresh: &Fresh| {
        let mut runner = TestRunner::deterministic();
        let mut expected: BTreeMap<EntryId, Entry> = BTreeMap::new();
        let mut n = 0;
        for _ in 0..6 {
            let steps = steps().new_tree(&mut runner).expect("steps").current();
            let mut ledger = start(fresh).await;
            let mut open: Vec<Entry> = Vec::new();
            for step in steps {
                match step {
                    Step::Open => {
                        n += 1;
                        let entry = sample::entry(n);
                        let intent = intent_of(&entry);
                        ledger.open(&intent).expect("open").await.expect("written");
                        expected.insert(entry.id, intent);
                        open.push(entry);
                    }
                    Step::Settle(which) if !open.is_empty() => {
                        let entry = open.swap_remove(which % open.len());
                        ledger
                            .settle(&entry)
                            .expect("settle")
                            .await
                            .expect("written");
                        expected.insert(entry.id, entry);
                    }
                    Step::Settle(_) => {}
                    Step::Ship => ledger.drain(SOON).await.expect("drained"),
                    Step::Die | Step::DieWithCursor(_) | Step::DieWithoutStore => {
                        ledger.die().await;
                        open.clear();
                        let cursor = spool(fresh).join("cursor");
                        match step {
                            Step::DieWithCursor(Cursor::Lost) => {
                                std::fs::remove_file(&cursor).expect("removed");
                            }
                            Step::DieWithCursor(Cursor::Torn) => {
                                std::fs::write(&cursor, b"TOLLGCUR\x01\x02").expect("torn");
                            }
                            Step::DieWithoutStore => {
                                let down = a_store_that_is_down(fresh).await;
                                start_on(fresh, down).await.die().await;
                            }
                            _ => {}
                        }
                        ledger = start(fresh).await;
                    }
                }
            }
            ledger.die().await;
            let ledger = start(fresh).await;
            ledger.drain(SOON).await.expect("drained");
            assert_eq!(stored(&fresh.store).await, expected);
            ledger.close().await;
        }
    });
}

#[tokio::test]
async fn promise_2_cut_at_any_byte_a_spool_gives_back_what_was_whole() {
    let fresh = Fresh::sqlite().await;
    let ledger = start_on(&fresh, a_store_that_is_down(&fresh).await).await;
    let (first, second) = (sample::entry(1), sample::entry(2));
    write(&ledger, &first).await;
    let whole = std::fs::metadata(&segments(&spool(&fresh))[0])
        .expect("a file")
        .len();
    drop(ledger.open(&intent_of(&second)).expect("open"));
    ledger.die().await;
    let bytes = std::fs::read(&segments(&spool(&fresh))[0]).expect("read");

    let name = segments(&spool(&fresh))[0]
        .file_name()
        .expect("a name")
        .to_owned();
    for cut in (usize::try_from(whole).expect("small")..bytes.len()).step_by(37) {
        let folder = fresh.folder.path().join(format!("cut-{cut}"));
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join(&name), &bytes[..cut]).expect("written");
        let torn = cut as u64 > whole;
        let settings = Settings::in_folder(&folder);
        let ledger = Ledger::start(settings, a_store_that_is_down(&fresh).await, |_, _| {
            panic!("there is no orphan");
        })
        .await
        .expect("starts");
        let status = ledger.status();
        assert_eq!((status.unshipped, status.damaged), (1, u64::from(torn)));
        assert_eq!(
            folder
                .join(format!("damaged-0000000000000001-{whole}"))
                .exists(),
            torn
        );
        ledger.die().await;
        // What was cut off is gone for good, not found damaged again.
        let again = Settings::in_folder(&folder);
        let ledger = Ledger::start(again, a_store_that_is_down(&fresh).await, |_, _| {})
            .await
            .expect("starts");
        assert_eq!((ledger.status().unshipped, ledger.status().damaged), (1, 0));
        ledger.die().await;
    }
}

#[tokio::test]
async fn damage_in_the_middle_costs_only_the_entry_it_hit() {
    let fresh = Fresh::sqlite().await;
    let ledger = start_on(&fresh, a_store_that_is_down(&fresh).await).await;
    let entries: Vec<Entry> = (0..20).map(sample::entry).collect();
    for entry in &entries {
        drop(ledger.settle(entry).expect("settle"));
    }
    ledger.die().await;
    let file = &segments(&spool(&fresh))[1];
    let mut bytes = std::fs::read(file).expect("read");
    bytes[500] ^= 4;
    std::fs::write(file, bytes).expect("written");

    let ledger = start(&fresh).await;
    ledger.drain(SOON).await.expect("drained");
    assert_eq!(stored(&fresh.store).await.len(), 19);
    assert!(ledger.status().damaged > 0);
    assert_eq!(ledger.status().unshipped, 0);
    ledger.close().await;
}

#[tokio::test]
async fn a_full_spool_takes_no_new_attempts_but_settles_those_it_took() {
    let fresh = Fresh::sqlite().await;
    let settings = Settings {
        limit_bytes: 20_000,
        ..settings(&fresh)
    };
    let down = a_store_that_is_down(&fresh).await;
    let ledger = Ledger::start(settings.clone(), down, |_, _| {})
        .await
        .expect("starts");
    let mut open = Vec::new();
    let full = loop {
        let entry = sample::entry(1);
        match ledger.open(&intent_of(&entry)) {
            Ok(written) => drop(written),
            Err(full) => break full,
        }
        open.push(entry);
    };
    assert!(matches!(full, SpoolError::Full { bytes, limit_bytes: 20_000 } if bytes <= 20_000));
    for entry in &open {
        drop(ledger.settle(entry).expect("room for what it took"));
    }
    ledger.die().await;
    let ledger = Ledger::start(settings, fresh.store.clone(), |_, _| {})
        .await
        .expect("starts");
    assert!(
        ledger.open(&intent_of(&sample::entry(1))).is_err(),
        "still full"
    );
    ledger.drain(SOON).await.expect("drained");
    drop(
        ledger
            .open(&intent_of(&sample::entry(1)))
            .expect("room again"),
    );
    assert_eq!(stored(&fresh.store).await.len(), open.len());
    ledger.close().await;
}

#[tokio::test]
async fn an_attempt_that_takes_for_ever_does_not_hold_the_spool() {
    let fresh = Fresh::sqlite().await;
    let ledger = start(&fresh).await;
    let long = intent_of(&sample::entry(0));
    drop(ledger.open(&long).expect("open"));
    for round in 0..30 {
        for n in 0..10 {
            write(&ledger, &sample::entry(round * 10 + n)).await;
        }
        ledger.drain(SOON).await.expect("drained");
    }
    assert!(
        segments(&spool(&fresh)).len() <= 12,
        "{}",
        segments(&spool(&fresh)).len()
    );
    assert_eq!(ledger.status().open, 1);
    ledger.die().await;
    let ledger = start(&fresh).await;
    ledger.drain(SOON).await.expect("drained");
    let stored = stored(&fresh.store).await;
    assert_eq!(stored.len(), 301);
    assert_eq!(
        stored[&long.id], long,
        "carried along, it was not forgotten"
    );
    ledger.close().await;
}

#[tokio::test]
async fn a_synced_write_is_ready_only_once_the_disk_has_it() {
    let fresh = Fresh::sqlite().await;
    let settings = Settings {
        durability: Durability::Synced,
        ..settings(&fresh)
    };
    let ledger = Ledger::start(settings, fresh.store.clone(), |_, _| {})
        .await
        .expect("starts");
    let entries: Vec<Entry> = (0..50).map(sample::entry).collect();
    let writes: Vec<_> = entries
        .iter()
        .map(|entry| ledger.open(&intent_of(entry)).expect("open"))
        .collect();
    let (last, others) = writes
        .into_iter()
        .fold((None, 0), |(_, count), write| (Some(write), count + 1));
    assert_eq!(others, 50);
    last.expect("a write").await.expect("synced");
    for entry in &entries {
        ledger.settle(entry).expect("settle").await.expect("synced");
    }
    ledger.close().await;
    let default = start(&fresh).await;
    let written = default.open(&intent_of(&sample::entry(9))).expect("open");
    assert!(
        written.is_ready(),
        "handed to the operating system is enough by default"
    );
    default.close().await;
}

#[tokio::test]
async fn a_folder_belongs_to_one_process_and_others_may_look() {
    let fresh = Fresh::sqlite().await;
    let folder = spool(&fresh);
    assert_eq!(pending(&folder), Ok(Pending::default()));
    let ledger = start_on(&fresh, a_store_that_is_down(&fresh).await).await;
    write(&ledger, &sample::entry(1)).await;
    drop(ledger.open(&intent_of(&sample::entry(2))).expect("open"));
    let looked = pending(&folder).expect("looked");
    assert_eq!(
        looked,
        Pending {
            settled: 1,
            open: 1,
            running: true
        }
    );
    assert_eq!(
        looked.entries(),
        1,
        "what is under way is nothing that a sum lacks"
    );

    let second = Ledger::start(settings(&fresh), fresh.store.clone(), |_, _| {}).await;
    let Err(LedgerError::Spool(SpoolError::InUse(used))) = second else {
        panic!("it is in use");
    };
    assert_eq!(used, folder);
    ledger.die().await;
    let looked = pending(&folder).expect("looked");
    assert_eq!(
        looked.entries(),
        2,
        "what was under way is lost, and will be booked"
    );

    let ledger = start(&fresh).await;
    ledger.drain(SOON).await.expect("drained");
    assert_eq!(pending(&folder).expect("looked").entries(), 0);
    ledger.close().await;
}

#[test]
fn promise_2_two_gateways_ship_to_one_store() {
    on_both(async |fresh: &Fresh| {
        let mut ledgers = Vec::new();
        for name in ["one", "two"] {
            let settings = Settings::in_folder(fresh.folder.path().join(name));
            let store = Store::open(&fresh.url).await.expect("open");
            ledgers.push(
                Ledger::start(settings, store, |_, _| {})
                    .await
                    .expect("starts"),
            );
        }
        for n in 0..400 {
            drop(
                ledgers[n as usize % 2]
                    .settle(&sample::entry(n))
                    .expect("settle"),
            );
        }
        for ledger in ledgers {
            ledger.drain(SOON).await.expect("drained");
            ledger.close().await;
        }
        assert_eq!(stored(&fresh.store).await.len(), 400);
    });
}

#[tokio::test]
async fn an_entry_that_the_database_refuses_is_kept_aside_and_holds_up_no_other() {
    let fresh = Fresh::sqlite().await;
    let trigger = "CREATE TRIGGER picky BEFORE INSERT ON entry WHEN NEW.team = 'poison' \
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::query(trigger)
        .execute(fresh.store.pool())
        .await
        .expect("a trigger");
    let ledger = start(&fresh).await;
    let mut poison = sample::entry(1);
    poison.payer.team = "poison".into();
    for entry in [&sample::entry(0), &poison, &sample::entry(2)] {
        drop(ledger.settle(entry).expect("settle"));
    }
    ledger.drain(SOON).await.expect("drained");
    assert_eq!(stored(&fresh.store).await.len(), 2);
    assert_eq!(ledger.status().refused, 1);
    let kept = spool(&fresh).join(format!("refused-{}.json", poison.id));
    let kept: Entry = serde_json::from_slice(&std::fs::read(kept).expect("kept")).expect("JSON");
    assert_eq!(kept, poison);
    ledger.close().await;
}

#[test]
fn what_a_key_spent_is_asked_only_once_all_of_it_is_in_the_store() {
    on_both(async |fresh: &Fresh| {
        use super::budget::{FromStore, Spent};
        let ledger = start_on(fresh, a_store_that_is_down(fresh).await).await;
        let entries: Vec<Entry> = (0..20).map(sample::entry).collect();
        for entry in &entries {
            drop(ledger.settle(entry).expect("settle"));
        }
        ledger.die().await;
        let ledger = start(fresh).await;
        let spent = FromStore {
            store: fresh.store.clone(),
            ledger: ledger.clone(),
        };
        let key = entries[0].payer.key;
        let told = spent.spent(key, noon()).await.expect("told");
        assert_eq!(
            told,
            entries.iter().filter_map(|entry| entry.price.cost()).sum()
        );
        let later = spent.spent(key, entries[10].billed).await.expect("told");
        assert_eq!(
            later,
            entries[10..]
                .iter()
                .filter_map(|entry| entry.price.cost())
                .sum()
        );
        let other = spent
            .spent(crate::id::KeyId::new(), noon())
            .await
            .expect("told");
        assert_eq!(other, crate::money::Money::ZERO);
        let all = SpendQuery {
            from: noon(),
            to: Timestamp::MAX,
            by: vec![Dim::Key],
        };
        assert_eq!(fresh.store.spend(&all).await.expect("spend")[0].cost, told);
        ledger.close().await;
    });
}
