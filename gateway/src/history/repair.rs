//! Making a conversation's thinking such as a host takes it.
//!
//! What DeepSeek demands (its guide to the thinking mode, and what clients met): while it thinks and
//! tools are in play, the thinking of earlier turns must come back, on every turn of the assistant,
//! those without calls included, once one carries it or one called a tool; a turn without it is
//! refused with 400. Without tools, or with thinking off, it is ignored. DeepSeek itself takes an
//! empty string, relays of it do not; both take a single space.

use crate::chat::{Conversation, Effort, Said, Turn};
use crate::settings::WhenLost;

/// What stands for a thought that nobody has any more.
const PLACEHOLDER: &str = " ";

/// What a host makes of the thinking of earlier turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All of it must come back while tools are in play and thinking is on.
    Required,
    /// It may come back.
    Accepted,
    /// It must not.
    Refused,
}

/// What was done to a conversation. Counts are of the assistant's turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Given back what they had lost.
    pub restored: usize,
    /// Given a space instead.
    pub filled: usize,
    /// Relieved of their thinking.
    pub stripped: usize,
    /// The answer will be made without thinking.
    pub thinking_off: bool,
}

/// A host demands thinking that nobody has any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it wants the thinking of all earlier turns back, and of {lost} turns (first: turn {first}) it \
     is not known; send `reasoning_content` with each assistant message, turn thinking off, or \
     start the conversation anew"
)]
pub struct ReasoningLost {
    /// Position of the first such turn, from 0.
    pub first: usize,
    pub lost: usize,
}

/// Changes the thinking of earlier turns, and nothing else but the effort asked for, into what a
/// host of this rule takes. `recall` knows the thinking of turns that came without.
///
/// # Errors
/// With [`WhenLost::Refuse`], where thinking is demanded that nobody has.
pub fn repair(
    conversation: &mut Conversation,
    rule: Rule,
    when_lost: WhenLost,
    mut recall: impl FnMut(&Said) -> Option<String>,
) -> Result<Repaired, ReasoningLost> {
    let mut repaired = Repaired::default();
    match rule {
        Rule::Refused => repaired.stripped = strip(&mut conversation.turns),
        Rule::Accepted => repaired.restored = restore(&mut conversation.turns, &mut recall),
        Rule::Required => require(conversation, when_lost, &mut recall, &mut repaired)?,
    }
    Ok(repaired)
}

fn require(
    conversation: &mut Conversation,
    when_lost: WhenLost,
    recall: &mut impl FnMut(&Said) -> Option<String>,
    repaired: &mut Repaired,
) -> Result<(), ReasoningLost> {
    let turns = &mut conversation.turns;
    if conversation.effort == Effort::Off {
        repaired.stripped = strip(turns);
        return Ok(());
    }
    let called = assistant(turns).any(|said| !said.calls.is_empty());
    let carried = assistant(turns).any(|said| !lacks(said));
    if !called && (!carried || conversation.tools.is_empty()) {
        // Nothing is demanded, or what there is is ignored.
        return Ok(());
    }
    repaired.restored = restore(turns, recall);
    let lost = assistant(turns).filter(|said| lacks(said)).count();
    if lost == 0 {
        return Ok(());
    }
    if !called {
        // All or nothing: here nothing is as good, and a degraded answer is not.
        repaired.restored = 0;
        repaired.stripped = strip(turns);
        return Ok(());
    }
    match when_lost {
        WhenLost::Placeholder => {
            for said in assistant_mut(turns).filter(|said| lacks(said)) {
                said.reasoning = Some(PLACEHOLDER.to_owned());
                repaired.filled += 1;
            }
        }
        WhenLost::ThinkingOff => {
            repaired.restored = 0;
            repaired.stripped = strip(turns);
            repaired.thinking_off = true;
            conversation.effort = Effort::Off;
        }
        WhenLost::Refuse => {
            let first = turns
                .iter()
                .position(|turn| matches!(turn, Turn::Assistant(said) if lacks(said)))
                .unwrap_or_default();
            return Err(ReasoningLost { first, lost });
        }
    }
    Ok(())
}

fn assistant(turns: &[Turn]) -> impl Iterator<Item = &Said> {
    turns.iter().filter_map(|turn| match turn {
        Turn::Assistant(said) => Some(said),
        _ => None,
    })
}

