//! What hosts of one wire do differently, as data: the types that wires read, and how a `[quirks]`
//! table spells them. A host's file sets them; a file that extends the host may set any of them
//! again, since what no source settles is the operator's to find out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use url::Url;

use super::ConverseThinking;
use super::page::{Desk, Place};
use crate::chat::{Effort, Tokens};

/// Deviations from the wire, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quirks {
    /// The host says `max_completion_tokens` where others say `max_tokens`, or the reverse.
    pub max_tokens_field: Option<Arc<str>>,
    /// `stream_options` is refused: usage comes unasked, or not at all.
    pub no_stream_options: bool,
    /// `max_tokens` excludes thinking.
    pub max_tokens_excludes_thinking: bool,
    /// Which fields switch thinking.
    pub thinking: ThinkingControl,
    /// Its words for how much to think.
    pub effort: EffortWords,
    /// The least context window in which the highest effort makes sense.
    pub max_effort_context: Tokens,
    /// A forced `tool_choice` is refused while the model thinks: thinking is turned off for it where
    /// the caller did not ask for thinking, and the request is refused where it did.
    pub forced_tools_need_thinking_off: bool,
    /// The forms of `tool_choice` that it takes; empty: all.
    pub tool_choice: Vec<ToolChoiceForm>,
    /// Its name for thinking in answers.
    pub reasoning_field: ReasoningField,
    /// What becomes of thinking of earlier turns.
    pub history_reasoning: HistoryReasoning,
    /// Its name for thinking of earlier turns.
    pub history_reasoning_field: ReasoningField,
    /// What stands for thinking of earlier turns that nobody has any more, where it is required.
    pub missing_reasoning: MissingReasoning,
    /// Fields of messages that it refuses.
    pub strip_message_fields: Vec<Arc<str>>,
    /// The content of a tool message must be a string.
    pub tool_content_string: bool,
    /// The role `developer` is refused: it becomes `system`.
    pub no_developer_role: bool,
    /// The most stop strings that it takes.
    pub max_stop: Option<u32>,
    /// Tools and a response format cannot be asked for together.
    pub no_tools_with_format: bool,
    /// What becomes of a JSON schema where offers do not take one.
    pub json_schema_fallback: SchemaFallback,
    /// JSON mode needs a prompt that speaks of JSON.
    pub json_prompt: bool,
    /// `logprobs` is a number of alternatives, not a switch beside `top_logprobs`.
    pub logprobs_count: bool,
    /// Fields of the body that it refuses: they are taken out.
    pub refused_fields: Vec<Arc<str>>,
    /// Fields that every body gets unless the caller gives them: name and JSON text.
    pub fields: Vec<(Arc<str>, Arc<str>)>,
    /// Headers that every request gets.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// The field that keeps tenants of one account apart.
    pub tenant_field: Option<Arc<str>>,
    /// How an answer that broke off is gone on with.
    pub continues: Continues,
    /// The address that takes such a request, where it is another than the region's.
    pub prefix_base: Option<Url>,
    /// Bedrock Converse: what switches thinking.
    pub converse_thinking: ConverseThinking,
    /// Bedrock Converse: earlier thinking goes back to the model as `reasoningContent`.
    pub converse_history_reasoning: bool,
}

/// "Think Max" wants a window of 384K (DeepSeek-V4 model card; vLLM's recipe: at least 393,216).
const MAX_EFFORT_CONTEXT: u64 = 393_216;

impl Default for Quirks {
    fn default() -> Self {
        Quirks {
            max_tokens_field: None,
            no_stream_options: false,
            max_tokens_excludes_thinking: false,
            thinking: ThinkingControl::Unsettled,
            effort: EffortWords::default(),
            max_effort_context: Tokens::new(MAX_EFFORT_CONTEXT),
            forced_tools_need_thinking_off: false,
            tool_choice: Vec::new(),
            reasoning_field: ReasoningField::ReasoningContent,
            history_reasoning: HistoryReasoning::Accepted,
            history_reasoning_field: ReasoningField::ReasoningContent,
            missing_reasoning: MissingReasoning::Refuse,
            strip_message_fields: Vec::new(),
            tool_content_string: false,
            no_developer_role: false,
            max_stop: None,
            no_tools_with_format: false,
            json_schema_fallback: SchemaFallback::Refuse,
            json_prompt: false,
            logprobs_count: false,
            refused_fields: Vec::new(),
            fields: Vec::new(),
            headers: Vec::new(),
            tenant_field: None,
            continues: Continues::None,
            prefix_base: None,
            converse_thinking: ConverseThinking::default(),
            converse_history_reasoning: false,
        }
    }
}

