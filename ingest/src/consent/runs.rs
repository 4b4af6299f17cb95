//! What a firm says of its runs: in a table, and by a tag of the machine.
//!
//! Pure. It promises that a run which is made of a tag begins and ends where readings say so: what
//! is not known to belong to it is left out, so that whoever may read a run reads nothing else.

use std::collections::HashMap;

use super::{Run, has_hidden};
use crate::time::{parse_time, rfc3339};

/// Longest number of a run, and longest name of a customer.
const MAX_NAME_CHARS: usize = 100;
/// Columns of a table, each by its names.
const COLUMNS: [(&str, &str); 5] =
    [("asset", "설비"), ("id", "번호"), ("customer", "고객"), ("from", "시작"), ("to", "끝")];

/// Why runs are not taken. Nothing of the table is then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunFault {
    /// The first line names the columns.
    #[error("line 1: the columns are asset, id, customer, from and to, in any order")]
    Columns,
    /// Not so many cells as columns, or a quote that does not end.
    #[error("line {line}: it has not as many cells as line 1, or a quote that does not end")]
    Cells {
        /// From 1 on.
        line: usize,
    },
    /// What one line says.
    #[error("line {line}: {what}")]
    Line {
        /// From 1 on.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

impl Run {
    /// Why a firm cannot note it under a number; none: it can. An end that is yet to come would
    /// let others read what is not known to belong to it.
    pub fn fault(&self, id: &str, now_us: i64) -> Option<&'static str> {
        let named = |name: &str| {
            let length = name.trim().chars().count();
            (1..=MAX_NAME_CHARS).contains(&length) && !name.chars().any(char::is_control) && !has_hidden(name)
        };
        if !named(id) || !named(&self.customer) {
            return Some("a number and a customer have 1 to 100 printable characters, and none that cannot be seen");
        }
        match self.to_us {
            Some(to_us) if to_us <= self.from_us => Some("a run ends after it began"),
            Some(to_us) if to_us > now_us => Some("the end of a run is noted once it has ended"),
            None if self.from_us > now_us => Some("a run is noted once it has begun"),
            _ => None,
        }
    }
}

/// The runs of a table: CSV (RFC 4180), UTF-8, with the names of its columns in the first line.
pub fn table(text: &str, now_us: i64) -> Result<Vec<(String, Run)>, RunFault> {
    let mut lines = cells(text.trim_start_matches('\u{feff}'))?.into_iter();
    let (_, head) = lines.next().ok_or(RunFault::Columns)?;
    let at = |(english, korean): (&str, &str)| {
        let is = |cell: &String| cell.trim().eq_ignore_ascii_case(english) || cell.trim() == korean;
        head.iter().position(is).ok_or(RunFault::Columns)
    };
    let columns = COLUMNS.map(at);
    let [Ok(asset), Ok(id), Ok(customer), Ok(from), Ok(to)] = columns else { return Err(RunFault::Columns) };
    if head.len() != COLUMNS.len() {
        return Err(RunFault::Columns);
    }
    let mut runs = Vec::new();
    let mut seen = HashMap::new();
    for (line, cells) in lines {
        if cells.len() != head.len() {
            return Err(RunFault::Cells { line });
        }
        let wrong = |what: String| RunFault::Line { line, what };
        let time = |text: &str| parse_time(text, now_us).map_err(|error| wrong(error.to_string()));
        let cell = |at: usize| cells[at].trim();
        let ends = Some(cell(to)).filter(|text| !text.is_empty()).map(time).transpose()?;
        let asset = cell(asset).parse().map_err(|_| wrong(format!("`{}` is no machine", cell(asset))))?;
        let run = Run { asset, customer: cell(customer).to_owned(), from_us: time(cell(from))?, to_us: ends };
        if let Some(fault) = run.fault(cell(id), now_us) {
            return Err(wrong(fault.to_owned()));
        }
        if let Some(before) = seen.insert((run.asset.clone(), cell(id).to_owned()), line) {
            return Err(wrong(format!("the run stands in line {before} already")));
        }
        runs.push((cell(id).to_owned(), run));
    }
    Ok(runs)
}

/// Lines that are not empty, with their numbers, as cells.
fn cells(text: &str) -> Result<Vec<(usize, Vec<String>)>, RunFault> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut quoted) = (1, 1, false);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' if quoted && signs.peek() == Some(&'"') => {
                signs.next();
                cell.push('"');
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push((begun, std::mem::take(&mut row)));
                begun = line + 1;
            }
            '\r' if !quoted && signs.peek() == Some(&'\n') => {}
            sign => cell.push(sign),
        }
        line += usize::from(sign == '\n');
    }
    if quoted {
        return Err(RunFault::Cells { line: begun });
    }
    row.push(cell);
    rows.push((begun, row));
    rows.retain(|(_, row)| row.iter().any(|cell| !cell.trim().is_empty()));
    Ok(rows)
}

/// What a tag says over time, and the runs that come of it.
///
/// A run begins with the first reading of a lot after one of another lot or of none, and ends with
/// the first that says otherwise, or where it is not known what the tag said. One that was going on
/// when the readings begin is left out: its beginning is not known.
#[derive(Debug, Default)]
pub struct TagRuns {
    /// Whether there was a reading.
    begun: bool,
    /// What the last one named.
    lot: Option<String>,
    runs: Vec<LotRun>,
}

