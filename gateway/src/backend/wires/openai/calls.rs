//! Which call a piece of one belongs to. Hosts number calls, or name them by id, or neither; some
//! give several calls one number or one id, and some say the name late or again and again.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::chunk::{CallDelta, Function};
use crate::chat::Event;

/// An absurd number of calls is no reason to allocate: those beyond are dropped.
const MOST_CALLS: usize = 512;

/// The calls of one choice.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: SmallVec<[Known; 1]>,
    /// The call that was spoken of last.
    current: usize,
}

#[derive(Debug)]
struct Known {
    /// The host's number of it.
    number: Option<u32>,
    /// The host's id of it, perhaps empty.
    id: String,
    /// Set once the call has been told.
    begun: Option<u32>,
    named: bool,
    /// Arguments that came before the name.
    early: String,
}

/// Makes ids where a host gives none, or one twice.
#[derive(Debug)]
pub(super) struct Mint {
    seed: u64,
    made: u32,
    used: HashSet<Box<str>>,
}

impl Mint {
    pub(super) fn new(seed: u64) -> Self {
        Mint {
            seed,
            made: 0,
            used: HashSet::new(),
        }
    }

    /// The host's id if it can stand, else a new one.
    fn id(&mut self, given: &str) -> String {
        let id = if given.is_empty() || self.used.contains(given) {
            self.made += 1;
            format!("call_{:016x}{:04x}", self.seed, self.made)
        } else {
            given.to_owned()
        };
        self.used.insert(id.as_str().into());
        id
    }
}

impl Calls {
    pub(super) fn any(&self) -> bool {
        self.calls.iter().any(|call| call.begun.is_some())
    }

    /// Whether a call never got a name: it cannot be told.
    pub(super) fn nameless(&self) -> bool {
        self.calls.iter().any(|call| call.begun.is_none())
    }

    /// Takes a piece and tells what it brings. Bytes of arguments are counted.
    pub(super) fn take(
        &mut self,
        choice: u32,
        piece: &CallDelta<'_>,
        mint: &mut Mint,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> u64 {
        let name = piece.function.as_ref().map_or("", |f| f.name.as_str());
        let Some(at) = self.find(piece, name) else {
            return 0;
        };
        self.current = at;
        let next = self
            .calls
            .iter()
            .filter(|call| call.begun.is_some())
            .count();
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            piece.id.as_str().clone_into(&mut call.id);
        }
        if call.begun.is_none() && !name.is_empty() {
            let index = u32::try_from(next).unwrap_or(u32::MAX);
            call.begun = Some(index);
            call.named = true;
            let id = mint.id(&call.id);
            heard(Event::Call {
                choice,
                index,
                id: &id,
                name,
            });
            if !call.early.is_empty() {
                heard(Event::Arguments {
                    choice,
                    index,
                    piece: &std::mem::take(&mut call.early),
                });
            }
        }
        let arguments = piece
            .function
            .as_ref()
            .map(Function::arguments)
            .unwrap_or_default();
        if !arguments.is_empty() {
            match call.begun {
                Some(index) => heard(Event::Arguments {
                    choice,
                    index,
                    piece: &arguments,
                }),
                None => call.early.push_str(&arguments),
            }
        }
        arguments.len() as u64
    }

    /// The call that a piece belongs to, made if it is a new one.
    fn find(&mut self, piece: &CallDelta<'_>, name: &str) -> Option<usize> {
        let id = piece.id.as_str();
        let number = piece.index.0;
        let found = match number {
            Some(number) => self
                .calls
                .iter()
                .rposition(|call| call.number == Some(number))
                // Another id and a name under the same number: another call.
                .filter(|&at| {
                    let known = &self.calls[at];
                    name.is_empty() || id.is_empty() || known.id.is_empty() || known.id == id
                }),
            None if !id.is_empty() => self.calls.iter().rposition(|call| call.id == id),
            // Neither number nor id: more of the current one, unless a name begins another.
            None => (!self.calls.is_empty())
                .then_some(self.current)
                .filter(|&at| name.is_empty() || !self.calls[at].named),
        };
        if found.is_some() {
            return found;
        }
        if self.calls.len() == MOST_CALLS {
            return None;
        }
        self.calls.push(Known {
            number,
            id: String::new(),
            begun: None,
            named: false,
            early: String::new(),
        });
        Some(self.calls.len() - 1)
    }
}