impl Quirks {
    /// The context window that an offer must have to be asked for this much thinking.
    pub fn window_for(&self, effort: Effort) -> Tokens {
        match effort {
            Effort::Max => self.max_effort_context,
            Effort::Unsaid | Effort::Off | Effort::High => Tokens::ZERO,
        }
    }
}

/// How a host is told to think or not to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingControl {
    /// No source says how: a caller's own fields pass as they are, the host's default is taken for
    /// `high`, and off or max cannot be asked for.
    #[default]
    Unsettled,
    /// It cannot be told: such fields are taken out.
    None,
    /// `thinking.type` enabled or disabled, with `reasoning_effort`.
    Deepseek,
    /// `reasoning_effort` alone.
    ReasoningEffort,
    /// `enable_thinking` true or false, with `reasoning_effort` where it has words for it.
    EnableThinking,
    /// `reasoning.enabled` true or false, with `reasoning_effort`.
    Together,
    /// `chat_template_kwargs.thinking` true or false, with `reasoning_effort` beside it.
    ChatTemplateKwargs,
}

/// A host's words for efforts, the values of its `reasoning_effort`. Off and max cannot be asked
/// for where their word is needed and missing; high is then the host's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffortWords {
    /// Needed only where no switch of another name turns thinking off.
    pub off: Option<Arc<str>>,
    pub high: Option<Arc<str>>,
    pub max: Option<Arc<str>>,
}

/// A form of `tool_choice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoiceForm {
    Auto,
    None,
    Required,
    Named,
}

/// A name for the field of a message that holds thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningField {
    ReasoningContent,
    Reasoning,
}

impl ReasoningField {
    pub const fn as_str(self) -> &'static str {
        match self {
            ReasoningField::ReasoningContent => "reasoning_content",
            ReasoningField::Reasoning => "reasoning",
        }
    }
}

/// What a host makes of thinking of earlier turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryReasoning {
    /// It may be given back.
    Accepted,
    /// With tools and thinking on, every earlier turn of the assistant must carry it, once one does
    /// or one called a tool; otherwise it is not sent.
    RequiredWithTools,
    /// The field is refused.
    Refused,
}

/// What to do where required thinking of an earlier turn is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReasoning {
    /// Ask another host.
    Refuse,
    /// A single space: the host takes it, and answers worse for it.
    Space,
}

/// What becomes of a JSON schema where offers do not take one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaFallback {
    /// Nothing: such offers are not asked.
    Refuse,
    /// JSON mode, with the schema in the prompt. The answer is JSON; that it follows the schema is
    /// the model's word only.
    JsonObject,
}

/// How an answer that broke off is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Continues {
    /// It cannot.
    None,
    /// The last message is the assistant's, with `prefix: true`.
    Prefix,
    /// The last message is the assistant's, with `continue_final_message` in the body.
    ContinueFinalMessage,
}

/// A `[quirks]` table: what it leaves out stays as it was.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QuirksForm {
    max_tokens_field: Option<MaxTokensField>,
    no_stream_options: Option<bool>,
    max_tokens_excludes_thinking: Option<bool>,
    thinking: Option<ThinkingControl>,
    effort: Option<EffortWords>,
    max_effort_context: Option<u64>,
    forced_tools_need_thinking_off: Option<bool>,
    tool_choice: Option<Vec<ToolChoiceForm>>,
    reasoning_field: Option<ReasoningField>,
    history_reasoning: Option<HistoryReasoning>,
    history_reasoning_field: Option<ReasoningField>,
    missing_reasoning: Option<MissingReasoning>,
    strip_message_fields: Option<Vec<Arc<str>>>,
    tool_content_string: Option<bool>,
    no_developer_role: Option<bool>,
    max_stop: Option<u32>,
    no_tools_with_format: Option<bool>,
    json_schema_fallback: Option<SchemaFallback>,
    json_prompt: Option<bool>,
    logprobs_count: Option<bool>,
    refused_fields: Option<Vec<Spanned<String>>>,
    fields: Option<BTreeMap<Spanned<String>, FieldValue>>,
    headers: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
    tenant_field: Option<Spanned<String>>,
    continues: Option<Continues>,
    prefix_base: Option<Spanned<String>>,
    converse_thinking: Option<ConverseThinking>,
    converse_history_reasoning: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

/// What a field of a body may be set to from a catalog.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FieldValue {
    Word(String),
    Switch(bool),
    Number(i64),
}

/// Fields that decide what is asked and what it costs: no table may touch them.
const OURS: [&str; 6] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
];
/// Headers that carry credentials or that the transport writes.
const NOT_HEADERS: [&str; 8] = [
    "authorization",
    "api-key",
    "x-api-key",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
];

