//! A host's usage object, normalised to the five counts. `prompt_tokens` includes cached tokens
//! and `completion_tokens` includes reasoning on this wire; nothing is added twice.

use serde::{Deserialize, Deserializer};

use crate::chat::{Tokens, Usage};

/// Larger than any count can be; beyond it doubles lose whole numbers.
const MAX_COUNT: u64 = 1 << 53;

/// The usage contradicts itself or is no count at all: it is kept out of the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonsense;

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawUsage {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
    /// DeepSeek: hit + miss = prompt.
    #[serde(default)]
    prompt_cache_hit_tokens: Count,
    #[serde(default)]
    prompt_cache_miss_tokens: Count,
    /// Some hosts: at the top level.
    #[serde(default)]
    cached_tokens: Count,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Count,
    #[serde(default)]
    cache_write_tokens: Count,
}

#[derive(Debug, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Count,
}

/// A count as it was given: absent, sound, or nothing that can be a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Count {
    #[default]
    Absent,
    Given(u64),
    Absurd,
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(match &value {
            serde_json::Value::Null => Count::Absent,
            serde_json::Value::Number(number) => match number.as_u64() {
                Some(count) if count <= MAX_COUNT => Count::Given(count),
                _ => Count::Absurd,
            },
            _ => Count::Absurd,
        })
    }
}

impl Count {
    fn get(self) -> Result<Option<u64>, Nonsense> {
        match self {
            Count::Absent => Ok(None),
            Count::Given(count) => Ok(Some(count)),
            Count::Absurd => Err(Nonsense),
        }
    }
}

impl RawUsage {
    /// The five counts, or `Nonsense` where the host's numbers cannot all be true.
    pub(super) fn normalise(self) -> Result<Usage, Nonsense> {
        let details = self.prompt_tokens_details.as_ref();
        let hit = match self.prompt_cache_hit_tokens.get()? {
            Some(hit) => Some(hit),
            None => match details
                .map(|details| details.cached_tokens.get())
                .transpose()?
                .flatten()
            {
                Some(hit) => Some(hit),
                None => self.cached_tokens.get()?,
            },
        };
        let hit = hit.unwrap_or(0);
        let write = details
            .map(|details| details.cache_write_tokens.get())
            .transpose()?
            .flatten()
            .unwrap_or(0);
        let miss = self.prompt_cache_miss_tokens.get()?;
        let prompt = match (self.prompt_tokens.get()?, miss) {
            (Some(prompt), Some(miss)) if hit + miss != prompt => return Err(Nonsense),
            (Some(prompt), _) => prompt,
            (None, Some(miss)) => hit + miss,
            // Neither input nor output: an empty object says nothing.
            (None, None) => return Err(Nonsense),
        };
        let completion = self.completion_tokens.get()?.unwrap_or(0);
        let reasoning = self
            .completion_tokens_details
            .map(|details| details.reasoning_tokens.get())
            .transpose()?
            .flatten()
            .unwrap_or(0);
        let rest = prompt.checked_sub(hit + write).ok_or(Nonsense)?;
        let visible = completion.checked_sub(reasoning).ok_or(Nonsense)?;
        Ok(Usage {
            cache_miss: Tokens::new(rest),
            cache_hit: Tokens::new(hit),
            cache_write: Tokens::new(write),
            reasoning: Tokens::new(reasoning),
            visible: Tokens::new(visible),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Usage, Nonsense> {
        serde_json::from_str::<RawUsage>(text)
            .map_err(|_| Nonsense)?
            .normalise()
    }

    fn usage(miss: u64, hit: u64, reasoning: u64, visible: u64) -> Usage {
        Usage {
            cache_miss: Tokens::new(miss),
            cache_hit: Tokens::new(hit),
            cache_write: Tokens::ZERO,
            reasoning: Tokens::new(reasoning),
            visible: Tokens::new(visible),
        }
    }

    #[test]
    fn every_hosts_way_of_saying_it_gives_the_same_counts() {
        for text in [
            r#"{"prompt_tokens":10,"completion_tokens":7,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6,"completion_tokens_details":{"reasoning_tokens":2}}"#,
            r#"{"prompt_tokens":10,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}"#,
            r#"{"prompt_tokens":10,"completion_tokens":7,"cached_tokens":4,"completion_tokens_details":{"reasoning_tokens":2}}"#,
            r#"{"prompt_tokens":10,"completion_tokens":7,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}"#,
        ] {
            assert_eq!(read(text), Ok(usage(6, 4, 2, 5)), "{text}");
        }
    }

    #[test]
    fn an_explicit_zero_is_a_count_and_null_is_none() {
        assert_eq!(
            read(r#"{"prompt_tokens":0,"completion_tokens":0,"prompt_tokens_details":null}"#),
            Ok(usage(0, 0, 0, 0))
        );
    }

    #[test]
    fn what_cannot_be_true_is_kept_out_of_the_books() {
        for text in [
            r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
            r#"{"prompt_tokens":"10","completion_tokens":1}"#,
            r#"{"prompt_tokens":10.5,"completion_tokens":1}"#,
            r#"{"prompt_tokens":90071992547409930,"completion_tokens":1}"#,
            r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":11}}"#,
            r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":4}"#,
            r#"{"prompt_tokens":10,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":2}}"#,
            r#"{}"#,
        ] {
            assert_eq!(read(text), Err(Nonsense), "{text}");
        }
    }
}
