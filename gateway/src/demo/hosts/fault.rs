//! Ways in which an emulated host can fail on demand: set for a host, or asked for by one request
//! (header `x-emulate: NAME`, or a line `x-emulate: NAME` in its last user message).

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// `status-503`: an error of that status in the host's documented shape. Not billed.
    Status(u16),
    /// 200 with an HTML page, as a captive proxy sends. Not billed.
    Html200,
    /// 200 with an empty body. Not billed.
    Empty200,
    /// 429 with `Retry-After: 999999999`.
    RetryAfterAbsurd,
    /// 429 with `Retry-After` as an HTTP date of the past.
    RetryAfterDate,
    /// Headers, then the connection breaks. Not billed.
    CutBefore,
    /// The connection breaks in the middle of the answer. Billed as far as generated.
    CutStream,
    /// Nothing comes, not even headers. Not billed.
    HangBefore,
    /// Half of the answer, then nothing. Billed as far as generated.
    HangAfter,
    /// Twenty times the usual wait for the first token.
    Slow,
    /// The answer is whole but says no usage.
    NoUsage,
    /// Usage on the finish chunk and once more behind it.
    UsageTwice,
    /// Usage counted up on every chunk.
    UsageRunning,
    /// Usage with counts below zero. Billed as it was.
    UsageNegative,
    /// Usage with counts beyond all reason. Billed as it was.
    UsageHuge,
    /// A chunk in mid-stream that is no JSON; the answer then goes on.
    GarbageFrame,
    /// `data: {"error": ...}` in mid-stream, and the end. Billed as far as generated.
    ErrorInStream,
    /// The stream ends without `data: [DONE]`.
    NoDone,
    /// 200 and finish_reason `insufficient_system_resource` half-way. Billed as far as generated.
    GaveUp,
}

const NAMED: [(Fault, &str); 18] = [
    (Fault::Html200, "html-200"),
    (Fault::Empty200, "empty-200"),
    (Fault::RetryAfterAbsurd, "retry-after-absurd"),
    (Fault::RetryAfterDate, "retry-after-date"),
    (Fault::CutBefore, "cut-before"),
    (Fault::CutStream, "cut-stream"),
    (Fault::HangBefore, "hang-before"),
    (Fault::HangAfter, "hang-after"),
    (Fault::Slow, "slow"),
    (Fault::NoUsage, "no-usage"),
    (Fault::UsageTwice, "usage-twice"),
    (Fault::UsageRunning, "usage-running"),
    (Fault::UsageNegative, "usage-negative"),
    (Fault::UsageHuge, "usage-huge"),
    (Fault::GarbageFrame, "garbage-frame"),
    (Fault::ErrorInStream, "error-in-stream"),
    (Fault::NoDone, "no-done"),
    (Fault::GaveUp, "gave-up"),
];

impl Fault {
    /// Whether the answer stops half-way.
    pub(super) fn halves(self) -> bool {
        matches!(
            self,
            Fault::CutStream | Fault::HangAfter | Fault::ErrorInStream | Fault::GaveUp
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Fault::Status(status) = self {
            return write!(f, "status-{status}");
        }
        let name = NAMED
            .iter()
            .find(|(fault, _)| fault == self)
            .map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(status) = text.strip_prefix("status-") {
            return match status.parse() {
                Ok(status) if (400..600).contains(&status) => Ok(Fault::Status(status)),
                _ => Err(format!("`{text}`: write a status from 400 to 599")),
            };
        }
        NAMED
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(fault, _)| *fault)
            .ok_or_else(|| {
                let names: Vec<&str> = NAMED.iter().map(|(_, name)| *name).collect();
                format!(
                    "`{text}` is no fault; there are status-NNN, {}",
                    names.join(", ")
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_by_the_name_it_is_written_with() {
        for (fault, name) in NAMED {
            assert_eq!(fault.to_string(), name);
            assert_eq!(name.parse(), Ok(fault));
        }
        assert_eq!("status-503".parse(), Ok(Fault::Status(503)));
        assert!("status-200".parse::<Fault>().is_err());
        assert!("teapot".parse::<Fault>().is_err());
    }
}
