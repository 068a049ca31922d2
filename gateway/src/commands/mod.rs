//! The commands, one file each: arguments, what it does, what it prints.

pub mod key;
pub mod spend;
