//! Spend arranged for reading: groups with their parts, largest first, the unallocated always in
//! view, and a total that is the exact sum of what is shown. Both the table and the picture are
//! made from it, so they cannot disagree. Pure arithmetic over [`Spend`] rows.

use std::collections::BTreeMap;

use super::figures::Spend;
use super::period::{Grouping, Period};
use super::wording::plain;
use crate::chat::{Tokens, Usage};
use crate::id::HostName;
use crate::money::Money;

/// Groups listed by name; the rest are summed into one line.
const MOST_GROUPS: usize = 200;
/// Kinds of parts told apart by colour and hatching; the rest share one.
const MOST_KINDS: usize = 16;
/// As many teams as can be told apart at a glance within one bar.
const MOST_TEAMS_IN_A_BAR: usize = 7;
/// What stands where no team answers for an entry.
pub(super) const UNALLOCATED: &str = "unallocated";

/// Spend by group, each split into parts of the same kinds.
#[derive(Debug)]
pub(super) struct Breakdown {
    pub(super) groups: Vec<Group>,
    /// What parts are of: hosts or teams, in the order in which they are stacked.
    pub(super) kinds: Vec<Kind>,
    pub(super) total: Spend,
}

#[derive(Debug)]
pub(super) struct Group {
    /// Fit to be shown.
    pub(super) name: String,
    /// Nobody answers for it.
    pub(super) unallocated: bool,
    pub(super) sums: Spend,
    /// Cost of each kind, in the order of [`Breakdown::kinds`].
    pub(super) parts: Vec<Spend>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Fit to be shown.
    pub(super) name: String,
    /// Number of its colour, from 1; 0 is the grey of the rest and of the unallocated.
    pub(super) colour: usize,
}

impl Breakdown {
    /// Arranges rows of [`Grouping::dimensions`]. `hosts` gives every host its lasting colour.
    pub(super) fn arrange(rows: &[Spend], period: &Period, hosts: &[HostName]) -> Self {
        let key = |row: &Spend, index: usize| row.key.get(index).cloned().unwrap_or_default();
        let mut by_part: BTreeMap<String, Spend> = BTreeMap::new();
        let mut by_group: BTreeMap<String, Vec<&Spend>> = BTreeMap::new();
        for row in rows {
            add(by_part.entry(key(row, 1)).or_default(), row);
            by_group.entry(key(row, 0)).or_default().push(row);
        }
        match period.by {
            Grouping::Team => {
                by_group.entry(String::new()).or_default();
            }
            Grouping::Day => {
                for day in period.days() {
                    by_group.entry(day.to_string()).or_default();
                }
            }
            Grouping::Host => {}
        }
        let places = match period.by {
            Grouping::Team | Grouping::Day => host_places(&by_part, hosts),
            Grouping::Host => team_places(&by_part),
        };
        let kinds = places.kinds;
        let mut groups: Vec<Group> = by_group
            .into_iter()
            .map(|(name, rows)| {
                let mut sums = Spend::default();
                let mut parts = vec![Spend::default(); kinds.len()];
                for row in rows {
                    add(&mut sums, row);
                    if let Some(place) = places.of.get(&key(row, 1)) {
                        add(&mut parts[*place], row);
                    }
                }
                let unallocated = name.is_empty();
                let name = if unallocated {
                    UNALLOCATED.to_owned()
                } else {
                    plain(&name)
                };
                Group {
                    name,
                    unallocated,
                    sums,
                    parts,
                }
            })
            .collect();
        if period.by != Grouping::Day {
            // Stable: equals stay in order of their names.
            groups.sort_by_key(|group| (group.unallocated, std::cmp::Reverse(group.sums.cost)));
        }
        let mut total = Spend::default();
        for group in &groups {
            add(&mut total, &group.sums);
        }
        if period.by != Grouping::Day {
            groups = fold_beyond(groups, MOST_GROUPS);
        }
        Breakdown {
            groups,
            kinds,
            total,
        }
    }

