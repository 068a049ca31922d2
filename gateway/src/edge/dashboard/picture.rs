//! The picture of a breakdown: where each bar and each of its parts begins and ends. Positions are
//! percentages in thousandths, by integer arithmetic from exact money; the template turns them into
//! SVG that grows with the page while its letters keep their size.

use std::fmt;

use jiff::civil::Date;

use super::breakdown::{Breakdown, Group, Kind};
use super::period::Grouping;
use super::wording::{Shown, decimals_for, decimals_for_column};
use crate::money::{Money, PICODOLLARS};

/// Bars of the picture; what is beyond is summed in the last.
const MOST_BARS: usize = 12;
/// Lines across the picture of days, above the ground line.
const MOST_LINES: i128 = 4;
/// Days named below the picture.
const MOST_DAY_NAMES: usize = 8;
/// Letters of a name beside a bar, so that it does not run into the amount on a narrow page.
const LONGEST_LABEL: usize = 26;

/// A length or position in thousandths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Percent(i128);

impl Percent {
    const WHOLE: Percent = Percent(100_000);

    fn of(part: Money, whole: Money) -> Self {
        let (part, whole) = (part.picodollars(), whole.picodollars());
        if whole <= 0 {
            return Percent(0);
        }
        Percent((part.max(0).saturating_mul(Self::WHOLE.0) / whole).min(Self::WHOLE.0))
    }
}

/// `12.345%`
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}%", self.0 / 1_000, self.0 % 1_000)
    }
}

/// All that the template draws.
pub(super) struct Picture {
    pub(super) by: Grouping,
    pub(super) bars: Vec<Bar>,
    pub(super) legend: Vec<Kind>,
    /// Only of days: amounts across the picture.
    pub(super) lines: Vec<Line>,
    /// The picture in a sentence.
    pub(super) summary: String,
}

pub(super) struct Bar {
    pub(super) name: String,
    /// The name as it fits beside the bar.
    pub(super) label: String,
    pub(super) cost: Shown,
    pub(super) parts: Vec<Part>,
    /// From the cost to what an even spread would have cost, where that is more.
    pub(super) saved: Option<Saved>,
    /// Of days: left edge and width, and the middle where the name stands, if it is shown.
    pub(super) left: Percent,
    pub(super) width: Percent,
    pub(super) middle: Percent,
    pub(super) named: bool,
    /// Only where there is room: every other name.
    pub(super) named_when_wide: bool,
    /// Of the others: distance from the top in pixels.
    pub(super) top: usize,
}

pub(super) struct Part {
    pub(super) kind: String,
    pub(super) colour: usize,
    pub(super) cost: Shown,
    /// From the bar's beginning.
    pub(super) from: Percent,
    /// From the bar's end: where it starts as seen from above.
    pub(super) above: Percent,
    pub(super) size: Percent,
}

pub(super) struct Saved {
    pub(super) amount: Shown,
    pub(super) from: Percent,
    pub(super) above: Percent,
    pub(super) size: Percent,
}

pub(super) struct Line {
    pub(super) amount: String,
    pub(super) above: Percent,
}

/// Pixels from one bar to the next.
pub(super) const BAR_STEP: usize = 46;

impl Picture {
    pub(super) fn draw(breakdown: &Breakdown, by: Grouping) -> Self {
        let groups = match by {
            Grouping::Day => breakdown.largest(usize::MAX),
            Grouping::Team | Grouping::Host => breakdown.largest(MOST_BARS),
        };
        let largest = groups
            .iter()
            .map(|group| group.sums.cost.max(group.sums.spread))
            .max()
            .unwrap_or(Money::ZERO);
        let (lines, scale) = match by {
            Grouping::Day => lines(largest),
            Grouping::Team | Grouping::Host => (Vec::new(), largest),
        };
        let decimals = decimals_for_column(groups.iter().map(|group| group.sums.cost));
        let bars: Vec<Bar> = groups
            .iter()
            .enumerate()
            .map(|(index, group)| {
                bar(
                    group,
                    &breakdown.kinds,
                    (index, groups.len()),
                    by,
                    scale,
                    decimals,
                )
            })
            .collect();
        let legend = breakdown
            .kinds
            .iter()
            .filter(|kind| {
                bars.iter()
                    .any(|bar| bar.parts.iter().any(|part| part.kind == kind.name))
            })
            .cloned()
            .collect();
        let summary = summary(&groups, breakdown, by);
        Picture {
            by,
            bars,
            legend,
            lines,
            summary,
        }
    }

    /// Whether any bar shows a saving.
    pub(super) fn saves(&self) -> bool {
        self.bars.iter().any(|bar| bar.saved.is_some())
    }

    pub(super) fn height(&self) -> usize {
        self.bars.len() * BAR_STEP
    }
}

