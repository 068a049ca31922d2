//! The ranked plan of one request: every allowed backend with what this request is expected to
//! cost there now, cheapest first.

use std::sync::Arc;

use crate::catalog::{Offer, Quirks, SchemaFallback};
use crate::chat::{Effort, Lack, Needs, Tokens, Usage};
use crate::id::BackendName;
use crate::money::Money;
use crate::pricing::{self, Window};
use crate::time::Timestamp;

use super::{Counts, PlaceEstimates, Workload};

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub needs: &'a Needs,
    pub prompt_bytes: usize,
    /// The caller's bound on each choice's output, or ours.
    pub bound: Option<Tokens>,
    pub choices: u32,
    pub effort: Effort,
    /// The caller's limit on the expected cost.
    pub max_cost: Option<Money>,
}

/// One allowed backend, with all that the ranking depends on.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub name: &'a BackendName,
    pub offer: &'a Offer,
    pub quirks: &'a Quirks,
    /// `None`: no price is known at this instant.
    pub window: Option<Arc<Window>>,
    pub health: Health,
    pub estimates: &'a PlaceEstimates,
}

/// Whether a backend takes requests now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    /// It failed, or asked to be left alone, until this instant.
    Resting(Timestamp),
    /// All that its account may have in flight is in flight.
    Full,
}

/// A backend in its place in the plan.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Which of the candidates.
    pub candidate: usize,
    pub expected: Usage,
    pub cost: Money,
    pub window: Arc<Window>,
    pub ttft_ms: Option<u64>,
}

/// Best first, and why the others are out.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub ranked: Vec<Ranked>,
    pub rejected: Vec<Lack>,
    /// The earliest instant at which a resting backend may be asked again.
    pub retry_at: Option<Timestamp>,
    /// An account that may serve it has all the requests in flight that it may have.
    pub full: bool,
}

/// Ranks the candidates by expected cost, ties by name: the same inputs give the same plan.
pub fn plan(question: Question<'_>, candidates: &[Candidate<'_>], workload: &Workload) -> Plan {
    let mut plan = Plan::default();
    for (index, candidate) in candidates.iter().enumerate() {
        let mut reject = |reason: String| {
            plan.rejected.push(Lack {
                backend: candidate.name.to_string(),
                reason,
            });
        };
        if let Some(lack) = lacks(question, candidate.offer, candidate.quirks) {
            reject(lack);
            continue;
        }
        match candidate.health {
            Health::Up => {}
            Health::Resting(until) => {
                reject(format!("it is resting after failures until {until:.0}"));
                plan.retry_at = Some(plan.retry_at.map_or(until, |at| at.min(until)));
                continue;
            }
            Health::Full => {
                reject("its account has no request left to run at once".to_owned());
                plan.full = true;
                continue;
            }
        }
        let Some(window) = &candidate.window else {
            reject("its price at this instant is unknown; set it in the deployments".to_owned());
            continue;
        };
        let expected = Counts::expected(
            candidate.estimates,
            workload,
            question.prompt_bytes,
            question.bound,
            question.choices,
        )
        .usage;
        let cost = pricing::cost(&window.rates, &expected);
        if let Some(limit) = question.max_cost
            && cost > limit
        {
            reject(format!(
                "it is expected to cost {cost}, above the limit of {limit}"
            ));
            continue;
        }
        plan.ranked.push(Ranked {
            candidate: index,
            expected,
            cost,
            window: window.clone(),
            ttft_ms: candidate.estimates.first_byte_ms(),
        });
    }
    plan.ranked.sort_by(|a, b| {
        let name = |ranked: &Ranked| candidates[ranked.candidate].name;
        a.cost.cmp(&b.cost).then_with(|| name(a).cmp(name(b)))
    });
    plan
}

