//! Thinking, kept in memory for the next request of its conversation. Hosts demand it back with tool
//! calls, and callers drop it. Sealed, bounded in all, for each organisation and for each turn, the
//! oldest first to go; a restart forgets it.
//!
//! A turn is found by its calls (id, name, arguments), else by what is visible of it in a
//! conversation that opened with the same words of the user. A key that two different turns share
//! (hosts that count calls from `call_0` in each conversation; the same words said twice) names
//! neither of them: a thought in the wrong place would be worse than none.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::SignedDuration;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::cipher::Cipher;
use super::turn_keys::{Opening, TurnKey, TurnKeys};
use crate::access::Pepper;
use crate::chat::{Said, Turn};
use crate::id::OrganisationName;
use crate::settings::HistorySettings;
use crate::time::Timestamp;

/// What a kept turn takes beside its thinking, and each of its keys: nodes of maps and allocations.
const TURN_BYTES: usize = 192;
const KEY_BYTES: usize = 64;
/// A turn of more calls than this is found by the first of them.
const MOST_KEYS: usize = 32;
/// Turns past their lifetime that one new turn clears away at most, so that none waits long.
const CLEARED_AT_ONCE: usize = 64;

pub struct Reasoning {
    keys: TurnKeys,
    cipher: Cipher,
    bytes: usize,
    share: usize,
    item: usize,
    lifetime: SignedDuration,
    shelves: Mutex<Shelves>,
}

/// What was put back, of the turns that lacked it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub found: usize,
    pub missing: usize,
}

/// What is held, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub turns: usize,
    pub bytes: usize,
}

#[derive(Default)]
struct Shelves {
    /// By the order in which they came.
    turns: BTreeMap<u64, Kept>,
    next: u64,
    bytes: usize,
    index: HashMap<TurnKey, Place>,
    tenants: HashMap<OrganisationName, Shelf>,
}

/// One organisation's part.
#[derive(Default)]
struct Shelf {
    bytes: usize,
    /// Its turns, oldest first.
    order: VecDeque<u64>,
}

struct Kept {
    tenant: OrganisationName,
    at: Timestamp,
    sealed: Arc<[u8]>,
    whole: TurnKey,
    keys: SmallVec<[TurnKey; 4]>,
    bytes: usize,
}

/// Where a key leads.
struct Place {
    /// The newest turn that has it.
    turn: u64,
    /// Another one had it before.
    shared: bool,
}

impl Reasoning {
    pub fn new(pepper: &Pepper, settings: &HistorySettings) -> Self {
        let share = settings.reasoning_bytes / 100 * usize::from(settings.reasoning_share.min(100));
        Reasoning {
            keys: TurnKeys::new(pepper),
            cipher: Cipher::new(pepper, "tollgate 2026-11 reasoning kept in memory"),
            bytes: settings.reasoning_bytes,
            share,
            item: settings.reasoning_item_bytes,
            lifetime: SignedDuration::try_from(settings.reasoning_lifetime)
                .unwrap_or(SignedDuration::MAX),
            shelves: Mutex::default(),
        }
    }

    /// What tells this conversation from others; `None` if no user spoke in it.
    pub fn opening(&self, turns: &[Turn]) -> Option<Opening> {
        self.keys.of_opening(turns)
    }

    /// Keeps the thinking of a turn that was just said. `opening`: of its conversation; without it
    /// the turn is found by its calls alone. False where there is no thinking, where it is larger
    /// than may be kept, or where there is nothing by which the turn could be found.
    pub fn keep(
        &self,
        tenant: &OrganisationName,
        opening: Option<&Opening>,
        said: &Said,
        now: Timestamp,
    ) -> bool {
        let Some(reasoning) = said.reasoning.as_deref().filter(|text| !text.is_empty()) else {
            return false;
        };
        let calls = said.calls.iter().take(MOST_KEYS);
        let mut keys: SmallVec<[TurnKey; 4]> = calls
            .filter_map(|call| self.keys.of_call(tenant, call))
            .collect();
        keys.extend(opening.and_then(|opening| self.keys.of_content(tenant, opening, said)));
        keys.sort_unstable();
        keys.dedup();
        let bytes = reasoning.len() + TURN_BYTES + keys.len() * KEY_BYTES;
        if keys.is_empty() || reasoning.len() > self.item || bytes > self.share {
            return false;
        }
        let Ok(sealed) = self.cipher.seal(&[tenant.as_str()], reasoning.as_bytes()) else {
            return false;
        };
        let kept = Kept {
            tenant: tenant.clone(),
            at: now,
            sealed: sealed.into(),
            whole: self.keys.of_whole(said, reasoning),
            keys,
            bytes,
        };
        let mut shelves = self.shelves.lock();
        shelves.clear_until(self.before(now), CLEARED_AT_ONCE);
        shelves.add(kept);
        while shelves
            .tenants
            .get(tenant)
            .is_some_and(|shelf| shelf.bytes > self.share)
        {
            shelves.drop_oldest_of(tenant);
        }
        while shelves.bytes > self.bytes && shelves.drop_oldest() {}
        true
    }

