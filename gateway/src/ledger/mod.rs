//! Every attempt, written before its first byte leaves and settled before its last byte arrives;
//! shipped to the database exactly once; never changed.
//!
//! [`Ledger`] is what the rest of the gateway holds: it writes to the [`spool`] on the calling
//! thread and ships to the [`store`] in the background.

pub mod budget;
mod entry;
mod keeper;
#[cfg(test)]
pub(crate) mod sample;
mod shipper;
pub mod spool;
pub mod store;
#[cfg(test)]
mod tests;

pub use entry::{Entry, Outcome, Payer, Place, Price};
pub use keeper::{Ledger, LedgerError, NotDrained, Status};
pub use spool::{Durability, Settings, SpoolError, Written};
#[cfg(test)]
pub(crate) use store::testing;
pub use store::{Store, StoreError};
