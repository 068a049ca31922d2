//! A request that is in this wire's dialect already: what is edited on its way to a host, in place.
//! Every byte that routing or the host does not need changed is the caller's own. Relies on the
//! members that the surface found (`chat::Spans`).

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::super::{Asked, CannotSay, Outgoing};
use super::quoted;
use super::thinking::{self, KWARGS, SWITCHES};
use super::writing::{check_format, check_stop, headers, mentions_json};
use crate::catalog::{HistoryReasoning, Quirks, SchemaFallback, ThinkingControl, ToolChoiceForm};
use crate::chat::{Dialect, Edit, Effort, Frames, MaxField, Request};

/// Whether the body can pass to such a host with edits of its top-level fields only. Where it
/// cannot, the request must be read completely and written anew (`body`). Judged by what reading
/// the body has seen already; only JSON mode and fields that a host refuses cost a search.
pub fn passes(request: &Request, quirks: &Quirks) -> bool {
    if request.original.dialect != Dialect::OpenaiChat {
        return false;
    }
    let needs = &request.needs;
    let seen = &request.original.spans.seen;
    if needs.json_schema && quirks.json_schema_fallback == SchemaFallback::JsonObject
        || needs.logprobs && quirks.logprobs_count
        || seen.tool && quirks.tool_content_string
        || seen.developer && quirks.no_developer_role
        || seen.prefix && quirks.prefix_base.is_some()
        || !takes_choice(request, quirks)
    {
        return false;
    }
    // All or nothing: turns that called tools without saying what they thought need repair.
    if quirks.history_reasoning == HistoryReasoning::RequiredWithTools
        && needs.tools
        && request.effort != Effort::Off
        && seen.reasoning < seen.tool_calls
    {
        return false;
    }
    let messages = Messages(request);
    if needs.json_object && quirks.json_prompt && !messages.mention_json() {
        return false;
    }
    !quirks
        .strip_message_fields
        .iter()
        .any(|field| messages.hold(quoted(field).as_bytes()))
}

/// The caller's body with the host's model id, usage asked for, the output bound where it is ours
/// to set, thinking asked for in the host's words, and our tenant in place of the caller's.
///
/// # Errors
/// What the host cannot be asked, in words for the caller.
pub fn passed(request: &Request, asked: Asked<'_>) -> Result<Outgoing, CannotSay> {
    let quirks = asked.quirks;
    let mut change = Change::of(request, asked);
    change.ask_for_usage(quirks);
    change.bound(asked);
    check_format(
        request.needs.tools,
        request.needs.json_object || request.needs.json_schema,
        quirks,
    )?;
    if quirks.max_stop.is_some()
        && let Some(Value::Array(stop)) = change.value("stop")
    {
        check_stop(stop.len(), quirks)?;
    }
    change.think(quirks)?;
    for field in &quirks.refused_fields {
        change.remove(field);
    }
    for (field, json) in &quirks.fields {
        if change.at(field).is_none() {
            change
                .inserted
                .push_str(&format!("{}:{json},", quoted(field)));
        }
    }
    change.isolate(asked);
    Ok(Outgoing {
        body: change.apply(),
        headers: headers(quirks),
    })
}

/// Whether the host takes the caller's form of `tool_choice`.
fn takes_choice(request: &Request, quirks: &Quirks) -> bool {
    if quirks.tool_choice.is_empty() || !request.needs.tools {
        return true;
    }
    let form = match value(request, "tool_choice") {
        Some(Value::Object(_)) => ToolChoiceForm::Named,
        Some(Value::String(word)) => match word.as_str() {
            "required" | "any" => ToolChoiceForm::Required,
            "none" => ToolChoiceForm::None,
            _ => return true,
        },
        _ => return true,
    };
    quirks.tool_choice.contains(&form)
}