    /// The thinking of a turn that came back without it.
    pub fn recall(
        &self,
        tenant: &OrganisationName,
        opening: Option<&Opening>,
        said: &Said,
        now: Timestamp,
    ) -> Option<String> {
        let calls = said.calls.iter().take(MOST_KEYS);
        let by_call: SmallVec<[TurnKey; 4]> = calls
            .filter_map(|call| self.keys.of_call(tenant, call))
            .collect();
        let by_content = opening.and_then(|opening| self.keys.of_content(tenant, opening, said));
        let sealed = {
            let shelves = self.shelves.lock();
            let turn = match shelves.agreed(&by_call) {
                Agreed::On(turn) => turn,
                // Calls of different turns in one: nobody said that.
                Agreed::Never => return None,
                Agreed::Unknown => shelves.only(&by_content?)?,
            };
            let kept = shelves.turns.get(&turn)?;
            if kept.at < self.before(now) {
                return None;
            }
            kept.sealed.clone()
        };
        String::from_utf8(self.cipher.open(&[tenant.as_str()], &sealed)?).ok()
    }

    /// Puts thinking back into the turns of the assistant that lack it.
    pub fn restore(
        &self,
        tenant: &OrganisationName,
        turns: &mut [Turn],
        now: Timestamp,
    ) -> Restored {
        let opening = self.opening(turns);
        let mut restored = Restored::default();
        for turn in turns {
            let Turn::Assistant(said) = turn else {
                continue;
            };
            if said
                .reasoning
                .as_deref()
                .is_some_and(|text| !text.is_empty())
            {
                continue;
            }
            match self.recall(tenant, opening.as_ref(), said, now) {
                Some(reasoning) => {
                    said.reasoning = Some(reasoning);
                    restored.found += 1;
                }
                None => restored.missing += 1,
            }
        }
        restored
    }

    /// Clears away what is past its lifetime; gateways that stand idle need it.
    pub fn purge(&self, now: Timestamp) {
        let before = self.before(now);
        // A part at a time: nobody waits for all of it.
        while self.shelves.lock().clear_until(before, CLEARED_AT_ONCE) == CLEARED_AT_ONCE {}
    }

    pub fn held(&self) -> Held {
        let shelves = self.shelves.lock();
        Held {
            turns: shelves.turns.len(),
            bytes: shelves.bytes,
        }
    }

    /// What was kept before this instant is past its lifetime.
    fn before(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.lifetime).unwrap_or(Timestamp::MIN)
    }
}

/// Where the ids of a turn's calls lead.
enum Agreed {
    On(u64),
    Unknown,
    Never,
}

impl Shelves {
    fn add(&mut self, kept: Kept) {
        let turn = self.next;
        self.next += 1;
        for key in &kept.keys {
            let shared = self.index.get(key).is_some_and(|place| {
                place.shared
                    || self
                        .turns
                        .get(&place.turn)
                        .is_some_and(|other| other.whole != kept.whole)
            });
            self.index.insert(*key, Place { turn, shared });
        }
        let shelf = self.tenants.entry(kept.tenant.clone()).or_default();
        shelf.bytes += kept.bytes;
        shelf.order.push_back(turn);
        self.bytes += kept.bytes;
        self.turns.insert(turn, kept);
    }

    fn only(&self, key: &TurnKey) -> Option<u64> {
        let place = self.index.get(key)?;
        (!place.shared).then_some(place.turn)
    }

    fn agreed(&self, keys: &[TurnKey]) -> Agreed {
        let mut agreed = Agreed::Unknown;
        for key in keys {
            agreed = match (self.only(key), agreed) {
                (None, agreed) => agreed,
                (Some(turn), Agreed::Unknown) => Agreed::On(turn),
                (Some(turn), Agreed::On(other)) if turn == other => Agreed::On(turn),
                _ => return Agreed::Never,
            };
        }
        agreed
    }

    fn clear_until(&mut self, before: Timestamp, most: usize) -> usize {
        let mut cleared = 0;
        while cleared < most
            && self
                .turns
                .first_key_value()
                .is_some_and(|(_, kept)| kept.at < before)
        {
            self.drop_oldest();
            cleared += 1;
        }
        cleared
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, oldest)) = self.turns.first_key_value() else {
            return false;
        };
        // The oldest of all is the oldest of its organisation.
        let tenant = oldest.tenant.clone();
        self.drop_oldest_of(&tenant);
        true
    }

    fn drop_oldest_of(&mut self, tenant: &OrganisationName) {
        let Some(shelf) = self.tenants.get_mut(tenant) else {
            return;
        };
        let turn = shelf.order.pop_front();
        let Some((turn, kept)) = turn.and_then(|turn| Some((turn, self.turns.remove(&turn)?)))
        else {
            return;
        };
        shelf.bytes -= kept.bytes;
        if shelf.order.is_empty() {
            self.tenants.remove(tenant);
        }
        self.bytes -= kept.bytes;
        for key in &kept.keys {
            if self.index.get(key).is_some_and(|place| place.turn == turn) {
                self.index.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
