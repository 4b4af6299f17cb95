//! Dead records: listed, decoded, tried again, discarded.
//!
//! Trying again decides and stores in one transaction, which also takes what it stored out
//! of the dead record: however often it is asked for, and wherever a crash comes, nothing is
//! stored twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, named_params, params};
use sandan_proto::batch;
use sandan_proto::births::Births;
use sandan_proto::id::{AssetId, BirthsHash, FirmId, GatewayId, LaneId, MetricId};
use sandan_proto::reading::{Quality, QualityClass};
use sandan_proto::record::{Gap, Moment, Sealed};
use sandan_proto::v1::{self, DeadLetterReason};

use super::catalogue::{self, GatewayNo};
use super::deliver::{self, NewHead};
use super::file::failed;
use super::heads::Head;
use super::inbox::Group;
use super::{clocks, facts};
use crate::store::dead_letters::{self, Choice, DeadContent, DeadReading, DeadRecord, Readmit, Retried};
use crate::store::{Content, DeadLetterCount, Letter, SeriesNo, StoreError};

/// A series by what people call it.
type Named = Option<(AssetId, MetricId)>;

/// Births that are looked up for one page, once each.
#[derive(Default)]
struct Names(HashMap<(String, Vec<u8>), Option<Births>>);

impl Names {
    fn births(&mut self, conn: &Connection, gateway: &str, hash: &[u8]) -> Result<Option<&Births>, StoreError> {
        let key = (gateway.to_owned(), hash.to_vec());
        if !self.0.contains_key(&key) {
            let id = GatewayId::new(gateway).map_err(damaged)?;
            let found = match BirthsHash::from_bytes(hash) {
                Ok(hash) => catalogue::registered(conn, &id, hash)?.map(|registered| registered.births),
                Err(_) => None,
            };
            self.0.insert(key.clone(), found);
        }
        Ok(self.0.get(&key).and_then(Option::as_ref))
    }
}

