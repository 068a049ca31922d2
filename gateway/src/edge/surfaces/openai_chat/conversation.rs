//! A chat completion request read completely, for answers that must be translated: every field that
//! has a meaning of its own goes to its place in the canonical [`Conversation`], every other one to
//! `rest`. What no other dialect could say is refused by the path of its field. Where a request
//! passes through unchanged, nothing of this runs.
//! Source: the official clients' types (openai-python 2.x, `chat.completion_create_params`) and
//! DeepSeek's additions (`thinking`, `prefix`, `reasoning_content`).

pub(in crate::edge::surfaces) mod messages;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::fields::wrong;
use crate::chat::{
    Code, Conversation, Effort, Format, Refusal, Request, Tool, ToolChoice, Turn, scan,
};

/// OpenAI's limit on alternatives beside each token.
const MOST_ALTERNATIVES: u64 = 20;

/// Reads all of a request that [`read`](super::read) has accepted.
///
/// # Errors
/// `invalid_request` with the path of the field at fault, such as
/// `messages[3].tool_calls[0].function.name`.
pub fn conversation(request: &Request) -> Result<Conversation, Refusal> {
    let frames = &request.original.frames;
    let object = scan::object(frames)
        .map_err(|malformed| Refusal::new(Code::InvalidRequest, malformed.to_string()))?;
    let mut reader = Reader {
        read: Conversation {
            effort: request.effort,
            max_output: request.max_output,
            choices: request.choices,
            ..Conversation::default()
        },
        logprobs: None,
        alternatives: None,
        allowed: None,
        goes_on: false,
    };
    for member in object.members {
        let value = frames.slice(member.value);
        reader.field(member.key, &value)?;
    }
    reader.complete()
}

/// A conversation of which some fields have been read.
struct Reader {
    read: Conversation,
    /// `logprobs`: asked for, perhaps with a number of alternatives in it.
    logprobs: Option<Option<u8>>,
    /// `top_logprobs`.
    alternatives: Option<u8>,
    /// The only tools that may be called, where `tool_choice` names some.
    allowed: Option<HashSet<String>>,
    /// vLLM's `continue_final_message`.
    goes_on: bool,
}

