//! Tests of this wire as a whole: what each host gets, what is heard from any stream.

mod golden;
mod hearing;
mod plain;
mod property;

use std::path::Path;

use super::*;
use crate::backend::wires::Asked;

fn asked(quirks: &Quirks) -> Asked<'_> {
    Asked {
        model: "host/model",
        quirks,
        stream: false,
        bound: None,
        tenant: "tenant-1",
    }
}

/// Compares with the file, or writes it where `TOLLGATE_GOLDEN=write` says so.
#[track_caller]
fn agrees(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/backend/wires/openai/golden")
        .join(file);
    if std::env::var_os("TOLLGATE_GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(&path, text).expect("the golden file can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = text
        .lines()
        .zip(kept.lines())
        .find(|(now, kept)| now != kept);
    assert!(
        kept == text,
        "{file} differs (TOLLGATE_GOLDEN=write writes it anew), first at {differs:?}"
    );
}
