//! What a caller means by a model's name: the name itself, one of its snapshots, one host's offer
//! of it, or another name while that lasts. Who is not understood is told what to write.

use std::fmt;
use std::sync::Arc;

use super::{Catalog, Host, Offer};
use crate::id::{HostName, ModelName};
use crate::time::Timestamp;

/// A model that a caller asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub model: ModelName,
    /// Only this release will do.
    pub snapshot: Option<Arc<str>>,
    /// Only this host will do.
    pub host: Option<HostName>,
}

/// A name that means no model here (any more).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownModel {
    pub asked: Arc<str>,
    pub why: Why,
    /// What to write instead, the best first.
    pub instead: Vec<String>,
}

/// Why a name means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Ended(Timestamp),
    NoModel,
    NoHost(Arc<str>),
    NotSoldThere(HostName),
    /// It is this host's own id.
    HostsOwnId(HostName),
}

/// Names in a message are cut to this many characters: they come from callers.
const SHOWN: usize = 80;
/// How many names to offer at most.
const OFFERED: usize = 3;

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked: String = self.asked.chars().take(SHOWN).collect();
        match &self.why {
            Why::Ended(at) => write!(f, "the name `{asked}` ended at {at}")?,
            Why::NoModel => write!(f, "there is no model `{asked}`")?,
            Why::NoHost(host) => {
                let host: String = host.chars().take(SHOWN).collect();
                write!(f, "there is no host `{host}`")?;
            }
            Why::NotSoldThere(host) => write!(f, "`{host}` does not sell `{asked}`")?,
            Why::HostsOwnId(host) => write!(f, "`{asked}` is {host}'s own id")?,
        }
        let quoted: Vec<String> = self
            .instead
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        if quoted.is_empty() {
            f.write_str("; GET /v1/models lists what there is")
        } else {
            write!(f, "; ask for {}", quoted.join(" or "))
        }
    }
}

impl Catalog {
    /// The model that `name` means at this instant: `deepseek-v4-pro`, `deepseek-v4-pro-0813`,
    /// `fireworks/deepseek-v4-pro`, or an alias of one.
    pub fn resolve(&self, name: &str, now: Timestamp) -> Result<Asked, UnknownModel> {
        if let Some(asked) = self.model_named(name, now, name)? {
            return Ok(asked);
        }
        let unknown = |why, instead| UnknownModel {
            asked: name.into(),
            why,
            instead,
        };
        // `novita` calls its offer `deepseek/deepseek-v4-pro`: here that is DeepSeek's own.
        let is_ours = name.split_once('/').is_some_and(|(host, rest)| {
            self.hosts.contains_key(host) && !matches!(self.model_named(rest, now, name), Ok(None))
        });
        if !is_ours && let Some((host, offer)) = self.by_hosts_own_id(name) {
            let plain = format!("{}-{}", offer.model, offer.snapshot);
            let pinned = format!("{host}/{plain}");
            return Err(unknown(Why::HostsOwnId(host.clone()), vec![plain, pinned]));
        }
        let Some((host_name, rest)) = name.split_once('/') else {
            return Err(unknown(Why::NoModel, self.near(name)));
        };
        let Some(host) = self.hosts.get(host_name) else {
            let near = nearest(host_name, self.hosts.keys().map(HostName::as_str));
            let instead = near
                .into_iter()
                .map(|host| format!("{host}/{rest}"))
                .collect();
            return Err(unknown(Why::NoHost(host_name.into()), instead));
        };
        let asked = self
            .model_named(rest, now, name)?
            .ok_or_else(|| unknown(Why::NoModel, self.near(rest)))?;
        let snapshot = asked.snapshot.as_deref();
        if !host
            .offers
            .iter()
            .any(|offer| offer.is_of(&asked.model, snapshot))
        {
            let sellers = self.hosts.values().filter(|host| {
                host.offers
                    .iter()
                    .any(|offer| offer.is_of(&asked.model, snapshot))
            });
            let instead = sellers
                .map(|host| format!("{}/{rest}", host.name))
                .take(OFFERED)
                .collect();
            return Err(UnknownModel {
                asked: rest.into(),
                why: Why::NotSoldThere(host.name.clone()),
                instead,
            });
        }
        Ok(Asked {
            host: Some(host.name.clone()),
            ..asked
        })
    }

    /// A model, a model with a snapshot, or an alias; `whole` is what the caller wrote.
    fn model_named(
        &self,
        name: &str,
        now: Timestamp,
        whole: &str,
    ) -> Result<Option<Asked>, UnknownModel> {
        let asked = |model: &ModelName, snapshot| Asked {
            model: model.clone(),
            snapshot,
            host: None,
        };
        if let Some(model) = self.models.get(name) {
            return Ok(Some(asked(&model.name, None)));
        }
        if let Some(alias) = self
            .aliases
            .iter()
            .find(|alias| alias.name.as_str() == name)
        {
            return match alias.until {
                Some(until) if now >= until => {
                    let host = whole.strip_suffix(name).unwrap_or_default();
                    Err(UnknownModel {
                        asked: name.into(),
                        why: Why::Ended(until),
                        instead: vec![format!("{host}{}", alias.model)],
                    })
                }
                _ => Ok(Some(asked(&alias.model, None))),
            };
        }
        let pinned = self.models.values().find_map(|model| {
            let snapshot = name.strip_prefix(model.name.as_str())?.strip_prefix('-')?;
            let snapshot = model.snapshots.iter().find(|known| ***known == *snapshot)?;
            Some(asked(&model.name, Some(snapshot.clone())))
        });
        Ok(pinned)
    }

    fn by_hosts_own_id(&self, id: &str) -> Option<(&HostName, &Offer)> {
        self.hosts.values().find_map(|host| {
            let own = host
                .offers
                .iter()
                .find(|offer| offer.id.eq_ignore_ascii_case(id))?;
            Some((&host.name, own))
        })
    }

    fn near(&self, name: &str) -> Vec<String> {
        nearest(name, self.models.keys().map(ModelName::as_str))
    }
}

impl Host {
    /// The offers of this model that the host serves at this instant, in the order of the file:
    /// the newest release first.
    pub fn offers_of<'a>(
        &'a self,
        asked: &'a Asked,
        at: Timestamp,
    ) -> impl Iterator<Item = &'a Offer> + 'a {
        let snapshot = asked.snapshot.as_deref();
        self.offers
            .iter()
            .filter(move |offer| offer.is_of(&asked.model, snapshot) && offer.served_at(at))
    }
}

impl Offer {
    /// Whether this is that model, and that release if one is named.
    pub fn is_of(&self, model: &ModelName, snapshot: Option<&str>) -> bool {
        self.model == *model && snapshot.is_none_or(|snapshot| *self.snapshot == *snapshot)
    }

    /// Whether the host serves it at this instant.
    pub fn served_at(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// The known names nearest to one that is not known, at most [`OFFERED`], the nearest first.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let name: String = name
        .chars()
        .take(SHOWN)
        .collect::<String>()
        .to_ascii_lowercase();
    let mut ranked: Vec<(usize, &str)> =
        known.map(|known| (distance(&name, known), known)).collect();
    ranked.sort_unstable();
    ranked
        .into_iter()
        .take(OFFERED)
        .map(|(_, known)| known.to_owned())
        .collect()
}

/// Levenshtein's: insertions, deletions and replacements from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, here) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, there) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(here != *there);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
