//! An entry as bytes, and back: what stands in the payload of a frame (`segment.rs`).
//!
//! ```text
//! payload := kind(1: 1 intent, 2 settled) id(16) request(16) key(16) attempt
//!            organisation team project tags surface host account region model host_model catalog decision
//!            started(8) ended billed first_byte host_request window
//!            cache_miss cache_hit cache_write reasoning visible
//!            counted_by(1) outcome(1) price(1: 0 unpriced, 1 priced, 2 provisional) [cost list spread]
//! ```
//!
//! Integers are LEB128; signed ones zigzag first. Texts are a length and UTF-8. Instants are
//! microseconds: `started` in full, the others as differences from it. What may be absent
//! (`first_byte`, `host_request`, `window`) starts with a byte 0 or 1. The layout never changes
//! within a format version of the segment.

use std::sync::Arc;

use uuid::Uuid;

use super::SpoolError;
use crate::chat::{CountedBy, Tokens, Usage};
use crate::id::{
    AccountName, CatalogVersion, EntryId, HostName, KeyId, ModelName, OrganisationName,
    ProjectName, RegionName, RequestId, TeamName, WindowId,
};
use crate::ledger::{Entry, Outcome, Payer, Place, Price};
use crate::money::Money;
use crate::time;

/// The largest payload: an entry is some 1 KB, its decision the most of it.
pub(super) const LARGEST: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The entry as it would stand if we died now.
    Intent,
    /// The entry as it is.
    Settled,
}

