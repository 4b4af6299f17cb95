//! Dead records: listed, decoded, tried again, discarded.
//!
//! Trying again decides and stores in one transaction that holds the gateway's row, which also
//! takes what it stored out of the dead record: however often it is asked for, and wherever a
//! crash comes, nothing is stored twice.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use prost::Message;
use sandan_proto::batch;
use sandan_proto::births::Births;
use sandan_proto::id::{AssetId, BirthsHash, BootId, FirmId, GatewayId, LaneId, MetricId};
use sandan_proto::reading::Quality;
use sandan_proto::record::{Gap, Moment, Sealed};
use sandan_proto::v1::{self, DeadLetterReason};
use tokio_postgres::types::ToSql;

use super::bury::{self, Shown};
use super::catalogue::{self, GatewayNo, damaged};
use super::deliver::{self, Gaps};
use super::error::failed;
use super::rows::{Copies, RowsError};
use super::{Shared, count, sessions, tables};
use crate::store::dead_letters::{self, Choice, DeadContent, DeadReading, DeadRecord, Readmit, Retried};
use crate::store::{Content, Letter, Placement, StoreError};

/// A series by what people call it.
type Named = Option<(AssetId, MetricId)>;

fn name(births: Option<&Births>, index: u32) -> Named {
    let births = births?;
    let series = births.series.get(index as usize)?;
    Some((births.assets.get(series.asset)?.id.clone(), series.metric.clone()))
}

/// A wire message of a sealed batch; none where it is something else. A gap is none: its
/// fields have other types.
fn sealed(original: &[u8]) -> Option<v1::Sealed> {
    v1::Sealed::decode(original).ok().filter(|sealed| !sealed.births_hash.is_empty())
}

async fn births_of(
    client: &impl GenericClient,
    gateway: &GatewayId,
    hash: &[u8],
) -> Result<Option<Births>, StoreError> {
    match BirthsHash::from_bytes(hash) {
        Ok(hash) => Ok(catalogue::registered(client, gateway, hash).await?.map(|registered| registered.births)),
        Err(_) => Ok(None),
    }
}

/// See [`DeadLetters::dead_records`](crate::store::DeadLetters::dead_records).
pub(super) async fn list(
    client: &impl GenericClient,
    firm: &FirmId,
    choice: &Choice,
    after: i64,
    limit: usize,
) -> Result<Vec<DeadRecord>, StoreError> {
    let failed = failed("listing dead letters");
    // In order and once each, so that whoever goes on behind the last misses and doubles none.
    let chosen: BTreeSet<i64> = choice.ids.iter().copied().collect();
    let chosen: Option<Vec<i64>> = (!chosen.is_empty()).then(|| chosen.into_iter().collect());
    let rows = client
        .query(
            include_str!("sql/list_dead_records.sql"),
            &[
                &firm.as_str(),
                &after,
                &chosen,
                &choice.gateway.as_ref().map(GatewayId::as_str),
                &choice.reason.map(i32::from),
                &i64::try_from(limit).unwrap_or(i64::MAX),
            ],
        )
        .await
        .map_err(&failed)?;
    let mut records = Vec::with_capacity(rows.len());
    // Looked up for one page, once each.
    let mut names = HashMap::<(GatewayId, Vec<u8>), Option<Births>>::new();
    for row in rows {
        let (id, gateway): (i64, _) = (row.get(0), GatewayId::new(row.get(1)).map_err(damaged)?);
        let letters = letters_of(client, id).await.map_err(&failed)?;
        let mut births = None;
        if letters.iter().any(|letter| letter.series.is_some()) {
            let original: Vec<u8> = client
                .query_one("SELECT original FROM readings.dead_record WHERE id = $1", &[&id])
                .await
                .map_err(&failed)?
                .get(0);
            let key = (gateway.clone(), sealed(&original).map(|it| it.births_hash).unwrap_or_default());
            if !names.contains_key(&key) {
                let found = births_of(client, &gateway, &key.1).await?;
                names.insert(key.clone(), found);
            }
            births = names.get(&key).and_then(Option::as_ref);
        }
        records.push(DeadRecord {
            id,
            gateway,
            lane: LaneId::from_bytes(row.get(2)).map_err(damaged)?,
            sequence: row.get::<_, i64>(3).cast_unsigned(),
            received_us: row.get(4),
            bytes: row.get::<_, i64>(5).cast_unsigned(),
            letters: letters
                .into_iter()
                .map(|letter| {
                    let series = letter.series.and_then(|index| name(births, index));
                    (letter, series)
                })
                .collect(),
        });
    }
    Ok(records)
}

