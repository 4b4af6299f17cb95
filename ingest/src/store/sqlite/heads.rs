//! Heads: in memory, per firm, which inbox rows wait for compaction and which times
//! they cover. No readings.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::SeriesNo;

/// One row of the inbox, without its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub id: i64,
    pub first_us: i64,
    pub last_us: i64,
    pub received_us: i64,
    pub readings: u64,
    pub bytes: u64,
}

/// How much some rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub rows: u64,
    pub readings: u64,
    pub bytes: u64,
}

impl Load {
    /// Whether any of it is as much as in `most`.
    pub(super) fn reaches(self, most: Self) -> bool {
        self.rows >= most.rows || self.readings >= most.readings || self.bytes >= most.bytes
    }

    /// Two times as much.
    pub(super) fn twice(self) -> Self {
        Self {
            rows: self.rows.saturating_mul(2),
            readings: self.readings.saturating_mul(2),
            bytes: self.bytes.saturating_mul(2),
        }
    }
}

/// What is known of one firm.
#[derive(Debug, Default)]
pub(super) struct FirmHeads {
    /// Ascending by id.
    pub rows: Vec<Head>,
    pub readings: u64,
    pub bytes: u64,
    /// Latest observation time of each series, followed from when somebody first asked.
    newest: Option<HashMap<SeriesNo, i64>>,
    /// Whether `newest` also knows what was stored before that.
    complete: bool,
}

impl FirmHeads {
    fn push(&mut self, head: Head) {
        self.readings += head.readings;
        self.bytes += head.bytes;
        self.rows.push(head);
    }
}

/// The heads of all firms, by firm number.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<HashMap<i64, FirmHeads>>);

impl Heads {
    fn firms(&self) -> MutexGuard<'_, HashMap<i64, FirmHeads>> {
        // Every change below leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a row that was committed, with the latest time of each of its series.
    pub(super) fn add(&self, firm: i64, head: Head, newest: &[(SeriesNo, i64)]) {
        let mut firms = self.firms();
        let heads = firms.entry(firm).or_default();
        heads.push(head);
        if let Some(known) = &mut heads.newest {
            for &(series, time_us) in newest {
                raise(known, series, time_us);
            }
        }
    }

    /// Rows that may hold times in [from, to).
    pub(super) fn overlapping(&self, firm: i64, from_us: i64, to_us: i64) -> Vec<Head> {
        let firms = self.firms();
        let rows = firms.get(&firm).map_or(&[][..], |heads| &heads.rows);
        rows.iter().filter(|head| head.first_us < to_us && head.last_us >= from_us).copied().collect()
    }

    /// The oldest rows of a firm, at least one where there is one, up to about `most`.
    pub(super) fn oldest(&self, firm: i64, most: Load) -> Vec<Head> {
        let firms = self.firms();
        let rows = firms.get(&firm).map_or(&[][..], |heads| &heads.rows);
        let mut sum = Load::default();
        rows.iter()
            .take_while(|head| {
                let fits = sum.rows == 0 || !sum.reaches(most);
                sum =
                    Load { rows: sum.rows + 1, readings: sum.readings + head.readings, bytes: sum.bytes + head.bytes };
                fits
            })
            .copied()
            .collect()
    }

    /// Forgets the rows of a firm up to an id.
    pub(super) fn remove_through(&self, firm: i64, id: i64) {
        let mut firms = self.firms();
        let Some(heads) = firms.get_mut(&firm) else { return };
        let end = heads.rows.partition_point(|head| head.id <= id);
        let gone: Vec<Head> = heads.rows.drain(..end).collect();
        heads.readings -= gone.iter().map(|head| head.readings).sum::<u64>();
        heads.bytes -= gone.iter().map(|head| head.bytes).sum::<u64>();
    }

    /// Forgets a firm.
    pub(super) fn forget(&self, firm: i64) {
        self.firms().remove(&firm);
    }

    /// What waits of each firm that has rows, and when the oldest of them came.
    pub(super) fn waiting(&self) -> Vec<(i64, Load, i64)> {
        let firms = self.firms();
        firms
            .iter()
            .filter_map(|(&firm, heads)| {
                let load = Load { rows: heads.rows.len() as u64, readings: heads.readings, bytes: heads.bytes };
                heads.rows.first().map(|oldest| (firm, load, oldest.received_us))
            })
            .collect()
    }

    /// Whether the latest times of a firm are known in full.
    pub(super) fn knows_newest(&self, firm: i64) -> bool {
        self.firms().get(&firm).is_some_and(|heads| heads.complete)
    }

    /// The latest time of each of these series.
    pub(super) fn newest(&self, firm: i64, series: &[SeriesNo]) -> Vec<Option<i64>> {
        let firms = self.firms();
        let known = firms.get(&firm).and_then(|heads| heads.newest.as_ref());
        series.iter().map(|series| known.and_then(|known| known.get(series).copied())).collect()
    }

    /// Begins to follow a firm's latest times, so that what is committed from now on
    /// is not missed while the older ones are looked up.
    pub(super) fn follow_newest(&self, firm: i64) {
        self.firms().entry(firm).or_default().newest.get_or_insert_default();
    }

    /// Adds what was looked up.
    pub(super) fn complete_newest(&self, firm: i64, found: &HashMap<SeriesNo, i64>) {
        let mut firms = self.firms();
        let heads = firms.entry(firm).or_default();
        let known = heads.newest.get_or_insert_default();
        for (&series, &time_us) in found {
            raise(known, series, time_us);
        }
        heads.complete = true;
    }
}

pub(super) fn raise(newest: &mut HashMap<SeriesNo, i64>, series: SeriesNo, time_us: i64) {
    let latest = newest.entry(series).or_insert(time_us);
    *latest = time_us.max(*latest);
}
