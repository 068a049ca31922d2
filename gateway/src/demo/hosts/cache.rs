//! The context caches of the emulated hosts, in tokens and their hashes. Two kinds: blocks of a
//! prefix, as most servers have, and DeepSeek's whole units. Each account and isolation field has
//! its own, as has each model.

use std::collections::{HashMap, VecDeque};

use super::tokens::Prefixes;

/// How a host caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheModel {
    /// No discount, nothing reported.
    None,
    /// Whole blocks from the start of the prompt, shorter prefixes than `minimum` never; the last
    /// token of a prompt is always computed.
    Blocks {
        unit: usize,
        minimum: usize,
        lifetime_s: u64,
    },
    /// DeepSeek: a prompt hits a stored unit only where it begins with all of it. Units end where
    /// an input ended, where an output ended, at every `interval` tokens, and where two requests
    /// were found to part.
    Units {
        interval: usize,
        minimum: usize,
        lifetime_s: u64,
    },
}

impl CacheModel {
    pub(super) const fn blocks(unit: usize, minimum: usize, lifetime_s: u64) -> Self {
        CacheModel::Blocks {
            unit,
            minimum,
            lifetime_s,
        }
    }

    const fn lifetime_s(self) -> u64 {
        match self {
            CacheModel::None => 0,
            CacheModel::Blocks { lifetime_s, .. } | CacheModel::Units { lifetime_s, .. } => {
                lifetime_s
            }
        }
    }
}

/// Stored prefixes of one cache; the least recently used half goes when it is full.
const PREFIXES_KEPT: usize = 200_000;
/// Earlier prompts that a new one is compared with to find where they part.
const PROMPTS_COMPARED: usize = 256;

/// One account's cache for one model. Instants are seconds since 1970.
pub(super) struct Cache {
    model: CacheModel,
    /// (tokens, hash) of a stored prefix → when it was last used.
    stored: HashMap<(usize, u64), i64>,
    recent: VecDeque<Prefixes>,
}

impl Cache {
    pub(super) fn new(model: CacheModel) -> Self {
        Cache {
            model,
            stored: HashMap::new(),
            recent: VecDeque::new(),
        }
    }

    /// Reads a prompt: how many of its tokens were cached, and stores what it leaves behind.
    pub(super) fn read(&mut self, prompt: &Prefixes, now: i64) -> usize {
        let hit = match self.model {
            CacheModel::None => 0,
            CacheModel::Blocks { unit, minimum, .. } => {
                self.read_blocks(prompt, unit, minimum, now)
            }
            CacheModel::Units {
                interval, minimum, ..
            } => self.read_units(prompt, interval, minimum, now),
        };
        self.shed();
        hit
    }

    /// Stores where an answer ended: the next turn of the conversation begins with it.
    pub(super) fn answered(&mut self, whole: &Prefixes, now: i64) {
        match self.model {
            CacheModel::None => {}
            CacheModel::Blocks { unit, minimum, .. } => {
                self.store_blocks(whole, unit, minimum, now);
            }
            CacheModel::Units { minimum, .. } => self.store(whole, whole.len(), minimum, now),
        }
    }

    fn read_blocks(&mut self, prompt: &Prefixes, unit: usize, minimum: usize, now: i64) -> usize {
        let longest = prompt.len().saturating_sub(1) / unit * unit;
        let mut hit = 0;
        while hit + unit <= longest && self.alive(prompt, hit + unit, now) {
            hit += unit;
        }
        self.store_blocks(prompt, unit, minimum, now);
        if hit < minimum { 0 } else { hit }
    }

    fn store_blocks(&mut self, prompt: &Prefixes, unit: usize, minimum: usize, now: i64) {
        if prompt.len() < minimum {
            return;
        }
        for end in (unit..=prompt.len()).step_by(unit) {
            self.store(prompt, end, 0, now);
        }
    }

    fn read_units(
        &mut self,
        prompt: &Prefixes,
        interval: usize,
        minimum: usize,
        now: i64,
    ) -> usize {
        let lifetime = i64::try_from(self.model.lifetime_s()).unwrap_or(i64::MAX);
        let hit = self
            .stored
            .iter()
            .filter(|((tokens, hash), used)| {
                prompt.of(*tokens) == Some(*hash) && now.saturating_sub(**used) <= lifetime
            })
            .map(|((tokens, _), _)| *tokens)
            .max()
            .unwrap_or(0);
        let parted = self
            .recent
            .iter()
            .map(|earlier| earlier.shared_with(prompt))
            .max();
        self.store(prompt, hit, minimum, now);
        self.store(prompt, parted.unwrap_or(0), minimum, now);
        for end in (interval..=prompt.len()).step_by(interval) {
            self.store(prompt, end, minimum, now);
        }
        self.store(prompt, prompt.len(), minimum, now);
        if self.recent.len() == PROMPTS_COMPARED {
            self.recent.pop_front();
        }
        self.recent.push_back(prompt.clone());
        hit
    }

