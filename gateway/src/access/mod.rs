//! Who may ask: callers' keys, and what each key stands for.

mod directory;
mod keys;
mod principal;
mod secret;

pub use directory::{Caller, Directory, Find};
pub use keys::{AccessError, KeyRow, Keys, Minted, NewKey};
pub use principal::{Budget, Period, Principal, Role};
pub use secret::{Pepper, Secret, Tenant, Tenants};