/// A payload that was written whole but is no entry of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no entry of this format: {0}")]
pub(super) struct NotAnEntry(&'static str);

/// Appends the payload of `entry`.
pub(super) fn encode(kind: Kind, entry: &Entry, out: &mut Vec<u8>) -> Result<(), SpoolError> {
    let start = out.len();
    out.push(match kind {
        Kind::Intent => 1,
        Kind::Settled => 2,
    });
    out.extend_from_slice(entry.id.uuid().as_bytes());
    out.extend_from_slice(entry.request.uuid().as_bytes());
    out.extend_from_slice(entry.payer.key.uuid().as_bytes());
    put_number(out, u64::from(entry.attempt));
    for text in [
        entry.payer.organisation.as_str(),
        entry.payer.team.as_str(),
        entry.payer.project.as_str(),
        &entry.tags,
        &entry.surface,
        entry.place.host.as_str(),
        entry.place.account.as_str(),
        entry.place.region.as_str(),
        entry.place.model.as_str(),
        &entry.place.host_model,
        entry.catalog.as_str(),
        &entry.decision,
    ] {
        put_text(out, text);
    }
    let started = time::to_cell(entry.started);
    out.extend_from_slice(&started.to_le_bytes());
    put_difference(out, started, time::to_cell(entry.ended));
    put_difference(out, started, time::to_cell(entry.billed));
    if put_whether(out, entry.first_byte.is_some())
        && let Some(instant) = entry.first_byte
    {
        put_difference(out, started, time::to_cell(instant));
    }
    if put_whether(out, entry.host_request.is_some())
        && let Some(id) = &entry.host_request
    {
        put_text(out, id);
    }
    if put_whether(out, entry.window.is_some())
        && let Some(window) = &entry.window
    {
        put_text(out, window.as_str());
    }
    let usage = &entry.usage;
    for count in [
        usage.cache_miss,
        usage.cache_hit,
        usage.cache_write,
        usage.reasoning,
        usage.visible,
    ] {
        put_number(out, count.get());
    }
    out.push(counted_by_byte(entry.counted_by));
    out.push(outcome_byte(entry.outcome));
    match entry.price {
        Price::Unpriced => out.push(0),
        Price::Priced {
            cost,
            list,
            spread,
            provisional,
        } => {
            out.push(if provisional { 2 } else { 1 });
            for amount in [cost, list, spread] {
                // An amount that no cell holds would be refused by the database for ever.
                let cell = amount.to_cell().ok_or_else(|| {
                    out.truncate(start);
                    SpoolError::Amount(amount)
                })?;
                put_number(out, zigzag(cell));
            }
        }
    }
    let bytes = out.len() - start;
    if bytes > LARGEST {
        out.truncate(start);
        return Err(SpoolError::TooLarge {
            bytes,
            limit: LARGEST,
        });
    }
    Ok(())
}

/// Kind and id alone: enough to follow what is open.
pub(super) fn peek(payload: &[u8]) -> Result<(Kind, EntryId), NotAnEntry> {
    let mut rest = payload;
    let kind = take_kind(&mut rest)?;
    Ok((kind, EntryId::from_uuid(take_uuid(&mut rest)?)))
}

/// Texts read lately, so that the same text is one allocation however many entries hold it. A table
/// of fixed size in which a newer text takes the place of an older one.
pub(super) struct Texts(Vec<Option<Arc<str>>>);

impl Default for Texts {
    fn default() -> Self {
        Texts(vec![None; 256])
    }
}

impl Texts {
    /// Longer texts (decisions) are hardly ever alike.
    const LONGEST: usize = 64;

    fn share(&mut self, text: &str) -> Arc<str> {
        if text.len() > Texts::LONGEST {
            return Arc::from(text);
        }
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let slot = &mut self.0[(hash >> 32) as usize % 256];
        match slot {
            Some(known) if **known == *text => known.clone(),
            _ => slot.insert(Arc::from(text)).clone(),
        }
    }
}

pub(super) fn decode(payload: &[u8], texts: &mut Texts) -> Result<(Kind, Entry), NotAnEntry> {
    let mut rest = payload;
    let from = &mut rest;
    let kind = take_kind(from)?;
    let id = EntryId::from_uuid(take_uuid(from)?);
    let request = RequestId::from_uuid(take_uuid(from)?);
    let key = KeyId::from_uuid(take_uuid(from)?);
    let attempt = u16::try_from(take_number(from)?).map_err(|_| NotAnEntry("attempt"))?;
    let organisation = OrganisationName::new(texts.share(take_text(from)?));
    let team = TeamName::new(texts.share(take_text(from)?));
    let project = ProjectName::new(texts.share(take_text(from)?));
    let tags = texts.share(take_text(from)?);
    let surface = texts.share(take_text(from)?);
    let host = HostName::new(texts.share(take_text(from)?));
    let account = AccountName::new(texts.share(take_text(from)?));
    let region = RegionName::new(texts.share(take_text(from)?));
    let model = ModelName::new(texts.share(take_text(from)?));
    let host_model = texts.share(take_text(from)?);
    let catalog = CatalogVersion::new(texts.share(take_text(from)?));
    let decision = texts.share(take_text(from)?);
    let started = i64::from_le_bytes(take_array(from)?);
    let ended = take_difference(from, started)?;
    let billed = take_difference(from, started)?;
    let first_byte = if take_whether(from)? {
        Some(take_difference(from, started)?)
    } else {
        None
    };
    let host_request = if take_whether(from)? {
        Some(Arc::from(take_text(from)?))
    } else {
        None
    };
    let window = if take_whether(from)? {
        Some(WindowId::new(texts.share(take_text(from)?)))
    } else {
        None
    };
    let mut count = || take_number(from).map(Tokens::new);
    let usage = Usage {
        cache_miss: count()?,
        cache_hit: count()?,
        cache_write: count()?,
        reasoning: count()?,
        visible: count()?,
    };
    let counted_by = counted_by_of(take_byte(from)?)?;
    let outcome = outcome_of(take_byte(from)?)?;
    let price = match take_byte(from)? {
        0 => Price::Unpriced,
        state @ (1 | 2) => {
            let mut amount = || take_number(from).map(|coded| Money::from_cell(unzigzag(coded)));
            Price::Priced {
                cost: amount()?,
                list: amount()?,
                spread: amount()?,
                provisional: state == 2,
            }
        }
        _ => return Err(NotAnEntry("price")),
    };
    if !rest.is_empty() {
        return Err(NotAnEntry("bytes after its end"));
    }
    let entry = Entry {
        id,
        request,
        attempt,
        payer: Payer {
            organisation,
            team,
            project,
            key,
        },
        tags,
        surface,
        place: Place {
            host,
            account,
            region,
            model,
            host_model,
        },
        started: time::from_cell(started),
        first_byte: first_byte.map(time::from_cell),
        ended: time::from_cell(ended),
        billed: time::from_cell(billed),
        host_request,
        usage,
        counted_by,
        outcome,
        catalog,
        window,
        price,
        decision,
    };
    Ok((kind, entry))
}

// The bytes of these two stand on disks: a new variant gets a new number, none is given twice.

fn counted_by_byte(counted_by: CountedBy) -> u8 {
    match counted_by {
        CountedBy::Reported => 0,
        CountedBy::Drained => 1,
        CountedBy::Counted => 2,
        CountedBy::Estimated => 3,
        CountedBy::Nothing => 4,
    }
}

fn counted_by_of(byte: u8) -> Result<CountedBy, NotAnEntry> {
    Ok(match byte {
        0 => CountedBy::Reported,
        1 => CountedBy::Drained,
        2 => CountedBy::Counted,
        3 => CountedBy::Estimated,
        4 => CountedBy::Nothing,
        _ => return Err(NotAnEntry("counted_by")),
    })
}

fn outcome_byte(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Answered => 0,
        Outcome::Left => 1,
        Outcome::Cut => 2,
        Outcome::Refused => 3,
        Outcome::Failed => 4,
        Outcome::TimedOut => 5,
        Outcome::Lost => 6,
    }
}

