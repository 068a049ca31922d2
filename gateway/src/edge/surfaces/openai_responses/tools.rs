//! The tools that a caller offers, as functions that hosts know, and back: custom tools become
//! functions of one text, the functions of a namespace get names of their own, and what only
//! OpenAI could run is left out. Read anew from the request wherever names must be told apart.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::compact;
use super::custom::{self, InputFormat};
use crate::chat::{Refusal, Tool, ToolChoice};

/// Hosts refuse longer names of functions.
const NAME_BYTES: usize = 64;
/// Digits of a digest that keep a shortened name apart from others.
const DIGEST_DIGITS: usize = 8;
/// More functions than this are a mistake; hosts refuse far fewer.
const MOST_TOOLS: usize = 2048;

/// How a tool is called in this dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Custom,
}

/// A tool that the model gets.
#[derive(Debug)]
pub(super) struct Given {
    pub tool: Tool,
    pub kind: Kind,
    pub namespace: Option<String>,
    /// The caller's name of it, unique within its namespace.
    pub name: String,
}

/// All tools of a request.
#[derive(Debug, Default)]
pub(super) struct Toolset {
    pub given: Vec<Given>,
    /// Kinds of tools that the model cannot have, each once, in order.
    pub left_out: Vec<String>,
    /// The offered tools without those left out, as the caller wrote them: a JSON array in a line.
    pub offered: Option<String>,
    by_name: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Offered<'a> {
    r#type: Option<String>,
    name: Option<String>,
    description: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
    format: Option<InputFormat>,
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
}

/// Whether a tool of this type is run by OpenAI, or called in a way that only its models know.
pub(super) fn is_hosted(kind: &str) -> bool {
    !matches!(kind, "function" | "custom" | "namespace")
}

impl Toolset {
    /// Reads the value of `tools`.
    pub(super) fn read(raw: Option<&RawValue>) -> Result<Toolset, Refusal> {
        let mut set = Toolset::default();
        let Some(raw) = raw else { return Ok(set) };
        let all: Vec<&RawValue> = serde_json::from_str(raw.get())
            .map_err(|_| super::wrong("tools", "an array of tools"))?;
        let mut kept = Vec::with_capacity(all.len());
        let mut left_out = HashSet::new();
        let mut inner: Vec<(String, Option<String>, Vec<&RawValue>)> = Vec::new();
        for (index, raw) in all.iter().enumerate() {
            let field = format!("tools[{index}]");
            let offered = offered(raw, &field)?;
            let Some(kind) = offered.r#type.clone() else {
                return Err(Refusal::invalid(
                    &format!("{field}.type"),
                    format!("`{field}.type` is missing; say function"),
                ));
            };
            if is_hosted(&kind) {
                if left_out.insert(kind.clone()) {
                    set.left_out.push(kind);
                }
                continue;
            }
            kept.push(raw.get());
            if kind == "namespace" {
                let name = named(&offered, &field)?;
                inner.push((name, offered.description, offered.tools.unwrap_or_default()));
            } else {
                set.give(offered, None, &field)?;
            }
        }
        // Top-level names are taken first: they pass as they are.
        for (namespace, description, tools) in inner {
            for (index, raw) in tools.into_iter().enumerate() {
                let field = format!("tools.{namespace}.tools[{index}]");
                let mut offered = offered(raw, &field)?;
                if offered.description.is_none() {
                    offered.description.clone_from(&description);
                }
                set.give(offered, Some(&namespace), &field)?;
            }
        }
        set.offered = Some(compact(&format!("[{}]", kept.join(","))));
        Ok(set)
    }

    fn give(
        &mut self,
        offered: Offered<'_>,
        namespace: Option<&str>,
        field: &str,
    ) -> Result<(), Refusal> {
        if self.given.len() == MOST_TOOLS {
            return Err(Refusal::invalid(
                "tools",
                format!("`tools` holds more than {MOST_TOOLS} functions"),
            ));
        }
        let name = named(&offered, field)?;
        let kind = match offered.r#type.as_deref() {
            Some("custom") => Kind::Custom,
            Some("function") => Kind::Function,
            _ => {
                return Err(Refusal::invalid(
                    &format!("{field}.type"),
                    format!("`{field}.type` must be function or custom"),
                ));
            }
        };
        let flat = flattened(namespace, &name);
        if self.by_name.contains_key(&flat) {
            return Err(Refusal::invalid(
                &format!("{field}.name"),
                format!("`{field}`: another tool is named {flat} too; name them apart"),
            ));
        }
        if offered
            .parameters
            .is_some_and(|schema| !schema.get().starts_with('{'))
        {
            let field = format!("{field}.parameters");
            return Err(super::wrong(&field, "a JSON schema"));
        }
        let parameters = match kind {
            Kind::Custom => Some(custom::parameters(offered.format.as_ref())),
            Kind::Function => offered
                .parameters
                .map(|schema| Arc::<RawValue>::from(schema.to_owned())),
        };
        self.by_name.insert(flat.clone(), self.given.len());
        self.given.push(Given {
            tool: Tool {
                name: flat,
                description: offered.description,
                parameters,
                strict: match kind {
                    Kind::Custom => None,
                    Kind::Function => offered.strict,
                },
            },
            kind,
            namespace: namespace.map(str::to_owned),
            name,
        });
        Ok(())
    }

    /// The tool that the model means by this name.
    pub(super) fn called(&self, name: &str) -> Option<&Given> {
        self.by_name.get(name).map(|&index| &self.given[index])
    }

    /// Reads the value of `tool_choice`; tools that it does not allow are taken away.
    pub(super) fn choose(&mut self, raw: Option<&RawValue>) -> Result<ToolChoice, Refusal> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Choice {
            Word(String),
            Tool(Chosen),
        }
        let Some(raw) = raw else {
            return Ok(ToolChoice::Auto);
        };
        let wrong = || super::wrong("tool_choice", "auto, none, required or a tool by its name");
        let choice: Choice = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
        match choice {
            Choice::Word(word) => match word.as_str() {
                "auto" => Ok(ToolChoice::Auto),
                "none" => Ok(ToolChoice::None),
                "required" => self.required(),
                _ => Err(wrong()),
            },
            Choice::Tool(chosen) if chosen.r#type == "allowed_tools" => {
                let allowed = chosen.tools.iter().flatten().filter_map(Chosen::flattened);
                let allowed: Vec<String> = allowed.collect();
                self.given
                    .retain(|given| allowed.contains(&given.tool.name));
                match chosen.mode.as_deref() {
                    Some("required") => self.required(),
                    _ => Ok(ToolChoice::Auto),
                }
            }
            Choice::Tool(chosen) if is_hosted(&chosen.r#type) => Err(self.cannot(&chosen.r#type)),
            Choice::Tool(chosen) => {
                let name = chosen.flattened().ok_or_else(wrong)?;
                if self.given.iter().any(|given| given.tool.name == name) {
                    Ok(ToolChoice::Named(name))
                } else {
                    Err(Refusal::invalid(
                        "tool_choice",
                        format!("`tool_choice` names {name}, which is not among the `tools`"),
                    ))
                }
            }
        }
    }

    fn required(&self) -> Result<ToolChoice, Refusal> {
        if self.given.is_empty() {
            return Err(match self.left_out.first() {
                Some(kind) => self.cannot(kind),
                None => Refusal::invalid(
                    "tool_choice",
                    "`tool_choice` demands a call but no tool may be called; offer a function",
                ),
            });
        }
        Ok(ToolChoice::Required)
    }

    fn cannot(&self, kind: &str) -> Refusal {
        Refusal::invalid(
            "tool_choice",
            format!(
                "`tool_choice` demands a tool of type {kind}, which is not offered here; offer a function that does its work"
            ),
        )
    }
}

