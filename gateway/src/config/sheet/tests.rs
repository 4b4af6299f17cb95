use proptest::prelude::*;

use super::*;

fn cells(bytes: &[u8]) -> Vec<Vec<String>> {
    let sheet = Sheet::read(bytes).unwrap();
    sheet.rows.into_iter().map(|row| row.cells.into_iter().map(|cell| cell.text).collect()).collect()
}

const KOREAN: &str = "이름,주소,단위\r\n\"1호로, 온도\",40001,℃\r\n\r\n압력 ,30002\r\n";

fn utf16(text: &str, to: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(to).collect()
}

#[test]
fn every_encoding_of_a_spreadsheet_gives_the_same_cells() {
    let wanted: Vec<Vec<String>> = [&["이름", "주소", "단위"][..], &["1호로, 온도", "40001", "℃"], &["압력", "30002"]]
        .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect())
        .to_vec();
    let (cp949, _, is_lossy) = encoding_rs::EUC_KR.encode(KOREAN);
    assert!(!is_lossy);
    let tabs = KOREAN.replace(',', "\t").replace("1호로\t", "1호로,");
    let semicolons = KOREAN.replace(',', ";").replace("1호로;", "1호로,");
    for (bytes, encoding) in [
        (KOREAN.as_bytes().to_vec(), "UTF-8"),
        ([b"\xEF\xBB\xBF", KOREAN.as_bytes()].concat(), "UTF-8"),
        (cp949.into_owned(), "EUC-KR (CP949)"),
        (utf16(&tabs, u16::to_le_bytes), "UTF-16LE"),
        (utf16(KOREAN, u16::to_be_bytes), "UTF-16BE"),
        (semicolons.into_bytes(), "UTF-8"),
        (format!("sep=,\r\n{KOREAN}").into_bytes(), "UTF-8"),
        (KOREAN.replace("\r\n", "\n").into_bytes(), "UTF-8"),
        (KOREAN.replace("\r\n", "\r").into_bytes(), "UTF-8"),
    ] {
        assert_eq!(Sheet::read(&bytes).unwrap().encoding, encoding);
        assert_eq!(cells(&bytes), wanted, "{encoding}");
    }
}

#[test]
fn cells_know_their_place_and_their_name() {
    let sheet = Sheet::read(KOREAN.as_bytes()).unwrap();
    assert_eq!(sheet.rows[2].number, 4, "an empty row counts");
    let names = sheet.names();
    assert_eq!(names.last().unwrap().1, "B4");
    let (at, name) = &names[3];
    assert!(sheet.text[*at..].starts_with("1호로") && name == "A2");
    assert_eq!([0, 25, 26, 51, 52, 701, 702].map(letters), ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
    assert_eq!(cells(b"a;\"b \"\"c\"\"\nd\";  e\n"), [["a", "b \"c\"\nd", "e"]]);
}

#[test]
fn what_is_no_sheet_is_told_as_what_it_is() {
    let fault = |bytes: &[u8]| Sheet::read(bytes).unwrap_err();
    assert_eq!(fault(b"PK\x03\x04..."), SheetFault::Workbook);
    assert_eq!(fault(b"a\0,\0b\0"), SheetFault::Utf16);
    assert_eq!(fault(b"\xFF\xFEa"), SheetFault::Utf16);
    assert_eq!(fault(b"a,b\n\xC0\xCC\xB8\xA7\n\xFF\xFF,c\n"), SheetFault::Encoding { line: 3 });
    assert_eq!(fault(b"a,b\nc,\"d\n"), SheetFault::Quotes { line: 2, column: 3 });
    assert_eq!(fault(b"a,\"b\"c\n"), SheetFault::Quotes { line: 1, column: 3 });
    let wide = "x,".repeat(MAX_COLUMNS) + "x";
    assert!(matches!(fault(wide.as_bytes()), SheetFault::TooLarge { size: 65, .. }));
    let long = format!("a,{}", "b".repeat(MAX_CELL_BYTES + 1));
    assert!(matches!(fault(long.as_bytes()), SheetFault::TooLarge { .. }));
    let many = "a\n".repeat(MAX_ROWS + 1);
    assert!(matches!(fault(many.as_bytes()), SheetFault::TooLarge { .. }));
    assert!(matches!(fault(&vec![b'a'; MAX_BYTES + 1]), SheetFault::TooLarge { .. }));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(sheet) = Sheet::read(&bytes) {
            prop_assert!(sheet.names().iter().all(|(at, _)| sheet.text.is_char_boundary(*at)));
        }
    }

    #[test]
    fn quoted_cells_come_back(rows in prop::collection::vec(prop::collection::vec("[a-z가-힣,;\"\n]{1,6}", 2..5), 1..5)) {
        let written: String = rows
            .iter()
            .map(|row| row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect::<Vec<_>>().join(",") + "\n")
            .collect();
        let trimmed: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.trim().to_owned()).collect()).collect();
        let read = cells(written.as_bytes());
        // Cells of white space alone are none at a row's end.
        for (wanted, found) in trimmed.iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).zip(&read) {
            prop_assert!(wanted.starts_with(found));
            prop_assert!(wanted[found.len()..].iter().all(String::is_empty));
        }
    }
}
