//! Instants and the clock. An instant is a [`Timestamp`] in UTC; zones enter only where a price
//! list or a budget names one. Whatever decides by time takes the instant as an argument; the
//! [`Clock`] is asked at the edge alone.

pub use jiff::Timestamp;
use jiff::SignedDuration;

/// What time it is: the system's, or that shifted by a fixed span, so that a whole gateway can be
/// put at the edge of a price window and run from there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    shift: SignedDuration,
}

impl Clock {
    pub fn system() -> Self {
        Clock::default()
    }

    /// A clock that shows `start` now and runs on at the usual speed.
    pub fn starting_at(start: Timestamp) -> Self {
        Clock {
            shift: start.duration_since(Timestamp::now()),
        }
    }

    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.shift).unwrap_or(now)
    }
}

/// An instant as a database cell: microseconds since 1970 in UTC.
pub fn to_cell(instant: Timestamp) -> i64 {
    instant.as_microsecond()
}

/// The instant of a database cell; what no calendar holds becomes the nearest instant that it does.
pub fn from_cell(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(if microseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
