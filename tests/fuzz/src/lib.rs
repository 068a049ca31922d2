//! What is fuzzed, and what must hold of whatever comes: one function for each target, which panics
//! where something does not hold. libFuzzer runs them with coverage (`fuzz_targets/`), the stable
//! test `tests/tests/fuzz_seeds.rs` with the mutations of [`mutation`]; both begin at `corpus/`.
//! Relies on the gateway's public API alone.

pub mod bodies;
pub mod chances;
pub mod mutation;
pub mod scanning;
pub mod sealing;
pub mod streams;
pub mod telling;
pub mod turns;

use chances::Chances;
use mutation::Shape;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// Each target by the name of its corpus, and the form that its inputs have.
pub const TARGETS: [(&str, Target, Shape); 8] = [
    ("sse", streams::sse, Shape::Events),
    ("eventstream", streams::eventstream, Shape::Frames),
    ("openai_chat", bodies::openai_chat, Shape::Json),
    (
        "openai_completions",
        bodies::openai_completions,
        Shape::Json,
    ),
    ("openai_responses", bodies::openai_responses, Shape::Json),
    ("anthropic", bodies::anthropic, Shape::Json),
    ("sealed", sealing::sealed, Shape::Bytes),
    ("scan", scanning::scan, Shape::Json),
];

/// Larger inputs say nothing new and take long.
pub const MOST_BYTES: usize = 64 << 10;

/// The target of this name.
pub fn target(name: &str) -> Target {
    let known = TARGETS.iter().find(|(known, ..)| *known == name);
    known.expect("a target of this name").1
}

/// A change to an input of this target, which follows from the seed.
pub fn mutated_for(name: &str, seed: u64, input: &[u8]) -> Vec<u8> {
    let known = TARGETS.iter().find(|(known, ..)| *known == name);
    let shape = known.expect("a target of this name").2;
    mutation::mutated(&mut Chances::seeded(seed), shape, input, &[])
}
