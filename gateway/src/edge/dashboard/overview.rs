//! The first view: what was spent and saved in some days, what each host charges now, and where
//! the last requests went and why. One query for each of the three, one template.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;

use super::breakdown::{Breakdown, Kind};
use super::decision::Decision;
use super::figures::{FiguresError, Span, Spend, Status, WindowNow};
use super::pages;
use super::period::{self, Grouping, Period, Preset};
use super::picture::Picture;
use super::session::Reader;
use super::wording::{self, Shown, grouped, percent, plain};
use super::{DashboardRooms, Frame, View};
use crate::catalog::Rates;
use crate::id::{HostName, OrganisationName};
use crate::ledger::{Entry, Outcome};
use crate::money::{Money, Rate};
use crate::time::Timestamp;

/// Requests listed on the overview.
const LAST_REQUESTS: u32 = 25;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    period: Period,
    presets: Vec<Preset>,
    groupings: Vec<Preset>,
    standing: Standing,
    totals: Line,
    /// Of the whole: those of the lines do not add up to it, since a request may have attempts in several.
    requests: String,
    tokens: String,
    picture: Picture,
    lines: Vec<Line>,
    kinds: Vec<Kind>,
    matrix: Vec<MatrixRow>,
    windows: Vec<WindowsOfModel>,
    recent: Vec<RequestLine>,
}

/// How far the figures reach.
struct Standing {
    as_of: String,
    as_of_machine: String,
    in_spool: u64,
}

/// One line of the table of spend.
struct Line {
    name: String,
    unallocated: bool,
    attempts: String,
    input: String,
    /// Share of the input that the hosts' caches answered.
    hit_share: Option<String>,
    output: String,
    cost: Shown,
    /// Of the total cost.
    share: Option<String>,
    routing: Saving,
    list: Saving,
    unpriced: u64,
}

/// What was saved against something: an amount, and its share of that.
struct Saving {
    amount: Shown,
    share: Option<String>,
    /// It cost more instead.
    lost: bool,
}

struct MatrixRow {
    name: String,
    unallocated: bool,
    cells: Vec<Shown>,
    total: Shown,
}

/// `GET /dashboard`
pub(super) async fn show(
    State(rooms): State<Arc<DashboardRooms>>,
    Reader(reader): Reader,
    query: Result<Query<period::Query>, QueryRejection>,
) -> Response {
    let now = rooms.clock.now();
    let Ok(Query(query)) = query else {
        return pages::bad_address("The address has something in it twice.".to_owned());
    };
    let period = match Period::read(&query, now) {
        Ok(period) => period,
        Err(problem) => return pages::bad_address(problem),
    };
    match gather(&rooms, &reader.payer.organisation, &period).await {
        Ok(gathered) => {
            let frame = Frame::around(View::Overview, &rooms, &reader);
            pages::show(StatusCode::OK, &page(frame, period, &gathered, now))
        }
        Err(error) => pages::no_figures(&error),
    }
}

/// All that the page is made of.
struct Gathered {
    spend: Vec<Spend>,
    requests: u64,
    recent: Vec<Entry>,
    windows: Vec<WindowNow>,
    status: Status,
}

async fn gather(
    rooms: &DashboardRooms,
    organisation: &OrganisationName,
    period: &Period,
) -> Result<Gathered, FiguresError> {
    // The mark first: whatever arrives while we read can only make the figures fuller than it says.
    let status = rooms.figures.status().await?;
    let by = period.by.dimensions();
    let none = Span {
        from: status.as_of,
        until: status.as_of,
    };
    let span = period.span().unwrap_or(none);
    let (spend, whole, recent) = futures_util::future::try_join3(
        rooms.figures.spend(organisation, span, &by),
        rooms.figures.spend(organisation, span, &[]),
        rooms.figures.recent(organisation, LAST_REQUESTS),
    )
    .await?;
    let requests = whole.iter().map(|row| row.requests).sum();
    let windows = rooms.figures.windows_now(rooms.clock.now());
    Ok(Gathered {
        spend,
        requests,
        recent,
        windows,
        status,
    })
}

