//! What was sent and is not acknowledged. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandan_proto::id::LaneId;
use sandan_proto::v1;

/// Whether a record is of this moment, or of an outage that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Someone may be looking at it now.
    Live,
    /// It can wait.
    Backlog,
}

/// A record on its way to being sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) lane: LaneId,
    pub(super) last_sequence: u64,
    pub(super) bytes: u64,
    pub(super) class: Class,
}

/// Records in flight, bounded by the ingest's credits.
#[derive(Debug)]
pub(super) struct Window {
    credits: v1::Credits,
    in_flight: VecDeque<InFlight>,
    bytes: u64,
    backlog: Backlog,
    /// When an acknowledgement last came.
    progress: Option<Instant>,
}

#[derive(Debug)]
struct InFlight {
    record: Outgoing,
    sent: Instant,
    /// Nothing else was in flight when it was sent: its way took what the link takes.
    alone: bool,
}

/// What of the backlog is in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// What an acknowledgement tells of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trip {
    /// When the newest record that it covers was sent, and how long its way took.
    pub(super) sent: Instant,
    pub(super) took: Duration,
    pub(super) alone: bool,
    /// Bytes of all records that it covers.
    pub(super) bytes: u64,
}

impl Window {
    pub(super) fn new(credits: v1::Credits) -> Self {
        Self { credits, in_flight: VecDeque::new(), bytes: 0, backlog: Backlog::default(), progress: None }
    }

    pub(super) fn set_credits(&mut self, credits: v1::Credits) {
        self.credits = credits;
    }

    /// One record may always be in flight: credits bound the speed, they never stop it.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.is_empty()
            || (self.in_flight.len() as u64) < u64::from(self.credits.records) && self.bytes < self.credits.bytes
    }

    /// The backlog takes half of the credits at most, so that live data always finds some.
    pub(super) fn has_room_for_backlog(&self) -> bool {
        self.has_room()
            && (self.backlog.records == 0
                || self.backlog.records < u64::from(self.credits.records) / 2
                    && self.backlog.bytes < self.credits.bytes / 2)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// What of the backlog is in flight.
    pub(super) fn backlog(&self) -> Backlog {
        self.backlog
    }

    pub(super) fn sent(&mut self, record: Outgoing, now: Instant) {
        let alone = self.in_flight.is_empty();
        self.in_flight.push_back(InFlight { record, sent: now, alone });
        self.count();
    }

    /// Everything of the lane up to `through` is durable.
    pub(super) fn acked(&mut self, lane: LaneId, through: u64, now: Instant) -> Option<Trip> {
        self.progress = Some(now);
        let covered = |record: &Outgoing| record.lane == lane && record.last_sequence <= through;
        let newest = self.in_flight.iter().rfind(|in_flight| covered(&in_flight.record)).map(|newest| Trip {
            sent: newest.sent,
            took: now.saturating_duration_since(newest.sent),
            alone: newest.alone,
            bytes: 0,
        });
        let before = self.bytes;
        self.drop_where(covered);
        newest.map(|trip| Trip { bytes: before - self.bytes, ..trip })
    }

    /// As what a record is in flight, if it is.
    pub(super) fn class_of(&self, lane: LaneId, sequence: u64) -> Option<Class> {
        let is_it = |record: &Outgoing| record.lane == lane && record.last_sequence >= sequence;
        self.in_flight.iter().map(|in_flight| in_flight.record).find(is_it).map(|record| record.class)
    }

    /// Everything of the lane behind `after` will be sent again.
    pub(super) fn rewound(&mut self, lane: LaneId, after: u64) {
        self.drop_where(|record| record.lane == lane && record.last_sequence > after);
    }

    fn drop_where(&mut self, gone: impl Fn(&Outgoing) -> bool) {
        self.in_flight.retain(|in_flight| !gone(&in_flight.record));
        self.count();
    }

    fn count(&mut self) {
        let of_backlog = self.in_flight.iter().filter(|in_flight| in_flight.record.class == Class::Backlog);
        self.bytes = self.in_flight.iter().map(|in_flight| in_flight.record.bytes).sum();
        self.backlog = of_backlog.fold(Backlog::default(), |sum, in_flight| Backlog {
            records: sum.records + 1,
            bytes: sum.bytes + in_flight.record.bytes,
        });
    }

    /// For how long nothing has been acknowledged while something was in flight.
    pub(super) fn waiting(&self, now: Instant) -> Duration {
        let since = self.in_flight.front().map(|first| self.progress.map_or(first.sent, |at| at.max(first.sent)));
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
impl Window {
    /// Records and bytes in flight.
    pub(super) fn in_flight(&self) -> (usize, u64) {
        (self.in_flight.len(), self.bytes)
    }
    pub(super) fn credits(&self) -> v1::Credits {
        self.credits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lane(id: u8) -> LaneId {
        LaneId::from_bytes(&[id; 16]).unwrap()
    }

    fn record(lane: LaneId, last_sequence: u64, bytes: u64) -> Outgoing {
        Outgoing { lane, last_sequence, bytes, class: Class::Live }
    }

    #[test]
    fn the_backlog_takes_half_of_the_credits_and_at_least_one_record() {
        let now = Instant::now();
        let mut window = Window::new(v1::Credits { records: 4, bytes: 100 });
        let backlog = |sequence, bytes| Outgoing { class: Class::Backlog, ..record(lane(1), sequence, bytes) };
        window.sent(backlog(1, 10), now);
        assert!(window.has_room_for_backlog());
        window.sent(backlog(2, 10), now);
        assert!(window.has_room() && !window.has_room_for_backlog(), "by records");
        assert_eq!(window.backlog(), Backlog { records: 2, bytes: 20 });
        window.acked(lane(1), 2, now);
        window.sent(backlog(3, 50), now);
        assert!(window.has_room() && !window.has_room_for_backlog(), "by bytes");
        let mut narrow = Window::new(v1::Credits { records: 1, bytes: 1 });
        assert!(narrow.has_room_for_backlog());
        narrow.sent(record(lane(2), 1, 1), now);
        assert!(!narrow.has_room_for_backlog());
    }

    #[test]
    fn an_acknowledgement_tells_how_long_the_way_of_its_newest_record_took() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut window = Window::new(v1::Credits { records: 9, bytes: 99 });
        window.sent(record(lane(1), 1, 10), begin);
        window.sent(record(lane(1), 2, 5), after(30));
        window.sent(record(lane(2), 7, 3), after(40));
        let trip = window.acked(lane(1), 2, after(100)).unwrap();
        assert_eq!((trip.took, trip.alone, trip.bytes), (Duration::from_millis(70), false, 15));
        assert_eq!(window.acked(lane(1), 2, after(100)), None);
        window.acked(lane(2), 7, after(100));
        window.sent(record(lane(1), 3, 10), after(200));
        assert!(window.acked(lane(1), 9, after(250)).unwrap().alone);
    }

    #[test]
    fn an_empty_window_takes_one_record_whatever_the_credits() {
        let mut window = Window::new(v1::Credits { records: 0, bytes: 0 });
        assert!(window.has_room());
        window.sent(record(lane(1), 1, 10), Instant::now());
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
            window.sent(record(lane(1), sequence, 1), begin);
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
                        window.sent(record(lane(lane_index), next[at], number), now);
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
