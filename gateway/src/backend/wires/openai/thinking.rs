//! How thinking is asked for at each host: from one canonical effort to the fields of the host's own
//! switch (`Quirks::thinking`).

use serde_json::{Map, Value};

use super::super::CannotSay;
use super::quoted;
use crate::catalog::{Quirks, ThinkingControl};
use crate::chat::Effort;

/// Every field by which one host or another is told how much to think.
pub(super) const SWITCHES: [&str; 6] = [
    "thinking",
    "reasoning_effort",
    "enable_thinking",
    "thinking_budget",
    "reasoning",
    KWARGS,
];
/// Arguments of the chat template; a switch among other things.
pub(super) const KWARGS: &str = "chat_template_kwargs";

/// The effort to ask for, where a forced tool call decides about it.
pub(super) fn settled(quirks: &Quirks, effort: Effort, forced: bool) -> Result<Effort, CannotSay> {
    if !(forced && quirks.forced_tools_need_thinking_off) {
        return Ok(effort);
    }
    match effort {
        Effort::Unsaid | Effort::Off => Ok(Effort::Off),
        Effort::High | Effort::Max => Err(CannotSay(
            "it does not think before a forced tool call: leave thinking off or tool_choice at auto"
                .to_owned(),
        )),
    }
}

/// Whether a host with this control reads the field.
pub(super) fn reads(quirks: &Quirks, field: &str) -> bool {
    match quirks.thinking {
        ThinkingControl::Unsettled => true,
        ThinkingControl::None => false,
        ThinkingControl::Deepseek => matches!(field, "thinking" | "reasoning_effort"),
        ThinkingControl::ReasoningEffort => field == "reasoning_effort",
        ThinkingControl::EnableThinking => {
            matches!(field, "enable_thinking" | "thinking_budget")
                || (field == "reasoning_effort" && quirks.effort.high.is_some())
        }
        ThinkingControl::Together => matches!(field, "reasoning" | "reasoning_effort" | KWARGS),
        ThinkingControl::ChatTemplateKwargs => field == KWARGS,
    }
}

/// Whether a host that reads `reasoning_effort` has a word there for this effort: off has a switch
/// of its own nearly everywhere, and not every host documents a word for the highest.
pub(super) fn takes_word(quirks: &Quirks, effort: Effort) -> bool {
    match effort {
        Effort::Unsaid | Effort::High => true,
        Effort::Off => quirks.thinking == ThinkingControl::ReasoningEffort,
        Effort::Max => quirks.effort.max.is_some(),
    }
}

/// The members that ask for `effort`, each with a comma after it. `kwargs` are the caller's own
/// template arguments, kept where the host reads them.
pub(super) fn members(
    quirks: &Quirks,
    effort: Effort,
    kwargs: Option<Map<String, Value>>,
) -> Result<String, CannotSay> {
    let told = !matches!(
        quirks.thinking,
        ThinkingControl::Unsettled | ThinkingControl::None
    );
    if !told && matches!(effort, Effort::Off | Effort::Max) {
        return Err(no_switch());
    }
    let words = &quirks.effort;
    let word = match effort {
        Effort::Unsaid => None,
        Effort::Off => words.off.as_deref(),
        Effort::High => words.high.as_deref(),
        Effort::Max => Some(words.max.as_deref().ok_or_else(no_max)?),
    };
    let on = effort != Effort::Off;
    let mut kwargs = kwargs.filter(|_| reads(quirks, KWARGS));
    let mut said = String::new();
    match (quirks.thinking, effort) {
        (_, Effort::Unsaid) => {}
        // Their default is taken for high.
        (ThinkingControl::Unsettled | ThinkingControl::None, _) => {}
        (ThinkingControl::Deepseek, _) => {
            said.push_str(if on {
                "\"thinking\":{\"type\":\"enabled\"},"
            } else {
                "\"thinking\":{\"type\":\"disabled\"},"
            });
            if on {
                push_word(&mut said, word);
            }
        }
        (ThinkingControl::ReasoningEffort, Effort::Off) if word.is_none() => {
            return Err(no_switch());
        }
        (ThinkingControl::ReasoningEffort, _) => push_word(&mut said, word),
        (ThinkingControl::EnableThinking, _) => {
            said.push_str(&format!("\"enable_thinking\":{on},"));
            if on {
                push_word(&mut said, word);
            }
        }
        (ThinkingControl::Together, _) => {
            said.push_str(&format!("\"reasoning\":{{\"enabled\":{on}}},"));
            if on {
                push_word(&mut said, word);
            }
        }
        (ThinkingControl::ChatTemplateKwargs, _) => {
            let kwargs = kwargs.get_or_insert_default();
            kwargs.remove("enable_thinking");
            kwargs.remove("reasoning_effort");
            kwargs.insert("thinking".to_owned(), Value::from(on));
            if let (true, Some(word)) = (on, word) {
                kwargs.insert("reasoning_effort".to_owned(), Value::from(word));
            }
        }
    }
    if let Some(kwargs) = kwargs {
        said.push_str(&format!("\"{KWARGS}\":{},", Value::Object(kwargs)));
    }
    Ok(said)
}

fn push_word(said: &mut String, word: Option<&str>) {
    if let Some(word) = word {
        said.push_str(&format!("\"reasoning_effort\":{},", quoted(word)));
    }
}

fn no_switch() -> CannotSay {
    CannotSay(
        "nothing is on record that switches its thinking: set `thinking` and `effort` under [quirks] in config/deployments"
            .to_owned(),
    )
}

fn no_max() -> CannotSay {
    CannotSay(
        "it has no word on record for the highest effort: set `effort.max` under [quirks] in config/deployments"
            .to_owned(),
    )
}
