//! The protocols that hosts speak, one module each.

pub mod openai;
