//! The storing of one record: epoch and watermark are read again, what does not fit
//! is dropped, the rest is stored and the watermark moves, all in one transaction.

use std::collections::BTreeMap;

use prost::Message;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::clocks;
use super::heads::Head;
use super::inbox::{Group, is_about_data, savepoint};
use crate::store::delivery::{Content, Delivery, Letter, Place, Stored, place};
use crate::store::epochs::Used;
use sandan_proto::id::BootId;
use sandan_proto::v1::DeadLetterReason;

/// Bytes of dead letters that are kept for each gateway, so that one that sends
/// nothing else cannot fill the disk. Beyond it they are only counted.
const KEPT_DEAD_BYTES: i64 = 64 << 20;
/// What one letter costs beside its record: its row and its sentence.
const LETTER_BYTES: i64 = 160;

/// Readings that one record can be said to stand for, so that no claim of a gateway
/// makes a sum overflow: a thousand years of a reading a millisecond.
const MOST_COUNTED: u64 = 1 << 45;

/// What a stored record adds to the heads.
pub(super) struct NewHead {
    pub firm: i64,
    pub head: Head,
    /// The record's checksum; none where another row of the record has it.
    pub sum: Option<u32>,
}

/// A gateway as the storing transaction sees it.
pub(super) struct Gateway {
    pub(super) number: i64,
    pub(super) firm: i64,
    granted: u64,
    used: Used,
    /// A release let its spool in, and no record of it came yet.
    let_in: bool,
}

struct Lane {
    through: u64,
    cumulative: u64,
}

/// Stores one delivery. A record that the engine refuses for what it holds is
/// dead-lettered in its place, so that it never stops its lane or its neighbours.
pub(super) fn store(
    conn: &Connection,
    group: &mut Group,
    delivery: &Delivery,
) -> rusqlite::Result<(Stored, Option<NewHead>)> {
    let Some(gateway) = gateway(conn, delivery)? else { return Ok((Stored::Superseded, None)) };
    if gateway.granted != delivery.epoch {
        return Ok((Stored::Superseded, None));
    }
    let lane = lane(conn, gateway.number, delivery)?;
    match place(lane.through, delivery.first, delivery.last) {
        Place::Duplicate => {
            let stored = forked(conn, group.now_us, &gateway, delivery, lane.through)?;
            return Ok((stored.unwrap_or(Stored::Duplicate { through: lane.through }), None));
        }
        Place::Ahead => return Ok((Stored::Ahead { through: lane.through }, None)),
        Place::Next => {}
    }
    if gateway.let_in {
        // The spool has noted its epoch: it needs no release any more.
        conn.prepare_cached("UPDATE gateway SET let_in = NULL WHERE number = ?1")?.execute([gateway.number])?;
    }
    if gateway.used.epoch != delivery.epoch {
        // A release stays in force while the other copy goes on.
        let used = Used { epoch: delivery.epoch, ..gateway.used };
        conn.prepare_cached("UPDATE gateway SET used = ?2 WHERE number = ?1")?
            .execute(params![gateway.number, used.to_column()])?;
    }
    let commit = group.commit_number(conn, gateway.firm)?;
    let now_us = group.now_us;
    match savepoint(conn, |conn| take(conn, now_us, commit, &gateway, &lane, delivery)) {
        // A transaction that the engine rolled back is the group's failure, not the record's.
        Err(error) if is_about_data(&error) && !conn.is_autocommit() => {
            tracing::warn!(gateway = %delivery.gateway, sequence = delivery.last, %error, "dead-lettered a record that the engine refused");
            let refused = refused(delivery);
            savepoint(conn, |conn| take(conn, now_us, commit, &gateway, &lane, &refused))
        }
        result => result,
    }
}

fn gateway(conn: &Connection, delivery: &Delivery) -> rusqlite::Result<Option<Gateway>> {
    conn.prepare_cached("SELECT number, firm, granted, used, let_in IS NOT NULL FROM gateway WHERE id = ?1")?
        .query_row([delivery.gateway.as_str()], |row| {
            Ok(Gateway {
                number: row.get(0)?,
                firm: row.get(1)?,
                granted: row.get::<_, i64>(2)?.cast_unsigned(),
                used: Used::from_column(row.get(3)?),
                let_in: row.get(4)?,
            })
        })
        .optional()
}

