//! A body's top-level fields, as every dialect here reads them: found by one scan, read one by one,
//! each mistake told by its field. Nothing but what is asked for is built.

use serde::de::DeserializeOwned;

use crate::chat::scan::{self, Member, Object};
use crate::chat::{Code, Frames, Refusal};

/// More answers to one question than this is taken for a mistake.
pub(super) const MAX_CHOICES: u64 = 16;
/// No model of this family writes more; beyond it a number is absurd rather than generous.
pub(super) const MAX_OUTPUT: u64 = 1 << 24;
/// Fields read as values are small; a schema is the largest of them.
pub(super) const FIELD_BYTES: usize = 1 << 20;
/// A longer name is no model's.
const NAME_BYTES: usize = 200;

/// The members of a body, each there once.
///
/// # Errors
/// `invalid_request`: it is no JSON object, or a field is given twice.
pub(super) fn scanned(frames: &Frames) -> Result<Object, Refusal> {
    let object = scan::object(frames)
        .map_err(|malformed| Refusal::new(Code::InvalidRequest, malformed.to_string()))?;
    for (index, member) in object.members.iter().enumerate() {
        let before = &object.members[..index];
        if before.iter().any(|other| other.key == member.key) {
            return Err(Refusal::invalid(
                &member.key,
                format!("`{}` is given twice; give it once", shown(&member.key)),
            ));
        }
    }
    Ok(object)
}

/// Right after the opening brace.
pub(super) fn first_member(frames: &Frames) -> usize {
    let mut at = 0;
    for part in frames.parts() {
        match memchr::memchr(b'{', part) {
            Some(found) => return at + found + 1,
            None => at += part.len(),
        }
    }
    at
}

/// What kind of value it is, without reading it.
pub(super) fn first_byte(frames: &Frames, member: &Member) -> Option<u8> {
    let start = member.value.start;
    frames.slice(start..start + 1).first().copied()
}

/// Whether an array holds nothing: told without reading one that holds much.
pub(super) fn is_empty_array(frames: &Frames, member: &Member) -> bool {
    member.value.len() < 64
        && frames
            .slice(member.value.clone())
            .iter()
            .all(|byte| matches!(byte, b'[' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
}

/// A value of at most 1 MiB; `Option<T>` takes null as well. `what` it must be is told if it is not.
///
/// # Errors
/// `invalid_request`.
pub(super) fn value<T: DeserializeOwned>(
    frames: &Frames,
    member: &Member,
    what: &str,
) -> Result<T, Refusal> {
    value_of(FIELD_BYTES, frames, member, what)
}

/// The same, of at most so many bytes.
pub(super) fn value_of<T: DeserializeOwned>(
    most: usize,
    frames: &Frames,
    member: &Member,
    what: &str,
) -> Result<T, Refusal> {
    if member.value.len() > most {
        return Err(Refusal::invalid(
            &member.key,
            format!("`{}` is larger than {} MiB", member.key, most >> 20),
        ));
    }
    serde_json::from_slice(&frames.slice(member.value.clone()))
        .map_err(|_| wrong(&member.key, what))
}

/// The name of a model.
///
/// # Errors
/// `invalid_request`: it is none.
pub(super) fn model(frames: &Frames, member: &Member) -> Result<String, Refusal> {
    let name: String = value(frames, member, "a string")?;
    if name.is_empty() || name.len() > NAME_BYTES {
        return Err(wrong(&member.key, "the name of a model"));
    }
    Ok(name)
}

pub(super) fn no_model() -> Refusal {
    Refusal::invalid(
        "model",
        "`model` is missing; name a model, such as deepseek-v4-pro",
    )
}

pub(super) fn wrong(field: &str, what: &str) -> Refusal {
    Refusal::invalid(field, format!("`{field}` must be {what}"))
}

/// A key of the caller's, short enough for a message.
pub(super) fn shown(key: &str) -> String {
    key.chars().take(40).collect()
}
