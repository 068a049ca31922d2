//! An answer's way from a wire to a surface: its bytes as they are where both speak the same
//! dialect, told anew from canonical events otherwise. Either way it is known what the caller has
//! of the answer so far, so that another host can go on from there.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::backend::wires::openai::{Hearing, Sight};
use crate::backend::wires::{Decoder, Report};
use crate::chat::{Event, Finish, Refusal, Reply, Speaker, Usage};

/// Pieces to pass on; nearly always one.
pub(super) type Pieces = SmallVec<[Bytes; 2]>;

/// What a caller has of an answer, and who tells it more.
pub(in super::super) struct SoFar {
    pub(in super::super) said: Reply,
    pub(in super::super) speaker: Box<dyn Speaker>,
    /// Whether its beginning has been told.
    begun: bool,
}

impl SoFar {
    /// Of an answer of which nothing has been told.
    pub(super) fn nothing(speaker: Box<dyn Speaker>) -> Self {
        SoFar {
            said: Reply::default(),
            speaker,
            begun: false,
        }
    }

    /// Of an answer that began elsewhere.
    pub(super) fn of(said: Reply, speaker: Box<dyn Speaker>) -> Self {
        SoFar {
            said,
            speaker,
            begun: true,
        }
    }

    /// Whether another host can go on from here: with text, but not inside a call, after the end,
    /// or with several answers under way.
    pub(in super::super) fn can_go_on(&self) -> bool {
        self.said.choices.len() <= 1
            && self
                .said
                .choices
                .first()
                .is_none_or(|choice| choice.said.calls.is_empty() && choice.finish.is_none())
    }

    fn hear(&mut self, event: Event<'_>, out: &mut BytesMut) {
        match event {
            Event::Begin { .. } if self.begun => return,
            // A host that goes on from a text may think anew; the caller is past that.
            Event::Reasoning { choice: 0, .. } if self.is_past_thinking() => return,
            event if is_no_end(event) => return,
            _ => {}
        }
        self.begun = true;
        self.said.hear(event);
        self.speaker.say(event, out);
    }

    fn is_past_thinking(&self) -> bool {
        self.said
            .choices
            .first()
            .is_some_and(|choice| !choice.said.text.is_empty())
    }
}

/// A host that gave up has not ended the answer: another may go on, and if none does the error says
/// so.
fn is_no_end(event: Event<'_>) -> bool {
    matches!(
        event,
        Event::Finish {
            reason: Finish::HostGaveUp,
            ..
        }
    )
}

/// Shared between the attempts of one request: a later one goes on where an earlier one broke off.
pub(in super::super) type Shared = Arc<Mutex<SoFar>>;

pub(super) enum Course {
    Passed {
        sight: Sight,
        kept: Kept,
    },
    Told {
        decoder: Box<dyn Decoder>,
        so_far: Shared,
    },
}

impl Course {
    /// Bytes pass as they come. `keep`: they may be needed again, up to so many.
    pub(super) fn passed(sight: Sight, keep: usize) -> Self {
        Course::Passed {
            sight,
            kept: Kept::up_to(keep),
        }
    }

    pub(super) fn told(decoder: Box<dyn Decoder>, so_far: Shared) -> Self {
        Course::Told { decoder, so_far }
    }

    pub(super) fn report(&self) -> &Report {
        match self {
            Course::Passed { sight, .. } => sight.report(),
            Course::Told { decoder, .. } => decoder.report(),
        }
    }

    pub(super) fn take(&mut self, chunk: Bytes) -> Pieces {
        match self {
            Course::Passed { sight, kept } => {
                kept.keep(&chunk);
                sight.take(chunk)
            }
            Course::Told { decoder, so_far } => tell(so_far, |heard| decoder.take(chunk, heard)),
        }
    }

    /// The host has nothing more to say: what was left over. Half an event of a host that broke
    /// off is no event; the report says which it was.
    pub(super) fn end(&mut self) -> Pieces {
        match self {
            Course::Passed { sight, .. } => sight.end(),
            Course::Told { decoder, so_far } => tell(so_far, |heard| decoder.end(heard)),
        }
    }

    /// The answer is complete: what the dialect says at its end, where that is not the host's.
    /// `counted` stands for a usage that the host never told.
    pub(super) fn close(&mut self, counted: Option<Usage>) -> Option<Bytes> {
        match self {
            Course::Passed { .. } => None,
            Course::Told { so_far, .. } => {
                let mut out = BytesMut::new();
                let mut so_far = so_far.lock();
                if let Some(usage) = counted {
                    so_far.hear(Event::Usage(usage), &mut out);
                }
                so_far.speaker.close(&mut out);
                Some(out.freeze())
            }
        }
    }

    /// What has been said, read again from the bytes where they passed untold. `None` where they
    /// were too many to be kept, or not kept at all.
    pub(super) fn said(&self) -> Option<Reply> {
        match self {
            Course::Passed { kept, .. } => kept.read(),
            Course::Told { so_far, .. } => Some(so_far.lock().said.clone()),
        }
    }

    pub(super) fn shared(&self) -> Option<Shared> {
        match self {
            Course::Passed { .. } => None,
            Course::Told { so_far, .. } => Some(so_far.clone()),
        }
    }
}

fn tell(so_far: &Shared, hear: impl FnOnce(&mut dyn FnMut(Event<'_>))) -> Pieces {
    let mut out = BytesMut::new();
    let mut so_far = so_far.lock();
    hear(&mut |event| so_far.hear(event, &mut out));
    let mut pieces = Pieces::new();
    if !out.is_empty() {
        pieces.push(out.freeze());
    }
    pieces
}

/// The end of a stream that cannot be completed, in the words of whoever has told it so far.
pub(in super::super) fn failed(so_far: &Shared, refusal: &Refusal) -> Bytes {
    let mut out = BytesMut::new();
    so_far.lock().speaker.fail(refusal, &mut out);
    out.freeze()
}

/// Bytes that have passed, as they came: shared, not copied.
pub(super) struct Kept {
    chunks: Vec<Bytes>,
    /// How many more bytes may be kept.
    room: usize,
    overflown: bool,
}

impl Kept {
    fn up_to(room: usize) -> Self {
        Kept {
            chunks: Vec::new(),
            room,
            overflown: room == 0,
        }
    }

    fn keep(&mut self, chunk: &Bytes) {
        if self.overflown {
            return;
        }
        if chunk.len() > self.room {
            self.overflown = true;
            self.chunks = Vec::new();
            return;
        }
        self.room -= chunk.len();
        self.chunks.push(chunk.clone());
    }

    fn read(&self) -> Option<Reply> {
        if self.overflown {
            return None;
        }
        let mut said = Reply::default();
        let mut hearing = Hearing::new();
        for chunk in &self.chunks {
            hearing.take(chunk.clone(), &mut |event| {
                if !is_no_end(event) {
                    said.hear(event);
                }
            });
        }
        // What is left over is half an event: the caller has not got it.
        Some(said)
    }
}
