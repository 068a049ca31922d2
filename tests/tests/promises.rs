//! What the ledger promises, each by its number, against a host that keeps its own bill.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tollgate_tests::postgres::{Cluster, Database};
use tollgate_tests::upstream::{Delivery, Script};
use tollgate_tests::{
    Caller, Chances, Gateway, MockHost, Rates, Row, Setup, Upstream, question, setting, streamed,
    until,
};

/// The host's bills, by attempt, once no answer is under way.
async fn bills(host: &Upstream) -> BTreeMap<String, i128> {
    until("the host has ended all its answers", || async {
        host.received()
            .iter()
            .all(|request| request.state != Delivery::Open)
            .then_some(())
    })
    .await;
    let mut bills = BTreeMap::new();
    for request in host.received() {
        assert!(
            !request.attempt.is_empty(),
            "a request without an attempt's id"
        );
        let cost = request.bill.map_or(0, |bill| bill.cost(Rates::default()));
        let twice = bills.insert(request.attempt.clone(), cost);
        assert!(
            twice.is_none(),
            "the host got attempt {} twice",
            request.attempt
        );
    }
    bills
}

/// Callers that ask without pause, plain and streamed by turns, at whichever address is given.
struct Load {
    address: Arc<Mutex<SocketAddr>>,
    over: Arc<AtomicBool>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn start(caller: &Caller, address: SocketAddr, callers: usize) -> Self {
        let address = Arc::new(Mutex::new(address));
        let over = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for turn in 0..callers {
            let (caller, address, over) = (caller.clone(), Arc::clone(&address), Arc::clone(&over));
            running.spawn(async move {
                let mut answered = Vec::new();
                let mut turn = turn;
                while !over.load(Ordering::Relaxed) {
                    turn += 1;
                    let request = if turn.is_multiple_of(2) {
                        question()
                    } else {
                        streamed()
                    };
                    let here = *address.lock();
                    match caller.at(here).try_ask(&request).await {
                        Ok(answer) if answer.status == 200 => {
                            let whole = request["stream"] != true || answer.events().done;
                            let id = answer
                                .header("x-tollgate-request-id")
                                .expect("an id")
                                .to_owned();
                            if whole {
                                answered.push(id);
                            }
                        }
                        // Killed, or not up again.
                        Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                answered
            });
        }
        Load {
            address,
            over,
            callers: running,
        }
    }

    /// The requests that were answered whole.
    async fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.callers
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

async fn killed_again_and_again(setup: Setup, kills: usize) {
    let mut chances = Chances::new();
    let host = Upstream::start_with(Script::default().pause(Duration::from_micros(200))).await;
    let mut gateway = setup.host(MockHost::new("mockhost", &host)).start().await;
    let caller = gateway.caller().await;
    let load = Load::start(&caller, gateway.address(), 8);
    for _ in 0..kills {
        let enough = host.count() + 1 + usize::try_from(chances.below(60)).expect("small");
        until("more requests at the host", || async {
            (host.count() >= enough).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_micros(chances.below(4_000))).await;
        gateway.kill().await;
        gateway.restart().await;
        *load.address.lock() = gateway.address();
    }
    let answered = load.end().await;
    let bills = bills(&host).await;
    let attempts: Vec<String> = bills.keys().cloned().collect();
    let entries = gateway.ledger().of(&attempts).await;
    println!(
        "{kills} kills: {} attempts, {} entries, {} answered",
        attempts.len(),
        entries.len(),
        answered.len()
    );

    let mut places = BTreeSet::new();
    for row in entries.values() {
        assert!(
            places.insert((row.request.clone(), row.attempt)),
            "booked twice: {row:?}"
        );
        match (bills.get(&row.id), row.counted_by.as_str()) {
            (Some(bill), "reported" | "drained") => assert_eq!(row.cost, Some(*bill), "{row:?}"),
            // We died before we knew: estimated, never free.
            (Some(_), _) => assert!(
                row.cost.is_some_and(|cost| cost > 0) || row.counted_by == "nothing",
                "{row:?}"
            ),
            // Written down, and killed before it left.
            (None, counted_by) => assert!(
                counted_by != "reported" && row.outcome != "answered",
                "{row:?}"
            ),
        }
    }
    let by_request: BTreeMap<&str, &Row> = entries
        .values()
        .map(|row| (row.request.as_str(), row))
        .collect();
    for request in &answered {
        let row = by_request
            .get(request.as_str())
            .unwrap_or_else(|| panic!("{request} was answered and is not booked"));
        assert_eq!(
            (row.outcome.as_str(), row.counted_by.as_str()),
            ("answered", "reported"),
            "{row:?}"
        );
    }
    assert!(
        entries.values().any(|row| row.outcome == "lost"),
        "no kill hit a request under way"
    );
    assert!(answered.len() >= kills, "hardly anything was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_1_an_attempt_is_booked_exactly_once_through_kills_on_sqlite() {
    killed_again_and_again(Setup::default(), setting("TOLLGATE_KILLS", 25).div_ceil(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_1_an_attempt_is_booked_exactly_once_through_kills_on_postgres() {
    let database = Database::create().await;
    killed_again_and_again(
        Setup::default().postgres(&database),
        setting("TOLLGATE_KILLS", 25) / 2,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_1_what_was_answered_is_settled_before_its_last_byte() {
    for durability in ["\"written\"", "\"synced\""] {
        let host = Upstream::start().await;
        let setup = Setup::default().ledger("durability", durability);
        let mut gateway = setup.host(MockHost::new("mockhost", &host)).start().await;
        let caller = gateway.caller().await;
        for request in [question(), streamed(), question(), streamed()] {
            let caller = caller.at(gateway.address());
            assert_eq!(caller.ask(&request).await.status, 200);
            // Not a moment later: the caller has the last byte.
            gateway.kill().await;
            gateway.restart().await;
        }
        let bills = bills(&host).await;
        let attempts: Vec<String> = bills.keys().cloned().collect();
        for (attempt, row) in gateway.ledger().of(&attempts).await {
            assert_eq!(
                (row.outcome.as_str(), row.cost),
                ("answered", bills.get(&attempt).copied()),
                "{durability}: {row:?}"
            );
        }
    }
}

/// Asks that often, some at a time; all must be answered.
async fn ask(caller: &Caller, requests: usize) {
    let mut running = JoinSet::new();
    for index in 0..requests {
        if running.len() == 16 {
            running
                .join_next()
                .await
                .expect("one runs")
                .expect("it ends well");
        }
        let caller = caller.clone();
        running.spawn(async move {
            let request = if index % 4 == 0 {
                streamed()
            } else {
                question()
            };
            let answer = caller.ask(&request).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        });
    }
    running.join_all().await;
}

/// Every attempt has its entry, and each costs what the host bills.
async fn agree(gateway: &Gateway, host: &Upstream) {
    let bills = bills(host).await;
    let attempts: Vec<String> = bills.keys().cloned().collect();
    let entries = gateway.ledger().of(&attempts).await;
    assert_eq!(entries.len(), bills.len());
    for (attempt, row) in &entries {
        assert_eq!(row.cost, bills.get(attempt).copied(), "{row:?}");
    }
    let booked: i128 = entries.values().filter_map(|row| row.cost).sum();
    assert_eq!(booked, bills.values().sum::<i128>());
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_while_the_database_is_away_everything_is_answered_and_booked_later() {
    let requests = setting("TOLLGATE_OUTAGE_REQUESTS", 2_000);
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .postgres(&database)
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    ask(&caller, 20).await;
    agree(&gateway, &host).await;

    cluster.stop_at_once();
    ask(&caller, requests).await;
    cluster.start_again();
    agree(&gateway, &host).await;
    ask(&caller, 20).await;
    agree(&gateway, &host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_entries_reach_the_store_once_though_both_sides_die() {
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let host = Upstream::start().await;
    let mut gateway = Setup::default()
        .postgres(&database)
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    for _ in 0..3 {
        // The database dies while entries are on their way to it, then the gateway.
        let here = caller.at(gateway.address());
        let enough = host.count() + 60;
        let stopping = async {
            until("some requests", || async {
                (host.count() >= enough).then_some(())
            })
            .await;
            tokio::task::block_in_place(|| cluster.stop_at_once());
        };
        tokio::join!(ask(&here, 200), stopping);
        gateway.kill().await;
        tokio::task::block_in_place(|| cluster.start_again());
        gateway.restart().await;
    }
    agree(&gateway, &host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_a_full_spool_refuses_rather_than_forgets() {
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .postgres(&database)
        .ledger("spool_bytes", "300000")
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    ask(&caller, 1).await;
    cluster.stop_at_once();
    let mut answered = 0;
    let refused = loop {
        let answer = caller.ask(&question()).await;
        match answer.status {
            200 => answered += 1,
            _ => break answer,
        }
        assert!(answered < 5_000, "the spool has no limit");
    };
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "overloaded"),
        "{}",
        refused.text
    );
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let touched = host.count();
    assert_eq!(
        touched,
        answered + 1,
        "a host was asked for what could not be booked"
    );

    cluster.start_again();
    until("requests are taken again", || async {
        (caller.ask(&question()).await.status == 200).then_some(())
    })
    .await;
    agree(&gateway, &host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_3_an_entry_never_changes_and_never_goes() {
    let database = Database::create().await;
    for setup in [Setup::default(), Setup::default().postgres(&database)] {
        let host = Upstream::start().await;
        let gateway = setup.host(MockHost::new("mockhost", &host)).start().await;
        ask(&gateway.caller().await, 3).await;
        let ledger = gateway.ledger();
        let before = ledger.at_least(3).await;
        for statement in [
            "UPDATE entry SET cost_pd = 0",
            "UPDATE entry SET team = 'another' WHERE attempt = 1",
            "DELETE FROM entry",
            "DELETE FROM entry WHERE attempt = 1",
        ] {
            let refused = ledger
                .execute(statement)
                .await
                .expect_err(statement)
                .to_string();
            assert!(refused.contains("never"), "{statement}: {refused}");
        }
        assert_eq!(ledger.rows().await, before);
    }
}

/// What these tokens cost by the host's page of a catalog, computed here from its text.
fn recomputed(page: &str, row: &Row) -> i128 {
    let page: toml::Table = page.parse().expect("TOML");
    let rates = &page["offer"][0]["tariff"][0]["flat"];
    let rate = |name: &str| -> i128 {
        let text = rates[name].as_str().expect("a price in quotes");
        let (whole, fraction) = text.split_once('.').expect("a decimal point");
        // Dollars per million tokens, to the millionth: picodollars a token.
        format!("{whole}{fraction:0<6}").parse().expect("digits")
    };
    i128::from(row.cache_miss + row.cache_write) * rate("miss")
        + i128::from(row.cache_hit) * rate("hit")
        + i128::from(row.reasoning + row.visible) * rate("output")
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_4_any_cost_can_be_recomputed_and_a_torn_book_is_never_taken_up() {
    let host = Upstream::start().await;
    let old = MockHost::new("mockhost", &host);
    let new = old.clone().dearer(3);
    let gateway = Setup::default().host(old).start().await;
    let caller = gateway.caller().await;
    ask(&caller, 5).await;
    let (file, whole) = gateway.page(&new);

    // Half a page, and then some that are whole but wrong.
    for end in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 40] {
        std::fs::write(&file, &whole[..end]).expect("written");
        ask(&caller, 20).await;
    }
    for wrong in [
        whole.replace("host = \"mockhost\"", "host = \"other\""),
        whole.replace("miss = \"", "miss = \"-"),
        whole.replace("[auth]", "[authority]"),
    ] {
        std::fs::write(&file, wrong).expect("written");
        ask(&caller, 20).await;
    }
    let check = gateway.run(&["check"]).await;
    assert_eq!(
        check.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&check.stdout)
    );
    assert!(
        String::from_utf8_lossy(&check.stderr).contains("mockhost.toml"),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );

    // By renaming, as editors do.
    let aside = gateway.folder().join("page.new");
    std::fs::write(&aside, &whole).expect("written");
    std::fs::rename(&aside, &file).expect("renamed");
    until("the new book is taken up", || async {
        ask(&caller, 1).await;
        let rows = gateway.ledger().at_least(host.count()).await;
        let versions: BTreeSet<String> = rows.into_iter().map(|row| row.catalog).collect();
        (versions.len() > 1).then_some(())
    })
    .await;
    ask(&caller, 5).await;

    let ledger = gateway.ledger();
    let rows = ledger.at_least(host.count()).await;
    let versions: BTreeSet<&str> = rows.iter().map(|row| row.catalog.as_str()).collect();
    assert_eq!(versions.len(), 2, "a torn book was taken up: {versions:?}");
    for version in versions {
        let files = ledger.catalog(version).await;
        let (_, page) = files
            .iter()
            .find(|(path, _)| path.ends_with("mockhost.toml"))
            .expect("the host's page");
        for row in rows.iter().filter(|row| row.catalog == version) {
            assert_eq!(row.cost, Some(recomputed(page, row)), "{row:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_5_a_hard_budget_is_never_passed_and_nothing_is_held_for_ever() {
    const LIMIT: i128 = 3_000_000_000; // $0.003
    let database = Database::create().await;
    for setup in [Setup::default(), Setup::default().postgres(&database)] {
        let host = Upstream::start_with(Script::default().pause(Duration::from_micros(300))).await;
        let mut gateway = setup.host(MockHost::new("mockhost", &host)).start().await;
        let key = gateway
            .key(&["--team", "thrifty", "--budget", "0.003/month"])
            .await;
        let caller = Caller::new(gateway.address(), &key.secret);

        let spend_all = |caller: Caller| async move {
            let mut running = JoinSet::new();
            for index in 0..100 {
                let caller = caller.clone();
                running.spawn(async move {
                    let request = if index % 2 == 0 {
                        streamed()
                    } else {
                        question()
                    };
                    caller.try_ask(&request).await
                });
            }
            running.join_all().await
        };
        // Killed in the middle: what was held by requests under way must not stay held.
        let killed = async {
            until("some requests", || async {
                (host.count() > 3).then_some(())
            })
            .await;
            gateway.kill().await;
        };
        tokio::join!(spend_all(caller.clone()), killed);
        gateway.restart().await;
        let caller = caller.at(gateway.address());

        let answers = spend_all(caller.clone()).await;
        let mut refused = 0;
        for answer in answers {
            let answer = answer.expect("an answer");
            if answer.status != 200 {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (402, "budget_exceeded"),
                    "{}",
                    answer.text
                );
                refused += 1;
            }
        }
        assert!(
            refused > 0,
            "a hundred requests fit into three tenths of a cent"
        );
        // One at a time until nothing fits: what was reserved too much has come back.
        until("the budget is spent", || async {
            (caller.ask(&question()).await.status == 402).then_some(())
        })
        .await;

        let bills = bills(&host).await;
        let attempts: Vec<String> = bills.keys().cloned().collect();
        let entries = gateway.ledger().of(&attempts).await;
        let spent: i128 = entries.values().filter_map(|row| row.cost).sum();
        assert!(spent <= LIMIT, "spent {spent} of {LIMIT}");
        assert!(
            spent > LIMIT / 2,
            "only {spent} of {LIMIT} could be spent: the rest is held"
        );
        let touched = host.count();
        assert_eq!(caller.ask(&streamed()).await.status, 402);
        assert_eq!(host.count(), touched, "a host was asked beyond the budget");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_what_it_began_and_books_it() {
    let host = Upstream::start_with(
        Script::default()
            .events(300)
            .pause(Duration::from_millis(2)),
    )
    .await;
    let mut gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    let streaming = tokio::spawn(async move { caller.ask(&streamed()).await });
    until("the stream has begun", || async {
        host.received()
            .first()
            .is_some_and(|request| request.bill.is_some())
            .then_some(())
    })
    .await;
    let ledger = gateway.ledger();
    let status = gateway.stop().await;
    assert!(status.success(), "{status}");
    let answer = streaming.await.expect("the caller ends");
    assert!(
        answer.events().done,
        "the stream was cut: {} bytes",
        answer.text.len()
    );
    let row = ledger.only().await;
    assert_eq!(
        row.cost,
        host.only().bill.map(|bill| bill.cost(Rates::default())),
        "{row:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_an_entry_that_the_database_refuses_is_an_alarm_that_operators_see() {
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    let alarms = async || {
        let text = caller.get("/metrics").await.text;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("tollgate_entries_refused "));
        line.expect("the metric is there").to_owned()
    };
    assert_eq!(alarms().await, "0");
    ask(&caller, 1).await;
    agree(&gateway, &host).await;
    gateway
        .ledger()
        .execute(
            "CREATE TRIGGER picky BEFORE INSERT ON entry \
             BEGIN SELECT RAISE(ABORT, 'this database takes nothing'); END",
        )
        .await
        .expect("a trigger");
    ask(&caller, 1).await;
    until("the alarm", || async {
        (alarms().await == "1").then_some(())
    })
    .await;
}