fn name(births: Option<&Births>, index: u32) -> Named {
    let births = births?;
    let series = births.series.get(index as usize)?;
    Some((births.assets.get(series.asset)?.id.clone(), series.metric.clone()))
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
fn damaged(error: sandan_proto::id::IdError) -> StoreError {
    StoreError::Damaged(error.to_string())
}

/// A wire message of a sealed batch; none where it is something else. A gap is none: its
/// fields have other types.
fn sealed(original: &[u8]) -> Option<v1::Sealed> {
    v1::Sealed::decode(original).ok().filter(|sealed| !sealed.births_hash.is_empty())
}

/// See [`DeadLetters::dead_records`](crate::store::DeadLetters::dead_records).
pub(super) fn list(
    conn: &Connection,
    firm: &FirmId,
    choice: &Choice,
    after: i64,
    limit: usize,
) -> Result<Vec<DeadRecord>, StoreError> {
    let mut records = Vec::new();
    let mut names = Names::default();
    // In order and once each, so that whoever goes on behind the last misses and doubles none.
    let chosen: BTreeSet<i64> = choice.ids.iter().copied().collect();
    let ids: Vec<Option<i64>> =
        if chosen.is_empty() { vec![None] } else { chosen.into_iter().filter(|id| *id > after).map(Some).collect() };
    for id in ids {
        let room = limit.saturating_sub(records.len());
        if room == 0 {
            break;
        }
        let find = || {
            conn.prepare_cached(include_str!("sql/list_dead_records.sql"))?
                .query_map(
                    named_params! {
                        ":firm": firm.as_str(),
                        ":after": after,
                        ":id": id,
                        ":gateway": choice.gateway.as_ref().map(GatewayId::as_str),
                        ":reason": choice.reason.map(i32::from),
                        ":limit": room as i64,
                    },
                    |row| {
                        Ok((
                            row.get::<_, i64>(0)?,
                            row.get::<_, String>(1)?,
                            row.get::<_, Vec<u8>>(2)?,
                            row.get::<_, i64>(3)?,
                            row.get::<_, i64>(4)?,
                            row.get::<_, i64>(5)?,
                        ))
                    },
                )?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        for (id, gateway, lane, sequence, received_us, bytes) in find().map_err(failed("listing dead letters"))? {
            let letters = letters_of(conn, id).map_err(failed("listing dead letters"))?;
            let births = if letters.iter().any(|letter| letter.series.is_some()) {
                let hash = original_of(conn, id)?.as_deref().and_then(sealed).map(|it| it.births_hash);
                names.births(conn, &gateway, &hash.unwrap_or_default())?
            } else {
                None
            };
            records.push(DeadRecord {
                id,
                gateway: GatewayId::new(&gateway).map_err(damaged)?,
                lane: LaneId::from_bytes(&lane).map_err(damaged)?,
                sequence: sequence.cast_unsigned(),
                received_us,
                bytes: bytes.cast_unsigned(),
                letters: letters
                    .into_iter()
                    .map(|letter| {
                        let series = letter.series.and_then(|index| name(births, index));
                        (letter, series)
                    })
                    .collect(),
            });
        }
    }
    Ok(records)
}

fn original_of(conn: &Connection, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT original FROM dead_record WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()
    };
    find().map_err(failed("reading a dead record"))
}

fn letters_of(conn: &Connection, record: i64) -> rusqlite::Result<Vec<Letter>> {
    conn.prepare_cached(
        "SELECT series, count, reason, readings, detail FROM dead_letter WHERE record = ?1 ORDER BY ordinal",
    )?
    .query_map([record], |row| {
        Ok(Letter {
            series: row.get(0)?,
            count: row.get::<_, i64>(1)?.cast_unsigned(),
            reason: DeadLetterReason::try_from(row.get::<_, i32>(2)?).unwrap_or_default(),
            readings: Some(row.get::<_, i64>(3)?.cast_unsigned()),
            detail: row.get(4)?,
        })
    })?
    .collect()
}

/// See [`DeadLetters::dead_content`](crate::store::DeadLetters::dead_content).
pub(super) fn content(conn: &Connection, firm: &FirmId, id: i64) -> Result<Option<DeadContent>, StoreError> {
    let choice = Choice { ids: vec![id], ..Choice::default() };
    let Some(record) = list(conn, firm, &choice, 0, 1)?.pop() else { return Ok(None) };
    let Some(row) = row(conn, firm, id).map_err(failed("reading a dead record"))? else { return Ok(None) };
    let readings = match sealed(&row.original) {
        Some(wire) => readings(conn, &row, &wire)?,
        None => None,
    };
    Ok(Some(DeadContent { record, readings, original: row.original }))
}

fn readings(conn: &Connection, row: &DeadRow, wire: &v1::Sealed) -> Result<Option<Vec<DeadReading>>, StoreError> {
    let Ok(groups) = batch::decode(&wire.payload) else { return Ok(None) };
    let mut names = Names::default();
    let births = names.births(conn, row.gateway.as_str(), &wire.births_hash)?;
    let clock = match sandan_proto::id::BootId::from_bytes(&wire.boot_id) {
        Ok(boot) => clocks::of(conn, row.numbers.gateway, boot).map_err(failed("reading a clock"))?,
        Err(_) => None,
    };
    let mut all = Vec::new();
    let columns = groups.iter().flat_map(|group| group.columns.iter().map(move |column| (group, column)));
    for ((group, column), ordinal) in columns.zip(0u32..) {
        let put_aside = row.columns.as_ref().is_none_or(|only| only.is_empty() || only.binary_search(&ordinal).is_ok());
        if !put_aside {
            continue;
        }
        let series = name(births, column.series);
        for (index, (&monotonic_us, quality)) in group.times_us.iter().zip(column.qualities()).enumerate() {
            let Some(value) = column.values.get(index) else { continue };
            let time_us = clock.and_then(|clock| monotonic_us.checked_add(clock.offset_us));
            let is_good = quality.class() == QualityClass::Good;
            let estimated = clock.is_some_and(|clock| clock.estimated) && is_good;
            let quality = if estimated { Quality::UNCERTAIN_CLOCK } else { quality };
            let series = series.clone();
            all.push(DeadReading { monotonic_us, time_us, series, index: column.series, value, quality });
        }
    }
    Ok(Some(all))
}

/// One dead record as it stands.
struct DeadRow {
    id: i64,
    numbers: GatewayNo,
    gateway: GatewayId,
    lane: Vec<u8>,
    sequence: i64,
    /// Ordinals of the columns that are not stored; empty: none is; none: not known.
    columns: Option<Vec<u32>>,
    original: Bytes,
}

fn row(conn: &Connection, firm: &FirmId, id: i64) -> rusqlite::Result<Option<DeadRow>> {
    conn.prepare_cached(
        "SELECT gateway.firm, gateway.number, gateway.id, lane, sequence, columns, original
         FROM dead_record JOIN gateway ON gateway.number = dead_record.gateway JOIN firm ON firm.number = gateway.firm
         WHERE dead_record.id = ?1 AND firm.id = ?2",
    )?
    .query_row(params![id, firm.as_str()], |row| {
        let gateway: String = row.get(2)?;
        let bad = |error| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error));
        Ok(DeadRow {
            id,
            numbers: GatewayNo { firm: row.get(0)?, gateway: row.get(1)? },
            gateway: GatewayId::new(&gateway).map_err(bad)?,
            lane: row.get(3)?,
            sequence: row.get(4)?,
            columns: row
                .get::<_, Option<Vec<u8>>>(5)?
                .map(|bytes| bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
            original: row.get::<_, Vec<u8>>(6)?.into(),
        })
    })
    .optional()
}

