//! The commands on a spool that a gateway left.

use std::path::Path;

use sandan_proto::batch::BatchBuilder;
use sandan_proto::births::Births;
use sandan_proto::id::BootId;
use sandan_proto::reading::Value as Reading;

use super::*;
use crate::spool::{Options, Outgoing, Spool, WhenFull};

const ALL: Range = Range { lane: None, first: 1, last: u64::MAX };

/// Five batches of two readings, the third of them damaged.
fn damaged_spool(dir: &Path) -> LaneId {
    let births = Births::new(&v1::BirthSet {
        assets: vec![v1::Asset { id: "press-1".into(), ..v1::Asset::default() }],
        devices: vec![v1::Device::default()],
        series: vec![v1::Series { metric: "stroke_count".into(), value_type: 2, ..v1::Series::default() }],
    })
    .unwrap();
    let boot = BootId::from_bytes(&[9; 16]).unwrap();
    let clock = v1::ClockOffset { boot_id: boot.to_vec(), offset_us: 1_700_000_000_000_000, source: 1 };
    let options = Options { dir: dir.to_owned(), max_bytes: 16 << 20, when_full: WhenFull::DropOldest };
    let (mut writer, _spool, _) = Spool::open(&options, &births, Some(&clock), boot).unwrap();
    for batch in 0..5 {
        let mut builder = BatchBuilder::default();
        for at in [10 * batch, 10 * batch + 1] {
            let quality = if at == 40 { Quality::BAD_NO_ANSWER } else { Quality::GOOD };
            builder.push(0, at, Reading::I64(at), quality).unwrap();
        }
        let payload = sandan_proto::batch::encode(&builder.take());
        writer.append(&Outgoing { payload, readings: 2, first_us: 10 * batch, last_us: 10 * batch + 1 });
        writer.sync().unwrap();
    }
    let path = dir.join("0000000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let records = bytes.windows(4).enumerate().filter(|(_, window)| window == b"SNDR");
    let third = records.map(|(at, _)| at).nth(4).unwrap();
    bytes[third + 30] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    writer.lane()
}

fn lines(dir: &Path, range: &Range) -> Vec<Value> {
    let mut out = Vec::new();
    export(dir, range, &mut out).unwrap();
    out.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn checked(dir: &Path) -> (ExitCode, Value) {
    let mut out = Vec::new();
    let code = check(dir, true, &mut out).unwrap();
    (code, serde_json::from_slice(&out).unwrap())
}

#[test]
fn a_damaged_record_is_shown_and_repaired_and_the_original_kept() {
    let dir = tempfile::tempdir().unwrap();
    let lane = damaged_spool(dir.path());
    let original = std::fs::read(dir.path().join("0000000000000001.seg")).unwrap();
    let (code, shown) = checked(dir.path());
    assert_eq!(code, ExitCode::FAILURE);
    let damage = &shown["segments"][0]["damage"];
    assert_eq!((damage.as_array().unwrap().len(), &damage[0]["cause"]), (1, &json!("checksum")));
    assert_eq!(shown["lanes"][0]["lane"], lane.to_string());
    let mut table = Vec::new();
    check(dir.path(), false, &mut table).unwrap();
    assert!(String::from_utf8(table).unwrap().contains("1 damaged"));
    let before = lines(dir.path(), &ALL);

    let mut out = Vec::new();
    repair(dir.path(), true, &mut out).unwrap();
    let done: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&done[0]["lost_records"], &done[0]["lost_readings"]), (&json!(1), &json!(2)));
    assert_eq!(std::fs::read(dir.path().join("0000000000000001.seg.damaged")).unwrap(), original);
    let (code, shown) = checked(dir.path());
    assert_eq!((code, &shown["aside"][0]), (ExitCode::SUCCESS, &json!("0000000000000001.seg.damaged")));
    assert_eq!(lines(dir.path(), &ALL), before, "a repair changes nothing that can be read");
    let mut out = Vec::new();
    repair(dir.path(), true, &mut out).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), json!([]));
}

#[test]
fn readings_and_gaps_come_out_by_lane_and_range() {
    let dir = tempfile::tempdir().unwrap();
    let lane = damaged_spool(dir.path());
    let all = lines(dir.path(), &ALL);
    assert_eq!(all.len(), 8 + 1);
    assert_eq!(
        all[0],
        json!({"time": "2023-11-14T22:13:20Z", "monotonic_us": 0, "boot": "09090909-0909-0909-0909-090909090909",
               "asset": "press-1", "metric": "stroke_count", "value": 0, "quality": "good",
               "lane": lane.to_string(), "sequence": 1})
    );
    let gap = &all[4];
    assert_eq!(
        (&gap["gap"], &gap["first"], &gap["last"], &gap["readings"]),
        (&json!("damaged"), &json!(3), &json!(3), &json!(2))
    );
    assert_eq!((&all[7]["value"], &all[7]["sequence"]), (&Value::Null, &json!(5)));
    let some = Range { lane: Some(lane), first: 3, last: 4 };
    assert_eq!(lines(dir.path(), &some), all[4..7]);
    assert!(lines(dir.path(), &Range { lane: Some(LaneId::random()), ..ALL }).is_empty());
}

#[test]
fn a_running_gateway_is_checked_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    damaged_spool(dir.path());
    let births = Births::new(&v1::BirthSet::default());
    let boot = BootId::from_bytes(&[9; 16]).unwrap();
    let options = Options { dir: dir.path().to_owned(), max_bytes: 16 << 20, when_full: WhenFull::DropOldest };
    let running = Spool::open(&options, &births.unwrap(), None, boot).unwrap();
    assert_eq!(checked(dir.path()).0, ExitCode::FAILURE);
    let error = repair(dir.path(), false, &mut Vec::new()).unwrap_err();
    assert!(hint(&error).unwrap().contains("stop the gateway"));
    assert!(hint(&export(dir.path(), &ALL, &mut Vec::new()).unwrap_err()).is_some());
    drop(running);
}

#[test]
fn dead_letters_are_exported_with_what_they_held() {
    let dir = tempfile::tempdir().unwrap();
    let births = Births::new(&v1::BirthSet::default()).unwrap();
    let boot = BootId::from_bytes(&[9; 16]).unwrap();
    let clock = v1::ClockOffset { boot_id: boot.to_vec(), offset_us: 1_700_000_000_000_000, source: 1 };
    let options = Options { dir: dir.path().to_owned(), max_bytes: 16 << 20, when_full: WhenFull::DropOldest };
    let (mut writer, spool, _) = Spool::open(&options, &births, Some(&clock), boot).unwrap();
    for payload in [&b"12,5"[..], &b"\xff\x00"[..]] {
        let payload = bytes::Bytes::copy_from_slice(payload);
        assert!(writer.append_dead(&DeadLetter::new(
            "mqtt 10.0.0.1:1883",
            "a/b",
            "is not a number",
            &payload,
            1_000_000
        )));
    }
    writer.sync().unwrap();
    drop((writer, spool));
    let text = json!({
        "dead_letter": "is not a number", "time": "2023-11-14T22:13:21Z", "source": "mqtt 10.0.0.1:1883", "topic": "a/b",
        "payload": "12,5", "payload_hex": null, "payload_bytes": 4,
    });
    let mut binary = text.clone();
    (binary["payload"], binary["payload_hex"], binary["payload_bytes"]) = (Value::Null, "ff00".into(), 2.into());
    assert_eq!(lines(dir.path(), &ALL), [text, binary]);
}
