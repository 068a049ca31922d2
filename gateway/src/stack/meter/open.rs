//! An attempt under way, as the ledger knows it: opened before anything leaves, settled exactly
//! once, at the latest when it is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use super::super::Rooms;
use super::super::explain::decision;
use super::super::passage::{Dispatch, Planned};
use super::super::sites::Site;
use crate::backend::Occupied;
use crate::backend::wires::Report;
use crate::catalog::BillsAt;
use crate::chat::{CountedBy, Request, Usage};
use crate::id::{EntryId, WindowId};
use crate::ledger::{Entry, Outcome, Price, SpoolError, Written};
use crate::money::Money;
use crate::pricing;
use crate::routing::{Decision, Sample};
use crate::time::Timestamp;

pub(super) struct OpenEntry {
    rooms: Arc<Rooms>,
    dispatch: Dispatch,
    /// Gone once settled.
    entry: Option<Box<Entry>>,
    begun: Instant,
    /// Anything has left for the host.
    was_sent: bool,
    first_byte: Option<Duration>,
    _occupied: Occupied,
}

/// A settlement made.
pub(super) struct Settled {
    pub(super) priced: bool,
    pub(super) written: Durable,
}

/// Ready when the settlement has the durability that is configured.
pub(super) struct Durable(Option<Written>);

impl Durable {
    pub(super) fn is_ready(&self) -> bool {
        self.0.as_ref().is_none_or(Written::is_ready)
    }
}

impl std::future::Future for Durable {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        if let Some(written) = &mut self.0
            && let Err(error) = std::task::ready!(std::pin::Pin::new(written).poll(context))
        {
            // Written, but perhaps not synced: the answer is not kept from its caller for that.
            error!(%error, "a settlement could not be synced");
        }
        self.0 = None;
        std::task::Poll::Ready(())
    }
}

impl OpenEntry {
    /// Writes the attempt down as it would stand if the process died now.
    pub(super) fn open(
        rooms: Arc<Rooms>,
        dispatch: Dispatch,
        occupied: Occupied,
        now: Timestamp,
    ) -> Result<(Self, Written), SpoolError> {
        let planned = &dispatch.planned;
        let ranked = &planned.plan.ranked[dispatch.rank];
        let site = planned.site(dispatch.rank);
        let asked = &planned.asked;
        let (price, window) = price(planned, site, &ranked.expected, now);
        let record = Decision {
            chosen: Some(site.backend.name.to_string()),
            attempt: dispatch.attempt,
            ..decision(
                &planned.sites,
                &planned.allowed,
                &planned.plan,
                &planned.rejected,
            )
        };
        let entry = Box::new(Entry {
            id: EntryId::new(),
            request: asked.id,
            attempt: dispatch.attempt,
            payer: asked.principal.payer.clone(),
            tags: tags(planned),
            surface: asked.surface.name().into(),
            place: site.place.clone(),
            started: now,
            first_byte: None,
            ended: now,
            billed: now,
            host_request: None,
            usage: ranked.expected,
            counted_by: CountedBy::Estimated,
            outcome: Outcome::Lost,
            catalog: planned.sites.catalog.version.clone(),
            window,
            price,
            decision: serde_json::to_string(&record).unwrap_or_default().into(),
        });
        let written = rooms.ledger.open(&entry)?;
        let open = OpenEntry {
            rooms,
            entry: Some(entry),
            begun: Instant::now(),
            was_sent: false,
            first_byte: None,
            _occupied: occupied,
            dispatch,
        };
        Ok((open, written))
    }

    pub(super) fn id(&self) -> EntryId {
        self.entry
            .as_ref()
            .map_or_else(EntryId::new, |entry| entry.id)
    }

    pub(super) fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    pub(super) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    pub(super) fn request(&self) -> &Request {
        &self.dispatch.planned.asked.request
    }

