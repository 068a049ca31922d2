//! How a command ends when it does not succeed: 1 it failed or something does not hold, 2 it was
//! used or configured wrongly.

use std::fmt;
use std::process::ExitCode;

/// The sentence for a person, and the exit status.
#[derive(Debug)]
pub struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// It was tried and failed, or does not hold: exit status 1.
    pub fn failed(error: impl fmt::Display) -> Self {
        Failure {
            message: error.to_string(),
            status: 1,
        }
    }

    /// Bad usage or configuration: exit status 2.
    pub fn usage(error: impl fmt::Display) -> Self {
        Failure {
            message: error.to_string(),
            status: 2,
        }
    }

    pub fn status(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl From<super::price::PriceError> for Failure {
    fn from(error: super::price::PriceError) -> Self {
        Failure {
            status: error.exit_status(),
            message: error.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
