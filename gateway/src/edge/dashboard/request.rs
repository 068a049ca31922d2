//! One line of the ledger in full: what it cost and how that is reckoned, which backends were
//! weighed, what ruled out the others, and where the price was read. One query, one template.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use super::decision::Decision;
use super::figures::{EntryInFull, WindowPrice};
use super::overview::{decimals_of, outcome, per_million};
use super::pages;
use super::session::Reader;
use super::wording::{self, Shown, grouped, plain, plain_sentence};
use super::{DashboardRooms, Frame, View};
use crate::chat::{CountedBy, Tokens, Usage};
use crate::id::EntryId;
use crate::ledger::{Entry, Price};
use crate::money::{Money, Rate};

#[derive(Template)]
#[template(path = "request.html")]
struct RequestPage {
    frame: Frame,
    facts: Facts,
    cost: Option<Cost>,
    meters: Vec<Meter>,
    reckoned: Option<Reckoned>,
    price: Option<PriceFacts>,
    decision: Option<DecisionFacts>,
}

struct Facts {
    id: String,
    request: String,
    attempt: u16,
    started: String,
    started_machine: String,
    first_byte: Option<String>,
    took: String,
    billed: String,
    billed_machine: String,
    team: String,
    unallocated: bool,
    project: String,
    key: String,
    tags: Vec<String>,
    surface: String,
    backend: String,
    host_model: String,
    host_request: Option<String>,
    outcome: &'static str,
    counted: &'static str,
    catalog: String,
    window: Option<String>,
}

struct Cost {
    cost: Shown,
    list: Shown,
    spread: Shown,
    saved_routing: Shown,
    saved_list: Shown,
    provisional: bool,
}

/// Tokens of one kind; with the price, what they cost.
struct Meter {
    name: &'static str,
    tokens: String,
    rate: Option<String>,
    amount: Option<Shown>,
}

/// The sum over the meters, and whether it is what the ledger says.
struct Reckoned {
    sum: Shown,
    agrees: bool,
}

struct PriceFacts {
    window: String,
    band: String,
    from: String,
    /// Fit to be shown.
    from_shown: String,
    /// The source is an address that a browser can open.
    link: bool,
    read: String,
    provisional: bool,
}

struct DecisionFacts {
    why: String,
    rule: String,
    ranked: Vec<CandidateLine>,
    rejected: Vec<RejectedLine>,
}

struct CandidateLine {
    rank: usize,
    backend: String,
    chosen: bool,
    cost: Option<Shown>,
    /// Dearer than the first by this.
    more: Option<Shown>,
    window: Option<String>,
    first_token: Option<String>,
}

struct RejectedLine {
    backend: String,
    reason: String,
}

/// `GET /dashboard/requests/{entry}`
pub(super) async fn show(
    State(rooms): State<Arc<DashboardRooms>>,
    Reader(reader): Reader,
    Path(entry): Path<String>,
) -> Response {
    let Ok(id) = entry.parse::<EntryId>() else {
        return pages::not_found();
    };
    let organisation = &reader.payer.organisation;
    match rooms.figures.entry(organisation, id).await {
        Ok(Some(found)) if found.entry.payer.organisation == *organisation => {
            let frame = Frame::around(View::Request, &rooms, &reader);
            pages::show(StatusCode::OK, &page(frame, &found))
        }
        Ok(_) => pages::not_found(),
        Err(error) => pages::no_figures(&error),
    }
}

fn page(frame: Frame, found: &EntryInFull) -> RequestPage {
    let entry = &found.entry;
    let meters = meters(&entry.usage, found.price.as_ref());
    RequestPage {
        frame,
        facts: facts(entry),
        cost: cost(&entry.price),
        reckoned: found.price.as_ref().map(|price| {
            let sum = crate::pricing::cost(&price.rates, &entry.usage);
            Reckoned {
                sum: Shown::new(sum, 12),
                agrees: entry.price.cost() == Some(sum),
            }
        }),
        meters,
        price: found.price.as_ref().map(price_facts),
        decision: Decision::read(&entry.decision).map(|decision| decision_facts(&decision)),
    }
}

