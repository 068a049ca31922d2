//! Every attempt, written before its first byte leaves and settled before its last byte arrives;
//! shipped to the database exactly once; never changed.

mod entry;

pub use entry::{Entry, Outcome, Payer, Place, Price};
