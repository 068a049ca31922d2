//! A call's arguments as they arrive in pieces: how far they may be told at once, and whether the
//! object that they are has come to its end, so that the next block may begin.

use serde_json::value::RawValue;

use super::super::wording::input;

/// What is known of the arguments so far.
#[derive(Default)]
pub(super) struct Arguments {
    state: State,
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// What is no object cannot be told as it comes: the dialect demands one.
    held: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Blank,
    Object,
    Complete,
    Other,
}

impl Arguments {
    /// The object has ended. What is no object never does, as far as can be known.
    pub(super) fn complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Takes a piece and gives the part of it that can be told now. What follows the end of the
    /// object is dropped: with it the caller could not read the object.
    pub(super) fn take<'a>(&mut self, piece: &'a str) -> &'a str {
        let piece = if self.state == State::Blank {
            let begun = piece.trim_ascii_start();
            match begun.as_bytes().first() {
                None => {}
                Some(b'{') => self.state = State::Object,
                Some(_) => self.state = State::Other,
            }
            begun
        } else {
            piece
        };
        match self.state {
            State::Blank | State::Complete => "",
            State::Other => {
                self.held.push_str(piece);
                ""
            }
            State::Object => {
                let end = self.scan(piece.as_bytes());
                piece.get(..end).unwrap_or(piece)
            }
        }
    }

    /// Walks over a piece of an object and gives the length of what belongs to it. Whatever stands
    /// outside strings but for brackets is taken as it is; a host's model wrote it.
    fn scan(&mut self, piece: &[u8]) -> usize {
        let mut at = 0;
        while at < piece.len() {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                match memchr::memchr2(b'"', b'\\', &piece[at..]) {
                    None => return piece.len(),
                    Some(found) => {
                        at += found;
                        if piece[at] == b'"' {
                            self.in_string = false;
                        } else {
                            self.escaped = true;
                        }
                    }
                }
            } else {
                match piece[at] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            self.state = State::Complete;
                            return at + 1;
                        }
                    }
                    _ => {}
                }
            }
            at += 1;
        }
        piece.len()
    }

    /// What is left to tell when the block ends: `{}` where nothing came, and what is no object in
    /// the form that a plain answer gives it.
    pub(super) fn end(self) -> Option<Box<RawValue>> {
        match self.state {
            State::Object | State::Complete => None,
            State::Blank | State::Other => Some(input(&self.held)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_object_is_told_whole_and_known_complete_wherever_it_is_cut(
            text in "[a-z\"\\\\{}\\[\\] \u{e9}\u{4e2d}]{0,12}",
            every in 1_usize..8,
        ) {
            let object = serde_json::json!({"a": [{"b": text}], "c": {}}).to_string();
            let letters: Vec<char> = object.chars().collect();
            let mut arguments = Arguments::default();
            let mut told = String::new();
            for piece in letters.chunks(every) {
                prop_assert!(!arguments.complete());
                let piece: String = piece.iter().collect();
                told.push_str(arguments.take(&piece));
            }
            prop_assert!(arguments.complete());
            prop_assert_eq!(told, object);
            prop_assert!(arguments.end().is_none());
        }
    }

    #[test]
    fn what_follows_the_object_is_dropped() {
        let mut arguments = Arguments::default();
        assert_eq!(arguments.take("\n {\"a\":1} \n{"), "{\"a\":1}");
        assert_eq!(arguments.take("{}"), "");
        assert!(arguments.complete());
    }

    #[test]
    fn what_is_no_object_is_told_at_the_end_in_one() {
        let end = |pieces: &[&str]| {
            let mut arguments = Arguments::default();
            for piece in pieces {
                assert_eq!(arguments.take(piece), "");
            }
            arguments.end().expect("something to tell").get().to_owned()
        };
        assert_eq!(end(&[]), "{}");
        assert_eq!(end(&["", " "]), "{}");
        assert_eq!(end(&["nu", "ll"]), "{}");
        assert_eq!(end(&["ls ", "-l"]), r#"{"INVALID_JSON":"ls -l"}"#);
        assert_eq!(end(&["[1]"]), r#"{"INVALID_JSON":"[1]"}"#);
    }
}
