//! Writing entries. Each database gets the form in which it takes many rows fastest: PostgreSQL one
//! array a column, in one statement whatever the number of rows; SQLite statements of a few fixed
//! numbers of rows, so that they stay prepared, in one transaction.

use std::sync::{Arc, LazyLock};

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, PgPool, SqlitePool};

use super::{Store, StoreError, Writer};
use crate::chat::CountedBy;
use crate::ledger::{Entry, Outcome, Price};
use crate::money::Money;
use crate::time;

/// The columns of `entry`, in the order in which all statements name them.
pub(super) const COLUMNS: &str = "id, request_id, attempt, organisation, team, project, key_id, \
     tags, surface, host, account, region, model, host_model, started_us, first_byte_us, ended_us, \
     billed_us, host_request, cache_miss, cache_hit, cache_write, reasoning, visible, counted_by, \
     outcome, catalog, price_window, price_state, cost_pd, list_pd, spread_pd, decision";

/// The type of each of them: t TEXT, i BIGINT.
const TYPES: &[u8; 33] = b"ttitttttttttttiiiitiiiiitttttiiit";

/// Rows of one SQLite statement, largest first. The largest keeps below SQLite's 32,766 variables.
const ROWS: [usize; 4] = [512, 64, 8, 1];

static SQLITE: LazyLock<[String; 4]> = LazyLock::new(|| {
    let row = format!("({})", ["?"; TYPES.len()].join(","));
    ROWS.map(|rows| {
        let values = vec![row.as_str(); rows].join(",");
        format!("INSERT INTO entry ({COLUMNS}) VALUES {values} ON CONFLICT (id) DO NOTHING")
    })
});

static POSTGRES: LazyLock<String> = LazyLock::new(|| {
    let arrays: Vec<String> = (1..)
        .zip(TYPES)
        .map(|(number, kind)| match kind {
            b't' => format!("${number}::TEXT[]"),
            _ => format!("${number}::BIGINT[]"),
        })
        .collect();
    let arrays = arrays.join(", ");
    format!(
        "INSERT INTO entry ({COLUMNS}) SELECT * FROM UNNEST({arrays}) ON CONFLICT (id) DO NOTHING"
    )
});

impl Store {
    /// Writes entries; one whose id is there already stays as it is. All or none.
    pub async fn insert(&self, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        match &self.writer {
            Writer::Sqlite(pool) => insert_sqlite(pool, entries).await,
            Writer::Postgres(pool) => insert_postgres(pool, entries).await,
        }
    }
}

async fn insert_sqlite(pool: &SqlitePool, entries: &[Entry]) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    let mut rest = entries;
    for (size, statement) in ROWS.iter().zip(SQLITE.iter()) {
        while let Some((rows, others)) = rest.split_at_checked(*size) {
            let mut arguments = SqliteArguments::default();
            arguments.reserve(size * TYPES.len(), 0);
            for entry in rows {
                for cell in cells(entry) {
                    bind(cell, &mut arguments).map_err(sqlx::Error::Encode)?;
                }
            }
            sqlx::query_with(statement.as_str(), arguments)
                .execute(&mut *transaction)
                .await?;
            rest = others;
        }
    }
    transaction.commit().await?;
    Ok(())
}

async fn insert_postgres(pool: &PgPool, entries: &[Entry]) -> Result<(), StoreError> {
    let rows: Vec<[Cell<'_>; TYPES.len()]> = entries.iter().map(cells).collect();
    let mut arguments = PgArguments::default();
    for (column, kind) in TYPES.iter().enumerate() {
        let added = if *kind == b't' {
            let texts: Vec<Option<&str>> = rows.iter().map(|row| row[column].text()).collect();
            arguments.add(texts)
        } else {
            let numbers: Vec<Option<i64>> = rows.iter().map(|row| row[column].number()).collect();
            arguments.add(numbers)
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    // A single statement: sqlx's begin() on PostgreSQL does not survive being dropped half way.
    sqlx::query_with(POSTGRES.as_str(), arguments)
        .execute(pool)
        .await?;
    Ok(())
}

/// One cell of a row.
enum Cell<'a> {
    /// Shared with the entry: most texts of a batch are the same few, and copying them would cost
    /// more than the rest of a write.
    Text(&'a Arc<str>),
    Made(Arc<str>),
    Number(i64),
    NoText,
    NoNumber,
}

impl Cell<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Made(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self) -> Option<i64> {
        match self {
            Cell::Number(number) => Some(*number),
            _ => None,
        }
    }
}

fn bind(cell: Cell<'_>, arguments: &mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError> {
    match cell {
        Cell::Text(text) => Arguments::add(arguments, text.clone()),
        Cell::Made(text) => Arguments::add(arguments, text),
        Cell::Number(number) => Arguments::add(arguments, number),
        Cell::NoText => Arguments::add(arguments, None::<String>),
        Cell::NoNumber => Arguments::add(arguments, None::<i64>),
    }
}

/// A text as both databases take it: PostgreSQL holds no NUL, which a host could well send.
fn text(text: &Arc<str>) -> Cell<'_> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Cell::Made(Arc::from(text.replace('\0', "\u{fffd}")));
    }
    Cell::Text(text)
}

