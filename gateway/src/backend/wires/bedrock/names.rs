//! Names of tools and ids of calls in the letters that Converse allows: `[a-zA-Z0-9_-]{1,64}`
//! (botocore's model; ids may by now have `.` and `:` as well, older deployments refuse them).
//! Most are sent as they are. What is sent for another depends on that name alone, so that the
//! prefix of a conversation stays the same from turn to turn and caches keep their worth.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::chat::{Conversation, Turn};

const LONGEST: usize = 64;
/// Of a name that does not fit, this much is kept, for the model to understand it by.
const KEPT: usize = 47;

/// The caller's names of tools, by what was sent for those that could not be sent as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// The names in a conversation that are sent under others.
    pub fn of(conversation: &Conversation) -> Self {
        let defined = conversation.tools.iter().map(|tool| tool.name.as_str());
        let called = conversation.turns.iter().flat_map(|turn| match turn {
            Turn::Assistant(said) => said.calls.as_slice(),
            _ => &[],
        });
        let mut names = BTreeMap::new();
        for name in defined.chain(called.map(|call| call.name.as_str())) {
            if let Cow::Owned(sent) = fitting(name) {
                names.insert(sent, name.to_owned());
            }
        }
        Names(names)
    }

    /// The caller's own name of a tool that the host calls.
    pub(super) fn callers<'a>(&'a self, sent: &'a str) -> &'a str {
        self.0.get(sent).map_or(sent, String::as_str)
    }
}

/// The name or id itself, or one that stands for it and for no other.
pub(super) fn fitting(name: &str) -> Cow<'_, str> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(allowed) {
        return Cow::Borrowed(name);
    }
    let readable: String = name
        .chars()
        .take(KEPT)
        .map(|letter| if allowed(letter) { letter } else { '_' })
        .collect();
    let mark = &blake3::hash(name.as_bytes()).to_hex()[..16];
    Cow::Owned(format!("{readable}_{mark}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chat::Tool;

    #[test]
    fn a_name_that_does_not_fit_comes_back_as_the_caller_wrote_it() {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: None,
            parameters: None,
            strict: None,
        };
        let conversation = Conversation {
            tools: vec![
                tool("plain"),
                tool("mcp.files/read"),
                tool("mcp.files.read"),
            ],
            ..Conversation::default()
        };
        let names = Names::of(&conversation);
        for tool in &conversation.tools {
            assert_eq!(names.callers(&fitting(&tool.name)), tool.name);
        }
        assert_eq!(fitting("plain"), "plain");
        assert_eq!(fitting("mcp.files/read"), "mcp_files_read_7b281f93b0ca7abb");
        assert_eq!(names.callers("never_sent"), "never_sent");
    }

    proptest! {
        #[test]
        fn what_is_sent_is_always_allowed(name in "\\PC{0,90}") {
            let sent = fitting(&name);
            prop_assert!((1..=LONGEST).contains(&sent.len()));
            prop_assert!(sent.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
        }
    }
}