/// What a retry changed, with what has to be noted once it is synced.
pub(super) struct Outcome {
    pub retried: Retried,
    pub head: Option<NewHead>,
    pub newest: Vec<(SeriesNo, i64)>,
}

/// See [`DeadLetters::retry_dead`](crate::store::DeadLetters::retry_dead).
pub(super) fn retry(
    conn: &Connection,
    group: &mut Group,
    firm: &FirmId,
    id: i64,
    readmit: &Readmit,
) -> rusqlite::Result<Option<Outcome>> {
    let Some(row) = row(conn, firm, id)? else { return Ok(None) };
    let before = letters_of(conn, id)?;
    let unchanged = |letters: Vec<Letter>| {
        Ok(Some(Outcome { retried: Retried { stored: 0, letters }, head: None, newest: Vec::new() }))
    };
    // Which columns are stored is not known of what an earlier version kept, and a record
    // whose number is another's is never stored.
    let Some(columns) = &row.columns else { return unchanged(before) };
    if before.iter().any(|letter| letter.reason == DeadLetterReason::Forked) {
        return unchanged(before);
    }
    let counted = before.iter().filter_map(|letter| letter.readings).sum();
    let content = decide(conn, group.now_us, &row, columns, readmit)?;
    let (stored, head, newest, letters, dead_columns) = match content {
        Content::Batch { sealed, births, clock, first_us, last_us, readings, dead_columns, newest, letters } => {
            let commit = group.commit_number(conn, row.numbers.firm)?;
            deliver::fix_clock(conn, group.now_us, row.numbers.gateway, sealed.boot)?;
            conn.prepare_cached(include_str!("sql/insert_record.sql"))?.execute(named_params! {
                ":firm": row.numbers.firm,
                ":gateway": row.numbers.gateway,
                ":lane": row.lane,
                ":sequence": row.sequence,
                ":births": births,
                ":boot": sealed.boot.as_bytes(),
                ":offset_us": clock.offset_us,
                ":cumulative": sealed.cumulative_readings.cast_signed(),
                ":commit_no": commit,
                ":received_us": group.now_us,
                ":first_us": first_us,
                ":last_us": last_us,
                ":readings": readings.cast_signed(),
                ":dead_columns": deliver::ordinals(&dead_columns),
                ":uncertain": clock.estimated,
                // What was stored of it at first has it, and what was not has none.
                ":crc": None::<u32>,
                ":payload": sealed.payload.as_ref(),
            })?;
            let (row_id, bytes) = (conn.last_insert_rowid(), sealed.payload.len() as u64);
            conn.prepare_cached(
                "UPDATE lane SET readings = readings + ?3, newest_us = max(coalesce(newest_us, ?4), ?4)
                 WHERE gateway = ?1 AND lane = ?2",
            )?
            .execute(params![row.numbers.gateway, row.lane, readings.cast_signed(), last_us])?;
            let received_us = group.now_us;
            let head = Head { id: row_id, first_us, last_us, received_us, readings, bytes };
            let head = NewHead { firm: row.numbers.firm, head, sum: None };
            let still: Vec<u32> =
                dead_columns.into_iter().filter(|it| columns.is_empty() || columns.binary_search(it).is_ok()).collect();
            (readings, Some(head), newest, letters, still)
        }
        Content::Gap { gap, from_us, to_us, uncertain } => {
            conn.prepare_cached(include_str!("sql/insert_gap.sql"))?.execute(named_params! {
                ":firm": row.numbers.firm,
                ":gateway": row.numbers.gateway,
                ":lane": row.lane,
                ":first_sequence": gap.first_sequence.cast_signed(),
                ":last_sequence": gap.last_sequence.cast_signed(),
                ":cause": i32::from(gap.cause),
                ":from_us": from_us,
                ":to_us": to_us,
                ":readings": gap.readings().min(counted).cast_signed(),
                ":received_us": group.now_us,
                ":uncertain": uncertain,
            })?;
            (0, None, Vec::new(), Vec::new(), Vec::new())
        }
        Content::Dead { letters, .. } => (0, None, Vec::new(), letters, columns.clone()),
        Content::Forked { letter, .. } => (0, None, Vec::new(), vec![letter], columns.clone()),
    };
    let letters: Vec<Letter> = letters
        .into_iter()
        .map(|letter| Letter { readings: Some(letter.readings.unwrap_or(counted)), ..letter })
        .collect();
    take_out(conn, row.numbers.gateway, &before, stored)?;
    deliver::count_letters(conn, group.now_us, row.numbers.gateway, &letters)?;
    conn.prepare_cached("DELETE FROM dead_letter WHERE record = ?1")?.execute([row.id])?;
    let freed = deliver::kept_bytes(row.original.len(), before.len());
    let kept = if letters.is_empty() {
        conn.prepare_cached("DELETE FROM dead_record WHERE id = ?1")?.execute([row.id])?;
        0
    } else {
        deliver::write_letters(conn, row.id, &letters)?;
        conn.prepare_cached("UPDATE dead_record SET columns = ?2 WHERE id = ?1")?
            .execute(params![row.id, deliver::ordinals(&dead_columns)])?;
        deliver::kept_bytes(row.original.len(), letters.len())
    };
    give_room(conn, row.numbers.gateway, freed - kept)?;
    Ok(Some(Outcome { retried: Retried { stored, letters }, head, newest }))
}