#[derive(Deserialize)]
struct Chosen {
    #[serde(default)]
    r#type: String,
    name: Option<String>,
    namespace: Option<String>,
    mode: Option<String>,
    tools: Option<Vec<Chosen>>,
}

impl Chosen {
    fn flattened(&self) -> Option<String> {
        let name = self.name.as_deref()?;
        Some(flattened(self.namespace.as_deref(), name))
    }
}

fn offered<'a>(raw: &'a RawValue, field: &str) -> Result<Offered<'a>, Refusal> {
    serde_json::from_str(raw.get())
        .map_err(|wrong| Refusal::invalid(field, format!("`{field}` is not a tool: {wrong}")))
}

fn named(offered: &Offered<'_>, field: &str) -> Result<String, Refusal> {
    match &offered.name {
        Some(name) if !name.is_empty() => Ok(name.clone()),
        _ => Err(Refusal::invalid(
            &format!("{field}.name"),
            format!("`{field}.name` is missing; a tool is called by its name"),
        )),
    }
}

/// The name that hosts and the model know a tool by. A function of no namespace keeps its own; of
/// a namespace it gets both names in one, in the letters and the length that hosts allow.
pub(super) fn flattened(namespace: Option<&str>, name: &str) -> String {
    let Some(namespace) = namespace else {
        return name.to_owned();
    };
    let between = if namespace.ends_with("__") { "" } else { "__" };
    let whole = format!("{namespace}{between}{name}");
    let clean: String = whole
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => letter,
            _ => '_',
        })
        .collect();
    if clean == whole && clean.len() <= NAME_BYTES {
        return clean;
    }
    let digest = blake3::hash(whole.as_bytes()).to_hex();
    let room = NAME_BYTES - DIGEST_DIGITS - 1;
    format!(
        "{}_{}",
        &clean[..clean.len().min(room)],
        &digest[..DIGEST_DIGITS]
    )
}