fn bar(
    group: &Group,
    kinds: &[Kind],
    (index, count): (usize, usize),
    by: Grouping,
    scale: Money,
    decimals: u32,
) -> Bar {
    let mut parts = Vec::new();
    let mut before = Money::ZERO;
    for (kind, part) in kinds.iter().zip(&group.parts) {
        if part.cost <= Money::ZERO {
            continue;
        }
        let from = Percent::of(before, scale);
        before += part.cost;
        let to = Percent::of(before, scale);
        parts.push(Part {
            kind: kind.name.clone(),
            colour: kind.colour,
            cost: Shown::new(part.cost, decimals),
            from,
            above: Percent(Percent::WHOLE.0 - to.0),
            size: Percent(to.0 - from.0),
        });
    }
    let amount = group.sums.saved_by_routing();
    let saved = (amount > Money::ZERO).then(|| {
        let (from, to) = (
            Percent::of(group.sums.cost, scale),
            Percent::of(group.sums.spread, scale),
        );
        Saved {
            amount: Shown::new(amount, decimals),
            from,
            above: Percent(Percent::WHOLE.0 - to.0),
            size: Percent(to.0 - from.0),
        }
    });
    let (index_wide, count_wide) = (index as i128, count.max(1) as i128);
    let step = Percent::WHOLE.0 / count_wide;
    // A name stands under every day that starts a stride.
    let stride = count.div_ceil(MOST_DAY_NAMES).max(1);
    Bar {
        label: if by == Grouping::Day {
            short_day(&group.name)
        } else {
            shortened(&group.name)
        },
        name: group.name.clone(),
        cost: Shown::new(group.sums.cost, decimals),
        parts,
        saved,
        left: Percent(step * index_wide + step / 10),
        width: Percent(step * 8 / 10),
        middle: Percent(step * index_wide + step / 2),
        named: index.is_multiple_of(stride),
        named_when_wide: !(index / stride).is_multiple_of(2),
        top: index * BAR_STEP,
    }
}

/// `1 Nov`
fn short_day(name: &str) -> String {
    name.parse::<Date>().map_or_else(
        |_| name.to_owned(),
        |day| day.strftime("%-d %b").to_string(),
    )
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_LABEL {
        return name.to_owned();
    }
    let kept: String = name.chars().take(LONGEST_LABEL - 1).collect();
    format!("{kept}…")
}

/// Lines at round amounts, and the amount at the top of the picture.
fn lines(largest: Money) -> (Vec<Line>, Money) {
    let size = largest.picodollars();
    if size <= 0 {
        return (Vec::new(), Money::ZERO);
    }
    let mut unit = 1_i128;
    let step = loop {
        let found = [1, 2, 5]
            .into_iter()
            .map(|digit| digit * unit)
            .find(|step| size <= step * MOST_LINES);
        match found {
            Some(step) => break step,
            None => unit = unit.saturating_mul(10),
        }
    };
    let top = Money::from_picodollars((size + step - 1) / step * step);
    let decimals = if step % PICODOLLARS == 0 {
        0
    } else {
        decimals_for(Money::from_picodollars(step)).min(round_decimals(step))
    };
    let lines = (0..=top.picodollars() / step)
        .map(|number| {
            let amount = Money::from_picodollars(number * step);
            Line {
                amount: amount.for_people(decimals),
                above: Percent(Percent::WHOLE.0 - Percent::of(amount, top).0),
            }
        })
        .collect();
    (lines, top)
}

/// Decimals that a round amount below a dollar needs, two at least.
fn round_decimals(step: i128) -> u32 {
    (2..12)
        .find(|decimals| step % 10_i128.pow(12 - decimals) == 0)
        .unwrap_or(12)
}

fn summary(groups: &[Group], breakdown: &Breakdown, by: Grouping) -> String {
    let largest = groups.iter().max_by_key(|group| group.sums.cost);
    match largest {
        Some(group) if group.sums.cost > Money::ZERO => format!(
            "Spend by {}, split by {}, and what was saved: {} in all; the largest is {} with {}. The table below has every figure.",
            by.as_str(),
            by.parts(),
            Shown::alone(breakdown.total.cost).rounded,
            group.name,
            Shown::alone(group.sums.cost).rounded,
        ),
        _ => format!("Spend by {}: nothing was spent in these days.", by.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_stand_at_round_amounts_and_cover_the_largest() {
        let amounts = |text: &str| {
            let (lines, top) = lines(text.parse().expect("money"));
            (
                lines
                    .into_iter()
                    .map(|line| line.amount)
                    .collect::<Vec<_>>(),
                top.to_string(),
            )
        };
        let (names, top) = amounts("7.31");
        assert_eq!(names, ["$0", "$2", "$4", "$6", "$8"]);
        assert_eq!(top, "8.00");
        let (names, top) = amounts("0.0123");
        assert_eq!(names, ["$0.000", "$0.005", "$0.010", "$0.015"]);
        assert_eq!(top, "0.015");
        assert_eq!(amounts("0").0, Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn parts_lie_end_to_end_and_within_the_picture(
            costs in prop::collection::vec(1_i128..1 << 70, 1..10),
            room in 0_i128..1 << 70,
        ) {
            let kinds: Vec<Kind> =
                (0..costs.len()).map(|index| Kind { name: index.to_string(), colour: index }).collect();
            let spends: Vec<_> = costs
                .iter()
                .map(|cost| super::super::figures::Spend { cost: Money::from_picodollars(*cost), ..Default::default() })
                .collect();
            let whole = Money::from_picodollars(costs.iter().sum::<i128>() + room);
            let group = Group { name: String::new(), unallocated: false, sums: spends[0].clone(), parts: spends };
            let bar = bar(&group, &kinds, (0, 1), Grouping::Team, whole, 2);
            let mut end = Percent(0);
            for part in &bar.parts {
                prop_assert_eq!(part.from, end);
                end = Percent(part.from.0 + part.size.0);
                prop_assert_eq!(part.above.0, Percent::WHOLE.0 - end.0);
            }
            prop_assert!(end <= Percent::WHOLE);
        }

        #[test]
        fn any_amount_gets_few_lines(size in 1_i128..1 << 90) {
            let (lines, top) = lines(Money::from_picodollars(size));
            prop_assert!(top.picodollars() >= size);
            prop_assert!((2..=5).contains(&lines.len()), "{}", lines.len());
        }
    }
}
