//! The messages of a chat request as turns. Ids of calls that are missing or repeated are replaced by
//! ones that depend on nothing but the call's place, so that the next request of the same
//! conversation gets the same ones and a host's cache still fits; results follow their calls.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use super::wrong;
use crate::chat::{Call, Image, Part, Refusal, Said, Turn, text_of};

/// Reads every message.
pub(super) fn turns(messages: Vec<Value>) -> Result<Vec<Turn>, Refusal> {
    let last = messages.len().saturating_sub(1);
    let mut calls = Calls::default();
    let mut turns = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let Value::Object(fields) = message else {
            return Err(wrong(&format!("messages[{at}]"), "an object with a `role`"));
        };
        let mut message = Message { at, fields };
        let role = message.text("role")?.unwrap_or_default();
        turns.push(match role.as_str() {
            "system" | "developer" => Turn::System(message.demanded_parts()?),
            "user" => Turn::User(message.demanded_parts()?),
            "assistant" => Turn::Assistant(message.assistant(&mut calls, at == last)?),
            "tool" => message.result("tool_call_id", &mut calls)?,
            "function" => message.result("name", &mut calls)?,
            _ => {
                return Err(wrong(
                    &message.path("role"),
                    "system, developer, user, assistant or tool",
                ));
            }
        });
    }
    Ok(turns)
}

/// A message whose fields are taken out one by one.
struct Message {
    at: usize,
    fields: Map<String, Value>,
}

impl Message {
    fn path(&self, field: &str) -> String {
        format!("messages[{}].{field}", self.at)
    }

    /// A field that is a string, null or absent.
    fn text(&mut self, field: &str) -> Result<Option<String>, Refusal> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(&self.path(field), "a string")),
        }
    }

    /// The content; empty where there is none.
    fn parts(&mut self) -> Result<Vec<Part>, Refusal> {
        match self.fields.remove("content") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![Part::Text(text)]),
            Some(Value::Array(parts)) => parts
                .into_iter()
                .enumerate()
                .map(|(number, part)| part_of(part, || self.path(&format!("content[{number}]"))))
                .collect(),
            Some(_) => Err(wrong(
                &self.path("content"),
                "a string or an array of parts",
            )),
        }
    }

    fn demanded_parts(&mut self) -> Result<Vec<Part>, Refusal> {
        match self.fields.get("content") {
            None | Some(Value::Null) => Err(wrong(
                &self.path("content"),
                "a string or an array of parts",
            )),
            Some(_) => self.parts(),
        }
    }

    fn assistant(&mut self, calls: &mut Calls, last: bool) -> Result<Said, Refusal> {
        let parts = self.parts()?;
        if let Some(number) = parts.iter().position(|part| matches!(part, Part::Image(_))) {
            return Err(wrong(
                &self.path(&format!("content[{number}].type")),
                "text or refusal: an assistant shows no pictures",
            ));
        }
        let mut text = text_of(&parts);
        if text.is_empty() {
            text = self.text("refusal")?.unwrap_or_default();
        }
        Ok(Said {
            reasoning: self.reasoning()?,
            text,
            calls: self.calls(calls)?,
            unfinished: last && self.fields.get("prefix") == Some(&Value::Bool(true)),
        })
    }

    /// Earlier thinking, under whichever name the client learnt: DeepSeek's, vLLM's and Together's,
    /// OpenRouter's, LiteLLM's.
    fn reasoning(&mut self) -> Result<Option<String>, Refusal> {
        for field in ["reasoning_content", "reasoning"] {
            if let Some(text) = self.text(field)?.filter(|text| !text.is_empty()) {
                return Ok(Some(text));
            }
        }
        for (field, inside) in [
            ("reasoning_details", "text"),
            ("thinking_blocks", "thinking"),
        ] {
            let text: String = match self.fields.get(field) {
                Some(Value::Array(pieces)) => pieces
                    .iter()
                    .filter_map(|piece| piece[inside].as_str())
                    .collect(),
                _ => continue,
            };
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn calls(&mut self, known: &mut Calls) -> Result<Vec<Call>, Refusal> {
        let written = match self.fields.remove("tool_calls") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(written)) => written,
            Some(_) => return Err(wrong(&self.path("tool_calls"), "an array of calls")),
        };
        let legacy = match self.fields.remove("function_call") {
            None | Some(Value::Null) => None,
            Some(function) => Some(function),
        };
        if !written.is_empty() || legacy.is_some() {
            known.next_turn();
        }
        let mut calls = Vec::with_capacity(written.len());
        for (number, call) in written.into_iter().enumerate() {
            let path = |field: &str| self.path(&format!("tool_calls[{number}]{field}"));
            let Value::Object(mut call) = call else {
                return Err(wrong(&path(""), "a call"));
            };
            if call
                .get("type")
                .is_some_and(|kind| !kind.is_null() && kind != "function")
            {
                return Err(wrong(
                    &path(".type"),
                    "function; no other kind of call can be translated",
                ));
            }
            let id = match call.remove("id") {
                None | Some(Value::Null) => None,
                Some(Value::String(id)) => Some(id).filter(|id| !id.is_empty()),
                Some(_) => return Err(wrong(&path(".id"), "a string")),
            };
            let (name, arguments) = function_of(call.remove("function"), |field| {
                path(&format!(".function{field}"))
            })?;
            let id = known.made(id, &name, self.at, number);
            calls.push(Call {
                id,
                name,
                arguments,
            });
        }
        if let Some(function) = legacy {
            let (name, arguments) = function_of(Some(function), |field| {
                self.path(&format!("function_call{field}"))
            })?;
            let id = known.made(None, &name, self.at, calls.len());
            calls.push(Call {
                id,
                name,
                arguments,
            });
        }
        Ok(calls)
    }

    /// `field` says which call this answers: by its id, or by its function's name.
    fn result(&mut self, field: &'static str, calls: &mut Calls) -> Result<Turn, Refusal> {
        let said = self.text(field)?.filter(|said| !said.is_empty());
        let call = match field {
            "name" => calls.answer_by_name(said.as_deref()),
            _ => calls.answer(said.as_deref()),
        };
        let Some(call) = call else {
            return Err(Refusal::invalid(
                &self.path(field),
                format!(
                    "`{}` answers no call of a message before it; send the assistant's message with its `tool_calls` first",
                    self.path(field)
                ),
            ));
        };
        Ok(Turn::Result {
            call,
            parts: self.parts()?,
            failed: false,
        })
    }
}

