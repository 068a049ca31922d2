//! The state of the overview, which lives in its address: which days, and grouped by what. So a
//! page can be sent to a colleague, and going back works.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::figures::{Dimension, Span};
use super::wording;
use crate::time::Timestamp;

/// Longest span of one page, in days: a leap year.
const MOST_DAYS: i32 = 366;

/// The query of the overview's address, as it came.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    from: Option<String>,
    to: Option<String>,
    by: Option<String>,
}

/// What the picture and its table are grouped by: bars of the first, parts of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    Team,
    Host,
    Day,
}

impl Grouping {
    pub(super) const ALL: [Grouping; 3] = [Grouping::Team, Grouping::Host, Grouping::Day];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Grouping::Team => "team",
            Grouping::Host => "host",
            Grouping::Day => "day",
        }
    }

    pub(super) const fn dimensions(self) -> [Dimension; 2] {
        match self {
            Grouping::Team => [Dimension::Team, Dimension::Host],
            Grouping::Host => [Dimension::Host, Dimension::Team],
            Grouping::Day => [Dimension::Day, Dimension::Host],
        }
    }

    /// What the parts of a bar are.
    pub(super) const fn parts(self) -> &'static str {
        match self {
            Grouping::Team | Grouping::Day => "host",
            Grouping::Host => "team",
        }
    }
}

/// The days and the grouping of one overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) first: Date,
    /// Included.
    pub(super) last: Date,
    pub(super) by: Grouping,
}

/// A span that one click chooses.
pub(super) struct Preset {
    pub(super) name: &'static str,
    pub(super) address: String,
    pub(super) current: bool,
}

impl Period {
    /// Reads the address; what it leaves out is this month so far, by team.
    pub(super) fn read(query: &Query, now: Timestamp) -> Result<Self, String> {
        let today = today(now);
        let by = match query.by.as_deref() {
            None | Some("") => Grouping::Team,
            Some(name) => Grouping::ALL
                .into_iter()
                .find(|known| known.as_str() == name)
                .ok_or("The grouping is team, host or day.")?,
        };
        let day = |text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) if text.len() == 10 => text
                .parse()
                .map(Some)
                .map_err(|_| "A day is written as 2026-11-24."),
            Some(_) => Err("A day is written as 2026-11-24."),
        };
        let last = day(&query.to)?.unwrap_or(today);
        let first = day(&query.from)?.unwrap_or_else(|| last.first_of_month());
        if first > last {
            return Err("The first day comes after the last one: swap them.".to_owned());
        }
        let period = Period { first, last, by };
        if period.length() > MOST_DAYS || period.span().is_none() {
            return Err(format!("Choose at most {MOST_DAYS} days."));
        }
        Ok(period)
    }

    /// This month so far, by team.
    #[cfg(test)]
    pub(super) fn usual(now: Timestamp) -> Self {
        let last = today(now);
        Period {
            first: last.first_of_month(),
            last,
            by: Grouping::Team,
        }
    }

    pub(super) fn span(&self) -> Option<Span> {
        Span::of_days(self.first, self.last)
    }

    /// Days, both ends counted.
    pub(super) fn length(&self) -> i32 {
        (self.last - self.first).get_days() + 1
    }

    /// Every day, in order.
    pub(super) fn days(&self) -> impl Iterator<Item = Date> {
        let last = self.last;
        self.first
            .series(jiff::Span::new().days(1))
            .take_while(move |day| *day <= last)
    }

    pub(super) fn in_words(&self) -> String {
        wording::days(self.first, self.last)
    }

    pub(super) fn address(&self) -> String {
        format!(
            "/dashboard?from={}&to={}&by={}",
            self.first,
            self.last,
            self.by.as_str()
        )
    }

    pub(super) fn grouped_by(self, by: Grouping) -> Self {
        Period { by, ..self }
    }

    pub(super) fn presets(&self, now: Timestamp) -> Vec<Preset> {
        let today = today(now);
        let week = today
            .checked_sub(jiff::Span::new().days(6))
            .unwrap_or(today);
        [
            ("Today", today),
            ("7 days", week),
            ("Month to date", today.first_of_month()),
        ]
        .into_iter()
        .map(|(name, first)| {
            let period = Period {
                first,
                last: today,
                by: self.by,
            };
            Preset {
                name,
                address: period.address(),
                current: period == *self,
            }
        })
        .collect()
    }
}

fn today(now: Timestamp) -> Date {
    now.to_zoned_datetime(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T08:36:00Z".parse().expect("an instant")
    }

    fn read(from: &str, to: &str, by: &str) -> Result<Period, String> {
        let query = Query {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            by: Some(by.to_owned()),
        };
        Period::read(&query, now())
    }

    #[test]
    fn an_address_that_says_nothing_means_this_month_so_far() {
        let period = Period::read(&Query::default(), now()).expect("a period");
        assert_eq!(
            period.address(),
            "/dashboard?from=2026-11-01&to=2026-11-24&by=team"
        );
        assert_eq!(period, Period::usual(now()));
        assert_eq!(period.length(), 24);
    }

    #[test]
    fn both_days_are_included_whole() {
        let span = read("2026-11-01", "2026-11-24", "day")
            .expect("a period")
            .span()
            .expect("a span");
        assert_eq!(span.from.to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(span.until.to_string(), "2026-11-25T00:00:00Z");
    }

    #[test]
    fn an_address_survives_being_read_and_written() {
        for by in ["team", "host", "day"] {
            let period = read("2026-02-27", "2026-03-02", by).expect("a period");
            assert_eq!(
                period.address(),
                format!("/dashboard?from=2026-02-27&to=2026-03-02&by={by}")
            );
            assert_eq!(period.days().count(), 4);
        }
    }

    #[test]
    fn days_that_are_none_are_refused_with_what_to_write() {
        for (from, to, by) in [
            ("2026-11-24", "2026-11-01", "team"),
            ("2026-13-01", "2026-11-01", "team"),
            ("yesterday", "", "team"),
            ("2020-01-01", "2026-11-01", "team"),
            ("2026-11-01", "2026-11-02", "planet"),
            ("9999-12-31", "9999-12-31", "team"),
            ("-009999-01-01", "-009999-01-01", "team"),
        ] {
            assert!(read(from, to, by).is_err(), "{from} {to} {by}");
        }
    }

    #[test]
    fn the_preset_that_is_shown_is_marked() {
        let current = |period: Period| {
            period
                .presets(now())
                .into_iter()
                .filter(|one| one.current)
                .map(|one| one.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(current(Period::usual(now())), ["Month to date"]);
        assert_eq!(
            current(read("2026-11-18", "2026-11-24", "host").expect("a period")),
            ["7 days"]
        );
        assert!(current(read("2026-11-17", "2026-11-24", "host").expect("a period")).is_empty());
    }
}
