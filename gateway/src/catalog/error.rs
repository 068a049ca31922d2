//! What can be wrong with a catalog, said so that it can be put right: file, line, and what to
//! write instead.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong in one place of a catalog's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the operator would name it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Why there is no catalog from these folders.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("cannot read {}: {error}; name a readable catalog folder in the configuration", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}: more than {limit} {what}; a catalog is small text files only", path.display())]
    TooLarge {
        path: PathBuf,
        limit: usize,
        what: &'static str,
    },
    /// All that is wrong, in the order of files and lines. Never empty.
    #[error("{}", lines(.0))]
    Rejected(Vec<Problem>),
    #[error("cannot watch {}: {error}; changes there will not be taken up", path.display())]
    Unwatchable { path: PathBuf, error: notify::Error },
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
