//! The canonical language that surfaces and wires meet in. It knows no wire and no HTTP.

mod refusal;
mod usage;

pub use refusal::{Code, Lack, Refusal};
pub use usage::{CountedBy, Finish, Tokens, Usage};
