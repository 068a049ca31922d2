//! What an emulated host says: deterministic sentences that say they come from a demonstration, a
//! call of the first tool, or JSON; cut to the size that was asked for.

use serde_json::{Value, json};

use super::asked::{Asked, Format};
use super::profile::EmulatedHost;
use super::sample::sample;
use super::tokens::{Prefixes, count, pieces};

/// An answer, token by token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub reasoning: Vec<String>,
    pub said: Said,
    /// `stop`, `length`, `tool_calls`.
    pub finish: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Text(Vec<String>),
    Call {
        name: String,
        /// The name's tokens, generated before the first argument.
        name_tokens: u64,
        arguments: Vec<String>,
    },
}

impl Answer {
    pub(super) fn reasoning_tokens(&self) -> u64 {
        self.reasoning.len() as u64
    }

    pub(super) fn tokens(&self) -> u64 {
        let visible = match &self.said {
            Said::Text(text) => text.len() as u64,
            Said::Call {
                name_tokens,
                arguments,
                ..
            } => name_tokens + arguments.len() as u64,
        };
        self.reasoning_tokens() + visible
    }

    /// The prompt with this answer behind it, as the next turn will begin.
    pub(super) fn after(&self, prompt: &Prefixes) -> Prefixes {
        let mut whole = prompt.clone();
        whole.push_role("assistant");
        match &self.said {
            Said::Text(text) => whole.push_text(&text.concat()),
            Said::Call {
                name, arguments, ..
            } => {
                whole.push_text(name);
                whole.push_text(&arguments.concat());
            }
        }
        whole
    }
}

pub(super) fn compose(host: EmulatedHost, asked: &Asked) -> Answer {
    // A traced request says how much was generated in all; a fifth of it stands for thinking.
    let thought = match asked.wanted {
        _ if !asked.thinking => 0,
        Some(wanted) => wanted / 5,
        None => 24,
    };
    let reasoning = repeat_to(
        "A demonstration does not think; these words stand where a model's reasoning would be. ",
        thought,
    );
    let (said, finish) = match &asked.call {
        Some(tool) => {
            let arguments = sample(&tool.parameters);
            let arguments = if arguments.is_object() {
                arguments
            } else {
                json!({})
            };
            let said = Said::Call {
                name: tool.name.clone(),
                name_tokens: count(&tool.name),
                arguments: pieces(&arguments.to_string()),
            };
            (said, "tool_calls")
        }
        None => (Said::Text(text(host, asked, thought)), "stop"),
    };
    let (reasoning, said) = match (&asked.begun, said) {
        (Some(begun), Said::Text(text)) => (Vec::new(), Said::Text(rest(text, begun))),
        (_, said) => (reasoning, said),
    };
    cut(
        host,
        asked,
        Answer {
            reasoning,
            said,
            finish,
        },
    )
}

/// What is missing of an answer whose beginning was said already, perhaps by another host.
fn rest(text: Vec<String>, begun: &str) -> Vec<String> {
    match text.concat().strip_prefix(begun) {
        Some(rest) => pieces(rest),
        None => {
            let said = usize::try_from(count(begun)).unwrap_or(usize::MAX);
            text.into_iter().skip(said).collect()
        }
    }
}

fn text(host: EmulatedHost, asked: &Asked, thought: u64) -> Vec<String> {
    let text = match (&asked.format, asked.wanted) {
        (Format::JsonObject, _) => {
            json!({"demonstration": true, "host": host.name(), "answer": 42}).to_string()
        }
        (Format::JsonSchema(schema), _) => sample(schema).to_string(),
        (Format::Text, Some(wanted)) => {
            let words = "These words come from a demonstration and no model wrote them. ";
            return before_stop(
                repeat_to(words, wanted.saturating_sub(thought).max(1)),
                &asked.stop,
            );
        }
        (Format::Text, None) => sentences(host, asked),
    };
    before_stop(pieces(&text), &asked.stop)
}

fn sentences(host: EmulatedHost, asked: &Asked) -> String {
    if let Some(result) = &asked.last_tool_result {
        return format!(
            "This is a demonstration: the emulated {host} host wrote these words, no model ran. The tool answered: {}",
            first_words(result, 30)
        );
    }
    format!(
        "This is a demonstration: the emulated {host} host wrote these words and no model ran. \
         You asked: \"{}\". A real host would answer here; the tokens of this text are counted, \
         priced and billed as a real answer's would be.",
        first_words(&asked.last_user_text, 12)
    )
}

fn first_words(text: &str, most: usize) -> String {
    let mut words: Vec<&str> = text.split_whitespace().take(most + 1).collect();
    let more = words.len() > most;
    words.truncate(most);
    let shown: String = words.join(" ").chars().take(400).collect();
    if more { format!("{shown} …") } else { shown }
}

/// Exactly `tokens` tokens of a text repeated.
fn repeat_to(text: &str, tokens: u64) -> Vec<String> {
    let mut one_round = pieces(text.trim_end());
    let mut words: Vec<String> = Vec::new();
    let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
    while words.len() < tokens {
        let missing = tokens - words.len();
        words.extend(one_round.iter().take(missing).cloned());
        if let Some(first) = one_round.first_mut()
            && !first.starts_with(' ')
        {
            first.insert(0, ' ');
        }
    }
    words
}