fn page(frame: Frame, period: Period, gathered: &Gathered, now: Timestamp) -> OverviewPage {
    let mut hosts: Vec<HostName> = Vec::new();
    for window in &gathered.windows {
        if !hosts.contains(&window.host) {
            hosts.push(window.host.clone());
        }
    }
    let breakdown = Breakdown::arrange(&gathered.spend, &period, &hosts);
    let total = &breakdown.total;
    let decimals = Decimals::of(&breakdown);
    OverviewPage {
        frame,
        presets: period.presets(now),
        groupings: groupings(&period),
        standing: Standing {
            as_of: wording::instant(gathered.status.as_of),
            as_of_machine: wording::rfc3339(gathered.status.as_of),
            in_spool: gathered.status.in_spool,
        },
        totals: line("All".to_owned(), false, total, total, decimals),
        requests: grouped(gathered.requests),
        tokens: wording::rough(total.tokens()),
        picture: Picture::draw(&breakdown, period.by),
        lines: breakdown
            .groups
            .iter()
            .map(|group| {
                line(
                    group.name.clone(),
                    group.unallocated,
                    &group.sums,
                    total,
                    decimals,
                )
            })
            .collect(),
        matrix: breakdown
            .groups
            .iter()
            .map(|group| MatrixRow {
                name: group.name.clone(),
                unallocated: group.unallocated,
                cells: group
                    .parts
                    .iter()
                    .map(|part| Shown::new(part.cost, decimals.money))
                    .collect(),
                total: Shown::new(group.sums.cost, decimals.money),
            })
            .collect(),
        kinds: breakdown.kinds,
        windows: windows_by_model(&gathered.windows, now),
        recent: gathered.recent.iter().map(request_line).collect(),
        period,
    }
}

fn groupings(period: &Period) -> Vec<Preset> {
    Grouping::ALL
        .into_iter()
        .map(|by| Preset {
            name: match by {
                Grouping::Team => "By team",
                Grouping::Host => "By host",
                Grouping::Day => "By day",
            },
            address: period.grouped_by(by).address(),
            current: by == period.by,
        })
        .collect()
}

/// Decimals of every amount in the table, so that columns can be read down.
#[derive(Clone, Copy)]
struct Decimals {
    money: u32,
}

impl Decimals {
    fn of(breakdown: &Breakdown) -> Self {
        let total = &breakdown.total;
        Decimals {
            money: wording::decimals_for_column([total.cost, total.list].into_iter()),
        }
    }
}

fn line(name: String, unallocated: bool, sums: &Spend, total: &Spend, decimals: Decimals) -> Line {
    let part = |part: Money, whole: Money| percent(part.picodollars(), whole.picodollars());
    let saving = |amount: Money, of: Money| Saving {
        amount: Shown::new(amount, decimals.money),
        share: part(amount, of),
        lost: amount.is_negative(),
    };
    let usage = &sums.usage;
    Line {
        name,
        unallocated,
        attempts: grouped(sums.attempts),
        input: grouped(usage.input().get()),
        hit_share: percent(usage.cache_hit.get().into(), usage.input().get().into()),
        output: grouped(usage.output().get()),
        cost: Shown::new(sums.cost, decimals.money),
        share: part(sums.cost, total.cost),
        routing: saving(sums.saved_by_routing(), sums.spread),
        list: saving(sums.saved_from_list(), sums.list),
        unpriced: sums.unpriced,
    }
}

/// Prices of one model at all its hosts.
struct WindowsOfModel {
    model: String,
    lines: Vec<WindowLine>,
}

struct WindowLine {
    host: String,
    title: String,
    prices: Option<Prices>,
    next: Option<Next>,
}

struct Prices {
    band: String,
    window: String,
    provisional: bool,
    source: String,
    /// Cached input, input, output.
    cells: [Cell; 3],
}

/// A price, and whether nobody sells cheaper now.
struct Cell {
    /// Its column, for narrow pages.
    label: &'static str,
    price: String,
    lowest: bool,
}

struct Next {
    band: String,
    at: String,
    at_machine: String,
    wait: String,
    output: Option<String>,
}

fn windows_by_model(windows: &[WindowNow], now: Timestamp) -> Vec<WindowsOfModel> {
    let mut by_model: BTreeMap<&str, Vec<&WindowNow>> = BTreeMap::new();
    for window in windows {
        by_model
            .entry(window.model.as_str())
            .or_default()
            .push(window);
    }
    by_model
        .into_iter()
        .map(|(model, windows)| WindowsOfModel {
            model: plain(model),
            lines: window_lines(&windows, now),
        })
        .collect()
}

