//! What a request can be sent to, and the way there.

mod account;
pub mod auth;
mod breaker;
mod transport;
pub mod wires;

pub use account::{Account, Address, Backend, Occupied, State, Unused, backends};
pub use auth::{Access, AuthError, Authority, Credential};
pub use breaker::{Breaker, LONGEST_REST};
pub use transport::{Call, NoTls, Reply, Transport, TransportError, retry_after};