impl QuirksForm {
    /// Sets what the table says.
    pub(super) fn apply(self, desk: &mut Desk, page: usize, quirks: &mut Quirks) {
        set(&mut quirks.no_stream_options, self.no_stream_options);
        set(
            &mut quirks.max_tokens_excludes_thinking,
            self.max_tokens_excludes_thinking,
        );
        set(&mut quirks.thinking, self.thinking);
        set(&mut quirks.effort, self.effort);
        set(
            &mut quirks.max_effort_context,
            self.max_effort_context.map(Tokens::new),
        );
        set(
            &mut quirks.forced_tools_need_thinking_off,
            self.forced_tools_need_thinking_off,
        );
        set(&mut quirks.tool_choice, self.tool_choice);
        set(&mut quirks.reasoning_field, self.reasoning_field);
        set(&mut quirks.history_reasoning, self.history_reasoning);
        set(
            &mut quirks.history_reasoning_field,
            self.history_reasoning_field,
        );
        set(&mut quirks.missing_reasoning, self.missing_reasoning);
        set(&mut quirks.strip_message_fields, self.strip_message_fields);
        set(&mut quirks.tool_content_string, self.tool_content_string);
        set(&mut quirks.no_developer_role, self.no_developer_role);
        set(&mut quirks.max_stop, self.max_stop.map(Some));
        set(&mut quirks.no_tools_with_format, self.no_tools_with_format);
        set(&mut quirks.json_schema_fallback, self.json_schema_fallback);
        set(&mut quirks.json_prompt, self.json_prompt);
        set(&mut quirks.logprobs_count, self.logprobs_count);
        set(&mut quirks.continues, self.continues);
        set(&mut quirks.converse_thinking, self.converse_thinking);
        set(
            &mut quirks.converse_history_reasoning,
            self.converse_history_reasoning,
        );
        if let Some(field) = self.max_tokens_field {
            quirks.max_tokens_field = Some(Arc::from(match field {
                MaxTokensField::MaxTokens => "max_tokens",
                MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
            }));
        }
        if let Some(refused) = self.refused_fields {
            quirks.refused_fields = refused
                .iter()
                .map(|name| field_name(desk, page, name))
                .collect();
        }
        if let Some(fields) = self.fields {
            quirks.fields = fields
                .iter()
                .map(|(name, value)| (field_name(desk, page, name), value.json().into()))
                .collect();
        }
        if let Some(headers) = self.headers {
            quirks.headers = headers
                .iter()
                .map(|(name, value)| header(desk, page, name, value))
                .collect();
        }
        if let Some(name) = &self.tenant_field {
            // Empty takes back what the host's own file says.
            let said = !name.get_ref().is_empty();
            quirks.tenant_field = said.then(|| field_name(desk, page, name));
        }
        if let Some(written) = &self.prefix_base {
            let place = desk.place(page, written);
            quirks.prefix_base = address(desk, place, written.get_ref());
        }
    }
}

fn set<T>(quirk: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *quirk = said;
    }
}

impl FieldValue {
    fn json(&self) -> String {
        match self {
            FieldValue::Word(word) => serde_json::Value::from(word.as_str()).to_string(),
            FieldValue::Switch(switch) => switch.to_string(),
            FieldValue::Number(number) => number.to_string(),
        }
    }
}

fn field_name(desk: &mut Desk, page: usize, written: &Spanned<String>) -> Arc<str> {
    let place = desk.word(page, written);
    let name = written.get_ref().as_str();
    if OURS.contains(&name) {
        desk.reject(
            place,
            format!("`{name}` is the gateway's own to write: leave it out of [quirks]"),
        );
    }
    name.into()
}

fn header(
    desk: &mut Desk,
    page: usize,
    name: &Spanned<String>,
    value: &Spanned<String>,
) -> (Arc<str>, Arc<str>) {
    let place = desk.place(page, name);
    let lower = name.get_ref().to_ascii_lowercase();
    if http::HeaderName::from_bytes(lower.as_bytes()).is_err()
        || http::HeaderValue::from_str(value.get_ref()).is_err()
    {
        desk.reject(
            place,
            "this is no header: write `name = \"value\"` in visible ASCII",
        );
    } else if NOT_HEADERS.contains(&lower.as_str()) {
        desk.reject(place, format!("`{lower}` is not set here: credentials come from `auth`, and the rest is the transport's"));
    }
    (lower.into(), value.get_ref().as_str().into())
}

fn address(desk: &mut Desk, place: Place, written: &str) -> Option<Url> {
    match Url::parse(written) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.password().is_none()
                && url.username().is_empty() =>
        {
            Some(url)
        }
        _ => {
            desk.reject(place, format!("`{written}` is no address: write one that begins with https:// or http://, without user or password"));
            None
        }
    }
}
