//! How the catalog's files spell its rows: the forms that `serde` reads, strict about every word.
//! What these words mean together is judged in `assemble` and `tariff`.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use toml::Spanned;
use toml::value::Datetime;

use super::quirks::QuirksForm;
use super::{AuthKind, BillsAt, CacheKind, Hours, TariffKind, Wire};
use crate::money::Rate;
use crate::time::Timestamp;

/// What kind of file a page is, told by the first word that only that kind has.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kind {
    pub host: Option<toml::Value>,
    pub extends: Option<toml::Value>,
    pub calendar: Option<toml::Value>,
    pub model: Option<toml::Value>,
    pub alias: Option<toml::Value>,
}

/// A file that defines a host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostForm {
    pub host: Spanned<String>,
    pub title: String,
    pub wire: Wire,
    pub auth: Spanned<AuthForm>,
    pub bills_at: BillsAt,
    pub bills_at_note: Option<String>,
    pub source: Spanned<String>,
    pub read: Day,
    #[serde(default)]
    pub quirks: QuirksForm,
    pub cache: CacheForm,
    #[serde(default)]
    pub endpoint: Vec<Spanned<EndpointForm>>,
    #[serde(default)]
    pub offer: Vec<Spanned<OfferForm>>,
    #[serde(default)]
    pub certification: Vec<Spanned<CertificationForm>>,
    #[serde(default)]
    pub grant: Vec<Spanned<GrantForm>>,
}

/// A file that adds to a host which another file defines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtensionForm {
    pub extends: Spanned<String>,
    #[serde(default)]
    pub quirks: QuirksForm,
    #[serde(default)]
    pub endpoint: Vec<Spanned<EndpointForm>>,
    #[serde(default)]
    pub offer: Vec<Spanned<OfferForm>>,
    #[serde(default)]
    pub certification: Vec<Spanned<CertificationForm>>,
    #[serde(default)]
    pub grant: Vec<Spanned<GrantForm>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarForm {
    pub calendar: Spanned<String>,
    pub known_until: Day,
    pub holidays: Vec<Spanned<Day>>,
    pub source: Spanned<String>,
    pub read: Day,
}

