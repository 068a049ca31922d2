//! Working on batches: takes one that nobody holds, checks its file, makes its requests a few at a
//! time and writes down each result, then makes the files of results. Whatever ends it half way (a
//! kill, a lost database, another gateway that took over), whoever takes the batch next goes on from
//! the results that are written down.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use super::asking::{self, Ask, Told};
use super::lines::{self, Checked, Line, Lines, Next};
use crate::history::{Batch, Batches, Fault, Files, HistoryError, Hold, Status};
use crate::settings::BatchSettings;
use crate::time::{Clock, Timestamp};

/// How often a result is offered to a database that does not take it: it was paid for.
const RECORDS: u32 = 10;

/// How the runner waits.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a hold lasts without being renewed: what a batch waits after a kill.
    pub hold: Duration,
    /// How often it is renewed, and a cancellation noticed.
    pub renew: Duration,
    /// How often the database is asked for batches that other gateways made or left.
    pub look: Duration,
    /// How often a request is tried where all are busy, and the first and longest waits between.
    pub tries: u32,
    pub first_wait: Duration,
    pub longest_wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            hold: Duration::from_secs(30),
            renew: Duration::from_secs(5),
            look: Duration::from_secs(10),
            tries: 10,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Works on batches. Cloning it is cheap.
#[derive(Clone)]
pub struct Runner {
    pub files: Files,
    pub batches: Batches,
    pub ask: Arc<dyn Ask>,
    pub clock: Clock,
    pub settings: BatchSettings,
    pub pace: Pace,
    /// As the desk has it.
    pub new_batch: Arc<Notify>,
}

/// Whether to go on, as the holder last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    GoOn,
    Cancelled,
    /// Another gateway has the batch now.
    Lost,
}

/// What may end the making of requests.
#[derive(Clone)]
struct Signals {
    heard: watch::Receiver<Heard>,
    stop: watch::Receiver<bool>,
    expires: Timestamp,
    clock: Clock,
}

impl Signals {
    fn go_on(&self) -> bool {
        *self.heard.borrow() == Heard::GoOn
            && !*self.stop.borrow()
            && self.clock.now() < self.expires
    }

    /// Until something ends it, and no longer than so long.
    async fn wait(&mut self, most: Duration) {
        let left = self.expires.duration_since(self.clock.now());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        tokio::select! {
            _ = self.heard.changed() => {}
            // A sender that is gone says stop no more.
            Ok(()) = self.stop.changed() => {}
            () = tokio::time::sleep(most.min(left)) => {}
        }
    }
}

/// How far it came.
enum Came {
    /// To an end.
    Through,
    /// It was told to stop.
    Halfway,
}

