//! A request read completely: its items become turns. Items of one turn of the assistant
//! (thinking, messages and calls in a row) become one turn, as every other dialect has it.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{self, Body};
use super::content::{Piece, parts};
use super::custom;
use super::tools::{Toolset, flattened};
use crate::chat::{
    Call, Conversation, Format, Part, Refusal, Request, Said, Sampling, Turn, text_of,
};

/// Reads the whole request; one that follows a kept answer wants [`conversation_with`].
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn conversation(request: &Request) -> Result<Conversation, Refusal> {
    conversation_with(request, Vec::new(), &|_| None)
}

/// Reads the whole request. `earlier`: the turns kept with the answer that it follows. `open`
/// reads thinking that was sealed here; what it cannot open is passed over.
///
/// # Errors
/// `invalid_request` with the field at fault.
pub fn conversation_with(
    request: &Request,
    earlier: Vec<Turn>,
    open: &dyn Fn(&str) -> Option<String>,
) -> Result<Conversation, Refusal> {
    let bytes = body::joined(&request.original.frames);
    let body = Body::of(&bytes)?;
    let mut tools = Toolset::read(body.tools)?;
    let tool_choice = tools.choose(body.tool_choice)?;
    let mut turns = Turns {
        turns: earlier,
        saying: None,
        open,
    };
    turns.forget_silence();
    // Instructions are of this request alone: kept turns hold none, and they head whatever follows.
    if let Some(instructions) = &body.instructions {
        turns.turns.insert(0, Turn::system(instructions.as_str()));
    }
    if let Some(input) = body.input {
        turns.input(input)?;
    }
    let turns = turns.done();
    if turns.is_empty() {
        return Err(Refusal::invalid(
            "input",
            "`input` holds nothing that a model could answer; send a message",
        ));
    }
    Ok(Conversation {
        turns,
        tools: tools.given.into_iter().map(|given| given.tool).collect(),
        tool_choice,
        parallel_calls: body.parallel_tool_calls,
        format: format(body.text)?,
        logprobs: body.logprobs(),
        sampling: Sampling {
            temperature: body.temperature,
            top_p: body.top_p,
            ..Sampling::default()
        },
        effort: request.effort,
        max_output: request.max_output,
        choices: 1,
        rest: serde_json::Map::new(),
    })
}

fn format(text: Option<&RawValue>) -> Result<Format, Refusal> {
    #[derive(Deserialize)]
    struct Text<'a> {
        #[serde(borrow)]
        format: Option<Asked<'a>>,
    }
    #[derive(Deserialize)]
    struct Asked<'a> {
        r#type: Option<String>,
        name: Option<String>,
        description: Option<String>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let Some(text) = text else {
        return Ok(Format::Text);
    };
    let text: Text<'_> = serde_json::from_str(text.get())
        .map_err(|_| super::wrong("text.format", "text, json_object or json_schema"))?;
    let Some(asked) = text.format else {
        return Ok(Format::Text);
    };
    match asked.r#type.as_deref() {
        None | Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::JsonObject),
        Some("json_schema") => {
            let schema = asked.schema.filter(|schema| schema.get().starts_with('{'));
            let (Some(name), Some(schema)) = (asked.name, schema) else {
                return Err(Refusal::invalid(
                    "text.format",
                    "`text.format` of type json_schema needs a `name` and a `schema`",
                ));
            };
            Ok(Format::JsonSchema {
                name,
                description: asked.description,
                schema: schema.to_owned().into(),
                strict: asked.strict,
            })
        }
        Some(_) => Err(super::wrong(
            "text.format",
            "text, json_object or json_schema",
        )),
    }
}

/// One item of the input, of whatever type.
#[derive(Deserialize)]
struct Item<'a> {
    r#type: Option<String>,
    role: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    id: Option<String>,
    call_id: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    input: Option<String>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    summary: Option<Vec<Piece>>,
    encrypted_content: Option<String>,
}

/// The turns so far.
struct Turns<'a> {
    turns: Vec<Turn>,
    /// The assistant's turn that the last items belong to.
    saying: Option<Said>,
    open: &'a dyn Fn(&str) -> Option<String>,
}

