//! Bedrock's usage, normalised. Its input excludes what was read from and written to the cache, and
//! its output includes thinking without saying how much: all of it counts as visible here.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::chat::{Tokens, Usage};

/// Larger than any count can be.
const MAX_COUNT: u64 = 1 << 53;

/// The usage is no count at all: it is kept out of the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonsense;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawUsage {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_write_input_tokens: Count,
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
        Ok(match Value::deserialize(deserializer)? {
            Value::Null => Count::Absent,
            Value::Number(number) => match number.as_u64() {
                Some(count) if count <= MAX_COUNT => Count::Given(count),
                _ => Count::Absurd,
            },
            _ => Count::Absurd,
        })
    }
}

impl Count {
    fn optional(self) -> Result<Tokens, Nonsense> {
        match self {
            Count::Absent => Ok(Tokens::ZERO),
            Count::Given(count) => Ok(Tokens::new(count)),
            Count::Absurd => Err(Nonsense),
        }
    }

    fn required(self) -> Result<Tokens, Nonsense> {
        match self {
            Count::Absent => Err(Nonsense),
            _ => self.optional(),
        }
    }
}

impl RawUsage {
    pub(super) fn normalise(self) -> Result<Usage, Nonsense> {
        Ok(Usage {
            cache_miss: self.input_tokens.required()?,
            cache_hit: self.cache_read_input_tokens.optional()?,
            cache_write: self.cache_write_input_tokens.optional()?,
            reasoning: Tokens::ZERO,
            visible: self.output_tokens.required()?,
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

    #[test]
    fn input_and_cache_are_counted_apart() {
        let usage = read(
            r#"{"inputTokens":10,"outputTokens":7,"totalTokens":32,"cacheReadInputTokens":12,"cacheWriteInputTokens":3,"cacheDetails":[{"ttl":"5m","inputTokens":3}]}"#,
        )
        .expect("a usage");
        assert_eq!(
            (usage.cache_miss, usage.cache_hit, usage.cache_write),
            (Tokens::new(10), Tokens::new(12), Tokens::new(3))
        );
        assert_eq!(usage.input(), Tokens::new(25));
        assert_eq!(usage.output(), Tokens::new(7));
        let plain = read(r#"{"inputTokens":0,"outputTokens":0,"cacheReadInputTokens":null}"#);
        assert_eq!(plain, Ok(Usage::default()));
    }

    #[test]
    fn what_cannot_be_true_is_kept_out_of_the_books() {
        for text in [
            r#"{"inputTokens":-1,"outputTokens":1}"#,
            r#"{"inputTokens":"1","outputTokens":1}"#,
            r#"{"inputTokens":1}"#,
            r#"{"inputTokens":18446744073709551615,"outputTokens":1}"#,
            r#"{"inputTokens":1,"outputTokens":1,"cacheReadInputTokens":-4}"#,
            "{}",
        ] {
            assert_eq!(read(text), Err(Nonsense), "{text}");
        }
    }
}