/// What an offer lacks for a request, if anything.
fn lacks(question: Question<'_>, offer: &Offer, quirks: &Quirks) -> Option<String> {
    let can = &offer.capabilities;
    // The operator has declared that JSON mode and a prompt may stand for a schema there.
    let falls_back = quirks.json_schema_fallback == SchemaFallback::JsonObject;
    let needs = question.needs;
    for (needed, able, what) in [
        (needs.tools, can.tools, "tools"),
        (needs.forced_tools, can.forced_tools, "a forced tool_choice"),
        (needs.json_object, can.json_object, "JSON mode"),
        (
            needs.json_schema,
            can.json_schema || (falls_back && can.json_object),
            "JSON schemas",
        ),
        (needs.images, can.images, "images"),
        (needs.logprobs, can.logprobs, "logprobs"),
        (
            needs.completions,
            can.completions,
            "completions of a bare prompt, only conversations",
        ),
        (
            needs.fim,
            can.fim,
            "a suffix: it does not fill in the middle",
        ),
    ] {
        if needed && !able {
            return Some(format!("it does not take {what}"));
        }
    }
    if let Some(bound) = question.bound
        && bound > offer.longest(needs)
    {
        return Some(format!(
            "it writes at most {} tokens, not {bound}",
            offer.longest(needs)
        ));
    }
    let window = quirks.window_for(question.effort);
    if offer.context < window {
        return Some(format!(
            "the most thinking wants a context of {window} tokens, it has {}",
            offer.context
        ));
    }
    // Even the densest text has fewer bytes than tokens times this; longer prompts cannot fit.
    let at_least = Tokens::new(question.prompt_bytes as u64 / 16);
    (at_least > offer.context)
        .then(|| format!("its context of {} tokens is too short", offer.context))
}

/// The most that a request can cost at these rates: each two bytes of the prompt a missed token,
/// and every token of output that it allows.
pub fn worst_case(window: &Window, offer: &Offer, question: Question<'_>) -> Money {
    let input = Tokens::new(
        (question.prompt_bytes as u64)
            .div_ceil(2)
            .min(offer.context.get()),
    );
    let output = question
        .bound
        .unwrap_or(offer.max_output)
        .min(offer.longest(question.needs));
    let usage = Usage {
        cache_miss: input,
        visible: Tokens::new(output.get().saturating_mul(u64::from(question.choices))),
        ..Usage::default()
    };
    pricing::cost(&window.rates, &usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, SHIPPED};

    fn asking(needs: &Needs, effort: Effort) -> Question<'_> {
        Question {
            needs,
            prompt_bytes: 10,
            bound: None,
            choices: 1,
            effort,
            max_cost: None,
        }
    }

    #[test]
    fn the_most_thinking_is_asked_only_where_the_window_is_wide_enough() {
        let files = SHIPPED
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let catalog = Catalog::from_files(files.collect()).expect("the shipped catalog");
        let needs = Needs::default();
        for host in catalog.hosts.values() {
            for offer in &host.offers {
                assert_eq!(
                    lacks(asking(&needs, Effort::High), offer, &host.quirks),
                    None
                );
                let most = lacks(asking(&needs, Effort::Max), offer, &host.quirks);
                let wide = offer.context >= Tokens::new(393_216);
                assert_eq!(most.is_none(), wide, "{} {}", host.name, offer.id);
            }
        }
    }

    #[test]
    fn a_host_without_completions_says_so_and_one_without_a_middle_as_well() {
        let files = SHIPPED
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let catalog = Catalog::from_files(files.collect()).expect("the shipped catalog");
        let lack = |host: &str, needs: Needs| {
            let host = &catalog.hosts[host];
            lacks(
                asking(&needs, Effort::Unsaid),
                &host.offers[0],
                &host.quirks,
            )
        };
        let bare = Needs {
            completions: true,
            ..Needs::default()
        };
        let middle = Needs { fim: true, ..bare };
        assert_eq!(lack("deepseek", bare), None);
        assert_eq!(lack("deepseek", middle), None);
        let offer = &catalog.hosts["deepseek"].offers[0];
        assert_eq!(offer.longest(&middle), Tokens::new(4_096));
        assert_eq!(offer.longest(&Needs::default()), offer.max_output);
        let reason = lack("together", middle).expect("a lack");
        assert_eq!(
            reason,
            "it does not take completions of a bare prompt, only conversations"
        );
        let only_middle = Needs {
            fim: true,
            ..Needs::default()
        };
        let reason = lack("together", only_middle).expect("a lack");
        assert_eq!(
            reason,
            "it does not take a suffix: it does not fill in the middle"
        );
    }
}
