//! From a tariff as written to a [`Tariff`], refusing what would leave an instant with two prices
//! or with none.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use toml::Spanned;

use super::form::{BandForm, OfferForm, RatesForm, TariffForm};
use super::page::{Desk, Place};
use super::{Band, Calendar, Hours, Rates, Tariff};
use crate::id::WindowId;
use crate::time::Timestamp;

/// What tariffs may refer to.
pub(super) type Calendars = BTreeMap<Arc<str>, Arc<Calendar>>;

/// The tariffs of one offer, and what is wrong with them onto the desk.
pub(super) fn tariffs(
    desk: &mut Desk,
    page: usize,
    offer: &OfferForm,
    calendars: &Calendars,
) -> Vec<Tariff> {
    let mut tariffs: Vec<(Place, Tariff)> = Vec::new();
    for form in &offer.tariff {
        let place = desk.place(page, form);
        let read = tariff(desk, page, offer.model.get_ref(), form, calendars);
        for (earlier_place, earlier) in &tariffs {
            if earlier.name == read.name {
                let there = desk.name(*earlier_place);
                desk.reject(
                    place,
                    format!(
                        "the tariff `{}` stands already at {there}: give this one another name",
                        read.name
                    ),
                );
            } else if ambiguous(earlier, &read) {
                let there = desk.name(*earlier_place);
                desk.reject(
                    place,
                    format!(
                        "the tariffs `{}` ({there}) and `{}` hold at the same time and were announced at the \
                         same instant: end the first with `until = {}`, or give the later announcement its own `known`",
                        earlier.name,
                        read.name,
                        read.from.max(earlier.from),
                    ),
                );
            }
        }
        tariffs.push((place, read));
    }
    tariffs.into_iter().map(|(_, tariff)| tariff).collect()
}

/// Whether nothing says which of the two is in force at some instant.
fn ambiguous(one: &Tariff, other: &Tariff) -> bool {
    one.kind == other.kind
        && one.known == other.known
        && spans_meet((Some(one.from), one.until), (Some(other.from), other.until))
}

/// Whether two spans, open where nothing is said, share an instant.
pub(super) fn spans_meet(
    one: (Option<Timestamp>, Option<Timestamp>),
    other: (Option<Timestamp>, Option<Timestamp>),
) -> bool {
    let starts_before_end = |from: Option<Timestamp>, until: Option<Timestamp>| {
        from.is_none() || until.is_none() || from < until
    };
    starts_before_end(one.0, other.1) && starts_before_end(other.0, one.1)
}

fn tariff(
    desk: &mut Desk,
    page: usize,
    model: &str,
    form: &Spanned<TariffForm>,
    calendars: &Calendars,
) -> Tariff {
    let place = desk.place(page, form);
    let form = form.get_ref();
    desk.word(page, &form.name);
    let from = form.from.0;
    let until = form.until.as_ref().map(|until| {
        if until.get_ref().0 <= from {
            let place = desk.place(page, until);
            desk.reject(
                place,
                format!("`until` is not after `from`: write an instant after {from}"),
            );
        }
        until.get_ref().0
    });
    let zone = zone(desk, page, form.zone.as_ref());
    let calendar = form.calendar.as_ref().and_then(|name| {
        let found = calendars.get(name.get_ref().as_str()).cloned();
        if found.is_none() {
            let place = desk.place(page, name);
            let known: Vec<&str> = calendars.keys().map(|name| &**name).collect();
            desk.reject(
                place,
                format!(
                    "there is no calendar `{}`: write one of [{}], or add it below calendars/",
                    name.get_ref(),
                    known.join(", ")
                ),
            );
        }
        found
    });
    let bands = bands(desk, page, place, model, form);
    Tariff {
        name: form.name.get_ref().as_str().into(),
        kind: form.kind,
        from,
        until,
        known: form.known.0,
        zone,
        calendar,
        bands,
        note: form.note.as_deref().map(Arc::from),
        source: desk.source(page, &form.source, form.read),
    }
}

fn zone(desk: &mut Desk, page: usize, name: Option<&Spanned<String>>) -> TimeZone {
    let Some(name) = name else {
        return TimeZone::UTC;
    };
    TimeZone::get(name.get_ref()).unwrap_or_else(|_| {
        let place = desk.place(page, name);
        desk.reject(
            place,
            format!(
                "there is no time zone `{}`: write an IANA name, such as \"Asia/Shanghai\"",
                name.get_ref()
            ),
        );
        TimeZone::UTC
    })
}

