//! The machine against a model of the spool and of the ingest; and over a simulated link.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;

use super::*;
use crate::uplink::cursor::Read;

mod link;
mod machine;

const BOOT: [u8; 16] = [7; 16];

fn boot() -> BootId {
    BootId::from_bytes(&BOOT).unwrap()
}

fn lane_id(number: usize) -> LaneId {
    LaneId::from_bytes(&[u8::try_from(number).unwrap() + 1; 16]).unwrap()
}

/// A spool in memory: lanes of batches, the last of them current.
#[derive(Clone, Default)]
struct Model(Rc<RefCell<Vec<Vec<v1::Sealed>>>>);

impl Model {
    fn new_lane(&self) {
        self.0.borrow_mut().push(Vec::new());
    }

    /// Seals a batch of so many bytes, taken at `at_us`, into the current lane.
    fn append(&self, at_us: i64, bytes: usize) -> (usize, u64) {
        let mut lanes = self.0.borrow_mut();
        let at = lanes.len() - 1;
        let sequence = lanes[at].len() as u64 + 1;
        lanes[at].push(v1::Sealed {
            lane: lane_id(at).to_vec(),
            sequence,
            births_hash: vec![u8::try_from(at % 3).unwrap()],
            boot_id: BOOT.to_vec(),
            first_us: at_us,
            last_us: at_us,
            payload: Bytes::from(vec![0; bytes]),
            ..v1::Sealed::default()
        });
        (at, sequence)
    }

    fn records(&self) -> usize {
        self.0.borrow().iter().map(Vec::len).sum()
    }
}

struct ModelReader {
    model: Model,
    at: usize,
    next: usize,
}

impl Read for ModelReader {
    fn next_item(&mut self) -> Result<Option<Item>, SpoolError> {
        let item = self.model.0.borrow()[self.at].get(self.next).cloned();
        self.next += usize::from(item.is_some());
        Ok(item.map(Item::Batch))
    }
    fn seek(&mut self, after: u64) {
        self.next = usize::try_from(after).unwrap();
    }
}

impl Store for Model {
    type Reader = ModelReader;
    fn lanes(&self) -> Vec<v1::LaneState> {
        let lanes = self.0.borrow();
        let state = |(at, lane): (usize, &Vec<v1::Sealed>)| v1::LaneState {
            lane: lane_id(at).to_vec(),
            first_kept: 1,
            last_sealed: lane.len() as u64,
            read_only: at + 1 < lanes.len(),
        };
        lanes.iter().enumerate().map(state).collect()
    }
    fn reader(&self, lane: LaneId, after: u64) -> ModelReader {
        let mut reader = ModelReader { model: self.clone(), at: usize::from(lane.as_bytes()[0]) - 1, next: 0 };
        reader.seek(after);
        reader
    }
    fn births(&self, hash: &[u8]) -> Option<v1::Births> {
        Some(v1::Births { hash: hash.to_vec(), content: Bytes::new() })
    }
    fn clock(&self, boot: &[u8]) -> Option<v1::ClockOffset> {
        Some(v1::ClockOffset { boot_id: boot.to_vec(), offset_us: 1, source: 1 })
    }
}

fn session(model: &Model, watermarks: &[v1::LaneWatermark], credits: v1::Credits, now: Instant) -> Traffic<Model> {
    Traffic::new(boot(), Cursor::new(model.clone(), &model.lanes(), watermarks), credits, now)
}

fn sealed(frame: &Frame) -> Option<(usize, u64)> {
    match frame {
        Frame::Sealed(sealed) => Some((usize::from(sealed.lane[0]) - 1, sealed.sequence)),
        _ => None,
    }
}

const CREDITS: v1::Credits = v1::Credits { records: 64, bytes: 8 << 20 };
const HOUR_US: i64 = 3_600_000_000;

/// What is sent at a moment while nothing is answered, as (lane, sequence).
fn sent(traffic: &mut Traffic<Model>, now: Now) -> Vec<(usize, u64)> {
    let mut sent = Vec::new();
    loop {
        traffic.fill(now).unwrap();
        if !traffic.has_frames() {
            return sent;
        }
        while let Some(frame) = traffic.next_frame() {
            sent.extend(sealed(&frame));
        }
    }
}

fn retry(lane: usize, sequence: u64, delay_ms: u32) -> v1::RetryLater {
    v1::RetryLater { lane: lane_id(lane).to_vec(), sequence, delay_ms, reason: "rate".into() }
}

/// Two old lanes and a live one, of so many records.
fn three_lanes(records: [usize; 3]) -> Model {
    let model = Model::default();
    for (records, at_us) in records.into_iter().zip([0, 1, HOUR_US]) {
        model.new_lane();
        for _ in 0..records {
            model.append(at_us, 1000);
        }
    }
    model
}

fn at(begin: Instant, millis: u64) -> Now {
    Now { instant: begin + Duration::from_millis(millis), monotonic_us: HOUR_US + millis as i64 * 1_000 }
}

