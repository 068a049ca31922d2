//! The blocks of a message as events: one open at a time, under a running index. Relies on nothing
//! but the buffer: the text of a piece is escaped straight into it.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::super::message::Seal;
use super::arguments::Arguments;

/// What a model says outside of calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prose {
    Thinking,
    Text,
}

/// A block begun and not ended.
enum Open {
    /// With its text so far where it will be sealed.
    Thinking(Option<String>),
    Text,
    Call(u32, Arguments),
}

#[derive(Default)]
pub(super) struct Blocks {
    pub(super) seal: Option<Seal>,
    open: Option<Open>,
    /// The index of the next block.
    next: u32,
    /// The event of a piece of the open block, up to the piece itself.
    lead: String,
}

impl Blocks {
    /// Whether a call is open whose arguments have not come to their end.
    pub(super) fn mid_call(&self) -> bool {
        matches!(&self.open, Some(Open::Call(_, arguments)) if !arguments.complete())
    }

    /// Whether the open block is this call's.
    pub(super) fn in_call(&self, number: u32) -> bool {
        matches!(&self.open, Some(Open::Call(open, _)) if *open == number)
    }

    /// Adds to the open block if it is of this kind, and otherwise to a new one.
    pub(super) fn prose(&mut self, kind: Prose, text: &str, out: &mut BytesMut) {
        match (kind, &mut self.open) {
            (Prose::Text, Some(Open::Text)) => {}
            (Prose::Thinking, Some(Open::Thinking(kept))) => {
                if let Some(kept) = kept {
                    kept.push_str(text);
                }
            }
            (Prose::Text, _) => {
                self.start("\"text_delta\",\"text\"", out);
                out.extend_from_slice(b"{\"type\":\"text\",\"text\":\"\"}}\n\n");
                self.open = Some(Open::Text);
            }
            (Prose::Thinking, _) => {
                self.start("\"thinking_delta\",\"thinking\"", out);
                out.extend_from_slice(
                    b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
                );
                let kept = self.seal.is_some().then(|| text.to_owned());
                self.open = Some(Open::Thinking(kept));
            }
        }
        self.piece(text, out);
    }

    pub(super) fn start_call(&mut self, number: u32, id: &str, name: &str, out: &mut BytesMut) {
        self.start("\"input_json_delta\",\"partial_json\"", out);
        out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
        json(out, id);
        out.extend_from_slice(b",\"name\":");
        json(out, name);
        out.extend_from_slice(b",\"input\":{}}}\n\n");
        self.open = Some(Open::Call(number, Arguments::default()));
    }

    /// Adds to the open call what can be told of its arguments.
    pub(super) fn fill_call(&mut self, piece: &str, out: &mut BytesMut) {
        if let Some(Open::Call(_, arguments)) = &mut self.open {
            let tellable = arguments.take(piece);
            if !tellable.is_empty() {
                self.piece(tellable, out);
            }
        }
    }

    /// Ends the open block, if there is one.
    pub(super) fn end(&mut self, out: &mut BytesMut) {
        let Some(open) = self.open.take() else { return };
        let index = self.next.saturating_sub(1);
        match open {
            Open::Thinking(kept) => {
                let signature = match (&self.seal, kept) {
                    (Some(seal), Some(text)) => seal(&text),
                    _ => String::new(),
                };
                let _ = write!(
                    out,
                    "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\
                     \"index\":{index},\"delta\":{{\"type\":\"signature_delta\",\"signature\":"
                );
                json(out, &signature);
                out.extend_from_slice(b"}}\n\n");
            }
            Open::Text => {}
            Open::Call(_, arguments) => {
                if let Some(rest) = arguments.end() {
                    self.piece(rest.get(), out);
                }
            }
        }
        let _ = write!(
            out,
            "event: content_block_stop\ndata: \
             {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        );
    }

    /// Writes the start of a block up to its content, and sets the lead of its pieces.
    fn start(&mut self, delta: &str, out: &mut BytesMut) {
        self.end(out);
        let index = self.next;
        self.next += 1;
        self.lead.clear();
        // Writing to memory cannot fail, here and below.
        let _ = write!(
            self.lead,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\
             \"index\":{index},\"delta\":{{\"type\":{delta}:"
        );
        let _ = write!(
            out,
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\
             \"index\":{index},\"content_block\":"
        );
    }

    fn piece(&self, text: &str, out: &mut BytesMut) {
        out.reserve(self.lead.len() + text.len() + 8);
        out.extend_from_slice(self.lead.as_bytes());
        json(out, text);
        out.extend_from_slice(b"}}\n\n");
    }
}

/// Each event has its `event:` line: the official clients skip those without.
pub(super) fn event(out: &mut BytesMut, name: &str, data: &impl Serialize) {
    let _ = write!(out, "event: {name}\ndata: ");
    json(out, data);
    out.extend_from_slice(b"\n\n");
}

fn json(out: &mut BytesMut, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out.writer(), value).expect("memory takes what strings and numbers are");
}
