//! Entries for tests.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Entry, Outcome, Payer, Place, Price};
use crate::chat::{CountedBy, Tokens, Usage};
use crate::id::{EntryId, KeyId, RequestId};
use crate::money::Money;
use crate::time::{self, Timestamp};

/// 2026-11-24T12:00:00Z.
pub(crate) const NOON: i64 = 1_795_521_600_000_000;

pub(crate) fn noon() -> Timestamp {
    time::from_cell(NOON)
}

/// A usual entry, `n` microseconds after noon, whose counts and costs depend on `n`.
pub(crate) fn entry(n: u32) -> Entry {
    let n64 = u64::from(n);
    let at = |offset: i64| time::from_cell(NOON + i64::from(n) + offset);
    Entry {
        id: EntryId::new(),
        request: RequestId::new(),
        attempt: 1,
        payer: Payer {
            organisation: "acme".into(),
            team: "search".into(),
            project: "ranking".into(),
            key: KeyId::from_uuid(uuid::Uuid::from_u128(7)),
        },
        tags: Arc::from("eu,soc2"),
        surface: Arc::from("openai_chat"),
        place: Place {
            host: "deepseek".into(),
            account: "default".into(),
            region: "global".into(),
            model: "deepseek-v4-pro".into(),
            host_model: Arc::from("deepseek-v4-pro"),
        },
        started: at(0),
        first_byte: Some(at(350_000)),
        ended: at(2_000_000),
        billed: at(0),
        host_request: Some(Arc::from("req_0123456789")),
        usage: Usage {
            cache_miss: Tokens::new(1_000 + n64),
            cache_hit: Tokens::new(9_000),
            cache_write: Tokens::ZERO,
            reasoning: Tokens::new(300),
            visible: Tokens::new(200),
        },
        counted_by: CountedBy::Reported,
        outcome: Outcome::Answered,
        catalog: "6f1ed002ab559585".into(),
        window: Some("deepseek-v4-pro/2026-08-22/peak".into()),
        price: Price::Priced {
            cost: Money::from_cell(902_625_000 + i64::from(n)),
            list: Money::from_cell(1_805_250_000 + i64::from(n)),
            spread: Money::from_cell(1_200_000_000 + i64::from(n)),
            provisional: false,
        },
        decision: Arc::from(
            r#"{"ranked":[{"backend":"deepseek/default/global/deepseek-v4-pro","cost":"0.000902"},{"backend":"bedrock/default/eu-north-1/deepseek-v4-pro","cost":"0.001411"},{"backend":"fireworks/default/global/deepseek-v4-pro","cost":"0.001630"}],"rejected":[{"backend":"siliconflow/default/global/deepseek-v4-pro","lacks":["soc2"]}],"because":"cheapest; cache affinity 0.91"}"#,
        ),
    }
}

/// The same entry before anything of it is known but an estimate.
pub(crate) fn intent_of(entry: &Entry) -> Entry {
    Entry {
        first_byte: None,
        ended: entry.started,
        host_request: None,
        counted_by: CountedBy::Estimated,
        outcome: Outcome::Lost,
        ..entry.clone()
    }
}

/// Any entry that a spool takes: instants to the microsecond, amounts within a cell, no NUL.
pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
    let text = "[^\u{0}]{0,24}";
    let instant = -60_000_000_000_000_000_i64..250_000_000_000_000_000;
    let texts = proptest::collection::vec(text, 12);
    let counts = proptest::collection::vec(0..1_u64 << 62, 5);
    let ids = (any::<u128>(), any::<u128>(), any::<u128>(), any::<u16>());
    let instants = (
        instant.clone(),
        proptest::option::of(instant.clone()),
        instant.clone(),
        instant,
    );
    let price = proptest::option::of((any::<i64>(), any::<i64>(), any::<i64>(), any::<bool>()));
    let rest = (
        proptest::option::of(text),
        proptest::option::of(text),
        0..Outcome::ALL.len(),
        0..5_usize,
    );
    (ids, texts, instants, counts, price, rest).prop_map(
        |(ids, texts, instants, counts, price, (host_request, window, outcome, counted_by))| {
            let mut entry = entry(0);
            let uuid = uuid::Uuid::from_u128;
            entry.id = EntryId::from_uuid(uuid(ids.0));
            entry.request = RequestId::from_uuid(uuid(ids.1));
            entry.payer.key = KeyId::from_uuid(uuid(ids.2));
            entry.attempt = ids.3;
            let text = |index: usize| Arc::<str>::from(texts[index].as_str());
            entry.payer.organisation = texts[0].as_str().into();
            entry.payer.team = texts[1].as_str().into();
            entry.payer.project = texts[2].as_str().into();
            entry.tags = text(3);
            entry.surface = text(4);
            entry.place.host = texts[5].as_str().into();
            entry.place.account = texts[6].as_str().into();
            entry.place.region = texts[7].as_str().into();
            entry.place.model = texts[8].as_str().into();
            entry.place.host_model = text(9);
            entry.catalog = texts[10].as_str().into();
            entry.decision = text(11);
            entry.started = time::from_cell(instants.0);
            entry.first_byte = instants.1.map(time::from_cell);
            entry.ended = time::from_cell(instants.2);
            entry.billed = time::from_cell(instants.3);
            entry.host_request = host_request.map(Arc::from);
            entry.window = window.map(|window| window.as_str().into());
            let mut counts = counts.into_iter().map(Tokens::new);
            let mut count = || counts.next().expect("five counts");
            entry.usage = Usage {
                cache_miss: count(),
                cache_hit: count(),
                cache_write: count(),
                reasoning: count(),
                visible: count(),
            };
            entry.outcome = Outcome::ALL[outcome];
            entry.counted_by = [
                CountedBy::Reported,
                CountedBy::Drained,
                CountedBy::Counted,
                CountedBy::Estimated,
                CountedBy::Nothing,
            ][counted_by];
            entry.price = match price {
                None => Price::Unpriced,
                Some((cost, list, spread, provisional)) => Price::Priced {
                    cost: Money::from_cell(cost),
                    list: Money::from_cell(list),
                    spread: Money::from_cell(spread),
                    provisional,
                },
            };
            entry
        },
    )
}
