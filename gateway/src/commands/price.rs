//! `tollgate price`: what a usage costs at an instant, by the book as it is or as it was known.
//! Relies on the catalog and on pricing alone; an unknown price is an error, never zero.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use serde::Serialize;

use crate::catalog::{Catalog, Host, Offer, TariffKind, UnknownModel};
use crate::chat::{Tokens, Usage};
use crate::money::{Money, Rate};
use crate::pricing::{Window, cost, window};
use crate::time::Timestamp;

/// What `tollgate price` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct PriceArgs {
    /// What is priced, such as `deepseek/deepseek-v4-pro`; after the host its own id will do too
    #[arg(value_name = "HOST/MODEL")]
    pub target: String,
    /// The instant to price at: RFC 3339, or a date for its beginning in UTC [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub at: Option<String>,
    /// Price as was known then: RFC 3339, or a date for its end in UTC [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub known_at: Option<String>,
    /// Input tokens read from the host's cache
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub cache_hit: u64,
    /// Input tokens computed afresh
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub cache_miss: u64,
    /// Input tokens written to the cache, where a host has a price for that
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub cache_write: u64,
    /// Output tokens, thinking among them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub output: u64,
}

/// Why there is no price to print.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    #[error("`{0}` is no instant: write a date such as 2026-11-24, or 2026-11-24T02:00:00Z")]
    NoInstant(String),
    #[error("`{0}` names no host: write HOST/MODEL, such as deepseek/deepseek-v4-pro")]
    NoHost(String),
    #[error(transparent)]
    UnknownModel(#[from] UnknownModel),
    #[error("{host} served no `{model}` at {at}: `tollgate check` lists what it serves")]
    NotServed {
        host: String,
        model: String,
        at: Timestamp,
    },
    #[error(
        "the price of {host}/{id} at {at}, as known at {known_at}, is unknown: add a [[offer.tariff]] \
         that holds then to config/deployments, or ask with a later --known-at"
    )]
    Unknown {
        host: String,
        id: Arc<str>,
        at: Timestamp,
        known_at: Timestamp,
    },
}

impl PriceError {
    /// 2 for what the person wrote, 1 for what the book does not hold.
    pub fn exit_status(&self) -> u8 {
        match self {
            PriceError::NoInstant(_) | PriceError::NoHost(_) => 2,
            PriceError::UnknownModel(_)
            | PriceError::NotServed { .. }
            | PriceError::Unknown { .. } => 1,
        }
    }
}

/// The answer, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub host: String,
    /// The host's own id of what was priced.
    pub id: Arc<str>,
    pub at: Timestamp,
    pub known_at: Timestamp,
    pub window: String,
    pub kind: TariffKind,
    pub provisional: bool,
    pub rates: AnswerRates,
    pub rates_unit: &'static str,
    pub cost: Money,
    /// When the price changes next, if anything known changes it.
    pub next_change: Option<NextChange>,
    pub source: AnswerSource,
}

/// Dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerRates {
    pub cache_hit: Rate,
    pub cache_miss: Rate,
    pub cache_write: Rate,
    pub output: Rate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NextChange {
    pub at: Timestamp,
    /// `None`: the price is unknown from then on.
    pub window: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerSource {
    pub from: Arc<str>,
    pub read: Date,
    pub note: Option<Arc<str>>,
}

/// Prints the price, as one JSON document or for a person.
pub fn run(
    args: &PriceArgs,
    catalog: &Catalog,
    json: bool,
    now: Timestamp,
) -> Result<(), PriceError> {
    let answer = answer(args, catalog, now)?;
    if json {
        let text = serde_json::to_string(&answer).expect("plain strings and numbers serialise");
        println!("{text}");
    } else {
        print!("{}", for_people(&answer));
    }
    Ok(())
}

/// The price that was asked for.
pub fn answer(args: &PriceArgs, catalog: &Catalog, now: Timestamp) -> Result<Answer, PriceError> {
    let at = args
        .at
        .as_deref()
        .map_or(Ok(now), |text| instant(text, Edge::Beginning))?;
    let known_at = args
        .known_at
        .as_deref()
        .map_or(Ok(now), |text| instant(text, Edge::End))?;
    let (host, offers) = candidates(&args.target, catalog, at)?;
    let priced = offers
        .iter()
        .find_map(|offer| Some((*offer, window(offer, at, known_at)?)));
    let Some((offer, found)) = priced else {
        return Err(PriceError::Unknown {
            host: host.name.to_string(),
            id: offers[0].id.clone(),
            at,
            known_at,
        });
    };
    let usage = Usage {
        cache_hit: Tokens::new(args.cache_hit),
        cache_miss: Tokens::new(args.cache_miss),
        cache_write: Tokens::new(args.cache_write),
        visible: Tokens::new(args.output),
        ..Usage::default()
    };
    Ok(Answer {
        host: host.name.to_string(),
        id: offer.id.clone(),
        at,
        known_at,
        window: found.id.to_string(),
        kind: found.kind,
        provisional: found.provisional,
        rates: AnswerRates {
            cache_hit: found.rates.cache_hit,
            cache_miss: found.rates.cache_miss,
            cache_write: found.rates.cache_write,
            output: found.rates.output,
        },
        rates_unit: "USD per million tokens",
        cost: cost(&found.rates, &usage),
        next_change: found.until.map(|until| NextChange {
            at: until,
            window: found.next.as_ref().map(|(_, id)| id.to_string()),
        }),
        source: source(offer, &found),
    })
}

/// The host, and what it served under this name at that instant; never empty.
fn candidates<'a>(
    target: &str,
    catalog: &'a Catalog,
    at: Timestamp,
) -> Result<(&'a Host, Vec<&'a Offer>), PriceError> {
    let (host_name, model) = target
        .split_once('/')
        .ok_or_else(|| PriceError::NoHost(target.to_owned()))?;
    let served = |host: &'a Host, fits: &dyn Fn(&Offer) -> bool| -> Vec<&'a Offer> {
        host.offers
            .iter()
            .filter(|offer| fits(offer) && offer.served_at(at))
            .collect()
    };
    let by_id = catalog
        .hosts
        .get(host_name)
        .map(|host| (host, served(host, &|offer| *offer.id == *model)));
    if let Some((host, offers)) = by_id
        && !offers.is_empty()
    {
        return Ok((host, offers));
    }
    // At the instant that is priced: an alias that has ended since still meant its model then.
    let asked = catalog.resolve(target, at)?;
    let host = catalog
        .hosts
        .get(host_name)
        .ok_or_else(|| PriceError::NoHost(target.to_owned()))?;
    let offers = served(host, &|offer| {
        offer.is_of(&asked.model, asked.snapshot.as_deref())
    });
    if offers.is_empty() {
        return Err(PriceError::NotServed {
            host: host_name.to_owned(),
            model: model.to_owned(),
            at,
        });
    }
    Ok((host, offers))
}

fn source(offer: &Offer, found: &Window) -> AnswerSource {
    let tariff = offer
        .tariffs
        .iter()
        .find(|tariff| tariff.bands.iter().any(|band| band.window == found.id));
    let source = tariff.map_or(&offer.source, |tariff| &tariff.source);
    AnswerSource {
        from: source.from.clone(),
        read: source.read,
        note: tariff.and_then(|tariff| tariff.note.clone()),
    }
}

/// Which end of a day a bare date means.
#[derive(Clone, Copy)]
enum Edge {
    Beginning,
    End,
}

fn instant(text: &str, edge: Edge) -> Result<Timestamp, PriceError> {
    let wrong = || PriceError::NoInstant(text.chars().take(40).collect());
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    // A civil date parser would also take a date with a time and drop the time.
    if text.len() != "2026-11-24".len() {
        return Err(wrong());
    }
    let day: Date = text.parse().map_err(|_| wrong())?;
    let beginning = |day: Date| {
        Offset::UTC
            .to_timestamp(day.to_datetime(Time::midnight()))
            .ok()
    };
    let instant = match edge {
        Edge::Beginning => beginning(day),
        Edge::End => day
            .tomorrow()
            .ok()
            .and_then(beginning)
            .and_then(|next| next.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()),
    };
    instant.ok_or_else(wrong)
}