async fn letters_of(client: &impl GenericClient, record: i64) -> Result<Vec<Letter>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT series, count, reason, readings, detail FROM readings.dead_letter WHERE record = $1 ORDER BY ordinal",
            &[&record],
        )
        .await?;
    let letter = |row: &tokio_postgres::Row| Letter {
        series: row.get::<_, Option<i64>>(0).and_then(|index| u32::try_from(index).ok()),
        count: row.get::<_, i64>(1).cast_unsigned(),
        reason: DeadLetterReason::try_from(row.get::<_, i32>(2)).unwrap_or_default(),
        readings: Some(row.get::<_, i64>(3).cast_unsigned()),
        detail: row.get(4),
    };
    Ok(rows.iter().map(letter).collect())
}

/// See [`DeadLetters::dead_content`](crate::store::DeadLetters::dead_content).
pub(super) async fn content(
    client: &impl GenericClient,
    firm: &FirmId,
    id: i64,
) -> Result<Option<DeadContent>, StoreError> {
    let choice = Choice { ids: vec![id], ..Choice::default() };
    let Some(record) = list(client, firm, &choice, 0, 1).await?.pop() else { return Ok(None) };
    let Some(row) = row(client, firm, id).await? else { return Ok(None) };
    let readings = match sealed(&row.original) {
        Some(wire) => readings(client, &row, &wire).await?,
        None => None,
    };
    Ok(Some(DeadContent { record, readings, original: row.original }))
}

