//! Checksums of stored records, by which a second record of the same number is told from
//! the same record that comes again.
//!
//! Of rows that wait for compaction they are in memory, taken from the rows at the start;
//! when rows go, theirs are written down in runs in the transaction that deletes them, and
//! kept for as long as a gateway keeps what was acknowledged. Nothing is written for them
//! before an acknowledgement but four bytes of the row.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use sandan_proto::id::{GatewayId, LaneId};

use super::file::failed;
use crate::store::StoreError;

/// How long they are kept after their rows were packed: a gateway keeps what was
/// acknowledged for 72 hours, and a day more for whoever is away over the weekend.
pub(super) const KEPT_US: i64 = 4 * 86_400 * 1_000_000;
/// Checksums in one run: 16 KiB, which is rewritten whenever it grows.
const RUN_SUMS: usize = 4_096;
/// Runs that are kept of one gateway, at most 16 MiB: a gateway that opens lanes without
/// end forgets the oldest of its own.
const KEPT_RUNS: i64 = 1_024;

type Runs = BTreeMap<u64, Vec<u32>>;

/// Checksums of the rows that wait for compaction, by lane and first sequence.
#[derive(Debug, Default)]
pub(super) struct Sums(Mutex<HashMap<(GatewayId, LaneId), Runs>>);

impl Sums {
    fn lanes(&self) -> MutexGuard<'_, HashMap<(GatewayId, LaneId), Runs>> {
        // Every change below leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the checksum of a record that was committed.
    pub(super) fn add(&self, gateway: &GatewayId, lane: LaneId, sequence: u64, sum: u32) {
        let mut lanes = self.lanes();
        let runs = lanes.entry((gateway.clone(), lane)).or_default();
        match runs.last_entry() {
            Some(mut last) if last.key() + last.get().len() as u64 == sequence => last.get_mut().push(sum),
            _ => drop(runs.insert(sequence, vec![sum])),
        }
    }

    /// The checksum of a record that waits.
    pub(super) fn get(&self, gateway: &GatewayId, lane: LaneId, sequence: u64) -> Option<u32> {
        let lanes = self.lanes();
        let (&first, run) = lanes.get(&(gateway.clone(), lane))?.range(..=sequence).next_back()?;
        run.get(usize::try_from(sequence - first).ok()?).copied()
    }

    /// Forgets those of a lane up to a sequence: their rows are packed.
    pub(super) fn remove_through(&self, gateway: &GatewayId, lane: LaneId, sequence: u64) {
        let mut lanes = self.lanes();
        let key = (gateway.clone(), lane);
        let Some(runs) = lanes.get_mut(&key) else { return };
        let mut later = runs.split_off(&(sequence + 1));
        if let Some((first, mut run)) = runs.pop_last() {
            let gone = usize::try_from(sequence + 1 - first).unwrap_or(usize::MAX).min(run.len());
            let rest = run.split_off(gone);
            if !rest.is_empty() {
                later.insert(sequence + 1, rest);
            }
        }
        if later.is_empty() {
            lanes.remove(&key);
        } else {
            *runs = later;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lanes().values().flat_map(BTreeMap::values).map(Vec::len).sum()
    }
}

/// Of one deleted row.
pub(super) struct Gone {
    gateway: i64,
    lane: Vec<u8>,
    sequence: u64,
    sum: Option<u32>,
}

/// A lane and the last sequence of it that was packed.
pub(super) type Packed = (GatewayId, LaneId, u64);

/// Deletes rows and writes their checksums down. Gives the lanes whose checksums are no
/// longer needed in memory.
pub(super) fn delete_rows(conn: &Connection, now_us: i64, ids: &[i64]) -> rusqlite::Result<Vec<Packed>> {
    let places = vec!["?"; ids.len()].join(",");
    let sql = format!("DELETE FROM record WHERE id IN ({places}) RETURNING gateway, lane, sequence, crc");
    let mut gone = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(ids), |row| {
            let sequence: i64 = row.get(2)?;
            Ok(Gone { gateway: row.get(0)?, lane: row.get(1)?, sequence: sequence.cast_unsigned(), sum: row.get(3)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    gone.retain(|row| row.sum.is_some());
    gone.sort_by(|one, next| (one.gateway, &one.lane, one.sequence).cmp(&(next.gateway, &next.lane, next.sequence)));
    let mut packed = Vec::new();
    for lane in gone.chunk_by(|one, next| one.gateway == next.gateway && one.lane == next.lane) {
        for run in lane.chunk_by(|one, next| one.sequence + 1 == next.sequence) {
            keep(conn, now_us, run)?;
        }
        let (Some(last), Some(id)) = (lane.last(), gateway_id(conn, lane[0].gateway)?) else { continue };
        if let Ok(lane) = LaneId::from_bytes(&last.lane) {
            packed.push((id, lane, last.sequence));
        }
        forget(conn, now_us, lane[0].gateway)?;
    }
    Ok(packed)
}

fn gateway_id(conn: &Connection, number: i64) -> rusqlite::Result<Option<GatewayId>> {
    let id: Option<String> = conn
        .prepare_cached("SELECT id FROM gateway WHERE number = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    Ok(id.and_then(|id| GatewayId::new(&id).ok()))
}

/// Writes one run down, behind the one that it follows where there is room.
fn keep(conn: &Connection, now_us: i64, run: &[Gone]) -> rusqlite::Result<()> {
    let Some(head) = run.first() else { return Ok(()) };
    let sums: Vec<u8> = run.iter().filter_map(|row| row.sum).flat_map(u32::to_le_bytes).collect();
    let first = head.sequence.cast_signed();
    let longer = conn
        .prepare_cached(
            "UPDATE checksum SET sums = CAST(sums || ?4 AS BLOB), packed_us = ?5
             WHERE number = (SELECT number FROM checksum WHERE gateway = ?1 AND lane = ?2 AND first < ?3
                             ORDER BY first DESC LIMIT 1)
               AND first + length(sums) / 4 = ?3 AND length(sums) + length(?4) <= ?6",
        )?
        .execute(params![head.gateway, head.lane, first, sums, now_us, 4 * RUN_SUMS as i64])?;
    if longer == 0 {
        conn.prepare_cached(
            "INSERT INTO checksum (gateway, lane, first, packed_us, sums) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![head.gateway, head.lane, first, now_us, sums])?;
    }
    Ok(())
}

/// Drops what is too old, and what is too much, of one gateway.
fn forget(conn: &Connection, now_us: i64, gateway: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM checksum WHERE gateway = ?1 AND (packed_us < ?2 OR number <= (
             SELECT number FROM checksum WHERE gateway = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?3))",
    )?
    .execute(params![gateway, now_us.saturating_sub(KEPT_US), KEPT_RUNS])?;
    Ok(())
}

/// The checksum of a record whose row was packed, where it is still known.
pub(super) fn packed(
    conn: &Connection,
    gateway: &GatewayId,
    lane: LaneId,
    sequence: u64,
) -> Result<Option<u32>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT first, sums FROM checksum JOIN gateway ON gateway.number = checksum.gateway
             WHERE gateway.id = ?1 AND lane = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1",
        )?
        .query_row(params![gateway.as_str(), lane.as_bytes(), sequence.cast_signed()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()
    };
    let Some((first, sums)) = find().map_err(failed("looking up a checksum"))? else { return Ok(None) };
    let index = usize::try_from(sequence - first.cast_unsigned()).unwrap_or(usize::MAX);
    let sum = sums.chunks_exact(4).nth(index).map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]));
    Ok(sum)
}
