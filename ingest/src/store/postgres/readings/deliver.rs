//! The transaction of one group of records: locks, decides, copies, moves watermarks.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{Object, Transaction};
use futures::SinkExt;
use sandan_proto::id::{GatewayId, LaneId};
use tokio::sync::mpsc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Row};

use super::bury::{At, bury, forked};
use super::error::{is_about_data, may_pass, sentence};
use super::plan::{Checksums, Gateway, Lane, Plan, Verdict};
use super::rows::{self, Commit, Copies, Late, Places, RowsError};
use super::sessions::SEEN_US;
use super::{Shared, count, tables};
use crate::store::StoreError;
use crate::store::delivery::{Content, Delivery, Stored};
use crate::store::epochs::Used;

/// Births and clocks that a writer knows to be noted; beyond it, it asks anew.
const KNOWN: usize = 65_536;
/// Pieces of rows that wait to be sent: enough that the server never waits, a megabyte in memory.
const PIECES: usize = 8;

/// Why a group is not stored.
pub(super) enum Failure {
    /// One of its records is refused for what it holds.
    Data(String),
    /// The database is away, full or busy; nothing of the group is stored.
    Away(String),
    /// Nobody knows whether it is stored.
    Unknown(String),
    /// What the writer knew of births is old.
    Stale,
}

/// What became of one record of a group.
pub(super) type Outcome = Result<Stored, StoreError>;

/// What one writer has learnt.
#[derive(Default)]
pub(super) struct Known {
    births: HashMap<u32, (Places, i64)>,
    clocks: HashMap<(i64, [u8; 16]), i64>,
}

impl Known {
    fn forget_much(&mut self) {
        if self.births.len() > KNOWN {
            self.births.clear();
        }
        if self.clocks.len() > KNOWN {
            self.clocks.clear();
        }
    }
}

