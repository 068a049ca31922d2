//! The forms of answers on this wire, chunks of a stream and whole ones, borrowed from the host's
//! bytes. Lenient in what hosts vary: fields missing, null or of another type are as good as absent.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A chunk, or a whole answer.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub object: Text<'a>,
    #[serde(borrow, default)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub message: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default)]
    pub index: Index,
    #[serde(borrow, default)]
    pub delta: Option<Delta<'a>>,
    /// In whole answers; a few hosts repeat all of it beside each delta.
    #[serde(borrow, default)]
    pub message: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub finish_reason: Text<'a>,
    #[serde(borrow, default)]
    pub logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, default)]
    pub content: Text<'a>,
    #[serde(borrow, default)]
    pub reasoning_content: Text<'a>,
    #[serde(borrow, default)]
    pub reasoning: Text<'a>,
    /// A list of pieces with `text` or `summary`.
    #[serde(borrow, default)]
    pub reasoning_details: Text<'a>,
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<CallDelta<'a>>>,
}

impl Delta<'_> {
    /// Thinking by whichever name; some hosts send it under two.
    pub(super) fn reasoning(&self) -> &str {
        [
            &self.reasoning_content,
            &self.reasoning,
            &self.reasoning_details,
        ]
        .into_iter()
        .map(Text::as_str)
        .find(|text| !text.is_empty())
        .unwrap_or("")
    }
}

#[derive(Deserialize)]
pub(super) struct CallDelta<'a> {
    #[serde(default)]
    pub index: Index,
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub function: Option<Function<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Function<'a> {
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// JSON text; a few hosts give the JSON itself.
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
}

impl Function<'_> {
    pub(super) fn arguments(&self) -> Cow<'_, str> {
        let Some(raw) = self.arguments else {
            return Cow::Borrowed("");
        };
        match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Text<'_>>(raw.get())
                .map(|text| text.0)
                .unwrap_or_default(),
            Some(b'n') => Cow::Borrowed(""),
            _ => Cow::Borrowed(raw.get()),
        }
    }
}

/// Text, borrowed where nothing is escaped. A list of parts is their text; whatever else is empty.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Text<'de>, A::Error> {
                let mut text = Text::default();
                while let Some(part) = parts.next_element::<Text<'de>>()? {
                    if text.0.is_empty() {
                        text = part;
                    } else {
                        text.0.to_mut().push_str(&part.0);
                    }
                }
                Ok(text)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut part: A) -> Result<Text<'de>, A::Error> {
                let mut text = Text::default();
                while let Some(key) = part.next_key::<Text<'de>>()? {
                    if matches!(key.as_str(), "text" | "summary") {
                        text = part.next_value()?;
                    } else {
                        part.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(text)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A small number, or none that could be an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Index(pub Option<u32>);

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = <&RawValue>::deserialize(deserializer)?;
        Ok(Index(written.get().parse().ok()))
    }
}

/// The payload with halves of characters made whole: some hosts split an escaped surrogate pair
/// between two chunks, which no JSON reader takes. `None` where that was not what is wrong.
pub(super) fn mended(payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = payload.to_vec();
    let mut mended = false;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &out[at..]) {
        let escape = at + found;
        let Some(unit) = unit(&out, escape) else {
            at = (escape + 2).min(out.len());
            continue;
        };
        let paired = (0xD800..0xDC00).contains(&unit)
            && self::unit(&out, escape + 6).is_some_and(|low| (0xDC00..0xE000).contains(&low));
        if paired {
            at = escape + 12;
            continue;
        }
        if (0xD800..0xE000).contains(&unit) {
            out[escape + 2..escape + 6].copy_from_slice(b"fffd");
            mended = true;
        }
        at = escape + 6;
    }
    mended.then_some(out)
}

/// The number of a `\uXXXX` escape.
fn unit(text: &[u8], at: usize) -> Option<u32> {
    let escape = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
}
