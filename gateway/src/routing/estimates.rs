//! What requests turn out to be: bytes to tokens, cache hits, lengths of answers, time to the first
//! token. Learnt from what hosts report, in integers, by exponentially weighted means.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::chat::{Tokens, Usage};

/// Each new sample weighs one in this many.
const WEIGHT: u64 = 16;
/// Thousandths of a byte a token, until a host has reported: English prose and JSON.
const BYTES_A_TOKEN: u64 = 4_000;
/// Tokens of an answer, until any has been seen.
const ANSWER: u64 = 400;
/// Means are kept in 1/1024 so that small samples do not vanish in integer division.
const FINE: u64 = 1024;

/// A mean that many tasks update without a lock. A lost update costs one sample, never a wrong sum.
#[derive(Debug)]
struct Mean(AtomicU64);

impl Mean {
    /// Nothing seen yet.
    const UNSEEN: u64 = u64::MAX;

    const fn new() -> Self {
        Mean(AtomicU64::new(Self::UNSEEN))
    }

    fn add(&self, sample: u64) {
        let sample = sample.min(1 << 50) * FINE;
        let old = self.0.load(Relaxed);
        let new = if old == Self::UNSEEN {
            sample
        } else if sample > old {
            old + (sample - old).div_ceil(WEIGHT)
        } else {
            old - (old - sample).div_ceil(WEIGHT)
        };
        self.0.store(new, Relaxed);
    }

    fn get(&self) -> Option<u64> {
        match self.0.load(Relaxed) {
            Self::UNSEEN => None,
            mean => Some((mean + FINE / 2) / FINE),
        }
    }
}

/// What one backend has shown so far.
#[derive(Debug)]
pub struct PlaceEstimates {
    /// Thousandths of a prompt byte a token.
    input_bytes: Mean,
    /// Thousandths of an answer byte a token.
    output_bytes: Mean,
    /// Thousandths of the input that hit the cache.
    hits: Mean,
    first_byte_ms: Mean,
}

/// What one model's requests have been like, whatever backend answered.
#[derive(Debug)]
pub struct Workload {
    output: Mean,
    /// Thousandths of the output spent on thinking.
    reasoning: Mean,
}

/// One answered request: what was known before, and what the host reported.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub prompt_bytes: usize,
    /// Bytes of the answer, where they were counted.
    pub answer_bytes: Option<u64>,
    pub usage: Usage,
    pub first_byte: Option<Duration>,
}

/// Expected counts of a request that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub usage: Usage,
}

impl Default for PlaceEstimates {
    fn default() -> Self {
        PlaceEstimates {
            input_bytes: Mean::new(),
            output_bytes: Mean::new(),
            hits: Mean::new(),
            first_byte_ms: Mean::new(),
        }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Workload {
            output: Mean::new(),
            reasoning: Mean::new(),
        }
    }
}

impl PlaceEstimates {
    pub fn learn(&self, sample: &Sample) {
        let input = sample.usage.input().get();
        if let Some(bytes) = (sample.prompt_bytes as u64 * 1000).checked_div(input) {
            self.input_bytes.add(bytes);
            self.hits
                .add(sample.usage.cache_hit.get().saturating_mul(1000) / input);
        }
        let output = sample.usage.output().get();
        if let (Some(bytes), 1..) = (sample.answer_bytes, output) {
            self.output_bytes.add(bytes.saturating_mul(1000) / output);
        }
        if let Some(wait) = sample.first_byte {
            self.first_byte_ms
                .add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// Time to the first token, if any answer has been seen.
    pub fn first_byte_ms(&self) -> Option<u64> {
        self.first_byte_ms.get()
    }

    /// Tokens that this many answer bytes are likely to be.
    pub fn tokens_of_answer(&self, bytes: u64) -> Tokens {
        let a_token = self.output_bytes.get().unwrap_or(BYTES_A_TOKEN).max(1);
        Tokens::new(bytes.saturating_mul(1000).div_ceil(a_token))
    }

    /// The input that a prompt of this size is likely to be, split into misses and hits.
    pub fn input(&self, prompt_bytes: usize) -> Usage {
        let a_token = self.input_bytes.get().unwrap_or(BYTES_A_TOKEN).max(1);
        // Rounded, so that a size seen before gives the count seen before.
        let tokens = (prompt_bytes as u64 * 1000 + a_token / 2) / a_token;
        let hit = (tokens * self.hits.get().unwrap_or(0).min(1000) + 500) / 1000;
        Usage {
            cache_miss: Tokens::new(tokens - hit),
            cache_hit: Tokens::new(hit),
            ..Usage::default()
        }
    }
}

impl Workload {
    pub fn learn(&self, usage: &Usage) {
        let output = usage.output().get();
        self.output.add(output);
        if let Some(share) = usage
            .reasoning
            .get()
            .saturating_mul(1000)
            .checked_div(output)
        {
            self.reasoning.add(share);
        }
    }

    /// The output that one more request is likely to have, within the bound it sets.
    pub fn output(&self, bound: Option<Tokens>) -> Usage {
        let expected = self.output.get().unwrap_or(ANSWER);
        let output = bound.map_or(expected, |bound| expected.min(bound.get()));
        let reasoning = output * self.reasoning.get().unwrap_or(0).min(1000) / 1000;
        Usage {
            reasoning: Tokens::new(reasoning),
            visible: Tokens::new(output - reasoning),
            ..Usage::default()
        }
    }
}

impl Counts {
    /// What a request is expected to use at one backend.
    pub fn expected(
        place: &PlaceEstimates,
        workload: &Workload,
        prompt_bytes: usize,
        bound: Option<Tokens>,
        choices: u32,
    ) -> Counts {
        let input = place.input(prompt_bytes);
        let output = workload.output(bound);
        let times = |tokens: Tokens| Tokens::new(tokens.get().saturating_mul(u64::from(choices)));
        Counts {
            usage: Usage {
                reasoning: times(output.reasoning),
                visible: times(output.visible),
                ..input
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(miss: u64, hit: u64, visible: u64) -> Usage {
        Usage {
            cache_miss: Tokens::new(miss),
            cache_hit: Tokens::new(hit),
            visible: Tokens::new(visible),
            ..Usage::default()
        }
    }

    #[test]
    fn equal_requests_are_expected_to_be_as_they_were() {
        let (place, workload) = (PlaceEstimates::default(), Workload::default());
        for _ in 0..100 {
            let sample = Sample {
                prompt_bytes: 1_180,
                answer_bytes: Some(300),
                usage: usage(64, 192, 60),
                first_byte: Some(Duration::from_millis(20)),
            };
            place.learn(&sample);
            workload.learn(&sample.usage);
        }
        let expected = Counts::expected(&place, &workload, 1_180, None, 1).usage;
        assert_eq!(expected, usage(64, 192, 60));
        assert_eq!(place.first_byte_ms(), Some(20));
        assert_eq!(place.tokens_of_answer(300), Tokens::new(60));
    }

    #[test]
    fn a_bound_limits_what_is_expected() {
        let workload = Workload::default();
        assert_eq!(
            workload.output(Some(Tokens::new(10))).output(),
            Tokens::new(10)
        );
        assert_eq!(workload.output(None).output(), Tokens::new(ANSWER));
    }
}
