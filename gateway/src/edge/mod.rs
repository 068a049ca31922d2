//! Where the gateway meets the world: the dialects of its callers, and the pages for people.

pub mod dashboard;
pub mod surfaces;

mod api;
mod stored;

pub use api::{Edge, router};
