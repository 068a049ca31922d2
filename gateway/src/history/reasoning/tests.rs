//! Kept reasoning: sealed to its tenant and turn, put back whole or not at all, and gone in time.

use std::time::Duration;

use proptest::prelude::*;

use super::super::cipher::tests::pepper;
use super::*;
use crate::chat::Call;
use crate::ledger::sample::noon;

fn acme() -> OrganisationName {
    OrganisationName::from("acme")
}

fn kept(settings: &HistorySettings) -> Reasoning {
    Reasoning::new(&pepper("ab"), settings)
}

fn after(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

fn said(reasoning: &str, text: &str, calls: &[(&str, &str)]) -> Said {
    Said {
        reasoning: Some(reasoning.into()),
        text: text.into(),
        calls: calls
            .iter()
            .map(|(id, arguments)| Call {
                id: (*id).into(),
                name: "look".into(),
                arguments: (*arguments).into(),
            })
            .collect(),
        unfinished: false,
    }
}

fn without(mut said: Said) -> Said {
    said.reasoning = None;
    said
}

/// A gateway that keeps thinking, seen from one conversation of acme.
struct Talk<'a> {
    reasoning: &'a Reasoning,
    opening: Option<Opening>,
}

impl Talk<'_> {
    fn of<'a>(reasoning: &'a Reasoning, first: &str) -> Talk<'a> {
        let opening = reasoning.opening(&[Turn::user(first)]);
        Talk { reasoning, opening }
    }

    fn keep(&self, said: &Said) -> bool {
        self.reasoning
            .keep(&acme(), self.opening.as_ref(), said, noon())
    }

    fn recall(&self, said: &Said) -> Option<String> {
        self.recall_at(said, noon())
    }

    fn recall_at(&self, said: &Said, now: Timestamp) -> Option<String> {
        self.reasoning
            .recall(&acme(), self.opening.as_ref(), &without(said.clone()), now)
    }
}

#[test]
fn a_dropped_thought_is_put_back() {
    let reasoning = kept(&HistorySettings::default());
    let talk = Talk::of(&reasoning, "Is it empty?");
    let first = said("I should look.", "", &[("call_1", "{\"at\":1}")]);
    let last = said("Nothing there.", "It is empty.", &[]);
    assert!(talk.keep(&first) && talk.keep(&last));
    let mut turns = [
        Turn::system("Be brief."),
        Turn::user("Is it empty?"),
        Turn::Assistant(without(first.clone())),
        Turn::Assistant(without(last.clone())),
        Turn::Assistant(without(said("", "I never said this.", &[]))),
    ];
    let restored = reasoning.restore(&acme(), &mut turns, after(60));
    let expected = Restored {
        found: 2,
        missing: 1,
    };
    assert_eq!(restored, expected);
    assert_eq!(turns[2], Turn::Assistant(first));
    assert_eq!(turns[3], Turn::Assistant(last));
}

#[test]
fn a_turn_whose_text_was_changed_is_found_by_its_calls_and_one_whose_ids_were_changed_by_its_content()
 {
    let reasoning = kept(&HistorySettings::default());
    let talk = Talk::of(&reasoning, "Is it empty?");
    let turn = said(
        "hm",
        "Let me look.",
        &[("a", "{\"at\":1}"), ("b", "{\"at\":2}")],
    );
    talk.keep(&turn);
    let mut reworded = turn.clone();
    reworded.text = "(shortened)".into();
    assert_eq!(talk.recall(&reworded).as_deref(), Some("hm"));
    // Even where the conversation's beginning was cut off.
    let cut = Talk::of(&reasoning, "(summary)");
    assert_eq!(cut.recall(&reworded).as_deref(), Some("hm"));
    let mut renamed = turn;
    renamed.calls[0].id = "toolu_1".into();
    renamed.calls[1].id = String::new();
    assert_eq!(talk.recall(&renamed).as_deref(), Some("hm"));
    assert_eq!(cut.recall(&renamed), None);
}

#[test]
fn the_same_words_in_another_conversation_are_not_given_this_ones_thought() {
    let reasoning = kept(&HistorySettings::default());
    let (ours, theirs) = (Talk::of(&reasoning, "Ours"), Talk::of(&reasoning, "Theirs"));
    let plain = said("about us", "Done.", &[]);
    let call = said("about us", "", &[("call_a", "{\"cmd\":\"ls\"}")]);
    assert!(ours.keep(&plain) && ours.keep(&call));
    assert_eq!(theirs.recall(&plain), None);
    let mut same_words = call.clone();
    same_words.calls[0].id = "call_b".into();
    assert_eq!(theirs.recall(&same_words), None);
    assert_eq!(ours.recall(&same_words).as_deref(), Some("about us"));
}

#[test]
fn a_call_that_two_turns_share_names_neither_and_their_conversations_tell_them_apart() {
    let reasoning = kept(&HistorySettings::default());
    let (one, two) = (Talk::of(&reasoning, "One"), Talk::of(&reasoning, "Two"));
    let first = said("first", "", &[("call_0", "{\"city\":\"Rome\"}")]);
    let second = said("second", "", &[("call_0", "{\"city\":\"Rome\"}")]);
    assert!(one.keep(&first) && two.keep(&second));
    assert_eq!(one.recall(&first).as_deref(), Some("first"));
    assert_eq!(two.recall(&second).as_deref(), Some("second"));
    assert_eq!(Talk::of(&reasoning, "Three").recall(&first), None);
    // Twice in one conversation, with different thoughts: which is meant is not known.
    assert!(one.keep(&said("third", "", &[("call_0", "{\"city\":\"Rome\"}")])));
    assert_eq!(one.recall(&first), None);
    // The same once more is no other turn.
    assert!(two.keep(&second));
    assert_eq!(two.recall(&second).as_deref(), Some("second"));
}

