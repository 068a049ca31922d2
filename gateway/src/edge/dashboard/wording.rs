//! How figures and names are put for a reader: exact money with its rounding shown, counts grouped
//! by thousands, instants in UTC, and names that cannot dress up as something else. Relies on
//! askama to escape HTML; what HTML lets through (control and direction characters) is dealt with
//! here.

use std::fmt::{self, Write as _};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::chat::Tokens;
use crate::money::Money;
use crate::time::Timestamp;

/// Longest name shown whole, in characters; the rest is cut so that no name can break a page.
const LONGEST_NAME: usize = 80;
/// The same for a sentence, a reason or an address.
const LONGEST_SENTENCE: usize = 400;

/// Money as a page shows it: rounded for the eye, whole for the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// `$1,234.57`
    pub(super) rounded: String,
    /// `1234.567890123`
    pub(super) exact: String,
}

impl Shown {
    pub(super) fn new(amount: Money, decimals: u32) -> Self {
        Shown {
            rounded: amount.for_people(decimals),
            exact: amount.to_string(),
        }
    }

    /// One amount on its own, with the decimals that its size calls for.
    pub(super) fn alone(amount: Money) -> Self {
        Shown::new(amount, decimals_for(amount))
    }
}

/// As HTML: rounded to read, and exact on hover and for whoever checks the page against the ledger.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { rounded, exact } = self;
        write!(
            f,
            r#"<data class="money" value="{exact}" data-exact="{exact}" title="{exact} dollars exactly">{rounded}</data>"#
        )
    }
}

/// Digits, signs and separators: nothing in it needs escaping.
impl askama::filters::HtmlSafe for Shown {}

/// Decimals with which an amount of this size is read: cents for hundreds of dollars, more for
/// less, so that at least four digits say something.
pub(super) fn decimals_for(amount: Money) -> u32 {
    match amount.picodollars().unsigned_abs() {
        0 => 2,
        size if size >= 100_000_000_000_000 => 2,
        size if size >= 1_000_000_000_000 => 4,
        size if size >= 100_000_000 => 6,
        size if size >= 1_000_000 => 8,
        _ => 12,
    }
}

/// Decimals for a column that is read down: as many as its smallest amount needs to show three
/// digits, no more than four beyond what its largest calls for.
pub(super) fn decimals_for_column(amounts: impl Iterator<Item = Money> + Clone) -> u32 {
    let largest = amounts.max_by_key(|amount| amount.picodollars().unsigned_abs());
    decimals_for(largest.unwrap_or(Money::ZERO))
}

/// `12,345,678`
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count for a headline: `950`, `12.3 thousand`, `4.56 million`.
pub(super) fn rough(count: Tokens) -> String {
    let count = count.get();
    let (unit, name) = match count {
        0..10_000 => return grouped(count),
        10_000..1_000_000 => (1_000, "thousand"),
        1_000_000..1_000_000_000 => (1_000_000, "million"),
        _ => (1_000_000_000, "billion"),
    };
    let whole = count / unit;
    let rest = count % unit;
    match whole {
        0..10 => format!("{whole}.{:02} {name}", rest * 100 / unit),
        10..100 => format!("{whole}.{} {name}", rest * 10 / unit),
        _ => format!("{} {name}", grouped(whole)),
    }
}

/// `part` of `whole` in tenths of a percent, rounded half away from zero; `None` of nothing.
pub(super) fn per_mille(part: i128, whole: i128) -> Option<i128> {
    if whole <= 0 {
        return None;
    }
    let scaled = part.checked_mul(2_000)?;
    Some((scaled + whole * scaled.signum()) / (whole * 2))
}

/// `43.2%`
pub(super) fn percent(part: i128, whole: i128) -> Option<String> {
    let share = per_mille(part, whole)?;
    let sign = if share < 0 { "−" } else { "" };
    let size = share.unsigned_abs();
    Some(format!("{sign}{}.{}%", size / 10, size % 10))
}

/// `24 Nov 2026, 08:36:12`; the page says once that instants are in UTC.
pub(super) fn instant(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::UTC)
        .strftime("%-d %b %Y, %H:%M:%S")
        .to_string()
}

/// `24 Nov, 08:36`
pub(super) fn minute(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::UTC)
        .strftime("%-d %b, %H:%M")
        .to_string()
}

/// The same instant for a machine: RFC 3339 in UTC.
pub(super) fn rfc3339(at: Timestamp) -> String {
    at.to_string()
}

