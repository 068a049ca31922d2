//! Things kept for a while: sealed, up to so many bytes in all and for each organisation, the oldest
//! forgotten first.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use crate::id::OrganisationName;
use crate::time::Timestamp;

/// What a thing is found by: a keyed digest, so that names of organisations and calls are not here.
pub(super) type Label = [u8; 32];

#[derive(Debug)]
pub(super) struct Shelf {
    limit_bytes: usize,
    lifetime: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    things: HashMap<Label, Thing>,
    /// In the order in which they were put there; some have been replaced since.
    order: VecDeque<(Timestamp, Label)>,
    bytes: usize,
    /// Bytes of each organisation.
    shares: HashMap<OrganisationName, usize>,
}

#[derive(Debug)]
struct Thing {
    at: Timestamp,
    owner: OrganisationName,
    sealed: Vec<u8>,
}

/// A thing costs this beside its own bytes.
const OVERHEAD: usize = 200;

impl Shelf {
    pub(super) fn new(limit_bytes: usize, lifetime: Duration) -> Self {
        Shelf {
            limit_bytes,
            lifetime,
            inner: Mutex::default(),
        }
    }

    /// Keeps a thing, unless its owner has a quarter of the shelf already.
    pub(super) fn put(
        &self,
        label: Label,
        owner: &OrganisationName,
        sealed: Vec<u8>,
        now: Timestamp,
    ) {
        let size = sealed.len() + OVERHEAD;
        let mut inner = self.inner.lock();
        inner.remove(&label);
        inner.forget(now, self.lifetime, self.limit_bytes.saturating_sub(size));
        let share = inner.shares.entry(owner.clone()).or_default();
        if *share + size > self.limit_bytes / 4 {
            return;
        }
        *share += size;
        inner.bytes += size;
        inner.order.push_back((now, label));
        inner.things.insert(
            label,
            Thing {
                at: now,
                owner: owner.clone(),
                sealed,
            },
        );
    }

    pub(super) fn get(&self, label: &Label, now: Timestamp) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        let thing = inner.things.get(label)?;
        (!is_old(thing.at, now, self.lifetime)).then(|| thing.sealed.clone())
    }

    pub(super) fn remove(&self, label: &Label) -> bool {
        self.inner.lock().remove(label)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

fn is_old(at: Timestamp, now: Timestamp, lifetime: Duration) -> bool {
    Duration::try_from(now.duration_since(at)).is_ok_and(|age| age > lifetime)
}

impl Inner {
    fn remove(&mut self, label: &Label) -> bool {
        let Some(thing) = self.things.remove(label) else {
            return false;
        };
        let size = thing.sealed.len() + OVERHEAD;
        self.bytes -= size;
        if let Some(share) = self.shares.get_mut(&thing.owner) {
            *share -= size;
            if *share == 0 {
                self.shares.remove(&thing.owner);
            }
        }
        true
    }

    fn forget(&mut self, now: Timestamp, lifetime: Duration, limit_bytes: usize) {
        while let Some((at, label)) = self.order.front().copied() {
            if !is_old(at, now, lifetime) && self.bytes <= limit_bytes {
                return;
            }
            self.order.pop_front();
            // A newer one under the same label has its own place in the order.
            if self.things.get(&label).is_some_and(|thing| thing.at == at) {
                self.remove(&label);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("an instant")
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_nothing_outlives_its_time() {
        let shelf = Shelf::new(8 * (OVERHEAD + 100), Duration::from_secs(60));
        let owners: Vec<OrganisationName> =
            (0..5).map(|n| format!("o{n}").as_str().into()).collect();
        for n in 0..10_u8 {
            shelf.put(
                [n; 32],
                &owners[usize::from(n) % 5],
                vec![n; 100],
                at(i64::from(n)),
            );
        }
        assert_eq!(shelf.get(&[0; 32], at(10)), None, "pushed out");
        assert_eq!(shelf.get(&[9; 32], at(10)), Some(vec![9; 100]));
        assert!(shelf.bytes() <= 8 * (OVERHEAD + 100));
        assert_eq!(shelf.get(&[9; 32], at(70)), None, "too old");
    }

    #[test]
    fn one_organisation_cannot_push_out_the_others() {
        let shelf = Shelf::new(4 * (OVERHEAD + 100), Duration::from_secs(60));
        shelf.put([1; 32], &"small".into(), vec![1; 100], at(1));
        for n in 10..100_u8 {
            shelf.put([n; 32], &"greedy".into(), vec![n; 100], at(2));
        }
        assert_eq!(shelf.get(&[1; 32], at(3)), Some(vec![1; 100]));
    }

    #[test]
    fn replacing_and_removing_gives_the_room_back() {
        let shelf = Shelf::new(1 << 20, Duration::from_secs(60));
        for _ in 0..10 {
            shelf.put([1; 32], &"a".into(), vec![0; 100], at(1));
        }
        assert_eq!(shelf.bytes(), OVERHEAD + 100);
        assert!(shelf.remove(&[1; 32]));
        assert_eq!(shelf.bytes(), 0);
    }
}
