//! `tollgate spend`: the ledger, grouped.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::Failure;
use crate::chat::Usage;
use crate::ledger::spool;
use crate::ledger::store::{Dim, SpendQuery, SpendRow};
use crate::money::Money;
use crate::serve::{open_store, spool_folder};
use crate::settings::Settings;
use crate::time::Timestamp;

#[derive(Debug, clap::Args)]
pub struct SpendArgs {
    /// First day (UTC), or an instant.
    #[arg(long)]
    from: String,
    /// Last day (UTC), included; or an instant, excluded.
    #[arg(long)]
    to: String,
    /// What to group by, with commas between: organisation, team, project, key, host, account,
    /// region, model, window, outcome, counted_by, surface, tags, hour, day, month.
    #[arg(long, value_delimiter = ',')]
    by: Vec<Dim>,
}

/// Prints the sums, and whether they are complete.
///
/// # Errors
/// A date that is none (2), or a database that does not answer (1).
pub async fn run(
    args: &SpendArgs,
    settings: &Settings,
    json: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let query = SpendQuery {
        from: instant(&args.from, false)?,
        to: instant(&args.to, true)?,
        by: args.by.clone(),
    };
    if query.from > query.to {
        return Err(Failure::usage("--from lies after --to"));
    }
    let store = open_store(settings).await.map_err(Failure::failed)?;
    // Asked before the store: what is shipped meanwhile is then in the sums, not missing from both.
    let pending = spool::pending(&spool_folder(settings))
        .map_err(Failure::failed)?
        .entries();
    let rows = store.spend(&query).await.map_err(Failure::failed)?;
    let whole = SpendQuery {
        by: Vec::new(),
        ..query.clone()
    };
    let total = store
        .spend(&whole)
        .await
        .map_err(Failure::failed)?
        .into_iter()
        .next()
        .unwrap_or_default();
    if json {
        println!("{:#}", document(&query, &rows, &total, pending, now));
    } else {
        print(&query.by, &rows, &total, pending);
    }
    Ok(())
}

/// A day as the instant at which it begins, or ends; an instant as itself.
fn instant(text: &str, end: bool) -> Result<Timestamp, Failure> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let wrong = |_| {
        Failure::usage(format!(
            "`{text}` is no day and no instant: write 2026-11-24 or 2026-11-24T02:00:00Z"
        ))
    };
    let mut day: Date = text.parse().map_err(wrong)?;
    if end {
        day = day.tomorrow().map_err(wrong)?;
    }
    Ok(day
        .to_zoned_datetime(TimeZone::UTC)
        .map_err(wrong)?
        .timestamp())
}

fn document(
    query: &SpendQuery,
    rows: &[SpendRow],
    total: &SpendRow,
    pending: u64,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut line = Map::new();
            for (dim, value) in query.by.iter().zip(&row.key) {
                line.insert(dim.as_str().to_owned(), json!(value));
            }
            line.extend(figures(row));
            Value::Object(line)
        })
        .collect();
    json!({
        "from": query.from,
        "to": query.to,
        "by": query.by.iter().map(|dim| dim.as_str()).collect::<Vec<_>>(),
        "rows": rows,
        "total": figures(total),
        "as_of": now,
        "complete": pending == 0,
        "in_spool": pending,
    })
}

fn figures(row: &SpendRow) -> Map<String, Value> {
    let Usage {
        cache_miss,
        cache_hit,
        cache_write,
        reasoning,
        visible,
    } = row.usage;
    let figures = json!({
        "requests": row.requests,
        "attempts": row.attempts,
        "tokens": {
            "cache_miss": cache_miss,
            "cache_hit": cache_hit,
            "cache_write": cache_write,
            "reasoning": reasoning,
            "visible": visible,
        },
        "cost": row.cost,
        "list": row.list,
        "spread": row.spread,
        "savings": saved(row),
        "unpriced": row.unpriced,
    });
    match figures {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Against the same requests spread evenly over the backends that were allowed.
fn saved(row: &SpendRow) -> Money {
    row.spread - row.cost
}

fn print(by: &[Dim], rows: &[SpendRow], total: &SpendRow, pending: u64) {
    let line = |name: &str, row: &SpendRow| {
        let alarm = if row.unpriced > 0 {
            format!("  UNPRICED: {} attempts", row.unpriced)
        } else {
            String::new()
        };
        println!(
            "{name:<48}  {:>9}  {:>14}  {:>14}  {:>18}  {:>18}{alarm}",
            row.requests,
            row.usage.input().get(),
            row.usage.output().get(),
            format!("${}", row.cost),
            format!("${}", saved(row)),
        );
    };
    let names: Vec<&str> = by.iter().map(|dim| dim.as_str()).collect();
    println!(
        "{:<48}  {:>9}  {:>14}  {:>14}  {:>18}  {:>18}",
        names.join(" / "),
        "requests",
        "tokens in",
        "tokens out",
        "cost",
        "saved"
    );
    for row in rows.iter().filter(|_| !by.is_empty()) {
        let shown: Vec<&str> = row
            .key
            .iter()
            .map(|value| if value.is_empty() { "(none)" } else { value })
            .collect();
        line(&shown.join(" / "), row);
    }
    line("total", total);
    if pending > 0 {
        println!("Not complete: {pending} entries are on their way to the database.");
    }
}