fn outcome_of(byte: u8) -> Result<Outcome, NotAnEntry> {
    Outcome::ALL
        .into_iter()
        .find(|outcome| outcome_byte(*outcome) == byte)
        .ok_or(NotAnEntry("outcome"))
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_difference(out: &mut Vec<u8>, base: i64, value: i64) {
    put_number(out, zigzag(value.wrapping_sub(base)));
}

fn put_whether(out: &mut Vec<u8>, present: bool) -> bool {
    out.push(u8::from(present));
    present
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(coded: u64) -> i64 {
    (coded >> 1).cast_signed() ^ -((coded & 1).cast_signed())
}

fn take_byte(from: &mut &[u8]) -> Result<u8, NotAnEntry> {
    let (first, rest) = from.split_first().ok_or(NotAnEntry("too short"))?;
    *from = rest;
    Ok(*first)
}

fn take_array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], NotAnEntry> {
    let (first, rest) = from.split_first_chunk().ok_or(NotAnEntry("too short"))?;
    *from = rest;
    Ok(*first)
}

fn take_uuid(from: &mut &[u8]) -> Result<Uuid, NotAnEntry> {
    Ok(Uuid::from_bytes(take_array(from)?))
}

fn take_kind(from: &mut &[u8]) -> Result<Kind, NotAnEntry> {
    match take_byte(from)? {
        1 => Ok(Kind::Intent),
        2 => Ok(Kind::Settled),
        _ => Err(NotAnEntry("kind")),
    }
}

fn take_number(from: &mut &[u8]) -> Result<u64, NotAnEntry> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(from)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(NotAnEntry("a number beyond 64 bits"))
}

fn take_text<'a>(from: &mut &'a [u8]) -> Result<&'a str, NotAnEntry> {
    let length = usize::try_from(take_number(from)?).map_err(|_| NotAnEntry("too short"))?;
    let (text, rest) = from
        .split_at_checked(length)
        .ok_or(NotAnEntry("too short"))?;
    *from = rest;
    std::str::from_utf8(text).map_err(|_| NotAnEntry("text that is not UTF-8"))
}

fn take_difference(from: &mut &[u8], base: i64) -> Result<i64, NotAnEntry> {
    take_number(from).map(|coded| base.wrapping_add(unzigzag(coded)))
}

fn take_whether(from: &mut &[u8]) -> Result<bool, NotAnEntry> {
    match take_byte(from)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(NotAnEntry("neither there nor absent")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::sample;

    proptest! {
        #[test]
        fn an_entry_survives_being_written_and_read(entry in sample::any_entry()) {
            for kind in [Kind::Intent, Kind::Settled] {
                let mut bytes = Vec::new();
                encode(kind, &entry, &mut bytes).expect("an entry of usual size");
                prop_assert_eq!(peek(&bytes), Ok((kind, entry.id)));
                prop_assert_eq!(decode(&bytes, &mut Texts::default()), Ok((kind, entry.clone())));
            }
        }

        #[test]
        fn bytes_that_are_no_entry_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes, &mut Texts::default());
        }

        #[test]
        fn a_shortened_entry_is_refused(entry in sample::any_entry(), keep in any::<proptest::sample::Index>()) {
            let mut bytes = Vec::new();
            encode(Kind::Settled, &entry, &mut bytes).expect("an entry of usual size");
            let keep = keep.index(bytes.len());
            prop_assert!(decode(&bytes[..keep], &mut Texts::default()).is_err());
        }
    }

    #[test]
    fn an_entry_that_no_database_could_hold_is_refused_at_once() {
        let mut entry = sample::entry(1);
        entry.price = Price::Priced {
            cost: Money::from_picodollars(i128::from(i64::MAX) + 1),
            list: Money::ZERO,
            spread: Money::ZERO,
            provisional: false,
        };
        let mut bytes = vec![7];
        assert!(matches!(
            encode(Kind::Intent, &entry, &mut bytes),
            Err(SpoolError::Amount(_))
        ));
        assert_eq!(bytes, [7], "nothing of it is left");

        let mut entry = sample::entry(1);
        entry.decision = "x".repeat(LARGEST).into();
        assert!(matches!(
            encode(Kind::Intent, &entry, &mut bytes),
            Err(SpoolError::TooLarge { .. })
        ));
        assert_eq!(bytes, [7], "nothing of it is left");
    }
}