fn lane(conn: &Connection, gateway: i64, delivery: &Delivery) -> rusqlite::Result<Lane> {
    conn.prepare_cached("SELECT through, cumulative FROM lane WHERE gateway = ?1 AND lane = ?2")?
        .query_row(params![gateway, delivery.lane.as_bytes()], |row| {
            Ok(Lane {
                through: row.get::<_, i64>(0)?.cast_unsigned(),
                cumulative: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })
        .optional()
        .map(|lane| lane.unwrap_or(Lane { through: 0, cumulative: 0 }))
}

/// Puts aside what came under a number that another record has; once, however often it
/// comes. None when it is no such record.
fn forked(
    conn: &Connection,
    now_us: i64,
    gateway: &Gateway,
    delivery: &Delivery,
    through: u64,
) -> rusqlite::Result<Option<Stored>> {
    let Content::Forked { original, letter } = &delivery.content else { return Ok(None) };
    let known = conn
        .prepare_cached(
            "SELECT 1 FROM dead_record WHERE gateway = ?1 AND lane = ?2 AND sequence = ?3 AND original = ?4",
        )?
        .exists(params![gateway.number, delivery.lane.as_bytes(), delivery.last.cast_signed(), original.as_ref()])?;
    if known {
        return Ok(None);
    }
    let letters = std::slice::from_ref(letter);
    let letters = bury(conn, now_us, gateway.number, delivery, Remains { original, columns: &[] }, letters, 0)?;
    Ok(Some(Stored::Done { through, stored: 0, letters, newest_us: None }))
}

/// The same record as one that nothing but its bytes is kept of.
fn refused(delivery: &Delivery) -> Delivery {
    let original = match &delivery.content {
        Content::Batch { sealed, .. } => sealed.to_wire().encode_to_vec().into(),
        Content::Gap { gap, .. } => gap.to_wire().encode_to_vec().into(),
        Content::Dead { original, .. } | Content::Forked { original, .. } => original.clone(),
    };
    let letters = vec![Letter {
        series: None,
        count: 1,
        reason: DeadLetterReason::Undecodable,
        readings: None,
        detail: "the store's engine refused the record".into(),
    }];
    Delivery { content: Content::Dead { original, letters }, ..delivery.clone() }
}

fn take(
    conn: &Connection,
    now_us: i64,
    commit: i64,
    gateway: &Gateway,
    lane: &Lane,
    delivery: &Delivery,
) -> rusqlite::Result<(Stored, Option<NewHead>)> {
    let claimed = delivery.cumulative.unwrap_or(lane.cumulative);
    let cumulative = claimed.clamp(lane.cumulative, i64::MAX.cast_unsigned());
    // What the gateway counted since the last record: the size of a gap that was stored
    // in part, and of a record that cannot be read.
    let counted = (cumulative - lane.cumulative).min(MOST_COUNTED);
    let mut newest_us = None;
    let mut stored = 0;
    let mut head = None;
    let mut noted = Vec::new();
    match &delivery.content {
        Content::Batch { sealed, births, clock, first_us, last_us, readings, dead_columns, letters, .. } => {
            let sum = sealed.checksum();
            // Births that were cleared away while a session remembered them: it ends, and is told
            // them again.
            conn.prepare_cached("SELECT 1 FROM births WHERE number = ?1")?.query_row([births], |_| Ok(()))?;
            fix_clock(conn, now_us, gateway.number, sealed.boot)?;
            conn.prepare_cached(include_str!("sql/insert_record.sql"))?.execute(named_params! {
                ":firm": gateway.firm,
                ":gateway": gateway.number,
                ":lane": delivery.lane.as_bytes(),
                ":sequence": sealed.sequence.cast_signed(),
                ":births": births,
                ":boot": sealed.boot.as_bytes(),
                ":offset_us": clock.offset_us,
                ":cumulative": sealed.cumulative_readings.cast_signed(),
                ":commit_no": commit,
                ":received_us": now_us,
                ":first_us": first_us,
                ":last_us": last_us,
                ":readings": readings.cast_signed(),
                ":dead_columns": ordinals(dead_columns),
                ":uncertain": clock.estimated,
                ":crc": sum,
                ":payload": kept!(sealed.payload).as_ref(),
            })?;
            let (id, bytes) = (conn.last_insert_rowid(), sealed.payload.len() as u64);
            if !letters.is_empty() {
                let original = sealed.to_wire().encode_to_vec();
                let remains = Remains { original: &original, columns: dead_columns };
                noted = bury(conn, now_us, gateway.number, delivery, remains, letters, counted)?;
            }
            (stored, newest_us) = (*readings, Some(*last_us));
            let (first_us, last_us) = (*first_us, *last_us);
            head = Some(NewHead {
                firm: gateway.firm,
                head: Head { id, first_us, last_us, received_us: now_us, readings: *readings, bytes },
                sum: Some(sum),
            });
        }
        Content::Gap { gap, from_us, to_us, uncertain } => {
            // Its times and those of the readings around it are of one clock.
            for moment in [gap.from, gap.to].into_iter().flatten() {
                fix_clock(conn, now_us, gateway.number, moment.boot)?;
            }
            conn.prepare_cached(include_str!("sql/insert_gap.sql"))?.execute(named_params! {
                ":firm": gateway.firm,
                ":gateway": gateway.number,
                ":lane": delivery.lane.as_bytes(),
                ":first_sequence": lane.through.cast_signed() + 1,
                ":last_sequence": gap.last_sequence.cast_signed(),
                ":cause": i32::from(gap.cause),
                ":from_us": from_us,
                ":to_us": to_us,
                ":readings": gap.readings().min(counted).cast_signed(),
                ":received_us": now_us,
                ":uncertain": uncertain,
            })?;
        }
        Content::Dead { original, letters } => {
            let remains = Remains { original, columns: &[] };
            noted = bury(conn, now_us, gateway.number, delivery, remains, letters, counted)?;
        }
        // It does not come here: its number is at or below the watermark.
        Content::Forked { .. } => return Ok((Stored::Ahead { through: lane.through }, None)),
    }
    conn.prepare_cached(include_str!("sql/move_watermark.sql"))?.execute(named_params! {
        ":gateway": gateway.number,
        ":lane": delivery.lane.as_bytes(),
        ":through": delivery.last.cast_signed(),
        ":cumulative": cumulative.cast_signed(),
        ":readings": stored.cast_signed(),
        ":newest_us": newest_us,
        ":now_us": now_us,
    })?;
    Ok((Stored::Done { through: delivery.last, stored, letters: noted, newest_us }, head))
}

/// From the first stored record of a boot on its offset stays, for as long as records come
/// under it: a session tells it once, and may last for longer than readings are kept.
pub(super) fn fix_clock(conn: &Connection, now_us: i64, gateway: i64, boot: BootId) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE clock SET fixed = 1, seen_us = max(seen_us, ?3)
         WHERE gateway = ?1 AND boot = ?2 AND (fixed = 0 OR seen_us < ?3 - ?4)",
    )?
    .execute(params![gateway, boot.as_bytes(), now_us, clocks::SEEN_US])?;
    Ok(())
}

