//! What a key stands for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::Tag;
use crate::ledger::Payer;
use crate::money::Money;
use crate::time::Timestamp;

/// A caller, as its key says: who pays, what it may do, what it demands, how much it may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub payer: Payer,
    pub role: Role,
    /// Demands on every request of this key, sorted. A request can add to them, never take away.
    pub tags: Vec<Tag>,
    pub budget: Option<Budget>,
    pub expires: Option<Timestamp>,
}

/// What a key is for. Each role may do only what its line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Ask models.
    App,
    /// Read spend and the dashboard.
    Finance,
    /// Read decisions, certifications and the dashboard.
    Compliance,
    /// All of it, and manage keys.
    Admin,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::App, Role::Finance, Role::Compliance, Role::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Role::App => "app",
            Role::Finance => "finance",
            Role::Compliance => "compliance",
            Role::Admin => "admin",
        }
    }

    pub const fn may_ask_models(self) -> bool {
        matches!(self, Role::App | Role::Admin)
    }

    pub const fn may_read_dashboard(self) -> bool {
        matches!(self, Role::Finance | Role::Compliance | Role::Admin)
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no role: write app, finance, compliance or admin"))
    }
}

/// A hard limit on what may be spent in each period: `25.00/month`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub limit: Money,
    pub period: Period,
}

/// A calendar period in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    Day,
    Month,
    /// Never starts anew.
    Total,
}

impl Period {
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Month => "month",
            Period::Total => "total",
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.limit, self.period.as_str())
    }
}

impl FromStr for Budget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no budget: write dollars/period, such as 25/month (day, month or total)")
        };
        let (limit, period) = text.split_once('/').ok_or_else(wrong)?;
        let limit: Money = limit.trim_start_matches('$').parse().map_err(|_| wrong())?;
        let period = [Period::Day, Period::Month, Period::Total]
            .into_iter()
            .find(|known| known.as_str() == period)
            .ok_or_else(wrong)?;
        if limit.is_negative() {
            return Err(wrong());
        }
        Ok(Budget { limit, period })
    }
}
