//! The tokenizer of the emulated hosts: words between white space, each cut into pieces of at most
//! eight bytes. A word of up to eight letters is one token, so that a player of traffic can write
//! a prompt of exactly the size it wants.

/// Longest piece of a word that is one token.
const PIECE_BYTES: usize = 8;

/// The number of tokens of a text.
pub fn count(text: &str) -> u64 {
    let mut count = 0;
    each_piece(text, |_, _| count += 1);
    count
}

/// Cuts a text into its tokens; joined they are the text again (white space goes with the token
/// that follows it, at the end with the last).
pub(super) fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut from = 0;
    each_piece(text, |_, end| {
        pieces.push(text[from..end].to_owned());
        from = end;
    });
    match pieces.last_mut() {
        Some(last) => last.push_str(&text[from..]),
        None if !text.is_empty() => pieces.push(text.to_owned()),
        None => {}
    }
    pieces
}

/// Calls `token` with the start and end of each piece.
fn each_piece(text: &str, mut token: impl FnMut(usize, usize)) {
    let mut start = None;
    for (at, letter) in text.char_indices() {
        if letter.is_whitespace() {
            if let Some(from) = start.take() {
                token(from, at);
            }
            continue;
        }
        match start {
            None => start = Some(at),
            Some(from) if at + letter.len_utf8() - from > PIECE_BYTES => {
                token(from, at);
                start = Some(at);
            }
            Some(_) => {}
        }
    }
    if let Some(from) = start {
        token(from, text.len());
    }
}

/// A sequence of tokens as the hashes of its prefixes: entry `n - 1` stands for the first `n`
/// tokens, so that two sequences share a prefix of `n` tokens when these entries are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefixes(Vec<u64>);

impl Prefixes {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The hash of the first `tokens` tokens.
    pub(super) fn of(&self, tokens: usize) -> Option<u64> {
        tokens
            .checked_sub(1)
            .and_then(|last| self.0.get(last))
            .copied()
    }

    /// One token that begins a message of this role.
    pub(super) fn push_role(&mut self, role: &str) {
        self.push(role.as_bytes(), 1);
    }

    pub(super) fn push_text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut previous = 0;
        each_piece(text, |from, to| {
            // A piece that continues a word differs from one that begins one.
            let kind = if from == previous && from > 0 { 3 } else { 2 };
            previous = to;
            self.push(&bytes[from..to], kind);
        });
    }

    /// Tokens that `self` and `other` have in common at their start.
    pub(super) fn shared_with(&self, other: &Prefixes) -> usize {
        let (mut low, mut high) = (0, self.len().min(other.len()));
        // Once two prefixes differ, all longer ones do.
        while low < high {
            let middle = (low + high).div_ceil(2);
            if self.of(middle) == other.of(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    fn push(&mut self, bytes: &[u8], kind: u64) {
        let before = self.0.last().copied().unwrap_or(0);
        let mut hash = mix(before ^ kind.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = mix(hash ^ u64::from_le_bytes(word));
        }
        self.0.push(hash);
    }
}

/// The finalizer of SplitMix64: every bit of the input reaches every bit of the output.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(text: &str) -> Prefixes {
        let mut prefixes = Prefixes::default();
        prefixes.push_text(text);
        prefixes
    }

    #[test]
    fn a_short_word_is_one_token_and_a_long_one_several() {
        assert_eq!(count("answer in 20 words"), 4);
        assert_eq!(count("demonstration"), 2);
        assert_eq!(count("  \n"), 0);
    }

    #[test]
    fn the_shared_prefix_is_found_to_the_token() {
        assert_eq!(
            prefixes("one two three four").shared_with(&prefixes("one two other four")),
            2
        );
        assert_eq!(prefixes("one").shared_with(&prefixes("two")), 0);
        assert_eq!(
            prefixes("demonstration").shared_with(&prefixes("demonstr ation")),
            1
        );
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_text_are_the_text(text in "\\PC{0,80}|[a-z \n]{0,200}") {
            let cut = pieces(&text);
            prop_assert_eq!(cut.concat(), text.clone());
            if count(&text) > 0 {
                prop_assert_eq!(cut.len() as u64, count(&text));
                prop_assert_eq!(prefixes(&text).len() as u64, count(&text));
            }
        }
    }
}
