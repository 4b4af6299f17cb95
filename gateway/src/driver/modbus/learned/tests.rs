use proptest::prelude::*;

use super::super::plan;
use super::*;
use crate::config::{ModbusDevice, Point, RequestLimits};

fn part(address: u16, width: u16) -> Part {
    Part { area: Area::Holding, address, width }
}

fn device(registers: &[u16]) -> ModbusDevice {
    let points = registers.iter().enumerate().map(|(signal, address)| Point {
        signal: u32::try_from(signal).unwrap(),
        value: part(*address, 1),
        aids: Vec::new(),
        interval: std::time::Duration::from_secs(1),
        group: 0,
    });
    let limits = RequestLimits { max_words: 125, max_bits: 2_000, max_hole: 8 };
    ModbusDevice { device: 0, name: "plc".into(), unit: 1, limits, points: points.collect() }
}

/// One poll of a device that refuses whatever `refuses` says; gives how often it was asked.
fn poll(device: &ModbusDevice, learned: &mut Learned, bad: impl Fn(Part) -> bool) -> usize {
    let mut waiting = plan::polls(device, learned).remove(0).requests;
    waiting.reverse();
    let (mut refused, mut good, mut asked) = (Vec::new(), Vec::new(), 0);
    while let Some(request) = waiting.pop() {
        asked += 1;
        if bad(request.part()) {
            if let Some((left, right)) = request.halves() {
                waiting.extend([right, left]);
            }
            refused.push((request, 2));
        } else {
            good.push(request.part());
        }
    }
    for (part, code) in conclude(&refused, &good) {
        learned.add(part, code);
    }
    asked
}

#[test]
fn one_bad_register_among_a_hundred_is_found_in_one_poll() {
    let registers: Vec<u16> = (0..100).collect();
    let device = device(&registers);
    let mut learned = Learned::nothing();
    let bad = |asked: Part| asked.address <= 61 && 61 < asked.address + asked.width;
    assert!(poll(&device, &mut learned, bad) <= 15, "one, and two for each halving");
    assert_eq!(learned.ranges().collect::<Vec<_>>(), [part(61, 1)]);
    assert_eq!(poll(&device, &mut learned, bad), 2, "from now on only around it");
    assert_eq!(plan::polls(&device, &learned)[0].left_out, [(61, part(61, 1))]);
}

#[test]
fn a_hole_that_is_refused_is_asked_around_and_costs_no_signal() {
    let device = device(&[0, 1, 2, 6, 7, 8]);
    let mut learned = Learned::nothing();
    let bad = |asked: Part| asked.address <= 4 && 4 < asked.address + asked.width;
    poll(&device, &mut learned, bad);
    assert_eq!(learned.ranges().collect::<Vec<_>>(), [part(2, 5)], "somewhere from the last good one to the next");
    assert_eq!(poll(&device, &mut learned, bad), 2);
    assert!(plan::polls(&device, &learned)[0].left_out.is_empty());
}

#[test]
fn a_device_that_takes_fewer_registers_at_once_gets_them() {
    let registers: Vec<u16> = (0..120).collect();
    let device = device(&registers);
    let mut learned = Learned::nothing();
    let mut asked = 0;
    for _ in 0..8 {
        asked = poll(&device, &mut learned, |asked: Part| asked.width > 40);
    }
    assert!(asked <= 6 && plan::polls(&device, &learned)[0].left_out.is_empty(), "{asked} requests");
}

#[test]
fn a_narrower_range_takes_the_place_of_a_wider_one_and_an_answer_takes_it_away() {
    let mut learned = Learned::nothing();
    assert!(learned.add(part(0, 10), 2) && learned.add(part(4, 2), 2));
    assert_eq!(learned.ranges().collect::<Vec<_>>(), [part(4, 2)]);
    assert!(!learned.add(part(3, 5), 2), "it is refused for what is known");
    assert!(!learned.accept(part(5, 5)));
    assert!(learned.accept(part(4, 2)));
    assert_eq!(learned, Learned::nothing());
    let added = (0..1_000).filter(|address| learned.add(part(*address, 1), 2)).count();
    assert_eq!(added, MAX_RANGES, "it is bounded");
}

#[test]
fn the_file_keeps_it_and_a_bad_file_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("modbus/line.json");
    let mut first = Learned::nothing();
    first.add(part(61, 1), 2);
    first.add(Part { area: Area::Coil, address: 0, width: 9 }, 3);
    let second = Learned::nothing();
    save(&file, [(1, &first), (255, &second)].into_iter()).unwrap();
    assert_eq!(load(&file, [255, 1].into_iter()), [second.clone(), first]);
    for bad in ["", "{", "{\"version\":2,\"refused\":[]}", "[1]"] {
        std::fs::write(&file, bad).unwrap();
        assert_eq!(load(&file, [1].into_iter()), [Learned::nothing()], "{bad}");
    }
    assert_eq!(load(&folder.path().join("none.json"), [1].into_iter()), [Learned::nothing()]);
}

proptest! {
    #[test]
    fn in_the_end_every_register_that_is_there_is_read(
        registers in prop::collection::btree_set(0u16..60, 1..30), bad in prop::collection::btree_set(0u16..60, 0..6),
    ) {
        let registers: Vec<u16> = registers.into_iter().collect();
        let device = device(&registers);
        let mut learned = Learned::nothing();
        let is_bad = |asked: Part| bad.range(asked.address..asked.address + asked.width).next().is_some();
        for _ in 0..12 {
            poll(&device, &mut learned, is_bad);
        }
        let poll = plan::polls(&device, &learned).remove(0);
        for request in &poll.requests {
            prop_assert!(!is_bad(request.part()), "{} is still refused", request);
        }
        let left_out: Vec<u16> = poll.left_out.iter().map(|(signal, _)| registers[*signal as usize]).collect();
        let really_bad: Vec<u16> = registers.into_iter().filter(|register| bad.contains(register)).collect();
        prop_assert_eq!(left_out, really_bad);
    }
}
