//! The scan for a body's fields: the same wherever the body was cut, and of one mind with serde_json
//! about what is JSON. What strings hold is the scan's business only in keys.

use bytes::Bytes;
use serde_json::{Map, Value};
use tollgate::chat::Frames;
use tollgate::chat::scan::{self, Malformed};

use super::MOST_BYTES;
use super::chances::{Chances, pieces};

/// The body as the frames between the cuts.
pub fn frames(data: &[u8], cuts: &[usize]) -> Frames {
    let mut frames = Frames::default();
    for piece in pieces(data, cuts) {
        frames.push(Bytes::copy_from_slice(piece));
    }
    frames
}

pub fn scan(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    let found = scan::object(&frames(data, &[]));
    for cuts in Chances::of(data).splits(data.len()) {
        let again = scan::object(&frames(data, &cuts));
        assert_eq!(
            format!("{again:?}"),
            format!("{found:?}"),
            "the cuts {cuts:?} matter"
        );
    }
    let theirs = serde_json::from_slice::<Map<String, Value>>(data);
    match (&found, theirs) {
        (Ok(object), Ok(map)) => {
            let mut last: Option<usize> = None;
            for member in &object.members {
                assert!(last.is_none_or(|end| end < member.start));
                assert!(member.start < member.value.start && member.value.end <= data.len());
                last = Some(member.value.end - 1);
                let value: Value =
                    serde_json::from_slice(&data[member.value.clone()]).expect("a value");
                assert!(map.contains_key(&member.key));
                // Of a key given twice, the last stands.
                let twice = object.members.iter().filter(|one| one.key == member.key);
                assert!(twice.count() > 1 || map[&member.key] == value);
            }
            let mut keys: Vec<&str> = object.members.iter().map(|one| one.key.as_str()).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), map.len());
        }
        (Err(Malformed::TooDeep(_) | Malformed::TooManyFields), Ok(_)) | (Err(_), Err(_)) => {}
        (Err(malformed), Ok(_)) => panic!("JSON, and refused: {malformed}"),
        // Strings and numbers that are none are left to later readers.
        (Ok(_), Err(error)) => {
            let why = error.to_string();
            assert!(
                [
                    "control character",
                    "escape",
                    "surrogate",
                    "unicode",
                    "out of range"
                ]
                .iter()
                .any(|left| why.contains(left)),
                "no JSON, and accepted: {why}"
            );
        }
    }
}
