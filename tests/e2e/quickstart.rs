//! `docs/quickstart.md` and its Korean twin: the commands as they stand there, from a sheet in
//! CP949 and a serial port to values that are those of the simulated devices.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use sandan_gateway::config::sheet::{Row, Sheet};
use sandan_tests::rtubus::{Act, Bus};

use crate::docs::{blocks, commands, headings, read, root};

/// What the sheet says of one register, and the value that the simulated device has there.
struct Known {
    name: String,
    value: serde_json::Value,
    /// Function code and address of each word, with what is in it.
    words: Vec<((u8, u16), u16)>,
}

/// A value for a row of the sheet, and the words that hold it; written apart from the gateway.
fn known(index: u16, row: &Row) -> Known {
    let cell = |column: usize| row.cells.get(column).map_or("", |cell| cell.text.as_str());
    let (name, address, kind, scale) = (cell(2).to_owned(), cell(3), cell(4), cell(6).parse::<f64>().unwrap_or(1.0));
    let (first, _) = address.split_once('~').unwrap_or((address, ""));
    let (number, bit) = first.split_once('.').unwrap_or((first, ""));
    let (function, number) = number.split_at(1);
    let function = if function == "4" { 3 } else { 4 };
    let at = number.parse::<u16>().unwrap() - 1;
    // Plausible for what it is: a frequency is near that of the mains.
    let raw = if cell(5) == "Hz" { 6_001 } else { 100 + 7 * index };
    let is_on = index.is_multiple_of(2);
    let (value, words): (serde_json::Value, Vec<u16>) = match kind {
        "BIT" => (is_on.into(), vec![u16::from(is_on) << bit.parse::<u16>().unwrap()]),
        "INT16" if index.is_multiple_of(3) => ((-f64::from(raw) * scale).into(), vec![raw.wrapping_neg()]),
        "INT16" | "UINT16" => ((f64::from(raw) * scale).into(), vec![raw]),
        "UINT32" => ((f64::from(0x0001_0000 + u32::from(raw)) * scale).into(), vec![1, raw]),
        "FLOAT" => {
            let float = f32::from(raw) / 64.0;
            (
                f64::from(float).into(),
                float.to_bits().to_be_bytes().chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect(),
            )
        }
        other => panic!("the sheet has the type {other}"),
    };
    Known { name, value, words: (at..).map(|at| (function, at)).zip(words).collect() }
}

#[test]
fn a_sheet_of_60_registers_and_a_serial_port_give_correct_values() {
    let (english, korean) = (read("docs/quickstart.md"), read("docs/quickstart.ko.md"));
    assert_eq!(headings(&english), headings(&korean));
    let (walk, same) = (blocks(&english, "", "sh"), blocks(&korean, "", "sh"));
    assert_eq!(walk.len(), 3);
    for (ours, theirs) in walk.iter().zip(&same) {
        assert_eq!(commands(ours), commands(theirs));
    }

    let bytes = std::fs::read(root().join("configs/examples/furnaces.csv")).unwrap();
    assert!(std::str::from_utf8(&bytes).is_err(), "the sheet is in CP949");
    let sheet = Sheet::read(&bytes).unwrap();
    let rows = sheet.rows.iter().filter(|row| row.cells[0].text.parse::<u16>().is_ok());
    let truth: Vec<_> = (0u16..).zip(rows).map(|(index, row)| known(index, row)).collect();
    assert_eq!(truth.len(), 60);
    let mut memory: HashMap<(u8, u16), u16> = HashMap::new();
    for (place, word) in truth.iter().flat_map(|known| &known.words) {
        // Two bits of one register.
        *memory.entry(*place).or_default() |= word;
    }

    let dir = tempfile::tempdir().unwrap();
    let port = dir.path().join("ttyUSB0");
    let words = move |asked: sandan_tests::rtubus::Asked, address| {
        memory.get(&(asked.function, address)).copied().unwrap_or_default()
    };
    let _bus = Bus::with_words(&port, 115_200, Duration::from_millis(2), |_| Act::Answer, words).unwrap();
    std::fs::write(dir.path().join("furnaces.csv"), bytes).unwrap();
    let program = dir.path().join("sandan-gateway");
    std::fs::write(&program, format!("#!/bin/sh\nexec '{}' --as sandan-gateway \"$@\"\n", env!("CARGO_BIN_EXE_demo")))
        .unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = format!("set -euo pipefail\n{}", walk.concat());
    assert!(script.contains("serial:/dev/ttyUSB0"));
    let script = script.replace("/dev/ttyUSB0", &port.display().to_string());
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let walked = Command::new("bash").args(["-c", &script]).current_dir(dir.path()).env("PATH", path).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    assert!(walked.status.success(), "{said}\n{complained}");
    assert!(complained.contains("60 taken"), "{complained}");

    let values: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("values.json")).unwrap()).unwrap();
    let values = values.as_array().unwrap();
    assert_eq!(values.len(), truth.len());
    for (known, read) in truth.iter().zip(values) {
        assert_eq!((read["signal"].as_str(), read["quality"].as_str()), (Some(known.name.as_str()), Some("good")));
        let is_right = match (known.value.as_f64(), read["value"].as_f64()) {
            (Some(wanted), Some(found)) => (wanted - found).abs() <= 1e-9 * wanted.abs(),
            _ => known.value == read["value"],
        };
        assert!(is_right, "{} is {} and was read as {}", known.name, known.value, read["value"]);
    }
}