impl Reader {
    fn field(&mut self, key: String, value: &[u8]) -> Result<(), Refusal> {
        let read = &mut self.read;
        match key.as_str() {
            // What routing needs was read into the request already.
            "model"
            | "stream"
            | "stream_options"
            | "max_tokens"
            | "max_completion_tokens"
            | "n" => {}
            "messages" => read.turns = messages::turns(json(&key, value, "an array of messages")?)?,
            "tools" => read.tools = tools(value)?,
            "tool_choice" => self.tool_choice(json(&key, value, "a string or an object")?)?,
            "parallel_tool_calls" => read.parallel_calls = json(&key, value, "true or false")?,
            "response_format" => read.format = format(value)?,
            "temperature" => read.sampling.temperature = json(&key, value, "a number")?,
            "top_p" => read.sampling.top_p = json(&key, value, "a number")?,
            "presence_penalty" => read.sampling.presence_penalty = json(&key, value, "a number")?,
            "frequency_penalty" => read.sampling.frequency_penalty = json(&key, value, "a number")?,
            "seed" => read.sampling.seed = json(&key, value, "a whole number")?,
            "stop" => read.sampling.stop = stop(value)?,
            "logprobs" => {
                self.logprobs = match json(&key, value, "true or false")? {
                    Value::Null | Value::Bool(false) => None,
                    Value::Bool(true) => Some(None),
                    // Fireworks' older form: the number of alternatives.
                    number => Some(Some(alternatives(&key, &number)?)),
                };
            }
            "top_logprobs" => {
                self.alternatives = match json(&key, value, "a whole number")? {
                    Value::Null => None,
                    number => Some(alternatives(&key, &number)?),
                };
            }
            "thinking" => {
                let thinking: Value = json(&key, value, "an object with a `type`")?;
                match thinking["type"].as_str() {
                    Some("disabled") => read.effort = Effort::Off,
                    Some("enabled" | "adaptive") if read.effort == Effort::Unsaid => {
                        read.effort = Effort::High;
                    }
                    _ => {}
                }
            }
            "reasoning_effort" => {
                // Words were read with the request; Fireworks takes `false` as well.
                let effort: Value = json(&key, value, "a word such as high")?;
                if effort == Value::Bool(false) {
                    read.effort = Effort::Off;
                }
            }
            // Read with the request as well, where it says how much.
            "enable_thinking" | "reasoning" if read.effort != Effort::Unsaid => {}
            "chat_template_kwargs" if read.effort != Effort::Unsaid => {
                let mut kwargs: Value = json(&key, value, "an object")?;
                if let Value::Object(kwargs) = &mut kwargs {
                    kwargs.retain(|key, _| {
                        !matches!(
                            key.as_str(),
                            "thinking" | "enable_thinking" | "reasoning_effort"
                        )
                    });
                    if !kwargs.is_empty() {
                        read.rest.insert(key, Value::Object(std::mem::take(kwargs)));
                    }
                }
            }
            "functions" | "function_call" if value != b"null" => {
                return Err(Refusal::invalid(
                    &key,
                    format!(
                        "`{key}` was replaced by tools and is not translated; send `tools` and `tool_choice`"
                    ),
                ));
            }
            "continue_final_message" if value == b"true" => self.goes_on = true,
            // It only makes room for the other one.
            "add_generation_prompt" if value == b"false" => {}
            _ => {
                let value: Value = json(&key, value, "JSON")?;
                if !value.is_null() {
                    read.rest.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// What depends on several fields, once all have been read.
    fn complete(mut self) -> Result<Conversation, Refusal> {
        if let Some(inside) = self.logprobs {
            self.read.logprobs = Some(inside.or(self.alternatives).unwrap_or(0));
        } else if self.alternatives.is_some_and(|count| count > 0) {
            return Err(Refusal::invalid(
                "top_logprobs",
                "`top_logprobs` needs `logprobs`; set it to true",
            ));
        }
        if let Some(allowed) = &self.allowed {
            self.read.tools.retain(|tool| allowed.contains(&tool.name));
        }
        if let ToolChoice::Named(name) = &self.read.tool_choice
            && !self.read.tools.iter().any(|tool| tool.name == *name)
        {
            return Err(Refusal::invalid(
                "tool_choice.function.name",
                "`tool_choice.function.name` is no tool of `tools`; name one of them",
            ));
        }
        if self.read.tool_choice == ToolChoice::Required && self.read.tools.is_empty() {
            return Err(Refusal::invalid(
                "tool_choice",
                "`tool_choice` demands a call but no tool may be called; offer one in `tools`",
            ));
        }
        if self.goes_on
            && let Some(Turn::Assistant(said)) = self.read.turns.last_mut()
        {
            said.unfinished = true;
        }
        Ok(self.read)
    }

    fn tool_choice(&mut self, choice: Value) -> Result<(), Refusal> {
        self.read.tool_choice = match &choice {
            Value::Null => ToolChoice::Auto,
            Value::String(word) => choice_word("tool_choice", word)?,
            Value::Object(_) => match choice["type"].as_str() {
                Some("function") | None => match choice["function"]["name"].as_str() {
                    Some(name) => ToolChoice::Named(name.to_owned()),
                    None => return Err(wrong("tool_choice.function.name", "the name of a tool")),
                },
                Some("allowed_tools") => return self.allowed_tools(&choice["allowed_tools"]),
                Some(_) => {
                    return Err(wrong("tool_choice.type", "function or allowed_tools"));
                }
            },
            _ => return Err(wrong("tool_choice", "auto, none, required or a tool")),
        };
        Ok(())
    }

    /// `{"mode": "auto"|"required", "tools": [{"type":"function","function":{"name":..}}]}`: the
    /// others might as well not be there.
    fn allowed_tools(&mut self, allowed: &Value) -> Result<(), Refusal> {
        let path = "tool_choice.allowed_tools";
        self.read.tool_choice = match allowed["mode"].as_str() {
            Some(word @ ("auto" | "required")) => choice_word(path, word)?,
            _ => return Err(wrong(&format!("{path}.mode"), "auto or required")),
        };
        let Some(tools) = allowed["tools"].as_array() else {
            return Err(wrong(&format!("{path}.tools"), "an array of tools"));
        };
        let names = tools.iter().enumerate().map(|(at, tool)| {
            tool["function"]["name"]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| {
                    wrong(
                        &format!("{path}.tools[{at}].function.name"),
                        "the name of a tool",
                    )
                })
        });
        self.allowed = Some(names.collect::<Result<_, _>>()?);
        Ok(())
    }
}

fn choice_word(path: &str, word: &str) -> Result<ToolChoice, Refusal> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        // Fireworks takes both words for the same thing.
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(wrong(path, "auto, none, required or a tool")),
    }
}

fn tools(value: &[u8]) -> Result<Vec<Tool>, Refusal> {
    #[derive(Deserialize)]
    struct Written<'a> {
        r#type: Option<Value>,
        #[serde(borrow)]
        function: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Function<'a> {
        name: Option<Value>,
        description: Option<Value>,
        #[serde(borrow)]
        parameters: Option<&'a RawValue>,
        strict: Option<Value>,
    }
    let written: Option<Vec<&RawValue>> = json("tools", value, "an array of tools")?;
    let mut tools = Vec::new();
    for (at, raw) in written.unwrap_or_default().into_iter().enumerate() {
        let path = |field: &str| format!("tools[{at}]{field}");
        let tool: Written<'_> = json(&path(""), raw.get().as_bytes(), "a tool")?;
        if tool.r#type.is_some_and(|kind| kind != "function") {
            return Err(wrong(
                &path(".type"),
                "function; no other kind of tool can be translated",
            ));
        }
        let Some(function) = tool.function else {
            return Err(wrong(&path(".function"), "an object with a `name`"));
        };
        let function: Function<'_> = json(
            &path(".function"),
            function.get().as_bytes(),
            "an object with a `name`",
        )?;
        let name = match function.name {
            Some(Value::String(name)) if !name.is_empty() => name,
            _ => return Err(wrong(&path(".function.name"), "the name of the function")),
        };
        if function
            .parameters
            .is_some_and(|schema| !schema.get().starts_with('{'))
        {
            return Err(wrong(&path(".function.parameters"), "a JSON schema"));
        }
        tools.push(Tool {
            name,
            description: text(function.description, || path(".function.description"))?,
            parameters: function.parameters.map(shared),
            strict: truth(function.strict, || path(".function.strict"))?,
        });
    }
    Ok(tools)
}

