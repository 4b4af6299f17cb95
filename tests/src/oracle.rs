//! The oracle: one account of where every reading went.
//!
//! *generated = stored + in declared gaps + dead-lettered + gone with a spool that was
//! refused*, by series and time. What a plant or a load generator gave away comes in as
//! [`Row`]s: values of one moment that share a serial number. What the owner reads back,
//! the declared gaps and the dead letters come in as the ingest tells them, and what the
//! test did comes in as [`Window`]s: a loss without a window that explains it, or a gap
//! that is wider than its window, is a fault of the product.
//!
//! Pure: it knows neither programs nor files. `oracle::ask` fetches what it compares.

use std::collections::{BTreeMap, HashMap, HashSet};

use sandan_proto::reading::Value;
use serde::Serialize;

pub mod ask;
pub mod stall;

/// Stored times are rounded to 1 ms, the offset of the boot clock to 1 ms, and a wall
/// clock that is being slewed moves 0.5 ms a second against it: what two clocks of one
/// machine may differ by over a run of minutes.
pub const CLOCK_TOLERANCE_US: i64 = 100_000;
/// Faults that are told in words; the counts hold all.
const TOLD: usize = 12;

/// The values of one moment: an answer of a machine, a message, a row of the generator.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which [`Source`] gave it.
    pub source: usize,
    /// Its number, of its own among the rows of its source.
    pub serial: i64,
    /// When it was given away, µs since 1970.
    pub at_us: i64,
    /// Series and value, without the serial number.
    pub values: Vec<(usize, Value)>,
}

/// What gives rows away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// For people.
    pub name: String,
    /// The series that carries the serial number.
    pub serial: usize,
    /// Whether it gives again what was not synced: a broker keeps a message until then. What
    /// was not synced is no loss of such a source, and its rows may come late.
    pub repeats: bool,
}

/// A reading as its owner reads it back.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Which series.
    pub series: usize,
    /// Observation time, µs since 1970.
    pub time_us: i64,
    /// Without bad readings.
    pub value: Value,
}

/// Why readings are missing, as the gap says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Cause {
    Restart,
    SpoolFull,
    DiskFull,
    Damaged,
    ReplayWindow,
}

/// A declared gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub cause: Cause,
    /// The last reading before, µs since 1970, where it is known.
    pub from_us: Option<i64>,
    /// The first reading after.
    pub to_us: Option<i64>,
    /// How many readings; unknown for a restart.
    pub readings: Option<u64>,
}

/// What a test did, and the loss that it explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// How the loss has to be told.
    pub told: Told,
    /// The earliest and the latest row that may be lost, µs since 1970.
    pub rows: (i64, i64),
    /// How far the gap may reach: from the last reading before to the first one after.
    pub gap: (i64, i64),
    /// Whether it explains the loss of what had been synced, too.
    pub synced: bool,
}

/// How a loss is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By a gap of this cause.
    Gap(Cause),
    /// By the refusal of a spool that is a copy or an old state, until a person let it in.
    Refusal,
}

/// Everything that is compared.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// Names of the series, for people.
    pub series: Vec<String>,
    /// What gave rows away.
    pub sources: Vec<Source>,
    /// What was given away.
    pub rows: Vec<Row>,
    /// What is stored.
    pub stored: Vec<Stored>,
    /// What is declared.
    pub gaps: Vec<Gap>,
    /// Readings that were put aside with a reason.
    pub dead: u64,
    /// What the test did.
    pub windows: Vec<Window>,
    /// How far stored times may be off, µs, where a test set a clock.
    pub clock_off_us: i64,
}

/// The sum, in readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Given away.
    pub generated: u64,
    /// Read back once, as they were.
    pub stored: u64,
    /// Missing and declared.
    pub in_gaps: u64,
    /// Missing and put aside with a reason.
    pub dead: u64,
    /// Missing with a spool that was refused.
    pub gone: u64,
    /// Missing without a word.
    pub lost: u64,
    /// Read back more than once.
    pub doubled: u64,
    /// Read back as something else, or never given away.
    pub changed: u64,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

