//! The canonical language that surfaces and wires meet in. It knows no wire and no HTTP.

mod frames;
mod refusal;
mod request;
pub mod scan;
mod usage;

pub use frames::{Edit, Frames};
pub use refusal::{Code, Lack, Refusal};
pub use request::{Dialect, Effort, MaxField, Needs, Original, Request, Spans};
pub use usage::{CountedBy, Finish, Tokens, Usage};