    /// The same, with at most `most` groups besides the unallocated: for the picture.
    pub(super) fn largest(&self, most: usize) -> Vec<Group> {
        let copies = self.groups.iter().map(|group| Group {
            name: group.name.clone(),
            unallocated: group.unallocated,
            sums: group.sums.clone(),
            parts: group.parts.clone(),
        });
        fold_beyond(copies.collect(), most)
    }
}

/// Keeps the first `most` groups and the unallocated; the others become one.
fn fold_beyond(groups: Vec<Group>, most: usize) -> Vec<Group> {
    let named = groups.iter().filter(|group| !group.unallocated).count();
    if named <= most {
        return groups;
    }
    let (mut kept, mut rest, mut unallocated) = (Vec::new(), Vec::new(), Vec::new());
    for group in groups {
        if group.unallocated {
            unallocated.push(group);
        } else if kept.len() + 1 < most {
            kept.push(group);
        } else {
            rest.push(group);
        }
    }
    let mut folded = Group {
        name: format!("{} others", rest.len()),
        unallocated: false,
        sums: Spend::default(),
        parts: Vec::new(),
    };
    for group in rest {
        add(&mut folded.sums, &group.sums);
        folded.parts.resize(group.parts.len(), Spend::default());
        for (sum, part) in folded.parts.iter_mut().zip(&group.parts) {
            add(sum, part);
        }
    }
    kept.push(folded);
    kept.extend(unallocated);
    kept
}

struct Places {
    kinds: Vec<Kind>,
    /// Place among `kinds` of each part's name.
    of: BTreeMap<String, usize>,
}

/// Hosts keep the order and colour that they have in the catalog, whatever the filter shows.
fn host_places(by_part: &BTreeMap<String, Spend>, hosts: &[HostName]) -> Places {
    let mut order: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    let known: Vec<&str> = order.clone();
    order.extend(
        by_part
            .keys()
            .map(String::as_str)
            .filter(|name| !known.contains(name)),
    );
    place(by_part, &order, MOST_KINDS, "other hosts")
}

/// The largest teams get a colour each, in the order of their names.
fn team_places(by_part: &BTreeMap<String, Spend>) -> Places {
    let mut teams: Vec<(&str, Money)> = by_part
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, sums)| (name.as_str(), sums.cost))
        .collect();
    teams.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
    let (largest, rest) = teams.split_at(teams.len().min(MOST_TEAMS_IN_A_BAR));
    let mut order: Vec<&str> = largest.iter().map(|(name, _)| *name).collect();
    order.sort_unstable();
    order.extend(rest.iter().map(|(name, _)| *name));
    place(by_part, &order, MOST_TEAMS_IN_A_BAR, "other teams")
}

fn place(by_part: &BTreeMap<String, Spend>, order: &[&str], most: usize, others: &str) -> Places {
    let mut places = Places {
        kinds: Vec::new(),
        of: BTreeMap::new(),
    };
    let mut shared = None;
    for (index, name) in order.iter().enumerate() {
        if !by_part.contains_key(*name) || name.is_empty() {
            continue;
        }
        let at = if index < most {
            places.kinds.push(Kind {
                name: plain(name),
                colour: index + 1,
            });
            places.kinds.len() - 1
        } else {
            *shared.get_or_insert_with(|| {
                places.kinds.push(Kind {
                    name: others.to_owned(),
                    colour: 0,
                });
                places.kinds.len() - 1
            })
        };
        places.of.insert((*name).to_owned(), at);
    }
    if by_part.contains_key("") {
        places.kinds.push(Kind {
            name: UNALLOCATED.to_owned(),
            colour: 0,
        });
        places.of.insert(String::new(), places.kinds.len() - 1);
    }
    places
}

/// Adds all that adds up; requests do not.
fn add(sum: &mut Spend, row: &Spend) {
    sum.attempts = sum.attempts.saturating_add(row.attempts);
    sum.unpriced = sum.unpriced.saturating_add(row.unpriced);
    sum.cost += row.cost;
    sum.list += row.list;
    sum.spread += row.spread;
    sum.usage = Usage {
        cache_miss: sum.usage.cache_miss + row.usage.cache_miss,
        cache_hit: sum.usage.cache_hit + row.usage.cache_hit,
        cache_write: sum.usage.cache_write + row.usage.cache_write,
        reasoning: sum.usage.reasoning + row.usage.reasoning,
        visible: sum.usage.visible + row.usage.visible,
    };
}

