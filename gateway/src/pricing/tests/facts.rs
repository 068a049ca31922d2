//! What the real files say, checked against the history of DeepSeek's prices.

use std::path::{Path, PathBuf};

use crate::catalog::{Catalog, Offer};
use crate::chat::{Tokens, Usage};
use crate::id::ModelName;
use crate::pricing::{Window, cost, window};
use crate::time::Timestamp;

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

fn book() -> Catalog {
    match Catalog::load(&[config().join("catalog"), config().join("deployments")]) {
        Ok(catalog) => catalog,
        Err(error) => panic!("{error}"),
    }
}

fn offer<'a>(book: &'a Catalog, host: &str, model: &str, at: Timestamp) -> &'a Offer {
    let model = ModelName::from(model);
    let mut offers = book.hosts[host].offers.iter();
    offers
        .find(|offer| offer.is_of(&model, None) && offer.served_at(at))
        .expect("an offer")
}

fn at(instant: &str) -> Timestamp {
    instant.parse().expect("an instant")
}

/// Long after everything in the book was announced.
const LATER: &str = "2026-11-24T00:00:00Z";

fn price(model: &str, instant: &str, known: &str) -> Window {
    let book = book();
    window(
        offer(&book, "deepseek", model, at(instant)),
        at(instant),
        at(known),
    )
    .expect("a price")
}

/// hit / miss / output in dollars per million tokens, and the band.
#[track_caller]
fn is(model: &str, instant: &str, known: &str, band: &str, rates: [&str; 3]) {
    let found = price(model, instant, known);
    let read = [
        found.rates.cache_hit,
        found.rates.cache_miss,
        found.rates.output,
    ];
    let want = rates.map(|rate| rate.parse().expect("a rate"));
    assert_eq!(
        (&*found.band, read),
        (band, want),
        "{model} at {instant} as known on {known}: {}",
        found.id
    );
}

const PEAK: [&str; 3] = ["0.044", "1.32", "3.96"];
const OFF_PEAK: [&str; 3] = ["0.022", "0.66", "1.98"];
const QUARTER: [&str; 3] = ["0.003625", "0.435", "0.87"];

#[test]
fn v4_pro_began_with_a_promotion() {
    let promotion = price("deepseek-v4-pro", "2026-05-01T00:00:00Z", LATER);
    assert_eq!(promotion.kind, crate::catalog::TariffKind::Promotion);
    is(
        "deepseek-v4-pro",
        "2026-05-01T00:00:00Z",
        LATER,
        "flat",
        QUARTER,
    );
    assert_eq!(promotion.list.output.to_string(), "3.48");
    is(
        "deepseek-v4-pro",
        "2026-04-25T00:00:00Z",
        LATER,
        "flat",
        ["0.03625", "0.435", "0.87"],
    );
}

#[test]
fn before_the_promotion_was_made_permanent_june_looked_dearer() {
    let june = "2026-06-15T12:00:00Z";
    is(
        "deepseek-v4-pro",
        june,
        "2026-05-10T00:00:00Z",
        "flat",
        ["0.0145", "1.74", "3.48"],
    );
    is(
        "deepseek-v4-pro",
        june,
        "2026-05-21T23:59:59Z",
        "flat",
        ["0.0145", "1.74", "3.48"],
    );
    is(
        "deepseek-v4-pro",
        june,
        "2026-05-22T00:00:00Z",
        "flat",
        QUARTER,
    );
    is("deepseek-v4-pro", june, LATER, "flat", QUARTER);
}

#[test]
fn the_promotion_was_prolonged_once() {
    let may = "2026-05-20T00:00:00Z";
    is(
        "deepseek-v4-pro",
        may,
        "2026-05-01T00:00:00Z",
        "flat",
        ["0.0145", "1.74", "3.48"],
    );
    is(
        "deepseek-v4-pro",
        may,
        "2026-05-10T00:00:00Z",
        "flat",
        QUARTER,
    );
}

