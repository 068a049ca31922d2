//! The fuzz targets on any toolchain: every file of their corpora, and so many changes of each that a
//! run stays within seconds. A failure names its seed and leaves its input in a file;
//! `TOLLGATE_SEED` plays it again, `TOLLGATE_FUZZ` asks for more changes of each file.

#[path = "../fuzz/src/lib.rs"]
pub mod fuzz;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;
use fuzz::chances::Chances;
use fuzz::mutation::mutated;
use tollgate_tests::setting;

/// Changes of each file where nobody asks for more.
const CHANGES: usize = 60;

/// The files of a corpus, in their order.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("a corpus")
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).expect("a file")))
        .collect()
}

fn run(name: &str) {
    let (_, target, shape) = TARGETS
        .into_iter()
        .find(|(known, ..)| *known == name)
        .expect("a target");
    let files = corpus(name);
    let inputs: Vec<Vec<u8>> = files.iter().map(|(_, input)| input.clone()).collect();
    let changes = setting("TOLLGATE_FUZZ", CHANGES);
    let first = u64::try_from(setting("TOLLGATE_SEED", 1)).expect("a seed");
    for (path, input) in &files {
        let shown = path.file_name().unwrap_or_default().to_string_lossy();
        held(&format!("{name}: {shown} as it is"), target, input);
        for seed in (first..).take(changes) {
            let mut chances = Chances::seeded(seed);
            let changed = mutated(&mut chances, shape, input, &inputs);
            held(&format!("{name}: {shown}, seed {seed}"), target, &changed);
        }
    }
}

/// Runs a target; a panic is told with the input that brings it.
fn held(what: &str, target: fuzz::Target, input: &[u8]) {
    if catch_unwind(|| target(input)).is_err() {
        let file = std::env::temp_dir().join(format!("tollgate-fuzz-{}", std::process::id()));
        fs::write(&file, input).expect("the input is written down");
        panic!(
            "{what} (the input lies in {}): {}",
            file.display(),
            String::from_utf8_lossy(input)
        );
    }
}

#[test]
fn streams_of_the_openai_wire_are_heard_and_told_whatever_they_hold() {
    run("sse");
}

#[test]
fn event_streams_are_heard_and_told_whatever_they_hold() {
    run("eventstream");
}

#[test]
fn chat_bodies_are_read_and_lose_nothing() {
    run("openai_chat");
}

#[test]
fn completion_bodies_are_read_and_lose_nothing() {
    run("openai_completions");
}

#[test]
fn responses_bodies_are_read_and_lose_nothing() {
    run("openai_responses");
}

#[test]
fn messages_bodies_are_read_and_lose_nothing() {
    run("anthropic");
}

#[test]
fn only_what_was_sealed_here_opens() {
    run("sealed");
}

#[test]
fn the_scan_of_a_body_finds_what_a_parser_finds() {
    run("scan");
}

#[test]
fn each_target_has_a_corpus_and_a_program_of_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    for (name, ..) in TARGETS {
        assert!(!corpus(name).is_empty());
        let program = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs")));
        assert!(program.expect("a program").contains(&format!("\"{name}\"")));
        assert!(manifest.contains(&format!("name = \"{name}\"")));
    }
}