    fn alive(&self, prompt: &Prefixes, tokens: usize, now: i64) -> bool {
        let lifetime = i64::try_from(self.model.lifetime_s()).unwrap_or(i64::MAX);
        prompt
            .of(tokens)
            .and_then(|hash| self.stored.get(&(tokens, hash)))
            .is_some_and(|used| now.saturating_sub(*used) <= lifetime)
    }

    fn store(&mut self, prompt: &Prefixes, tokens: usize, minimum: usize, now: i64) {
        if tokens < minimum {
            return;
        }
        if let Some(hash) = prompt.of(tokens) {
            self.stored.insert((tokens, hash), now);
        }
    }

    fn shed(&mut self) {
        if self.stored.len() <= PREFIXES_KEPT {
            return;
        }
        let mut uses: Vec<i64> = self.stored.values().copied().collect();
        let middle = uses.len() / 2;
        let (_, median, _) = uses.select_nth_unstable(middle);
        let median = *median;
        self.stored.retain(|_, used| *used > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(parts: &[(&str, usize)]) -> Prefixes {
        let mut prompt = Prefixes::default();
        for (word, times) in parts {
            for index in 0..*times {
                prompt.push_text(&format!("{word}{index}"));
            }
        }
        prompt
    }

    fn deepseek() -> Cache {
        Cache::new(CacheModel::Units {
            interval: 4_096,
            minimum: 64,
            lifetime_s: 3_600,
        })
    }

    #[test]
    fn after_a_b_and_a_c_the_third_a_d_hits_a() {
        let mut cache = deepseek();
        assert_eq!(cache.read(&prompt(&[("a", 500), ("b", 100)]), 0), 0);
        assert_eq!(cache.read(&prompt(&[("a", 500), ("c", 100)]), 1), 0);
        assert_eq!(cache.read(&prompt(&[("a", 500), ("d", 100)]), 2), 500);
    }

    #[test]
    fn a_conversation_that_goes_on_hits_its_whole_last_turn() {
        let mut cache = deepseek();
        cache.read(&prompt(&[("a", 300)]), 0);
        cache.answered(&prompt(&[("a", 300), ("answer", 80)]), 1);
        assert_eq!(
            cache.read(&prompt(&[("a", 300), ("answer", 80), ("b", 20)]), 2),
            380
        );
        // Whoever changes the last word of the answer falls back to the end of the input.
        assert_eq!(
            cache.read(&prompt(&[("a", 300), ("answer", 79), ("b", 20)]), 3),
            300
        );
    }

    #[test]
    fn a_long_text_is_stored_at_intervals_too() {
        let mut cache = deepseek();
        cache.read(&prompt(&[("a", 10_000)]), 0);
        assert_eq!(cache.read(&prompt(&[("a", 9_000), ("b", 9)]), 1), 8_192);
    }

    #[test]
    fn units_die_when_unused_and_short_ones_are_never_stored() {
        let mut cache = deepseek();
        cache.read(&prompt(&[("a", 300)]), 0);
        assert_eq!(cache.read(&prompt(&[("a", 300), ("b", 1)]), 3_600), 300);
        assert_eq!(cache.read(&prompt(&[("a", 300), ("c", 1)]), 7_200), 300);
        assert_eq!(cache.read(&prompt(&[("a", 300), ("d", 1)]), 10_801), 0);
        cache.read(&prompt(&[("s", 63)]), 0);
        assert_eq!(cache.read(&prompt(&[("s", 63), ("t", 1)]), 1), 0);
    }

    #[test]
    fn blocks_hit_whole_and_never_the_last_token() {
        let mut cache = Cache::new(CacheModel::blocks(64, 64, 300));
        assert_eq!(cache.read(&prompt(&[("a", 128)]), 0), 0);
        assert_eq!(cache.read(&prompt(&[("a", 128)]), 1), 64);
        assert_eq!(cache.read(&prompt(&[("a", 128), ("b", 1)]), 2), 128);
        assert_eq!(cache.read(&prompt(&[("a", 100), ("b", 50)]), 3), 64);
        assert_eq!(cache.read(&prompt(&[("a", 128), ("c", 1)]), 400), 0);
    }

    #[test]
    fn a_prefix_below_the_minimum_is_no_hit() {
        let mut cache = Cache::new(CacheModel::blocks(128, 1_024, 300));
        cache.read(&prompt(&[("a", 1_500)]), 0);
        assert_eq!(cache.read(&prompt(&[("a", 900), ("b", 600)]), 1), 0);
        assert_eq!(cache.read(&prompt(&[("a", 1_300), ("b", 600)]), 2), 1_280);
    }

    #[test]
    fn a_host_without_a_cache_never_hits() {
        let mut cache = Cache::new(CacheModel::None);
        cache.read(&prompt(&[("a", 500)]), 0);
        assert_eq!(cache.read(&prompt(&[("a", 500)]), 1), 0);
    }
}