/// Ordinals of columns as they stand in a row.
pub(super) fn ordinals(columns: &[u32]) -> Vec<u8> {
    columns.iter().flat_map(|ordinal| ordinal.to_le_bytes()).collect()
}

/// What is put aside of a record.
#[derive(Clone, Copy)]
struct Remains<'a> {
    original: &'a [u8],
    /// Ordinals of the columns that are not stored; empty: none is.
    columns: &'a [u32],
}

/// Counts dead letters, and keeps them with the record's bytes while there is room.
fn bury(
    conn: &Connection,
    now_us: i64,
    gateway: i64,
    delivery: &Delivery,
    remains: Remains<'_>,
    letters: &[Letter],
    counted: u64,
) -> rusqlite::Result<Vec<Letter>> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let letters: Vec<Letter> = letters
        .iter()
        .map(|letter| Letter { readings: Some(letter.readings.unwrap_or(counted)), ..letter.clone() })
        .collect();
    let size = kept_bytes(remains.original.len(), letters.len());
    let kept = conn
        .prepare_cached("UPDATE gateway SET dead_bytes = dead_bytes + ?2 WHERE number = ?1 AND dead_bytes + ?2 <= ?3")?
        .execute(params![gateway, size, KEPT_DEAD_BYTES])?
        > 0;
    let record = if kept {
        conn.prepare_cached(
            "INSERT INTO dead_record (gateway, lane, sequence, received_us, columns, original)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            gateway,
            delivery.lane.as_bytes(),
            delivery.last.cast_signed(),
            now_us,
            ordinals(remains.columns),
            remains.original
        ])?;
        Some(conn.last_insert_rowid())
    } else {
        None
    };
    if let Some(record) = record {
        write_letters(conn, record, &letters)?;
    }
    count_letters(conn, now_us, gateway, &letters)?;
    Ok(letters)
}

/// What a dead record costs of its gateway's bound.
pub(super) fn kept_bytes(original: usize, letters: usize) -> i64 {
    original as i64 + LETTER_BYTES * letters as i64
}

/// Writes the letters of a record, whose every count is known.
pub(super) fn write_letters(conn: &Connection, record: i64, letters: &[Letter]) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO dead_letter (record, ordinal, series, count, reason, readings, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (ordinal, letter) in letters.iter().enumerate() {
        let (reason, readings) = (i32::from(letter.reason), letter.readings.unwrap_or(0).cast_signed());
        let count = letter.count.cast_signed();
        insert.execute(params![record, ordinal as i64, letter.series, count, reason, readings, letter.detail])?;
    }
    Ok(())
}

/// Adds letters to what is counted of a gateway.
pub(super) fn count_letters(conn: &Connection, now_us: i64, gateway: i64, letters: &[Letter]) -> rusqlite::Result<()> {
    let mut sums = BTreeMap::<i32, (u64, u64, &str)>::new();
    for letter in letters {
        let (count, sum, detail) = sums.entry(letter.reason.into()).or_default();
        *count = count.saturating_add(letter.count);
        *sum = sum.saturating_add(letter.readings.unwrap_or(0)).min(MOST_COUNTED);
        *detail = &letter.detail;
    }
    let mut count = conn.prepare_cached(include_str!("sql/count_dead_letter.sql"))?;
    for (reason, (letters, readings, detail)) in sums {
        count.execute(params![gateway, reason, letters.cast_signed(), readings.cast_signed(), now_us, detail])?;
    }
    Ok(())
}
