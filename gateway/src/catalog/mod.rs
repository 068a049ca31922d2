//! The book of hosts: what each sells, where, at which price and when, under which certifications,
//! every row with its source and the day it was learnt. Loaded from `config/catalog/`, one file a
//! host, whole or not at all; immutable once loaded.
//!
//! The types stand here, those of deviations in `quirks`. `form` is how the files spell them, `assemble`, `host` and `tariff` turn that
//! into these types and refuse what cannot be meant, `load` reads folders, `resolve` finds what a caller
//! asks for, `watch` takes up changed files while the gateway runs.

mod address;
mod assemble;
mod error;
mod form;
mod host;
mod load;
mod page;
mod quirks;
mod resolve;
mod shipped;
mod tariff;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use address::{Address, NotFilled};
pub use error::{CatalogError, Problem};
pub use quirks::{
    Continues, EffortWords, HistoryReasoning, MissingReasoning, Quirks, ReasoningField,
    SchemaFallback, ThinkingControl, ToolChoiceForm,
};
pub use resolve::{Asked, UnknownModel};
pub use shipped::SHIPPED;
pub use watch::Watch;

use crate::chat::{Needs, Tokens};
use crate::id::{CatalogVersion, HostName, ModelName, RegionName, Tag, WindowId};
use crate::money::Rate;
use crate::time::Timestamp;

/// Where a fact was read, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// A page's address, or the name of a document.
    pub from: Arc<str>,
    /// The day it was read.
    pub read: Date,
}

/// Everything loaded from one catalog folder.
#[derive(Debug)]
pub struct Catalog {
    pub version: CatalogVersion,
    /// By name.
    pub hosts: BTreeMap<HostName, Host>,
    /// By name.
    pub models: BTreeMap<ModelName, Model>,
    /// Names that callers may use for models, some of which have ended.
    pub aliases: Vec<Alias>,
    /// Path below its folder (`2:` before those of the second folder, and so on) → content, as
    /// loaded: what the ledger keeps to recompute by.
    pub files: BTreeMap<String, String>,
}

/// A model by Tollgate's name, and its releases.
#[derive(Clone, Debug)]
pub struct Model {
    pub name: ModelName,
    /// For people: `DeepSeek-V4-Pro`.
    pub title: Arc<str>,
    /// Newest first: `0813`, `preview`.
    pub snapshots: Vec<Arc<str>>,
    pub source: Source,
}

/// Another name for a model, while it lasts.
#[derive(Clone, Debug)]
pub struct Alias {
    pub name: ModelName,
    pub model: ModelName,
    /// From this instant the name is refused with `model` (or `instead`) named.
    pub until: Option<Timestamp>,
    pub source: Source,
}

#[derive(Debug)]
pub struct Host {
    pub name: HostName,
    /// For people: `DeepSeek API`.
    pub title: Arc<str>,
    pub wire: Wire,
    pub auth: Auth,
    /// Which instant of a call decides its price window.
    pub bills_at: BillsAt,
    /// What is known of that, and how well.
    pub bills_at_note: Option<Arc<str>>,
    pub quirks: Quirks,
    pub cache: CacheRules,
    pub endpoints: Vec<Endpoint>,
    pub offers: Vec<Offer>,
    pub certifications: Vec<Certification>,
    pub grants: Vec<Grant>,
    pub source: Source,
}

/// The protocol that a host speaks. One module each in `backend/wires/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// OpenAI-compatible chat completions.
    Openai,
    /// AWS Bedrock's Converse and ConverseStream.
    BedrockConverse,
}

/// What opens a host: a key in a header, and at the clouds an identity instead of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Auth {
    /// How a key is shown.
    pub kind: AuthKind,
    /// The environment variable that holds the key.
    pub env: Arc<str>,
    /// What is looked for where there is no key.
    pub identity: Option<Identity>,
}

/// How a host wants to be shown a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Bearer` where the operator sets a key, and nothing where not (own servers).
    OptionalBearer,
    /// `api-key: VALUE`.
    ApiKey,
}

/// An identity at a cloud, from which credentials that last a while are drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Identity {
    /// Requests are signed (Signature Version 4) in the name of this service.
    Aws { signing_name: Arc<str> },
    /// OAuth tokens of Google for this scope.
    Google { scope: Arc<str> },
    /// OAuth tokens of Microsoft Entra for this scope.
    Entra { scope: Arc<str> },
}

/// Which instant of a call the host prices it by. Readers of DeepSeek's pages disagree, so it is a
/// fact of the catalog with a source, not of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BillsAt {
    Start,
    End,
}

/// What goes into `additionalModelRequestFields` for each effort that a caller asks. Nobody has
/// documented these fields for DeepSeek, so they are the operator's to set; without `off`, a
/// request not to think cannot be said to this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConverseThinking {
    pub off: Option<JsonObject>,
    pub high: Option<JsonObject>,
    /// Left out: as `high`.
    pub max: Option<JsonObject>,
}

/// A JSON object, written in TOML as a table.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// What is known of a host's context cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CacheRules {
    pub kind: CacheKind,
    /// Hits come in multiples of this many tokens.
    pub unit: Tokens,
    /// Shorter prefixes are never cached.
    pub minimum: Tokens,
    /// How long an unused prefix is expected to live; `None` if the host does not say.
    pub lifetime_s: Option<u64>,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheKind {
    /// No discount for repeated prefixes.
    None,
    /// By blocks of a prefix, as most servers do.
    Prefix,
    /// DeepSeek's whole units (guide "Context Caching").
    Units,
}

