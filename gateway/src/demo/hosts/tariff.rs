//! What an emulated host charges at an instant. Its own sheet (`prices.toml`), its own reading of
//! decimals, its own calendar of DeepSeek's peak hours: nothing here is shared with the gateway's
//! catalog or pricing.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::Deserialize;

use super::deployments::MARK;
use super::profile::EmulatedHost;

/// Picodollars (10^-12 US$) a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charges {
    pub hit: u64,
    pub miss: u64,
    pub output: u64,
}

/// The charges in force and the name of their window, as bills show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InForce {
    pub window: String,
    pub charges: Charges,
}

/// A price of one of the three hosts that publish none: invented for the demonstration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemonstrationPrice {
    pub host: EmulatedHost,
    /// The host's own id of the model.
    pub model: &'static str,
    pub charges: Charges,
    /// US$ per million tokens as the sheet writes it: cache hit, cache miss, output.
    pub dollars_per_million: [&'static str; 3],
}

enum Prices {
    Flat(Charges),
    ByHour { off_peak: Charges, peak: Charges },
}

struct Row {
    host: EmulatedHost,
    model: &'static str,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    prices: Prices,
    written: [&'static str; 3],
    demonstration: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    price: Vec<WrittenRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRow {
    host: String,
    model: String,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    #[serde(default)]
    flat: Option<[String; 3]>,
    #[serde(default)]
    off_peak: Option<[String; 3]>,
    #[serde(default)]
    peak: Option<[String; 3]>,
    #[serde(default)]
    demonstration: bool,
}

static SHEET: LazyLock<Vec<Row>> = LazyLock::new(|| {
    read_sheet(include_str!("../prices.toml"))
        .expect("the sheet ships inside the program and its test reads it")
});

fn read_sheet(text: &str) -> Result<Vec<Row>, String> {
    let sheet: Sheet = toml::from_str(text).map_err(|error| error.to_string())?;
    sheet.price.into_iter().map(read_row).collect()
}

fn read_row(row: WrittenRow) -> Result<Row, String> {
    let host = row.host.parse::<EmulatedHost>()?;
    let what = format!("{}/{}", row.host, row.model);
    let (prices, written) = match (row.flat, row.off_peak, row.peak) {
        (Some(flat), None, None) => (Prices::Flat(read_charges(&flat)?), flat),
        (None, Some(off_peak), Some(peak)) => (
            Prices::ByHour {
                off_peak: read_charges(&off_peak)?,
                peak: read_charges(&peak)?,
            },
            off_peak,
        ),
        _ => return Err(format!("{what}: give `flat`, or `off_peak` and `peak`")),
    };
    Ok(Row {
        host,
        // The sheet is read once and lives as long as the program.
        model: String::leak(row.model),
        from: row.from,
        until: row.until,
        prices,
        written: written.map(|price| -> &'static str { String::leak(price) }),
        demonstration: row.demonstration,
    })
}

fn read_charges([hit, miss, output]: &[String; 3]) -> Result<Charges, String> {
    Ok(Charges {
        hit: picodollars_per_token(hit)?,
        miss: picodollars_per_token(miss)?,
        output: picodollars_per_token(output)?,
    })
}

/// Dollars per million tokens with up to six decimals are a whole number of picodollars a token.
fn picodollars_per_token(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no price");
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || decimals.len() > 6 {
        return Err(wrong());
    }
    let mut value = 0_u64;
    for digit in whole.chars().chain(format!("{decimals:0<6}").chars()) {
        let digit = digit.to_digit(10).ok_or_else(wrong)?;
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit)))
            .ok_or_else(wrong)?;
    }
    Ok(value)
}

/// The host's own spelling of a model that it sells at `at`; hosts disregard the case of ids, and
/// the mark behind an id with an invented price.
pub(super) fn sold_as(host: EmulatedHost, model: &str, at: Timestamp) -> Option<&'static str> {
    let plain = model.strip_suffix(MARK).unwrap_or(model);
    rows_at(host, at)
        .find(|row| {
            row.model.eq_ignore_ascii_case(model)
                || row.demonstration && row.model.eq_ignore_ascii_case(plain)
        })
        .map(|row| row.model)
}

/// The ids of all models sold at `at`, in the sheet's order.
pub(super) fn models(host: EmulatedHost, at: Timestamp) -> Vec<&'static str> {
    rows_at(host, at).map(|row| row.model).collect()
}

