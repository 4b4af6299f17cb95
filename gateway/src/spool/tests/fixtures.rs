//! Frozen bytes: what this build writes is what `fixtures/segment.hex` holds and
//! `docs/spool-format.md` describes.

use std::fmt::Write as _;

use prost::Message;
use sandan_proto::record::Moment;

use super::super::delivered;
use super::super::format::{self, Header, Kind, LaneEnd};
use super::*;

const FIXTURE: &str = include_str!("../fixtures/segment.hex");

/// The bytes of a file of hexadecimal digits; `#` begins a comment.
fn bytes_of(text: &str) -> Vec<u8> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let digits: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn lane(id: u8) -> LaneId {
    LaneId::from_bytes(&[id; 16]).unwrap()
}

fn sealed(sequence: u64) -> Sealed {
    let group = batch::Group {
        times_us: vec![1_000_000, 2_000_000],
        columns: vec![batch::Column { series: 0, quality: vec![], values: batch::Values::I64(vec![7, 8]) }],
    };
    Sealed {
        lane: lane(0x11),
        sequence,
        births: births().hash(),
        boot: boot(),
        cumulative_readings: 2 * (sequence - 1),
        first_us: 1_000_000,
        last_us: 2_000_000,
        payload: batch::encode(&[group]),
    }
}

fn gap(id: u8, cause: GapCause, last: u64, after: u64) -> Gap {
    let moment = |monotonic_us| Some(Moment { boot: boot(), monotonic_us });
    Gap {
        lane: lane(id),
        first_sequence: 1,
        last_sequence: last,
        cause,
        from: moment(500_000),
        to: moment(1_000_000),
        cumulative_before: 0,
        cumulative_after: after,
    }
}

/// A record of each kind, with its name.
fn records() -> Vec<(&'static str, Kind, Vec<u8>)> {
    let end = LaneEnd { lane: lane(0x22).to_vec(), last_sequence: 9, cumulative_readings: 90 };
    let delivery = Delivery { session: [0x33; 16], packet_id: 5, digest: [0x44; 16], unsettled: 1 };
    let letter = DeadLetter::new("mqtt 127.0.0.1:1883", "a/b", "is not JSON", &"{".into(), 1_000_000);
    vec![
        ("births", Kind::Births, births().content().to_vec()),
        ("clock", Kind::Clock, clock().encode_to_vec()),
        ("lane end", Kind::LaneEnd, end.encode_to_vec()),
        ("gap", Kind::Gap, gap(0x11, GapCause::Restart, 1, 0).to_wire().encode_to_vec()),
        ("batch", Kind::Batch, sealed(2).to_wire().encode_to_vec()),
        ("delivered", Kind::Delivered, delivered::encode(&sealed(3).to_wire(), &[delivery])),
        ("displaced", Kind::Displaced, gap(0x55, GapCause::SpoolFull, 30, 300).to_wire().encode_to_vec()),
        ("dead letter", Kind::DeadLetter, letter.encode_to_vec()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

/// The fixture as this build would write it, with comments.
fn written() -> String {
    let header = format::encode_header(&Header { lane: lane(0x11), boot: boot(), number: 1 });
    let mut text = format!("# header: magic, version, lane, boot, number, checksum\n{}\n", hex(&header));
    for (name, kind, body) in records() {
        let mut record = Vec::new();
        format::encode_record(kind, &body, &mut record);
        let (frame, body) = record.split_at(format::FRAME_LEN);
        let (frame, body) = (hex(frame), hex(body));
        writeln!(text, "# {name}: magic, length, kind {}, checksum; body\n{frame}\n{body}", kind as u8).unwrap();
    }
    text
}

#[test]
fn the_frozen_segment_is_what_this_build_writes() {
    let written = written();
    assert!(
        bytes_of(FIXTURE) == bytes_of(&written),
        "the bytes on disk have changed: that is a new format version. This build writes:\n{written}"
    );
}

#[test]
fn the_frozen_segment_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("0000000000000001.seg"), bytes_of(FIXTURE)).unwrap();
    let (_writer, spool, recovery) = open(dir.path());
    // The end of lane 22 tells that its records are missing.
    assert_eq!((recovery.segments, recovery.records, recovery.damaged_records), (1, 3, 1));
    let items = drain(&mut spool.reader(lane(0x11), 0));
    assert_whole(&items, 1);
    assert_eq!(items[1], Item::Batch(sealed(2).to_wire()));
    assert_eq!(items[2], Item::Batch(sealed(3).to_wire()));
    let displaced = drain(&mut spool.reader(lane(0x55), 0));
    assert_eq!(displaced, [Item::Gap(gap(0x55, GapCause::SpoolFull, 30, 300).to_wire())]);
    let [Item::Gap(missing)] = &drain(&mut spool.reader(lane(0x22), 0))[..] else { panic!("no gap") };
    assert_eq!((missing.cause(), missing.last_sequence, missing.cumulative_after), (GapCause::Damaged, 9, 90));
    assert_eq!(spool.take_delivered([0x33; 16]), [(5, [0x44; 16])]);
    assert_eq!(spool.births(births().hash().as_bytes()).unwrap(), births().to_wire());
    assert_eq!(spool.clock(&boot().to_vec()).unwrap(), clock());
}

#[test]
fn the_page_describes_every_kind_and_the_version() {
    let page = include_str!("../../../../docs/spool-format.md");
    assert!(page.contains(&format!("version {}", format::VERSION)));
    let head = include_str!("../../spool.rs");
    for (name, kind, _) in records() {
        assert!(page.contains(&format!("| {} | {name} |", kind as u8)), "the page does not describe {name}");
        assert!(head.contains(&format!("{} {name}", kind as u8)), "the head of spool.rs does not describe {name}");
    }
}