/// Takes letters out of the counts of their gateway, of which `recovered` readings are stored.
fn take_out(conn: &Connection, gateway: i64, letters: &[Letter], recovered: u64) -> rusqlite::Result<()> {
    let mut recovered = recovered.cast_signed();
    let mut update = conn.prepare_cached(include_str!("sql/move_dead_letter.sql"))?;
    for letter in letters {
        let readings = letter.readings.unwrap_or(0).cast_signed();
        // By the reason that it was put aside for, as far as that goes.
        let here = recovered.min(readings);
        recovered -= here;
        update.execute(params![gateway, i32::from(letter.reason), letter.count.cast_signed(), readings, here])?;
    }
    Ok(())
}

fn give_room(conn: &Connection, gateway: i64, bytes: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE gateway SET dead_bytes = max(dead_bytes - ?2, 0) WHERE number = ?1")?
        .execute(params![gateway, bytes])?;
    Ok(())
}

/// Decides on a record with what is known now.
fn decide(
    conn: &Connection,
    now_us: i64,
    row: &DeadRow,
    columns: &[u32],
    readmit: &Readmit,
) -> rusqlite::Result<Content> {
    let dead = |reason, detail| Content::Dead {
        original: Bytes::new(),
        letters: vec![Letter { series: None, count: 1, reason, readings: None, detail }],
    };
    let Some(wire) = sealed(&row.original) else { return gap(conn, row) };
    let sealed = match Sealed::from_wire(wire) {
        Ok(sealed) => sealed,
        Err(error) => return Ok(dead(dead_letters::reason(&error), error.to_string())),
    };
    let Some(registered) = catalogue::replaced(conn, &row.gateway, row.numbers, sealed.births)? else {
        return Ok(dead(DeadLetterReason::UnknownSeries, "its births are not known".to_owned()));
    };
    let Some(clock) = clocks::of(conn, row.numbers.gateway, sealed.boot)? else {
        return Ok(dead(DeadLetterReason::ClockUnknown, "the clock of its boot is not known".to_owned()));
    };
    let only = (!columns.is_empty()).then_some(columns);
    Ok(readmit(sealed, &registered, clock, now_us, only))
}

