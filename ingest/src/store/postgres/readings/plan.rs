//! What becomes of the records of one group, decided on the rows that its transaction has
//! locked. Pure: it asks nobody and writes nothing.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use sandan_proto::id::{BootId, GatewayId, LaneId};
use sandan_proto::v1::DeadLetterReason;

use crate::store::delivery::{Content, Delivery, Letter, Place, place};
use crate::store::epochs::Used;

/// Readings that one record can be said to stand for, so that no claim of a gateway makes a
/// sum overflow: a thousand years of a reading a millisecond.
pub(super) const MOST_COUNTED: u64 = 1 << 45;

/// A gateway as it is locked.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    pub number: i64,
    pub firm: i64,
    pub granted: u64,
    pub used: Used,
    /// A release let its spool in, and no record of it came yet.
    pub let_in: bool,
}

/// A lane as it stands, and what the group adds to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    pub through: u64,
    pub cumulative: u64,
    pub moved: bool,
    pub readings: u64,
    pub newest_us: Option<i64>,
}

/// What becomes of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Superseded,
    Duplicate {
        through: u64,
    },
    Ahead {
        through: u64,
    },
    /// Another record under a number that is durable: put aside, unless that was done before.
    Forked {
        gateway: i64,
        through: u64,
    },
    /// It follows.
    Next {
        gateway: i64,
        firm: i64,
        /// The first sequence that is not stored.
        first: u64,
        /// What the gateway counted since the last record: the size of a gap that was stored in
        /// part, and of a record that cannot be read.
        counted: u64,
    },
}

/// Gateways and lanes of a group.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub gateways: HashMap<GatewayId, Gateway>,
    pub lanes: BTreeMap<(i64, LaneId), Lane>,
    /// Gateways of which the epoch in use, or a release, has to be noted.
    pub noted: BTreeMap<i64, Used>,
    /// Clocks that stay from now on.
    pub clocks: Vec<(i64, BootId)>,
}

impl Plan {
    /// Places the next record, and moves its lane.
    pub(super) fn place(&mut self, delivery: &Delivery) -> Verdict {
        let Some(gateway) = self.gateways.get_mut(&delivery.gateway) else { return Verdict::Superseded };
        if gateway.granted != delivery.epoch {
            return Verdict::Superseded;
        }
        let number = gateway.number;
        let lane = self.lanes.entry((number, delivery.lane)).or_default();
        let through = lane.through;
        match place(through, delivery.first, delivery.last) {
            Place::Duplicate if matches!(delivery.content, Content::Forked { .. }) => {
                return Verdict::Forked { gateway: number, through };
            }
            Place::Duplicate => return Verdict::Duplicate { through },
            Place::Ahead => return Verdict::Ahead { through },
            // It is at or below the watermark, or it is none.
            Place::Next if matches!(delivery.content, Content::Forked { .. }) => return Verdict::Ahead { through },
            Place::Next => {}
        }
        if gateway.let_in || gateway.used.epoch != delivery.epoch {
            // The spool has noted its epoch and needs no release any more; one stays in force
            // while the other copy goes on.
            (gateway.let_in, gateway.used.epoch) = (false, delivery.epoch);
            self.noted.insert(number, gateway.used);
        }
        let claimed = delivery.cumulative.unwrap_or(lane.cumulative);
        let cumulative = claimed.clamp(lane.cumulative, i64::MAX.cast_unsigned());
        let counted = (cumulative - lane.cumulative).min(MOST_COUNTED);
        (lane.moved, lane.through, lane.cumulative) = (true, delivery.last, cumulative);
        match &delivery.content {
            Content::Batch { sealed, readings, last_us, .. } => {
                lane.readings += readings;
                lane.newest_us = lane.newest_us.max(Some(*last_us));
                self.clocks.push((number, sealed.boot));
            }
            Content::Gap { gap, .. } => {
                // Its times and those of the readings around it are of one clock.
                self.clocks.extend([gap.from, gap.to].into_iter().flatten().map(|moment| (number, moment.boot)));
            }
            Content::Dead { .. } | Content::Forked { .. } => {}
        }
        Verdict::Next { gateway: number, firm: gateway.firm, first: through + 1, counted }
    }
}

/// The same record as one that nothing but its bytes is kept of.
pub(super) fn refused(delivery: &Delivery) -> Delivery {
    let original = match &delivery.content {
        Content::Batch { sealed, .. } => sealed.to_wire().encode_to_vec().into(),
        Content::Gap { gap, .. } => gap.to_wire().encode_to_vec().into(),
        Content::Dead { original, .. } | Content::Forked { original, .. } => original.clone(),
    };
    let letters = vec![Letter {
        series: None,
        count: 1,
        reason: DeadLetterReason::Undecodable,
        readings: None,
        detail: "the store's engine refused the record".into(),
    }];
    Delivery { content: Content::Dead { original, letters }, ..delivery.clone() }
}

/// Checksums of records in runs of consecutive sequences of one lane.
#[derive(Debug, Default)]
pub(super) struct Checksums {
    pub runs: Vec<(i64, LaneId, u64, Vec<u8>)>,
    open: HashMap<(i64, LaneId), usize>,
}

impl Checksums {
    pub(super) fn add(&mut self, gateway: i64, lane: LaneId, sequence: u64, sum: u32) {
        if let Some(&index) = self.open.get(&(gateway, lane)) {
            let (_, _, first, sums) = &mut self.runs[index];
            if *first + (sums.len() / 4) as u64 == sequence {
                sums.extend(sum.to_le_bytes());
                return;
            }
        }
        self.open.insert((gateway, lane), self.runs.len());
        self.runs.push((gateway, lane, sequence, sum.to_le_bytes().into()));
    }
}
