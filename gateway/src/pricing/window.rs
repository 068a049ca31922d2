//! Which price of an offer holds at an instant, since when and until when, as the book was known
//! at another. Pure: the book in, a window out. Relies on the loader having refused tariffs and
//! bands that would leave an instant with two prices.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Band, Offer, Rates, Tariff, TariffKind};
use crate::id::WindowId;

/// A price and the span in which it holds. No instant of the span has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// model/tariff/band: `deepseek-v4-pro/2026-08-22/peak`.
    pub id: WindowId,
    /// `peak`.
    pub band: Arc<str>,
    pub kind: TariffKind,
    pub rates: Rates,
    /// What list price means for savings: the dearest band of the list tariff in force, whatever
    /// promotion stands before it.
    pub list: Rates,
    /// The first instant of the window.
    pub from: Timestamp,
    /// The first instant at which any of this is otherwise, whatever the cause. `None`: nothing
    /// known ends it.
    pub until: Option<Timestamp>,
    /// `until`, and the window that begins then. `None` where none does: the price is unknown then,
    /// or never changes.
    pub next: Option<(Timestamp, WindowId)>,
    /// The day lies beyond the calendar's last known day: a holiday may still be declared.
    pub provisional: bool,
}

/// How far apart the calendar can hide the next change before the search stops. Beyond this many
/// days without one, `until` is that day: early, so that whoever caches the window asks again.
const MOST_STEPS: usize = 4_096;

const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// The price of `offer` for what it bills at `at`, as known at `known_at`; the rule stands at
/// [`Tariff`]. `None`: the offer is not served then, or its price is not known.
pub fn window(offer: &Offer, at: Timestamp, known_at: Timestamp) -> Option<Window> {
    let book = Book { offer, known_at };
    let here = book.reading(at)?;
    let (until, then) = book.change_after(at, here);
    let next = then.and_then(|then| Some((until?, then.band.window.clone())));
    Some(Window {
        id: here.band.window.clone(),
        band: here.band.name.clone(),
        kind: here.tariff.kind,
        rates: here.band.rates,
        list: here.list,
        from: book.change_before(at, here),
        until,
        next,
        provisional: here.provisional,
    })
}

/// What the book says of one instant.
#[derive(Clone, Copy)]
struct Reading<'a> {
    tariff: &'a Tariff,
    band: &'a Band,
    list: Rates,
    provisional: bool,
}

impl PartialEq for Reading<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.band, other.band)
            && self.list == other.list
            && self.provisional == other.provisional
    }
}

/// An offer's tariffs as far as they were known.
struct Book<'a> {
    offer: &'a Offer,
    known_at: Timestamp,
}

impl<'a> Book<'a> {
    fn reading(&self, at: Timestamp) -> Option<Reading<'a>> {
        if !self.offer.served_at(at) {
            return None;
        }
        let tariff = self.in_force(at, TariffKind::Promotion)?;
        let list = match tariff.kind {
            TariffKind::List => tariff,
            TariffKind::Promotion => self.in_force(at, TariffKind::List).unwrap_or(tariff),
        };
        let local = tariff.zone.to_datetime(at);
        let day = Day::of(tariff, local.date());
        Some(Reading {
            tariff,
            band: day.band_at(second_of_day(local.time()))?,
            list: dearest(list)?,
            provisional: day.provisional,
        })
    }

    /// The tariff in force among those of at most this kind.
    fn in_force(&self, at: Timestamp, kind: TariffKind) -> Option<&'a Tariff> {
        self.known()
            .filter(|tariff| tariff.kind <= kind)
            .filter(|tariff| tariff.from <= at && tariff.until.is_none_or(|until| at < until))
            .max_by_key(|tariff| (tariff.kind, tariff.known))
    }

    fn known(&self) -> impl Iterator<Item = &'a Tariff> {
        let known_at = self.known_at;
        self.offer
            .tariffs
            .iter()
            .filter(move |tariff| tariff.known <= known_at)
    }

    /// The first instant after `at` that reads otherwise than `here`, and how it reads.
    fn change_after(
        &self,
        at: Timestamp,
        here: Reading<'a>,
    ) -> (Option<Timestamp>, Option<Reading<'a>>) {
        let mut edge = at;
        for _ in 0..MOST_STEPS {
            // Until the reading changes its tariff stays, so that tariff's bands give the edges.
            let bands = band_edge_after(here.tariff, edge);
            let Some(next) = self
                .edges()
                .filter(|other| *other > edge)
                .chain(bands)
                .min()
            else {
                return (None, None);
            };
            let then = self.reading(next);
            if then != Some(here) {
                return (Some(next), then);
            }
            edge = next;
        }
        (Some(edge), Some(here))
    }

    /// The instant at or before `at` since which everything reads as `here`.
    fn change_before(&self, at: Timestamp, here: Reading<'a>) -> Timestamp {
        let mut inside = at;
        for _ in 0..MOST_STEPS {
            let bands = band_edge_until(here.tariff, inside);
            let Some(edge) = self
                .edges()
                .filter(|other| *other <= inside)
                .chain(bands)
                .max()
            else {
                break;
            };
            let Ok(before) = edge.checked_sub(INSTANT) else {
                break;
            };
            if self.reading(before) != Some(here) {
                return edge;
            }
            inside = before;
        }
        inside
    }

    /// Instants at which another tariff may come into force, or the offer begin or end.
    fn edges(&self) -> impl Iterator<Item = Timestamp> + use<'a> {
        let known_at = self.known_at;
        let tariffs = self
            .offer
            .tariffs
            .iter()
            .filter(move |tariff| tariff.known <= known_at);
        let spans = tariffs.flat_map(|tariff| [Some(tariff.from), tariff.until]);
        spans.chain([self.offer.from, self.offer.until]).flatten()
    }
}

