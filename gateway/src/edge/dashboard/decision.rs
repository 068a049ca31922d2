//! Why a request went where it went: the decision that the ledger keeps with each entry, read
//! leniently (an old entry may lack what a new one has), and told in one sentence. Relies on
//! nothing but the decision's JSON; unknown fields are left alone.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::wording::{Shown, plain};
use crate::money::Money;

/// Candidates and rejections read from one decision: beyond, it is no decision of ours.
const MOST_BACKENDS: usize = 500;

/// One decision, as the ledger has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Decision {
    /// host/account/region/model
    pub(super) chosen: String,
    /// `cheapest`, or the operator's other rule.
    pub(super) policy: String,
    /// Best first.
    pub(super) ranked: Vec<Candidate>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) attempt: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Candidate {
    pub(super) backend: String,
    /// Expected cost in dollars.
    pub(super) cost: Option<Money>,
    pub(super) window: Option<String>,
    /// Expected milliseconds to the first token.
    pub(super) ttft_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Rejected {
    pub(super) backend: String,
    pub(super) reason: String,
}

impl Decision {
    /// `None` for what is no decision.
    pub(super) fn read(json: &str) -> Option<Self> {
        let mut decision: Decision = serde_json::from_str(json).ok()?;
        if decision.chosen.is_empty() && decision.ranked.is_empty() {
            return None;
        }
        decision.ranked.truncate(MOST_BACKENDS);
        decision.rejected.truncate(MOST_BACKENDS);
        Some(decision)
    }

    /// The sentence of the list of requests.
    pub(super) fn why(&self) -> String {
        let Some(place) = self
            .ranked
            .iter()
            .position(|one| one.backend == self.chosen)
        else {
            return format!(
                "{} was not among the ranked candidates",
                self.name(&self.chosen)
            );
        };
        let allowed = self.ranked.len();
        let expected = self.ranked[place].cost;
        let mut sentence = if self.attempt > 1 {
            format!("attempt {}: the ones before failed; ", self.attempt)
        } else {
            String::new()
        };
        sentence += &match (place, allowed) {
            (_, 1) => self.why_nobody_else(),
            (0, _) if self.policy == "cheapest" => format!("cheapest of {allowed} allowed"),
            (0, _) => format!("first of {allowed} allowed by {}", self.rule()),
            (rank, _) => format!("number {} of {allowed} by {}", rank + 1, self.rule()),
        };
        if let Some(cost) = expected {
            sentence += &format!(": {} expected", Shown::alone(cost).rounded);
        }
        let other = if place == 0 {
            self.ranked.get(1)
        } else {
            self.ranked.first()
        };
        if let Some(other) = other
            && let Some(cost) = other.cost
        {
            let role = if place == 0 { "next" } else { "first" };
            sentence += &format!(
                "; {role} {} {}",
                self.name(&other.backend),
                Shown::alone(cost).rounded
            );
        }
        let lacking = self.lacking();
        if (2..=3).contains(&allowed)
            && let Some(tag) = lacking
        {
            let names: Vec<_> = self
                .ranked
                .iter()
                .map(|one| self.name(&one.backend))
                .collect();
            sentence += &format!("; only {} answer the tag {tag}", in_words(&names));
        }
        sentence
    }

    /// What the operator asked for, in words.
    pub(super) fn rule(&self) -> String {
        match self.policy.as_str() {
            "" => "an unnamed rule".to_owned(),
            policy => format!("the rule “{}”", plain(policy)),
        }
    }

    fn why_nobody_else(&self) -> String {
        match (self.lacking(), self.rejected.len()) {
            (_, 0) => "the only backend there is".to_owned(),
            (Some(tag), _) => {
                format!("only {} answers the tag {tag}", self.name(&self.chosen))
            }
            (None, others) => format!("the only one allowed, {others} others ruled out"),
        }
    }

    /// The tag for want of which most others were ruled out, if that is what ruled out most.
    fn lacking(&self) -> Option<String> {
        let mut by_tag: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &self.rejected {
            if let Some(tag) = one.reason.strip_prefix("lacks tag ") {
                *by_tag.entry(tag).or_default() += 1;
            }
        }
        let (tag, count) = by_tag.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 2 > self.rejected.len()).then(|| plain(tag))
    }

    /// A backend by its host, or in full where the host has several in this decision.
    pub(super) fn name(&self, backend: &str) -> String {
        let host = host_of(backend);
        let several = self
            .ranked
            .iter()
            .filter(|one| host_of(&one.backend) == host)
            .count()
            > 1;
        plain(if several { backend } else { host })
    }
}

