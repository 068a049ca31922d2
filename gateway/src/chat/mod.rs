//! The canonical language that surfaces and wires meet in. It knows no wire and no HTTP.

mod conversation;
pub mod estimate;
mod event;
mod frames;
mod refusal;
mod request;
pub mod scan;
mod usage;

pub use conversation::{
    Call, Conversation, Format, Image, Part, Said, Sampling, Tool, ToolChoice, Turn, text_of,
};
pub use event::{Choice, Event, Reply, Speaker};
pub use frames::{Edit, Frames};
pub use refusal::{Code, Lack, Refusal};
pub use request::{Dialect, Effort, MaxField, Needs, Original, Request, Spans};
pub use usage::{CountedBy, Finish, Tokens, Usage};