/// A civil day as a tariff sees it.
struct Day<'a> {
    tariff: &'a Tariff,
    date: Date,
    holiday: bool,
    provisional: bool,
}

impl<'a> Day<'a> {
    fn of(tariff: &'a Tariff, date: Date) -> Self {
        let cares = tariff.bands.iter().any(|band| band.holidays_off);
        let calendar = tariff.calendar.as_deref().filter(|_| cares);
        Day {
            tariff,
            date,
            holiday: calendar
                .is_some_and(|calendar| calendar.holidays.binary_search(&date).is_ok()),
            provisional: calendar.is_some_and(|calendar| date > calendar.known_until),
        }
    }

    /// The bands whose hours count on this day.
    fn bands(&self) -> impl Iterator<Item = &'a Band> {
        let weekday = usize::from(self.date.weekday().to_monday_zero_offset().unsigned_abs());
        let holiday = self.holiday;
        self.tariff
            .bands
            .iter()
            .filter(move |band| band.days[weekday] && !(holiday && band.holidays_off))
    }

    fn band_at(&self, second: u32) -> Option<&'a Band> {
        self.bands()
            .find(|band| {
                band.hours
                    .iter()
                    .any(|span| span.from_s <= second && second < span.to_s)
            })
            .or_else(|| self.tariff.bands.iter().find(|band| band.hours.is_empty()))
    }

    /// The instants of this day at which the band may change: its beginning, and the ends of hours.
    fn edges(&self, mut visit: impl FnMut(Timestamp)) {
        let mut visit_second = |second: u32| {
            let Some(civil) = civil_at(self.date, second) else {
                return;
            };
            let ambiguous = self.tariff.zone.to_ambiguous_timestamp(civil);
            match ambiguous.offset() {
                jiff::tz::AmbiguousOffset::Unambiguous { offset } => {
                    offset.to_timestamp(civil).into_iter().for_each(&mut visit);
                }
                // The clock shows this hour twice. Where it skips the hour, the skip is an edge.
                jiff::tz::AmbiguousOffset::Fold { before, after }
                | jiff::tz::AmbiguousOffset::Gap { before, after } => {
                    before.to_timestamp(civil).into_iter().for_each(&mut visit);
                    after.to_timestamp(civil).into_iter().for_each(&mut visit);
                }
            }
        };
        visit_second(0);
        for band in self.bands() {
            for span in &band.hours {
                visit_second(span.from_s);
                visit_second(span.to_s);
            }
        }
    }
}

/// The first instant after `at` at which the tariff's band may change.
fn band_edge_after(tariff: &Tariff, at: Timestamp) -> Option<Timestamp> {
    if tariff.bands.len() < 2 {
        return None;
    }
    let mut date = tariff.zone.to_datetime(at).date();
    let mut first = tariff
        .zone
        .following(at)
        .next()
        .map(|change| change.timestamp());
    let mut found = false;
    while !found {
        Day::of(tariff, date).edges(|edge| {
            if edge > at {
                found = true;
                first = Some(first.map_or(edge, |first| first.min(edge)));
            }
        });
        date = date.tomorrow().ok()?;
    }
    first
}

/// The last instant at or before `at` at which the tariff's band may have changed.
fn band_edge_until(tariff: &Tariff, at: Timestamp) -> Option<Timestamp> {
    if tariff.bands.len() < 2 {
        return None;
    }
    let mut date = tariff.zone.to_datetime(at).date();
    // `preceding` is strict; an instant later makes it include `at`.
    let after = at.checked_add(INSTANT).ok()?;
    let mut last = tariff
        .zone
        .preceding(after)
        .next()
        .map(|change| change.timestamp());
    let mut found = false;
    while !found {
        Day::of(tariff, date).edges(|edge| {
            if edge <= at {
                found = true;
                last = Some(last.map_or(edge, |last| last.max(edge)));
            }
        });
        date = date.yesterday().ok()?;
    }
    last
}

/// The dearest band: what a caller pays who looks at no clock.
fn dearest(tariff: &Tariff) -> Option<Rates> {
    let size = |rates: &Rates| {
        let per_token = |rate: crate::money::Rate| u128::from(rate.picodollars_per_token());
        (
            per_token(rates.cache_miss) + per_token(rates.output),
            rates.cache_hit,
        )
    };
    tariff.bands.iter().map(|band| band.rates).max_by_key(size)
}

fn second_of_day(time: jiff::civil::Time) -> u32 {
    let part = |part: i8| u32::from(part.unsigned_abs());
    part(time.hour()) * 3_600 + part(time.minute()) * 60 + part(time.second())
}

/// The civil time so many seconds into a day; 86,400 is the next day's beginning.
fn civil_at(date: Date, second: u32) -> Option<jiff::civil::DateTime> {
    if second >= 86_400 {
        return Some(
            date.tomorrow()
                .ok()?
                .to_datetime(jiff::civil::Time::midnight()),
        );
    }
    let part = |part: u32| i8::try_from(part).unwrap_or(0);
    Some(date.at(
        part(second / 3_600),
        part(second / 60 % 60),
        part(second % 60),
        0,
    ))
}