#[test]
fn peak_hours_began_in_august_on_every_day() {
    is(
        "deepseek-v4-pro",
        "2026-08-16T15:59:59Z",
        LATER,
        "flat",
        QUARTER,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-16T16:00:00Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-17T00:59:59Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-17T01:00:00Z",
        LATER,
        "peak",
        PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-17T04:00:00Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-17T06:00:00Z",
        LATER,
        "peak",
        PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-17T09:59:59Z",
        LATER,
        "peak",
        PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-17T10:00:00Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    // A Saturday.
    is(
        "deepseek-v4-pro",
        "2026-08-22T01:30:00Z",
        LATER,
        "peak",
        PEAK,
    );
    // Nobody knew in July.
    is(
        "deepseek-v4-pro",
        "2026-08-17T01:00:00Z",
        "2026-07-15T00:00:00Z",
        "flat",
        QUARTER,
    );
}

#[test]
fn weekends_became_off_peak_a_week_later() {
    for hour in 0..24 {
        let saturday = format!("2026-08-29T{hour:02}:30:00Z");
        is("deepseek-v4-pro", &saturday, LATER, "off-peak", OFF_PEAK);
    }
    is(
        "deepseek-v4-pro",
        "2026-08-23T02:00:00Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-08-24T02:00:00Z",
        LATER,
        "peak",
        PEAK,
    );
    let friday = price("deepseek-v4-pro", "2026-08-28T10:00:00Z", LATER);
    assert_eq!(friday.until, Some(at("2026-08-31T01:00:00Z")));
    assert_eq!(friday.id.as_str(), "deepseek-v4-pro/2026-08-22/off-peak");
}

#[test]
fn chinas_holidays_are_off_peak_and_its_working_saturdays_too() {
    is(
        "deepseek-v4-pro",
        "2026-09-25T02:00:00Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-10-01T02:00:00Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-10-01T02:00:00Z",
        "2026-09-01T00:00:00Z",
        "peak",
        PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-10-08T02:00:00Z",
        LATER,
        "peak",
        PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-10-10T02:00:00Z",
        LATER,
        "off-peak",
        OFF_PEAK,
    );
    is(
        "deepseek-v4-pro",
        "2026-11-24T02:00:00Z",
        LATER,
        "peak",
        PEAK,
    );
}

#[test]
fn a_year_whose_holidays_are_not_published_is_provisional() {
    assert!(!price("deepseek-v4-pro", "2026-12-31T02:00:00Z", LATER).provisional);
    assert!(price("deepseek-v4-pro", "2027-02-08T02:00:00Z", LATER).provisional);
}

#[test]
fn the_announcement_that_pro_becomes_flash_has_no_price() {
    is(
        "deepseek-v4-pro",
        "2026-09-14T06:00:00Z",
        LATER,
        "peak",
        PEAK,
    );
}

#[test]
fn v4_flash_is_v4_1_flash_at_deepseek_since_september() {
    is(
        "deepseek-v4-flash",
        "2026-04-25T00:00:00Z",
        LATER,
        "flat",
        ["0.028", "0.14", "0.28"],
    );
    is(
        "deepseek-v4-flash",
        "2026-07-01T00:00:00Z",
        LATER,
        "flat",
        ["0.0028", "0.14", "0.28"],
    );
    is(
        "deepseek-v4-flash",
        "2026-08-18T02:00:00Z",
        LATER,
        "peak",
        ["0.014", "0.44", "1.32"],
    );
    is(
        "deepseek-v4-flash",
        "2026-08-18T05:00:00Z",
        LATER,
        "off-peak",
        ["0.007", "0.22", "0.66"],
    );
    is(
        "deepseek-v4-flash",
        "2026-09-10T03:59:59Z",
        LATER,
        "peak",
        ["0.014", "0.44", "1.32"],
    );
    is(
        "deepseek-v4-flash",
        "2026-09-10T04:00:00Z",
        LATER,
        "off-peak",
        ["0.003", "0.15", "0.60"],
    );
    is(
        "deepseek-v4-flash",
        "2026-11-24T02:00:00Z",
        LATER,
        "peak",
        ["0.006", "0.30", "1.20"],
    );
    is(
        "deepseek-v4.1-flash",
        "2026-11-24T02:00:00Z",
        LATER,
        "peak",
        ["0.006", "0.30", "1.20"],
    );
    is(
        "deepseek-v4.1-flash",
        "2026-10-01T02:00:00Z",
        LATER,
        "off-peak",
        ["0.003", "0.15", "0.60"],
    );
}

#[test]
fn worked_examples_at_list_price_are_exact() {
    let list = price(
        "deepseek-v4-pro",
        "2026-06-15T12:00:00Z",
        "2026-05-10T00:00:00Z",
    )
    .rates;
    let usage = |input: u64, output: u64| Usage {
        cache_miss: Tokens::new(input),
        visible: Tokens::new(output),
        ..Usage::default()
    };
    assert_eq!(cost(&list, &usage(1_000_000, 200_000)).to_string(), "2.436");
    assert_eq!(
        cost(&list, &usage(2_000 * 1_000, 500 * 1_000)).to_string(),
        "5.22"
    );
    assert_eq!(cost(&list, &usage(100_000, 100_000)).to_string(), "0.522");
}

#[test]
fn the_book_holds_every_host_with_a_source_for_each_row() {
    let book = book();
    let hosts: Vec<&str> = book.hosts.keys().map(|host| host.as_str()).collect();
    assert_eq!(
        hosts,
        [
            "azure",
            "bedrock",
            "deepinfra",
            "deepseek",
            "fireworks",
            "lightning",
            "nebius",
            "novita",
            "selfhosted",
            "siliconflow",
            "together",
            "vertex",
        ]
    );
    // The loader refuses empty sources; here, that they are places where one can look.
    for host in book.hosts.values() {
        for offer in &host.offers {
            assert!(offer.source.from.contains('.'), "{}", offer.id);
            for tariff in &offer.tariffs {
                assert!(tariff.source.from.contains('.'), "{}", offer.id);
                assert!(
                    tariff.known <= at(LATER),
                    "{} announced in the future",
                    offer.id
                );
            }
        }
    }
}

#[test]
fn a_hit_is_never_dearer_than_a_miss() {
    for host in book().hosts.values() {
        let tariffs = host.offers.iter().flat_map(|offer| &offer.tariffs);
        for band in tariffs.flat_map(|tariff| &tariff.bands) {
            assert!(
                band.rates.cache_hit <= band.rates.cache_miss,
                "{}",
                band.window
            );
            assert!(
                band.rates.output >= band.rates.cache_miss,
                "{}",
                band.window
            );
        }
    }
}

#[test]
fn demands_are_answered_only_where_a_source_supports_it() {
    let book = book();
    let answered = |host: &str, tag: &str, region: &str| {
        book.hosts[host].certifications.iter().any(|certification| {
            let here = |regions: &[crate::id::RegionName]| {
                regions.is_empty() || regions.iter().any(|known| known.as_str() == region)
            };
            certification.tag.as_str() == tag && here(&certification.regions)
        })
    };
    assert!(book.hosts["deepseek"].certifications.is_empty());
    assert!(answered("bedrock", "eu", "eu-north-1"));
    assert!(!answered("bedrock", "eu", "us-east-1"));
    assert!(!answered("vertex", "eu", "global"));
    assert!(answered("azure", "eu", "datazone-eu"));
    assert!(!answered("azure", "eu", "fireworks-us"));
    assert!(!answered("azure", "soc2", "fireworks-us"));
    assert!(answered("selfhosted", "sends-nothing-out", "own"));
    let health = book.hosts.values().flat_map(|host| &host.certifications);
    for certification in health.filter(|certification| certification.tag.as_str() == "hipaa") {
        assert!(certification.needs_confirmation);
    }
}

#[test]
fn the_examples_for_deployments_are_right_once_renamed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut examples = 0;
    for entry in std::fs::read_dir(config().join("deployments")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if let Some(name) = name.strip_suffix(".example") {
            std::fs::copy(&path, folder.path().join(name)).expect("copied");
            examples += 1;
        }
    }
    assert_eq!(examples, 5);
    if let Err(error) = Catalog::load(&[config().join("catalog"), folder.path().to_owned()]) {
        panic!("{error}");
    }
}

#[test]
fn callers_find_the_models_by_their_names() {
    let book = book();
    let now = at(LATER);
    for name in [
        "deepseek-v4-pro",
        "deepseek-v4-pro-0813",
        "deepseek-v4-pro-preview",
        "deepseek-v4-flash-0731",
        "deepseek-flash",
        "fireworks/deepseek-v4.1-flash-1017",
        "deepseek/deepseek-flash",
    ] {
        assert!(book.resolve(name, now).is_ok(), "{name}");
    }
    for name in ["deepseek-chat", "deepseek-reasoner"] {
        let error = book.resolve(name, now).expect_err("ended");
        assert_eq!(error.instead, ["deepseek-v4-flash"]);
        assert!(book.resolve(name, at("2026-07-24T15:58:00Z")).is_ok());
    }
}
