//! What is kept of an answer for later turns: the thinking behind its calls, which hosts demand
//! back and clients drop, and the whole of it where its caller may come back to it.

use super::course::Course;
use super::open::OpenEntry;
use crate::chat::{Finish, Reply};

/// Keeps what a complete stream has said.
pub(super) fn keep(open: &OpenEntry, course: &Course) {
    let wanted = wanted(open, course.report().finish);
    if wanted && let Some(said) = course.said() {
        keep_reply(open, &said);
    }
}

/// Whether an answer that ended so is needed again.
pub(super) fn wanted(open: &OpenEntry, finish: Option<Finish>) -> bool {
    let request = open.request();
    request.keep
        || (request.needs.tools && matches!(finish, Some(Finish::ToolCalls | Finish::Stop)))
}

pub(super) fn keep_reply(open: &OpenEntry, reply: &Reply) {
    let planned = &open.dispatch().planned;
    let (history, now) = (&open.rooms().history, open.rooms().clock.now());
    let tenant = &planned.asked.principal.payer.organisation;
    if open.request().needs.tools {
        let read = planned.conversation_if_read();
        let turns = read.map(|conversation| conversation.turns.as_slice());
        for choice in &reply.choices {
            history.keep_reasoning(tenant, turns, &choice.said, now);
        }
    }
    if open.request().keep
        && let Some(stored) = planned.stored(reply)
    {
        history.store(tenant, stored, now);
    }
}
