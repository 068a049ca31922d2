//! The events that tell of an item: each is written straight into the stream.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::Serialize;

use super::custom;
use super::items::{Item, Piece, Spoken, What};
use super::logprobs::Logprob;
use super::response::json;
use super::tools::Kind;

/// What an event tells of an item.
pub(super) enum Telling<'a> {
    Begun,
    Part(&'a str),
    Delta(&'a str),
    TextDelta(&'a str, &'a [Logprob]),
    Whole,
    WholePart,
    Ended,
}

/// An event's members; each kind has some.
#[derive(Default, Serialize)]
struct Fields<'a> {
    r#type: &'static str,
    sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [Logprob]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Piece<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item<'a>>,
}

/// Opens an event of this kind.
pub(super) fn head(kind: &str, out: &mut BytesMut) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

/// Appends an event about an item and its place in the output.
pub(super) fn write(
    kind: &'static str,
    sequence: u64,
    (index, spoken): (usize, &Spoken),
    of: Telling<'_>,
    out: &mut BytesMut,
) {
    let whole = matches!(of, Telling::Begun | Telling::Ended);
    let inside = !whole && !matches!(spoken.said, What::Call { .. });
    let summary = matches!(spoken.said, What::Thinking { summary: true, .. });
    let mut fields = Fields {
        r#type: kind,
        sequence_number: sequence,
        item_id: (!whole).then_some(spoken.id.as_str()),
        output_index: index,
        content_index: (inside && !summary).then_some(0),
        summary_index: (inside && summary).then_some(0),
        ..Fields::default()
    };
    match of {
        Telling::Begun => fields.item = Some(spoken.begun()),
        Telling::Ended => fields.item = Some(spoken.item()),
        Telling::Part(text) => fields.part = Some(spoken.piece(text)),
        Telling::WholePart => fields.part = Some(spoken.piece(spoken.text())),
        Telling::Delta(delta) => fields.delta = Some(delta),
        Telling::TextDelta(delta, logprobs) => {
            fields.delta = Some(delta);
            fields.logprobs = Some(logprobs);
        }
        Telling::Whole => match &spoken.said {
            What::Thinking { text, .. } => fields.text = Some(text),
            What::Text { text, logprobs } => {
                fields.text = Some(text);
                fields.logprobs = Some(logprobs);
            }
            What::Call {
                kind: Kind::Function,
                arguments,
                name,
                ..
            } => {
                fields.arguments = Some(arguments);
                fields.name = Some(name);
            }
            What::Call { arguments, .. } => fields.input = Some(custom::unwrapped(arguments)),
        },
    }
    head(kind, out);
    json(&fields, out);
    out.extend_from_slice(b"\n\n");
}
