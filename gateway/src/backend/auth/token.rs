//! A credential that lasts a while, kept and renewed: requests that find a good one do not wait,
//! one that is growing old is renewed behind their backs, and however many requests find none, its
//! source is asked once. Relies on a [`Source`] for how it is drawn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

use super::AuthError;
use crate::time::Timestamp;

/// A source that has not answered by then counts as failed.
const DRAWING: Duration = Duration::from_secs(30);
/// A credential is renewed when it has less than this left, or three quarters of its life behind it.
const SPARE: SignedDuration = SignedDuration::from_mins(5);
/// After a failure the source is left alone this long, twice as long after each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// A host that refuses one new credential after another has something against us, not them.
const BETWEEN_REJECTIONS: SignedDuration = SignedDuration::from_mins(5);

/// Where a credential is drawn from.
pub(super) trait Source: Send + Sync + 'static {
    type Grant: Send + Sync + 'static;

    /// Names the source in messages, and tells it from others. Holds no secret.
    fn name(&self) -> String;

    fn draw(
        &self,
        now: Timestamp,
    ) -> impl Future<Output = Result<Drawn<Self::Grant>, AuthError>> + Send;
}

/// What a source gave.
pub(super) struct Drawn<T> {
    pub grant: T,
    /// The end of its life; `None` where the source names none.
    pub until: Option<Timestamp>,
}

/// A credential in use.
pub(super) struct Held<T> {
    pub grant: T,
    renew_from: Timestamp,
    until: Timestamp,
    /// Refused by the host, although its life has not ended.
    rejected: AtomicBool,
}

impl<T> Held<T> {
    fn new(drawn: Drawn<T>, now: Timestamp) -> Self {
        let until = drawn.until.unwrap_or(Timestamp::MAX);
        let life = until.duration_since(now);
        // A short life leaves no spare time: never before the half of it.
        let spare = SPARE.max(life / 4).min(life / 2);
        Held {
            grant: drawn.grant,
            renew_from: until.checked_sub(spare).unwrap_or(until),
            until,
            rejected: AtomicBool::new(false),
        }
    }

    fn lives(&self, now: Timestamp) -> bool {
        now < self.until
    }

    fn is_rejected(&self) -> bool {
        self.rejected.load(Ordering::Relaxed)
    }
}

/// A source and what it gave last.
pub(super) struct Kept<S: Source> {
    source: S,
    held: ArcSwapOption<Held<S::Grant>>,
    /// Held by whoever asks the source.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// How often the source has been asked: who waited for another's asking takes its outcome.
    asked: AtomicU64,
    trouble: Mutex<Trouble>,
}

/// What is remembered of failures.
struct Trouble {
    last: Option<AuthError>,
    failures: u32,
    /// The source is left alone until then.
    pause_until: Timestamp,
    rejected_at: Timestamp,
}

impl<S: Source> Kept<S> {
    pub(super) fn new(source: S) -> Arc<Self> {
        Arc::new(Kept {
            source,
            held: ArcSwapOption::empty(),
            asking: Arc::default(),
            asked: AtomicU64::new(0),
            trouble: Mutex::new(Trouble {
                last: None,
                failures: 0,
                pause_until: Timestamp::MIN,
                rejected_at: Timestamp::MIN,
            }),
        })
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    /// The credential, if a good one is at hand. One that grows old is renewed meanwhile.
    pub(super) fn ready(self: &Arc<Self>, now: Timestamp) -> Option<Arc<Held<S::Grant>>> {
        let held = self.held.load_full()?;
        if !held.lives(now) || held.is_rejected() {
            return None;
        }
        if now >= held.renew_from
            && now >= self.trouble.lock().pause_until
            && let Ok(turn) = self.asking.clone().try_lock_owned()
        {
            tokio::spawn(self.clone().ask(turn, now));
        }
        Some(held)
    }

    /// The credential, drawn now if none is at hand.
    ///
    /// # Errors
    /// Why the source gave none.
    pub(super) async fn get(
        self: &Arc<Self>,
        now: Timestamp,
    ) -> Result<Arc<Held<S::Grant>>, AuthError> {
        if let Some(held) = self.ready(now) {
            return Ok(held);
        }
        let before = self.asked.load(Ordering::Acquire);
        let turn = self.asking.clone().lock_owned().await;
        let is_first = self.asked.load(Ordering::Acquire) == before;
        if is_first && now >= self.trouble.lock().pause_until {
            // Its own task: a caller who leaves does not take the others' credential along.
            if tokio::spawn(self.clone().ask(turn, now)).await.is_err() {
                return Err(AuthError::no_answer(&self.source.name(), "it broke off"));
            }
        }
        self.outcome(now)
    }

    fn outcome(&self, now: Timestamp) -> Result<Arc<Held<S::Grant>>, AuthError> {
        // A rejected one that could not be replaced may still do: the host may have been wrong.
        if let Some(held) = self.held.load_full().filter(|held| held.lives(now)) {
            return Ok(held);
        }
        let last = self.trouble.lock().last.clone();
        Err(last.unwrap_or_else(|| {
            AuthError::no_answer(&self.source.name(), "what it gave had ended already")
        }))
    }

    async fn ask(self: Arc<Self>, turn: OwnedMutexGuard<()>, now: Timestamp) {
        let started = tokio::time::Instant::now();
        let drawn = tokio::time::timeout(DRAWING, self.source.draw(now))
            .await
            .unwrap_or_else(|_| {
                Err(AuthError::no_answer(
                    &self.source.name(),
                    "no answer within 30 seconds",
                ))
            });
        let then = now
            .checked_add(
                SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::ZERO),
            )
            .unwrap_or(now);
        match drawn {
            Ok(drawn) => {
                let held = Held::new(drawn, then);
                info!(source = %self.source.name(), until = %held.until, "credential drawn");
                self.held.store(Some(Arc::new(held)));
                let mut trouble = self.trouble.lock();
                trouble.last = None;
                trouble.failures = 0;
                trouble.pause_until = Timestamp::MIN;
            }
            Err(error) => {
                warn!(source = %self.source.name(), %error, "no credential could be drawn");
                let mut trouble = self.trouble.lock();
                let pause = (FIRST_PAUSE * 2_i32.pow(trouble.failures.min(6))).min(LONGEST_PAUSE);
                trouble.failures = trouble.failures.saturating_add(1);
                trouble.pause_until = then.checked_add(pause).unwrap_or(then);
                trouble.last = Some(error);
            }
        }
        self.asked.fetch_add(1, Ordering::Release);
        drop(turn);
    }

    /// Whether the credential in use is one that the host refused.
    pub(super) fn is_rejected(&self) -> bool {
        let held = self.held.load();
        held.as_ref().is_some_and(|held| held.is_rejected())
    }

    /// The host refused this credential: the next request waits for another. `false` where that
    /// would not help: it was replaced already, or its predecessor was refused a moment ago.
    pub(super) fn reject(&self, refused: &Arc<Held<S::Grant>>, now: Timestamp) -> bool {
        let mut trouble = self.trouble.lock();
        let is_current = self
            .held
            .load()
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, refused));
        let soon = trouble.rejected_at.checked_add(BETWEEN_REJECTIONS);
        if !is_current || refused.is_rejected() || soon.is_ok_and(|soon| now < soon) {
            return false;
        }
        trouble.rejected_at = now;
        refused.rejected.store(true, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