    /// Whether what passes may have to be read again: for the thinking behind calls, or to go on
    /// elsewhere.
    pub(super) fn may_be_needed_again(&self) -> bool {
        let planned = &self.dispatch.planned;
        let request = self.request();
        request.needs.tools
            || request.keep
            || (request.choices == 1 && self.dispatch.rank + 1 < planned.plan.ranked.len())
    }

    fn site(&self) -> &Site {
        self.dispatch.planned.site(self.dispatch.rank)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.entry.is_none()
    }

    pub(super) fn sent(&mut self) {
        self.was_sent = true;
        self.begun = Instant::now();
    }

    pub(super) fn first_byte(&mut self) {
        if self.first_byte.is_none() {
            let after = self.begun.elapsed();
            self.first_byte = Some(after);
            self.site().counters.first_byte(after);
            let now = self.rooms.clock.now();
            if let Some(entry) = &mut self.entry {
                entry.first_byte = Some(now);
            }
        }
    }

    pub(super) fn host_request(&mut self, id: Option<String>) {
        if let Some(entry) = &mut self.entry {
            entry.host_request = id.map(Into::into);
        }
    }

    /// Tells the backend's breaker how a stream ended.
    pub(super) fn host_ended_well(&self, well: bool) {
        let breaker = &self.site().backend.state.breaker;
        if well {
            breaker.success();
        } else {
            breaker.failure(self.rooms.clock.now());
        }
    }

    pub(super) fn caller_left(&self) {
        self.dispatch.left.store(true, Relaxed);
    }

    pub(super) fn nonsense(&self) {
        self.rooms.metrics.nonsense.inc();
        tracing::warn!(backend = %self.site().backend.name, entry = %self.id(),
            "the host reported a usage that contradicts itself; what passed was counted instead");
    }

    /// What such a request is expected to use: its input, and its output if `whole`.
    pub(super) fn expected(&self, whole: bool) -> Usage {
        let expected = self.dispatch.planned.plan.ranked[self.dispatch.rank].expected;
        if whole {
            return expected;
        }
        Usage {
            cache_miss: expected.cache_miss,
            cache_hit: expected.cache_hit,
            cache_write: expected.cache_write,
            ..Usage::default()
        }
    }

    /// A plain answer that broke off after so many bytes.
    pub(super) fn if_begun(&self, bytes: usize) -> (Usage, CountedBy) {
        if bytes == 0 {
            (Usage::default(), CountedBy::Nothing)
        } else {
            (self.expected(true), CountedBy::Estimated)
        }
    }

    /// The usage by what passed through: the prompt's bytes, and the answer's.
    pub(super) fn counted(&self, reasoning_bytes: u64, visible_bytes: u64) -> Usage {
        let estimates = &self.site().estimates;
        Usage {
            reasoning: estimates.tokens_of_answer(reasoning_bytes),
            visible: estimates.tokens_of_answer(visible_bytes),
            ..estimates.input(self.request().original.spans.prompt_bytes)
        }
    }

    /// The usage by what passed through, where the host has told none.
    pub(super) fn counted_so_far(&self, report: &Report) -> Option<Usage> {
        report
            .usage
            .is_none()
            .then(|| self.counted(report.reasoning_bytes, report.visible_bytes))
    }

    /// Output that is still to be expected beyond so many bytes, at its price.
    pub(super) fn cost_of_rest(&self, seen_bytes: u64) -> Money {
        let seen = self.site().estimates.tokens_of_answer(seen_bytes).get();
        let ranked = &self.dispatch.planned.plan.ranked[self.dispatch.rank];
        let expected = ranked.expected.output().get();
        // Beyond what was expected the rest is unknown: as much again as a quarter of what came.
        let rest = expected.saturating_sub(seen).max(seen / 4);
        ranked.window.rates.output * crate::chat::Tokens::new(rest)
    }

