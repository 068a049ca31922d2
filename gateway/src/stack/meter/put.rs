//! How a request is put to a backend: its body as the caller wrote it, with the few edits that
//! routing needs, where host and caller speak the same; written anew from the conversation where
//! they do not, or where the conversation itself must change.

use super::super::passage::Dispatch;
use super::Setback;
use crate::access::Tenants;
use crate::backend::wires::{self, Asked, Outgoing};
use crate::backend::{Address, Backend};
use crate::chat::{Conversation, Dialect, Said, Tokens, Turn};
use crate::routing::PlaceEstimates;

/// A request in a host's words.
pub(super) struct Put {
    pub(super) outgoing: Outgoing,
    /// The answer must be told anew as well.
    pub(super) told: bool,
    /// Where it goes.
    pub(super) address: Address,
}

pub(super) fn put(
    tenants: &Tenants,
    dispatch: &Dispatch,
    backend: &Backend,
) -> Result<Put, Setback> {
    let planned = &*dispatch.planned;
    let request = &planned.asked.request;
    let tenant = tenants
        .of(&planned.asked.principal.payer.organisation)
        .to_string();
    let asked = Asked {
        model: &backend.offer().id,
        quirks: &backend.host().quirks,
        stream: request.stream,
        bound: planned.bound,
        tenant: &tenant,
    };
    let wire = backend.host().wire;
    if request.original.dialect == Dialect::OpenaiCompletions
        && backend.addresses.completions.is_some()
        && dispatch.so_far.is_none()
    {
        return Ok(Put {
            outgoing: wires::completed(request, asked),
            told: false,
            address: Address::Completions,
        });
    }
    if dispatch.so_far.is_none() && wires::passes(wire, request, asked.quirks) {
        return Ok(Put {
            outgoing: wires::passed(request, asked)
                .map_err(|why| Setback::CannotSay(why.to_string()))?,
            told: false,
            address: Address::Answers,
        });
    }
    let conversation = planned
        .conversation()
        .map_err(|refusal| Setback::Unreadable(refusal.clone()))?;
    let longer;
    let conversation = match unfinished(dispatch) {
        Some(said) => {
            let rest = planned
                .bound
                .map(|bound| rest(bound, &said, &planned.site(dispatch.rank).estimates));
            longer = Conversation {
                max_output: rest,
                ..going_on(conversation, said)
            };
            &longer
        }
        None => conversation,
    };
    Ok(Put {
        outgoing: wires::body(wire, conversation, asked)
            .map_err(|why| Setback::CannotSay(why.to_string()))?,
        told: true,
        address: if wires::continues(wire, conversation, asked.quirks) {
            Address::Continuation
        } else {
            Address::Answers
        },
    })
}

/// The text of the answer that the caller has already, if it has any. No host goes on from thinking
/// alone: where only that was told the answer is begun anew, and its thinking follows what there was.
fn unfinished(dispatch: &Dispatch) -> Option<Said> {
    let so_far = dispatch.so_far.as_ref()?.lock();
    let said = so_far.said.choices.first()?.said.clone();
    (!said.text.is_empty()).then_some(Said {
        unfinished: true,
        ..said
    })
}

/// What is left of the bound on an answer of which so much was said. Nobody counted its tokens, so
/// this is about right; one token always fits.
fn rest(bound: Tokens, said: &Said, estimates: &PlaceEstimates) -> Tokens {
    let bytes = said.text.len() + said.reasoning.as_ref().map_or(0, String::len);
    let told = estimates.tokens_of_answer(bytes as u64);
    Tokens::new(bound.get().saturating_sub(told.get()).max(1))
}

/// The same conversation, to be gone on with from the middle of an answer.
fn going_on(conversation: &Conversation, mut said: Said) -> Conversation {
    let mut conversation = conversation.clone();
    match conversation.turns.last_mut() {
        // The caller had begun the answer itself.
        Some(Turn::Assistant(begun)) if begun.unfinished => {
            begun.text.push_str(&said.text);
            if said.reasoning.is_some() {
                begun.reasoning = said.reasoning.take();
            }
        }
        _ => conversation.turns.push(Turn::Assistant(said)),
    }
    conversation
}
