//! A session without a store: what a gateway sends goes through sequence check and
//! admission, and nothing is written. For fuzzing.

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use sandan_proto::births::Births;
use sandan_proto::id::{BirthsHash, BootId, LaneId};
use sandan_proto::limits::MAX_LANES;
use sandan_proto::record::{Gap, Sealed};
use sandan_proto::v1::{self, gateway_frame::Frame};

use super::admission::{Bounds, admit};
use super::quota::{Quotas, Rate};
use super::sequence::{Lane, Verdict};
use crate::store::{Clock, Content, Placement, Registered, SeriesNo};

/// The time it is, µs since 1970.
const NOW_US: i64 = 1_795_392_000_000_000;
/// What is kept of what came, as of a session that remembers a few.
const REMEMBERED: usize = 8;

#[derive(Default)]
struct Dry {
    lanes: HashMap<LaneId, Lane>,
    births: HashMap<BirthsHash, Registered>,
    clocks: HashMap<BootId, Clock>,
    stored: BTreeSet<(LaneId, u64)>,
}

/// Runs length-delimited `GatewayFrame`s through a session's checks, up to the first that is
/// not one or that ends a session. Gives how many were taken.
///
/// # Panics
/// When a record would be stored twice, or a watermark would go back: that is a fault of
/// this program, whatever the bytes are.
pub fn run_frames(mut bytes: &[u8]) -> usize {
    let mut dry = Dry::default();
    let rate = Rate { readings: 1e6, bytes: 1e6 };
    let quotas = Quotas::new(rate, std::collections::BTreeMap::new());
    let Ok(firm) = sandan_proto::id::FirmId::new("fuzz") else { return 0 };
    let mut taken = 0;
    while let Ok(frame) = v1::GatewayFrame::decode_length_delimited(&mut bytes) {
        let size = frame.encoded_len() as u64;
        if quotas.check(&firm, NOW_US).is_err() || !dry.take(frame) {
            break;
        }
        quotas.spend(&firm, NOW_US, 0, size);
        taken += 1;
    }
    taken
}

impl Dry {
    /// False when the session would end.
    fn take(&mut self, frame: v1::GatewayFrame) -> bool {
        match frame.frame {
            Some(Frame::Births(wire)) => self.births(wire),
            Some(Frame::Clock(wire)) => {
                let Ok(boot) = BootId::from_bytes(&wire.boot_id) else { return false };
                if self.clocks.len() >= REMEMBERED {
                    self.clocks.clear();
                }
                self.clocks.insert(boot, Clock { offset_us: wire.offset_us, estimated: wire.source == 3 });
                true
            }
            Some(Frame::Sealed(wire)) => self.sealed(wire),
            Some(Frame::Gap(wire)) => {
                let Ok(gap) = Gap::from_wire(&wire) else { return true };
                self.record(gap.lane, gap.first_sequence, gap.last_sequence, |_| false)
            }
            Some(Frame::Hello(_) | Frame::Goodbye(_)) => false,
            Some(Frame::Health(_)) | None => true,
        }
    }

    fn births(&mut self, wire: v1::Births) -> bool {
        if let Ok(births) = Births::from_wire(wire) {
            let place = |(series, number): (&sandan_proto::births::Series, u32)| match number % 7 {
                5 => Placement::OtherOwner,
                6 => Placement::OverQuota,
                _ => Placement::Own(SeriesNo(number + 1), series.value_type),
            };
            let places = births.series.iter().zip(0u32..).map(place).collect();
            if self.births.len() >= REMEMBERED {
                self.births.clear();
            }
            self.births.insert(births.hash(), Registered { number: 1, births, places });
        }
        true
    }

    fn sealed(&mut self, wire: v1::Sealed) -> bool {
        let Ok(lane) = LaneId::from_bytes(&wire.lane) else { return false };
        if wire.sequence == 0 || i64::try_from(wire.sequence).is_err() {
            return false;
        }
        let sequence = wire.sequence;
        let sealed = Sealed::from_wire(wire);
        self.record(lane, sequence, sequence, |known| {
            let Ok(sealed) = sealed else { return false };
            let (Some(registered), Some(&clock)) = (known.births.get(&sealed.births), known.clocks.get(&sealed.boot))
            else {
                return false;
            };
            match admit(sealed, registered, clock, Bounds::at(NOW_US, 90 * 86_400_000_000)) {
                Content::Batch { first_us, last_us, readings, letters, .. } => {
                    assert!(first_us <= last_us && readings > 0);
                    assert!(letters.len() <= 128, "letters cost more than their record");
                    true
                }
                _ => false,
            }
        })
    }

    /// Takes a record that `judge` looks at when it follows: true when it would be stored.
    fn record(&mut self, lane: LaneId, first: u64, last: u64, judge: impl FnOnce(&Self) -> bool) -> bool {
        if !self.lanes.contains_key(&lane) && self.lanes.len() >= MAX_LANES {
            return false;
        }
        let state = self.lanes.entry(lane).or_insert_with(|| Lane::new(0));
        let before = state.durable_through();
        if state.check(first, last) != Verdict::Take {
            assert_eq!(state.durable_through(), before);
            return true;
        }
        if judge(self) {
            assert!(self.stored.insert((lane, last)), "stored twice");
        }
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.take(last);
            state.synced(last);
            assert!(state.durable_through() > before, "the watermark stands still or goes back");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{BOOTED_US, Plant, pressure};

    fn frames(frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
        let encode = |frame| v1::GatewayFrame { frame: Some(frame) }.encode_length_delimited_to_vec();
        frames.into_iter().flat_map(encode).collect()
    }

    #[test]
    fn frames_of_an_ordinary_gateway_all_pass() {
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        let clock = v1::ClockOffset { boot_id: plant.boot.to_vec(), offset_us: BOOTED_US, source: 1 };
        let records: Vec<_> = (0..20).map(|at| plant.seal(&[pressure(at, 1.0)]).to_wire()).collect();
        let mut all = vec![Frame::Births(plant.births.to_wire()), Frame::Clock(clock)];
        // Once more, as after a broken connection.
        all.extend(records.iter().chain(&records[5..]).cloned().map(Frame::Sealed));
        assert_eq!(run_frames(&frames(all)), 2 + 20 + 15);
    }

    #[test]
    fn bytes_that_are_no_frames_end_it() {
        for bytes in [&[][..], &[0xff; 40], &[3, 1, 2], &[0; 100]] {
            assert!(run_frames(bytes) <= bytes.len());
        }
    }
}
