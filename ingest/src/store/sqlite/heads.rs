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
            newest.iter().for_each(|&(series, time_us)| raise(known, series, time_us));
        }
    }

    /// Rows that may hold times in [from, to).
    pub(super) fn overlapping(&self, firm: i64, from_us: i64, to_us: i64) -> Vec<Head> {
        let firms = self.firms();
        let rows = firms.get(&firm).map_or(&[][..], |heads| &heads.rows);
        rows.iter().filter(|head| head.first_us < to_us && head.last_us >= from_us).copied().collect()
    }

    /// The oldest rows of a firm, at least one where there is one, up to about `bytes`.
    pub(super) fn oldest(&self, firm: i64, bytes: u64) -> Vec<Head> {
        let firms = self.firms();
        let rows = firms.get(&firm).map_or(&[][..], |heads| &heads.rows);
        let mut sum = 0;
        rows.iter()
            .take_while(|head| {
                let fits = sum < bytes;
                sum += head.bytes;
                fits
            })
            .copied()
            .collect()
    }

    /// Forgets the rows of a firm up to an id and gives their ids.
    pub(super) fn remove_through(&self, firm: i64, id: i64) -> Vec<i64> {
        let mut firms = self.firms();
        let Some(heads) = firms.get_mut(&firm) else { return Vec::new() };
        let end = heads.rows.partition_point(|head| head.id <= id);
        let gone: Vec<Head> = heads.rows.drain(..end).collect();
        heads.readings -= gone.iter().map(|head| head.readings).sum::<u64>();
        heads.bytes -= gone.iter().map(|head| head.bytes).sum::<u64>();
        gone.into_iter().map(|head| head.id).collect()
    }

    /// Readings, bytes and the oldest arrival of each firm that has rows.
    pub(super) fn waiting(&self) -> Vec<(i64, u64, u64, i64)> {
        let firms = self.firms();
        firms
            .iter()
            .filter_map(|(&firm, heads)| {
                heads.rows.first().map(|oldest| (firm, heads.readings, heads.bytes, oldest.received_us))
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
        found.iter().for_each(|(&series, &time_us)| raise(known, series, time_us));
        heads.complete = true;
    }
}

pub(super) fn raise(newest: &mut HashMap<SeriesNo, i64>, series: SeriesNo, time_us: i64) {
    let latest = newest.entry(series).or_insert(time_us);
    *latest = time_us.max(*latest);
}
