//! What the demonstration tells when its traffic is through: who was paid what, what the same
//! traffic would have cost elsewhere, whether the ledger and the hosts' bills agree, and how to go
//! on from there. Only words and tables over plain data handed in.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::hosts::{Bill, dollars};
use super::traffic::Played;
use crate::money::Money;

/// What the ledger says about one host.
#[derive(Clone, Debug)]
pub struct HostSpend {
    pub host: String,
    pub attempts: u64,
    /// Tokens, cached ones included.
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub cost: Money,
    /// The price was invented for the demonstration.
    pub invented_price: bool,
}

/// What the same traffic would have cost under another choice.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// `everything at DeepSeek`.
    pub choice: String,
    pub cost: Money,
}

/// A difference between the ledger and a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub host: String,
    pub ledger: Money,
    /// Picodollars.
    pub bill: i128,
}

/// Whether the ledger is the bills, host by host and to the last digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    pub ledger: Money,
    /// Picodollars.
    pub bills: i128,
    pub differences: Vec<Difference>,
}

impl Agreement {
    /// Compares the ledger's total of each host with that host's own bill. A host that only one of
    /// them knows counts as zero at the other.
    pub fn of(ledger: &[HostSpend], bills: &[Bill]) -> Self {
        let names: BTreeSet<&str> = ledger
            .iter()
            .map(|spend| spend.host.as_str())
            .chain(bills.iter().map(|bill| bill.host.name()))
            .collect();
        let mut differences = Vec::new();
        let mut totals = (Money::ZERO, 0_i128);
        for name in names {
            let ledger: Money = ledger
                .iter()
                .filter(|spend| spend.host == name)
                .map(|spend| spend.cost)
                .sum();
            let bill: i128 = bills
                .iter()
                .filter(|bill| bill.host.name() == name)
                .map(Bill::picodollars)
                .sum();
            if ledger.picodollars() != bill {
                differences.push(Difference {
                    host: name.to_owned(),
                    ledger,
                    bill,
                });
            }
            totals.0 += ledger;
            totals.1 += bill;
        }
        Agreement {
            ledger: totals.0,
            bills: totals.1,
            differences,
        }
    }

    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "ledger               ${}\nthe hosts' own bills ${}\n",
            self.ledger,
            dollars(self.bills)
        );
        if self.holds() {
            text.push_str("They agree to the last digit, host by host.\n");
            return text;
        }
        for difference in &self.differences {
            let _ = writeln!(
                text,
                "DIFFERENT at {}: ledger ${}, bill ${}",
                difference.host,
                difference.ledger,
                dollars(difference.bill)
            );
        }
        text
    }
}

/// Everything to be told at the end.
#[derive(Clone, Debug)]
pub struct Story {
    pub played: Played,
    pub spend: Vec<HostSpend>,
    pub elsewhere: Vec<Elsewhere>,
    pub agreement: Agreement,
    /// `http://127.0.0.1:8080`.
    pub gateway: String,
    /// A key that works for the curl.
    pub key: String,
    /// A model's name for the curl.
    pub model: String,
}

impl Story {
    pub fn text(&self) -> String {
        let parts = [
            "DEMONSTRATION: the hosts are emulated on this machine, no model ran, no money was spent.".to_owned(),
            played_text(&self.played),
            format!("Spend by host\n{}", spend_table(&self.spend)),
            format!("The same traffic elsewhere\n{}", elsewhere_table(paid(&self.spend), &self.elsewhere)),
            format!("Does the ledger match the hosts' bills?\n{}", self.agreement.text()),
            try_it(&self.gateway, &self.key, &self.model),
        ];
        parts.map(|part| part.trim_end().to_owned()).join("\n\n") + "\n"
    }
}

fn paid(spend: &[HostSpend]) -> Money {
    spend.iter().map(|spend| spend.cost).sum()
}

pub fn played_text(played: &Played) -> String {
    let mut text = format!(
        "{} of {} requests answered in {:.1} s ({} streamed): {} tokens in ({} of them cached), {} out.",
        played.answered,
        played.sent,
        played.took.as_secs_f64(),
        played.streamed,
        grouped(played.input_tokens),
        percent(
            u128::from(played.cached_tokens),
            u128::from(played.input_tokens)
        ),
        grouped(played.output_tokens),
    );
    for (code, times) in &played.errors {
        let _ = write!(text, "\n{times} x {code}");
    }
    text
}

/// Dearest host first.
pub fn spend_table(spend: &[HostSpend]) -> String {
    let total = paid(spend);
    let mut sorted: Vec<&HostSpend> = spend.iter().collect();
    sorted.sort_by_key(|spend| (-spend.cost, spend.host.clone()));
    let mut rows = vec![
        [
            "host", "calls", "input", "cached", "output", "cost", "share",
        ]
        .map(str::to_owned),
    ];
    for spend in &sorted {
        let mark = if spend.invented_price { "*" } else { "" };
        rows.push([
            format!("{}{mark}", spend.host),
            grouped(spend.attempts),
            grouped(spend.input),
            percent(u128::from(spend.cached), u128::from(spend.input)),
            grouped(spend.output),
            spend.cost.for_people(6),
            percent(positive(spend.cost), positive(total)),
        ]);
    }
    rows.push([
        "all".to_owned(),
        grouped(spend.iter().map(|spend| spend.attempts).sum()),
        grouped(spend.iter().map(|spend| spend.input).sum()),
        percent(
            spend.iter().map(|spend| u128::from(spend.cached)).sum(),
            spend.iter().map(|spend| u128::from(spend.input)).sum(),
        ),
        grouped(spend.iter().map(|spend| spend.output).sum()),
        total.for_people(6),
        String::new(),
    ]);
    let mut text = table(&rows);
    if spend.iter().any(|spend| spend.invented_price) {
        text.push_str("* a price invented for the demonstration: this host publishes none\n");
    }
    text
}

