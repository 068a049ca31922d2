//! Where a request goes: what each allowed backend is expected to cost and how fast it is, ranked
//! and explained. Knows no wire; pure and synchronous.

mod decision;
mod estimates;
mod plan;

pub use decision::{Decision, RankedLine, Rejection};
pub use estimates::{Counts, PlaceEstimates, Sample, Workload};
pub use plan::{Candidate, Health, Plan, Question, Ranked, plan, worst_case};
