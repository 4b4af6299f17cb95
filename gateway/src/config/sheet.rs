//! What a spreadsheet exports: bytes in one of the encodings that it may choose, to rows of
//! cells that know where they stand.
//!
//! Excel writes "CSV" in the code page of the machine (CP949 in Korea), "CSV UTF-8" with a
//! byte-order mark, and "Unicode text" in UTF-16 with tabs; others write UTF-8. All of them
//! are taken, told apart by their bytes. Sizes are bounded, nothing panics. Pure.

use encoding_rs::{EUC_KR, UTF_16BE, UTF_16LE};

/// Largest sheet: the most signals of a gateway, in rows of a hundred bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Most rows: a signal each, and some to spare for titles.
pub const MAX_ROWS: usize = 50_000;
/// Most columns: all that a signal has, and as many that nobody reads.
const MAX_COLUMNS: usize = 64;
/// Longest cell.
const MAX_CELL_BYTES: usize = 4_096;

/// The text of a sheet and its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The text, decoded, without a byte-order mark.
    pub text: String,
    /// What it was written in.
    pub encoding: &'static str,
    /// What stands between cells.
    pub separator: char,
    /// Rows with something in them.
    pub rows: Vec<Row>,
}

/// A row of cells, without those at its end that are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As a spreadsheet counts it, from 1.
    pub number: usize,
    /// From column A on.
    pub cells: Vec<Cell>,
}

/// What a cell says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Without quotes, and without white space at its ends.
    pub text: String,
    /// The byte of [`Sheet::text`] at which it begins.
    pub at: usize,
}

/// Why bytes are no sheet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SheetFault {
    /// Too much.
    #[error("{what} has {size}, more than {most}")]
    TooLarge {
        /// The whole, a row or a cell.
        what: String,
        /// How much.
        size: usize,
        /// The bound.
        most: usize,
    },
    /// In none of the encodings that are known.
    #[error("line {line} is neither UTF-8 nor EUC-KR (CP949)")]
    Encoding {
        /// From 1.
        line: usize,
    },
    /// UTF-16 that is cut, or does not say its byte order.
    #[error("it is UTF-16 that is damaged, or has no byte-order mark")]
    Utf16,
    /// A spreadsheet's own file.
    #[error("it is a spreadsheet's own file, not a CSV")]
    Workbook,
    /// A quote that does not end, or text behind one.
    #[error("the quotes of line {line}, column {column}, are not in pairs")]
    Quotes {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
}

impl Sheet {
    /// Reads a sheet.
    pub fn read(bytes: &[u8]) -> Result<Self, SheetFault> {
        if bytes.len() > MAX_BYTES {
            return Err(SheetFault::TooLarge { what: "it".into(), size: bytes.len(), most: MAX_BYTES });
        }
        let (mut text, encoding) = decode(bytes)?;
        if !text.contains('\n') && text.contains('\r') {
            // As some spreadsheets end lines on a Mac.
            text = text.replace('\r', "\n");
        }
        let (from, separator) = separator(&text);
        let rows = rows(&text, from, separator)?;
        Ok(Self { text, encoding, separator, rows })
    }

    /// Where each cell begins, and what a spreadsheet calls it: `C12`.
    pub fn names(&self) -> Vec<(usize, String)> {
        let cells = self.rows.iter().flat_map(|row| row.cells.iter().enumerate().map(|cell| (row.number, cell)));
        cells.map(|(row, (column, cell))| (cell.at, format!("{}{row}", letters(column)))).collect()
    }
}

/// What a spreadsheet calls a column.
fn letters(column: usize) -> String {
    let letter = |index: usize| char::from(b'A' + u8::try_from(index % 26).unwrap_or_default());
    match column / 26 {
        0 => letter(column).to_string(),
        more => format!("{}{}", letters(more - 1), letter(column)),
    }
}

fn decode(bytes: &[u8]) -> Result<(String, &'static str), SheetFault> {
    /// Where UTF-16 of any language has a NUL: a digit, a comma, an end of line.
    const SAMPLE: usize = 1_024;
    let owned = |text: std::borrow::Cow<'_, str>| text.into_owned();
    if let Some(bytes) = bytes.strip_prefix(b"\xFF\xFE") {
        let text = UTF_16LE.decode_without_bom_handling_and_without_replacement(bytes).map(owned);
        return Ok((text.ok_or(SheetFault::Utf16)?, "UTF-16LE"));
    }
    if let Some(bytes) = bytes.strip_prefix(b"\xFE\xFF") {
        let text = UTF_16BE.decode_without_bom_handling_and_without_replacement(bytes).map(owned);
        return Ok((text.ok_or(SheetFault::Utf16)?, "UTF-16BE"));
    }
    // A zip archive, and what Excel wrote before those.
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\xD0\xCF\x11\xE0") {
        return Err(SheetFault::Workbook);
    }
    if bytes.iter().take(SAMPLE).any(|byte| *byte == 0) {
        return Err(SheetFault::Utf16);
    }
    let plain = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if let Ok(text) = str::from_utf8(plain) {
        return Ok((text.to_owned(), "UTF-8"));
    }
    if let Some(text) = EUC_KR.decode_without_bom_handling_and_without_replacement(plain) {
        return Ok((text.into_owned(), "EUC-KR (CP949)"));
    }
    // No byte of a Korean character is an end of line.
    let is_good = |line: &[u8]| EUC_KR.decode_without_bom_handling_and_without_replacement(line).is_some();
    let bad = plain.split(|byte| *byte == b'\n').position(|line| !is_good(line)).unwrap_or_default();
    Err(SheetFault::Encoding { line: bad + 1 })
}

