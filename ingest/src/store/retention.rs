//! A pass of retention over a firm, and what comes of it. What is kept for how long says
//! [`crate::retention`].

use serde::{Deserialize, Serialize};

pub use crate::retention::{Classes, Retention};

/// Whether a pass does what it finds to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// It only says what would go.
    Look,
    /// It is done.
    Apply,
}

/// What a pass of retention did, or found to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// Readings that are gone and counted in minutes and hours.
    pub readings: u64,
    /// Bytes that they took, as far as the engine knows: packed, without what a file has around them.
    pub bytes: u64,
    /// The earliest of them, µs since 1970.
    pub from_us: Option<i64>,
    /// Days of minutes or hours that are gone, one for each series.
    pub days: u64,
}

impl Retained {
    /// Whether nothing goes.
    pub fn is_nothing(&self) -> bool {
        self.readings == 0 && self.days == 0
    }

    /// Adds what another part came to.
    pub fn add(&mut self, other: Self) {
        self.readings += other.readings;
        self.bytes += other.bytes;
        self.from_us = self.from_us.into_iter().chain(other.from_us).min();
        self.days += other.days;
    }
}
