//! DeepSeek-V4 on our own machines: the fallback that needs nobody.
//!
//! This crate knows nothing of the gateway. It holds the models' shapes for now; the engine that
//! computes with them grows from here.

pub mod config;
