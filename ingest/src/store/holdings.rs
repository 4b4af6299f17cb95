//! What a store holds of a firm, and what is wrong with it: for whoever runs the service.

use serde::{Deserialize, Serialize};

/// How much there is of a firm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// Series, with those that nothing was stored of.
    pub series: u64,
    /// Gateways that ever delivered.
    pub gateways: u64,
    /// Readings that are stored, each by itself.
    pub readings: u64,
    /// Bytes that all of it takes on the disk, as far as the engine can tell one firm's from another's.
    pub bytes: u64,
    /// The earliest reading, µs since 1970.
    pub from_us: Option<i64>,
    /// The latest.
    pub to_us: Option<i64>,
    /// Declared gaps.
    pub gaps: u64,
    /// Records that were put aside.
    pub dead_records: u64,
}

/// What a full look at the data came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Readings that were decoded, or counted by a database.
    pub readings: u64,
    /// What does not fit, at most [`MAX_FLAWS`].
    pub flaws: Vec<Flaw>,
}

/// Flaws that one look names: behind so many nobody reads on.
pub const MAX_FLAWS: usize = 100;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// Where: a file or table and what in it.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}
