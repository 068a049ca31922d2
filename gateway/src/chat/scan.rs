//! Finds the fields of a JSON object in a body without building it: one pass over the frames that
//! checks the structure, skips strings at memory speed and reports where each top-level value
//! lies. What strings contain is left to the host (RFC 8259 grammar otherwise).

use std::ops::Range;

use memchr::memchr2;

use super::frames::Frames;

/// Bodies nested so many levels deep are refused, as `serde_json` and hosts do.
pub const DEPTH_LIMIT: usize = 128;
/// A body's own keys: more than this is no request.
pub const FIELD_LIMIT: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the body is empty; send a JSON object")]
    Empty,
    #[error("the body is not a JSON object: it must begin with `{{`")]
    NotAnObject,
    #[error("the body ends at byte {0}, inside a value; send the whole JSON object")]
    Ended(usize),
    #[error("the body is not valid JSON at byte {0}")]
    Unexpected(usize),
    #[error("the body is nested {DEPTH_LIMIT} levels deep at byte {0}; send fewer than that")]
    TooDeep(usize),
    #[error("the body has more than {FIELD_LIMIT} top-level fields")]
    TooManyFields,
}

/// A top-level member: its key, decoded, and where its value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub key: String,
    /// Where the key's opening quote stands.
    pub start: usize,
    pub value: Range<usize>,
    /// A key `image_url` stands somewhere in the value.
    pub has_image: bool,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct Object {
    pub members: Vec<Member>,
    pub seen: Seen,
}

/// Words below the top level that decide where a body can go, and whether it can pass as it is. They
/// are whole keys or whole strings: what stands within a text is none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A key `image_url`.
    pub image: bool,
    /// How often there is a key `tool_calls`.
    pub tool_calls: u32,
    /// How often there is a key `reasoning_content` or `reasoning`.
    pub reasoning: u32,
    /// A key `prefix`.
    pub prefix: bool,
    /// A string `developer`.
    pub developer: bool,
    /// A string `tool`.
    pub tool: bool,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.image |= other.image;
        self.tool_calls = self.tool_calls.saturating_add(other.tool_calls);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.prefix |= other.prefix;
        self.developer |= other.developer;
        self.tool |= other.tool;
    }
}

/// Walks the whole object and returns its members in order.
pub fn object(frames: &Frames) -> Result<Object, Malformed> {
    let mut cursor = Cursor::new(frames);
    cursor.skip_space();
    match cursor.peek() {
        None => return Err(Malformed::Empty),
        Some(b'{') => cursor.advance(1),
        Some(_) => return Err(Malformed::NotAnObject),
    }
    let mut found = Object::default();
    cursor.skip_space();
    if cursor.peek() == Some(b'}') {
        cursor.advance(1);
    } else {
        loop {
            cursor.skip_space();
            let key = cursor.string()?;
            if found.members.len() == FIELD_LIMIT {
                return Err(Malformed::TooManyFields);
            }
            let at = key.start;
            let key = decode_key(frames, key)?;
            cursor.skip_space();
            cursor.expect(b':')?;
            cursor.skip_space();
            let start = cursor.position();
            let mut seen = Seen::default();
            cursor.value(&mut seen)?;
            found.seen.add(seen);
            let value = start..cursor.position();
            found.members.push(Member {
                key,
                start: at,
                value,
                has_image: seen.image,
            });
            cursor.skip_space();
            match cursor.next()? {
                b',' => {}
                b'}' => break,
                _ => return Err(Malformed::Unexpected(cursor.position() - 1)),
            }
        }
    }
    cursor.skip_space();
    match cursor.peek() {
        None => Ok(found),
        Some(_) => Err(Malformed::Unexpected(cursor.position())),
    }
}

/// A key with escapes is the key that it decodes to: `"mod\u0065l"` names the model as well.
fn decode_key(frames: &Frames, quoted: Range<usize>) -> Result<String, Malformed> {
    let bytes = frames.slice(quoted.clone());
    if memchr::memchr(b'\\', &bytes).is_some() {
        return serde_json::from_slice(&bytes).map_err(|_| Malformed::Unexpected(quoted.start));
    }
    match std::str::from_utf8(&bytes[1..bytes.len() - 1]) {
        Ok(key) if !key.bytes().any(|byte| byte < b' ') => Ok(key.to_owned()),
        _ => Err(Malformed::Unexpected(quoted.start)),
    }
}

struct Cursor<'a> {
    frames: &'a Frames,
    part: usize,
    /// The rest of the current frame.
    rest: &'a [u8],
    /// Bytes of the body before `rest`.
    before: usize,
}

impl<'a> Cursor<'a> {
    fn new(frames: &'a Frames) -> Self {
        let mut cursor = Cursor {
            frames,
            part: 0,
            rest: frames.parts().first().map_or(&[], |part| part),
            before: 0,
        };
        cursor.settle();
        cursor
    }