#[test]
fn live_goes_first_then_the_oldest_lane_in_its_order() {
    let begin = Instant::now();
    let model = three_lanes([2, 2, 2]);
    let mut traffic = session(&model, &[], CREDITS, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(2, 1), (2, 2), (0, 1), (0, 2), (1, 1), (1, 2)]);
    model.append(HOUR_US, 10);
    assert_eq!(sent(&mut traffic, at(begin, 1)), [(2, 3)]);
    // A lane that appears is taken up, and is the live one from then on.
    model.new_lane();
    model.append(HOUR_US, 10);
    assert_eq!(sent(&mut traffic, at(begin, 2)), [(3, 1)]);
    assert!(!traffic.is_drained());
    for (lane, through) in [(0, 2), (1, 2), (2, 3), (3, 1)] {
        traffic.acked(lane_id(lane), through, begin);
    }
    assert_eq!(sent(&mut traffic, at(begin, 3)), []);
    assert!(traffic.is_drained());
}

#[test]
fn the_backlog_leaves_half_of_the_credits_to_live_data() {
    let begin = Instant::now();
    let model = three_lanes([100, 0, 0]);
    let mut traffic = session(&model, &[], v1::Credits { records: 8, bytes: 8 << 20 }, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)).len(), 4);
    for _ in 0..9 {
        model.append(HOUR_US, 10);
    }
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(2, 1), (2, 2), (2, 3), (2, 4)], "never beyond the credits");
    traffic.acked(lane_id(0), 4, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(2, 5), (2, 6), (2, 7), (2, 8)], "live first, also when room comes");
}

#[test]
fn retry_later_for_the_backlog_does_not_hold_up_live_data() {
    let begin = Instant::now();
    let model = three_lanes([2, 0, 0]);
    let mut traffic = session(&model, &[], CREDITS, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(0, 1), (0, 2)]);
    traffic.retry_later(&retry(0, 1, 5_000), begin).unwrap();
    model.append(HOUR_US, 10);
    assert_eq!(sent(&mut traffic, at(begin, 10)), [(2, 1)]);
    assert_eq!(traffic.again_at(begin), Some(begin + Duration::from_secs(5)));
    assert_eq!(sent(&mut traffic, at(begin, 4_999)), []);
    assert!(!traffic.is_drained());
    assert_eq!(sent(&mut traffic, at(begin, 5_000)), [(0, 1), (0, 2)]);
}

#[test]
fn retry_later_for_live_data_holds_up_everything_and_live_data_resumes_first() {
    let begin = Instant::now();
    let model = three_lanes([1, 0, 2]);
    let mut traffic = session(&model, &[], v1::Credits { records: 2, bytes: 8 << 20 }, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(2, 1), (2, 2)]);
    traffic.retry_later(&retry(2, 1, 700), begin).unwrap();
    // A second one, for the record behind it, that asks for less.
    traffic.retry_later(&retry(2, 1, 100), begin).unwrap();
    assert_eq!(sent(&mut traffic, at(begin, 699)), []);
    assert_eq!(sent(&mut traffic, at(begin, 700)), [(2, 1), (2, 2)]);
    traffic.acked(lane_id(2), 2, begin);
    assert_eq!(sent(&mut traffic, at(begin, 1_000)), [(0, 1)]);
}

#[test]
fn an_old_record_in_the_current_lane_goes_at_the_pace_of_the_backlog() {
    let begin = Instant::now();
    let model = Model::default();
    model.new_lane();
    for _ in 0..100 {
        model.append(0, 10);
    }
    model.append(HOUR_US, 10);
    let mut traffic = session(&model, &[], v1::Credits { records: 8, bytes: 8 << 20 }, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)).len(), 4);
    model.new_lane();
    model.append(HOUR_US, 10);
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(1, 1)]);
}

#[test]
fn a_stop_sends_live_data_and_leaves_the_backlog() {
    let begin = Instant::now();
    let model = three_lanes([100, 0, 0]);
    let mut traffic = session(&model, &[], v1::Credits { records: 4, bytes: 8 << 20 }, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(0, 1), (0, 2)]);
    traffic.leave();
    model.append(HOUR_US, 10);
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(2, 1)]);
    traffic.acked(lane_id(2), 1, begin);
    traffic.acked(lane_id(0), 1, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)), []);
    assert!(!traffic.is_drained(), "what is in flight may still be acknowledged");
    traffic.acked(lane_id(0), 2, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)), []);
    assert!(traffic.is_drained());
}

#[test]
fn what_is_acknowledged_is_not_sent_again_when_an_old_question_comes() {
    let begin = Instant::now();
    let model = three_lanes([0, 0, 3]);
    let mut traffic = session(&model, &[], CREDITS, begin);
    assert_eq!(sent(&mut traffic, at(begin, 0)).len(), 3);
    traffic.acked(lane_id(2), 2, begin);
    traffic.expected(lane_id(2), 1).unwrap();
    assert_eq!(sent(&mut traffic, at(begin, 0)), [(2, 3)]);
    assert!(traffic.expected(lane_id(2), 0).is_err());
}