pub(super) fn in_force(host: EmulatedHost, model: &str, at: Timestamp) -> Option<InForce> {
    let row = rows_at(host, at).find(|row| row.model == model)?;
    let since = row
        .from
        .map_or_else(String::new, |from| format!("{}/", &from.to_string()[..10]));
    let (band, charges) = match &row.prices {
        Prices::Flat(charges) => ("flat", *charges),
        Prices::ByHour { peak, .. } if deepseek_peak(at) => ("peak", *peak),
        Prices::ByHour { off_peak, .. } => ("off-peak", *off_peak),
    };
    Some(InForce {
        window: format!("{since}{band}"),
        charges,
    })
}

fn rows_at(host: EmulatedHost, at: Timestamp) -> impl Iterator<Item = &'static Row> {
    SHEET.iter().filter(move |row| {
        row.host == host
            && row.from.is_none_or(|from| from <= at)
            && row.until.is_none_or(|until| at < until)
    })
}

/// The invented prices of the hosts that publish none.
pub fn demonstration_prices() -> Vec<DemonstrationPrice> {
    let invented = |row: &&Row| row.demonstration;
    SHEET
        .iter()
        .filter(invented)
        .filter_map(|row| match row.prices {
            Prices::Flat(charges) => Some(DemonstrationPrice {
                host: row.host,
                model: row.model,
                charges,
                dollars_per_million: row.written,
            }),
            Prices::ByHour { .. } => None,
        })
        .collect()
}

/// 2026-08-23 00:00 in Beijing: weekends are off-peak all day.
const WEEKENDS_OFF_SINCE: i64 = 1_787_414_400;
/// 2026-09-21 00:00 in Beijing, the day on which the page was first read to except public
/// holidays; the first holiday after it was 25 September.
const HOLIDAYS_OFF_SINCE: i64 = 1_789_920_000;
/// Public holidays of 2026 as (month, first day, last day), from the State Council's notice of
/// 2025-11-04. Weekends worked in exchange stay off-peak: they are weekends.
const HOLIDAYS_2026: [(u32, u32, u32); 7] = [
    (1, 1, 3),
    (2, 15, 23),
    (4, 4, 6),
    (5, 1, 5),
    (6, 19, 21),
    (9, 25, 27),
    (10, 1, 7),
];

/// Whether DeepSeek's peak price holds: 09:00-12:00 and 14:00-18:00 in Beijing on working days.
pub(super) fn deepseek_peak(at: Timestamp) -> bool {
    const DAY: i64 = 86_400;
    let utc = at.as_second();
    let beijing = utc + 8 * 3_600;
    let day = beijing.div_euclid(DAY);
    let hour = beijing.rem_euclid(DAY) / 3_600;
    if !((9..12).contains(&hour) || (14..18).contains(&hour)) {
        return false;
    }
    // 1970-01-01 was a Thursday; Monday is 0.
    let weekday = (day + 3).rem_euclid(7);
    if weekday >= 5 && utc >= WEEKENDS_OFF_SINCE {
        return false;
    }
    !(utc >= HOLIDAYS_OFF_SINCE && is_holiday(day))
}