/// A file of models and of other names for them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamesForm {
    #[serde(default)]
    pub model: Vec<ModelForm>,
    #[serde(default)]
    pub alias: Vec<AliasForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelForm {
    pub name: Spanned<String>,
    pub title: String,
    pub snapshots: Vec<Spanned<String>>,
    pub source: Spanned<String>,
    pub read: Day,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AliasForm {
    pub name: Spanned<String>,
    pub model: Spanned<String>,
    pub until: Option<Instant>,
    pub source: Spanned<String>,
    pub read: Day,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthForm {
    pub kind: AuthKind,
    pub env: String,
    /// What is looked for where there is no key.
    pub identity: Option<IdentityKind>,
    pub signing_name: Option<String>,
    pub scope: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IdentityKind {
    Aws,
    Google,
    Entra,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheForm {
    pub kind: CacheKind,
    /// One where the host rounds to nothing.
    #[serde(default = "one")]
    pub unit: u64,
    #[serde(default)]
    pub minimum: u64,
    pub lifetime_s: Option<u64>,
    pub source: Spanned<String>,
    pub read: Day,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointForm {
    pub region: Spanned<String>,
    pub base_url: Option<Spanned<String>>,
    /// The address holds the operator's own names, so `config/deployments/` must give it.
    #[serde(default)]
    pub operator_sets_url: bool,
    pub completions: Option<Spanned<String>>,
    pub jurisdiction: String,
    pub source: Spanned<String>,
    pub read: Day,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferForm {
    pub model: Spanned<String>,
    pub id: Spanned<String>,
    pub snapshot: Spanned<String>,
    #[serde(default = "unstated")]
    pub quantisation: String,
    pub context: u64,
    pub max_output: u64,
    pub completions_max_output: Option<u64>,
    pub capabilities: Vec<Capability>,
    #[serde(default)]
    pub regions: Vec<Spanned<String>>,
    pub from: Option<Instant>,
    pub until: Option<Spanned<Instant>>,
    pub concurrency: Option<u32>,
    #[serde(default)]
    pub tariff: Vec<Spanned<TariffForm>>,
    pub source: Spanned<String>,
    pub read: Day,
}

fn one() -> u64 {
    1
}

fn unstated() -> String {
    "unstated".to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Capability {
    Tools,
    ForcedTools,
    JsonObject,
    JsonSchema,
    Images,
    Logprobs,
    Thinking,
    Completions,
    Fim,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TariffForm {
    pub name: Spanned<String>,
    pub kind: TariffKind,
    pub from: Instant,
    pub until: Option<Spanned<Instant>>,
    pub known: Instant,
    pub zone: Option<Spanned<String>>,
    pub calendar: Option<Spanned<String>>,
    /// One price at all times, instead of `bands`.
    pub flat: Option<RatesForm>,
    #[serde(default)]
    pub bands: Vec<Spanned<BandForm>>,
    pub note: Option<String>,
    pub source: Spanned<String>,
    pub read: Day,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RatesForm {
    pub hit: Dollars,
    pub miss: Dollars,
    pub write: Option<Dollars>,
    pub output: Dollars,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BandForm {
    pub name: Spanned<String>,
    #[serde(default)]
    pub hours: Vec<Spanned<Hours>>,
    /// Left out: every day.
    pub days: Option<Vec<Weekday>>,
    #[serde(default)]
    pub holidays_off: bool,
    pub hit: Dollars,
    pub miss: Dollars,
    pub write: Option<Dollars>,
    pub output: Dollars,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificationForm {
    pub tag: Spanned<String>,
    #[serde(default)]
    pub regions: Vec<Spanned<String>>,
    #[serde(default)]
    pub models: Vec<Spanned<String>>,
    pub evidence: Spanned<String>,
    pub valid_from: Day,
    pub valid_until: Option<Spanned<Day>>,
    #[serde(default)]
    pub needs_confirmation: bool,
    pub source: Spanned<String>,
    pub read: Day,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantForm {
    pub what: String,
    pub tokens: Option<u64>,
    pub from: Day,
    pub until: Option<Spanned<Day>>,
    pub source: Spanned<String>,
    pub read: Day,
}

/// A price as text, so that it never passes through a float.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dollars(pub Rate);

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Dollars;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("dollars per million tokens in quotes, such as \"0.435\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Dollars, E> {
                text.parse().map(Dollars).map_err(E::custom)
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Dollars, E> {
                Err(E::invalid_type(Unexpected::Float(number), &self))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// An instant with its offset, written as TOML's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant(pub Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Datetime::deserialize(deserializer)?;
        written.to_string().parse().map(Instant).map_err(|_| {
            D::Error::custom(format!(
                "`{written}` is no instant: write date, time and zone without quotes, such as 2026-08-16T16:00:00Z"
            ))
        })
    }
}

/// A day, written as TOML's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day(pub Date);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Datetime::deserialize(deserializer)?;
        let day = match (written.date, written.time, written.offset) {
            (Some(_), None, None) => written.to_string().parse().ok(),
            _ => None,
        };
        day.map(Day).ok_or_else(|| {
            D::Error::custom(format!(
                "`{written}` is no day: write a date without quotes, such as 2026-11-24"
            ))
        })
    }
}

/// `09:00-12:00`.
impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` are no hours: write from-to on one day, such as \"09:00-12:00\", up to 24:00; \
                 split what crosses midnight in two"
            )
        };
        let seconds = |part: &str| -> Option<u32> {
            let (hours, minutes) = part.split_once(':')?;
            let digits =
                |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            if !digits(hours) || !digits(minutes) {
                return None;
            }
            let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
            let seconds = hours * 3_600 + minutes * 60;
            (minutes < 60 && seconds <= 86_400).then_some(seconds)
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        match (seconds(from), seconds(to)) {
            (Some(from_s), Some(to_s)) if from_s < to_s => Ok(Hours { from_s, to_s }),
            _ => Err(wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
