//! Whether a conversation shows pictures. Most do not, and a search for the word at memory speed
//! says so; only where it stands somewhere are the messages looked into.

use std::ops::Range;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::Frames;

/// With both quotes it is a whole JSON string: within a longer one a quote has a backslash before
/// it, which would stand between.
const WORD: &[u8] = b"\"image\"";

/// Whether a block of the messages that lie at `messages` is a picture.
pub(super) fn any(frames: &Frames, messages: Range<usize>) -> bool {
    mentioned(frames) && shown(&frames.slice(messages))
}

/// Whether the word stands anywhere in the body, wherever it was cut.
fn mentioned(frames: &Frames) -> bool {
    let finder = Finder::new(WORD);
    // The end of what came before, at most one byte shorter than the word.
    let mut seam: Vec<u8> = Vec::new();
    for part in frames.parts() {
        let head = &part[..part.len().min(WORD.len() - 1)];
        seam.extend_from_slice(head);
        if finder.find(&seam).is_some() || finder.find(part).is_some() {
            return true;
        }
        if head.len() < part.len() {
            seam.clear();
            seam.extend_from_slice(&part[part.len() + 1 - WORD.len()..]);
        } else if seam.len() >= WORD.len() {
            seam.drain(..seam.len() + 1 - WORD.len());
        }
    }
    false
}

/// What cannot be read shows no picture: the reading that comes later says what is wrong with it.
fn shown(messages: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    serde_json::from_slice::<Vec<Message<'_>>>(messages).is_ok_and(|messages| {
        messages
            .iter()
            .any(|message| message.content.is_some_and(|content| within(content, 0)))
    })
}

/// Blocks nest this deep: a document's content within a tool's result within a message.
const DEEPEST: usize = 3;

fn within(content: &RawValue, depth: usize) -> bool {
    #[derive(Deserialize)]
    struct Block<'a> {
        r#type: Option<String>,
        #[serde(borrow)]
        content: Option<&'a RawValue>,
        #[serde(borrow)]
        source: Option<Source<'a>>,
    }
    #[derive(Deserialize)]
    struct Source<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    if depth == DEEPEST || !content.get().starts_with('[') {
        return false;
    }
    serde_json::from_str::<Vec<Block<'_>>>(content.get()).is_ok_and(|blocks| {
        blocks.iter().any(|block| {
            let sourced = block.source.as_ref().and_then(|source| source.content);
            block.r#type.as_deref() == Some("image")
                || [block.content, sourced]
                    .into_iter()
                    .flatten()
                    .any(|inner| within(inner, depth + 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn shows(messages: Value) -> bool {
        let text = messages.to_string();
        let answers = [1, 2, 5, 6, 7, 8, 64, 1 << 20].map(|every| {
            let mut frames = Frames::default();
            for part in text.as_bytes().chunks(every) {
                frames.push(Bytes::copy_from_slice(part));
            }
            any(&frames, 0..text.len())
        });
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "the cut matters: {answers:?}"
        );
        answers[0]
    }

    #[test]
    fn a_picture_is_noticed_wherever_it_may_stand() {
        let picture = json!({"type": "image", "source": {"type": "url", "url": "https://x"}});
        for block in [
            picture.clone(),
            json!({"type": "tool_result", "tool_use_id": "t", "content": [picture.clone()]}),
            json!({"type": "document", "source": {"type": "content", "content": [picture.clone()]}}),
        ] {
            assert!(shows(json!([{"role": "user", "content": [block]}])));
        }
    }

    #[test]
    fn the_word_alone_is_no_picture() {
        for content in [
            json!("say \"image\" please"),
            json!([{"type": "text", "text": "image"}]),
            json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"type": "image", "image": 1}}]),
            json!([{"type": "tool_result", "tool_use_id": "t", "content": "image"}]),
        ] {
            assert!(!shows(json!([{"role": "user", "content": content}])));
        }
    }
}