fn bands(desk: &mut Desk, page: usize, place: Place, model: &str, form: &TariffForm) -> Vec<Band> {
    let window = |band: &str| WindowId::new(format!("{model}/{}/{band}", form.name.get_ref()));
    if let Some(flat) = &form.flat {
        if !form.bands.is_empty() {
            desk.reject(
                place,
                "the tariff has both `flat` and `bands`: keep one of them",
            );
        }
        return vec![Band {
            name: "flat".into(),
            window: window("flat"),
            hours: Vec::new(),
            days: [true; 7],
            holidays_off: false,
            rates: rates(flat),
        }];
    }
    let mut bands: Vec<(Place, Band)> = Vec::new();
    let mut default: Option<Place> = None;
    for written in &form.bands {
        let place = desk.place(page, written);
        let written = written.get_ref();
        desk.word(page, &written.name);
        let band = band(
            desk,
            page,
            place,
            written,
            form.calendar.is_some(),
            window(written.name.get_ref()),
        );
        if let Some((there, _)) = bands.iter().find(|(_, earlier)| earlier.name == band.name) {
            let there = desk.name(*there);
            desk.reject(place, format!("the band `{}` stands already at {there}: give this one another name, or its hours to that one", band.name));
        }
        if band.hours.is_empty()
            && let Some(there) = default.replace(place)
        {
            let there = desk.name(there);
            desk.reject(
                place,
                format!(
                    "two bands without hours, the other at {there}: write `hours` for one of them"
                ),
            );
        }
        for (there, earlier) in &bands {
            if let Some(shared) = overlap(earlier, &band) {
                let there = desk.name(*there);
                desk.reject(
                    place,
                    format!("the bands `{}` ({there}) and `{}` both hold at {shared} on a same day: move the hours apart", earlier.name, band.name),
                );
            }
        }
        bands.push((place, band));
    }
    if default.is_none() {
        desk.reject(
            place,
            "no band takes the rest of the time: write `flat = { hit = .., miss = .., output = .. }`, or one band without `hours`",
        );
    }
    let mut bands: Vec<Band> = bands.into_iter().map(|(_, band)| band).collect();
    // Stable: bands with hours keep their order, the one without comes last.
    bands.sort_by_key(|band| band.hours.is_empty());
    bands
}

fn band(
    desk: &mut Desk,
    page: usize,
    place: Place,
    form: &BandForm,
    has_calendar: bool,
    window: WindowId,
) -> Band {
    let mut days = [form.days.is_none(); 7];
    for day in form.days.iter().flatten() {
        days[*day as usize] = true;
    }
    if days == [false; 7] {
        desk.reject(
            place,
            "`days` is empty: name days such as [\"mon\", \"tue\"], or leave it out for every day",
        );
    }
    if form.hours.is_empty() && (form.days.is_some() || form.holidays_off) {
        desk.reject(place, "a band without `hours` takes the rest of the time: leave out `days` and `holidays_off`, or write hours = [\"00:00-24:00\"]");
    }
    if form.holidays_off && !has_calendar {
        desk.reject(place, "`holidays_off` needs to know the holidays: write `calendar = \"china\"` for the tariff");
    }
    let mut hours: Vec<Hours> = Vec::new();
    for written in &form.hours {
        let span = *written.get_ref();
        if let Some(earlier) = hours.iter().find(|earlier| hours_meet(earlier, &span)) {
            let place = desk.place(page, written);
            desk.reject(
                place,
                format!(
                    "these hours overlap {} of the same band: write each hour once",
                    clock(earlier.from_s)
                ),
            );
        }
        hours.push(span);
    }
    hours.sort_by_key(|span| span.from_s);
    Band {
        name: form.name.get_ref().as_str().into(),
        window,
        hours,
        days,
        holidays_off: form.holidays_off,
        rates: rates(&RatesForm {
            hit: form.hit,
            miss: form.miss,
            write: form.write,
            output: form.output,
        }),
    }
}

fn rates(form: &RatesForm) -> Rates {
    Rates {
        cache_hit: form.hit.0,
        cache_miss: form.miss.0,
        cache_write: form.write.unwrap_or(form.miss).0,
        output: form.output.0,
    }
}

/// An hour that both bands claim, if their days meet.
fn overlap(one: &Band, other: &Band) -> Option<String> {
    let share_a_day = one
        .days
        .iter()
        .zip(other.days)
        .any(|(here, there)| *here && there);
    if !share_a_day {
        return None;
    }
    one.hours.iter().find_map(|span| {
        let met = other.hours.iter().find(|there| hours_meet(span, there))?;
        Some(clock(span.from_s.max(met.from_s)))
    })
}

fn hours_meet(one: &Hours, other: &Hours) -> bool {
    one.from_s < other.to_s && other.from_s < one.to_s
}

fn clock(second: u32) -> String {
    format!("{:02}:{:02}", second / 3_600, second % 3_600 / 60)
}
