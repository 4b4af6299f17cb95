//! The corpora of the fuzz targets, replayed over the functions that the targets call.
//!
//! They begin with what the ordinary encoders write, whole and hurt; what a fuzzer finds
//! is added by hand. `SANDAN_BLESS=1` writes the first part anew.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use sandan_gateway::config::sheet::Sheet;
use sandan_gateway::driver::modbus::dry;
use sandan_gateway::driver::mqtt::map;
use sandan_gateway::driver::sparkplug;
use sandan_gateway::spool::inspect_bytes;
use sandan_ingest::session::dry::run_frames;
use sandan_proto::batch::{self, BatchBuilder};
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::invitation::Invitation;
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

/// The messages of the cases in `tests/cases/sparkplug`, one after the other, as the dry run
/// takes them.
fn messages() -> Vec<u8> {
    const KINDS: [&str; 6] = ["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA"];
    let mut all = Vec::new();
    for case in ["aliases", "arrays", "deaths", "quality-and-history", "templates-and-tables", "broken"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/sparkplug").join(case).join("messages.json");
        let messages: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for message in messages {
            let kind = message["topic"].as_str().unwrap().split('/').nth(2).unwrap();
            let hex = message["payload"].as_str().unwrap();
            let payload = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            all.push(u8::try_from(KINDS.iter().position(|known| *known == kind).unwrap()).unwrap());
            all.extend(u16::try_from(hex.len() / 2).unwrap().to_le_bytes());
            all.extend(payload);
        }
    }
    all
}

#[test]
fn messages_of_edge_nodes_of_the_corpus_are_taken_or_refused() {
    let found = corpus("sparkplug_messages", hurt(messages()));
    let samples: Vec<usize> = found.iter().map(|(_, bytes)| sparkplug::dry::run(bytes)).collect();
    assert!(samples.iter().any(|samples| *samples > 20), "no input brings values: {samples:?}");
}