impl Spend {
    /// What an even spread over the allowed hosts would have cost more.
    pub(super) fn saved_by_routing(&self) -> Money {
        self.spread - self.cost
    }

    /// What the list price would have cost more.
    pub(super) fn saved_from_list(&self) -> Money {
        self.list - self.cost
    }

    pub(super) fn tokens(&self) -> Tokens {
        self.usage.input() + self.usage.output()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(group: &str, part: &str, cost: i128) -> Spend {
        Spend {
            key: vec![group.to_owned(), part.to_owned()],
            attempts: 1,
            cost: Money::from_picodollars(cost),
            ..Spend::default()
        }
    }

    fn november(by: Grouping) -> Period {
        Period::usual("2026-11-24T08:00:00Z".parse().expect("an instant")).grouped_by(by)
    }

    fn names(breakdown: &Breakdown) -> Vec<&str> {
        breakdown
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect()
    }

    #[test]
    fn the_unallocated_is_always_in_view_and_last() {
        let rows = [row("a", "x", 1), row("b", "x", 5)];
        let breakdown = Breakdown::arrange(&rows, &november(Grouping::Team), &[]);
        assert_eq!(names(&breakdown), ["b", "a", UNALLOCATED]);
        let rows = [row("", "x", 100), row("b", "x", 5)];
        let breakdown = Breakdown::arrange(&rows, &november(Grouping::Team), &[]);
        assert_eq!(names(&breakdown), ["b", UNALLOCATED]);
    }

    #[test]
    fn every_day_has_its_line_also_one_without_requests() {
        let breakdown =
            Breakdown::arrange(&[row("2026-11-03", "x", 1)], &november(Grouping::Day), &[]);
        assert_eq!(breakdown.groups.len(), 24);
        assert_eq!(breakdown.groups[2].sums.cost, Money::from_picodollars(1));
    }

    #[test]
    fn a_host_keeps_its_colour_whatever_else_is_shown() {
        let hosts = ["deepseek", "novita", "azure"].map(HostName::from);
        let colour = |rows: &[Spend]| {
            let breakdown = Breakdown::arrange(rows, &november(Grouping::Team), &hosts);
            breakdown
                .kinds
                .iter()
                .find(|kind| kind.name == "azure")
                .map(|kind| kind.colour)
        };
        assert_eq!(colour(&[row("a", "azure", 1)]), Some(3));
        assert_eq!(
            colour(&[
                row("a", "azure", 1),
                row("a", "deepseek", 9),
                row("b", "new", 9)
            ]),
            Some(3)
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_counted_twice(
            rows in prop::collection::vec((0_u16..400, 0_u8..40, 0_i64..1_000_000), 0..600),
            by in prop::sample::select(vec![Grouping::Team, Grouping::Host]),
        ) {
            let name = |number: u16| if number == 0 { String::new() } else { format!("n{number}") };
            let rows: Vec<Spend> = rows
                .iter()
                .map(|(group, part, cost)| row(&name(*group), &name(u16::from(*part)), i128::from(*cost)))
                .collect();
            let exact: Money = rows.iter().map(|row| row.cost).sum();
            let breakdown = Breakdown::arrange(&rows, &november(by), &[]);
            prop_assert_eq!(breakdown.total.cost, exact);
            for groups in [&breakdown.groups, &breakdown.largest(12)] {
                prop_assert_eq!(groups.iter().map(|group| group.sums.cost).sum::<Money>(), exact);
                for group in groups {
                    prop_assert_eq!(group.parts.iter().map(|part| part.cost).sum::<Money>(), group.sums.cost);
                }
            }
            prop_assert!(breakdown.groups.len() <= MOST_GROUPS + 1);
            prop_assert!(breakdown.largest(12).len() <= 13);
        }
    }
}