impl Turns<'_> {
    fn input(&mut self, input: &RawValue) -> Result<(), Refusal> {
        if let Ok(text) = serde_json::from_str::<String>(input.get()) {
            self.push(Turn::user(text));
            return Ok(());
        }
        let items: Vec<&RawValue> = serde_json::from_str(input.get())
            .map_err(|_| super::wrong("input", "a text or an array of items"))?;
        for (index, raw) in items.into_iter().enumerate() {
            let field = format!("input[{index}]");
            let item: Item<'_> = serde_json::from_str(raw.get()).map_err(|wrong| {
                Refusal::invalid(&field, format!("`{field}` is not an item: {wrong}"))
            })?;
            self.item(item, &field)?;
        }
        Ok(())
    }

    fn item(&mut self, item: Item<'_>, field: &str) -> Result<(), Refusal> {
        let kind = match (&item.r#type, &item.role) {
            (Some(kind), _) => kind.as_str(),
            (None, Some(_)) => "message",
            // The clients' types allow a reference without a type.
            (None, None) => "item_reference",
        };
        match kind {
            "message" => self.message(&item, field),
            "reasoning" => self.reasoning(&item, field),
            "function_call" => {
                let name = needed(item.name, field, "name")?;
                let arguments = item.arguments.unwrap_or_default();
                self.call(item.call_id, item.namespace, &name, arguments, field)
            }
            "custom_tool_call" => {
                let name = needed(item.name, field, "name")?;
                let arguments = custom::wrapped(&item.input.unwrap_or_default());
                self.call(item.call_id, item.namespace, &name, arguments, field)
            }
            "local_shell_call" => {
                let action = item.action.map_or("{}", RawValue::get).to_owned();
                self.call(item.call_id, None, "local_shell", action, field)
            }
            "function_call_output" | "custom_tool_call_output" => {
                let call = needed(item.call_id, field, "call_id")?;
                self.result(call, item.output, field)
            }
            "local_shell_call_output" => {
                let call = needed(item.call_id.or(item.id), field, "call_id")?;
                self.result(call, item.output, field)
            }
            // A search that OpenAI made: it says that it was made, not what it found.
            "web_search_call" => Ok(()),
            "item_reference" => Err(Refusal::invalid(
                field,
                format!(
                    "`{field}` refers to an item by its id; send the item itself, or go on from the whole answer by `previous_response_id`"
                ),
            )),
            other => Err(Refusal::invalid(
                &format!("{field}.type"),
                format!("`{field}` is of type {other}, which is not offered here; leave it out"),
            )),
        }
    }

    fn message(&mut self, item: &Item<'_>, field: &str) -> Result<(), Refusal> {
        let parts = parts(item.content, &format!("{field}.content"))?;
        match item.role.as_deref() {
            Some("user") => self.push(Turn::User(parts)),
            Some("system" | "developer") => self.push(Turn::System(parts)),
            Some("assistant") => {
                if parts.iter().any(|part| matches!(part, Part::Image(_))) {
                    return Err(Refusal::invalid(
                        &format!("{field}.content"),
                        format!("`{field}.content`: the assistant says text, not pictures"),
                    ));
                }
                let said = self.saying.get_or_insert_default();
                if !said.text.is_empty() {
                    said.text.push_str("\n\n");
                }
                for part in &parts {
                    if let Part::Text(text) = part {
                        said.text.push_str(text);
                    }
                }
            }
            _ => {
                return Err(Refusal::invalid(
                    &format!("{field}.role"),
                    format!("`{field}.role` must be user, assistant, system or developer"),
                ));
            }
        }
        Ok(())
    }

    fn reasoning(&mut self, item: &Item<'_>, field: &str) -> Result<(), Refusal> {
        let opened = item.encrypted_content.as_deref().and_then(self.open);
        let thought = match opened {
            Some(thought) => thought,
            None => {
                let raw = parts(item.content, &format!("{field}.content"))?;
                let raw = text_of(&raw);
                if raw.is_empty() {
                    let summary = item.summary.iter().flatten();
                    let told: Vec<&str> =
                        summary.filter_map(|piece| piece.text.as_deref()).collect();
                    told.join("\n\n")
                } else {
                    raw
                }
            }
        };
        if !thought.is_empty() {
            let reasoning = &mut self.saying.get_or_insert_default().reasoning;
            match reasoning {
                Some(before) => {
                    before.push_str("\n\n");
                    before.push_str(&thought);
                }
                None => *reasoning = Some(thought),
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        id: Option<String>,
        namespace: Option<String>,
        name: &str,
        arguments: String,
        field: &str,
    ) -> Result<(), Refusal> {
        let call = Call {
            id: needed(id, field, "call_id")?,
            name: flattened(namespace.as_deref(), name),
            arguments,
        };
        self.saying.get_or_insert_default().calls.push(call);
        Ok(())
    }

    fn result(
        &mut self,
        call: String,
        output: Option<&RawValue>,
        field: &str,
    ) -> Result<(), Refusal> {
        let parts = parts(output, &format!("{field}.output"))?;
        self.push(Turn::Result {
            call,
            parts,
            failed: false,
        });
        Ok(())
    }

    fn push(&mut self, turn: Turn) {
        self.finish_saying();
        self.turns.push(turn);
    }

    /// An answer that said nothing is kept as it was, but hosts refuse a turn without content.
    fn forget_silence(&mut self) {
        if let Some(Turn::Assistant(said)) = self.turns.last()
            && said.text.is_empty()
            && said.calls.is_empty()
        {
            self.turns.pop();
        }
    }

    /// Thinking that led to nothing, as an interrupted turn leaves it, is no turn.
    fn finish_saying(&mut self) {
        if let Some(said) = self.saying.take()
            && !(said.text.is_empty() && said.calls.is_empty())
        {
            self.turns.push(Turn::Assistant(said));
        }
    }

    fn done(mut self) -> Vec<Turn> {
        self.finish_saying();
        self.turns
    }
}

fn needed(value: Option<String>, item: &str, field: &str) -> Result<String, Refusal> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        Refusal::invalid(
            &format!("{item}.{field}"),
            format!("`{item}.{field}` is missing"),
        )
    })
}