/// `1 – 24 November 2026`, shortened by what both days share.
pub(super) fn days(first: Date, last: Date) -> String {
    let full = |day: Date| day.strftime("%-d %B %Y").to_string();
    if first == last {
        full(first)
    } else if (first.year(), first.month()) == (last.year(), last.month()) {
        format!("{} – {}", first.day(), full(last))
    } else if first.year() == last.year() {
        format!("{} – {}", first.strftime("%-d %B"), full(last))
    } else {
        format!("{} – {}", full(first), full(last))
    }
}

/// How long until then: `in 42 s`, `in 5 min`, `in 3 h 12 min`, `in 4 days`.
pub(super) fn until(now: Timestamp, then: Timestamp) -> String {
    let seconds = then.duration_since(now).as_secs().max(0);
    match seconds {
        0..60 => format!("in {seconds} s"),
        60..3_600 => format!("in {} min", seconds / 60),
        3_600..172_800 => format!("in {} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("in {} days", seconds / 86_400),
    }
}

/// A name as given by people, made plain: characters that are invisible, that steer a terminal or
/// that turn the direction of the text are shown by their number, and what is too long is cut.
pub(super) fn plain(name: &str) -> String {
    made_plain(name, LONGEST_NAME)
}

/// The same for what may be longer than a name.
pub(super) fn plain_sentence(sentence: &str) -> String {
    made_plain(sentence, LONGEST_SENTENCE)
}

fn made_plain(given: &str, longest: usize) -> String {
    let mut text = String::with_capacity(given.len().min(longest));
    for (index, character) in given.chars().enumerate() {
        if index == longest {
            text.push('…');
            break;
        }
        if steers(character) {
            // Writing to a string cannot fail.
            let _ = write!(text, "⟨U+{:04X}⟩", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{FEFF}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_cannot_turn_the_text_around_or_steer_a_terminal() {
        assert_eq!(plain("pay\u{202E}ments"), "pay⟨U+202E⟩ments");
        assert_eq!(plain("\u{1B}[31mred"), "⟨U+001B⟩[31mred");
        assert_eq!(plain("a\u{200B}b"), "a⟨U+200B⟩b");
        assert_eq!(plain("Größe 財務"), "Größe 財務");
        assert_eq!(plain(&"x".repeat(500)).chars().count(), LONGEST_NAME + 1);
    }

    #[test]
    fn small_amounts_keep_digits_that_say_something() {
        let shown = |text: &str| Shown::alone(text.parse().expect("money")).rounded;
        assert_eq!(shown("1234.5678"), "$1,234.57");
        assert_eq!(shown("12.345678"), "$12.3457");
        assert_eq!(shown("0.000412"), "$0.000412");
        assert_eq!(shown("0.00000412"), "$0.00000412");
        assert_eq!(shown("0"), "$0.00");
        assert_eq!(shown("-0.25"), "−$0.250000");
    }

    #[test]
    fn shares_are_rounded_once_and_never_of_nothing() {
        assert_eq!(percent(1, 3), Some("33.3%".to_owned()));
        assert_eq!(percent(2, 3), Some("66.7%".to_owned()));
        assert_eq!(percent(-1, 8), Some("−12.5%".to_owned()));
        assert_eq!(percent(1, 0), None);
    }

    #[test]
    fn a_span_of_days_says_what_both_ends_share_only_once() {
        let day = |text: &str| text.parse::<Date>().expect("a day");
        assert_eq!(
            days(day("2026-11-01"), day("2026-11-24")),
            "1 – 24 November 2026"
        );
        assert_eq!(
            days(day("2026-10-31"), day("2026-11-01")),
            "31 October – 1 November 2026"
        );
        assert_eq!(
            days(day("2026-11-24"), day("2026-11-24")),
            "24 November 2026"
        );
    }

    #[test]
    fn headline_counts_never_round_up() {
        assert_eq!(rough(Tokens::new(9_999)), "9,999");
        assert_eq!(rough(Tokens::new(12_399)), "12.3 thousand");
        assert_eq!(rough(Tokens::new(4_569_999)), "4.56 million");
        assert_eq!(rough(Tokens::new(1_234_000_000_000)), "1,234 billion");
    }

    proptest! {
        #[test]
        fn what_is_shown_of_a_name_never_steers(name in ".{0,200}") {
            prop_assert!(!plain(&name).chars().any(steers));
        }

        #[test]
        fn grouping_keeps_every_digit(count: u64) {
            prop_assert_eq!(grouped(count).replace(',', ""), count.to_string());
        }
    }
}
