//! Consent: one firm's permission to another.
use sandan_proto::id::{FirmId, SeriesKey};

/// The proof that one read may happen. Only this module makes one.
#[derive(Debug, Clone)]
pub struct Permit {
    firm: FirmId,
    series: Vec<SeriesKey>,
    form: Form,
    from_us: i64,
    to_us: i64,
    epoch: u64,
}

/// What a read gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Every reading.
    Raw,
    /// Statistics of buckets aligned to 1970-01-01T00:00:00Z.
    Bucketed {
        /// Width, µs, above 0.
        width_us: i64,
    },
}

impl Permit {
    /// Whose readings.
    pub fn firm(&self) -> &FirmId {
        &self.firm
    }
    /// Which series, at least one, all of [`firm`](Self::firm).
    pub fn series(&self) -> &[SeriesKey] {
        &self.series
    }
    /// Raw or bucketed.
    pub fn form(&self) -> &Form {
        &self.form
    }
    /// First observation time, inclusive, µs since 1970. A multiple of the width when bucketed.
    pub fn from_us(&self) -> i64 {
        self.from_us
    }
    /// Last observation time, exclusive. A multiple of the width when bucketed.
    pub fn to_us(&self) -> i64 {
        self.to_us
    }
    /// The grantor's consent epoch that it was decided on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// A permit that nobody decided on.
    #[cfg(test)]
    pub(crate) fn for_test(series: Vec<SeriesKey>, form: Form, from_us: i64, to_us: i64) -> Self {
        Self { firm: series[0].firm.clone(), series, form, from_us, to_us, epoch: 0 }
    }
}