/// Sorts a failure that came before the commit: nothing of the group is stored.
#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
fn before_commit(error: tokio_postgres::Error) -> Failure {
    let sentence = sentence(&error);
    if is_about_data(&error) {
        Failure::Data(sentence)
    } else if may_pass(&error) {
        Failure::Away(sentence)
    } else {
        // A fault of the layout or of this program, which no waiting mends.
        Failure::Unknown(sentence)
    }
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
fn away(error: StoreError) -> Failure {
    Failure::Away(match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

/// Stores a group in one transaction: all of it, or nothing.
pub(super) async fn store(
    shared: &Shared,
    known: &mut Known,
    group: &[Arc<Delivery>],
) -> Result<Vec<Outcome>, Failure> {
    let mut client = shared.session().await.map_err(away)?;
    let stored = transact(shared, known, &mut client, group).await;
    if let Err(Failure::Away(_) | Failure::Unknown(_)) = stored {
        // The connection may be in the middle of anything.
        drop(Object::take(client));
    }
    stored
}

async fn transact(
    shared: &Shared,
    known: &mut Known,
    client: &mut Object,
    group: &[Arc<Delivery>],
) -> Result<Vec<Outcome>, Failure> {
    let patience = shared.patience();
    let transaction = bounded(patience, client.transaction()).await.map_err(Failure::Away)?.map_err(before_commit)?;
    if let Some(preamble) = tables::preamble(shared) {
        transaction.batch_execute(preamble).await.map_err(before_commit)?;
    }
    let written = bounded(patience, write(shared, known, &transaction, group)).await.map_err(Failure::Away)??;
    crash_point!("commit.before");
    let committed = bounded(patience, transaction.commit()).await;
    crash_point!("commit.after-before-ack");
    match committed {
        Ok(Ok(())) => {}
        // The server says that it did not; of other errors nobody knows when they came.
        Ok(Err(error)) if is_about_data(&error) => return Err(before_commit(error)),
        Ok(Err(error)) => return Err(Failure::Unknown(sentence(&error))),
        Err(late) => return Err(Failure::Unknown(late)),
    }
    known.forget_much();
    known.births.extend(written.births);
    known.clocks.extend(written.clocks);
    Ok(written.outcomes)
}

async fn bounded<T>(patience: Duration, run: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(patience, run).await.map_err(|_| format!("no answer for {} s", patience.as_secs()))
}

/// What a transaction wrote, for when it is committed.
struct Written {
    outcomes: Vec<Outcome>,
    births: Vec<(u32, (Places, i64))>,
    clocks: Vec<((i64, [u8; 16]), i64)>,
}

async fn write(
    shared: &Shared,
    known: &mut Known,
    transaction: &Transaction<'_>,
    group: &[Arc<Delivery>],
) -> Result<Written, Failure> {
    let now_us = (shared.options.now)();
    let mut plan = lock(transaction, group).await.map_err(before_commit)?;
    let verdicts: Vec<Verdict> = group.iter().map(|delivery| plan.place(delivery)).collect();
    let births = use_births(transaction, known, now_us, group, &verdicts).await?;
    let firms: BTreeSet<i64> = verdicts
        .iter()
        .filter_map(|verdict| if let Verdict::Next { firm, .. } = verdict { Some(*firm) } else { None })
        .collect();
    let commits = commit_numbers(transaction, &firms).await.map_err(before_commit)?;
    let wanted = wanted(group, &verdicts, &births, &commits);
    tables::ensure(shared, &days(&wanted).await?).await.map_err(away)?;
    let late = copy_batches(transaction, wanted).await?;
    count::note_late(transaction, &late).await.map_err(before_commit)?;
    let clocks = fix_clocks(transaction, known, now_us, &plan).await.map_err(before_commit)?;
    let outcomes = settle(transaction, now_us, group, &verdicts, &births).await?;
    move_watermarks(transaction, now_us, &plan).await.map_err(before_commit)?;
    let births = births.into_iter().filter_map(|(number, places)| Some((number, (places?, now_us)))).collect();
    Ok(Written { outcomes, births, clocks })
}

pub(super) type Sql<T> = Result<T, tokio_postgres::Error>;

/// The gateways and lanes of a group, each locked in the order of its key.
async fn lock(transaction: &Transaction<'_>, group: &[Arc<Delivery>]) -> Sql<Plan> {
    let mut plan = Plan::default();
    let ids: BTreeSet<&str> = group.iter().map(|delivery| delivery.gateway.as_str()).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let sql = transaction.prepare_cached(include_str!("sql/lock_gateways.sql")).await?;
    for row in transaction.query(&sql, &[&ids]).await? {
        let Ok(id) = GatewayId::new(row.get(2)) else { continue };
        let gateway = Gateway {
            number: row.get(0),
            firm: row.get(1),
            granted: row.get::<_, i64>(3).cast_unsigned(),
            used: Used::from_column(row.get(4)),
            let_in: row.get(5),
        };
        plan.gateways.insert(id, gateway);
    }
    let lanes: BTreeSet<(i64, LaneId)> = group
        .iter()
        .filter_map(|delivery| Some((plan.gateways.get(&delivery.gateway)?.number, delivery.lane)))
        .collect();
    let numbers: Vec<i64> = lanes.iter().map(|(gateway, _)| *gateway).collect();
    let ids: Vec<&[u8]> = lanes.iter().map(|(_, lane)| lane.as_bytes().as_slice()).collect();
    let sql = transaction.prepare_cached(include_str!("sql/lock_lanes.sql")).await?;
    for row in transaction.query(&sql, &[&numbers, &ids]).await? {
        let Ok(id) = LaneId::from_bytes(row.get(1)) else { continue };
        let lane = Lane {
            through: row.get::<_, i64>(2).cast_unsigned(),
            cumulative: row.get::<_, i64>(3).cast_unsigned(),
            ..Lane::default()
        };
        plan.lanes.insert((row.get(0), id), lane);
    }
    Ok(plan)
}

/// The places of the births that the group's batches name, none where they were cleared away.
async fn use_births(
    transaction: &Transaction<'_>,
    known: &Known,
    now_us: i64,
    group: &[Arc<Delivery>],
    verdicts: &[Verdict],
) -> Result<HashMap<u32, Option<Places>>, Failure> {
    let mut births = HashMap::new();
    let mut asked = BTreeSet::new();
    for (delivery, verdict) in group.iter().zip(verdicts) {
        let (Content::Batch { births: number, .. }, Verdict::Next { .. }) = (&delivery.content, verdict) else {
            continue;
        };
        match known.births.get(number) {
            Some((places, noted_us)) if now_us.saturating_sub(*noted_us) < SEEN_US => {
                births.insert(*number, Some(Arc::clone(places)));
            }
            _ => {
                births.insert(*number, None);
                asked.insert(number.cast_signed());
            }
        }
    }
    if asked.is_empty() {
        return Ok(births);
    }
    let asked: Vec<i32> = asked.into_iter().collect();
    let sql = transaction.prepare_cached(include_str!("sql/use_births.sql")).await.map_err(before_commit)?;
    for row in transaction.query(&sql, &[&asked, &now_us, &SEEN_US]).await.map_err(before_commit)? {
        let placed: &[u8] = row.get(1);
        let numbers = placed.chunks_exact(4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect();
        births.insert(row.get::<_, i32>(0).cast_unsigned(), Some(numbers));
    }
    Ok(births)
}

/// The commit's number for each firm: one more than its last. Held until the commit, so that
/// whoever sees a number sees all before it.
pub(super) async fn commit_numbers(transaction: &Transaction<'_>, firms: &BTreeSet<i64>) -> Sql<HashMap<i64, Commit>> {
    if firms.is_empty() {
        return Ok(HashMap::new());
    }
    let firms: Vec<i64> = firms.iter().copied().collect();
    let sql = transaction.prepare_cached(include_str!("sql/take_commits.sql")).await?;
    let commit = |row: &Row| Commit { number: row.get(1), closed_us: row.get(2) };
    Ok(transaction.query(&sql, &[&firms]).await?.iter().map(|row| (row.get(0), commit(row))).collect())
}

/// A batch that is stored: the record, where its series go, and its firm's commit.
type Wanted = (Arc<Delivery>, Places, Commit);

/// The batches of a group that are stored.
fn wanted(
    group: &[Arc<Delivery>],
    verdicts: &[Verdict],
    births: &HashMap<u32, Option<Places>>,
    commits: &HashMap<i64, Commit>,
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (delivery, verdict) in group.iter().zip(verdicts) {
        let (Content::Batch { births: number, .. }, Verdict::Next { firm, .. }) = (&delivery.content, verdict) else {
            continue;
        };
        if let (Some(Some(places)), Some(commit)) = (births.get(number), commits.get(firm)) {
            wanted.push((Arc::clone(delivery), Arc::clone(places), *commit));
        }
    }
    wanted
}

/// The days that the batches have readings of.
async fn days(wanted: &[Wanted]) -> Result<BTreeSet<i64>, Failure> {
    let deliveries: Vec<_> = wanted.iter().map(|(delivery, ..)| Arc::clone(delivery)).collect();
    let look = move || {
        let mut days = BTreeSet::new();
        deliveries.iter().try_for_each(|delivery| rows::add_days(&delivery.content, &mut days)).map(|()| days)
    };
    tokio::task::spawn_blocking(look).await.map_err(|error| Failure::Away(error.to_string()))?.map_err(undecodable)
}

fn undecodable(error: RowsError) -> Failure {
    match error {
        RowsError::Unplaced => Failure::Stale,
        RowsError::Store(error) => Failure::Data(error.to_string()),
    }
}

/// Makes rows of the batches and copies them, the one beside the other: the server is not to
/// wait for rows that are being made. Numbers go as they come, rows of the other tables after.
/// Gives what is late in them.
async fn copy_batches(transaction: &Transaction<'_>, wanted: Vec<Wanted>) -> Result<BTreeSet<Late>, Failure> {
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (made, mut pieces) = mpsc::channel(PIECES);
    // On a thread that may take its time.
    let task = tokio::task::spawn_blocking(move || {
        let mut copies = Copies::default();
        for (delivery, places, commit) in wanted {
            copies.push(&delivery.content, &places, commit)?;
            for piece in copies.tables[0].take_whole() {
                if made.blocking_send(piece).is_err() {
                    // Nobody copies any more, and whoever did knows why.
                    return Ok(copies);
                }
            }
        }
        Ok(copies)
    });
    // Dropped before it is finished, a copy fails, and nothing of it stays.
    let mut numbers = None;
    while let Some(piece) = pieces.recv().await {
        let sink = match &mut numbers {
            Some(sink) => sink,
            none => none.insert(begin(transaction, COPY[0]).await.map_err(before_commit)?),
        };
        sink.send(piece).await.map_err(before_commit)?;
    }
    let copies = task.await.map_err(|error| Failure::Away(error.to_string()))?.map_err(undecodable)?;
    finish(transaction, &copies, numbers).await.map_err(before_commit)?;
    Ok(copies.late)
}

/// Copies rows into their tables.
pub(super) async fn copy(transaction: &Transaction<'_>, copies: &Copies) -> Sql<()> {
    finish(transaction, copies, None).await
}

type Sink = Pin<Box<CopyInSink<Bytes>>>;

async fn begin(transaction: &Transaction<'_>, sql: &str) -> Sql<Sink> {
    let sql = transaction.prepare_cached(sql).await?;
    Ok(Box::pin(transaction.copy_in(&sql).await?))
}

/// Copies what is left of the rows, of the first table into a copy that has begun.
async fn finish(transaction: &Transaction<'_>, copies: &Copies, mut begun: Option<Sink>) -> Sql<()> {
    for (rows, sql) in copies.tables.iter().zip(COPY) {
        let begun = begun.take();
        let pieces = rows.pieces();
        if pieces.is_empty() {
            continue;
        }
        let mut sink = match begun {
            Some(sink) => sink,
            None => begin(transaction, sql).await?,
        };
        for piece in pieces {
            sink.send(piece).await?;
        }
        sink.as_mut().finish().await?;
    }
    Ok(())
}

const COPY: [&str; 3] = [
    "COPY readings.reading (ts, value, commit_no, series_id, quality, nth) FROM STDIN (FORMAT binary)",
    "COPY readings.reading_i64 (ts, value, commit_no, series_id, quality, nth) FROM STDIN (FORMAT binary)",
    "COPY readings.reading_text (ts, commit_no, series_id, quality, nth, value) FROM STDIN (FORMAT binary)",
];

/// Makes the clocks of the group stay; gives those that are noted now.
async fn fix_clocks(
    transaction: &Transaction<'_>,
    known: &Known,
    now_us: i64,
    plan: &Plan,
) -> Sql<Vec<((i64, [u8; 16]), i64)>> {
    let fresh = |key: &(i64, [u8; 16])| {
        known.clocks.get(key).is_some_and(|noted_us| now_us.saturating_sub(*noted_us) < SEEN_US)
    };
    let clocks: BTreeSet<(i64, [u8; 16])> =
        plan.clocks.iter().map(|(gateway, boot)| (*gateway, *boot.as_bytes())).filter(|key| !fresh(key)).collect();
    if clocks.is_empty() {
        return Ok(Vec::new());
    }
    let gateways: Vec<i64> = clocks.iter().map(|(gateway, _)| *gateway).collect();
    let boots: Vec<&[u8]> = clocks.iter().map(|(_, boot)| boot.as_slice()).collect();
    let sql = transaction.prepare_cached(include_str!("sql/fix_clocks.sql")).await?;
    transaction.execute(&sql, &[&gateways, &boots, &now_us, &SEEN_US]).await?;
    Ok(clocks.into_iter().map(|key| (key, now_us)).collect())
}

/// Notes gaps and dead letters, and says what became of each record.
async fn settle(
    transaction: &Transaction<'_>,
    now_us: i64,
    group: &[Arc<Delivery>],
    verdicts: &[Verdict],
    births: &HashMap<u32, Option<Places>>,
) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::with_capacity(group.len());
    let mut gaps = Gaps::default();
    let mut checksums = Checksums::default();
    for (delivery, verdict) in group.iter().zip(verdicts) {
        outcomes.push(match *verdict {
            Verdict::Superseded => Ok(Stored::Superseded),
            Verdict::Duplicate { through } => Ok(Stored::Duplicate { through }),
            Verdict::Ahead { through } => Ok(Stored::Ahead { through }),
            Verdict::Forked { gateway, through } => {
                forked(transaction, now_us, gateway, delivery, through).await.map(Ok).map_err(before_commit)?
            }
            Verdict::Next { gateway, firm, first, counted } => {
                let at = At { gateway, now_us, counted };
                let (stored, newest_us, letters) = match &delivery.content {
                    Content::Batch { births: number, .. } if !matches!(births.get(number), Some(Some(_))) => {
                        // The session ends, and tells them again; its lane must not move.
                        return Err(Failure::Unknown("its births were cleared away".into()));
                    }
                    Content::Batch { sealed, readings, last_us, dead_columns, letters, .. } => {
                        checksums.add(gateway, delivery.lane, sealed.sequence, sealed.checksum());
                        let letters = if letters.is_empty() {
                            Vec::new()
                        } else {
                            let original = prost::Message::encode_to_vec(&sealed.to_wire());
                            bury(transaction, at, delivery, (&original, dead_columns), letters)
                                .await
                                .map_err(before_commit)?
                        };
                        (*readings, Some(*last_us), letters)
                    }
                    Content::Gap { gap, from_us, to_us, uncertain } => {
                        gaps.push((firm, gateway), delivery, first, gap.cause.into(), [*from_us, *to_us], *uncertain);
                        gaps.readings.push(gap.readings().min(counted).cast_signed());
                        (0, None, Vec::new())
                    }
                    Content::Dead { original, letters } => {
                        let letters =
                            bury(transaction, at, delivery, (original, &[]), letters).await.map_err(before_commit)?;
                        (0, None, letters)
                    }
                    Content::Forked { .. } => (0, None, Vec::new()),
                };
                Ok(Stored::Done { through: delivery.last, stored, letters, newest_us })
            }
        });
    }
    gaps.insert(transaction, now_us).await.map_err(before_commit)?;
    insert_checksums(transaction, now_us, checksums).await.map_err(before_commit)?;
    Ok(outcomes)
}

/// Gaps, column by column, as their statement takes them.
#[derive(Default)]
pub(super) struct Gaps {
    firms: Vec<i64>,
    gateways: Vec<i64>,
    lanes: Vec<Vec<u8>>,
    first: Vec<i64>,
    last: Vec<i64>,
    causes: Vec<i32>,
    from_us: Vec<Option<i64>>,
    to_us: Vec<Option<i64>>,
    pub(super) readings: Vec<i64>,
    uncertain: Vec<bool>,
}

impl Gaps {
    fn push(
        &mut self,
        (firm, gateway): (i64, i64),
        delivery: &Delivery,
        first: u64,
        cause: i32,
        [from_us, to_us]: [Option<i64>; 2],
        uncertain: bool,
    ) {
        self.one((firm, gateway), &delivery.lane.to_vec(), [first, delivery.last], cause, [from_us, to_us], uncertain);
    }

    /// Appends one; its readings are pushed beside.
    pub(super) fn one(
        &mut self,
        (firm, gateway): (i64, i64),
        lane: &[u8],
        [first, last]: [u64; 2],
        cause: i32,
        [from_us, to_us]: [Option<i64>; 2],
        uncertain: bool,
    ) {
        self.firms.push(firm);
        self.gateways.push(gateway);
        self.lanes.push(lane.into());
        self.first.push(first.cast_signed());
        self.last.push(last.cast_signed());
        self.causes.push(cause);
        self.from_us.push(from_us);
        self.to_us.push(to_us);
        self.uncertain.push(uncertain);
    }

    pub(super) async fn insert(&self, transaction: &Transaction<'_>, now_us: i64) -> Sql<()> {
        if self.firms.is_empty() {
            return Ok(());
        }
        let sql = transaction.prepare_cached(include_str!("sql/insert_gaps.sql")).await?;
        let values: [&(dyn ToSql + Sync); 11] = [
            &self.firms,
            &self.gateways,
            &self.lanes,
            &self.first,
            &self.last,
            &self.causes,
            &self.from_us,
            &self.to_us,
            &self.readings,
            &self.uncertain,
            &now_us,
        ];
        transaction.execute(&sql, &values).await.map(drop)
    }
}

async fn insert_checksums(transaction: &Transaction<'_>, now_us: i64, checksums: Checksums) -> Sql<()> {
    if checksums.runs.is_empty() {
        return Ok(());
    }
    let runs = &checksums.runs;
    let gateways: Vec<i64> = runs.iter().map(|run| run.0).collect();
    let lanes: Vec<&[u8]> = runs.iter().map(|run| run.1.as_bytes().as_slice()).collect();
    let first: Vec<i64> = runs.iter().map(|run| run.2.cast_signed()).collect();
    let sums: Vec<&[u8]> = runs.iter().map(|run| run.3.as_slice()).collect();
    let sql = transaction.prepare_cached(include_str!("sql/insert_checksums.sql")).await?;
    transaction.execute(&sql, &[&gateways, &lanes, &first, &sums, &now_us]).await.map(drop)
}

/// Moves the lanes, and notes the epochs under which records came.
async fn move_watermarks(transaction: &Transaction<'_>, now_us: i64, plan: &Plan) -> Sql<()> {
    let moved: Vec<_> = plan.lanes.iter().filter(|(_, lane)| lane.moved).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let of = |pick: fn(&Lane) -> u64| moved.iter().map(|(_, lane)| pick(lane).cast_signed()).collect::<Vec<i64>>();
    let gateways: Vec<i64> = moved.iter().map(|((gateway, _), _)| *gateway).collect();
    let lanes: Vec<&[u8]> = moved.iter().map(|((_, lane), _)| lane.as_bytes().as_slice()).collect();
    let (through, cumulative) = (of(|lane| lane.through), of(|lane| lane.cumulative));
    let readings = of(|lane| lane.readings);
    let newest: Vec<Option<i64>> = moved.iter().map(|(_, lane)| lane.newest_us).collect();
    let sql = transaction.prepare_cached(include_str!("sql/move_watermarks.sql")).await?;
    let values: [&(dyn ToSql + Sync); 7] = [&gateways, &lanes, &through, &cumulative, &readings, &newest, &now_us];
    transaction.execute(&sql, &values).await?;
    if !plan.noted.is_empty() {
        let numbers: Vec<i64> = plan.noted.keys().copied().collect();
        let used: Vec<i64> = plan.noted.values().map(|used| used.to_column()).collect();
        let sql = transaction.prepare_cached(include_str!("sql/note_epochs.sql")).await?;
        transaction.execute(&sql, &[&numbers, &used]).await?;
    }
    Ok(())
}

/// Forgets what a writer knows of births, and of nothing else.
pub(super) fn forget_births(known: &mut Known, group: &[Arc<Delivery>]) -> bool {
    group.iter().fold(false, |forgot, delivery| match &delivery.content {
        Content::Batch { births, .. } => known.births.remove(births).is_some() || forgot,
        _ => forgot,
    })
}
