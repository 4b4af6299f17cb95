//! `probe --expect` against a simulated device on a serial line: of every type one call finds
//! type, order of bytes and address, also when the map is one register off.

use std::time::Duration;

use sandan_gateway::config::ByteOrder;
use sandan_tests::rtubus::{Act, Bus};

use crate::world::programs;

/// The words in which a device of this order sends these bytes.
fn sent(letters: &str, big_endian: &[u8]) -> Vec<u16> {
    let byte = |letter: u8| big_endian[usize::from(letter - b'A')];
    letters.as_bytes().chunks(2).map(|pair| u16::from_be_bytes([byte(pair[0]), byte(pair[1])])).collect()
}

#[test]
fn type_order_and_address_of_each_type_are_found_in_one_call() {
    let dir = tempfile::tempdir().unwrap();
    let mut cases: Vec<(&str, &str, Vec<u16>)> = vec![("u8", "high", vec![0xEB5A]), ("i8", "low", vec![0x5A17])];
    for (kind, bytes) in [
        ("i16", (-235i16).to_be_bytes().to_vec()),
        ("u16", 235u16.to_be_bytes().to_vec()),
        ("i32", (-235i32).to_be_bytes().to_vec()),
        ("u32", 235u32.to_be_bytes().to_vec()),
        ("i64", (-235i64).to_be_bytes().to_vec()),
        ("u64", 235u64.to_be_bytes().to_vec()),
        ("f16", vec![0x4D, 0xE0]),
        ("f32", (-23.5f32).to_be_bytes().to_vec()),
        ("f64", (-23.5f64).to_be_bytes().to_vec()),
        ("bcd16", vec![0x02, 0x35]),
        ("bcd32", vec![0, 0, 0x02, 0x35]),
    ] {
        let width = u16::try_from(bytes.len() / 2).unwrap();
        for (letters, _, _) in ByteOrder::ALL.into_iter().filter(|(_, words, _)| *words == width) {
            cases.push((kind, letters, sent(letters, &bytes)));
        }
    }
    assert!(cases.len() > 40);
    for (number, (kind, order, words)) in cases.into_iter().enumerate() {
        let expected = match kind {
            "i8" => "23",
            "i16" | "i32" | "i64" | "f32" | "f64" => "-23.5",
            _ => "23.5",
        };
        // The register before the one that is asked for, that one, and the one behind it.
        let at = 99 + number % 3;
        let port = dir.path().join(format!("tty{number}"));
        let word = move |_, address: u16| {
            usize::from(address).checked_sub(at).and_then(|index| words.get(index).copied()).unwrap_or(0x5AA5)
        };
        let bus = Bus::with_words(&port, 115_200, Duration::from_millis(1), |_| Act::Answer, word).unwrap();
        let line = [
            "probe",
            bus.address(),
            "--unit",
            "1",
            "--at",
            "holding:100",
            "--count",
            "6",
            "--expect",
            expected,
            "--json",
        ];
        let ended = programs().run("sandan-gateway", &line).unwrap();
        assert_eq!(ended.code, Some(0), "{kind} {order}: {}", ended.stderr);
        let found: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let is_it = |row: &serde_json::Value| row["type"] == kind && row["order"] == order && row["address"] == at;
        assert!(found.as_array().unwrap().iter().any(is_it), "{kind} {order} at {at} is not in {found}");
        assert_eq!(bus.asked().len(), 1, "one request is enough");
    }
}