/// Where the rows begin, and the separator: what `sep=` says, or what the first line with
/// any has most of.
fn separator(text: &str) -> (usize, char) {
    const SEPARATORS: [char; 3] = [',', ';', '\t'];
    if let Some(rest) = text.strip_prefix("sep=")
        && let Some(said) = rest.chars().next()
        && let Some(end) = rest.find('\n')
    {
        return (4 + end + 1, said);
    }
    let mut is_quoted = false;
    let mut found = [0; SEPARATORS.len()];
    for c in text.chars() {
        is_quoted ^= c == '"';
        match SEPARATORS.iter().position(|known| *known == c) {
            Some(index) if !is_quoted => found[index] += 1,
            None if c == '\n' && !is_quoted && found.iter().any(|count| *count > 0) => break,
            _ => {}
        }
    }
    // Of equally many the first: a comma.
    let best = (0..found.len()).rev().max_by_key(|index| found[*index]).unwrap_or_default();
    (0, SEPARATORS[best])
}

fn rows(text: &str, from: usize, separator: char) -> Result<Vec<Row>, SheetFault> {
    let mut rows = Vec::new();
    let mut number = usize::from(from > 0);
    let mut rest = from;
    while rest < text.len() {
        number += 1;
        let (cells, next) = row(text, rest, separator)?;
        rest = next;
        if cells.len() > MAX_COLUMNS {
            return Err(SheetFault::TooLarge { what: format!("row {number}"), size: cells.len(), most: MAX_COLUMNS });
        }
        if cells.is_empty() {
            continue;
        }
        if rows.len() == MAX_ROWS {
            return Err(SheetFault::TooLarge { what: "it".into(), size: rows.len() + 1, most: MAX_ROWS });
        }
        rows.push(Row { number, cells });
    }
    Ok(rows)
}

/// The cells of one row, and where the next begins.
fn row(text: &str, from: usize, separator: char) -> Result<(Vec<Cell>, usize), SheetFault> {
    let mut cells = Vec::new();
    let mut at = from;
    loop {
        let (raw, end) = cell(text, at, separator)?;
        let shown = raw.trim();
        if shown.len() > MAX_CELL_BYTES {
            let what = format!("a cell of line {}", text[..at].matches('\n').count() + 1);
            return Err(SheetFault::TooLarge { what, size: shown.len(), most: MAX_CELL_BYTES });
        }
        // Where what is shown begins, so that a fault stands on it.
        let blank = if text[at..].starts_with('"') { 1 } else { raw.len() - raw.trim_start().len() };
        cells.push(Cell { text: shown.into(), at: at + blank });
        match text[end..].chars().next() {
            Some(next) if next == separator => at = end + separator.len_utf8(),
            Some('\r') => {
                drop_empty(&mut cells);
                return Ok((cells, end + 2));
            }
            Some(_) => {
                drop_empty(&mut cells);
                return Ok((cells, end + 1));
            }
            None => {
                drop_empty(&mut cells);
                return Ok((cells, end));
            }
        }
    }
}

fn drop_empty(cells: &mut Vec<Cell>) {
    while cells.last().is_some_and(|cell| cell.text.is_empty()) {
        cells.pop();
    }
}

/// What one cell says, and where it ends: before a separator, or the end of the line.
fn cell(text: &str, at: usize, separator: char) -> Result<(String, usize), SheetFault> {
    let rest = &text[at..];
    let ends = |c: char| c == separator || c == '\n';
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(ends).unwrap_or(rest.len());
        let line_end = if rest[end..].starts_with('\n') && rest[..end].ends_with('\r') { end - 1 } else { end };
        return Ok((rest[..line_end].to_owned(), at + line_end));
    };
    let fault = || {
        let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[..at].matches('\n').count() + 1;
        SheetFault::Quotes { line, column: text[line_start..at].chars().count() + 1 }
    };
    let mut said = String::new();
    let mut inside = quoted;
    loop {
        let quote = inside.find('"').ok_or_else(fault)?;
        said.push_str(&inside[..quote]);
        inside = &inside[quote + 1..];
        let Some(more) = inside.strip_prefix('"') else { break };
        said.push('"');
        inside = more;
    }
    let end = text.len() - inside.len();
    let is_over = inside.is_empty() || inside.starts_with(ends) || inside.starts_with("\r\n");
    if is_over { Ok((said, end)) } else { Err(fault()) }
}

#[cfg(test)]
mod tests;