/// The text up to the first stop string.
fn before_stop(words: Vec<String>, stops: &[String]) -> Vec<String> {
    if stops.is_empty() {
        return words;
    }
    let text = words.concat();
    match stops
        .iter()
        .filter_map(|stop| text.find(stop.as_str()))
        .min()
    {
        Some(end) => pieces(&text[..end]),
        None => words,
    }
}

/// Keeps an answer within `max_tokens`, which at SiliconFlow does not count thinking.
fn cut(host: EmulatedHost, asked: &Asked, mut answer: Answer) -> Answer {
    let Some(most) = asked.max_tokens else {
        return answer;
    };
    let thought = if host == EmulatedHost::Siliconflow {
        0
    } else {
        answer.reasoning_tokens()
    };
    if answer.tokens() - (answer.reasoning_tokens() - thought) <= most {
        return answer;
    }
    answer.finish = "length";
    let keep = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
    if thought > most {
        answer.reasoning.truncate(keep(most));
        answer.said = Said::Text(Vec::new());
        return answer;
    }
    match &mut answer.said {
        Said::Text(text) => text.truncate(keep(most - thought)),
        Said::Call { name_tokens, .. } if *name_tokens > most - thought => {
            answer.said = Said::Text(Vec::new());
        }
        Said::Call {
            name_tokens,
            arguments,
            ..
        } => arguments.truncate(keep(most - thought - *name_tokens)),
    }
    answer
}

/// The message of a plain answer.
pub(super) fn message(answer: &Answer, reasoning_field: &str, call_id: &str) -> Value {
    let mut message = json!({"role": "assistant", "content": null});
    if !answer.reasoning.is_empty() {
        message[reasoning_field] = Value::String(answer.reasoning.concat());
    }
    match &answer.said {
        Said::Text(text) => message["content"] = Value::String(text.concat()),
        Said::Call {
            name, arguments, ..
        } => {
            message["tool_calls"] = json!([{
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": arguments.concat()},
            }]);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &Value) -> Asked {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        for (name, value) in fields.as_object().expect("an object") {
            body[name] = value.clone();
        }
        Asked::read(EmulatedHost::Together, body.to_string().as_bytes(), false).expect("readable")
    }

    fn text_of(answer: &Answer) -> String {
        match &answer.said {
            Said::Text(text) => text.concat(),
            Said::Call { .. } => String::new(),
        }
    }

    #[test]
    fn a_traced_request_is_answered_at_its_exact_length() {
        for wanted in [1_u64, 4, 5, 17, 500] {
            let asked = asked(
                &json!({"messages": [{"role": "user", "content": format!("x\nanswer in {wanted} words")}]}),
            );
            let answer = compose(EmulatedHost::Together, &asked);
            assert_eq!(answer.tokens(), wanted);
            assert_eq!(count(&text_of(&answer)), wanted - answer.reasoning_tokens());
        }
    }

    #[test]
    fn max_tokens_and_stop_are_honoured() {
        let answer = compose(EmulatedHost::Together, &asked(&json!({"max_tokens": 30})));
        assert_eq!((answer.tokens(), answer.finish), (30, "length"));
        let answer = compose(
            EmulatedHost::Siliconflow,
            &asked(&json!({"max_tokens": 30})),
        );
        assert_eq!((answer.tokens(), answer.reasoning_tokens()), (54, 24));
        let answer = compose(EmulatedHost::Together, &asked(&json!({"max_tokens": 3})));
        assert_eq!((answer.tokens(), answer.reasoning_tokens()), (3, 3));
        let answer = compose(
            EmulatedHost::Together,
            &asked(&json!({"stop": [" the emu"]})),
        );
        assert_eq!(text_of(&answer), "This is a demonstration:");
        assert_eq!(answer.finish, "stop");
    }

    #[test]
    fn json_modes_answer_in_json() {
        let answer = compose(
            EmulatedHost::Together,
            &asked(&json!({"response_format": {"type": "json_object"}})),
        );
        assert!(
            serde_json::from_str::<Value>(&text_of(&answer))
                .expect("JSON")
                .is_object()
        );
        let schema = json!({"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]});
        let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
        let answer = compose(EmulatedHost::Together, &asked(&format));
        assert_eq!(
            serde_json::from_str::<Value>(&text_of(&answer)).expect("JSON"),
            json!({"days": 1})
        );
    }

    #[test]
    fn an_answer_that_was_begun_is_gone_on_with() {
        let user = json!({"role": "user", "content": "x\nanswer in 50 words"});
        let whole = text_of(&compose(
            EmulatedHost::Together,
            &asked(&json!({"messages": [user]})),
        ));
        let (begun, missing) = whole.split_at(31);
        let messages = json!({"messages": [user, {"role": "assistant", "content": begun}]});
        let answer = compose(EmulatedHost::Novita, &asked(&messages));
        assert_eq!(text_of(&answer), missing);
        assert_eq!(answer.reasoning_tokens(), 0);
    }

    #[test]
    fn the_next_turn_begins_with_this_one() {
        let first = asked(&json!({"thinking": {"type": "disabled"}}));
        let answer = compose(EmulatedHost::Together, &first);
        let next = asked(&json!({"messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": text_of(&answer)},
            {"role": "user", "content": "go on"},
        ]}));
        let whole = answer.after(&first.prompt);
        assert_eq!(whole.shared_with(&next.prompt), whole.len());
    }
}