/// A region of a host and its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub region: RegionName,
    /// Append `/chat/completions`. `None` where the operator must set it (deployments).
    pub base_url: Option<Address>,
    /// Append it for completions of a bare prompt: `beta/completions`. `None` where there are none.
    pub completions: Option<Arc<str>>,
    /// Where requests are processed: ISO country, `EU`, or `global` if nothing is promised.
    pub jurisdiction: Arc<str>,
    pub source: Source,
}

/// One model as one host sells it.
#[derive(Debug)]
pub struct Offer {
    pub model: ModelName,
    /// The host's own id for it.
    pub id: Arc<str>,
    /// The release it serves: `0813`, `preview`, or `unstated`.
    pub snapshot: Arc<str>,
    /// `fp4+fp8`, `fp8`, or `unstated`.
    pub quantisation: Arc<str>,
    pub context: Tokens,
    pub max_output: Tokens,
    /// Of a completion of a bare prompt, where that is less.
    pub completions_max_output: Option<Tokens>,
    pub capabilities: Capabilities,
    /// Empty: all of the host's regions.
    pub regions: Vec<RegionName>,
    /// The span in which the host serves it.
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Concurrent requests an account may have in flight here; beyond it the host answers 429.
    pub concurrency: Option<u32>,
    /// In the order of the file. Empty: the price is unknown until the operator sets one.
    pub tariffs: Vec<Tariff>,
    pub source: Source,
}

impl Offer {
    /// The longest answer to a request with these needs.
    pub fn longest(&self, needs: &Needs) -> Tokens {
        match self.completions_max_output {
            Some(most) if needs.completions => most.min(self.max_output),
            _ => self.max_output,
        }
    }
}

/// What a request may need and an offer may lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    pub tools: bool,
    /// `tool_choice` required or named.
    pub forced_tools: bool,
    pub json_object: bool,
    pub json_schema: bool,
    pub images: bool,
    pub logprobs: bool,
    pub thinking: bool,
    /// Completions of a bare prompt, at the endpoint's `completions`.
    pub completions: bool,
    /// A completion may have a `suffix` to arrive at (fill in the middle).
    pub fim: bool,
}

/// A price list of one offer over a span of time, as it was known from one day on.
///
/// Time runs twice here. `from` and `until` say when a price holds, `known` says since when we
/// could have known of it. In force at `t`, as known at `k`: among the tariffs with `known <= k`
/// and `from <= t < until`, a promotion before a list, then the latest known. So a later
/// announcement overrules an earlier one without erasing it, and a month can be priced again as
/// it looked when its budget was made. No two tariffs of one kind and one `known` overlap.
#[derive(Debug)]
pub struct Tariff {
    pub name: Arc<str>,
    pub kind: TariffKind,
    pub from: Timestamp,
    pub until: Option<Timestamp>,
    /// The instant we could first have known of it (its announcement).
    pub known: Timestamp,
    /// Zone of `bands`' days and hours.
    pub zone: TimeZone,
    /// Holidays count as days off for bands with `holidays_off`.
    pub calendar: Option<Arc<Calendar>>,
    /// Bands with hours first, none overlapping; the last has none and takes the rest of the time.
    pub bands: Vec<Band>,
    pub note: Option<Arc<str>>,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TariffKind {
    List,
    Promotion,
}

/// A part of the week with one price.
#[derive(Clone, Debug)]
pub struct Band {
    /// `flat`, `peak`, `off-peak`.
    pub name: Arc<str>,
    /// model/tariff/band, as entries name it.
    pub window: WindowId,
    /// Empty: whenever no other band applies.
    pub hours: Vec<Hours>,
    /// Monday first: the days on which `hours` apply.
    pub days: [bool; 7],
    /// Whether public holidays of the tariff's calendar are excepted.
    pub holidays_off: bool,
    pub rates: Rates,
}

/// Local time of day, start inclusive, end exclusive, `to` up to 24:00 (86,400 s).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    pub from_s: u32,
    pub to_s: u32,
}

/// Prices of one band. `cache_write` is what hosts with a write price charge; elsewhere the miss price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rates {
    pub cache_hit: Rate,
    pub cache_miss: Rate,
    pub cache_write: Rate,
    pub output: Rate,
}

/// A country's public holidays, and until when they are known.
#[derive(Debug)]
pub struct Calendar {
    pub name: Arc<str>,
    /// Sorted. Days off by law; days that are worked in exchange are not listed: no host prices by them.
    pub holidays: Vec<Date>,
    /// The last day for which the state has published holidays; prices of later days are provisional.
    pub known_until: Date,
    pub source: Source,
}

/// A demand that a host answers, with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Certification {
    pub tag: Tag,
    /// Empty: all regions.
    pub regions: Vec<RegionName>,
    /// Empty: all models.
    pub models: Vec<ModelName>,
    /// What supports it: a report, an agreement, an address.
    pub evidence: Arc<str>,
    pub valid_from: Date,
    /// Last day of validity; `None` only for facts that do not lapse (a location).
    pub valid_until: Option<Date>,
    /// It counts only once the operator confirms it in the configuration (a BAA is the customer's own act).
    pub needs_confirmation: bool,
    pub source: Source,
}

/// Tokens or money that a host gives away.
#[derive(Clone, Debug, Serialize)]
pub struct Grant {
    pub what: Arc<str>,
    pub tokens: Option<Tokens>,
    pub from: Date,
    pub until: Option<Date>,
    pub source: Source,
}