fn assistant_mut(turns: &mut [Turn]) -> impl Iterator<Item = &mut Said> {
    turns.iter_mut().filter_map(|turn| match turn {
        Turn::Assistant(said) => Some(said),
        _ => None,
    })
}

fn lacks(said: &Said) -> bool {
    said.reasoning.as_deref().is_none_or(str::is_empty)
}

fn restore(turns: &mut [Turn], recall: &mut impl FnMut(&Said) -> Option<String>) -> usize {
    let mut restored = 0;
    for said in assistant_mut(turns).filter(|said| lacks(said)) {
        // An empty one is none: relays refuse it.
        said.reasoning = recall(said).filter(|text| !text.is_empty());
        restored += usize::from(said.reasoning.is_some());
    }
    restored
}

fn strip(turns: &mut [Turn]) -> usize {
    let mut stripped = 0;
    for said in assistant_mut(turns) {
        stripped += usize::from(said.reasoning.take().is_some());
    }
    stripped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chat::{Call, Tool};

    fn said(reasoning: Option<&str>, text: &str, calls: usize) -> Turn {
        Turn::Assistant(Said {
            reasoning: reasoning.map(str::to_owned),
            text: text.to_owned(),
            calls: (0..calls)
                .map(|n| Call {
                    id: format!("{text}-{n}"),
                    name: "look".into(),
                    arguments: "{}".into(),
                })
                .collect(),
            unfinished: false,
        })
    }

    fn look() -> Tool {
        Tool {
            name: "look".into(),
            description: None,
            parameters: None,
            strict: None,
        }
    }

    fn talk(turns: Vec<Turn>) -> Conversation {
        Conversation {
            turns,
            tools: vec![look()],
            ..Conversation::default()
        }
    }

    fn reasonings(conversation: &Conversation) -> Vec<Option<&str>> {
        assistant(&conversation.turns)
            .map(|said| said.reasoning.as_deref())
            .collect()
    }

    fn nothing(_: &Said) -> Option<String> {
        None
    }

    #[test]
    fn once_a_tool_was_called_every_turn_carries_its_thinking() {
        let mut talk = talk(vec![
            Turn::user("Is it empty?"),
            said(None, "a", 1),
            said(Some("kept by the caller"), "b", 0),
            said(Some(""), "c", 0),
        ]);
        let recall = |said: &Said| (said.text == "a").then(|| "kept here".to_owned());
        let done = repair(&mut talk, Rule::Required, WhenLost::Placeholder, recall);
        let expected = Repaired {
            restored: 1,
            filled: 1,
            ..Repaired::default()
        };
        assert_eq!(done, Ok(expected));
        assert_eq!(
            reasonings(&talk),
            [Some("kept here"), Some("kept by the caller"), Some(" ")]
        );
    }

    #[test]
    fn a_lost_thought_turns_thinking_off_or_refuses_where_the_operator_says_so() {
        let lossy = || talk(vec![said(Some("x"), "a", 1), said(None, "b", 1)]);
        let mut off = lossy();
        let done = repair(&mut off, Rule::Required, WhenLost::ThinkingOff, nothing).expect("done");
        assert!(done.thinking_off && done.stripped == 1);
        assert_eq!(off.effort, Effort::Off);
        assert_eq!(reasonings(&off), [None, None]);

        let refused = repair(&mut lossy(), Rule::Required, WhenLost::Refuse, nothing);
        assert_eq!(refused, Err(ReasoningLost { first: 1, lost: 1 }));
    }

    #[test]
    fn plain_talk_is_left_alone_and_never_degraded() {
        for when_lost in [
            WhenLost::Placeholder,
            WhenLost::ThinkingOff,
            WhenLost::Refuse,
        ] {
            // No tools at all.
            let mut plain = talk(vec![said(Some("x"), "a", 0), said(None, "b", 0)]);
            plain.tools.clear();
            let done = repair(&mut plain, Rule::Required, when_lost, nothing);
            assert_eq!(done, Ok(Repaired::default()));
            assert_eq!(reasonings(&plain), [Some("x"), None]);
            // Tools offered, none called, none carries any.
            let mut offered = talk(vec![said(None, "a", 0), said(None, "b", 0)]);
            let done = repair(&mut offered, Rule::Required, when_lost, |_| {
                panic!("nothing is demanded")
            });
            assert_eq!(done, Ok(Repaired::default()));
            // None called, one carries it: all or nothing.
            let mut some = talk(vec![said(Some("x"), "a", 0), said(None, "b", 0)]);
            repair(&mut some, Rule::Required, when_lost, nothing).expect("done");
            assert_eq!(reasonings(&some), [None, None]);
            assert_eq!(some.effort, Effort::Unsaid);
        }
    }

    #[test]
    fn with_thinking_off_nothing_is_demanded_and_nothing_sent() {
        let mut talk = talk(vec![said(Some("x"), "a", 1), said(None, "b", 1)]);
        talk.effort = Effort::Off;
        let done = repair(&mut talk, Rule::Required, WhenLost::Refuse, nothing).expect("done");
        assert_eq!(done.stripped, 1);
        assert_eq!(reasonings(&talk), [None, None]);
    }

    #[test]
    fn a_host_that_refuses_thinking_gets_none_and_one_that_accepts_it_what_is_known() {
        let turns = vec![
            said(Some("x"), "a", 1),
            said(None, "b", 1),
            said(None, "c", 0),
        ];
        let mut refused = talk(turns.clone());
        repair(&mut refused, Rule::Refused, WhenLost::Refuse, nothing).expect("done");
        assert_eq!(reasonings(&refused), [None, None, None]);
        let mut accepted = talk(turns);
        let recall = |said: &Said| (said.text == "b").then(|| "y".to_owned());
        let done = repair(&mut accepted, Rule::Accepted, WhenLost::Refuse, recall);
        assert_eq!(done.expect("done").restored, 1);
        assert_eq!(reasonings(&accepted), [Some("x"), Some("y"), None]);
    }

    fn any_turn() -> impl Strategy<Value = Turn> {
        let reasoning = proptest::option::of("[a-z ]{0,3}");
        prop_oneof![
            "[a-z]{1,4}".prop_map(Turn::user),
            (reasoning, "[a-z]{1,4}", 0_usize..3).prop_map(|(reasoning, text, calls)| said(
                reasoning.as_deref(),
                &text,
                calls
            )),
            "[a-z]{1,4}".prop_map(|call| Turn::Result {
                call,
                parts: Vec::new(),
                failed: false
            }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_a_demanding_host_gets_all_or_nothing_and_only_thinking_changes(
            turns in proptest::collection::vec(any_turn(), 0..12),
            tools in any::<bool>(),
            off in any::<bool>(),
            known in any::<u64>(),
            when_lost in prop::sample::select(vec![WhenLost::Placeholder, WhenLost::ThinkingOff]),
        ) {
            let mut talk = talk(turns.clone());
            if !tools {
                talk.tools.clear();
            }
            if off {
                talk.effort = Effort::Off;
            }
            let recall = |said: &Said| {
                let bit = said.text.bytes().map(u64::from).sum::<u64>() % 64;
                (known >> bit & 1 == 1).then(|| format!("of {}", said.text))
            };
            repair(&mut talk, Rule::Required, when_lost, recall).expect("never refused");

            let with = assistant(&talk.turns).filter(|said| !lacks(said)).count();
            let all = assistant(&talk.turns).count();
            let called = assistant(&talk.turns).any(|said| !said.calls.is_empty());
            if talk.effort == Effort::Off {
                prop_assert_eq!(with, 0);
            } else if called {
                prop_assert_eq!(with, all);
            } else if tools {
                prop_assert!(with == 0 || with == all);
            }
            // What a caller gave is never replaced, and nothing else is touched.
            let mut bare = (turns.clone(), talk.turns.clone());
            for (before, after) in turns.iter().zip(&talk.turns) {
                if let (Turn::Assistant(before), Turn::Assistant(after)) = (before, after)
                    && !lacks(before)
                {
                    prop_assert!(after.reasoning == before.reasoning || after.reasoning.is_none());
                }
            }
            strip(&mut bare.0);
            strip(&mut bare.1);
            prop_assert_eq!(bare.0, bare.1);
            // Twice is once.
            let once = talk.turns.clone();
            repair(&mut talk, Rule::Required, when_lost, recall).expect("never refused");
            prop_assert_eq!(talk.turns, once);
        }
    }
}
