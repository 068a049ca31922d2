//! Where the gateway meets the world: the dialects of its callers, and the pages for people.

pub mod batches;
pub mod dashboard;
pub mod surfaces;

mod api;
mod desk;
mod files;
mod stored;

pub use api::{Edge, router};
pub use desk::{Callers, Desk, files_and_batches};