/// Messages as machines publish them, each behind the number of the way in which it is read.
fn published() -> Vec<(&'static str, Vec<u8>)> {
    let all = [
        ("plain-number", 0, "21.5\r\n"),
        ("plain-comma", 0, "1,234"),
        ("plain-word", 0, "on"),
        ("undated", 1, r#"{"v": 1.5, "n": 18446744073709551615, "on": true, "text": "P-7", "current": {"rms": null}}"#),
        ("nested", 1, r#"{"zones": [{"t": 801}, {"t": 802.5}], "v": {}}"#),
        ("cut", 1, r#"{"v": 1.5, "n": 1"#),
        ("iso", 2, r#"{"v": 1, "ts": "2026-07-11T10:02:03.456+09:00"}"#),
        ("iso-local", 3, r#"{"v": 1, "ts": "2026-07-11 10:02:03"}"#),
        ("iso-twice", 3, r#"{"v": 1, "ts": "1988-10-09T02:30:00"}"#),
        ("seconds", 4, r#"{"n": 7, "ts": 1783731723.25}"#),
        ("milliseconds-as-text", 5, r#"{"n": 7, "ts": "1783731723250"}"#),
        ("microseconds", 6, r#"{"on": false, "ts": 1783731723250000}"#),
        ("nanoseconds", 7, r#"{"text": "", "ts": 1783731723250000000}"#),
        ("too-early", 7, r#"{"v": 1, "ts": -9223372036854775808}"#),
        ("list", 11, r#"{"data": [{"ts": 1783731723000, "v": 1.2}, {"v": 1.3}, 4], "ts": 1783731723500}"#),
        ("no-list", 8, r#"{"data": {"v": 1}}"#),
    ];
    all.map(|(name, way, payload)| (name, [&[way], payload.as_bytes()].concat())).to_vec()
}

#[test]
fn messages_of_machines_of_the_corpus_are_mapped_or_refused() {
    let found = corpus("mqtt_payload", published());
    let (mut mapped, mut dated) = (0, 0);
    for (_, bytes) in found {
        let brought = map::dry::run(&bytes);
        mapped += usize::from(brought.samples > 0);
        dated += usize::from(brought.dated > 0);
    }
    assert!(mapped >= 11 && dated >= 7, "{mapped} inputs bring values, and {dated} of them with a time");
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

/// To three registers of unit 17: an answer over each line, what is none, and what is half one.
fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let asked = [2, 17, 0, 2];
    let to = |heard: &[u8]| [&asked[..], heard].concat();
    let rtu = [17, 3, 6, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xAD];
    let tcp = [0, 0, 0, 0, 0, 9, 17, 3, 6, 0, 1, 0, 2, 0, 3];
    vec![
        ("rtu", to(&rtu)),
        ("rtu-behind-noise", to(&[&[0, 0xFF, 17, 3, 6][..], &rtu].concat())),
        ("rtu-exception", to(&[17, 0x83, 2, 0xC1, 0x34])),
        ("rtu-cut", to(&rtu[..8])),
        ("tcp", to(&tcp)),
        ("tcp-exception", to(&[0, 0, 0, 0, 0, 3, 17, 0x83, 2])),
        ("tcp-more-than-it-says", to(&[&tcp[..5], &[99], &tcp[6..]].concat())),
        ("tcp-wrong-count", to(&[0, 0, 0, 0, 0, 7, 17, 3, 4, 0, 1, 0, 2])),
        ("bits", [0, 1, 0, 8, 1, 1, 2, 0x0A, 0x01, 0x7F, 0x5C].to_vec()),
        ("another-protocol", to(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    ]
}

#[test]
fn answers_of_the_corpus_have_as_many_values_as_were_asked_for_or_none() {
    let (mut rtu, mut tcp) = (0, 0);
    for (path, bytes) in corpus("modbus_answers", answers()) {
        let heard = dry::answers(&bytes);
        assert!(heard.rtu.is_none_or(|values| values == heard.asked), "{}", path.display());
        assert!(heard.tcp.is_none_or(|values| values == heard.asked), "{}", path.display());
        rtu += usize::from(heard.rtu.is_some());
        tcp += usize::from(heard.tcp.is_some());
    }
    assert!(rtu >= 2 && tcp >= 1, "{rtu} answers over RTU and {tcp} over TCP were taken");
}

fn sheets() -> Vec<(&'static str, Vec<u8>)> {
    let plain = "name,metric,unit,at,type,scale\n온도,temperature,Cel,holding:100,i16,0.1\n\"a, \"\"b\"\"\",x_b,1,input:7,f32,\n";
    let wide: Vec<u8> = plain.replace(',', "\t").encode_utf16().flat_map(u16::to_le_bytes).collect();
    // The second line in CP949.
    let korean = [b"name;at\r\n".as_slice(), &[0xBF, 0xC2, 0xB5, 0xB5], b";holding:1\r\n"].concat();
    vec![
        ("utf-8", plain.as_bytes().to_vec()),
        ("mark", [b"\xEF\xBB\xBF", plain.as_bytes()].concat()),
        ("utf-16", [b"\xFF\xFE".as_slice(), &wide].concat()),
        ("cp949", korean),
        ("open-quote", b"a,b\n\"c,d\ne".to_vec()),
        ("separator", b"sep=|\na|b\n".to_vec()),
        ("workbook", b"PK\x03\x04".to_vec()),
    ]
}

#[test]
fn sheets_of_the_corpus_are_read_or_refused() {
    let mut read = 0;
    for (path, bytes) in corpus("signals_sheet", sheets()) {
        let Ok(sheet) = Sheet::read(&bytes) else { continue };
        let cells = || sheet.rows.iter().flat_map(|row| &row.cells);
        assert_eq!(sheet.names().len(), cells().count(), "{}", path.display());
        assert!(cells().all(|cell| sheet.text.is_char_boundary(cell.at)), "{}", path.display());
        read += 1;
    }
    assert!(read >= 5, "only {read} inputs are sheets");
}

fn invitations() -> Vec<(&'static str, Vec<u8>)> {
    let line = |host: &str| {
        let (token, ca) = ("a1".repeat(32), "0F".repeat(32));
        format!("sandan://{host}:7443/hanbit-mould/press-hall?token=sgi_{token}&ca={ca}\n").into_bytes()
    };
    let cut = line("ingest.example")[..90].to_vec();
    vec![("name", line("ingest.example")), ("address", line("[2001:db8::1]")), ("cut", cut)]
}

#[test]
fn invitations_of_the_corpus_are_taken_or_refused() {
    let mut taken = 0;
    for (path, bytes) in corpus("invitation", invitations()) {
        let Some(invitation) = std::str::from_utf8(&bytes).ok().and_then(|text| Invitation::parse(text).ok()) else {
            continue;
        };
        let again = Invitation::parse(&invitation.reveal());
        assert_eq!(again.as_ref(), Ok(&invitation), "{}", path.display());
        taken += 1;
    }
    assert!(taken >= 2, "only {taken} inputs are invitations");
}