/// Cheapest first, with what each would have cost more (or less) than what was paid.
pub fn elsewhere_table(paid: Money, elsewhere: &[Elsewhere]) -> String {
    let mut sorted: Vec<&Elsewhere> = elsewhere.iter().collect();
    sorted.sort_by_key(|elsewhere| (elsewhere.cost, elsewhere.choice.clone()));
    let mut rows = vec![
        ["", "cost", "against Tollgate"].map(str::to_owned),
        ["Tollgate".to_owned(), paid.for_people(6), String::new()],
    ];
    for elsewhere in sorted {
        let more = elsewhere.cost - paid;
        let sign = if more.is_negative() { "-" } else { "+" };
        let size = if more.is_negative() { -more } else { more };
        rows.push([
            elsewhere.choice.clone(),
            elsewhere.cost.for_people(6),
            format!("{sign}{}", percent(positive(size), positive(paid))),
        ]);
    }
    table(&rows)
}

/// A curl that works, and where to look.
pub fn try_it(gateway: &str, key: &str, model: &str) -> String {
    format!(
        "Try it\n\
         curl -N {gateway}/v1/chat/completions \\\n  \
         -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n  \
         -d '{{\"model\":\"{model}\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\n\
         Dashboard: {gateway}/dashboard\n"
    )
}

fn positive(amount: Money) -> u128 {
    u128::try_from(amount.picodollars()).unwrap_or(0)
}

/// A share in tenths of a percent, rounded half up, in integers.
fn percent(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let tenths = (part * 1_000 + whole / 2) / whole;
    format!("{}.{}%", tenths / 10, tenths % 10)
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns aligned, the first to the left and the others to the right.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let mut line = format!("  {:<1$}", row[0], width(0));
        for (column, cell) in row.iter().enumerate().skip(1) {
            let _ = write!(line, "  {:>1$}", cell, width(column));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::hosts::{BillLine, EmulatedHost, Meter};
    use super::*;

    fn spend(host: &str, cost: &str) -> HostSpend {
        HostSpend {
            host: host.to_owned(),
            attempts: 3,
            input: 12_000,
            cached: 3_000,
            output: 900,
            cost: cost.parse().expect("an amount"),
            invented_price: host == "bedrock",
        }
    }

    fn bill(host: EmulatedHost, picodollars: i128) -> Bill {
        let line = BillLine {
            model: "m".to_owned(),
            window: "flat".to_owned(),
            meter: Meter::Output,
            tokens: 1,
            picodollars,
        };
        Bill {
            host,
            calls: 1,
            lines: vec![line],
        }
    }

    #[test]
    fn a_ledger_that_is_one_picodollar_off_is_told_with_its_host() {
        let ledger = [
            spend("deepseek", "0.25"),
            spend("together", "0.000000000002"),
        ];
        let exact = [
            bill(EmulatedHost::Deepseek, 250_000_000_000),
            bill(EmulatedHost::Together, 2),
        ];
        assert!(Agreement::of(&ledger, &exact).holds());
        let off = [
            bill(EmulatedHost::Deepseek, 250_000_000_001),
            bill(EmulatedHost::Together, 1),
        ];
        let agreement = Agreement::of(&ledger, &off);
        // The totals are equal, and still it does not hold.
        assert_eq!(agreement.ledger.picodollars(), agreement.bills);
        assert_eq!(agreement.differences.len(), 2);
        assert!(
            agreement
                .text()
                .contains("DIFFERENT at deepseek: ledger $0.25, bill $0.250000000001")
        );
    }

    #[test]
    fn a_host_that_the_ledger_does_not_know_is_a_difference() {
        let agreement = Agreement::of(&[], &[bill(EmulatedHost::Novita, 5)]);
        assert_eq!(agreement.differences[0].host, "novita");
        assert!(Agreement::of(&[], &[bill(EmulatedHost::Novita, 0)]).holds());
    }

    #[test]
    fn the_story_names_what_a_reader_looks_for() {
        let spend = vec![spend("bedrock", "0.10"), spend("deepseek", "0.30")];
        let story = Story {
            played: Played {
                sent: 6,
                answered: 6,
                streamed: 4,
                input_tokens: 24_000,
                cached_tokens: 6_000,
                ..Played::default()
            },
            agreement: Agreement::of(
                &spend,
                &[
                    bill(EmulatedHost::Deepseek, 300_000_000_000),
                    bill(EmulatedHost::Bedrock, 100_000_000_000),
                ],
            ),
            elsewhere: vec![
                Elsewhere {
                    choice: "everything at Nebius".to_owned(),
                    cost: "0.60".parse().expect("an amount"),
                },
                Elsewhere {
                    choice: "a clairvoyant".to_owned(),
                    cost: "0.30".parse().expect("an amount"),
                },
            ],
            spend,
            gateway: "http://127.0.0.1:8080".to_owned(),
            key: "tg-key".to_owned(),
            model: "deepseek-v4-pro".to_owned(),
        };
        let text = story.text();
        for part in [
            "DEMONSTRATION",
            "24,000 tokens in (25.0% of them cached)",
            "  deepseek      3  12,000   25.0%     900  $0.300000  75.0%",
            "everything at Nebius  $0.600000            +50.0%",
            "a clairvoyant         $0.300000            -25.0%",
            "agree to the last digit",
            "curl -N http://127.0.0.1:8080/v1/chat/completions",
            "http://127.0.0.1:8080/dashboard",
            "* a price invented",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
