//! Any caller to any host, and back. A conversation is written in each caller's dialect by a writer
//! that stands here (`asking`), read by the surface, and sent to every host, whose half of the test
//! (`backend/wires/tests_pairs`) sees that all of it arrives. An answer is told in each dialect and
//! read back by a reader that stands here (`hearing`), from the stream and from the plain answer:
//! the same answer comes out. What a dialect has no word for is listed beside its writer or reader.

mod answers;
mod asking;
mod hearing;

use proptest::prelude::*;

use crate::backend::wires::tests_pairs::{check, conversation, hosts};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_any_caller_asks_reaches_every_host_whole_or_is_refused_with_a_reason(
        conversation in conversation(),
    ) {
        for dialect in asking::DIALECTS {
            let Some(asked) = dialect.ask(&conversation) else {
                continue;
            };
            let read = dialect.read(&asked.body);
            prop_assert_eq!(&read.turns, &asked.meant.turns, "{}: {}", dialect.name, asked.body);
            let shown = |conversation: &crate::chat::Conversation| {
                let mut shown = conversation.clone();
                shown.turns.clear();
                format!("{shown:?}")
            };
            prop_assert_eq!(shown(&read), shown(&asked.meant), "{}: {}", dialect.name, asked.body);
            for host in hosts() {
                check(&read, host)?;
            }
        }
    }
}
