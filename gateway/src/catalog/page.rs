//! One file of a catalog while it is being read: its name, its text, and what is wrong with it so
//! far. Relies on the spans that `toml` keeps.

use std::ops::Range;

use jiff::civil::Date;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::Source;
use super::error::Problem;
use super::form::Day;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which of the catalog's pages.
    pub page: usize,
    pub line: usize,
}

/// A file's name for people, and its text.
#[derive(Debug)]
pub(super) struct Page {
    pub index: usize,
    pub file: String,
    pub text: String,
}

impl Page {
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.as_bytes().iter().take(span.start);
        Place {
            page: self.index,
            line: before.filter(|byte| **byte == b'\n').count() + 1,
        }
    }

    /// Reads the page as one of the forms, or says where it is none.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        toml::from_str(&self.text).map_err(|error| Problem {
            file: self.file.clone(),
            line: self.place(&error.span().unwrap_or(0..0)).line,
            message: with_advice(error.message()),
        })
    }
}

/// Adds what to write to the parser's messages that only say what is missing.
fn with_advice(message: &str) -> String {
    // The parser's own words may run over several lines; a problem is one.
    let message = message.replace('\n', ", ");
    let Some(field) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    else {
        return message;
    };
    let example = match field {
        "source" => r#"`source = "..."`, the page or document where this was read"#,
        "read" => "`read = 2026-11-24`, the day on which the source was read",
        "known" => "`known = 2026-08-14T00:00:00Z`, the instant this was announced",
        "from" | "until" => "`= 2026-08-16T16:00:00Z` after it, the instant in UTC",
        "auth" => r#"`auth = { kind = "bearer", env = "NAME_OF_THE_KEY" }`"#,
        "hit" | "miss" | "output" => r#"dollars per million tokens in quotes, such as "0.435""#,
        _ => return format!("{message}: every row of this kind needs it"),
    };
    format!("{message}: write {example}")
}

/// All pages of a catalog, and all that is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub pages: Vec<Page>,
    problems: Vec<(Place, String)>,
}

impl Desk {
    pub(super) fn reject(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push((place, message.into()));
    }

    pub(super) fn adopt(&mut self, page: usize, problem: Problem) {
        let line = problem.line;
        self.problems.push((Place { page, line }, problem.message));
    }

    /// `file:line`, to point from one problem to another place.
    pub(super) fn name(&self, place: Place) -> String {
        let file = self
            .pages
            .get(place.page)
            .map_or("", |page| page.file.as_str());
        format!("{file}:{}", place.line)
    }

    pub(super) fn place<T>(&self, page: usize, at: &Spanned<T>) -> Place {
        self.pages
            .get(page)
            .map_or(Place { page, line: 1 }, |page| page.place(&at.span()))
    }

    /// A name that logs, addresses and window ids can carry: no spaces, no slashes.
    pub(super) fn word(&mut self, page: usize, word: &Spanned<String>) -> Place {
        let place = self.place(page, word);
        let text = word.get_ref();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
            self.reject(
                place,
                format!("`{text}` is no name: write lower-case letters, digits, `.`, `-` or `_`, at most 64"),
            );
        }
        place
    }

    pub(super) fn source(&mut self, page: usize, from: &Spanned<String>, read: Day) -> Source {
        if from.get_ref().trim().is_empty() {
            let place = self.place(page, from);
            self.reject(
                place,
                "the source is empty: write the page or document where this was read",
            );
        }
        let read: Date = read.0;
        Source {
            from: from.get_ref().as_str().into(),
            read,
        }
    }

    /// The problems in the order of files and lines, if there are any.
    pub(super) fn verdict(mut self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort();
        let named = |(place, message): &(Place, String)| Problem {
            file: self
                .pages
                .get(place.page)
                .map_or_else(String::new, |page| page.file.clone()),
            line: place.line,
            message: message.clone(),
        };
        Err(self.problems.iter().map(named).collect())
    }
}