fn host_of(backend: &str) -> &str {
    backend.split('/').next().unwrap_or(backend)
}

/// `a`, `a and b`, `a, b and c`
fn in_words(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(json: &str) -> String {
        Decision::read(json).expect("a decision").why()
    }

    #[test]
    fn the_cheapest_is_told_with_the_next() {
        assert_eq!(
            why(
                r#"{"chosen":"deepinfra/default/global/deepseek-v4-pro","policy":"cheapest","ranked":[
                {"backend":"deepinfra/default/global/deepseek-v4-pro","cost":"0.000412","window":"w","ttft_ms":800},
                {"backend":"novita/default/global/deepseek-v4-pro","cost":"0.000455"},
                {"backend":"azure/default/eu/deepseek-v4-pro","cost":"0.0009"},
                {"backend":"together/default/us/deepseek-v4-pro","cost":"0.001"}],"rejected":[],"attempt":1}"#
            ),
            "cheapest of 4 allowed: $0.000412 expected; next novita $0.000455"
        );
    }

    #[test]
    fn a_tag_that_leaves_few_is_named() {
        let rejected: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|host| format!(r#"{{"backend":"{host}/d/g/m","reason":"lacks tag eu"}}"#))
            .collect();
        let rejected = rejected.join(",");
        assert_eq!(
            why(&format!(
                r#"{{"chosen":"azure/d/eu/m","policy":"cheapest","ranked":[{{"backend":"azure/d/eu/m","cost":"0.001"}}],"rejected":[{rejected}],"attempt":1}}"#
            )),
            "only azure answers the tag eu: $0.001000 expected"
        );
        assert_eq!(
            why(&format!(
                r#"{{"chosen":"deepinfra/d/eu/m","policy":"cheapest","ranked":[{{"backend":"deepinfra/d/eu/m","cost":"0.001"}},{{"backend":"azure/d/eu/m","cost":"0.002"}}],"rejected":[{rejected}]}}"#
            )),
            "cheapest of 2 allowed: $0.001000 expected; next azure $0.002000; only deepinfra and azure answer the tag eu"
        );
    }

    #[test]
    fn a_later_attempt_says_so() {
        assert_eq!(
            why(
                r#"{"chosen":"b/d/g/m","policy":"cheapest","attempt":2,"ranked":[{"backend":"a/d/g/m","cost":"0.001"},{"backend":"b/d/g/m","cost":"0.002"}]}"#
            ),
            "attempt 2: the ones before failed; number 2 of 2 by the rule “cheapest”: $0.002000 expected; first a $0.001000"
        );
    }

    #[test]
    fn two_backends_of_one_host_are_told_apart() {
        assert_eq!(
            why(
                r#"{"chosen":"azure/d/eu/m","policy":"cheapest","ranked":[{"backend":"azure/d/eu/m","cost":"0.001"},{"backend":"azure/d/us/m","cost":"0.002"}]}"#
            ),
            "cheapest of 2 allowed: $0.001000 expected; next azure/d/us/m $0.002000"
        );
    }

    #[test]
    fn what_is_no_decision_is_not_guessed_at() {
        for json in ["", "null", "[]", "{}", r#"{"ranked":7}"#, "{\"chosen\":"] {
            assert_eq!(Decision::read(json), None, "{json}");
        }
        assert_eq!(
            why(r#"{"chosen":"gone/d/g/m","later":{"a":1}}"#),
            "gone was not among the ranked candidates"
        );
    }
}
