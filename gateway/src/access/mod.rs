//! Who may ask: callers' keys, and what each key stands for.

mod principal;

pub use principal::{Budget, Period, Principal, Role};
