//! The trace's lines (`trace.jsonl`, see `trace.NOTICE.md`) and the prompts made of them: sizes and
//! shared prefixes are the trace's, the words are made up.

use std::time::Duration;

use serde::Deserialize;

/// Tokens of a block in the trace.
const BLOCK: u64 = 512;
/// Tokens that a prompt needs beside its words: the role, and `answer in N words`.
const FRAME: u64 = 5;

/// One request of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Since the start of the trace.
    pub at: Duration,
    pub input: u64,
    pub output: u64,
    /// Equal ids are equal blocks of a prompt.
    pub blocks: Vec<u64>,
}

#[derive(Deserialize)]
struct WrittenLine {
    t: u64,
    #[serde(rename = "in")]
    input: u64,
    out: u64,
    blocks: String,
}

/// One line of the file.
pub(super) fn parse_line(line: &str) -> Result<Traced, String> {
    let line: WrittenLine = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut blocks = Vec::new();
    for run in line.blocks.split(',').filter(|run| !run.is_empty()) {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("`{run}` is no run of blocks"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if last < first || last - first > 1 << 20 {
            return Err(format!("`{run}` is no run of blocks"));
        }
        blocks.extend(first..=last);
    }
    Ok(Traced {
        at: Duration::from_millis(line.t),
        input: line.input,
        output: line.out,
        blocks,
    })
}

/// A prompt of the traced size (in the emulated hosts' tokens) that shares with others exactly the
/// blocks that the trace shares.
pub fn prompt(traced: &Traced, shrink: u64) -> String {
    let shrink = shrink.max(1);
    let words = (traced.input / shrink).saturating_sub(FRAME).max(1);
    let block = (BLOCK / shrink).max(1);
    let mut text = String::with_capacity(usize::try_from(words * 6).unwrap_or(0));
    for word in 0..words {
        let position = usize::try_from(word / block).unwrap_or(usize::MAX);
        // A prompt whose blocks end early goes on in words of its own.
        let id = traced
            .blocks
            .get(position)
            .copied()
            .unwrap_or(u64::MAX - word / block);
        push_word(&mut text, id, word % block);
        text.push(if word % block == block - 1 { '\n' } else { ' ' });
    }
    text.push_str(&format!(
        "\nanswer in {} words",
        (traced.output / shrink).max(1)
    ));
    text
}

/// The word at a place of a block: two syllables, never longer than one token.
fn push_word(text: &mut String, block: u64, place: u64) {
    const SYLLABLES: [&str; 32] = [
        "ba", "be", "bi", "co", "da", "de", "fi", "ga", "he", "jo", "ka", "le", "li", "lo", "ma",
        "me", "mi", "mo", "na", "ne", "no", "pa", "po", "ra", "re", "ri", "sa", "so", "ta", "te",
        "vo", "wan",
    ];
    let mut seed =
        block.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ place.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    for _ in 0..2 {
        seed ^= seed >> 32;
        seed = seed.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        seed ^= seed >> 32;
        let syllable = usize::try_from(seed % 32).unwrap_or(0);
        text.push_str(SYLLABLES[syllable]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::hosts::count_tokens;
    use super::super::traffic::Traffic;
    use super::*;

    #[test]
    fn a_prompt_has_the_traced_size_and_shares_the_traced_blocks() {
        let traffic = Traffic::shipped().expect("readable");
        for (traced, shrink) in [
            (&traffic.requests()[0], 1),
            (&traffic.requests()[7], 1),
            (&traffic.requests()[3], 8),
        ] {
            // The role of the message is one more.
            assert_eq!(
                count_tokens(&prompt(traced, shrink)) + 1,
                traced.input / shrink
            );
        }
        let (first, second) = (&traffic.requests()[0], &traffic.requests()[1]);
        let shared = |shrink| {
            let (first, second) = (prompt(first, shrink), prompt(second, shrink));
            first
                .split_whitespace()
                .zip(second.split_whitespace())
                .take_while(|(one, other)| one == other)
                .count()
        };
        assert!((512..516).contains(&shared(1)), "{}", shared(1));
        assert!((64..68).contains(&shared(8)), "{}", shared(8));
    }
}
