//! What a session hands to the store, and what it gets back.

use bytes::Bytes;
use sandan_proto::births::Births;
use sandan_proto::id::{GatewayId, LaneId};
use sandan_proto::reading::ValueType;
use sandan_proto::record::{Gap, Sealed};
use sandan_proto::v1::DeadLetterReason;

use super::StoreError;

/// The store's number of one version of a series: one key, unit and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesNo(pub u32);

/// The answer to the opening of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The session may go on.
    Granted {
        /// Under this epoch; records of earlier ones are refused from now on.
        epoch: u64,
        /// Through which sequence each asked lane is durable, in the order asked.
        watermarks: Vec<(LaneId, u64)>,
    },
    /// The spool is behind what its gateway has used: a copy or an old state.
    Fenced {
        /// The last epoch under which records came.
        used: u64,
    },
    /// The spool names an epoch that no store of this gateway can have granted.
    NeverGranted {
        /// The last one that was.
        granted: u64,
    },
}

/// What came of the release of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The next Hello that would be fenced is let in, and ends a live session of the
    /// gateway. Stays so until that Hello comes.
    NextHello,
    /// Nothing was ever stored of the gateway, so no copy of it is fenced.
    NothingFenced,
}

/// Births that the store keeps, with the place of each of their series.
#[derive(Debug)]
pub struct Registered {
    /// The store's number of these births.
    pub number: u32,
    /// What was declared.
    pub births: Births,
    /// For each series of the births, in their order.
    pub places: Vec<Placement>,
}

/// Where the readings of one declared series go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Stored under this number.
    Own(SeriesNo, ValueType),
    /// Another gateway of the firm owns the series.
    OtherOwner,
    /// The gateway has more series than it may.
    OverQuota,
}

/// What turns the monotonic time of one boot into wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Wall time = monotonic time + offset, µs.
    pub offset_us: i64,
    /// The wall time of the boot was never known; the offset is the latest that it can have
    /// been. Readings that were good are stored as uncertain(clock).
    pub estimated: bool,
}

/// One checked record of a lane on its way into a group commit.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whose it is.
    pub gateway: GatewayId,
    /// The epoch of the session that received it.
    pub epoch: u64,
    /// The lane it belongs to.
    pub lane: LaneId,
    /// First sequence that it covers.
    pub first: u64,
    /// Last sequence that it covers; the watermark moves here.
    pub last: u64,
    /// The lane's reading count after it, as the gateway claims.
    pub cumulative: Option<u64>,
    /// What it holds.
    pub content: Content,
}

/// What a record can be to the store.
#[derive(Debug, Clone)]
pub enum Content {
    /// A batch of which at least one column is stored.
    Batch {
        /// As it came.
        sealed: Sealed,
        /// The number of its births.
        births: u32,
        /// The clock of its boot.
        clock: Clock,
        /// Wall time of the earliest stored reading.
        first_us: i64,
        /// Wall time of the latest stored reading.
        last_us: i64,
        /// How many readings are stored.
        readings: u64,
        /// Ordinals of the columns that are not stored, counted over all groups, ascending.
        dead_columns: Vec<u32>,
        /// Latest stored wall time of each series.
        newest: Vec<(SeriesNo, i64)>,
        /// Why the others are not; few, however many columns there are.
        letters: Vec<Letter>,
    },
    /// Readings that are gone.
    Gap {
        /// As it came.
        gap: Gap,
        /// Wall time of the last reading before, where known.
        from_us: Option<i64>,
        /// Wall time of the first reading after, where known.
        to_us: Option<i64>,
        /// One of these times comes from an estimated offset.
        uncertain: bool,
    },
    /// Another record under a number that is durable already. The one that came first
    /// stays, and the watermark where it is.
    Forked {
        /// As it came, an encoded wire message.
        original: Bytes,
        /// Why it is put aside.
        letter: Letter,
    },
    /// A record of which nothing is stored but its bytes.
    Dead {
        /// As it came, an encoded wire message.
        original: Bytes,
        /// Why; more than one when each column has its own reason.
        letters: Vec<Letter>,
    },
}

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Index of the series in the births; none for the whole record, and for columns that
    /// are not named one by one.
    pub series: Option<u32>,
    /// How many columns it stands for; 1 for a whole record.
    pub count: u64,
    /// Why.
    pub reason: DeadLetterReason,
    /// How many readings it stands for; none where only the lane's counts can tell.
    pub readings: Option<u64>,
    /// One sentence for a person. Never a value.
    pub detail: String,
}

impl Content {
    /// Bytes that it holds in memory while it waits for a commit.
    pub fn bytes(&self) -> usize {
        match self {
            Content::Batch { sealed, .. } => sealed.payload.len(),
            Content::Dead { original, .. } | Content::Forked { original, .. } => original.len(),
            Content::Gap { .. } => 0,
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Durable: stored, noted as a gap, or dead-lettered.
    Done {
        /// The lane is durable through this sequence.
        through: u64,
        /// Readings stored.
        stored: u64,
        /// What was dead-lettered, with every count known.
        letters: Vec<Letter>,
        /// Observation time of the newest reading that was stored with it.
        newest_us: Option<i64>,
    },
    /// It was durable before.
    Duplicate {
        /// The lane is durable through this sequence.
        through: u64,
    },
    /// It does not follow: one before it is missing.
    Ahead {
        /// The lane is durable through this sequence.
        through: u64,
    },
    /// A newer session of the gateway was granted: this epoch is over.
    Superseded,
}

/// Resolves when the group commit is synced.
pub type Receipt = tokio::sync::oneshot::Receiver<Result<Stored, StoreError>>;

/// How a record stands to a lane that is durable through some sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All of it was durable before.
    Duplicate,
    /// It follows, or is a gap that covers what follows.
    Next,
    /// Something before it is missing.
    Ahead,
}

/// Places the sequences `first` to `last` behind `through`.
pub fn place(through: u64, first: u64, last: u64) -> Place {
    if last <= through {
        Place::Duplicate
    } else if first <= through.saturating_add(1) {
        Place::Next
    } else {
        Place::Ahead
    }
}
