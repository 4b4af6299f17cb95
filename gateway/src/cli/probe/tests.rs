use super::*;

/// The words in which a device of this order sends these bytes.
fn sent(letters: &str, big_endian: &[u8]) -> Vec<u16> {
    let byte = |letter: u8| big_endian[usize::from(letter - b'A')];
    letters.as_bytes().chunks(2).map(|pair| u16::from_be_bytes([byte(pair[0]), byte(pair[1])])).collect()
}

#[test]
fn type_order_and_offset_of_each_type_are_found_in_one_call() {
    let half = |float: f64| if float < 0.0 { 0xCDE0u16 } else { 0x4DE0 };
    for (format, bytes) in [
        ("i16", (-235i16).to_be_bytes().to_vec()),
        ("u16", 235u16.to_be_bytes().to_vec()),
        ("i32", (-235i32).to_be_bytes().to_vec()),
        ("u32", 235u32.to_be_bytes().to_vec()),
        ("i64", (-235i64).to_be_bytes().to_vec()),
        ("u64", 235u64.to_be_bytes().to_vec()),
        ("f16", half(23.5).to_be_bytes().to_vec()),
        ("f32", (-23.5f32).to_be_bytes().to_vec()),
        ("f64", (-23.5f64).to_be_bytes().to_vec()),
        ("bcd16", vec![0x02, 0x35]),
        ("bcd32", vec![0, 0, 0x02, 0x35]),
    ] {
        let is_negative = format.starts_with('i') || matches!(format, "f32" | "f64");
        let expected = Expected::new(if is_negative { "-23.5" } else { "23.5" }).unwrap();
        let width = u16::try_from(bytes.len() / 2).unwrap();
        for (letters, _, _) in ByteOrder::ALL.into_iter().filter(|(_, words, _)| *words == width) {
            for offset in 0..3u16 {
                // The register before, the one that was asked for, and the one after.
                let mut words = vec![0x5AA5; usize::from(offset)];
                words.extend(sent(letters, &bytes));
                words.resize(8, 0x5AA5);
                let found = readings(99, &words, Some(expected));
                let is_it = |reading: &&Reading| {
                    (reading.address, reading.format, reading.order) == (99 + offset, format, letters)
                };
                let it = found.iter().find(is_it);
                let it = it.unwrap_or_else(|| panic!("{format} {letters} at {offset} is not in {found:?}"));
                assert!(expected.fits(it.value * it.scale), "{it:?}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_not_shown() {
    let expected = Expected::new("1234.5").unwrap();
    assert_eq!(readings(0, &[1, 2, 3, 4], Some(expected)), []);
    assert!(readings(0, &[1, 2, 3, 4], None).len() > 50, "without a value all are shown");
    let fits = |text: &str, value| Expected::new(text).unwrap().fits(value);
    assert!(fits("23.5", 23.46) && !fits("23.5", 23.56) && fits("23", 23.4) && fits("0", 0.0));
    assert!(Expected::new("warm").is_err() && Expected::new("nan").is_err());
}

#[test]
fn a_row_says_what_to_write_into_the_configuration() {
    let expected = Expected::new("23.5").unwrap();
    let found = readings(7, &[235], Some(expected));
    let row = row(Area::Input, found.iter().find(|reading| reading.format == "u16").unwrap());
    assert_eq!(row, ["input 7", "235", "type = \"u16\", byte_order = \"AB\"", "scale = 0.1"].map(str::to_owned));
}