    fn position(&self) -> usize {
        self.before
    }

    /// Moves on to the next frame when the current one is used up; frames are never empty.
    fn settle(&mut self) {
        if self.rest.is_empty() && self.part + 1 < self.frames.parts().len() {
            self.part += 1;
            self.rest = &self.frames.parts()[self.part];
        }
    }

    fn advance(&mut self, by: usize) {
        self.rest = &self.rest[by..];
        self.before += by;
        self.settle();
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek().ok_or(Malformed::Ended(self.before))?;
        self.advance(1);
        Ok(byte)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Malformed> {
        let at = self.before;
        if self.next()? == wanted {
            Ok(())
        } else {
            Err(Malformed::Unexpected(at))
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.advance(1);
        }
    }

    /// A string with its quotes.
    fn string(&mut self) -> Result<Range<usize>, Malformed> {
        let start = self.before;
        self.expect(b'"')?;
        loop {
            match memchr2(b'"', b'\\', self.rest) {
                None => {
                    let all = self.rest.len();
                    if all == 0 {
                        return Err(Malformed::Ended(self.before));
                    }
                    self.advance(all);
                }
                Some(at) => {
                    let quote = self.rest[at] == b'"';
                    self.advance(at + 1);
                    if quote {
                        return Ok(start..self.before);
                    }
                    match self.next()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u' => {}
                        _ => return Err(Malformed::Unexpected(self.before - 1)),
                    }
                }
            }
        }
    }

    /// Any value, nested ones too, without recursion.
    fn value(&mut self, seen: &mut Seen) -> Result<(), Malformed> {
        // One bit a level: whether it is an object.
        let mut levels: [bool; DEPTH_LIMIT] = [false; DEPTH_LIMIT];
        let mut depth = 0;
        loop {
            self.skip_space();
            let at = self.before;
            match self.peek().ok_or(Malformed::Ended(at))? {
                open @ (b'{' | b'[') => {
                    // The body itself is a level too.
                    if depth + 2 == DEPTH_LIMIT {
                        return Err(Malformed::TooDeep(at));
                    }
                    self.advance(1);
                    levels[depth] = open == b'{';
                    depth += 1;
                    self.skip_space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek() == Some(close) {
                        self.advance(1);
                        depth -= 1;
                    } else {
                        if open == b'{' {
                            self.key(seen)?;
                        }
                        continue;
                    }
                }
                b'"' => {
                    let text = self.string()?;
                    match text.len() {
                        6 => seen.tool |= self.is(text, b"\"tool\""),
                        11 => seen.developer |= self.is(text, b"\"developer\""),
                        _ => {}
                    }
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => return Err(Malformed::Unexpected(at)),
            }
            // A value is complete: close what ends here, or go on to the next one.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.skip_space();
                let in_object = levels[depth - 1];
                match self.next()? {
                    b',' => {
                        self.skip_space();
                        if in_object {
                            self.key(seen)?;
                        }
                        break;
                    }
                    b'}' if in_object => depth -= 1,
                    b']' if !in_object => depth -= 1,
                    _ => return Err(Malformed::Unexpected(self.before - 1)),
                }
            }
        }
    }

    fn key(&mut self, seen: &mut Seen) -> Result<(), Malformed> {
        let key = self.string()?;
        match key.len() {
            8 => seen.prefix |= self.is(key, b"\"prefix\""),
            11 if self.is(key.clone(), b"\"image_url\"") => seen.image = true,
            11 => seen.reasoning += u32::from(self.is(key, b"\"reasoning\"")),
            12 => seen.tool_calls += u32::from(self.is(key, b"\"tool_calls\"")),
            19 => seen.reasoning += u32::from(self.is(key, b"\"reasoning_content\"")),
            _ => {}
        }
        self.skip_space();
        self.expect(b':')
    }