    pub(super) fn learn(&self, usage: Usage, answer_bytes: Option<u64>) {
        let planned = &self.dispatch.planned;
        self.site().estimates.learn(&Sample {
            prompt_bytes: planned.asked.request.original.spans.prompt_bytes,
            answer_bytes,
            usage,
            first_byte: self.first_byte,
        });
        planned.sites.workload(&planned.model).learn(&usage);
    }

    /// Books the attempt. The first settlement stands; there is no second.
    pub(super) fn settle(
        &mut self,
        outcome: Outcome,
        usage: Usage,
        counted_by: CountedBy,
    ) -> Settled {
        let Some(mut entry) = self.entry.take() else {
            return Settled {
                priced: false,
                written: Durable(None),
            };
        };
        let (outcome, counted_by) = if self.dispatch.left.load(Relaxed) {
            match (outcome, counted_by) {
                (Outcome::Answered, CountedBy::Reported) => (Outcome::Left, CountedBy::Drained),
                (Outcome::Answered, other) => (Outcome::Left, other),
                other => other,
            }
        } else {
            (outcome, counted_by)
        };
        let planned = &self.dispatch.planned;
        let site = planned.site(self.dispatch.rank);
        entry.ended = self.rooms.clock.now();
        entry.billed = match site.backend.host().bills_at {
            BillsAt::Start => entry.started,
            BillsAt::End => entry.ended,
        };
        entry.usage = usage;
        entry.outcome = outcome;
        entry.counted_by = counted_by;
        (entry.price, entry.window) = price(planned, site, &usage, entry.billed);
        let cost = entry.price.cost();
        if cost.is_none() {
            self.rooms.metrics.unpriced.inc();
            error!(entry = %entry.id, backend = %site.backend.name,
                "no price is known at the instant that the host bills by: booked unpriced; add the price to the catalog");
        }
        planned
            .spending
            .add(cost.unwrap_or(Money::ZERO), entry.billed);
        site.counters.settled(&entry);
        let written = match self.rooms.ledger.settle(&entry) {
            Ok(written) => Some(written),
            Err(error) => {
                self.rooms.metrics.unsettled.inc();
                error!(%error, entry = %entry.id, "a settlement could not be written: its intent stands as an estimate");
                None
            }
        };
        Settled {
            priced: cost.is_some(),
            written: Durable(written),
        }
    }

    /// The cost of the whole request so far, for its caller.
    pub(super) fn spent(&self) -> Money {
        self.dispatch.planned.spending.total()
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        if self.is_settled() {
            return;
        }
        if self.was_sent {
            // The caller is gone and the rest too dear to wait for: what was asked is booked.
            self.settle(
                Outcome::Left,
                self.expected(!self.request().stream),
                CountedBy::Estimated,
            );
        } else {
            self.settle(Outcome::Failed, Usage::default(), CountedBy::Nothing);
        }
    }
}

fn tags(planned: &Planned) -> Arc<str> {
    let tags: Vec<&str> = planned
        .asked
        .tags
        .iter()
        .map(crate::id::Tag::as_str)
        .collect();
    tags.join(",").into()
}

/// The price of a usage at a site and instant, beside what it would be at list price and spread
/// evenly over the backends that were allowed.
fn price(
    planned: &Planned,
    site: &Site,
    usage: &Usage,
    billed: Timestamp,
) -> (Price, Option<WindowId>) {
    let Some(window) = site.window(billed) else {
        return (Price::Unpriced, None);
    };
    let cost = pricing::cost(&window.rates, usage);
    let mut sum = Money::ZERO;
    let mut count = 0;
    for &index in &planned.allowed {
        if let Some(window) = planned.sites.all[index].window(billed) {
            sum += pricing::cost(&window.rates, usage);
            count += 1;
        }
    }
    let price = Price::Priced {
        cost,
        list: pricing::cost(&window.list, usage),
        spread: Money::from_picodollars(sum.picodollars() / i128::from(count.max(1))),
        provisional: window.provisional,
    };
    (price, Some(window.id.clone()))
}