fn id(id: uuid::Uuid) -> Cell<'static> {
    let mut letters = uuid::Uuid::encode_buffer();
    Cell::Made(Arc::from(&*id.as_hyphenated().encode_lower(&mut letters)))
}

/// A word that the code itself chose.
fn word(word: &'static str) -> Cell<'static> {
    static WORDS: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| {
        let outcomes = Outcome::ALL.map(Outcome::as_str);
        let counts = [
            CountedBy::Reported,
            CountedBy::Drained,
            CountedBy::Counted,
            CountedBy::Estimated,
            CountedBy::Nothing,
        ]
        .map(CountedBy::as_str);
        let states = ["priced", "provisional", "unpriced"];
        let words = states.into_iter().chain(outcomes).chain(counts);
        words.map(Arc::from).collect()
    });
    match WORDS.iter().find(|known| &***known == word) {
        Some(known) => Cell::Text(known),
        None => Cell::Made(Arc::from(word)),
    }
}

fn maybe_text(value: Option<&Arc<str>>) -> Cell<'_> {
    value.map_or(Cell::NoText, text)
}

fn maybe_number(value: Option<i64>) -> Cell<'static> {
    value.map_or(Cell::NoNumber, Cell::Number)
}

/// An entry's cells, in the order of [`COLUMNS`].
fn cells(entry: &Entry) -> [Cell<'_>; TYPES.len()] {
    let (payer, place, usage) = (&entry.payer, &entry.place, &entry.usage);
    let (state, cost, list, spread) = match entry.price {
        Price::Unpriced => ("unpriced", None, None, None),
        Price::Priced {
            cost,
            list,
            spread,
            provisional,
        } => (
            if provisional { "provisional" } else { "priced" },
            Some(cost),
            Some(list),
            Some(spread),
        ),
    };
    // An amount beyond a cell is refused by the spool; here the table's CHECK would refuse it.
    let amount = |amount: Option<Money>| maybe_number(amount.and_then(Money::to_cell));
    [
        id(entry.id.uuid()),
        id(entry.request.uuid()),
        Cell::Number(i64::from(entry.attempt)),
        text(payer.organisation.as_shared()),
        text(payer.team.as_shared()),
        text(payer.project.as_shared()),
        id(payer.key.uuid()),
        text(&entry.tags),
        text(&entry.surface),
        text(place.host.as_shared()),
        text(place.account.as_shared()),
        text(place.region.as_shared()),
        text(place.model.as_shared()),
        text(&place.host_model),
        Cell::Number(time::to_cell(entry.started)),
        maybe_number(entry.first_byte.map(time::to_cell)),
        Cell::Number(time::to_cell(entry.ended)),
        Cell::Number(time::to_cell(entry.billed)),
        maybe_text(entry.host_request.as_ref()),
        Cell::Number(usage.cache_miss.to_cell()),
        Cell::Number(usage.cache_hit.to_cell()),
        Cell::Number(usage.cache_write.to_cell()),
        Cell::Number(usage.reasoning.to_cell()),
        Cell::Number(usage.visible.to_cell()),
        word(entry.counted_by.as_str()),
        word(entry.outcome.as_str()),
        text(entry.catalog.as_shared()),
        maybe_text(entry.window.as_ref().map(|window| window.as_shared())),
        word(state),
        amount(cost),
        amount(list),
        amount(spread),
        text(&entry.decision),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_a_type() {
        assert_eq!(COLUMNS.split(", ").count(), TYPES.len());
        let entry = crate::ledger::sample::entry(1);
        for (cell, kind) in cells(&entry).iter().zip(TYPES) {
            let is_text = matches!(cell, Cell::Text(_) | Cell::Made(_) | Cell::NoText);
            assert_eq!(is_text, *kind == b't');
        }
    }

    #[test]
    fn a_nul_that_a_host_sends_becomes_the_sign_for_unknown_characters() {
        let sent = Arc::from("a\0b");
        assert_eq!(text(&sent).text(), Some("a\u{fffd}b"));
    }
}
