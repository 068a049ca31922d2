//! What hard budgets promise.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn money(picodollars: i64) -> Money {
    Money::from_cell(picodollars)
}

/// Knows a fixed sum, and counts how often it is asked.
#[derive(Clone, Default)]
struct Told {
    sum: Arc<AtomicI64>,
    asked: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl Spent for Told {
    fn spent(
        &self,
        _: KeyId,
        _: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Money, String>> + Send>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = if self.down.load(Ordering::SeqCst) {
            Err("the database is down".to_owned())
        } else {
            Ok(money(self.sum.load(Ordering::SeqCst)))
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }
}

fn ask(limit: i64, period: Period, worst: i64, now: &str) -> Ask {
    let now = at(now);
    Ask {
        key: KeyId::from_uuid(uuid::Uuid::from_u128(1)),
        budget: Budget {
            limit: money(limit),
            period,
        },
        worst: money(worst),
        now,
        until: now + jiff::SignedDuration::from_mins(10),
    }
}

const NOON: &str = "2026-11-24T12:00:00Z";

#[tokio::test]
async fn promise_5_what_was_spent_before_counts_from_the_first_request_on() {
    let told = Told::default();
    told.sum.store(90, Ordering::SeqCst);
    let budgets = LocalBudgets::new(told.clone());
    let Err(error) = budgets.reserve(ask(100, Period::Month, 11, NOON)).await else {
        panic!("101 of 100");
    };
    assert_eq!(
        error,
        BudgetError::Exceeded {
            limit: money(100),
            period: Period::Month,
            spent: money(90),
            held: Money::ZERO,
            needed: money(11),
            renews: Some(at("2026-12-01T00:00:00Z")),
        }
    );
    let _hold = budgets
        .reserve(ask(100, Period::Month, 10, NOON))
        .await
        .expect("100 of 100");
    assert_eq!(told.asked.load(Ordering::SeqCst), 1, "asked once");
}

#[tokio::test]
async fn promise_5_a_hold_is_settled_released_or_lapses() {
    let budgets = LocalBudgets::new(Told::default());
    let reserve = |worst, now| budgets.reserve(ask(100, Period::Total, worst, now));
    let settled = reserve(60, NOON).await.expect("room");
    assert!(reserve(41, NOON).await.is_err());
    settled.settle(money(30), at(NOON));
    let dropped = reserve(70, NOON).await.expect("the rest is free again");
    drop(dropped);
    let lapsing = reserve(70, NOON)
        .await
        .expect("what was dropped is free again");
    assert!(reserve(1, "2026-11-24T12:09:59Z").await.is_err());
    let _other = reserve(70, "2026-11-24T12:10:00Z")
        .await
        .expect("it has lapsed");
    // Its request did spend, if late: that counts, although nothing holds it any more.
    lapsing.settle(money(5), at(NOON));
    let Err(BudgetError::Exceeded { spent, held, .. }) = reserve(1, NOON).await else {
        panic!("nothing is left");
    };
    assert_eq!((spent, held), (money(35), money(70)));
}

#[tokio::test]
async fn promise_5_a_settlement_counts_in_the_period_in_which_it_is_billed() {
    let budgets = LocalBudgets::new(Told::default());
    let reserve = |worst, now| budgets.reserve(ask(100, Period::Day, worst, now));
    let evening = "2026-11-24T23:59:59Z";
    let before = reserve(50, evening).await.expect("room");
    let across = reserve(50, evening).await.expect("room");
    // Billed after midnight, before anybody has asked again: it waits for its day.
    across.settle(money(20), at("2026-11-25T00:00:01Z"));
    let _held = reserve(50, evening)
        .await
        .expect("free again on the old day");
    let morning = "2026-11-25T00:00:02Z";
    before.settle(money(50), at(evening));
    // The new day: 20 spent, 50 held still by a request of the evening.
    assert!(reserve(31, morning).await.is_err());
    let _fits = reserve(30, morning).await.expect("20 + 50 + 30");
    // A clock that steps back over midnight finds no fresh budget.
    assert!(reserve(1, evening).await.is_err());
}

#[tokio::test]
async fn promise_5_while_what_was_spent_is_unknown_nothing_is_held() {
    let told = Told::default();
    told.down.store(true, Ordering::SeqCst);
    let budgets = LocalBudgets::new(told.clone());
    for _ in 0..10 {
        let result = budgets.reserve(ask(100, Period::Day, 1, NOON)).await;
        assert!(matches!(result, Err(BudgetError::Unknown(_))));
    }
    assert_eq!(
        told.asked.load(Ordering::SeqCst),
        1,
        "not asked again at once"
    );
    told.down.store(false, Ordering::SeqCst);
    let later = ask(100, Period::Day, 1, "2026-11-24T12:00:01Z");
    assert!(budgets.reserve(later).await.is_ok());
}

#[tokio::test]
async fn a_known_account_answers_without_waiting() {
    let budgets = LocalBudgets::new(Told::default());
    let first = budgets.reserve(ask(100, Period::Day, 1, NOON));
    assert!(matches!(first, Reserving::Waiting(_)));
    let _hold = first.await.expect("room");
    let mut second = budgets.reserve(ask(100, Period::Day, 1, NOON));
    assert!((&mut second).now_or_never().is_some());
}

#[test]
fn periods_begin_at_midnight_utc() {
    for (period, instant, begin, renew) in [
        (
            Period::Day,
            "2024-02-29T23:59:59.999999999Z",
            "2024-02-29T00:00:00Z",
            Some("2024-03-01T00:00:00Z"),
        ),
        (
            Period::Day,
            "2026-11-24T00:00:00Z",
            "2026-11-24T00:00:00Z",
            Some("2026-11-25T00:00:00Z"),
        ),
        (
            Period::Month,
            "2026-12-31T23:59:59Z",
            "2026-12-01T00:00:00Z",
            Some("2027-01-01T00:00:00Z"),
        ),
        (
            Period::Month,
            "2024-02-10T00:00:00Z",
            "2024-02-01T00:00:00Z",
            Some("2024-03-01T00:00:00Z"),
        ),
        (Period::Total, NOON, "1970-01-01T00:00:00Z", None),
    ] {
        assert_eq!(begins(period, at(instant)), at(begin));
        assert_eq!(renews(period, at(instant)), renew.map(at));
    }
    assert_eq!(renews(Period::Day, Timestamp::MAX), Some(Timestamp::MAX));
}

#[test]
fn promise_5_many_threads_never_pass_the_limit() {
    const LIMIT: i64 = 1_000;
    let told = Told::default();
    told.sum.store(100, Ordering::SeqCst);
    let budgets = LocalBudgets::new(told.clone());
    // What is surely held and spent: counted after it is held, and no longer before it is let go.
    let sure = Mutex::new((0_i64, 100_i64));
    std::thread::scope(|scope| {
        for thread in 0..8_i64 {
            let (budgets, sure) = (&budgets, &sure);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .expect("a runtime");
                for round in 0..400_i64 {
                    let worst = 1 + (thread * 31 + round * 17) % 40;
                    let asked = ask(LIMIT, Period::Month, worst, NOON);
                    let Ok(hold) = runtime.block_on(budgets.reserve(asked)) else {
                        continue;
                    };
                    {
                        let mut sure = sure.lock();
                        sure.0 += worst;
                        assert!(sure.0 + sure.1 <= LIMIT);
                    }
                    std::thread::yield_now();
                    let actual = worst * (round % 3) / 2;
                    let mut sure = sure.lock();
                    sure.0 -= worst;
                    if round % 5 == 0 {
                        drop(sure);
                        drop(hold);
                    } else {
                        sure.1 += actual;
                        drop(sure);
                        hold.settle(money(actual), at(NOON));
                    }
                }
            });
        }
    });
    let (_, spent) = sure.into_inner();
    assert!(spent <= LIMIT, "{spent} of {LIMIT}");
    assert!(spent > LIMIT - 40, "the limit was reached: {spent}");
    assert_eq!(told.asked.load(Ordering::SeqCst), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { worst: i64, minutes: i64 },
    Settle { which: usize, share: i64 },
    Release { which: usize },
    Pass { minutes: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..60_i64, 1..900_i64).prop_map(|(worst, minutes)| Step::Reserve { worst, minutes }),
        (any::<usize>(), 0..=100_i64).prop_map(|(which, share)| Step::Settle { which, share }),
        any::<usize>().prop_map(|which| Step::Release { which }),
        (1..600_i64).prop_map(|minutes| Step::Pass { minutes }),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// Against a plain model: in each day, what was settled in time and what is held stays within
    /// the limit, and a request is refused only when it would not.
    #[test]
    fn promise_5_settled_and_held_stay_within_the_limit_of_every_day(steps in steps()) {
        const LIMIT: i64 = 100;
        let budgets = LocalBudgets::new(Told::default());
        let mut now = at("2026-11-24T20:00:00Z");
        let mut open: Vec<(Hold, i64, Timestamp)> = Vec::new();
        let mut spent: BTreeMap<Timestamp, i64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Pass { minutes } => now += jiff::SignedDuration::from_mins(minutes),
                Step::Reserve { worst, minutes } => {
                    let until = now + jiff::SignedDuration::from_mins(minutes);
                    let asked = Ask { now, until, ..ask(LIMIT, Period::Day, worst, NOON) };
                    let result = budgets.reserve(asked);
                    let result = tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(result);
                    let held: i64 = open.iter().filter(|(_, _, until)| *until > now).map(|(_, worst, _)| worst).sum();
                    let today = spent.get(&begins(Period::Day, now)).copied().unwrap_or(0);
                    prop_assert_eq!(result.is_ok(), today + held + worst <= LIMIT);
                    if let Ok(hold) = result {
                        open.push((hold, worst, until));
                    }
                }
                Step::Settle { which, share } => if !open.is_empty() {
                    let (hold, worst, _) = open.swap_remove(which % open.len());
                    let actual = worst * share / 100;
                    hold.settle(money(actual), now);
                    *spent.entry(begins(Period::Day, now)).or_default() += actual;
                },
                Step::Release { which } => if !open.is_empty() {
                    let index = which % open.len();
                    drop(open.swap_remove(index));
                },
            }
        }
    }
}