/// Where a member stands: its number, and its value's bytes.
fn at(request: &Request, field: &str) -> Option<(usize, Range<usize>)> {
    let members = &request.original.spans.members;
    let index = members.iter().position(|member| member.key == field)?;
    Some((index, members[index].value.clone()))
}

fn value(request: &Request, field: &str) -> Option<Value> {
    let (_, range) = at(request, field)?;
    serde_json::from_slice(&request.original.frames.slice(range)).ok()
}

/// The changes to one body.
pub(super) struct Change<'a> {
    request: &'a Request,
    /// Members to be put first, each with a comma after it.
    pub(super) inserted: String,
    pub(super) edits: SmallVec<[Edit; 4]>,
    /// Members to be taken out, by their numbers.
    removed: SmallVec<[usize; 8]>,
}

impl<'a> Change<'a> {
    /// To the host's id of the model.
    pub(super) fn of(request: &'a Request, asked: Asked<'_>) -> Self {
        let mut change = Change {
            request,
            inserted: String::new(),
            edits: SmallVec::new(),
            removed: SmallVec::new(),
        };
        change.edits.push(Edit {
            range: request.original.spans.model.clone(),
            with: Bytes::from(quoted(asked.model)),
        });
        change
    }
}

impl Change<'_> {
    fn at(&self, field: &str) -> Option<(usize, Range<usize>)> {
        at(self.request, field)
    }

    fn value(&self, field: &str) -> Option<Value> {
        value(self.request, field)
    }

    fn remove(&mut self, field: &str) {
        if let Some((index, _)) = self.at(field)
            && !self.removed.contains(&index)
        {
            self.removed.push(index);
        }
    }

    pub(super) fn ask_for_usage(&mut self, quirks: &Quirks) {
        if quirks.no_stream_options {
            return self.remove("stream_options");
        }
        if !self.request.stream || self.request.usage_wanted {
            return;
        }
        match &self.request.original.spans.stream_options {
            Some(range) => self.edits.push(Edit {
                range: range.clone(),
                with: Bytes::from_static(b"{\"include_usage\":true}"),
            }),
            None => self
                .inserted
                .push_str("\"stream_options\":{\"include_usage\":true},"),
        }
    }

    /// Our name for the tenant, never a caller's own.
    pub(super) fn isolate(&mut self, asked: Asked<'_>) {
        if let Some(field) = asked.quirks.tenant_field.as_deref() {
            self.remove(field);
            if !asked.tenant.is_empty() {
                self.inserted
                    .push_str(&format!("{}:{},", quoted(field), quoted(asked.tenant)));
            }
        }
    }

    fn bound(&mut self, asked: Asked<'_>) {
        let wanted = asked.quirks.max_tokens_field.as_deref();
        let given = &self.request.original.spans.max_output;
        if let (None, Some(bound)) = (given, asked.bound) {
            let field = quoted(wanted.unwrap_or("max_tokens"));
            // What stands there already is null: hosts that take the last of two would not be bound.
            self.remove("max_tokens");
            self.remove("max_completion_tokens");
            self.inserted.push_str(&format!("{field}:{bound},"));
        } else if let (Some((field, _)), Some(wanted), Some(limit)) =
            (given, wanted, self.request.max_output)
            && wanted != name(*field)
        {
            // The host knows the bound by its other name.
            self.remove(name(*field));
            self.inserted
                .push_str(&format!("{}:{limit},", quoted(wanted)));
        }
    }

    /// Takes out the caller's switches and writes the host's own, where the two differ.
    fn think(&mut self, quirks: &Quirks) -> Result<(), CannotSay> {
        let asked = self.request.effort;
        let effort = thinking::settled(quirks, asked, self.request.needs.forced_tools)?;
        if quirks.thinking == ThinkingControl::Unsettled && effort == asked {
            return Ok(());
        }
        let spans = &self.request.original.spans;
        let mut foreign = false;
        let mut given: SmallVec<[usize; 8]> = SmallVec::new();
        for (index, member) in spans.members.iter().enumerate() {
            let key = member.key.as_str();
            if SWITCHES.contains(&key) {
                given.push(index);
                foreign |= !thinking::reads(quirks, key)
                    || key == "reasoning_effort" && !thinking::takes_word(quirks, effort);
            }
        }
        if !foreign && effort == asked {
            return Ok(());
        }
        let kwargs: Option<Map<String, Value>> = match self.value(KWARGS) {
            Some(Value::Object(kwargs)) => Some(kwargs),
            _ => None,
        };
        // A host that cannot be told at all does as it does: the caller's words are taken out.
        let members = if quirks.thinking == ThinkingControl::None {
            String::new()
        } else {
            thinking::members(quirks, effort, kwargs)?
        };
        self.inserted.push_str(&members);
        self.removed.extend(given);
        Ok(())
    }

    pub(super) fn apply(mut self) -> Frames {
        let spans = &self.request.original.spans;
        let members = &spans.members;
        self.removed.sort_unstable();
        self.removed.dedup();
        // A member goes with the comma before it; those at the very front with the one after.
        let at_front = self
            .removed
            .iter()
            .zip(0_usize..)
            .take_while(|(index, number)| **index == *number)
            .count();
        for &index in &self.removed {
            let start = match index.checked_sub(1) {
                None => spans.first_member,
                Some(before) => members[before].value.end,
            };
            self.edits.push(Edit {
                range: start..members[index].value.end,
                with: Bytes::new(),
            });
        }
        if at_front > 0 {
            if self.inserted.is_empty() {
                let end = members[at_front - 1].value.end;
                if let Some(comma) = self.comma_after(end)
                    && let Some(edit) = self.edits.iter_mut().find(|edit| edit.range.end == end)
                {
                    edit.range.end = comma;
                }
            } else {
                self.inserted.pop();
            }
        }
        if !self.inserted.is_empty() {
            let at = spans.first_member;
            // Before what is taken out at the same place.
            self.edits.insert(
                0,
                Edit {
                    range: at..at,
                    with: Bytes::from(self.inserted),
                },
            );
        }
        self.request.original.frames.edited(self.edits)
    }

    /// Right after the comma that follows a value, blanks between.
    fn comma_after(&self, end: usize) -> Option<usize> {
        let frames = &self.request.original.frames;
        (end..frames.len())
            .find(|&at| frames.slice(at..at + 1).first() == Some(&b','))
            .map(|at| at + 1)
    }
}