/// `{"name", "arguments"}`. Some clients send the arguments as the object that they stand for.
fn function_of(
    function: Option<Value>,
    path: impl Fn(&str) -> String,
) -> Result<(String, String), Refusal> {
    let Some(Value::Object(mut function)) = function else {
        return Err(wrong(&path(""), "an object with `name` and `arguments`"));
    };
    let name = match function.remove("name") {
        Some(Value::String(name)) if !name.is_empty() => name,
        _ => return Err(wrong(&path(".name"), "the name of the function")),
    };
    let arguments = match function.remove("arguments") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(arguments)) => arguments,
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => return Err(wrong(&path(".arguments"), "a string that holds JSON")),
    };
    Ok((name, arguments))
}

fn part_of(part: Value, path: impl Fn() -> String) -> Result<Part, Refusal> {
    let Value::Object(mut part) = part else {
        return Err(wrong(&path(), "a part with a `type`"));
    };
    let mut text = |field: &str| match part.remove(field) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(wrong(&format!("{}.{field}", path()), "a string")),
    };
    match text("type")?.as_str() {
        "text" => text("text").map(Part::Text),
        "refusal" => text("refusal").map(Part::Text),
        "image_url" => {
            let url = match part.remove("image_url") {
                Some(Value::String(url)) => Some(url),
                Some(Value::Object(mut image)) => match image.remove("url") {
                    Some(Value::String(url)) => Some(url),
                    _ => None,
                },
                _ => None,
            };
            let path = format!("{}.image_url.url", path());
            match url {
                Some(url) => image(url, &path).map(Part::Image),
                None => Err(wrong(&path, "an address")),
            }
        }
        _ => Err(wrong(
            &format!("{}.type", path()),
            "text or image_url; no other kind of content can be translated",
        )),
    }
}

