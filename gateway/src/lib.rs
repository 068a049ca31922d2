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

// What it costs, who may serve it, who may ask.
pub mod access;
pub mod compliance;
pub mod pricing;
pub mod settings;

// Where it goes, how it gets there, and what is written down.
pub mod backend;
pub mod history;
pub mod ledger;
pub mod routing;

// The line that every request walks.
pub mod stack;

// What callers, finance and operators see.
pub mod edge;

// The whole house, running: for real, and with emulated hosts.
pub mod demo;
pub mod serve;

// The command line.
pub mod commands;
