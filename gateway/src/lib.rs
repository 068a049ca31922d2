//! Tollgate: one endpoint for DeepSeek-V4 wherever it is sold or run, at the lowest true cost that
//! the caller's rules allow. The rooms are listed from the ground floor up; each imports only from
//! the floors below it.

// Ground.
pub mod id;
pub mod money;
pub mod time;

// What is said, and what is sold.
pub mod catalog;
pub mod chat;

// What it costs.
pub mod pricing;

// Who may ask, and what is written down.
pub mod access;
pub mod ledger;

// What the command line does.
pub mod commands;
