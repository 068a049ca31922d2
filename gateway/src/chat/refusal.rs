//! Why a caller gets no answer: one type for all rooms, rendered in the caller's dialect at the edge.

use std::time::Duration;

use serde::Serialize;

/// The stable code of a refusal. `status` and `as_str` are the contract with callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidRequest,
    InvalidKey,
    BudgetExceeded,
    NoCertifiedBackend,
    NotAllowed,
    NotFound,
    /// Another request with the same name is under way.
    Conflict,
    TooLarge,
    RateLimited,
    HostFailed,
    Overloaded,
    NoBackend,
    TimedOut,
}

impl Code {
    pub const fn status(self) -> u16 {
        match self {
            Code::InvalidRequest => 400,
            Code::InvalidKey => 401,
            Code::BudgetExceeded => 402,
            Code::NoCertifiedBackend | Code::NotAllowed => 403,
            Code::NotFound => 404,
            Code::Conflict => 409,
            Code::TooLarge => 413,
            Code::RateLimited => 429,
            Code::HostFailed => 502,
            Code::Overloaded | Code::NoBackend => 503,
            Code::TimedOut => 504,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::InvalidKey => "invalid_key",
            Code::BudgetExceeded => "budget_exceeded",
            Code::NoCertifiedBackend => "no_certified_backend",
            Code::NotAllowed => "not_allowed",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::TooLarge => "too_large",
            Code::RateLimited => "rate_limited",
            Code::HostFailed => "host_failed",
            Code::Overloaded => "overloaded",
            Code::NoBackend => "no_backend",
            Code::TimedOut => "timed_out",
        }
    }
}

/// One backend that could not serve, and what it lacks or how it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    pub backend: String,
    pub reason: String,
}

/// A request that is not served: what happened and what to do, ready to be told to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .code.as_str())]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    /// The request's field at fault, where there is one.
    pub field: Option<String>,
    /// Each backend considered, where that explains the refusal.
    pub backends: Vec<Lack>,
    pub retry_after: Option<Duration>,
    /// Upstream attempts made before giving up.
    pub attempts: u16,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal {
            code,
            message: message.into(),
            field: None,
            backends: Vec::new(),
            retry_after: None,
            attempts: 0,
        }
    }

    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Refusal {
            field: Some(field.to_owned()),
            ..Refusal::new(Code::InvalidRequest, message)
        }
    }

    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub fn because(mut self, backends: Vec<Lack>) -> Self {
        self.backends = backends;
        self
    }
}
