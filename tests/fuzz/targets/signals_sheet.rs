//! Any bytes as what a spreadsheet exports.
#![no_main]

use sandan_gateway::config::sheet::Sheet;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(sheet) = Sheet::read(bytes) {
        assert_eq!(sheet.names().len(), sheet.rows.iter().map(|row| row.cells.len()).sum::<usize>());
        // A row that was read can be shown: each cell lies in the text.
        assert!(sheet.rows.iter().flat_map(|row| &row.cells).all(|cell| sheet.text.is_char_boundary(cell.at)));
    }
});