    /// Whether the text that has just been read is this one.
    fn is(&self, range: Range<usize>, word: &[u8]) -> bool {
        debug_assert_eq!(range.end, self.before);
        // Nearly always within the frame at hand: finding it among all of them takes longer.
        let read = self.frames.parts().get(self.part);
        let read = read.and_then(|part| part.get(..part.len() - self.rest.len()));
        match read {
            Some(read) if read.len() >= range.len() => read.ends_with(word),
            _ => &*self.frames.slice(range) == word,
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        word.iter().try_for_each(|&byte| self.expect(byte))
    }

    fn number(&mut self) -> Result<(), Malformed> {
        let start = self.before;
        if self.peek() == Some(b'-') {
            self.advance(1);
        }
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => {
                self.digits();
            }
            _ => return Err(Malformed::Unexpected(start)),
        }
        if self.peek() == Some(b'.') {
            self.advance(1);
            if self.digits() == 0 {
                return Err(Malformed::Unexpected(start));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.advance(1);
            if let Some(b'+' | b'-') = self.peek() {
                self.advance(1);
            }
            if self.digits() == 0 {
                return Err(Malformed::Unexpected(start));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let mut count = 0;
        while let Some(b'0'..=b'9') = self.peek() {
            self.advance(1);
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn frames(text: &[u8], every: usize) -> Frames {
        let mut frames = Frames::default();
        for part in text.chunks(every.max(1)) {
            frames.push(Bytes::copy_from_slice(part));
        }
        frames
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
            "[a-z\"\\\\\n\u{e9}\u{4e2d}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"\\\\]{0,5}", inner, 0..5)
                    .prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_are_what_serde_finds_wherever_the_body_is_cut(
            fields in proptest::collection::btree_map("[a-z\"\\\\\u{e9}]{0,5}", values(), 0..6),
            every in 1_usize..40,
            pretty in any::<bool>(),
        ) {
            let value = Value::from_iter(fields.clone());
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let frames = frames(text.as_bytes(), every);
            let found = object(&frames).expect("valid JSON");
            let seen: std::collections::BTreeMap<String, Value> = found
                .members
                .iter()
                .map(|member| {
                    let bytes = frames.slice(member.value.clone());
                    (member.key.clone(), serde_json::from_slice(&bytes).expect("a value"))
                })
                .collect();
            prop_assert_eq!(seen, fields);
        }

        #[test]
        fn what_serde_refuses_for_its_structure_is_refused(
            text in "[\\[\\]{},:\"0-9a-ft.ue \\-]{0,24}", every in 1_usize..10,
        ) {
            let ours = object(&frames(text.as_bytes(), every)).is_ok();
            let theirs = serde_json::from_str::<serde_json::Map<String, Value>>(&text).is_ok();
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }

    #[test]
    fn an_escaped_key_is_the_key_it_decodes_to() {
        let found = object(&frames(br#"{"mod\u0065l":"a"}"#, 3)).expect("valid");
        assert_eq!(found.members[0].key, "model");
    }

    #[test]
    fn images_are_noticed_at_any_depth_but_not_in_text() {
        let with = json!({"messages":[{"content":[{"type":"image_url","image_url":{"url":"x"}}]}]});
        let without = json!({"messages":[{"content":"say \"image_url\": please"}]});
        for every in [1, 7, 1000] {
            assert!(
                object(&frames(with.to_string().as_bytes(), every))
                    .expect("valid")
                    .seen
                    .image
            );
            assert!(
                !object(&frames(without.to_string().as_bytes(), every))
                    .expect("valid")
                    .seen
                    .image
            );
        }
    }

    #[test]
    fn words_are_seen_where_they_are_whole_keys_or_strings() {
        let body = json!({"messages":[
            {"role":"developer","content":"a \"tool\" with a \"prefix\":"},
            {"role":"assistant","reasoning_content":"x","tool_calls":[],"reasoning":null},
            {"role":"user","content":"reasoning_content"},
        ]});
        for every in [1, 7, 1000] {
            let found = object(&frames(body.to_string().as_bytes(), every)).expect("valid");
            let seen = Seen {
                tool_calls: 1,
                reasoning: 2,
                developer: true,
                ..Seen::default()
            };
            assert_eq!(found.seen, seen);
        }
    }

    #[test]
    fn bombs_are_refused_without_recursion() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(
            object(&frames(deep.as_bytes(), 4096)),
            Err(Malformed::TooDeep(_))
        ));
        for (levels, fits) in [(DEPTH_LIMIT - 2, true), (DEPTH_LIMIT - 1, false)] {
            let text = format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
            let theirs = serde_json::from_str::<Value>(&text).is_ok();
            assert_eq!(object(&frames(text.as_bytes(), 40)).is_ok(), fits);
            assert_eq!(theirs, fits);
        }
        let wide: String = (0..1000).map(|i| format!("\"k{i}\":1,")).collect();
        let wide = format!("{{{wide}\"z\":1}}");
        assert_eq!(
            object(&frames(wide.as_bytes(), 4096)).err(),
            Some(Malformed::TooManyFields)
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| object(&frames(text.as_bytes(), 5)).expect_err(text);
        assert_eq!(wrong(""), Malformed::Empty);
        assert_eq!(wrong("[1]"), Malformed::NotAnObject);
        assert_eq!(wrong(r#"{"a":"b"#), Malformed::Ended(7));
        assert_eq!(wrong(r#"{"a" "b"}"#), Malformed::Unexpected(5));
        assert_eq!(wrong(r#"{"a":1} x"#), Malformed::Unexpected(8));
        assert_eq!(wrong("{\"a\tb\":1}"), Malformed::Unexpected(1));
    }
}
