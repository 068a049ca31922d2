//! What requests see of a credential that is renewed, with a source that answers when it is told to.

use std::sync::atomic::AtomicUsize;

use super::*;

/// Hands out 1, 2, 3 ... with an hour of life, each when it is let.
struct Numbers {
    drawn: AtomicUsize,
    /// How many drawings may end.
    let_through: tokio::sync::Semaphore,
    fails: AtomicBool,
    life: SignedDuration,
}

impl Source for Arc<Numbers> {
    type Grant = usize;

    fn name(&self) -> String {
        "numbers".to_owned()
    }

    async fn draw(&self, now: Timestamp) -> Result<Drawn<usize>, AuthError> {
        let number = self.drawn.fetch_add(1, Ordering::SeqCst) + 1;
        self.let_through.acquire().await.expect("open").forget();
        if self.fails.load(Ordering::SeqCst) {
            return Err(AuthError::no_answer("numbers", "it is closed"));
        }
        Ok(Drawn {
            grant: number,
            until: now.checked_add(self.life).ok(),
        })
    }
}

impl Numbers {
    fn kept(let_through: usize) -> (Arc<Self>, Arc<Kept<Arc<Self>>>) {
        let numbers = Arc::new(Numbers {
            drawn: AtomicUsize::new(0),
            let_through: tokio::sync::Semaphore::new(let_through),
            fails: AtomicBool::new(false),
            life: SignedDuration::from_hours(1),
        });
        let kept = Kept::new(numbers.clone());
        (numbers, kept)
    }

    fn drawn(&self) -> usize {
        self.drawn.load(Ordering::SeqCst)
    }
}

fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + minutes * 60).expect("an instant")
}

/// Waits for the drawing behind a request's back.
async fn settled(kept: &Kept<Arc<Numbers>>) {
    drop(kept.asking.lock().await);
}

async fn number(kept: &Arc<Kept<Arc<Numbers>>>, now: Timestamp) -> usize {
    kept.get(now).await.expect("a credential").grant
}

#[tokio::test]
async fn many_requests_without_a_credential_ask_the_source_once() {
    let (numbers, kept) = Numbers::kept(0);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let kept = kept.clone();
            tokio::spawn(async move { number(&kept, minute(0)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    numbers.let_through.add_permits(1);
    for one in waiting {
        assert_eq!(one.await.expect("answered"), 1);
    }
    assert_eq!(numbers.drawn(), 1);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_stop_the_drawing_that_others_wait_for() {
    let (numbers, kept) = Numbers::kept(0);
    let first = tokio::spawn({
        let kept = kept.clone();
        async move { number(&kept, minute(0)).await }
    });
    while numbers.drawn() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err());
    numbers.let_through.add_permits(1);
    assert_eq!(number(&kept, minute(0)).await, 1);
    assert_eq!(numbers.drawn(), 1);
}

#[tokio::test]
async fn one_that_grows_old_is_renewed_behind_the_backs_of_requests() {
    let (numbers, kept) = Numbers::kept(1);
    assert_eq!(number(&kept, minute(0)).await, 1);
    assert_eq!(number(&kept, minute(44)).await, 1);
    settled(&kept).await;
    assert_eq!(
        numbers.drawn(),
        1,
        "three quarters of its life are not over"
    );

    // The source does not answer yet: nobody waits for it, and it is asked once.
    assert_eq!(number(&kept, minute(46)).await, 1);
    assert_eq!(number(&kept, minute(47)).await, 1);
    numbers.let_through.add_permits(1);
    settled(&kept).await;
    assert_eq!(number(&kept, minute(48)).await, 2);
    assert_eq!(numbers.drawn(), 2);
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_old_one_to_its_end_and_then_says_why() {
    let (numbers, kept) = Numbers::kept(1000);
    assert_eq!(number(&kept, minute(0)).await, 1);
    numbers.fails.store(true, Ordering::SeqCst);
    for at in 50..60 {
        assert_eq!(number(&kept, minute(at)).await, 1);
        settled(&kept).await;
    }
    let asked = numbers.drawn();
    let error = kept.get(minute(60)).await.map(|held| held.grant);
    let said = error.expect_err("ended").to_string();
    assert!(said.contains("it is closed"), "{said}");

    // Left alone for a while: the same refusal, without asking.
    let after = numbers.drawn();
    assert!(after <= asked + 1);
    assert!(kept.get(minute(60)).await.is_err());
    assert_eq!(numbers.drawn(), after);

    numbers.fails.store(false, Ordering::SeqCst);
    assert_eq!(number(&kept, minute(65)).await, numbers.drawn());
}

#[tokio::test]
async fn those_who_waited_for_a_drawing_that_failed_do_not_ask_again() {
    let (numbers, kept) = Numbers::kept(0);
    numbers.fails.store(true, Ordering::SeqCst);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let kept = kept.clone();
            tokio::spawn(async move { kept.get(minute(0)).await.is_err() })
        })
        .collect();
    while numbers.drawn() == 0 {
        tokio::task::yield_now().await;
    }
    numbers.let_through.add_permits(100);
    for one in waiting {
        assert!(one.await.expect("answered"));
    }
    assert_eq!(numbers.drawn(), 1);
}

#[tokio::test]
async fn a_rejected_one_is_replaced_once_and_only_if_it_is_the_one_in_use() {
    let (_, kept) = Numbers::kept(1000);
    let first = kept.get(minute(0)).await.expect("drawn");
    assert!(kept.reject(&first, minute(1)));
    assert!(!kept.reject(&first, minute(1)), "said already");
    let second = kept.get(minute(1)).await.expect("drawn");
    assert_eq!(second.grant, 2);
    assert!(!kept.reject(&first, minute(20)), "replaced already");
    assert!(
        !kept.reject(&second, minute(2)),
        "its predecessor was, a moment ago"
    );
    assert_eq!(number(&kept, minute(2)).await, 2);
    assert!(kept.reject(&second, minute(20)));
    assert_eq!(number(&kept, minute(20)).await, 3);
}

#[tokio::test]
async fn a_rejected_one_that_cannot_be_replaced_is_tried_again() {
    let (numbers, kept) = Numbers::kept(1000);
    let first = kept.get(minute(0)).await.expect("drawn");
    numbers.fails.store(true, Ordering::SeqCst);
    assert!(kept.reject(&first, minute(1)));
    assert_eq!(number(&kept, minute(1)).await, 1);
}

#[test]
fn a_short_life_is_renewed_in_its_second_half() {
    let held = |life: i64| {
        Held::new(
            Drawn {
                grant: (),
                until: Some(minute(life)),
            },
            minute(0),
        )
        .renew_from
    };
    assert_eq!(held(60), minute(45));
    assert_eq!(held(16), minute(11), "five minutes before its end");
    assert_eq!(held(4), minute(2));
    let endless = Held::new(
        Drawn {
            grant: (),
            until: None,
        },
        minute(0),
    );
    assert!(endless.lives(minute(60 * 24 * 365 * 100)));
}
