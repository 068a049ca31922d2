//! The commands, one file each: arguments, what it does, what it prints.

pub mod check;
pub mod demo;
mod failure;
pub mod key;
pub mod price;
pub mod route;
pub mod serve;
pub mod spend;

pub use failure::Failure;
