//! What a request can be sent to.

pub mod wires;