/// What was put aside as a gap that could not be read.
fn gap(conn: &Connection, row: &DeadRow) -> rusqlite::Result<Content> {
    let dead = |detail| Content::Dead {
        original: Bytes::new(),
        letters: vec![Letter { series: None, count: 1, reason: DeadLetterReason::Undecodable, readings: None, detail }],
    };
    let gap = match v1::Gap::decode(&row.original[..]) {
        Ok(wire) => match Gap::from_wire(&wire) {
            Ok(gap) => gap,
            Err(error) => return Ok(dead(error.to_string())),
        },
        Err(error) => return Ok(dead(error.to_string())),
    };
    let (mut ends, mut uncertain) = ([None, None], false);
    for (end, moment) in ends.iter_mut().zip([gap.from, gap.to]) {
        let Some(Moment { boot, monotonic_us }) = moment else { continue };
        if let Some(clock) = clocks::of(conn, row.numbers.gateway, boot)? {
            *end = monotonic_us.checked_add(clock.offset_us);
            uncertain |= clock.estimated;
        }
    }
    let [from_us, to_us] = ends;
    Ok(Content::Gap { gap, from_us, to_us, uncertain })
}

/// See [`DeadLetters::discard_dead`](crate::store::DeadLetters::discard_dead).
pub(super) fn discard(conn: &Connection, firm: &FirmId, id: i64) -> rusqlite::Result<Option<u64>> {
    let Some(row) = row(conn, firm, id)? else { return Ok(None) };
    let letters = letters_of(conn, id)?;
    let mut count = conn.prepare_cached(
        "UPDATE dead_total SET discarded = min(discarded + ?3, readings) WHERE gateway = ?1 AND reason = ?2",
    )?;
    let mut readings = 0u64;
    for letter in &letters {
        let of = letter.readings.unwrap_or(0);
        readings = readings.saturating_add(of);
        count.execute(params![row.numbers.gateway, i32::from(letter.reason), of.cast_signed()])?;
    }
    conn.prepare_cached("DELETE FROM dead_letter WHERE record = ?1")?.execute([id])?;
    conn.prepare_cached("DELETE FROM dead_record WHERE id = ?1")?.execute([id])?;
    give_room(conn, row.numbers.gateway, deliver::kept_bytes(row.original.len(), letters.len()))?;
    Ok(Some(readings))
}

/// Counts of all gateways.
pub(super) fn totals(conn: &Connection) -> Result<BTreeMap<GatewayId, Vec<DeadLetterCount>>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT DISTINCT gateway.id FROM dead_total JOIN gateway ON gateway.number = dead_total.gateway",
        )?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    find()
        .map_err(failed("counting dead letters"))?
        .into_iter()
        .map(|id| {
            let id = GatewayId::new(&id).map_err(damaged)?;
            let counts = facts::dead_letters(conn, &id)?;
            Ok((id, counts))
        })
        .collect()
}
