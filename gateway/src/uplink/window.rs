//! What was sent and is not acknowledged. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandan_proto::id::LaneId;
use sandan_proto::v1;

/// Records in flight, bounded by the ingest's credits.
#[derive(Debug)]
pub(super) struct Window {
    credits: v1::Credits,
    in_flight: VecDeque<InFlight>,
    bytes: u64,
    /// When an acknowledgement last came.
    progress: Option<Instant>,
}

#[derive(Debug)]
struct InFlight {
    lane: LaneId,
    last_sequence: u64,
    bytes: u64,
    sent: Instant,
}

impl Window {
    pub(super) fn new(credits: v1::Credits) -> Self {
        Self { credits, in_flight: VecDeque::new(), bytes: 0, progress: None }
    }

    pub(super) fn set_credits(&mut self, credits: v1::Credits) {
        self.credits = credits;
    }

    /// One record may always be in flight: credits bound the speed, they never stop it.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.is_empty()
            || (self.in_flight.len() as u64) < u64::from(self.credits.records) && self.bytes < self.credits.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(super) fn sent(&mut self, lane: LaneId, last_sequence: u64, bytes: u64, now: Instant) {
        self.in_flight.push_back(InFlight { lane, last_sequence, bytes, sent: now });
        self.bytes += bytes;
    }

    /// Everything of the lane up to `through` is durable.
    pub(super) fn acked(&mut self, lane: LaneId, through: u64, now: Instant) {
        self.progress = Some(now);
        self.drop_where(|record| record.lane == lane && record.last_sequence <= through);
    }

    /// Everything of the lane behind `after` will be sent again.
    pub(super) fn rewound(&mut self, lane: LaneId, after: u64) {
        self.drop_where(|record| record.lane == lane && record.last_sequence > after);
    }

    fn drop_where(&mut self, gone: impl Fn(&InFlight) -> bool) {
        self.in_flight.retain(|record| !gone(record));
        self.bytes = self.in_flight.iter().map(|record| record.bytes).sum();
    }

    /// For how long nothing has been acknowledged while something was in flight.
    pub(super) fn waiting(&self, now: Instant) -> Duration {
        let since = self.in_flight.front().map(|record| self.progress.map_or(record.sent, |at| at.max(record.sent)));
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lane(id: u8) -> LaneId {
        LaneId::from_bytes(&[id; 16]).unwrap()
    }

    #[test]
    fn an_empty_window_takes_one_record_whatever_the_credits() {
        let mut window = Window::new(v1::Credits { records: 0, bytes: 0 });
        assert!(window.has_room());
        window.sent(lane(1), 1, 10, Instant::now());
        assert!(!window.has_room());
        window.acked(lane(2), 9, Instant::now());
        assert!(!window.has_room(), "another lane's acknowledgement freed a record");
        window.acked(lane(1), 1, Instant::now());
        assert!(window.has_room() && window.is_empty());
    }

    #[test]
    fn a_slow_link_that_moves_is_not_silent() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut window = Window::new(v1::Credits { records: 9, bytes: 99 });
        assert_eq!(window.waiting(after(9)), Duration::ZERO);
        for sequence in 1..=3 {
            window.sent(lane(1), sequence, 1, begin);
        }
        assert_eq!(window.waiting(after(50)), Duration::from_secs(50));
        window.acked(lane(1), 1, after(50));
        assert_eq!(window.waiting(after(60)), Duration::from_secs(10));
    }

    proptest! {
        /// Never more in flight than the credits allow; every record leaves by its
        /// acknowledgement or by going back, and by nothing else.
        #[test]
        fn the_window_holds_what_is_in_flight(
            credits in (1u32..5, 1u64..40),
            steps in prop::collection::vec((0u8..4, 0u8..2, 1u64..20), 0..100),
        ) {
            let now = Instant::now();
            let mut window = Window::new(v1::Credits { records: credits.0, bytes: credits.1 });
            let mut next = [1u64, 1];
            let mut model: Vec<(usize, u64, u64)> = Vec::new();
            for (step, lane_index, number) in steps {
                let at = usize::from(lane_index);
                match step {
                    0 | 1 if window.has_room() => {
                        let room = model.is_empty()
                            || model.len() < credits.0 as usize && model.iter().map(|r| r.2).sum::<u64>() < credits.1;
                        prop_assert!(room);
                        window.sent(lane(lane_index), next[at], number, now);
                        model.push((at, next[at], number));
                        next[at] += 1;
                    }
                    2 => {
                        window.acked(lane(lane_index), number, now);
                        model.retain(|record| record.0 != at || record.1 > number);
                    }
                    3 => {
                        window.rewound(lane(lane_index), number);
                        model.retain(|record| record.0 != at || record.1 <= number);
                        next[at] = next[at].min(number + 1);
                    }
                    _ => {}
                }
                prop_assert_eq!(window.is_empty(), model.is_empty());
                prop_assert_eq!(window.in_flight.len(), model.len());
            }
        }
    }
}