fn facts(entry: &Entry) -> Facts {
    let place = &entry.place;
    let after = |instant: crate::time::Timestamp| {
        format!(
            "{} ms",
            grouped(u64::try_from(instant.duration_since(entry.started).as_millis()).unwrap_or(0))
        )
    };
    Facts {
        id: entry.id.to_string(),
        request: entry.request.to_string(),
        attempt: entry.attempt,
        started: wording::instant(entry.started),
        started_machine: wording::rfc3339(entry.started),
        first_byte: entry.first_byte.map(after),
        took: after(entry.ended),
        billed: wording::instant(entry.billed),
        billed_machine: wording::rfc3339(entry.billed),
        unallocated: entry.payer.team.as_str().is_empty(),
        team: plain(entry.payer.team.as_str()),
        project: plain(entry.payer.project.as_str()),
        key: entry.payer.key.to_string(),
        tags: entry
            .tags
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(plain)
            .collect(),
        surface: plain(&entry.surface),
        backend: plain_sentence(&format!(
            "{}/{}/{}/{}",
            place.host, place.account, place.region, place.model
        )),
        host_model: plain(&place.host_model),
        host_request: entry.host_request.as_deref().map(plain),
        outcome: outcome(entry.outcome),
        counted: counted(entry.counted_by),
        catalog: plain(entry.catalog.as_str()),
        window: entry.window.as_ref().map(|window| plain(window.as_str())),
    }
}

/// How the tokens were counted, in a sentence.
fn counted(by: CountedBy) -> &'static str {
    match by {
        CountedBy::Reported => "reported by the host",
        CountedBy::Drained => "reported by the host after the caller had left",
        CountedBy::Counted => "counted as they passed; the host never said",
        CountedBy::Estimated => "estimated: neither the host nor we could count",
        CountedBy::Nothing => "nothing was consumed",
    }
}

fn cost(price: &Price) -> Option<Cost> {
    let Price::Priced {
        cost,
        list,
        spread,
        provisional,
    } = *price
    else {
        return None;
    };
    let decimals = wording::decimals_for_column([cost, list, spread].into_iter()).max(6);
    let shown = |amount: Money| Shown::new(amount, decimals);
    Some(Cost {
        cost: shown(cost),
        list: shown(list),
        spread: shown(spread),
        saved_routing: shown(spread - cost),
        saved_list: shown(list - cost),
        provisional,
    })
}

fn meters(usage: &Usage, price: Option<&WindowPrice>) -> Vec<Meter> {
    let rates = price.map(|price| &price.rates);
    let meter = |name, tokens: Tokens, rate: Option<Rate>| Meter {
        name,
        tokens: grouped(tokens.get()),
        rate: rate.map(|rate| per_million(rate).for_people(decimals_of(rate))),
        amount: rate.map(|rate| Shown::new(rate * tokens, 12)),
    };
    let mut meters = vec![
        meter(
            "Input, not cached",
            usage.cache_miss,
            rates.map(|rates| rates.cache_miss),
        ),
        meter(
            "Input, from the host’s cache",
            usage.cache_hit,
            rates.map(|rates| rates.cache_hit),
        ),
    ];
    if usage.cache_write > Tokens::ZERO {
        meters.push(meter(
            "Input, written to the cache",
            usage.cache_write,
            rates.map(|rates| rates.cache_write),
        ));
    }
    meters.push(meter(
        "Output, thinking",
        usage.reasoning,
        rates.map(|rates| rates.output),
    ));
    meters.push(meter(
        "Output, visible",
        usage.visible,
        rates.map(|rates| rates.output),
    ));
    meters
}

fn price_facts(price: &WindowPrice) -> PriceFacts {
    let from = &price.source.from;
    PriceFacts {
        window: plain(price.window.as_str()),
        band: plain(&price.band),
        link: url::Url::parse(from).is_ok_and(|address| address.scheme() == "https"),
        from_shown: plain_sentence(from),
        from: from.to_string(),
        read: price.source.read.strftime("%-d %B %Y").to_string(),
        provisional: price.provisional,
    }
}

fn decision_facts(decision: &Decision) -> DecisionFacts {
    let first = decision.ranked.first().and_then(|first| first.cost);
    let costs = decision.ranked.iter().filter_map(|one| one.cost);
    let decimals = wording::decimals_for_column(costs).max(6);
    DecisionFacts {
        why: decision.why(),
        rule: decision.rule(),
        ranked: decision
            .ranked
            .iter()
            .enumerate()
            .map(|(index, one)| CandidateLine {
                rank: index + 1,
                backend: plain_sentence(&one.backend),
                chosen: one.backend == decision.chosen,
                cost: one.cost.map(|cost| Shown::new(cost, decimals)),
                more: one
                    .cost
                    .zip(first)
                    .map(|(cost, first)| Shown::new(cost - first, decimals)),
                window: one.window.as_deref().map(plain),
                first_token: one.ttft_ms.map(|wait| format!("{} ms", grouped(wait))),
            })
            .collect(),
        rejected: decision
            .rejected
            .iter()
            .map(|one| RejectedLine {
                backend: plain_sentence(&one.backend),
                reason: plain_sentence(&one.reason),
            })
            .collect(),
    }
}