fn format(value: &[u8]) -> Result<Format, Refusal> {
    #[derive(Deserialize)]
    struct Written<'a> {
        r#type: Option<Value>,
        #[serde(borrow)]
        json_schema: Option<Schema<'a>>,
    }
    #[derive(Deserialize)]
    struct Schema<'a> {
        name: Option<Value>,
        description: Option<Value>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
        strict: Option<Value>,
    }
    let written: Option<Written<'_>> = json("response_format", value, "an object with a `type`")?;
    let Some(written) = written else {
        return Ok(Format::Text);
    };
    match written.r#type.as_ref().and_then(Value::as_str) {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::JsonObject),
        Some("json_schema") => {
            let path = |field: &str| format!("response_format.json_schema{field}");
            let Some(schema) = written.json_schema else {
                return Err(wrong(&path(""), "an object with `name` and `schema`"));
            };
            let Some(raw) = schema.schema.filter(|raw| raw.get().starts_with('{')) else {
                return Err(wrong(&path(".schema"), "a JSON schema"));
            };
            let Some(name) = text(schema.name, || path(".name"))? else {
                return Err(wrong(&path(".name"), "a name for the schema"));
            };
            Ok(Format::JsonSchema {
                name,
                description: text(schema.description, || path(".description"))?,
                schema: shared(raw),
                strict: truth(schema.strict, || path(".strict"))?,
            })
        }
        _ => Err(wrong(
            "response_format.type",
            "text, json_object or json_schema",
        )),
    }
}

pub(in crate::edge::surfaces) fn stop(value: &[u8]) -> Result<Vec<String>, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stop {
        One(String),
        Several(Vec<String>),
    }
    let stop: Option<Stop> = json("stop", value, "a string or an array of strings")?;
    Ok(match stop {
        None => Vec::new(),
        Some(Stop::One(one)) => vec![one],
        Some(Stop::Several(several)) => several,
    })
}

fn alternatives(key: &str, number: &Value) -> Result<u8, Refusal> {
    number
        .as_u64()
        .filter(|count| *count <= MOST_ALTERNATIVES)
        .and_then(|count| u8::try_from(count).ok())
        .ok_or_else(|| wrong(key, "a whole number from 0 to 20"))
}

fn text(value: Option<Value>, path: impl Fn() -> String) -> Result<Option<String>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(&path(), "a string")),
    }
}

fn truth(value: Option<Value>, path: impl Fn() -> String) -> Result<Option<bool>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(truth)) => Ok(Some(truth)),
        Some(_) => Err(wrong(&path(), "true or false")),
    }
}

fn shared(raw: &RawValue) -> Arc<RawValue> {
    Arc::from(raw.to_owned())
}

pub(in crate::edge::surfaces) fn json<'a, T: Deserialize<'a>>(
    path: &str,
    value: &'a [u8],
    what: &str,
) -> Result<T, Refusal> {
    serde_json::from_slice(value).map_err(|error| {
        if error.is_data() {
            return wrong(path, what);
        }
        // The scan has seen its structure; what is left are strings and numbers that are none.
        Refusal::invalid(path, format!("`{path}` is not valid JSON: {error}"))
    })
}
