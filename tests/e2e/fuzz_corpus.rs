//! The corpora of the fuzz targets, replayed over the functions that the targets call.
//!
//! They begin with what the ordinary encoders write, whole and hurt; what a fuzzer finds
//! is added by hand. `SANDAN_BLESS=1` writes the first part anew.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use sandan_gateway::spool::inspect_bytes;
use sandan_ingest::session::dry::run_frames;
use sandan_proto::batch::{self, BatchBuilder};
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::reading::{Quality, Value};
use sandan_proto::record::{Gap, GapCause, Moment, Sealed};
use sandan_proto::v1::{self, gateway_frame::Frame};

/// The clock of a dry session, µs since 1970, less a minute.
const OFFSET_US: i64 = 1_795_392_000_000_000 - 60_000_000;

fn dir(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Files of a target's corpus, with their bytes; `made` are those that the encoders write.
fn corpus(target: &str, made: Vec<(&str, Vec<u8>)>) -> Vec<(PathBuf, Vec<u8>)> {
    if std::env::var_os("SANDAN_BLESS").is_some() {
        std::fs::create_dir_all(dir(target)).unwrap();
        for (name, bytes) in &made {
            std::fs::write(dir(target).join(name), bytes).unwrap();
        }
    }
    let mut files: Vec<_> = std::fs::read_dir(dir(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for (name, _) in made {
        assert!(files.contains(&dir(target).join(name)), "{target} has no {name}: run with SANDAN_BLESS=1");
    }
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// The same, whole, cut short in the middle, and with bits flipped all over it.
fn hurt(whole: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let cut = whole[..whole.len() / 2].to_vec();
    let mut flipped = whole.clone();
    for (at, byte) in flipped.iter_mut().enumerate().skip(40).step_by(61) {
        *byte ^= 1 << (at % 8);
    }
    vec![("whole", whole), ("cut", cut), ("flipped", flipped)]
}

fn births() -> Births {
    let series = |at: i32| v1::Series {
        metric: format!("x_s{at}"),
        value_type: at % 4 + 1,
        expected_interval_ms: 1000,
        signal: format!("s{at}"),
        ..v1::Series::default()
    };
    Births::new(&v1::BirthSet {
        assets: vec![v1::Asset { id: "press-1".into(), path: "plant-1/press-1".into(), ..v1::Asset::default() }],
        devices: vec![v1::Device { name: "press".into(), address: "none".into() }],
        series: (0..8).map(series).collect(),
    })
    .unwrap()
}

/// A payload with every type, a bad value and an uncertain one.
fn payload(births: &Births) -> Bytes {
    let mut builder = BatchBuilder::default();
    for row in 0..5i64 {
        for (at, series) in (0u32..).zip(&births.series) {
            let value = match series.value_type.as_str_name() {
                "VALUE_TYPE_I64" => Value::I64(row - 3),
                "VALUE_TYPE_BOOL" => Value::Bool(row % 2 == 0),
                "VALUE_TYPE_TEXT" => Value::Text(format!("상태 {row}")),
                _ => Value::F64(row as f64 / 8.0),
            };
            let quality = if row == 2 { Quality::UNCERTAIN_CLOCK } else { Quality::GOOD };
            builder.push(at, 1_000_000 + row * 100_000, value, quality).unwrap();
        }
    }
    batch::encode(&builder.take())
}

fn frames() -> Vec<u8> {
    let (births, boot, lane) =
        (births(), BootId::from_bytes(&[9; 16]).unwrap(), LaneId::from_bytes(&[0x11; 16]).unwrap());
    let sealed = |sequence| {
        let record = Sealed {
            lane,
            sequence,
            births: births.hash(),
            boot,
            cumulative_readings: 40 * sequence,
            first_us: 1_000_000,
            last_us: 1_400_000,
            payload: payload(&births),
        };
        Frame::Sealed(record.to_wire())
    };
    let moment = |monotonic_us| Some(Moment { boot, monotonic_us });
    let gap = Gap {
        lane,
        first_sequence: 3,
        last_sequence: 4,
        cause: GapCause::SpoolFull,
        from: moment(1_000_000),
        to: moment(2_000_000),
        cumulative_before: 80,
        cumulative_after: 160,
    };
    let source = v1::clock_offset::Source::System.into();
    let all = [
        Frame::Births(v1::Births { hash: births.hash().as_bytes().to_vec(), content: births.content().clone() }),
        Frame::Clock(v1::ClockOffset { boot_id: boot.as_bytes().to_vec(), offset_us: OFFSET_US, source }),
        sealed(1),
        sealed(2),
        sealed(1),
        Frame::Gap(gap.to_wire()),
        sealed(5),
        sealed(9),
        Frame::Health(v1::Health::default()),
    ];
    let frame = |frame| v1::GatewayFrame { frame: Some(frame) }.encode_length_delimited_to_vec();
    all.into_iter().flat_map(frame).collect()
}

/// The frozen segment that docs/spool-format.md describes.
fn segment() -> Vec<u8> {
    let text = include_str!("../../gateway/src/spool/fixtures/segment.hex");
    let digits: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn segments_of_the_corpus_are_read_to_their_end() {
    let found = corpus("spool_segment", hurt(segment()));
    let known = found.iter().filter(|(_, bytes)| inspect_bytes(bytes).lane.is_some());
    assert!(known.count() > 0, "no input is a segment");
}

#[test]
fn frames_of_the_corpus_are_taken_or_refused() {
    let found = corpus("session_frames", hurt(frames()));
    let taken: Vec<usize> = found.iter().map(|(_, bytes)| run_frames(bytes)).collect();
    assert!(taken.contains(&9), "no input has its nine frames taken: {taken:?}");
}

#[test]
fn payloads_of_the_corpus_are_decoded_or_refused() {
    let mut decoded = 0;
    for (path, bytes) in corpus("batch_payload", hurt(payload(&births()).to_vec())) {
        if let Ok(groups) = batch::decode(&Bytes::from(bytes)) {
            let again = batch::decode(&batch::encode(&groups)).unwrap();
            assert_eq!(batch::count(&again), batch::count(&groups), "{}", path.display());
            decoded += 1;
        }
    }
    assert!(decoded > 0, "no input is a payload");
}
