//! The epochs of a gateway's sessions, as every engine keeps them.

/// How far a spool's epoch may be ahead of what a store has granted, as after a
/// restore: more sessions than any gateway opens in its life, and few enough that what
/// one claims never uses the numbers up.
pub(super) const EPOCHS_AHEAD: u64 = 1 << 32;

/// The newest epoch under which a record of a gateway came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) epoch: u64,
    /// The next Hello that is behind it is let in.
    pub(super) released: bool,
}

impl Used {
    /// In the column a released one is negative.
    pub(super) fn from_column(used: i64) -> Self {
        Self { epoch: used.unsigned_abs(), released: used < 0 }
    }
    pub(super) fn to_column(self) -> i64 {
        let epoch = self.epoch.cast_signed();
        if self.released { -epoch } else { epoch }
    }
}