/// `day` counts from 1970-01-01 in Beijing.
fn is_holiday(day: i64) -> bool {
    const NEW_YEAR_2026: i64 = 20_454;
    const MONTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut left = day - NEW_YEAR_2026;
    if !(0..365).contains(&left) {
        return false;
    }
    let mut month = 1;
    for length in MONTHS {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    HOLIDAYS_2026.iter().any(|&(holiday, first, last)| {
        holiday == month && (i64::from(first)..=i64::from(last)).contains(&(left + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn the_constants_name_the_instants_that_they_say() {
        assert_eq!(WEEKENDS_OFF_SINCE, at("2026-08-22T16:00:00Z").as_second());
        assert_eq!(HOLIDAYS_OFF_SINCE, at("2026-09-20T16:00:00Z").as_second());
        assert!(is_holiday(at("2026-10-07T00:00:00Z").as_second() / 86_400));
        assert!(!is_holiday(at("2026-10-08T00:00:00Z").as_second() / 86_400));
        assert!(is_holiday(at("2026-01-01T00:00:00Z").as_second() / 86_400));
        assert!(!is_holiday(at("2025-12-31T00:00:00Z").as_second() / 86_400));
    }

    #[test]
    fn deepseek_charges_what_its_pages_say_at_the_edges_of_its_windows() {
        // (instant, hit, miss, output) for V4-Pro, by hand from the price history.
        let expected = [
            ("2026-05-01T00:00:00Z", 3_625, 435_000, 870_000),
            ("2026-08-16T15:59:59Z", 3_625, 435_000, 870_000),
            ("2026-08-16T16:00:00Z", 22_000, 660_000, 1_980_000),
            ("2026-08-17T00:59:59Z", 22_000, 660_000, 1_980_000),
            ("2026-08-17T01:00:00Z", 44_000, 1_320_000, 3_960_000),
            ("2026-08-17T03:59:59Z", 44_000, 1_320_000, 3_960_000),
            ("2026-08-17T04:00:00Z", 22_000, 660_000, 1_980_000),
            ("2026-08-17T06:00:00Z", 44_000, 1_320_000, 3_960_000),
            ("2026-08-17T10:00:00Z", 22_000, 660_000, 1_980_000),
            // A Saturday before weekends were excepted, and one after.
            ("2026-08-22T01:30:00Z", 44_000, 1_320_000, 3_960_000),
            ("2026-08-29T01:30:00Z", 22_000, 660_000, 1_980_000),
            // National Day, then a Saturday that is worked in exchange.
            ("2026-10-01T02:00:00Z", 22_000, 660_000, 1_980_000),
            ("2026-10-10T02:00:00Z", 22_000, 660_000, 1_980_000),
            ("2026-10-08T02:00:00Z", 44_000, 1_320_000, 3_960_000),
            // An ordinary Tuesday.
            ("2026-11-24T02:00:00Z", 44_000, 1_320_000, 3_960_000),
        ];
        for (instant, hit, miss, output) in expected {
            let found = in_force(EmulatedHost::Deepseek, "deepseek-v4-pro", at(instant));
            let charges = found.map(|found| found.charges);
            assert_eq!(charges, Some(Charges { hit, miss, output }), "{instant}");
        }
    }

    #[test]
    fn the_old_flash_name_has_the_price_of_its_successor_since_september() {
        let flash = |instant| {
            in_force(EmulatedHost::Deepseek, "deepseek-v4-flash", at(instant))
                .map(|found| found.charges.miss)
        };
        assert_eq!(flash("2026-09-08T12:00:00Z"), Some(220_000));
        assert_eq!(flash("2026-09-11T12:00:00Z"), Some(150_000));
    }

    #[test]
    fn ids_are_taken_in_any_case_and_with_the_mark_of_an_invented_price() {
        let noon = at("2026-11-24T12:00:00Z");
        let sold = |host, model| sold_as(host, model, noon);
        assert_eq!(
            sold(
                EmulatedHost::Lightning,
                "lightning-ai/deepseek-v4-pro:demonstration"
            ),
            Some("lightning-ai/deepseek-v4-pro")
        );
        assert_eq!(
            sold(EmulatedHost::Azure, "DeepSeek-V4-Pro"),
            Some("deepseek-v4-pro")
        );
        assert_eq!(
            sold(EmulatedHost::Deepseek, "deepseek-v4-pro:demonstration"),
            None
        );
    }

    #[test]
    fn names_that_ended_are_no_longer_sold() {
        let sold = |instant| sold_as(EmulatedHost::Deepseek, "deepseek-chat", at(instant));
        assert_eq!(sold("2026-07-24T15:58:59Z"), Some("deepseek-chat"));
        assert_eq!(sold("2026-07-24T15:59:00Z"), None);
    }

    #[test]
    fn a_window_is_named_by_its_first_day_and_its_band() {
        let window =
            |host, model, instant| in_force(host, model, at(instant)).map(|found| found.window);
        assert_eq!(
            window(
                EmulatedHost::Deepseek,
                "deepseek-v4-pro",
                "2026-11-24T02:00:00Z"
            )
            .as_deref(),
            Some("2026-08-16/peak")
        );
        assert_eq!(
            window(
                EmulatedHost::Together,
                "deepseek-ai/DeepSeek-V4.1-Flash",
                "2026-11-24T02:00:00Z"
            )
            .as_deref(),
            Some("flat")
        );
    }

    #[test]
    fn every_host_sells_something_and_only_three_at_invented_prices() {
        for host in EmulatedHost::ALL {
            assert!(
                !models(host, at("2026-11-24T12:00:00Z")).is_empty(),
                "{host}"
            );
        }
        let mut invented: Vec<_> = demonstration_prices()
            .iter()
            .map(|price| price.host)
            .collect();
        invented.dedup();
        assert_eq!(
            invented,
            [
                EmulatedHost::Bedrock,
                EmulatedHost::Siliconflow,
                EmulatedHost::Lightning
            ]
        );
    }

    #[test]
    fn text_that_is_no_price_is_refused() {
        for text in ["", ".5", "x", "1.2345678", "-1", "1.2.3"] {
            assert!(picodollars_per_token(text).is_err(), "{text}");
        }
        assert_eq!(picodollars_per_token("0.003625"), Ok(3_625));
        assert_eq!(picodollars_per_token("12"), Ok(12_000_000));
    }
}