async fn readings(
    client: &impl GenericClient,
    row: &DeadRow,
    wire: &v1::Sealed,
) -> Result<Option<Vec<DeadReading>>, StoreError> {
    let Ok(groups) = batch::decode(&wire.payload) else { return Ok(None) };
    let births = births_of(client, &row.gateway, &wire.births_hash).await?;
    let clock = match BootId::from_bytes(&wire.boot_id) {
        Ok(boot) => {
            sessions::clock_of(client, row.numbers.gateway, boot.as_bytes()).await.map_err(failed("reading a clock"))?
        }
        Err(_) => None,
    };
    let mut all = Vec::new();
    let columns = groups.iter().flat_map(|group| group.columns.iter().map(move |column| (group, column)));
    for ((group, column), ordinal) in columns.zip(0u32..) {
        if !row.columns.is_empty() && row.columns.binary_search(&ordinal).is_err() {
            continue;
        }
        let series = name(births.as_ref(), column.series);
        for (index, (&monotonic_us, quality)) in group.times_us.iter().zip(column.qualities()).enumerate() {
            let Some(value) = column.values.get(index) else { continue };
            let time_us = clock.and_then(|clock| monotonic_us.checked_add(clock.offset_us));
            let estimated = clock.is_some_and(|clock| clock.estimated) && quality == Quality::GOOD;
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
    /// Ordinals of the columns that are not stored; empty: none is.
    columns: Vec<u32>,
    original: Bytes,
}

async fn row(client: &impl GenericClient, firm: &FirmId, id: i64) -> Result<Option<DeadRow>, StoreError> {
    let found = client
        .query_opt(
            "SELECT gateway.firm, gateway.number, gateway.id, lane, columns, original
             FROM readings.dead_record
             JOIN readings.gateway ON gateway.number = dead_record.gateway
             JOIN readings.firm ON firm.number = gateway.firm
             WHERE dead_record.id = $1 AND firm.id = $2",
            &[&id, &firm.as_str()],
        )
        .await
        .map_err(failed("reading a dead record"))?;
    let Some(row) = found else { return Ok(None) };
    let columns: &[u8] = row.get(4);
    Ok(Some(DeadRow {
        id,
        numbers: GatewayNo { firm: row.get(0), gateway: row.get(1) },
        gateway: GatewayId::new(row.get(2)).map_err(damaged)?,
        lane: row.get(3),
        columns: columns.chunks_exact(4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect(),
        original: row.get::<_, Vec<u8>>(5).into(),
    }))
}

/// The record with its gateway's row and its firm's locked, so that of two who try it the
/// second finds what the first left.
async fn locked(transaction: &Transaction<'_>, firm: &FirmId, id: i64) -> Result<Option<DeadRow>, StoreError> {
    let Some(before) = row(transaction, firm, id).await? else { return Ok(None) };
    catalogue::ensure_gateway(transaction, &before.gateway).await?;
    row(transaction, firm, id).await
}

/// What is stored of a record that is tried again.
#[derive(Default)]
struct Again {
    stored: u64,
    letters: Vec<Letter>,
    /// Ordinals that are still not stored.
    columns: Vec<u32>,
}

/// See [`DeadLetters::retry_dead`](crate::store::DeadLetters::retry_dead).
pub(super) async fn retry(shared: &Shared, firm: &FirmId, id: i64) -> Result<Option<Retried>, StoreError> {
    let Some(readmit) = &shared.options.readmit else {
        return Err(StoreError::Damaged("nothing decides on dead letters here".into()));
    };
    let failed = failed("trying a dead record again");
    let mut client = shared.session().await?;
    let transaction = client.transaction().await.map_err(&failed)?;
    let Some(row) = locked(&transaction, firm, id).await? else { return Ok(None) };
    let before = letters_of(&transaction, id).await.map_err(&failed)?;
    // A record whose number is another's is never stored.
    if before.iter().any(|letter| letter.reason == DeadLetterReason::Forked) {
        return Ok(Some(Retried { stored: 0, letters: before }));
    }
    let now_us = (shared.options.now)();
    let counted = before.iter().filter_map(|letter| letter.readings).sum();
    let content = decide(&transaction, now_us, &row, readmit).await?;
    let mut again = store(shared, &transaction, now_us, &row, counted, content).await?;
    for letter in &mut again.letters {
        letter.readings = Some(letter.readings.unwrap_or(counted));
    }
    note(&transaction, now_us, &row, &before, &again).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    shared.metrics.commits.add(1);
    shared.metrics.recovered.add(again.stored);
    Ok(Some(Retried { stored: again.stored, letters: again.letters }))
}

async fn store(
    shared: &Shared,
    transaction: &Transaction<'_>,
    now_us: i64,
    row: &DeadRow,
    counted: u64,
    content: Content,
) -> Result<Again, StoreError> {
    let failed = failed("storing a dead record");
    match &content {
        Content::Batch { readings, last_us, dead_columns, letters, sealed, .. } => {
            let commits = deliver::commit_numbers(transaction, &[row.numbers.firm].into()).await.map_err(&failed)?;
            let Some(&commit) = commits.get(&row.numbers.firm) else {
                return Err(StoreError::Damaged("a dead record is of no firm".into()));
            };
            let registered = catalogue::replaced(transaction, &row.gateway, row.numbers, sealed.births).await?;
            let places = registered.into_iter().flat_map(|it| it.places).map(|place| match place {
                Placement::Own(number, _) => number.0,
                Placement::OtherOwner | Placement::OverQuota => 0,
            });
            let mut copies = Copies::default();
            copies.push(&content, &places.collect(), commit).map_err(|error| match error {
                RowsError::Unplaced => StoreError::Damaged("a column was admitted that has no place".into()),
                RowsError::Store(error) => error,
            })?;
            tables::ensure(shared, &copies.days).await?;
            deliver::copy(transaction, &copies).await.map_err(&failed)?;
            count::note_late(transaction, &copies.late).await.map_err(&failed)?;
            let (gateways, boots) = (vec![row.numbers.gateway], vec![sealed.boot.to_vec()]);
            transaction
                .execute(include_str!("sql/fix_clocks.sql"), &[&gateways, &boots, &now_us, &sessions::SEEN_US])
                .await
                .map_err(&failed)?;
            transaction
                .execute(
                    "UPDATE readings.lane SET readings = readings + $3, newest_us = greatest(newest_us, $4)
                     WHERE gateway = $1 AND lane = $2",
                    &[&row.numbers.gateway, &row.lane, &readings.cast_signed(), last_us],
                )
                .await
                .map_err(&failed)?;
            let columns = dead_columns
                .iter()
                .copied()
                .filter(|it| row.columns.is_empty() || row.columns.binary_search(it).is_ok())
                .collect();
            Ok(Again { stored: *readings, letters: letters.clone(), columns })
        }
        Content::Gap { gap, from_us, to_us, uncertain } => {
            let mut gaps = Gaps::default();
            let sequences = [gap.first_sequence, gap.last_sequence];
            let whose = (row.numbers.firm, row.numbers.gateway);
            gaps.one(whose, &row.lane, sequences, gap.cause.into(), [*from_us, *to_us], *uncertain);
            gaps.readings.push(gap.readings().min(counted).cast_signed());
            gaps.insert(transaction, now_us).await.map_err(&failed)?;
            Ok(Again::default())
        }
        Content::Dead { letters, .. } => {
            Ok(Again { letters: letters.clone(), columns: row.columns.clone(), ..Again::default() })
        }
        Content::Forked { letter, .. } => {
            Ok(Again { letters: vec![letter.clone()], columns: row.columns.clone(), ..Again::default() })
        }
    }
}

/// Counts and keeps what is still put aside, and nothing of what is stored.
async fn note(
    transaction: &Transaction<'_>,
    now_us: i64,
    row: &DeadRow,
    before: &[Letter],
    again: &Again,
) -> Result<(), tokio_postgres::Error> {
    let gateway = row.numbers.gateway;
    let mut recovered = again.stored.cast_signed();
    for letter in before {
        let readings = letter.readings.unwrap_or(0).cast_signed();
        // By the reason that it was put aside for, as far as that goes.
        let here = recovered.min(readings);
        recovered -= here;
        transaction
            .execute(
                "UPDATE readings.dead_total SET
                     letters   = greatest(letters - $3, 0),
                     readings  = greatest(readings - $4, 0),
                     recovered = least(recovered + $5, 9000000000000000000)
                 WHERE gateway = $1 AND reason = $2",
                &[&gateway, &i32::from(letter.reason), &letter.count.cast_signed(), &readings, &here],
            )
            .await?;
    }
    let freed = bury::kept_bytes(row.original.len(), before.len());
    transaction.execute("DELETE FROM readings.dead_letter WHERE record = $1", &[&row.id]).await?;
    let kept = if again.letters.is_empty() {
        transaction.execute("DELETE FROM readings.dead_record WHERE id = $1", &[&row.id]).await?;
        0
    } else {
        bury::count_letters(transaction, now_us, gateway, &again.letters).await?;
        let shown = Shown::of(&again.letters);
        let values: [&(dyn ToSql + Sync); 6] =
            [&row.id, &shown.series, &shown.count, &shown.reason, &shown.readings, &shown.detail];
        transaction.execute(include_str!("sql/insert_letters.sql"), &values).await?;
        transaction
            .execute(
                "UPDATE readings.dead_record SET columns = $2 WHERE id = $1",
                &[&row.id, &bury::ordinals(&again.columns)],
            )
            .await?;
        bury::kept_bytes(row.original.len(), again.letters.len())
    };
    give_room(transaction, gateway, freed - kept).await
}

async fn give_room(transaction: &Transaction<'_>, gateway: i64, bytes: i64) -> Result<(), tokio_postgres::Error> {
    transaction
        .execute(
            "UPDATE readings.gateway SET dead_bytes = greatest(dead_bytes - $2, 0) WHERE number = $1",
            &[&gateway, &bytes],
        )
        .await
        .map(drop)
}

/// Decides on a record with what is known now.
async fn decide(
    transaction: &Transaction<'_>,
    now_us: i64,
    row: &DeadRow,
    readmit: &Readmit,
) -> Result<Content, StoreError> {
    let dead = |reason, detail| Content::Dead {
        original: Bytes::new(),
        letters: vec![Letter { series: None, count: 1, reason, readings: None, detail }],
    };
    let Some(wire) = sealed(&row.original) else { return gap(transaction, row).await };
    let sealed = match Sealed::from_wire(wire) {
        Ok(sealed) => sealed,
        Err(error) => return Ok(dead(dead_letters::reason(&error), error.to_string())),
    };
    let Some(registered) = catalogue::replaced(transaction, &row.gateway, row.numbers, sealed.births).await? else {
        return Ok(dead(DeadLetterReason::UnknownSeries, "its births are not known".to_owned()));
    };
    let clock = sessions::clock_of(transaction, row.numbers.gateway, sealed.boot.as_bytes()).await;
    let Some(clock) = clock.map_err(failed("reading a clock"))? else {
        return Ok(dead(DeadLetterReason::ClockUnknown, "the clock of its boot is not known".to_owned()));
    };
    let (readmit, only) = (Arc::clone(readmit), (!row.columns.is_empty()).then_some(&row.columns[..]));
    Ok(readmit(sealed, &registered, clock, now_us, only))
}

/// What was put aside as a gap that could not be read.
async fn gap(transaction: &Transaction<'_>, row: &DeadRow) -> Result<Content, StoreError> {
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
        let clock = sessions::clock_of(transaction, row.numbers.gateway, boot.as_bytes()).await;
        if let Some(clock) = clock.map_err(failed("reading a clock"))? {
            *end = monotonic_us.checked_add(clock.offset_us);
            uncertain |= clock.estimated;
        }
    }
    let [from_us, to_us] = ends;
    Ok(Content::Gap { gap, from_us, to_us, uncertain })
}

/// See [`DeadLetters::discard_dead`](crate::store::DeadLetters::discard_dead).
pub(super) async fn discard(shared: &Shared, firm: &FirmId, id: i64) -> Result<Option<u64>, StoreError> {
    let failed = failed("discarding a dead record");
    let mut client = shared.session().await?;
    let transaction = client.transaction().await.map_err(&failed)?;
    let Some(row) = locked(&transaction, firm, id).await? else { return Ok(None) };
    let letters = letters_of(&transaction, id).await.map_err(&failed)?;
    let mut readings = 0u64;
    for letter in &letters {
        let of = letter.readings.unwrap_or(0);
        readings = readings.saturating_add(of);
        transaction
            .execute(
                "UPDATE readings.dead_total SET discarded = least(discarded + $3, readings)
                 WHERE gateway = $1 AND reason = $2",
                &[&row.numbers.gateway, &i32::from(letter.reason), &of.cast_signed()],
            )
            .await
            .map_err(&failed)?;
    }
    // Its letters go with it.
    transaction.execute("DELETE FROM readings.dead_record WHERE id = $1", &[&id]).await.map_err(&failed)?;
    let kept = bury::kept_bytes(row.original.len(), letters.len());
    give_room(&transaction, row.numbers.gateway, kept).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    shared.metrics.commits.add(1);
    Ok(Some(readings))
}
