use prost::Message;

use super::*;
use crate::batch::{self, BatchBuilder};
use crate::births::Births;
use crate::reading::{Quality, Value, ValueType};

/// A furnace with six zones, each with measured and set-point temperature, read
/// three times; zone 4's thermocouple breaks at the second reading.
fn furnace() -> (Births, Sealed) {
    let asset = |zone: u32| v1::Asset {
        id: format!("furnace-2.zone-{zone}"),
        path: format!("plant-1/furnace-2/zone-{zone}"),
        name_ko: format!("2호 열처리로 {zone}구역"),
        name_en: format!("Furnace 2 zone {zone}"),
        time_zone: "Asia/Seoul".into(),
    };
    let series = |index: u32| v1::Series {
        asset: index / 2,
        device: 0,
        metric: if index.is_multiple_of(2) { "temperature" } else { "temperature_setpoint" }.into(),
        unit: "Cel".into(),
        value_type: ValueType::F64.into(),
        expected_interval_ms: 1000,
        signal: format!("z{}_{}", index / 2 + 1, if index.is_multiple_of(2) { "pv" } else { "sv" }),
        wrap: 0.0,
    };
    let births = Births::new(&v1::BirthSet {
        assets: (1..=6).map(asset).collect(),
        devices: vec![v1::Device { name: "furnace-2-plc".into(), address: "modbus-tcp 10.0.0.5:502 unit 1".into() }],
        series: (0..12).map(series).collect(),
    })
    .unwrap();
    let mut builder = BatchBuilder::default();
    for reply in 0..3i64 {
        let at = 5_000_000_000 + reply * 1_000_000 + reply * 137;
        for zone in 0..6u32 {
            let broken = zone == 3 && reply == 1;
            let measured = if broken {
                Value::F64(f64::NAN)
            } else {
                Value::F64(840.0 + f64::from(zone) * 2.5 + reply as f64 * 0.1)
            };
            let quality = if broken { Quality::BAD_SENTINEL } else { Quality::GOOD };
            builder.push(zone * 2, at, measured, quality).unwrap();
            builder.push(zone * 2 + 1, at, Value::F64(850.0), Quality::GOOD).unwrap();
        }
    }
    let sealed = Sealed {
        lane: LaneId::from_bytes(&[0x11; 16]).unwrap(),
        sequence: 7,
        births: births.hash(),
        boot: BootId::from_bytes(&[0x22; 16]).unwrap(),
        cumulative_readings: 252,
        first_us: 5_000_000_000,
        last_us: 5_002_000_274,
        payload: batch::encode_plain(&builder.take()).into(),
    };
    (births, sealed)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut lines = String::new();
    for chunk in bytes.chunks(32) {
        for byte in chunk {
            write!(lines, "{byte:02x}").unwrap();
        }
        lines.push('\n');
    }
    lines
}

/// The bytes of version 1 are frozen: gateways in the field hold spools of them.
/// A change of this fixture is a change of the format and needs a new version.
#[test]
fn the_bytes_of_version_1_are_frozen() {
    let (births, sealed) = furnace();
    let frozen = include_str!("furnace-v1.hex");
    let now =
        format!("births\n{}sealed\n{}", hex(&births.to_wire().encode_to_vec()), hex(&sealed.to_wire().encode_to_vec()));
    assert_eq!(now, frozen, "the encoding of version 1 changed");
}

#[test]
fn the_frozen_bytes_are_read_back_in_full() {
    let (births, sealed) = furnace();
    let wire = v1::Sealed::decode(sealed.to_wire().encode_to_vec().as_slice()).unwrap();
    let read = Sealed::from_wire(wire).unwrap();
    assert_eq!(read, sealed);
    let groups = batch::decode(&read.payload).unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].columns.len(), births.series.len());
    let zone_4 = &groups[0].columns[6];
    assert_eq!(zone_4.qualities().collect::<Vec<_>>(), [Quality::GOOD, Quality::BAD_SENTINEL, Quality::GOOD]);
    assert_eq!(zone_4.values.get(2), Some(Value::F64(840.0 + 7.5 + 0.2)));
}

#[test]
fn a_bit_that_flips_anywhere_in_a_record_is_found() {
    let (_, sealed) = furnace();
    let bytes = sealed.to_wire().encode_to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let taken = v1::Sealed::decode(flipped.as_slice()).ok().and_then(|wire| Sealed::from_wire(wire).ok());
        assert!(taken.is_none(), "bit {bit} flipped and the record was taken");
    }
}

#[test]
fn gaps_are_checked() {
    let gap = Gap {
        lane: LaneId::from_bytes(&[1; 16]).unwrap(),
        first_sequence: 1,
        last_sequence: 1,
        cause: GapCause::Restart,
        from: None,
        to: Some(Moment { boot: BootId::from_bytes(&[2; 16]).unwrap(), monotonic_us: 5 }),
        cumulative_before: 0,
        cumulative_after: 0,
    };
    assert_eq!(Gap::from_wire(&gap.to_wire()).unwrap(), gap);
    let refused = |change: fn(&mut v1::Gap)| {
        let mut wire = gap.to_wire();
        change(&mut wire);
        Gap::from_wire(&wire).unwrap_err().to_string()
    };
    assert_eq!(refused(|wire| wire.first_sequence = 0), "record has sequences 0 to 1");
    assert_eq!(refused(|wire| wire.last_sequence = u64::MAX), "record has sequences 1 to 18446744073709551615");
    assert_eq!(refused(|wire| wire.cause = 77), "gap 1 has an unknown cause");
    assert_eq!(
        refused(|wire| wire.cumulative_before = 1),
        "gap 1 has times or counts that run backwards".replace("gap", "record")
    );
    assert_eq!(refused(|wire| wire.lane.truncate(3)), "record holds an id that is not one");
}

/// A heartbeat grows by fields alone: one of an older gateway is read, and what it does not
/// say is absent, not 0.
#[test]
fn the_bytes_of_a_heartbeat_are_frozen_and_an_older_one_is_read() {
    let signal = v1::SignalHealth { signal: "f".into(), state: 4, quality: 131, age_ms: Some(7) };
    let signals = v1::SignalCounts { good: 1, bad: 2, ..Default::default() };
    let link = v1::LinkHealth { signals: Some(signals), worst_signals: vec![signal], ..Default::default() };
    let spool = v1::SpoolHealth {
        unacked_bytes: Some(4),
        fill_bytes_per_s: Some(-1),
        written_bytes_per_s: Some(5),
        drains_in_ms: Some(6),
        ..Default::default()
    };
    let health = v1::Health {
        wall_time_us: 1,
        spool: Some(spool),
        links: vec![link],
        config_hash: vec![1],
        certificate_renewal_us: Some(2),
        certificate_end_us: Some(3),
        ..Default::default()
    };
    let frozen = "08011a08400448015005580622125a0408012002620a0a01661004188301200742010148025003";
    assert_eq!(hex(&health.encode_to_vec()).replace('\n', ""), frozen);
    let older = v1::Health::decode([0x08, 0x01, 0x1a, 0x02, 0x08, 0x07, 0x22, 0x02, 0x18, 0x01].as_slice()).unwrap();
    assert_eq!((older.wall_time_us, older.certificate_end_us), (1, None));
    assert_eq!(older.spool.map(|spool| (spool.unacked_records, spool.fill_bytes_per_s)), Some((7, None)));
    assert_eq!((older.links[0].state(), older.links[0].signals), (v1::LinkState::Up, None));
}
