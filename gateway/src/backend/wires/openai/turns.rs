//! The turns of a conversation as messages of this wire.

use super::super::CannotSay;
use super::json::Json;
use crate::catalog::{Continues, HistoryReasoning, MissingReasoning, Quirks};
use crate::chat::{Call, Conversation, Effort, Image, Part, Said, Turn, text_of};

/// What becomes of thinking of earlier turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    Never,
    /// Where it is known.
    Known,
    /// On every turn, a space where it is not known.
    Always,
}

/// Decides for the whole conversation: where a host wants thinking back it wants all of it.
pub(super) fn history(
    conversation: &Conversation,
    quirks: &Quirks,
    effort: Effort,
) -> Result<History, CannotSay> {
    match quirks.history_reasoning {
        HistoryReasoning::Refused => return Ok(History::Never),
        HistoryReasoning::Accepted => return Ok(History::Known),
        HistoryReasoning::RequiredWithTools => {}
    }
    if conversation.tools.is_empty() || effort == Effort::Off {
        return Ok(History::Never);
    }
    let said = || {
        conversation.turns.iter().filter_map(|turn| match turn {
            Turn::Assistant(said) => Some(said),
            _ => None,
        })
    };
    if !said().any(|said| known(said).is_some() || !said.calls.is_empty()) {
        return Ok(History::Never);
    }
    if quirks.missing_reasoning == MissingReasoning::Refuse
        && said().any(|said| known(said).is_none())
    {
        return Err(CannotSay(
            "it wants the thinking of all earlier turns back, and of some it is not known"
                .to_owned(),
        ));
    }
    Ok(History::Always)
}

fn known(said: &Said) -> Option<&str> {
    said.reasoning.as_deref().filter(|text| !text.is_empty())
}

/// The member `messages`. `hint` goes to the instructions at the head.
pub(super) fn write(
    json: &mut Json,
    conversation: &Conversation,
    history: History,
    hint: Option<&str>,
    quirks: &Quirks,
) {
    json.key("messages");
    json.open(b'[');
    let mut hint = hint;
    if !matches!(conversation.turns.first(), Some(Turn::System(_)))
        && let Some(hint) = hint.take()
    {
        json.item();
        message(json, "system", hint);
    }
    // Pictures that tools brought, until the last result of a batch is written.
    let mut pictures: Vec<Shown<'_>> = Vec::new();
    let last = conversation.turns.len().saturating_sub(1);
    for (index, turn) in conversation.turns.iter().enumerate() {
        if !matches!(turn, Turn::Result { .. }) {
            write_pictures(json, &mut pictures);
        }
        json.item();
        match turn {
            Turn::System(parts) => match hint.take() {
                Some(hint) => message(json, "system", &format!("{}\n\n{hint}", text_of(parts))),
                None => write_plain(json, "system", parts),
            },
            Turn::User(parts) => write_user(json, parts),
            Turn::Assistant(said) => {
                write_said(json, said, history, index == last, quirks);
            }
            Turn::Result {
                call,
                parts,
                failed,
            } => {
                write_result(json, call, parts, *failed);
                if parts.iter().any(|part| matches!(part, Part::Image(_))) {
                    pictures.push(Shown { call, parts });
                }
            }
        }
    }
    write_pictures(json, &mut pictures);
    json.close(b']');
}

fn message(json: &mut Json, role: &str, content: &str) {
    json.open(b'{');
    json.member("role", role);
    json.member("content", content);
    json.close(b'}');
}

/// Text alone, as one string: not every host takes a list of parts.
fn write_plain(json: &mut Json, role: &str, parts: &[Part]) {
    match parts {
        [Part::Text(text)] => message(json, role, text),
        parts => message(json, role, &text_of(parts)),
    }
}

fn write_user(json: &mut Json, parts: &[Part]) {
    if parts.iter().all(|part| matches!(part, Part::Text(_))) {
        return write_plain(json, "user", parts);
    }
    json.raw("{\"role\":\"user\",\"content\":[");
    for part in parts {
        json.item();
        write_part(json, part);
    }
    json.raw("]}");
}

fn write_part(json: &mut Json, part: &Part) {
    match part {
        Part::Text(text) => {
            json.raw("{\"type\":\"text\"");
            json.member("text", text);
            json.close(b'}');
        }
        Part::Image(image) => write_image(json, image),
    }
}

fn write_image(json: &mut Json, image: &Image) {
    json.raw("{\"type\":\"image_url\",\"image_url\":{");
    match image {
        Image::Url(url) => json.member("url", url),
        Image::Inline { media_type, data } => {
            json.member("url", &format!("data:{media_type};base64,{data}"));
        }
    }
    json.raw("}}");
}

/// A result with pictures in it.
struct Shown<'a> {
    call: &'a str,
    parts: &'a [Part],
}

/// Tool messages hold text only: what they show follows in a message of the user's, under the name
/// of each call once, since ids may be long.
fn write_pictures(json: &mut Json, pictures: &mut Vec<Shown<'_>>) {
    if pictures.is_empty() {
        return;
    }
    json.item();
    json.raw("{\"role\":\"user\",\"content\":[");
    for Shown { call, parts } in pictures.drain(..) {
        json.item();
        json.raw("{\"type\":\"text\"");
        json.member("text", &format!("The result of {call} shows:"));
        json.close(b'}');
        for part in parts {
            if let Part::Image(image) = part {
                json.item();
                write_image(json, image);
            }
        }
    }
    json.raw("]}");
}

fn write_said(json: &mut Json, said: &Said, history: History, last: bool, quirks: &Quirks) {
    json.raw("{\"role\":\"assistant\"");
    let reasoning = match history {
        History::Never => None,
        History::Known => known(said),
        History::Always => Some(known(said).unwrap_or(" ")),
    };
    if let Some(reasoning) = reasoning {
        json.member(quirks.history_reasoning_field.as_str(), reasoning);
    }
    json.key("content");
    if said.text.is_empty() && !said.calls.is_empty() {
        json.raw("null");
    } else {
        json.value(&said.text);
    }
    if !said.calls.is_empty() {
        json.key("tool_calls");
        json.open(b'[');
        for call in &said.calls {
            json.item();
            write_call(json, call);
        }
        json.close(b']');
    }
    if last && said.unfinished && quirks.continues == Continues::Prefix {
        json.raw(",\"prefix\":true");
    }
    json.close(b'}');
}

fn write_call(json: &mut Json, call: &Call) {
    json.open(b'{');
    json.member("id", &call.id);
    json.raw(",\"type\":\"function\",\"function\":{");
    json.member("name", &call.name);
    let arguments = call.arguments.as_str();
    json.member(
        "arguments",
        if arguments.is_empty() {
            "{}"
        } else {
            arguments
        },
    );
    json.raw("}}");
}

fn write_result(json: &mut Json, call: &str, parts: &[Part], failed: bool) {
    json.raw("{\"role\":\"tool\"");
    json.member("tool_call_id", call);
    json.key("content");
    match parts {
        [Part::Text(text)] if !failed => json.value(text),
        parts => {
            let text = text_of(parts);
            let text = match (failed, text.is_empty()) {
                (true, true) => "The tool failed.".to_owned(),
                (true, false) => format!("The tool failed:\n{text}"),
                (false, true) if parts.iter().any(|part| matches!(part, Part::Image(_))) => {
                    "It is shown in the next message.".to_owned()
                }
                (false, _) => text,
            };
            json.value(&text);
        }
    }
    json.close(b'}');
}