/// `https://...`, or `data:image/png;base64,...`, in every dialect; `path` is blamed.
pub(in crate::edge::surfaces) fn image(mut url: String, path: &str) -> Result<Image, Refusal> {
    if !url
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
    {
        return Ok(Image::Url(url));
    }
    let not = || {
        wrong(
            path,
            "an address, or data:image/...;base64,... with the picture in it",
        )
    };
    let comma = url.find(',').ok_or_else(not)?;
    let (media_type, parameters) = url[5..comma].split_once(';').ok_or_else(not)?;
    let in_base64 = parameters
        .rsplit(';')
        .next()
        .is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    let media_type = media_type.trim().to_ascii_lowercase();
    if !in_base64 || media_type.is_empty() {
        return Err(not());
    }
    url.drain(..=comma);
    Ok(Image::Inline {
        media_type,
        data: url,
    })
}

/// The calls so far, and which of them have been answered. A request may hold very many: none of
/// this walks over all of them.
#[derive(Default)]
struct Calls {
    used: HashSet<String>,
    made: Vec<Made>,
    /// Where the calls of the latest turn begin in `made`.
    latest: usize,
    open: Open,
    /// Those to which the caller gave no id.
    open_nameless: Open,
    /// By the caller's ids.
    open_by_id: HashMap<String, Open>,
    open_by_name: HashMap<String, Open>,
    /// The last call of each id of the caller's.
    last_by_id: HashMap<String, usize>,
}

struct Made {
    theirs: Option<String>,
    ours: String,
    name: String,
}

/// Calls that have no answer, by their places in `made`.
#[derive(Default)]
struct Open(BTreeSet<usize>);

impl Open {
    /// The first of those from here on.
    fn first(&self, from: usize) -> Option<usize> {
        self.0.range(from..).next().copied()
    }

    /// The last of those before.
    fn last(&self, before: usize) -> Option<usize> {
        self.0.range(..before).next_back().copied()
    }
}

impl Calls {
    fn next_turn(&mut self) {
        self.latest = self.made.len();
    }

    /// The id of a call: the caller's where it has one of its own.
    fn made(&mut self, theirs: Option<String>, name: &str, at: usize, number: usize) -> String {
        let mut ours = theirs
            .clone()
            .unwrap_or_else(|| format!("call_{at}_{number}"));
        let mut again = 0_u32;
        while self.used.contains(&ours) {
            ours = match again {
                0 => format!("call_{at}_{number}"),
                _ => format!("call_{at}_{number}_{again}"),
            };
            again += 1;
        }
        self.used.insert(ours.clone());
        let place = self.made.len();
        self.open.0.insert(place);
        let name = name.to_owned();
        let named = self.open_by_name.entry(name.clone()).or_default();
        named.0.insert(place);
        match &theirs {
            None => {
                self.open_nameless.0.insert(place);
            }
            Some(id) => {
                self.open_by_id
                    .entry(id.clone())
                    .or_default()
                    .0
                    .insert(place);
                self.last_by_id.insert(id.clone(), place);
            }
        }
        self.made.push(Made {
            theirs,
            ours: ours.clone(),
            name,
        });
        ours
    }

    /// The call that a result with this id answers. Equal ids are answered in their order, the
    /// latest turn's first; a result without an id, or whose call had none, takes the first call
    /// that is open.
    fn answer(&mut self, theirs: Option<&str>) -> Option<String> {
        let latest = self.latest;
        let Some(theirs) = theirs else {
            return self.open.first(latest).map(|place| self.close(place));
        };
        let same = self.open_by_id.get(theirs);
        let found = same
            .and_then(|same| same.first(latest).or_else(|| same.last(latest)))
            .or_else(|| self.open_nameless.first(latest));
        match found {
            Some(place) => Some(self.close(place)),
            // A second result of one call is the caller's to send and the host's to judge.
            None => {
                let place = *self.last_by_id.get(theirs)?;
                Some(self.made[place].ours.clone())
            }
        }
    }

    fn answer_by_name(&mut self, name: Option<&str>) -> Option<String> {
        let latest = self.latest;
        let place = name
            .and_then(|name| self.open_by_name.get(name)?.first(latest))
            .or_else(|| self.open.first(latest))?;
        Some(self.close(place))
    }

    /// Answers the call, and gives its id.
    fn close(&mut self, place: usize) -> String {
        let made = &self.made[place];
        self.open.0.remove(&place);
        if let Some(named) = self.open_by_name.get_mut(&made.name) {
            named.0.remove(&place);
        }
        match &made.theirs {
            None => {
                self.open_nameless.0.remove(&place);
            }
            Some(id) => {
                if let Some(same) = self.open_by_id.get_mut(id) {
                    same.0.remove(&place);
                }
            }
        }
        made.ours.clone()
    }
}