fn for_people(answer: &Answer) -> String {
    let mut text = String::new();
    let rates = &answer.rates;
    let provisional = if answer.provisional {
        ", provisional: that day's holidays are not published yet"
    } else {
        ""
    };
    let promotion = if answer.kind == TariffKind::Promotion {
        ", a promotion"
    } else {
        ""
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}/{} at {}", answer.host, answer.id, answer.at);
    let _ = writeln!(
        text,
        "  window       {}{promotion}{provisional}",
        answer.window
    );
    let _ = writeln!(
        text,
        "  cache hit    ${} per million tokens",
        rates.cache_hit
    );
    let _ = writeln!(text, "  cache miss   ${}", rates.cache_miss);
    let _ = writeln!(text, "  output       ${}", rates.output);
    let _ = writeln!(text, "  cost         ${}", answer.cost);
    match &answer.next_change {
        None => {
            let _ = writeln!(text, "  next change  none known");
        }
        Some(NextChange { at, window }) => {
            let then = window.as_deref().unwrap_or("unknown");
            let _ = writeln!(text, "  next change  {at} to {then}");
        }
    }
    let _ = writeln!(
        text,
        "  source       {}, read {}",
        answer.source.from, answer.source.read
    );
    if let Some(note) = &answer.source.note {
        let _ = writeln!(text, "  note         {}", note.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn book() -> Catalog {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/catalog");
        Catalog::load(&[folder]).expect("the book")
    }

    fn ask(target: &str, at: &str, known_at: Option<&str>) -> Result<Answer, PriceError> {
        let args = PriceArgs {
            target: target.to_owned(),
            at: Some(at.to_owned()),
            known_at: known_at.map(ToOwned::to_owned),
            cache_hit: 0,
            cache_miss: 1_000_000,
            cache_write: 0,
            output: 200_000,
        };
        answer(&args, &book(), "2026-11-24T00:00:00Z".parse().expect("now"))
    }

    #[test]
    fn the_answer_has_the_promised_form() {
        let answer =
            ask("deepseek/deepseek-v4-pro", "2026-11-24T02:00:00Z", None).expect("a price");
        let json = serde_json::to_value(&answer).expect("json");
        assert_eq!(json["window"], "deepseek-v4-pro/2026-09-19/peak");
        assert_eq!(json["rates"]["cache_hit"], "0.044");
        assert_eq!(json["rates"]["cache_miss"], "1.32");
        assert_eq!(json["rates"]["output"], "3.96");
        assert_eq!(json["cost"], "2.112");
        assert_eq!(json["next_change"]["at"], "2026-11-24T04:00:00Z");
        assert_eq!(
            json["next_change"]["window"],
            "deepseek-v4-pro/2026-09-19/off-peak"
        );
        assert_eq!(json["kind"], "list");
        assert_eq!(json["provisional"], false);
    }

    #[test]
    fn a_date_to_price_at_is_its_beginning_and_a_date_of_knowledge_its_end() {
        let list =
            ask("deepseek/deepseek-v4-pro", "2026-06-15", Some("2026-05-10")).expect("a price");
        assert_eq!(list.at.to_string(), "2026-06-15T00:00:00Z");
        assert_eq!(list.cost.to_string(), "2.436");
        let announced =
            ask("deepseek/deepseek-v4-pro", "2026-06-15", Some("2026-05-22")).expect("a price");
        assert_eq!(announced.cost.to_string(), "0.609");
    }

    #[test]
    fn an_unknown_price_is_an_error_and_never_zero() {
        let error = ask("lightning/deepseek-v4-pro", "2026-11-24", None).expect_err("no tariff");
        assert!(matches!(error, PriceError::Unknown { .. }), "{error}");
        assert_eq!(error.exit_status(), 1);
        let error = ask("deepseek/deepseek-v4-pro", "2026-06-15", Some("2026-04-01"))
            .expect_err("not announced");
        assert!(error.to_string().contains("--known-at"), "{error}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (target, at, words) in [
            ("deepseek-v4-pro", "2026-11-24", "HOST/MODEL"),
            ("deepseek/deepseek-v4-pro", "yesterday", "write a date"),
            (
                "deepseek/deepseek-v4-pro",
                "2026-11-24T02:00:00",
                "write a date",
            ),
            (
                "deepsek/deepseek-v4-pro",
                "2026-11-24",
                "deepseek/deepseek-v4-pro",
            ),
            ("deepseek/deepseek-chat", "2026-11-24", "ended"),
            ("bedrock/deepseek-v4-pro", "2026-11-24", "does not sell"),
            ("vertex/deepseek-v4.1-flash", "2026-08-01", "served no"),
        ] {
            let error = ask(target, at, None).expect_err(target);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_hosts_own_id_picks_one_of_several_offers() {
        let us = ask(
            "fireworks/accounts/fireworks/routers/deepseek-v4p1-flash-us",
            "2026-11-24",
            None,
        );
        assert_eq!(us.expect("a price").rates.output.to_string(), "1.80");
        let plain = ask("fireworks/deepseek-v4.1-flash", "2026-11-24", None).expect("a price");
        assert_eq!(plain.rates.output.to_string(), "1.20");
    }

    #[test]
    fn people_read_the_price_with_its_source() {
        let answer = ask("deepseek/deepseek-v4-pro", "2026-05-01", None).expect("a price");
        let text = for_people(&answer);
        assert!(text.contains("$0.435"), "{text}");
        assert!(text.contains("a promotion"), "{text}");
        assert!(text.contains("api-docs.deepseek.com"), "{text}");
    }
}