/// Keeps a hold until dropped.
struct Holding(JoinHandle<()>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Runner {
    /// Works until `stop` is true: then requests in flight end, and the rest is left to others.
    /// Dropped, it leaves all at once, as a kill does.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut working = JoinSet::new();
        while !*stop.borrow() {
            while working.len() < self.settings.running.max(1) {
                match self.batches.claim(self.pace.hold, self.clock.now()).await {
                    Ok(Some((hold, batch))) => {
                        let (runner, stop) = (self.clone(), stop.clone());
                        working.spawn(async move { runner.work(hold, batch, stop).await });
                    }
                    Ok(None) => break,
                    Err(error) => {
                        warn!(%error, "batches cannot be looked for");
                        break;
                    }
                }
            }
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                Some(_) = working.join_next() => {}
                () = self.new_batch.notified() => {}
                () = tokio::time::sleep(self.pace.look) => {}
            }
        }
        while working.join_next().await.is_some() {}
    }

    /// Works on a batch as far as it can.
    pub(super) async fn work(&self, hold: Hold, batch: Batch, stop: watch::Receiver<bool>) {
        let heard = match batch.status {
            Status::Cancelling => Heard::Cancelled,
            _ => Heard::GoOn,
        };
        let (tell, heard) = watch::channel(heard);
        let _holding = Holding(tokio::spawn(self.clone().keep_hold(hold.clone(), tell)));
        let signals = Signals {
            heard,
            stop,
            expires: batch.expires,
            clock: self.clock,
        };
        match self.advance(&hold, &batch, signals).await {
            Ok(Came::Through) => info!(batch = %batch.id, "a batch has come to its end"),
            Ok(Came::Halfway) => {
                if let Err(error) = self.batches.release(&hold).await {
                    warn!(batch = %batch.id, %error, "a batch waits until its hold is over");
                }
            }
            Err(HistoryError::NotHeld(_)) => {
                info!(batch = %batch.id, "another gateway goes on with a batch");
            }
            Err(error) => {
                // Its hold runs out, and then somebody tries again: a wait that needs no clock.
                warn!(batch = %batch.id, %error, "a batch is left for another try");
            }
        }
    }

    async fn keep_hold(self, hold: Hold, tell: watch::Sender<Heard>) {
        let mut renewed = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(self.pace.renew).await;
            let renewing = self.batches.renew(&hold, self.pace.hold, self.clock.now());
            let heard = match renewing.await {
                Ok(Some(status)) => {
                    renewed = tokio::time::Instant::now();
                    match status {
                        Status::Cancelling => Heard::Cancelled,
                        _ => Heard::GoOn,
                    }
                }
                Ok(None) => Heard::Lost,
                Err(_) if renewed.elapsed() < self.pace.hold => continue,
                Err(_) => Heard::Lost,
            };
            tell.send_if_modified(|before| std::mem::replace(before, heard) != heard);
            if heard == Heard::Lost {
                return;
            }
        }
    }

    async fn advance(
        &self,
        hold: &Hold,
        batch: &Batch,
        mut signals: Signals,
    ) -> Result<Came, HistoryError> {
        // Whether or not its time is over: a batch that was taken keeps its file.
        let found = self
            .files
            .find(&batch.organisation, &batch.input_file, Timestamp::MIN)
            .await?;
        let Some(file) = found else {
            return self.reject(hold, vec![gone()]).await;
        };
        let lines = || Lines::new(&self.files, &file, self.settings.line_bytes);
        if batch.status == Status::Validating {
            match lines::check(lines(), &batch.endpoint, self.settings.lines).await? {
                Checked::Wrong(faults) => return self.reject(hold, faults).await,
                Checked::Right(total) => self.batches.begin(hold, total, self.clock.now()).await?,
            }
        }
        let begun = batch.status == Status::Validating || batch.in_progress.is_some();
        if begun && batch.status != Status::Finalizing {
            self.ask_all(batch, lines(), &mut signals).await?;
            if *signals.heard.borrow() == Heard::Lost {
                return Err(HistoryError::NotHeld(batch.id.clone()));
            }
            let unfinished = *signals.heard.borrow() == Heard::GoOn
                && self.clock.now() < batch.expires
                && *signals.stop.borrow();
            if unfinished {
                return Ok(Came::Halfway);
            }
        }
        self.batches.finalize(hold, self.clock.now()).await?;
        self.finish(hold, batch, &file, begun).await?;
        Ok(Came::Through)
    }

    async fn reject(&self, hold: &Hold, faults: Vec<Fault>) -> Result<Came, HistoryError> {
        self.batches.reject(hold, &faults, self.clock.now()).await?;
        Ok(Came::Through)
    }

    /// Makes the requests that have no result yet, until there are none or something ends it; those
    /// in flight come to their end in any case.
    async fn ask_all(
        &self,
        batch: &Batch,
        mut lines: Lines<'_>,
        signals: &mut Signals,
    ) -> Result<(), HistoryError> {
        let done = self.batches.done(&batch.id).await?;
        let headers = headers(batch);
        let mut flying: JoinSet<Result<(), HistoryError>> = JoinSet::new();
        let mut more = true;
        loop {
            while more && signals.go_on() && flying.len() < self.settings.in_flight.max(1) {
                let Next::Line(number, line) = lines.next().await? else {
                    more = false;
                    break;
                };
                // The file was checked when the batch began.
                if done.contains(&number) {
                    continue;
                }
                let Ok(line) = lines::read(&line, number, &batch.endpoint) else {
                    continue;
                };
                let asking = self.clone().ask_one(
                    batch.clone(),
                    number,
                    line,
                    headers.clone(),
                    signals.clone(),
                );
                flying.spawn(asking);
            }
            match flying.join_next().await {
                None => return Ok(()),
                Some(Ok(asked)) => asked?,
                Some(Err(failed)) => {
                    warn!(batch = %batch.id, %failed, "a request of a batch broke off");
                    return Err(HistoryError::BrokeOff(batch.id.clone()));
                }
            }
        }
    }

    /// Makes a request, again where all are busy, and writes its result down. Told to end while it
    /// waits, it leaves without one.
    async fn ask_one(
        self,
        batch: Batch,
        number: u32,
        line: Line,
        mut headers: HeaderMap,
        mut signals: Signals,
    ) -> Result<(), HistoryError> {
        // The same for the same request, whichever gateway makes it and however often.
        if let Ok(key) = HeaderValue::from_str(&format!("{}-{number}", batch.id)) {
            headers.insert("idempotency-key", key);
        }
        let mut wait = self.pace.first_wait;
        let mut tries = 1;
        let told = loop {
            // A request that breaks the gateway is a failed request, not a batch without an end.
            let told = AssertUnwindSafe(async {
                let (headers, body) = (headers.clone(), line.body.clone());
                self.ask
                    .ask(batch.key, &batch.endpoint, headers, body)
                    .await
            });
            let told = told.catch_unwind().await;
            let told = told.unwrap_or_else(|_| Told::broken());
            if !told.is_worth_another_try() || tries == self.pace.tries {
                break told;
            }
            let asked_for = told.retry_after.unwrap_or_default();
            signals
                .wait(wait.max(asked_for).min(self.pace.longest_wait))
                .await;
            if !signals.go_on() {
                return Ok(());
            }
            tries += 1;
            wait = wait.saturating_mul(2);
        };
        let result = asking::result(number, &line.custom_id, &told);
        let mut records = 1;
        while let Err(error) = self.batches.record(&batch.id, &result).await {
            if records == RECORDS {
                return Err(error);
            }
            records += 1;
            tokio::time::sleep(self.pace.first_wait).await;
        }
        Ok(())
    }
}

fn headers(batch: &Batch) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &batch.headers {
        // They were headers when the batch was made.
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::from_str(value),
        ) {
            headers.append(name, value);
        }
    }
    headers
}

fn gone() -> Fault {
    Fault {
        code: "file_not_found".to_owned(),
        line: None,
        message: "the input file is gone; upload it again and make a new batch".to_owned(),
        param: Some("input_file_id".to_owned()),
    }
}
