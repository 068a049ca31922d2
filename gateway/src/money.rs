//! Exact money. One unit everywhere: the picodollar, 10^-12 US dollars, in which every published
//! price is a whole number a token ($0.003625 per million tokens is 3,625 picodollars a token).
//! Nothing here rounds and nothing here is a float.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chat::Tokens;

/// Picodollars in a dollar.
pub const PICODOLLARS: i128 = 1_000_000_000_000;
const DECIMALS: usize = 12;

/// An amount of US dollars, exact to the picodollar. May be negative (credits, differences).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

impl Money {
    pub const ZERO: Money = Money(0);

    pub const fn from_picodollars(picodollars: i128) -> Self {
        Money(picodollars)
    }

    pub const fn picodollars(self) -> i128 {
        self.0
    }

    /// The amount as a database cell: 64 bits hold up to $9.2 million, far beyond any single entry.
    pub fn to_cell(self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }

    pub const fn from_cell(cell: i64) -> Self {
        Money(cell as i128)
    }

    pub fn checked_add(self, other: Money) -> Option<Money> {
        self.0.checked_add(other.0).map(Money)
    }

    pub fn saturating_sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }

    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Dollars and cents for a person, rounded half up: `$1,234.57`. Never for a machine.
    pub fn for_people(self, decimals: u32) -> String {
        let step = 10_i128.pow(12 - decimals.min(12));
        let rounded = (self.0.abs() + step / 2) / step * step;
        let whole = (rounded / PICODOLLARS).to_string();
        let mut grouped = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let sign = if self.0 < 0 && rounded != 0 {
            "−"
        } else {
            ""
        };
        if decimals == 0 {
            return format!("{sign}${grouped}");
        }
        let fraction = format!("{:012}", rounded % PICODOLLARS);
        format!(
            "{sign}${grouped}.{}",
            &fraction[..decimals.min(12) as usize]
        )
    }
}

/// Dollars in full, at least two decimals, no trailing zeros beyond: `0.000435`, `12.50`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let size = self.0.unsigned_abs();
        let unit = PICODOLLARS.unsigned_abs();
        let fraction = format!("{:012}", size % unit);
        let kept = fraction.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{}.{}", size / unit, &fraction[..kept])
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of dollars: write digits with at most 12 decimals, such as 0.435")]
pub struct NotMoney(String);

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let wrong = || NotMoney(text.chars().take(40).collect());
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || whole.len() > 18
            || fraction.len() > DECIMALS
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return Err(wrong());
        }
        let padded = format!("{fraction:0<DECIMALS$}");
        let whole: i128 = whole.parse().map_err(|_| wrong())?;
        let fraction: i128 = padded.parse().map_err(|_| wrong())?;
        let size = whole * PICODOLLARS + fraction;
        Ok(Money(if negative { -size } else { size }))
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0 + other.0)
    }
}

impl Sub for Money {
    type Output = Money;
    fn sub(self, other: Money) -> Money {
        Money(self.0 - other.0)
    }
}

impl Neg for Money {
    type Output = Money;
    fn neg(self) -> Money {
        Money(-self.0)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Money) {
        self.0 += other.0;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::ZERO, Add::add)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A price: picodollars a token. Written and read as dollars per million tokens, as hosts do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

impl Rate {
    pub const fn from_picodollars_per_token(picodollars: u64) -> Self {
        Rate(picodollars)
    }

    pub const fn picodollars_per_token(self) -> u64 {
        self.0
    }
}

/// The price of that many tokens; 64 bits times 64 bits cannot overflow 128.
impl Mul<Tokens> for Rate {
    type Output = Money;
    fn mul(self, tokens: Tokens) -> Money {
        Money(i128::from(self.0) * i128::from(tokens.get()))
    }
}

/// Dollars per million tokens: `0.435`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Money(i128::from(self.0) * 1_000_000), f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a price: write dollars per million tokens with at most 6 decimals, such as 0.435"
)]
pub struct NotARate(String);

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let wrong = || NotARate(text.chars().take(40).collect());
        let per_million: Money = text.parse().map_err(|_| wrong())?;
        if per_million.0 % 1_000_000 != 0 {
            return Err(wrong());
        }
        u64::try_from(per_million.0 / 1_000_000)
            .map(Rate)
            .map_err(|_| wrong())
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_published_price_is_a_whole_number_of_picodollars_a_token() {
        let rate: Rate = "0.003625".parse().expect("a price");
        assert_eq!(rate.picodollars_per_token(), 3_625);
        assert_eq!((rate * Tokens::new(1_000_000)).to_string(), "0.003625");
    }

    #[test]
    fn text_that_is_no_amount_is_refused() {
        for text in [
            "",
            ".",
            "1e3",
            "+1",
            "1,000",
            "0.0000000000001",
            "- 1",
            "NaN",
            "١",
        ] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
        assert!("0.0000001".parse::<Rate>().is_err());
        assert!("-1".parse::<Rate>().is_err());
    }

    #[test]
    fn people_read_rounded_and_grouped_amounts() {
        let amount: Money = "1234567.895".parse().expect("an amount");
        assert_eq!(amount.for_people(2), "$1,234,567.90");
        assert_eq!((-amount).for_people(0), "−$1,234,568");
        assert_eq!(Money(-1).for_people(2), "$0.00");
    }

    proptest! {
        #[test]
        fn an_amount_survives_being_written_and_read(picodollars in -(1_i128 << 80)..(1_i128 << 80)) {
            let amount = Money(picodollars);
            let read: Result<Money, _> = amount.to_string().parse();
            // Amounts beyond 18 digits of dollars are refused, never misread.
            prop_assert!(read == Ok(amount) || read.is_err() && picodollars.abs() > PICODOLLARS * 10_i128.pow(11));
        }
    }
}