impl Sum {
    /// Whether every reading is where the product says it is.
    pub fn is_exact(&self) -> bool {
        self.faults.is_empty()
            && self.generated == self.stored + self.in_gaps + self.dead + self.gone
            && self.lost + self.doubled + self.changed == 0
    }
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.generated += other.generated;
        self.stored += other.stored;
        self.in_gaps += other.in_gaps;
        self.dead += other.dead;
        self.gone += other.gone;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.changed += other.changed;
        self.faults.extend(other.faults.iter().cloned());
    }
    fn fault(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < TOLD {
            self.faults.push(words());
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { generated, stored, in_gaps, dead, gone, lost, doubled, changed, faults } = self;
        write!(
            f,
            "{generated} generated = {stored} stored + {in_gaps} in gaps + {dead} dead-lettered + {gone} gone with a \
             refused spool; {lost} lost, {doubled} doubled, {changed} changed"
        )?;
        faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// JSON shows 820.0 and 820 alike.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|value| other.as_f64() == Some(value))
}

/// Readings of one series by time.
type Column<'a> = HashMap<i64, Vec<&'a Value>>;

impl Case {
    /// The sum.
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        let mut columns: Vec<Column<'_>> = vec![Column::new(); self.series.len()];
        for reading in &self.stored {
            columns[reading.series].entry(reading.time_us).or_default().push(&reading.value);
        }
        let mut missing = Vec::new();
        for (at, source) in self.sources.iter().enumerate() {
            let times = serials(&mut columns[source.serial]);
            self.compare(at, times, &mut columns, &mut missing, &mut sum);
        }
        for (series, column) in columns.iter().enumerate() {
            for (time_us, values) in column {
                sum.changed += values.len() as u64;
                sum.fault(|| format!("{} at {time_us} reads {values:?}, which nobody gave away", self.series[series]));
            }
        }
        self.excuse(&missing, &mut sum);
        self.check_gaps(&mut sum);
        sum
    }

    /// Which rows are stored, by source and serial number.
    pub fn stored_rows(&self) -> HashSet<(usize, i64)> {
        let of = |reading: &Stored| match reading.value {
            Value::I64(serial) => {
                let source = self.sources.iter().position(|source| source.serial == reading.series)?;
                Some((source, serial))
            }
            _ => None,
        };
        self.stored.iter().filter_map(of).collect()
    }

    /// Takes what is stored of one source out of the columns.
    fn compare<'a>(
        &'a self,
        source: usize,
        mut times: BTreeMap<i64, Vec<i64>>,
        columns: &mut [Column<'_>],
        missing: &mut Vec<(&'a Row, u64)>,
        sum: &mut Sum,
    ) {
        let name = &self.sources[source].name;
        // What a broker gives again comes in a heap: several rows of one moment.
        let mut moments: Vec<i64> = times.values().flatten().copied().collect();
        moments.sort_unstable();
        let crowded: HashSet<i64> = moments.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        for row in self.rows.iter().filter(|row| row.source == source) {
            sum.generated += 1 + row.values.len() as u64;
            let Some(stored_at) = times.remove(&row.serial) else {
                missing.push((row, 1 + row.values.len() as u64));
                continue;
            };
            sum.stored += 1;
            if stored_at.len() > 1 {
                sum.doubled += stored_at.len() as u64 - 1;
                sum.fault(|| format!("{name} gave row {} once, and it is stored at {stored_at:?}", row.serial));
            }
            let time_us = stored_at[0];
            let late_us = if self.sources[source].repeats { REPEATED_LATE_US } else { LATE_US };
            let slack_us = CLOCK_TOLERANCE_US.max(self.clock_off_us) + LATE_US;
            if !(row.at_us - slack_us..=row.at_us + slack_us.max(late_us)).contains(&time_us) {
                sum.fault(|| format!("{name} gave row {} at {}, stored at {time_us}", row.serial, row.at_us));
            }
            let mut absent = 0;
            for (series, value) in &row.values {
                // Of a row that is stored twice, each value is taken twice.
                let found: Vec<_> = stored_at
                    .iter()
                    .flat_map(|time_us| taken(&mut columns[*series], *time_us, value, crowded.contains(time_us)))
                    .collect();
                match found.as_slice() {
                    [] => absent += 1,
                    [one] if same(one, value) => sum.stored += 1,
                    [one] => {
                        sum.changed += 1;
                        sum.fault(|| {
                            format!("{} of row {} is {value:?}, stored {one:?}", self.series[*series], row.serial)
                        });
                    }
                    more => {
                        sum.stored += 1;
                        sum.doubled += more.len() as u64 - 1;
                        sum.fault(|| format!("{} of row {} is stored as {more:?}", self.series[*series], row.serial));
                    }
                }
            }
            if absent > 0 {
                missing.push((row, absent));
            }
        }
        for (serial, at) in times {
            sum.changed += at.len() as u64;
            sum.fault(|| format!("{name} never gave row {serial}, stored at {at:?}"));
        }
    }

    /// Places what is missing: into gaps without a size by time, the rest by the sizes of
    /// the other gaps, of the dead letters, and of what a refused spool took with it.
    fn excuse(&self, missing: &[(&Row, u64)], sum: &mut Sum) {
        let slack = CLOCK_TOLERANCE_US.max(self.clock_off_us);
        let mut sized: u64 = self.gaps.iter().filter_map(|gap| gap.readings).sum();
        let mut dead = self.dead;
        // What is within the clocks' tolerance of a restart gap may lie in it, or be part of
        // the gap with a size that ends there.
        let mut at_an_edge = 0;
        // What lies in a gap without a size by its time may have been put aside instead: two
        // gateways read one machine.
        let mut in_unsized = 0;
        let mut unplaced: Vec<(&Row, u64)> = Vec::new();
        for &(row, readings) in missing {
            let repeats = self.sources[row.source].repeats;
            let explained = |told: Told| {
                self.windows.iter().any(|window| {
                    window.told == told
                        && (window.synced || !repeats)
                        && (window.rows.0..=window.rows.1).contains(&row.at_us)
                })
            };
            let unsized_gap = self.gaps.iter().find(|gap| {
                gap.readings.is_none()
                    && gap.from_us.is_none_or(|from| from - slack <= row.at_us)
                    && gap.to_us.is_none_or(|to| row.at_us <= to + slack)
                    && explained(Told::Gap(gap.cause))
            });
            if let Some(gap) = unsized_gap {
                in_unsized += readings;
                let is_inside = gap.from_us.is_none_or(|from| from + slack < row.at_us)
                    && gap.to_us.is_none_or(|to| row.at_us < to - slack);
                if !is_inside {
                    at_an_edge += readings;
                }
            } else if explained(Told::Refusal) {
                sum.gone += readings;
            } else {
                unplaced.push((row, readings));
            }
        }
        for (row, readings) in unplaced {
            if sized >= readings {
                sized -= readings;
                sum.in_gaps += readings;
            } else if sized + dead >= readings {
                sum.in_gaps += sized;
                sum.dead += readings - sized;
                dead -= readings - sized;
                sized = 0;
            } else {
                sum.lost += readings;
                sum.fault(|| {
                    let source = &self.sources[row.source].name;
                    format!(
                        "{source} gave row {} at {}, and {readings} readings of it are nowhere",
                        row.serial, row.at_us
                    )
                });
            }
        }
        if sized > at_an_edge {
            sum.fault(|| format!("gaps declare {sized} readings more than are missing"));
        }
        let aside = dead.min(in_unsized);
        sum.in_gaps += in_unsized - aside;
        sum.dead += aside;
        dead -= aside;
        if dead > 0 {
            sum.fault(|| format!("{dead} readings more are dead-lettered than are missing"));
        }
    }

    /// No gap is wider than what explains it.
    fn check_gaps(&self, sum: &mut Sum) {
        let slack = CLOCK_TOLERANCE_US.max(self.clock_off_us);
        for gap in &self.gaps {
            let fits = |&(earliest, latest): &(i64, i64)| {
                gap.from_us.is_none_or(|from| from >= earliest - slack)
                    && gap.to_us.is_none_or(|to| to <= latest + slack)
            };
            if !reaches(&self.windows, gap.cause).iter().any(fits) {
                sum.fault(|| format!("nothing explains {gap:?}; windows {:?}", self.windows));
            }
        }
    }
}

/// How far gaps of a cause may reach. Windows that touch are one: a gateway that ends
/// before its first sync leaves one gap for both of its ends.
fn reaches(windows: &[Window], cause: Cause) -> Vec<(i64, i64)> {
    let of_cause = windows.iter().filter(|window| window.told == Told::Gap(cause));
    let mut all: Vec<(i64, i64)> = of_cause.map(|window| window.gap).collect();
    all.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in all {
        match joined.last_mut() {
            Some(last) if last.1 >= from => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// A reply may be late by this, µs, on a machine that is busy with several runs.
const LATE_US: i64 = 2_000_000;

/// What a broker kept while the gateway was away comes when it is back.
const REPEATED_LATE_US: i64 = 60_000_000;

/// Takes the readings of one moment out of a column: all of them, or, where several rows
/// share the moment, the one that is as it should be.
fn taken<'a>(column: &mut Column<'a>, time_us: i64, value: &Value, is_crowded: bool) -> Vec<&'a Value> {
    if !is_crowded {
        return column.remove(&time_us).unwrap_or_default();
    }
    let Some(values) = column.get_mut(&time_us) else { return Vec::new() };
    let Some(at) = values.iter().position(|one| same(one, value)) else { return Vec::new() };
    let found = values.swap_remove(at);
    if values.is_empty() {
        column.remove(&time_us);
    }
    vec![found]
}

/// Where each serial number is stored; takes them out.
fn serials(column: &mut Column<'_>) -> BTreeMap<i64, Vec<i64>> {
    let mut times: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (time_us, values) in std::mem::take(column) {
        for value in values {
            if let Value::I64(serial) = value {
                times.entry(*serial).or_default().push(time_us);
            }
        }
    }
    times
}

#[cfg(test)]
mod tests;