#[test]
fn without_an_opening_a_turn_is_kept_and_found_by_its_calls_alone() {
    let reasoning = kept(&HistorySettings::default());
    let call = said("hm", "", &[("call_1", "{}")]);
    assert!(reasoning.keep(&acme(), None, &call, noon()));
    assert!(!reasoning.keep(&acme(), None, &said("hm", "Done.", &[]), noon()));
    assert_eq!(
        Talk::of(&reasoning, "x").recall(&call).as_deref(),
        Some("hm")
    );
}

#[test]
fn calls_of_two_turns_in_one_are_nobodys() {
    let reasoning = kept(&HistorySettings::default());
    let talk = Talk::of(&reasoning, "x");
    talk.keep(&said("first", "", &[("a", "{}")]));
    talk.keep(&said("second", "", &[("b", "{\"x\":1}")]));
    let forged = said("", "", &[("a", "{}"), ("b", "{\"x\":1}")]);
    assert_eq!(talk.recall(&forged), None);
}

#[test]
fn another_organisation_finds_nothing() {
    let reasoning = kept(&HistorySettings::default());
    let talk = Talk::of(&reasoning, "x");
    let turn = said("secret", "Done.", &[("call_1", "{}")]);
    talk.keep(&turn);
    let other = OrganisationName::from("other");
    let found = reasoning.recall(&other, talk.opening.as_ref(), &without(turn), noon());
    assert_eq!(found, None);
}

#[test]
fn a_thought_past_its_lifetime_is_forgotten_and_cleared_away() {
    let settings = HistorySettings {
        reasoning_lifetime: Duration::from_secs(60),
        ..HistorySettings::default()
    };
    let reasoning = kept(&settings);
    let talk = Talk::of(&reasoning, "x");
    let turn = said("hm", "", &[("call_1", "{}")]);
    talk.keep(&turn);
    assert!(talk.recall_at(&turn, after(60)).is_some());
    assert!(talk.recall_at(&turn, after(61)).is_none());
    assert_eq!(reasoning.held().turns, 1);
    reasoning.purge(after(61));
    assert_eq!(reasoning.held(), Held::default());
    assert!(reasoning.shelves.lock().index.is_empty());
}

#[test]
fn what_is_empty_or_too_long_is_not_kept() {
    let settings = HistorySettings {
        reasoning_item_bytes: 10,
        ..HistorySettings::default()
    };
    let reasoning = kept(&settings);
    let talk = Talk::of(&reasoning, "x");
    for turn in [
        said("", "x", &[]),
        said("hm", " ", &[]),
        said("eleven long", "x", &[]),
        without(said("", "x", &[])),
    ] {
        assert!(!talk.keep(&turn), "{turn:?}");
    }
    assert!(talk.keep(&said("ten letter", "x", &[])));
}

#[test]
fn an_organisation_that_takes_its_share_pushes_out_its_own_oldest_alone() {
    let settings = HistorySettings {
        reasoning_bytes: 100_000,
        reasoning_share: 50,
        ..HistorySettings::default()
    };
    let reasoning = kept(&settings);
    let talk = Talk::of(&reasoning, "x");
    let other = OrganisationName::from("other");
    let theirs = said("theirs", "x", &[]);
    reasoning.keep(&other, talk.opening.as_ref(), &theirs, noon());
    let turn = |n: usize| said(&"x".repeat(1_000), &format!("turn {n}"), &[]);
    for n in 0..500 {
        talk.keep(&turn(n));
    }
    let found = reasoning.recall(&other, talk.opening.as_ref(), &theirs, noon());
    assert!(found.is_some());
    assert!(talk.recall(&turn(499)).is_some());
    assert!(talk.recall(&turn(400)).is_none());
    let held = reasoning.held();
    assert!(held.bytes <= 51_000 && held.turns > 30, "{held:?}");
}

proptest! {
    #[test]
    fn limits_hold_and_nothing_leaks_whatever_comes(
        turns in proptest::collection::vec((0_u8..4, 0_u8..6, 0_usize..3_000, 0_i64..100), 1..200),
    ) {
        let settings = HistorySettings {
            reasoning_bytes: 20_000,
            reasoning_share: 40,
            reasoning_lifetime: Duration::from_secs(50),
            ..HistorySettings::default()
        };
        let reasoning = kept(&settings);
        let mut now = 0;
        for (tenant, id, length, wait) in turns {
            now += wait / 10;
            let tenant = OrganisationName::from(format!("t{tenant}").as_str());
            let turn = said(&"r".repeat(length), &format!("{length}"), &[(&format!("call_{id}"), "{}")]);
            let opening = reasoning.opening(&[Turn::user("x")]);
            let held = reasoning.keep(&tenant, opening.as_ref(), &turn, after(now));
            prop_assert_eq!(held, length > 0 && length < 8_000 - TURN_BYTES - 2 * KEY_BYTES);
            let shelves = reasoning.shelves.lock();
            prop_assert!(shelves.bytes <= 20_000);
            prop_assert!(shelves.tenants.values().all(|shelf| shelf.bytes <= 8_000));
            prop_assert_eq!(shelves.bytes, shelves.turns.values().map(|kept| kept.bytes).sum::<usize>());
            prop_assert_eq!(shelves.turns.len(), shelves.tenants.values().map(|shelf| shelf.order.len()).sum::<usize>());
            for (key, place) in &shelves.index {
                prop_assert!(shelves.turns[&place.turn].keys.contains(key));
            }
        }
        reasoning.purge(after(now + 1_000));
        prop_assert_eq!(reasoning.held(), Held::default());
        prop_assert!(reasoning.shelves.lock().index.is_empty());
    }
}