/// A stretch of time in which a tag named a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LotRun {
    /// What the tag said.
    pub lot: String,
    /// µs since 1970.
    pub from_us: i64,
    /// Exclusive; none where it goes on.
    pub to_us: Option<i64>,
}

impl LotRun {
    /// The number that it goes by: the same however often the tag is looked at.
    pub fn id(&self) -> String {
        format!("{}@{}", self.lot, rfc3339(self.from_us))
    }
}

impl TagRuns {
    /// Takes the next reading in, in the order of time; none: no lot, or not known.
    pub fn push(&mut self, time_us: i64, lot: Option<&str>) {
        if self.begun && self.lot.as_deref() == lot {
            return;
        }
        if let Some(open) = self.runs.last_mut().filter(|run| run.to_us.is_none()) {
            open.to_us = Some(time_us);
        }
        // Of readings of one time the last holds.
        self.runs.pop_if(|run| run.to_us == Some(run.from_us));
        if let (true, Some(lot)) = (self.begun, lot) {
            self.runs.push(LotRun { lot: lot.to_owned(), from_us: time_us, to_us: None });
        }
        (self.begun, self.lot) = (true, lot.map(str::to_owned));
    }

    /// The runs, in order of time.
    pub fn runs(self) -> Vec<LotRun> {
        self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND_US;

    const NOW: i64 = 1_772_409_600 * SECOND_US;

    #[test]
    fn a_table_is_taken_whole_or_not_at_all_and_says_where_it_is_wrong() {
        let text = "\u{feff}번호,설비,고객,시작,끝\r\n\
                    L1,press-1,\"새솔, 본사\",2026-03-01T00:00:00Z,2026-03-01T01:00:00Z\r\n\r\n\
                    L2,press-1,대한,2026-03-01T01:00:00Z,\r\n";
        let runs = table(text, NOW).unwrap();
        assert_eq!((runs.len(), runs[0].0.as_str(), runs[0].1.customer.as_str()), (2, "L1", "새솔, 본사"));
        assert_eq!((runs[0].1.to_us.unwrap() - runs[0].1.from_us, runs[1].1.to_us), (3_600 * SECOND_US, None));
        let head = "asset,id,customer,from,to\n";
        let good = "press-1,L1,a,2026-03-01T00:00:00Z,2026-03-01T01:00:00Z\n";
        for (rest, part) in [
            ("press-1,L2,a,2026-03-01T00:00:00Z", "line 3: it has not as many cells"),
            ("press-1,L2,a,\"2026-03-01T00:00:00Z,", "line 3: it has not as many cells"),
            ("press-1,L1,b,2026-03-01T00:00:00Z,", "line 3: the run stands in line 2 already"),
            ("press-1,L2,a,2026-03-01T00:00:00Z,2026-03-01T00:00:00Z", "line 3: a run ends after it began"),
            ("press-1,L2,a,2026-03-01T00:00:00Z,2026-03-03T00:00:00Z", "line 3: the end of a run is noted once"),
            ("press-1,L2,a,2026-03-03T00:00:00Z,", "line 3: a run is noted once it has begun"),
            ("press-1,L2,,2026-03-01T00:00:00Z,", "line 3: a number and a customer"),
            ("Press 1,L2,a,2026-03-01T00:00:00Z,", "line 3: `Press 1` is no machine"),
            ("press-1,L2,a,yesterday,", "line 3: `yesterday` is not a time"),
        ] {
            let told = table(&format!("{head}{good}{rest}"), NOW).unwrap_err().to_string();
            assert!(told.starts_with(part), "{rest}: {told}");
        }
        for head in ["", "asset,id,customer,from\n", "asset,id,customer,from,to,more\n", "a,b,c,d,e\n"] {
            assert_eq!(table(head, NOW), Err(RunFault::Columns), "{head}");
        }
        assert_eq!(table("asset,id,customer,from,to", NOW), Ok(Vec::new()));
    }

    #[test]
    fn a_run_of_a_tag_is_where_readings_name_its_lot_and_nowhere_else() {
        let mut tag = TagRuns::default();
        let readings = [
            (0, Some("L0")),
            (1, Some("L0")),
            (2, Some("L1")),
            (3, Some("L1")),
            (4, None),
            (5, Some("L2")),
            (6, Some("L3")),
            (7, None),
            (8, Some("L3")),
            (9, Some("L4")),
            (9, Some("L5")),
        ];
        for (at, lot) in readings {
            tag.push(at, lot);
        }
        let runs: Vec<_> = tag.runs().into_iter().map(|run| (run.lot, run.from_us, run.to_us)).collect();
        let run = |lot: &str, from_us, to_us| (lot.to_owned(), from_us, to_us);
        let wanted = [
            run("L1", 2, Some(4)),
            run("L2", 5, Some(6)),
            run("L3", 6, Some(7)),
            run("L3", 8, Some(9)),
            run("L5", 9, None),
        ];
        assert_eq!(runs, wanted, "not L0, of which the beginning is not known");
    }
}