fn window_lines(windows: &[&WindowNow], now: Timestamp) -> Vec<WindowLine> {
    let known = || {
        windows
            .iter()
            .filter_map(|window| window.price.as_ref())
            .map(|price| &price.rates)
    };
    let column = |label, of: fn(&Rates) -> Rate| {
        let lowest = known().map(of).min();
        let decimals = known()
            .map(|rates| decimals_of(of(rates)))
            .max()
            .unwrap_or(2);
        move |rates: &Rates| Cell {
            label,
            price: per_million(of(rates)).for_people(decimals),
            lowest: Some(of(rates)) == lowest,
        }
    };
    let hit = column("Input, cached", |rates| rates.cache_hit);
    let miss = column("Input", |rates| rates.cache_miss);
    let output = column("Output", |rates| rates.output);
    windows
        .iter()
        .map(|window| WindowLine {
            host: plain(window.host.as_str()),
            title: plain(&window.title),
            prices: window.price.as_ref().map(|price| Prices {
                band: plain(&price.band),
                window: plain(price.window.as_str()),
                provisional: price.provisional,
                source: format!("{}, read {}", plain(&price.source.from), price.source.read),
                cells: [hit(&price.rates), miss(&price.rates), output(&price.rates)],
            }),
            next: window.next.as_ref().map(|next| Next {
                band: plain(&next.band),
                at: wording::minute(next.at),
                at_machine: wording::rfc3339(next.at),
                wait: wording::until(now, next.at),
                output: next
                    .rates
                    .as_ref()
                    .map(|rates| per_million(rates.output).for_people(decimals_of(rates.output))),
            }),
        })
        .collect()
}

/// A price as hosts write it.
pub(super) fn per_million(rate: Rate) -> Money {
    Money::from_picodollars(i128::from(rate.picodollars_per_token()) * 1_000_000)
}

/// Decimals that a price per million tokens needs to be shown whole, two at least.
pub(super) fn decimals_of(rate: Rate) -> u32 {
    let exact = rate.to_string();
    let written = exact
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    u32::try_from(written).unwrap_or(12).max(2)
}

/// One line of the last requests.
struct RequestLine {
    address: String,
    at: String,
    at_machine: String,
    team: String,
    unallocated: bool,
    project: String,
    model: String,
    host: String,
    /// `None` where the host has one region or promises none.
    region: Option<String>,
    miss: String,
    hit: String,
    output: String,
    cost: Option<Shown>,
    provisional: bool,
    counted: &'static str,
    outcome: &'static str,
    answered: bool,
    why: String,
}

fn request_line(entry: &Entry) -> RequestLine {
    let usage = &entry.usage;
    let region = entry.place.region.as_str();
    RequestLine {
        address: format!("/dashboard/requests/{}", entry.id),
        at: entry
            .started
            .to_zoned_datetime(jiff::tz::TimeZone::UTC)
            .strftime("%-d %b, %H:%M:%S")
            .to_string(),
        at_machine: wording::rfc3339(entry.started),
        unallocated: entry.payer.team.as_str().is_empty(),
        team: plain(entry.payer.team.as_str()),
        project: plain(entry.payer.project.as_str()),
        model: plain(entry.place.model.as_str()),
        host: plain(entry.place.host.as_str()),
        region: (region != "global").then(|| plain(region)),
        miss: grouped((usage.cache_miss + usage.cache_write).get()),
        hit: grouped(usage.cache_hit.get()),
        output: grouped(usage.output().get()),
        cost: entry.price.cost().map(Shown::alone),
        provisional: matches!(
            entry.price,
            crate::ledger::Price::Priced {
                provisional: true,
                ..
            }
        ),
        counted: entry.counted_by.as_str(),
        outcome: outcome(entry.outcome),
        answered: entry.outcome == Outcome::Answered,
        why: Decision::read(&entry.decision).map_or_else(
            || "no decision that this page can read".to_owned(),
            |decision| decision.why(),
        ),
    }
}

/// How an attempt ended, in words.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Left => "caller left",
        Outcome::Cut => "cut off",
        Outcome::Refused => "refused",
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timed out",
        Outcome::Lost => "lost",
    }
}