fn name(field: MaxField) -> &'static str {
    match field {
        MaxField::MaxTokens => "max_tokens",
        MaxField::MaxCompletionTokens => "max_completion_tokens",
    }
}

/// The caller's messages as bytes, to be searched. A quotation mark within a text has a backslash
/// before it, so a quoted word is found only where it is a whole string.
struct Messages<'a>(&'a Request);

impl Messages<'_> {
    /// Calls `look` with every frame's part of the messages, and with the seams between frames.
    fn each(&self, seam: usize, mut look: impl FnMut(&[u8])) {
        let Some((_, range)) = at(self.0, "messages") else {
            return;
        };
        let frames = &self.0.original.frames;
        let mut start = 0;
        for part in frames.parts() {
            let end = start + part.len();
            if range.start < end && range.end > start {
                let from = range.start.max(start);
                let to = range.end.min(end);
                look(&part[from - start..to - start]);
                if to < range.end {
                    let seam = to.saturating_sub(seam).max(range.start)..(to + seam).min(range.end);
                    look(&frames.slice(seam));
                }
            }
            start = end;
        }
    }

    fn hold(&self, word: &[u8]) -> bool {
        let finder = memmem::Finder::new(word);
        let mut found = false;
        self.each(word.len() - 1, |bytes| {
            found = found || finder.find(bytes).is_some();
        });
        found
    }

    fn mention_json(&self) -> bool {
        let mut found = false;
        self.each(3, |bytes| {
            found = found || mentions_json(bytes);
        });
        found
    }
}
