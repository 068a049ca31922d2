//! What `tollgate demo` shows without any account: eleven emulated hosts on loopback, a piece of
//! real traffic to play through the gateway, and the words in which the result is told.
//!
//! The emulated hosts count, cache and bill by themselves. They share no code with the gateway's
//! catalog, pricing, routing or money rooms, so that agreement between the ledger and their bills
//! is evidence and not a tautology.

pub mod hosts;
pub mod report;
mod trace;
pub mod traffic;

pub use hosts::{
    Bill, BillLine, BilledAt, BilledCall, EmulatedHost, EmulatedHosts, EmulatorOptions, Fault,
    Meter,
};
pub use trace::{Traced, prompt};
pub use traffic::{Played, Traffic, TrafficKey, TrafficOptions};
